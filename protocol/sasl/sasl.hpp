// protocol/sasl: how a client proves who it is, as bytes in and bytes out.
//
// Owns:   the mechanisms PLAIN, LOGIN, SCRAM-SHA-256, XOAUTH2 and OAUTHBEARER, and the choice between them.
// Never:  base64 (the mail protocols add it), IO, a clock; a secret in an error text; a password or token in the clear over an
//         unencrypted channel unless the operator allows it.
// Used by: the IMAP and POP3 engines. One `mechanism` serves one attempt on one connection; not thread-safe, never blocks
//         (SCRAM computes up to `limits::scram_iterations_max` HMACs in one call: about 0.2 s at the cap, 3 ms at the usual 4096).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/model.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"

namespace mailherd::sasl {

/// Who signs in and with what. For a shared mailbox `username` is the shared address while the token is the delegate's.
struct credentials {
  auth_type type = auth_type::basic;
  std::string username;    ///< the identity; must hold no NUL, CR, LF or \x01
  secret<> password;       ///< type basic
  secret<> access_token;   ///< type oauth2: RFC 6750 token characters only
  std::string host;        ///< server as configured; OAUTHBEARER names it (RFC 7628, 3.1); may be empty
  std::uint16_t port = 0;  ///< likewise; 0 = not named
};

/// One run of one mechanism. The dialogue, for an engine:
///   1. `initial_response()`: set → may be sent with the command (SASL-IR), or as the answer to the first, empty challenge.
///      nullopt → the server speaks first. Call it at most once, and do not call `respond` for a challenge it answered.
///   2. every further challenge, base64-decoded, goes to `respond()`; its value is the answer to send (may be empty).
///      A failure means: cancel with "*" (IMAP: RFC 3501, 6.2.2; POP3: RFC 5034, 4) and give the session up with that failure.
///   3. the server says OK: trust it only if `complete()`. Otherwise it skipped the proof that it knows the password:
///      failure::protocol_violation.
///   4. the server says NO/-ERR: `failure_detail()` may say why (it is empty when the server gave no reason).
class mechanism {
 public:
  virtual ~mechanism() = default;

  /// As in the server's list, e.g. "XOAUTH2".
  [[nodiscard]] virtual std::string_view name() const = 0;
  [[nodiscard]] virtual std::optional<secret<>> initial_response() = 0;
  [[nodiscard]] virtual result<secret<>> respond(std::string_view challenge) = 0;
  /// Nothing is left to say, and the server has proven itself where the mechanism asks for it.
  [[nodiscard]] virtual bool complete() const = 0;
  /// What an error challenge said (status, scope, schemes), cleaned, one line, without secrets; or empty.
  [[nodiscard]] virtual std::string failure_detail() const { return {}; }
};

struct policy {
  bool encrypted = true;            ///< TLS is up
  bool allow_unencrypted = false;   ///< the operator allows secrets over an unencrypted channel
  /// XOAUTH2 goes first when both are offered: Exchange Online and Gmail speak it natively, and every server known to offer
  /// OAUTHBEARER answers errors in both. OAUTHBEARER is the standard (RFC 7628): set this for servers that want it.
  bool prefer_oauthbearer = false;
  /// Client nonce of SCRAM; empty = 18 random bytes in base64. For tests with published vectors.
  std::string scram_nonce = {};
};

/// The best mechanism in common.
/// Order: password: SCRAM-SHA-256, PLAIN, LOGIN; token: XOAUTH2, OAUTHBEARER.
/// `offered` are names as in CAPABILITY's AUTH=… or CAPA's SASL line, in any case.
/// Errors: mechanism_missing  nothing in common (detail lists what was offered), or only mechanisms that would send the
///                            secret in the clear;
///         login_disabled     a password is configured and the server offers OAuth2 only: basic authentication is off there;
///         invalid_input      a user name or secret with bytes that no mechanism may carry.
result<std::unique_ptr<mechanism>> choose(std::span<const std::string> offered, const credentials& who, const policy& rules);

/// The same for callers with nothing to say but whether TLS is up.
result<std::unique_ptr<mechanism>> choose(std::span<const std::string> offered, const credentials& who, bool is_channel_encrypted);

/// A mechanism by name, without choosing; errors as above. For tests and for the operator's "try this one".
result<std::unique_ptr<mechanism>> make(std::string_view name, const credentials& who, const policy& rules);

/// True if a user name can be carried by every mechanism and by USER/LOGIN commands: not empty, no NUL, CR, LF, \x01, at most
/// 1,024 bytes.
bool is_safe_username(std::string_view username) noexcept;

}  // namespace mailherd::sasl
