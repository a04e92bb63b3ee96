// protocol/oauth2/metadata: what a provider says of itself (OpenID Connect Discovery 1.0), and where it says so.
//
// Owns:   the address of each provider's document, its reading, and which documents an app may be completed or judged by.
// Never:  fetches anything; lets a document speak for another issuer.
// Used by: the consent flow and the token exchange in actors/.
#pragma once

#include <string>
#include <string_view>

#include "core/model.hpp"
#include "core/result.hpp"

namespace mailherd::oauth2 {

struct metadata {
  std::string issuer, authorize_url, token_url, device_url, keys_url;
};

/// Where the app's provider describes itself; empty if the app does not tell (a custom one known by its endpoints only, or one whose token
/// endpoint is not the provider's own).
result<std::string> metadata_url(const oauth_app& app);
/// Where an issuer describes itself (Discovery, 4.1).
std::string metadata_url_of(std::string_view issuer);

/// The document at `url`. token_unavailable if it is none; app_misconfigured if it speaks for another issuer than the one it was asked of
/// (Discovery, 4.3; Microsoft's shared authorities excepted, whose issuer has "{tenantid}" in it).
result<metadata> parse_metadata(const oauth_app& app, const std::string& url, std::string_view body);

/// The app with the endpoints it does not name itself.
oauth_app completed(const oauth_app& app, const metadata& facts);

/// True if a token endpoint is of the same origin as the one that `facts` names: what its tokens say of their issuer may be looked up there.
bool speaks_for(const metadata& facts, const std::string& token_url);

/// Scheme, host and port.
std::string_view origin_of(std::string_view url);

}  // namespace mailherd::oauth2
