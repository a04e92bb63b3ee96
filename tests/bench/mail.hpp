// tests/bench/mail: the mail server that every candidate drains: one Dovecot, mailboxes filled from the corpus.
//
// Owns:   the server and its mail. Mailboxes are user0@acme.test, user1@acme.test …
// Never:  different work for different candidates: UID lists and indexes are made once, before anybody is measured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "tests/peers/dovecot_server.hpp"

namespace mailherd::bench {

struct mail_options {
  std::size_t mailboxes = 1;
  std::size_t messages = 20'000;  ///< in each; different ones in each mailbox
  std::uint64_t seed = 1;
  /// For idle sessions: they leave their processes after 2 s, and news reach them at once.
  bool hibernate = false;
  std::size_t sessions_per_mailbox = 8;
  std::filesystem::path dir = {};  ///< where mail lies; empty: a temporary directory. Not a memory file system if disks are to be compared
};

class mail {
 public:
  /// Starts and fills it. Throws peers::peer_error.
  explicit mail(const mail_options& options);

  [[nodiscard]] peers::dovecot_server& server() noexcept { return *server_; }
  [[nodiscard]] std::size_t mailboxes() const noexcept { return options_.mailboxes; }
  [[nodiscard]] std::size_t messages() const noexcept { return options_.mailboxes * options_.messages; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  /// Waits until no session has a process of its own any more.
  bool wait_hibernated(std::chrono::seconds timeout = std::chrono::seconds(60));

  static std::string user(std::size_t mailbox);
  static constexpr const char* password = "pw";

 private:
  void fill();
  void warm();

  mail_options options_;
  std::unique_ptr<peers::dovecot_server> server_;
  std::uint64_t bytes_ = 0;
};

}  // namespace mailherd::bench
