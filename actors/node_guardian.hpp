// actors/node_guardian: turns the leases of this node into supervisors.
//
// Owns:   which channel belongs to which tenant's supervisor, under which epoch; supervisors' birth, restart and end.
// Never:  answers that a channel has ended before its fetcher has.
// Used by: lease_keeper (whoever sends `claimed` or `revoked` is told the ends), terminator.
#pragma once

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "actors/environment.hpp"
#include "actors/interfaces.hpp"
#include "actors/tenant_supervisor.hpp"
#include "actors/timers.hpp"

namespace mailherd::actors {

/// Makes a supervisor for a tenant; it answers to `guardian`. Tests inject their own.
using supervisor_maker = std::function<tenant_supervisor_actor(tenant_id tenant, const node_guardian_actor& guardian)>;

struct node_guardian_state {
  static inline const char* name = "node_guardian";

  struct house {
    tenant_supervisor_actor supervisor;   ///< none: it broke and waits for its restart
    std::unordered_map<channel_id, store::lease_guard> channels;
    unsigned failures = 0;
    mono_time born{};
  };

  explicit node_guardian_state(node_guardian_actor::pointer me) : self(me) {}
  ~node_guardian_state();   ///< kills what it leaves behind

  void claimed(const std::vector<store::lease_guard>& guards);
  void revoked(const std::vector<store::lease_guard>& guards, duration grace);
  void ended(const store::lease_guard& guard);
  void hand(const store::lease_guard& guard, hand_step step);
  void lost(channel_id channel, std::int64_t epoch);
  void down(const caf::down_msg& down);
  void stop();
  [[nodiscard]] house* find(tenant_id tenant);

  node_guardian_actor::pointer self;
  const environment* env = nullptr;
  supervisor_maker make_supervisor;
  lease_keeper_actor keeper;                                ///< whoever claimed last
  actors::timers timers;
  std::unordered_map<tenant_id, house> houses;
  std::unordered_map<channel_id, tenant_id> tenants;        ///< of the channels in `houses`
  std::unordered_map<caf::actor_id, tenant_id> by_actor;    ///< supervisors alive, also those told to end
  bool stopping = false;

 private:
  void spawn(tenant_id tenant, house& h);
  void tell_ended(const store::lease_guard& guard);
  void forget(const store::lease_guard& guard);
  void remember_keeper();
  void end_if_done();
};

node_guardian_actor::behavior_type node_guardian(node_guardian_actor::stateful_pointer<node_guardian_state> self, const environment* env,
                                                 supervisor_maker make_supervisor);

/// Supervisors and fetchers as in production, with the given ways to make a fetcher.
node_guardian_actor spawn_node_guardian(caf::actor_system& system, const environment& env, fetcher_maker make_fetcher);

}  // namespace mailherd::actors
