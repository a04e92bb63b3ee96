// protocol/imap/quirks: what servers do beside the standard, each with a name, and what we do about it.
//
// Owns:   two tables. `quirks`: departures from the grammar, and whether the session goes on. `sayings`: phrases in a NO, BAD or BYE that
//         mean more than their status says. A new oddity of a provider is a line here, not a branch in the engine.
// Used by: the engine (`quirk_set::meet`), classify.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/error.hpp"

namespace mailherd::imap {

enum class quirk : std::uint8_t {
  bare_newline,          ///< a response that ends in LF alone
  blank_line,            ///< empty lines between responses
  no_final_newline,      ///< the connection ends behind "* BYE ..." without CRLF
  idle_chatter,          ///< further "+" lines while IDLE runs
  crossed_done,          ///< "DONE BAD ...": our DONE came when the server had ended IDLE by itself
  unasked_item,          ///< FETCH items nobody asked for
  unasked_body,          ///< a message body, or a part of one, nobody asked for
  uid_after_body,        ///< the UID of a message comes behind its bytes
  echoed_peek,           ///< "BODY.PEEK[]" in a response, where BODY[] belongs
  wrong_size,            ///< RFC822.SIZE unlike the bytes that come
  early_data,            ///< mailbox data before the login
  unsticky_uids,         ///< UIDs that do not outlive the session (UIDNOTSTICKY)
  renumbered,            ///< another UIDVALIDITY while the mailbox is open
};

enum class policy : std::uint8_t {
  accept,       ///< read as if it were right
  ignore,       ///< dropped; nothing depends on it
  end_session,  ///< going on could lose or mix up mail
};

struct quirk_rule {
  quirk id;
  std::string_view name;
  policy what;
  std::string_view why;
};

/// In the order of the enum.
std::span<const quirk_rule> quirks() noexcept;
const quirk_rule& rule_of(quirk q) noexcept;

/// The quirks one server has shown, for its log line.
class quirk_set {
 public:
  /// Notes it. False: the policy says that the session must end.
  bool meet(quirk q) noexcept {
    bits_ = static_cast<std::uint16_t>(bits_ | 1u << static_cast<unsigned>(q));
    return rule_of(q).what != policy::end_session;
  }
  [[nodiscard]] bool met(quirk q) const noexcept { return (bits_ & 1u << static_cast<unsigned>(q)) != 0; }
  [[nodiscard]] bool empty() const noexcept { return bits_ == 0; }

 private:
  std::uint16_t bits_ = 0;
};

/// When a phrase counts.
enum class where_said : std::uint8_t {
  anywhere,
  login,           ///< greeting and login: harmless words elsewhere
  select,          ///< SELECT, EXAMINE
  token_session,   ///< in a session that was opened with an access token
};

struct saying {
  std::string_view text;   ///< part of the server's text, any case
  failure meaning;
  where_said where;
};

/// Said by well-known servers, the most telling first; they count more than a response code.
std::span<const saying> telling_sayings() noexcept;
/// Words of excuse: they count less than a response code that names a cause.
std::span<const saying> excuses() noexcept;

}  // namespace mailherd::imap
