// protocol/oauth2/identity: who consented: an id_token, believed only with a good signature (OpenID Connect Core 1.0, 3.1.3.7; RFC 7519).
//
// Owns:   reading of key sets (RFC 7517) and of id_tokens; the checks of signature, issuer, audience, nonce and time.
// Never:  believes an algorithm the key is not for, "none", or a key the token brings with it; fetches anything.
// Used by: the consent flow in actors/.
// Threads: free functions; a check costs about 50 µs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"

namespace mailherd::oauth2 {

/// A public key of a provider. RSA: n and e; EC: a point on P-256. Big-endian bytes.
struct signing_key {
  std::string id;
  bool elliptic = false;
  std::string n, e;
  std::string x, y;
};

/// The keys of a key set that can check RS256 or ES256; others are passed over. token_unavailable if it is no key set.
result<std::vector<signing_key>> parse_keys(std::string_view body);

struct id_expectation {
  std::string issuer;    ///< "{tenantid}" stands for the directory the token names (Microsoft)
  std::string audience;  ///< the client id
  std::string nonce;     ///< empty: none was sent (device flow)
  wall_time now{};
};

struct id_claims {
  std::string issuer, subject;
  std::vector<std::string> names;  ///< preferred_username, email, upn: those that are there, cleaned, the same name once
};

/// `iss` before anything was checked: only good for finding the keys.
std::string claimed_issuer(const secret<>& id_token);

/// Errors: not_found      no key of that id: the provider may have new ones;
///         invalid_input  anything else that is wrong with the token; the detail says which check failed and holds nothing of it.
result<id_claims> check_id_token(const secret<>& id_token, const std::vector<signing_key>& keys, const id_expectation& want);

}  // namespace mailherd::oauth2
