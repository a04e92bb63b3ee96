// actors/token_refresher: access tokens of one channel's grant, one refresh at a time.
//
// Owns:   the newest access token in memory, requests that wait for the one refresh under way, the order "new refresh token durable, then
//         access token used" (invariant 3).
//         How an endpoint's "no" is remembered: consent_required and request_loop until changed_atom, admin_required, app_misconfigured and
//         account_blocked for limits::token_blocked_retry, anything passing until its `retry_at`: no call is made meanwhile.
// Never:  asks a person to consent for anything but the token endpoint's own verdict (invariant 5); never logs a token.
// Used by: channel_fetcher (spawns it when it first needs a token, sends changed_atom when the credential changed, stop_atom when it ends).
// Life:   while a refresh is under way the actor keeps itself alive until the rotated token is durable, whatever became of its owner; an exit
//         other than `kill` is answered like stop_atom.
// Answers: a token with more than limits::token_renew_ahead (or half of a shorter life) before it; or an error: consent_required,
//         admin_required, app_misconfigured, account_blocked, token_unavailable (with `retry_at`), request_loop; fenced; not_found; cancelled
//         (the generation is gone, or the refresher ends); store_unavailable and other errors of the store.
#pragma once

#include <caf/actor_system.hpp>

#include "actors/environment.hpp"
#include "actors/interfaces.hpp"

namespace mailherd::actors {

token_refresher_actor spawn_token_refresher(caf::actor_system& system, const environment& env, store::lease_guard guard);

}  // namespace mailherd::actors
