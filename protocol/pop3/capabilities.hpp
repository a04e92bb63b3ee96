// protocol/pop3/capabilities: what CAPA said (RFC 2449), and what follows from it.
//
// Owns:   parsing of capability lines. Unknown ones are ignored: servers invent them.
// Used by: the engine; the session reads login_delay, expire and whether UIDL and TOP exist.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"

namespace mailherd::pop3 {

struct capability_set {
  bool known = false;       ///< CAPA was asked and understood in the present state of the session
  bool stls = false;
  bool top = false;
  bool uidl = false;
  bool user = false;        ///< USER/PASS
  bool pipelining = false;
  bool resp_codes = false;  ///< texts begin with [CODE] where it matters
  bool expire_never = false;
  bool expire_per_user = false;               ///< EXPIRE may differ after the login
  std::optional<std::uint32_t> expire_days;   ///< messages are kept at least so long; 0 = gone after the session
  std::optional<seconds> login_delay;         ///< least time between logins
  bool login_delay_per_user = false;
  std::vector<std::string> sasl;              ///< mechanism names, upper case
  std::string implementation;                 ///< cleaned

  /// Adds one line of the answer. Never fails: what makes no sense is ignored.
  void add(std::string_view line);
};

}  // namespace mailherd::pop3
