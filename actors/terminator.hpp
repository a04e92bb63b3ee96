// actors/terminator: the beginning and the end of a node's actors, and the one address the outside knows.
//
// Owns:   guardian, lease keeper, gate, pacer, prober, deliverer: their birth in order, their common restart if one of them breaks, their end in order:
//         channels go to other nodes while they are still served here, then prober and guardian (fetchers log out), keeper (leases are given back), gate (what is queued is stored), pacer, stragglers.
// Never:  waits longer than the grace: what has not ended then is killed and named in the log; the later parts still get a moment, so that
//         leases are given back also by a node that had to kill.
// Used by: herd.
#pragma once

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/environment.hpp"
#include "actors/interfaces.hpp"
#include "actors/node_guardian.hpp"
#include "actors/prober.hpp"
#include "actors/timers.hpp"

namespace mailherd::actors {

struct terminator_parts {
  const environment* env = nullptr;
  std::shared_ptr<std::atomic<bool>> serving;
  /// A fetcher_maker for these two: they are new after a restart.
  std::function<fetcher_maker(const storage_gate_actor&, const pacer_actor&)> fetchers;
  session_opener open;
  std::function<void(bool orderly)> on_end;   ///< all have ended; on the actor's thread, once
};

struct terminator_state {
  static inline const char* name = "terminator";

  struct part {
    std::string name;
    caf::actor actor;
    bool alive = true;
    bool told = false;
  };

  explicit terminator_state(terminator_actor::pointer me) : self(me) {}
  ~terminator_state();   ///< kills what it leaves behind

  void start();
  void down(const caf::down_msg& down);
  void stop(duration grace);
  void drained();

  terminator_actor::pointer self;
  terminator_parts parts;
  actors::timers timers;
  std::vector<part> all;               ///< in the order of their end
  node_guardian_actor guardian;
  lease_keeper_actor keeper;
  prober_actor prober_;
  deliverer_actor deliverer_;
  bool draining = false, stopping = false, orderly = true, broken = false;
  bool handing_over = false;           ///< stopping, and the lease keeper has not said that nothing is left
  unsigned restarts = 0;
  mono_time started{};

 private:
  template <class Handle>
  void own(std::string part_name, const Handle& who);
  void proceed();
  void tell(part& p);
  void kill(bool everything);
  void wait_for_stragglers();
  void finish();
};

terminator_actor::behavior_type terminator(terminator_actor::stateful_pointer<terminator_state> self, terminator_parts parts);

}  // namespace mailherd::actors
