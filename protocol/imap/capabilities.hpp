// protocol/imap/capabilities: what the server says it can do (RFC 3501, 7.2.1; RFC 9051).
//
// Owns:   the set, and which announced word sets which bit. Unknown words are ignored: servers invent them.
// Used by: the engine; the session reads id, idle, uidplus.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mailherd::imap {

enum class capability : std::uint32_t {
  imap4rev1 = 1u << 0,
  imap4rev2 = 1u << 1,
  starttls = 1u << 2,
  login_disabled = 1u << 3,
  sasl_ir = 1u << 4,
  idle = 1u << 5,
  uidplus = 1u << 6,
  condstore = 1u << 7,
  enable = 1u << 8,
  id = 1u << 9,
  literal_plus = 1u << 10,
  literal_minus = 1u << 11,
  esearch = 1u << 12,
  utf8_accept = 1u << 13,
  unselect = 1u << 14,
  move = 1u << 15,
  compress_deflate = 1u << 16,
};

class capability_set {
 public:
  /// True once a list was received in the present state of the session; RFC 3501, 6.2.1 and 6.2.2 make older ones void.
  [[nodiscard]] bool known() const noexcept { return known_; }
  [[nodiscard]] bool has(capability c) const noexcept { return (bits_ & static_cast<std::uint32_t>(c)) != 0; }
  /// Names behind AUTH=, upper case.
  [[nodiscard]] const std::vector<std::string>& mechanisms() const noexcept { return mechanisms_; }

  /// Replaces the set by the words of `list`, separated by spaces.
  void assign(std::string_view list);
  void clear() { *this = {}; }

 private:
  std::uint32_t bits_ = 0;
  bool known_ = false;
  std::vector<std::string> mechanisms_;
};

}  // namespace mailherd::imap
