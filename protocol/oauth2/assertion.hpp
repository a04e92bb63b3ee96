// protocol/oauth2/assertion: how a client proves itself with a private key instead of a shared secret (RFC 7523, 2.2).
//
// Owns:   the signed JWT. Private to the room.
// Never:  lets the key out of OpenSSL's and secret<>'s hands, or asks a terminal for a passphrase.
#pragma once

#include "core/clock.hpp"
#include "core/model.hpp"
#include "core/result.hpp"

namespace mailherd::oauth2 {

/// `audience` is the token URL. Errors: app_misconfigured (key or certificate unusable, expired, or not a pair), internal.
result<secret<>> client_assertion(const oauth_app& app, const std::string& audience, wall_time now);

/// `bytes` random bytes in base64url.
result<std::string> random_text(std::size_t bytes);

/// SHA-256 in base64url.
std::string sha256_base64url(std::string_view text);

}  // namespace mailherd::oauth2
