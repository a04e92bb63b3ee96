// tests/corpus: mail like customers' mail, made from a seed: the same bytes on every machine.
//
// Owns:   the generator. 20,000 messages are 438 MB with seed 1, up to 462 MB with others, 22-23 KB on average: most are a few KB of text
//         and HTML, a few carry attachments.
//         About 2 % have no Message-ID, 1 % are byte-for-byte duplicates of an earlier message, many have encoded headers (RFC 2047).
// Never:  randomness of the machine, a clock, a name of a real person or domain.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace mailherd::corpus {

/// Message `index` of the corpus `seed`: RFC 5322, CRLF line ends, ends with CRLF. No line is longer than 998 bytes.
std::string message(std::uint64_t seed, std::uint64_t index);

/// A small plain text message with this subject; for tests that count.
std::string simple(std::string_view subject, std::string_view body = "Hello.\r\n", std::string_view from = "customer@example.test",
                   std::string_view to = "support@acme.test");

/// When message `index` was received (a fixed start, then minutes apart): for INTERNALDATE.
std::chrono::system_clock::time_point received_at(std::uint64_t index);

struct totals {
  std::size_t messages = 0;
  std::uint64_t bytes = 0;
};

/// Writes messages [0, count) as files into a maildir's cur/ (made if missing), in order. For mailboxes that are not open.
totals write_maildir(const std::filesystem::path& maildir, std::uint64_t seed, std::size_t count);

}  // namespace mailherd::corpus
