// core/cluster_limits: the numbers of many nodes together: shares and handovers. As core/limits.hpp, which has those of one node.
//
// Owns:   named constants with unit, default, and what each one prevents.
#pragma once

#include "core/limits.hpp"

namespace mailherd::limits {

/// Channels of one node on their way to others at once, and of the whole cluster when only for balance: each is a sign-in at its mail server.
constexpr std::size_t handovers_at_once = 256;
constexpr std::size_t rebalance_at_once = 64;
/// From the wish to its answer, and from there to the commit boundary: what takes longer is given up, and the owner goes on serving.
constexpr seconds handover_deadline{50};
constexpr seconds yield_deadline{20};
/// A node told to drain gives back what it could not hand over in this time.
constexpr seconds drain_patience{120};
/// Free channels that nobody's share covers are taken by whoever looks after this long: shares are rounded, and counted from rows a little old.
constexpr seconds claim_overdue{6};
/// Nodes that come and go (a restart, a rolling upgrade) move no channel for balance's sake before it has been quiet for this long.
constexpr seconds rebalance_settle{60};

static_assert(handover_deadline < command_deadline, "a standby's session lives until its handover has come to an end");

}  // namespace mailherd::limits
