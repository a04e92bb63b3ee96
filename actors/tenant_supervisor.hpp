// actors/tenant_supervisor: all channels of one tenant on this node.
//
// Owns:   one fetcher per claimed channel: its birth, its restarts (back-off within a budget), its end; the watchdog over its progress.
// Never:  has two fetchers of one channel at once: a channel claimed anew waits until the former fetcher has ended. Leaves a fetcher behind
//         when it breaks itself. Looks at sockets: only at vitals.
// Used by: node_guardian; fetchers (lost_atom).
// A fetcher that ends in order without being told (its channel is disabled or gone) is not restarted until its rows change. One that was fenced
// is forgotten. One that breaks is restarted, sooner or later, always.
#pragma once

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "actors/environment.hpp"
#include "actors/interfaces.hpp"
#include "actors/timers.hpp"
#include "actors/vitals.hpp"
#include "core/backoff.hpp"

namespace mailherd::actors {

/// Makes a fetcher: the herd injects spawn_channel_fetcher, tests a small stand-in. `supervisor` is told `lost_atom` by it.
using fetcher_maker = std::function<channel_fetcher_actor(const store::lease_guard& guard, const caf::weak_actor_ptr& supervisor,
                                                          const std::shared_ptr<vitals>& vitals)>;

struct supervisor_parts {
  const environment* env = nullptr;
  node_guardian_actor guardian;
  fetcher_maker make_fetcher;
};

struct tenant_supervisor_state {
  static inline const char* name = "tenant_supervisor";

  struct child {
    store::lease_guard guard;
    channel_fetcher_actor fetcher;                ///< none: it has ended, or waits for its restart
    std::shared_ptr<actors::vitals> vitals;
    bool ending = false;                          ///< told to end: it is not restarted
    bool lost = false;                            ///< fenced: nobody waits to hear of its end
    bool resting = false;                         ///< ended in order by itself
    std::optional<store::lease_guard> next;       ///< claimed anew while the former fetcher was ending
    unsigned failures = 0;                        ///< in a row
    mono_time born{}, kill_at{};
    restart_budget budget{limits::restarts, limits::restarts_window};
    std::uint64_t timer = 0;                      ///< its restart, or its kill
  };

  explicit tenant_supervisor_state(tenant_supervisor_actor::pointer me) : self(me) {}
  ~tenant_supervisor_state();   ///< kills what it leaves behind

  void start();
  void claimed(const store::lease_guard& guard);
  void revoked(channel_id channel, duration grace);
  void changed(channel_id channel);
  void hand(const store::lease_guard& guard, hand_step step);
  void lost(channel_id channel, std::int64_t epoch);
  void token(channel_id channel, const std::shared_ptr<token_request>& request);
  void ended(const caf::down_msg& down);
  void stop();

  tenant_supervisor_actor::pointer self;
  supervisor_parts parts;
  tenant_id tenant;
  actors::timers timers;
  std::unordered_map<channel_id, child> children;
  std::unordered_map<caf::actor_id, channel_id> by_actor;
  bool stopping = false;

 private:
  void spawn(child& c);
  void end(child& c, duration grace);
  void restart_later(child& c, const std::string& why);
  void remove(channel_id channel);
  void watch();
  void end_if_done();
};

tenant_supervisor_actor::behavior_type tenant_supervisor(tenant_supervisor_actor::stateful_pointer<tenant_supervisor_state> self, tenant_id tenant,
                                                         supervisor_parts parts);

}  // namespace mailherd::actors
