// actors/token_exchange: one question to a token endpoint, from credential to classified answer.
//
// Owns:   the request, its one repetition when the provider wants the client's secret in the header (RFC 6749, 2.3.1), the reading.
// Never:  stores, caches or decides anything: its callers do. Never logs.
// Used by: token_refresher, prober.
#pragma once

#include <functional>

#include "actors/environment.hpp"
#include "core/clock.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "protocol/oauth2/oauth2.hpp"

namespace mailherd::actors {

struct token_answer {
  /// Errors: those of oauth2::build_token_request and oauth2::parse_token_reply; an endpoint that could not be reached is token_unavailable,
  /// one whose URL may not be used is app_misconfigured. That the granted scopes suffice is not checked here: a rotated
  /// refresh token must be kept all the same.
  result<oauth2::token_reply> reply;
  oauth2::client_auth used = oauth2::client_auth::body;   ///< try this first next time
};

/// `on_done` runs exactly once: at once if no request can be built, else on a reactor's thread. Any thread. Builds a signature on the caller's
/// thread if the app has a key (1 ms).
void ask_token_endpoint(const environment& env, const oauth_app& app, const credential& who, protocol_kind protocol, deadline until,
                        oauth2::client_auth how, std::function<void(token_answer)> on_done);

}  // namespace mailherd::actors
