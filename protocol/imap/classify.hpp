// protocol/imap/classify: what a NO, BAD or BYE means, by its response code (RFC 3501, RFC 5530) and by well-known phrases (quirks.hpp).
//
// Owns:   the order of decision: a back-off time, a telling phrase, the response code, an excuse, the phase.
// Never:  concludes from a mail server's NO that a person must consent again: only the token endpoint may say that.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace mailherd::imap {

/// Where in the session the refusal came.
enum class phase : std::uint8_t { greeting, capabilities, tls, login, select, mailbox, fetch };

struct refusal {
  phase where = phase::mailbox;
  std::string_view status;      ///< "NO", "BAD", "BYE"
  std::string_view code;        ///< without brackets, e.g. "AUTHENTICATIONFAILED", "LIMIT"; empty if none
  std::string_view text;
  bool with_token = false;      ///< login by OAuth2
  std::string_view detail;      ///< what the mechanism learned from an error challenge
};

/// The error for a refusal. `retry_at` is set when the server named a time.
error classify(const refusal& what, wall_time now);

}  // namespace mailherd::imap
