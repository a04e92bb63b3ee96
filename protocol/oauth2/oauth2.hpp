// protocol/oauth2: what is asked of an identity provider, and what its answers mean. Requests and replies as values, without IO.
//
// Owns:   the table of providers (providers.hpp), requests to token and device endpoints, signed client assertions (RFC 7523), PKCE
//         (RFC 7636), the reading of replies, and the classification of their errors (classify.hpp).
// Never:  sends anything, reads a clock (`now` is an argument), stores a token, decides when to refresh or how often to retry; puts a
//         secret into an error or a URL.
// Used by: the token refresher and the consent flow in actors/, the API when an app is created, tests and the fuzzer.
// Threads: free functions without state, safe from any thread. Nothing blocks; a signed assertion costs about 1 ms of CPU (RSA 2048).
// Throws nothing but bad_alloc.
//
//   auto request = oauth2::build_token_request(app, credential, protocol, now);
//   http.post(request->url, request->content_type, request->authorization, request->body, ...);
//   auto reply = oauth2::parse_token_reply(app.provider, status, retry_after_header, body, now, credential.grant);
//   // invariant 3: store reply->refresh_token durably, then use reply->access_token
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "protocol/oauth2/providers.hpp"

namespace mailherd::oauth2 {

// ---- requests -----------------------------------------------------------------------------------------------------------------------

/// A POST, ready to send. The body holds secrets: send it and forget it.
struct token_request {
  std::string url;
  std::string content_type;  ///< application/x-www-form-urlencoded
  secret<> body;
  secret<> authorization;    ///< value of the Authorization header; empty: send none
};

/// How a client secret travels. Microsoft and Google take it in the body. RFC 6749, 2.3.1 prefers the header, and a custom provider may
/// insist on it: see wants_basic.
enum class client_auth { body, basic };

/// Whether the same request should be made once more with client_auth::basic (and that remembered for the app): a custom provider has
/// refused a secret that came in the body. Costs the grant nothing: a client is authenticated before its grant is looked at.
bool wants_basic(const oauth_app& app, client_auth used, int http_status, const error& refused);

/// The request that gets an access token for a stored credential: refresh_token for authorization_code and device_code grants
/// (RFC 6749, 6), client_credentials (4.4) otherwise. The client proves itself by `client_secret` in the body, or, when the app has a
/// private key, by a signed assertion (RFC 7523, 2.2; RS256, with x5t and x5t#S256 of the certificate, valid for 5 minutes).
/// Errors: consent_required   the credential holds no refresh token yet;
///         app_misconfigured  the app lacks a URL, its key or certificate is unusable, or its tenant is not a specific one;
///         internal           OpenSSL or its randomness failed.
result<token_request> build_token_request(const oauth_app& app, const credential& who, protocol_kind protocol, wall_time now,
                                          client_auth how = client_auth::body);

/// What one consent needs to keep from its beginning to its callback (RFC 7636): `verifier` is secret until it is sent.
struct pkce {
  secret<> verifier;
  std::string challenge;  ///< S256
};
result<pkce> make_pkce();

/// So many random bytes in base64url: a state, a nonce, a link's token.
result<std::string> unguessable(std::size_t bytes);

/// What an authorization endpoint's error means, in words (RFC 6749, 4.1.2.1); the browser brought both, so nothing of them is repeated that
/// could be anything else than a known name or number.
std::string words_for_error(provider_kind provider, std::string_view error, std::string_view description);

struct consent_request {
  std::string redirect_uri;
  std::string state;           ///< unguessable, from the caller
  std::string code_challenge;  ///< pkce::challenge
  std::string login_hint;      ///< address to preselect; may be empty
  std::string nonce = {};      ///< of the id_token; empty: none
  bool pick_account = false;   ///< another account than the browser's present one is wanted
};
/// The URL a person's browser opens to consent. Google: access_type=offline and prompt=consent, or a second consent gives no refresh token.
result<std::string> consent_url(const oauth_app& app, protocol_kind protocol, const consent_request& what);

/// The URL with which a Microsoft directory administrator allows an app-only registration. Other providers: invalid_input.
result<std::string> admin_consent_url(const oauth_app& app, const std::string& redirect_uri, const std::string& state);

/// Turns the callback's code into tokens; its reply goes to parse_token_reply.
result<token_request> build_code_request(const oauth_app& app, protocol_kind protocol, const secret<>& code,
                                         const std::string& redirect_uri, const secret<>& code_verifier, wall_time now,
                                         client_auth how = client_auth::body);

/// Begins the device flow (RFC 8628, 3.1); its reply goes to parse_device_reply.
result<token_request> build_device_request(const oauth_app& app, protocol_kind protocol, wall_time now,
                                           client_auth how = client_auth::body);
/// Asks whether the person has finished (3.4); its reply goes to parse_token_reply: authorization_pending and slow_down are
/// token_unavailable with `retry_at`, a refusal or an expired code is consent_required.
result<token_request> build_device_poll_request(const oauth_app& app, protocol_kind protocol, const secret<>& device_code, wall_time now,
                                                client_auth how = client_auth::body);

// ---- replies ------------------------------------------------------------------------------------------------------------------------

struct token_reply {
  secret<> access_token;
  wall_time expires_at{};                 ///< `now` + expires_in, within limits::token_lifetime_min..max
  std::optional<secret<>> refresh_token;  ///< nullopt: the provider did not rotate; keep the old one
  std::vector<std::string> scopes;        ///< as granted; empty when the reply names none
  /// The account that consented, from the id_token (preferred_username, email, upn). NOT verified: show it, never decide by it.
  std::string account_hint;
  secret<> id_token;                      ///< for identity.hpp; empty if the reply has none
};

/// Reads an answer of the token endpoint. `http_status` 0 = there was no answer; `retry_after` is that header's value or empty.
/// `grant` client_credentials: no person can consent there, so consent_required becomes admin_required.
/// Errors: consent_required, admin_required, app_misconfigured, account_blocked, request_loop as classify.hpp's table says;
///         token_unavailable  everything else: 429 and 5xx whatever they say, no JSON, empty, too large (limits::token_reply_bytes),
///                            unknown errors, a 200 without a usable token. `retry_at` is set when the provider named a time.
result<token_reply> parse_token_reply(provider_kind provider, int http_status, std::string_view retry_after, std::string_view body,
                                      wall_time now, grant_kind grant = grant_kind::authorization_code);

/// Whether the grant covers what the protocol needs: a token without it is refused by the mail server with no reason given. Replies
/// that name no scopes pass, and so do custom providers. Error: consent_required.
result<void> check_granted(const oauth_app& app, protocol_kind protocol, grant_kind grant, const token_reply& reply);

struct device_reply {
  secret<> device_code;
  std::string user_code;                  ///< what the person types
  std::string verification_uri;           ///< where
  std::string verification_uri_complete;  ///< the same with the code in it; may be empty
  wall_time expires_at{};
  seconds interval{5};                    ///< between two polls
};
/// Errors as parse_token_reply.
result<device_reply> parse_device_reply(provider_kind provider, int http_status, std::string_view retry_after, std::string_view body,
                                        wall_time now);

/// Retry-After (RFC 9110, 10.2.3): seconds, or an HTTP date in any of its three forms. nullopt if it is neither; never before `now`,
/// never later than limits::retry_after_max from now.
std::optional<wall_time> retry_after_time(std::string_view value, wall_time now);

}  // namespace mailherd::oauth2
