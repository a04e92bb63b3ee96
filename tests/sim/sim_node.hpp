// tests/sim/sim_node: one node of the simulated cluster: its real actors on a scheduler, a network and storage workers of its own.
//
// Owns:   an actor system on CAF's deterministic scheduler; a reactor; connections; jobs on their way to the database; a wall clock that may jump.
// Never:  runs by itself: the simulation lets it, or does not (a frozen process).
#pragma once

#include <caf/actor_system.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <memory>
#include <optional>
#include <string>

#include "actors/terminator.hpp"
#include "tests/actors/imap_server.hpp"
#include "tests/actors/memory_net.hpp"
#include "tests/actors/world.hpp"

namespace mailherd::sim {

/// What all nodes share, and how each is made.
struct surroundings {
  std::function<mono_time()> now;
  std::function<wall_time()> wall;
  std::function<std::uint64_t()> random;
  std::function<duration()> latency;
  test::imap_server* imap = nullptr;
  store::mail_store* mail = nullptr;
  net::http_client* idp = nullptr;
  test::noted_telemetry* report = nullptr;
  std::function<result<oauth_app>(const store::caller&, tenant_id, app_id)> app;
  std::function<void(const std::string* node)> speaks;  ///< before a node's job runs in the database; null: after it
};

class sim_node {
 public:
  sim_node(std::string name, const surroundings& world);
  ~sim_node();
  sim_node(const sim_node&) = delete;
  sim_node& operator=(const sim_node&) = delete;

  /// Whatever can be done at this moment. True if there was anything.
  bool run();
  [[nodiscard]] std::optional<mono_time> next_timer();
  void fire_timers();

  void drain() { tell(actors::drain_atom::value); }
  void wake() { tell(actors::changed_atom::value); }
  void stop(seconds grace);
  /// SIGKILL: nothing is finished, nothing given back. `sent`: what was on its way to the database arrives there all the same.
  void crash(bool sent);
  [[nodiscard]] bool over() const { return ended_ || crashed_; }

  const std::string name;
  bool frozen = false;
  duration clock_error{};  ///< of its wall clock
  test::hand_executor store;
  test::memory_net net;

 private:
  struct workers;
  template <class Atom>
  void tell(Atom what) {
    if (root_ && !over()) caf::anon_send(root_, what);
  }

  const surroundings& world_;
  test::testing_config config_;
  test::memory_reactor reactor_;
  actors::environment env_;
  std::shared_ptr<std::atomic<bool>> serving_ = std::make_shared<std::atomic<bool>>(false);
  bool ended_ = false, crashed_ = false;
  caf::actor_system system_;
  caf::scheduler::test_coordinator& scheduler_;
  actors::terminator_actor root_;
};

}  // namespace mailherd::sim
