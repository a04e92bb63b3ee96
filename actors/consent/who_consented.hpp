// actors/consent/who_consented: from a token reply to the person who consented, as the provider signed it.
//
// Owns:   which provider's keys judge an app's id_tokens. Never:  believes one that is not signed.
// Used by: connector.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "actors/environment.hpp"
#include "protocol/oauth2/identity.hpp"

namespace mailherd::actors {

/// nullopt: the provider is not said to speak OpenID and gave no id_token. Errors: token_unavailable (its keys cannot be fetched),
/// app_misconfigured (it gave none although it should), invalid_input (the id_token is not good; the detail says why).
/// `app` has its endpoints (discovery::complete).
void who_consented(const environment& env, const oauth_app& app, const secret<>& id_token, const std::string& nonce, deadline until,
                   std::function<void(result<std::optional<oauth2::id_claims>>)> then);

}  // namespace mailherd::actors
