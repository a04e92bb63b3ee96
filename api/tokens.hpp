// api/tokens: API keys and the digests made of secrets.
//
// Owns:   the form of an API key ("mhk_" + 43 characters), its derivation from a nonce, keyed digests of requests.
// Never:  stores anything.
// Used by: the service, the handler that creates keys.
#pragma once

#include <string>
#include <string_view>

#include "core/model.hpp"
#include "core/secret.hpp"

namespace mailherd::api {

sha256_digest digest_of(std::string_view bytes);

/// HMAC-SHA256. A request's digest is keyed because it is stored and the request may hold a password: a bare digest could be guessed
/// against.
sha256_digest keyed_digest(const secret<>& key, std::string_view bytes);

/// A secret that signs webhooks, in the form of Standard Webhooks: "whsec_" and 32 random bytes in base64.
secret<> fresh_webhook_secret();

/// 32 random bytes in base64url. Aborts the program if the system has no randomness: nothing safe can go on without.
std::string random_nonce();

/// The API key of that nonce. Derived, so that a repeated request (Idempotency-Key) can be answered with the same key although only its
/// digest and the nonce are stored; neither gives the key away without the operator's token.
secret<> api_key_of(const secret<>& operator_token, std::string_view nonce);

}  // namespace mailherd::api
