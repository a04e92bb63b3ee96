// actors/pacer: spreads sign-ins, so that a restart, a failover or a provider's hiccup does not become a storm of logins.
//
// Owns:   the login_queue of this node; a ticket per attempt under way.
// Cluster: a mail host counts the attempts of all nodes: what it may be asked at once is divided by the number of nodes that take channels.
// Never:  takes a ticket back: it returns when its last owner lets go, whatever became of that owner.
// Used by: channel_fetcher (login_atom). The ticket is to be held from before the connection is opened until the mailbox is selected or
//         the attempt has failed, and not longer: it bounds attempts, not sessions.
#pragma once

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "actors/environment.hpp"
#include "actors/interfaces.hpp"
#include "actors/login_queue.hpp"

namespace mailherd::actors {

struct pacer_state {
  static inline const char* name = "pacer";

  explicit pacer_state(pacer_actor::pointer me) : self(me) {}

  void pump();

  pacer_actor::pointer self;
  login_queue queue{1, 1};
  unsigned per_host = 1;                               ///< of the whole cluster
  std::shared_ptr<std::atomic<unsigned>> nodes;
};

pacer_actor::behavior_type pacer(pacer_actor::stateful_pointer<pacer_state> self, const herd_options& options,
                                 const std::shared_ptr<std::atomic<unsigned>>& nodes);

pacer_actor spawn_pacer(caf::actor_system& system, const environment& env);

}  // namespace mailherd::actors
