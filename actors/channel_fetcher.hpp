// actors/channel_fetcher: how a supervisor brings a fetcher to life. The actor itself is fetcher/fetcher.hpp.
//
// Owns:   the parts a fetcher is given, and its birth.
#pragma once

#include <caf/actor_system.hpp>

#include <memory>

#include "actors/environment.hpp"
#include "actors/interfaces.hpp"
#include "actors/vitals.hpp"

namespace mailherd::actors {

struct fetcher_parts {
  const environment* env = nullptr;
  net::reactor* reactor = nullptr;          ///< where its sessions live
  store::lease_guard guard;                 ///< the lease epoch it writes under, for all its life
  storage_gate_actor gate;
  pacer_actor pacer;
  caf::weak_actor_ptr supervisor;           ///< a tenant_supervisor_actor: told `lost_atom` when a write was fenced
  std::shared_ptr<actors::vitals> vitals;
};

/// Spawned lazily linked to nothing: its supervisor monitors it. It ends with exit_reason::normal after `stop_atom` or when it was fenced or
/// its channel is gone or disabled; with another reason when it broke.
channel_fetcher_actor spawn_channel_fetcher(caf::actor_system& system, fetcher_parts parts);

}  // namespace mailherd::actors
