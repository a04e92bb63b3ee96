#include "tests/sim/sim_node.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include "actors/channel_fetcher.hpp"

namespace mailherd::sim {

using namespace actors;  // NOLINT: a node is made of nothing else

sim_node::sim_node(std::string its_name, const surroundings& world)
    : name(std::move(its_name)), world_(world), system_(config_), scheduler_(dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler())) {
  scheduler_.clock().current_time = world_.now();
  reactor_.clock = world_.now;
  reactor_.wall = [this] { return world_.wall() + std::chrono::duration_cast<std::chrono::microseconds>(clock_error); };
  net.latency = world_.latency;
  net.listen("mail.test:993", world_.imap->maker());
  store.now = world_.now;
  store.stores = world_.mail;
  store.admin.on_get_app = world_.app;
  env_.options.node_name = name;
  env_.options.version = "sim";
  env_.options.rebalance_after = seconds(30);
  env_.reactors = {&reactor_};
  env_.dialer = &net;
  env_.http = world_.idp;
  env_.store = &store;
  env_.report = world_.report;
  env_.budget = std::make_shared<fetch_budget>(limits::fetch_budget_bytes);
  env_.wall_now = reactor_.wall;
  env_.random = world_.random;
  terminator_parts parts;
  parts.env = &env_;
  parts.serving = serving_;
  parts.open = open_session;
  parts.on_end = [this](bool) { ended_ = true; };
  parts.fetchers = [this](const storage_gate_actor& g, const pacer_actor& p) -> fetcher_maker {
    return [this, g, p](const store::lease_guard& guard, const caf::weak_actor_ptr& s, const std::shared_ptr<vitals>& v) {
      auto made = spawn_channel_fetcher(system_, fetcher_parts{&env_, &reactor_, guard, g, p, s, v});
      env_.roster->add("channel_fetcher " + to_string(guard.channel), caf::actor_cast<caf::weak_actor_ptr>(made));
      return made;
    };
  };
  root_ = system_.spawn(terminator, std::move(parts));
}

sim_node::~sim_node() {
  frozen = false;
  if (!over()) crash(false);
  root_ = nullptr;
  while (run()) {
  }
}

bool sim_node::run() {
  if (frozen) return false;
  bool any = false;
  for (bool more = true; more;) {
    more = scheduler_.run() > 0;
    more = reactor_.run() || more;
    world_.speaks(&name);
    more = store.run() || more;
    world_.speaks(nullptr);
    any = any || more;
  }
  return any;
}

std::optional<mono_time> sim_node::next_timer() {
  if (frozen) return std::nullopt;
  std::optional<mono_time> next;
  auto& clock = scheduler_.clock();
  if (clock.has_pending_timeout()) next = clock.schedule().begin()->first;
  if (const auto t = reactor_.next(); t && (!next || *t < *next)) next = t;
  return next;
}

void sim_node::fire_timers() {
  if (frozen) return;
  auto& clock = scheduler_.clock();
  clock.current_time = std::max(clock.current_time, world_.now());
  while (clock.has_pending_timeout() && clock.schedule().begin()->first <= clock.current_time) clock.trigger_timeout();
}

void sim_node::stop(seconds grace) {
  if (root_ && !over()) caf::anon_send(root_, stop_atom::value, caf::timespan{grace});
}

void sim_node::crash(bool sent) {
  if (std::exchange(crashed_, true)) return;
  frozen = false;
  if (sent) {
    world_.speaks(&name);
    store.run(true);
    world_.speaks(nullptr);
  }
  store.up = false;
  store.held = false;
  caf::anon_send_exit(root_, caf::exit_reason::kill);
  root_ = nullptr;
  env_.roster->kill();
  net.break_all();
  while (run()) {
  }
  env_.roster->kill();
  while (run()) {
  }
}

}  // namespace mailherd::sim
