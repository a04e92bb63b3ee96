// actors/token_exchange: one question to a provider's endpoint, from what is asked to the classified answer.
//
// Owns:   the request, its repetitions when the provider wants the client's secret in the header (RFC 6749, 2.3.1) or takes the app's second
//         secret only, the endpoints that the provider's own description adds, the reading.
// Never:  stores, caches or decides anything: its callers do. Never logs.
// Used by: token_refresher, prober, connector.
#pragma once

#include <functional>
#include <string>

#include "actors/environment.hpp"
#include "core/clock.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "protocol/oauth2/oauth2.hpp"

namespace mailherd::actors {

/// How the client proved itself last: tried first next time.
struct client_proof {
  oauth2::client_auth how = oauth2::client_auth::body;
  bool second_secret = false;   ///< oauth_app::next_secret: of two live secrets the new one
};

struct token_answer {
  /// Errors: those of oauth2::build_token_request and oauth2::parse_token_reply; an endpoint that could not be reached is token_unavailable,
  /// one whose URL may not be used is app_misconfigured. That the granted scopes suffice is not checked here: a rotated
  /// refresh token must be kept all the same.
  result<oauth2::token_reply> reply;
  client_proof used = {};
};

struct token_question {
  oauth_app app;
  /// The request for an app with all its endpoints.
  std::function<result<oauth2::token_request>(const oauth_app& app, oauth2::client_auth how)> build;
  grant_kind grant = grant_kind::authorization_code;
  client_proof first;
};

/// `on_done` runs exactly once: at once if no request can be built, else on a reactor's thread. Any thread. Builds a signature on the caller's
/// thread if the app has a key (1 ms).
void ask_token_endpoint(const environment& env, token_question what, deadline until, std::function<void(token_answer)> on_done);

/// For a stored credential.
void ask_token_endpoint(const environment& env, const oauth_app& app, const credential& who, protocol_kind protocol, deadline until, client_proof first,
                        std::function<void(token_answer)> on_done);

/// Sends a request of oauth2::build_*; the answer as it came. Errors: token_unavailable, app_misconfigured, cancelled.
void post_form(const environment& env, oauth2::token_request what, deadline until, std::function<void(result<net::http_reply>)> on_done);

/// The answer's Retry-After, or empty.
std::string_view retry_after_of(const net::http_reply& reply);

}  // namespace mailherd::actors
