// core/error: every reason for which something can fail, as one closed vocabulary.
//
// Owns:   `failure` (the reason), `error` (reason + words + when to come back).
// Never:  carries a secret: `detail` is shown to people, logged and stored.
// Used by: every room; `core/advice.hpp` maps each reason to what to do about it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/clock.hpp"

namespace mailherd {

/// Why something failed. The names are stable: they are `state_reason` in the API and the `reason` label of metrics.
enum class failure {
  // reaching the server
  dns_failed,             ///< the name does not resolve, or no resolver answered
  target_refused,         ///< the address is private/loopback/link-local and not allowed by MAILHERD_PRIVATE_TARGETS
  connect_refused,        ///< nothing listens there, or a firewall answers with RST
  connect_failed,         ///< unreachable network or host
  proxy_failed,           ///< the proxy refused, or could not reach the server
  timed_out,              ///< the attempt's one deadline passed; `detail` says in which phase
  connection_lost,        ///< EOF or reset in mid-session
  // TLS
  tls_failed,             ///< handshake failed for another reason than the certificate
  tls_not_offered,        ///< STARTTLS/STLS wanted, not offered by the server
  certificate_untrusted,  ///< no chain to a trusted authority
  certificate_expired,    ///< expired or not yet valid
  certificate_name,       ///< certificate is for another host name
  // protocol
  protocol_violation,     ///< the server said something no server may say
  limit_exceeded,         ///< a line, literal, response or listing past its limit
  server_bye,             ///< the server ended the session with BYE / closed after an error text
  server_unavailable,     ///< [UNAVAILABLE], [SYS/TEMP], -ERR temporary
  server_busy,            ///< [INUSE], [IN-USE], maildrop locked
  too_many_connections,   ///< [LIMIT] and friends
  throttled,              ///< the server named a back-off time; `retry_at` holds it
  over_quota,             ///< [OVERQUOTA]
  command_refused,        ///< tagged NO/BAD or -ERR to a command that has no better class
  // authentication at the mail server
  login_rejected,         ///< user name or password refused
  token_rejected,         ///< the mail server refused the access token
  mechanism_missing,      ///< no authentication mechanism in common
  login_disabled,         ///< LOGINDISABLED, or basic authentication switched off by the provider
  no_mailbox_rights,      ///< authenticated, but not allowed to open the mailbox ("authenticated but not connected")
  mailbox_missing,        ///< the folder does not exist
  wrong_mailbox,          ///< a successor opened another mailbox than the channel's
  // token endpoint
  consent_required,       ///< a person must consent (again)
  admin_required,         ///< the customer's directory administrator must act
  app_misconfigured,      ///< the app registration is broken (one incident per app)
  token_unavailable,      ///< transient: network, 429, 5xx, non-JSON answer
  account_blocked,        ///< locked or expired account: slow retry, then ask
  request_loop,           ///< the provider says we repeat the same request: our bug, stop hard
  // this side
  fenced,                 ///< another owner holds the lease: this writer's epoch is old
  store_busy,             ///< the storage gate is full: try again
  store_unavailable,      ///< PostgreSQL is down or restarting
  store_failed,           ///< PostgreSQL refused the statement
  seal_failed,            ///< a sealed value cannot be opened with the keys at hand
  not_found,              ///< no such object in this tenant
  conflict,               ///< the object changed or exists already
  invalid_input,          ///< the caller's input is wrong
  cancelled,              ///< the caller, a newer generation or a shutdown withdrew the work
  internal,               ///< a defect in Mailherd
};

/// Stable machine name, e.g. "certificate_expired".
std::string_view to_string(failure f) noexcept;

/// The reason of that name; nullopt if there is none (a row written by a newer version).
std::optional<failure> failure_from(std::string_view name) noexcept;

struct error {
  failure code = failure::internal;
  std::string detail;                       ///< for people: what, where; never a secret; server text is already cleaned
  std::optional<wall_time> retry_at = {};   ///< the server named a time before which asking again is useless
};

/// "certificate_expired: certificate of mail.acme.test expired 3 days ago"
std::string describe(const error& e);

}  // namespace mailherd
