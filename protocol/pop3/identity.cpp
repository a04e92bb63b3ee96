// protocol/pop3/identity: what stands for a message: its unique-id, or a digest where there is none (declared in classify.hpp).
#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "core/server_text.hpp"
#include "protocol/pop3/classify.hpp"

namespace mailherd::pop3 {

namespace {

constexpr std::size_t uidl_bytes = 512;  // RFC 1939 allows 70; an index row must hold it

std::string hex(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) fmt::format_to(std::back_inserter(out), "{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, 32> digest{};
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return "sha256:" + hex({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

/// Header fields that servers without UIDL rewrite when a message is read.
bool is_rewritten(std::string_view line) {
  constexpr std::array<std::string_view, 6> names{"Status:", "X-Status:", "X-UIDL:", "X-Keywords:", "Content-Length:", "Lines:"};
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view n) { return line.size() >= n.size() && equal_text(line.substr(0, n.size()), n); });
}

}  // namespace

bool may_be_digest(std::string_view uidl) noexcept { return uidl.starts_with("sha256:"); }

std::string digest_uidl(std::string_view headers) {
  std::string kept;
  kept.reserve(headers.size());
  bool skipping = false;
  while (!headers.empty()) {
    auto end = headers.find('\n');
    end = end == std::string_view::npos ? headers.size() : end + 1;
    std::string_view line = headers.substr(0, end);
    headers.remove_prefix(end);
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
    if (line.empty()) break;  // TOP n 0 ends here; a server that sends lines of the body all the same must not change the identity
    const bool folded = line.front() == ' ' || line.front() == '\t';
    if (!folded) skipping = is_rewritten(line);
    if (skipping) continue;
    kept.append(line).append("\n");
  }
  return sha256_hex(kept);
}

std::string twin_uidl(std::string_view uidl, std::uint64_t size, std::uint32_t nth) {
  return nth <= 1 ? fmt::format("{};{}", uidl, size) : fmt::format("{};{};{}", uidl, size, nth);
}

std::string twin_uidl(std::string_view uidl, const sha256_digest& body) {
  return fmt::format("{};sha256:{}", uidl, hex({reinterpret_cast<const char*>(body.data()), body.size()}));
}

std::string unnamed_uidl(std::uint64_t size) { return fmt::format("unnamed;{}", size); }

std::string stable_uidl(std::string_view sent) {
  if (sent.size() > uidl_bytes) return sha256_hex(sent);
  const bool printable = std::all_of(sent.begin(), sent.end(), [](char c) { return c >= 0x20 && c <= 0x7E; });
  if (printable && !sent.empty()) return std::string(sent);
  return sent.size() > uidl_bytes / 2 - 8 ? sha256_hex(sent) : "hex:" + hex(sent);
}

}  // namespace mailherd::pop3
