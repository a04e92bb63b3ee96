// tests/bench/cluster: three nodes on one database while mail arrives: drained, killed, frozen, restarted one after the other; and one with very many
// channels that have nothing to do.
//
// Owns:   the mail server, the database (durable, by Unix socket), the nodes as processes.
// Never:  judges: the runner's `judge` does. Everything waited for has an end (`patience`), so that a run that cannot succeed ends as well.
// Sizes:  scale 1 is 3 x 1,000 channels and 50 messages a second; CLUSTER_CHANNELS (of all nodes), CLUSTER_RATE and CLUSTER_TTL say otherwise.
#pragma once

#include "deliveries.hpp"

namespace mailherd::bench {

void cluster(double scale, const judge_function& judge);
/// Database statements of one node with 10,000 channels that have nothing to do, each with a mailbox of its own.
void cluster_idle(double scale, const judge_function& judge);

}  // namespace mailherd::bench
