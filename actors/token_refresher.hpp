// actors/token_refresher: access tokens of one channel's grant, one refresh at a time.
//
// Owns:   the newest access token in memory, requests that wait for the one refresh under way, the order "new refresh token durable, then
//         access token used" (invariant 3).
// Never:  asks a person to consent for anything but the token endpoint's own verdict (invariant 5); never logs a token.
// Used by: channel_fetcher (spawns it when it first needs a token, sends changed_atom when the credential changed).
#pragma once

#include <caf/actor_system.hpp>

#include "actors/environment.hpp"
#include "actors/interfaces.hpp"

namespace mailherd::actors {

token_refresher_actor spawn_token_refresher(caf::actor_system& system, const environment& env, store::lease_guard guard);

}  // namespace mailherd::actors
