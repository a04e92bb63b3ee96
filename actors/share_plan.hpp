// actors/share_plan: how many channels each node is to have, as plain functions over what the rows tell.
//
// Owns:   fair shares (weighted by capacity), what may be claimed, where a draining node's channels go, what moves for balance.
// Never:  needs a leader: each node plans only its own claims and gives away only its own channels. Never moves for a small difference: a node
//         that restarts does not shuffle the others.
// Used by: lease_keeper.
#pragma once

#include <cstddef>
#include <vector>

#include "storage/store.hpp"

namespace mailherd::actors {

using survey = store::mail_store::survey;
using offers = std::vector<store::mail_store::offer>;

/// How many further channels `self`, which holds `held`, may claim now. `overdue`: nobody claimed what is free for a while, shares or not.
std::size_t claim_allowance(const survey& s, incarnation_id self, std::size_t held, std::size_t max_channels, bool overdue);

/// Whether anybody could take over what `self` holds.
bool others_could_serve(const survey& s, incarnation_id self);

/// Where `count` channels of the draining `self` go.
offers drain_plan(const survey& s, incarnation_id self, std::size_t count);

/// What `self` gives away so that all have their share; `held`: its channels, `going` of them are on their way already. Empty: near enough.
offers balance_plan(const survey& s, incarnation_id self, std::size_t held, std::size_t going);

}  // namespace mailherd::actors
