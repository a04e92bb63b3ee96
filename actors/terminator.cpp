#include "actors/terminator.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include <algorithm>
#include <utility>

#include "actors/deliverer.hpp"
#include "actors/lease_keeper.hpp"
#include "actors/pacer.hpp"
#include "actors/storage_gate.hpp"
#include "core/backoff.hpp"

namespace mailherd::actors {

namespace {

constexpr backoff_policy restart_backoff{milliseconds(500), seconds(30), 2.0, 0.5};
constexpr seconds healthy_life{5 * 60};
/// After the grace, for those whose turn had not come.
constexpr milliseconds last_moment{700};
constexpr milliseconds straggler_round{50};
/// Of the grace, what is kept for logging out and for giving leases back.
constexpr seconds rest_of_stop = limits::fetcher_stop_grace + seconds(2);

}  // namespace

terminator_state::~terminator_state() {
  for (const auto& p : all)
    if (p.alive) caf::anon_send_exit(p.actor, caf::exit_reason::kill);
}

template <class Handle>
void terminator_state::own(std::string part_name, const Handle& who) {
  self->monitor(who);
  all.push_back({std::move(part_name), caf::actor_cast<caf::actor>(who), true, false});
}

void terminator_state::start() {
  auto& system = self->system();
  const auto& env = *parts.env;
  all.clear();
  broken = false;
  started = self->clock().now();
  const auto gate = spawn_storage_gate(system, env);
  const auto pace = spawn_pacer(system, env);
  guardian = spawn_node_guardian(system, env, parts.fetchers(gate, pace));
  const auto me = caf::actor_cast<caf::weak_actor_ptr>(caf::strong_actor_ptr{self->ctrl()});
  prober_ = system.spawn(prober, parts.env, parts.open, [me](tenant_id tenant, channel_id channel, std::shared_ptr<token_request> request) {
    if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(me))
      caf::anon_send(caf::actor_cast<terminator_actor>(strong), token_atom::value, tenant, channel, std::move(request));
  });
  keeper = spawn_lease_keeper(system, env, guardian, parts.serving, [me] {
    if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(me)) caf::anon_send(caf::actor_cast<terminator_actor>(strong), ended_atom::value);
  });
  own("prober", prober_);
  own("node_guardian", guardian);
  if (env.webhooks != nullptr) {
    deliverer_ = spawn_deliverer(system, env);
    own("deliverer", deliverer_);   // after the fetchers: what they stored last may still go out
  }
  own("lease_keeper", keeper);
  own("storage_gate", gate);
  own("pacer", pace);
  if (draining) self->send(keeper, drain_atom::value);
}

void terminator_state::down(const caf::down_msg& down) {
  const auto at = std::find_if(all.begin(), all.end(), [&](const part& p) { return p.actor.id() == down.source.id(); });
  if (at == all.end()) return;
  at->alive = false;
  if (stopping) {
    handing_over = false;
    return proceed();
  }
  // They depend on each other's memory (who holds which handle, who waits for which answer): one that breaks takes all with it, and all
  // begin anew from the rows.
  if (!std::exchange(broken, true)) {
    *parts.serving = false;
    parts.env->report->log(log_level::error, "terminator restarts the node's actors: one broke", {{"actor", at->name}, {"reason", caf::to_string(down.reason)}});
    kill(true);
  }
  if (std::any_of(all.begin(), all.end(), [](const part& p) { return p.alive; })) return;
  if (self->clock().now() - started >= healthy_life) restarts = 0;
  timers.after(self, backoff_delay(restart_backoff, restarts++, parts.env->random()), [this] {
    if (!stopping) start();
  });
}

void terminator_state::stop(duration grace) {
  if (std::exchange(stopping, true)) return;
  *parts.serving = false;
  // Other nodes take over first, while everything is still served here; what is left then ends in order.
  handing_over = !broken;
  self->send(keeper, drain_atom::value);
  timers.after(self, grace - std::min<duration>(grace / 2, rest_of_stop), [this] { drained(); });
  timers.after(self, grace, [this] {
    orderly = false;
    kill(false);
    timers.after(self, last_moment, [this] {
      kill(true);
      for (const auto& straggler : parts.env->roster->kill())
        parts.env->report->log(log_level::error, "terminator kills an actor that did not end in time", {{"actor", straggler}});
    });
  });
  if (!handing_over) proceed();
}

void terminator_state::drained() {
  if (stopping && std::exchange(handing_over, false)) proceed();
}

/// The next whose turn it is is told to end; the others wait for it.
void terminator_state::proceed() {
  if (handing_over) return;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].alive) continue;
    tell(all[i]);
    if (i == 0) tell(all[1]);   // tests and channels end together
    return;
  }
  wait_for_stragglers();
}

void terminator_state::tell(part& p) {
  if (!p.alive || std::exchange(p.told, true)) return;
  if (p.name == "pacer") {
    self->send_exit(p.actor, caf::exit_reason::user_shutdown);
  } else {
    caf::anon_send(p.actor, stop_atom::value);
  }
}

/// Kills those who were told to end and did not; or everything.
void terminator_state::kill(bool everything) {
  for (auto& p : all) {
    if (!p.alive || (!everything && !p.told)) continue;
    if (stopping) parts.env->report->log(log_level::error, "terminator kills an actor that did not end in time", {{"actor", p.name}});
    self->send_exit(p.actor, caf::exit_reason::kill);
  }
}

/// A refresher may still be writing its rotated token.
void terminator_state::wait_for_stragglers() {
  if (parts.env->roster->living().empty()) return finish();
  timers.after(self, straggler_round, [this] { wait_for_stragglers(); });
}

void terminator_state::finish() {
  if (auto end = std::exchange(parts.on_end, {})) end(orderly);
  self->quit();
}

terminator_actor::behavior_type terminator(terminator_actor::stateful_pointer<terminator_state> self, terminator_parts parts) {
  auto& state = self->state;
  state.parts = std::move(parts);
  self->set_down_handler([&state](const caf::down_msg& down) { state.down(down); });
  state.start();
  return {
      [](const continuation& rest) { rest.run(); },
      [&state](tick_atom, std::uint64_t timer) { state.timers.fire(timer); },
      [&state, self](changed_atom) { self->send(state.keeper, changed_atom::value); },
      [&state, self](fed_atom, tenant_id tenant) {
        if (state.deliverer_) self->send(state.deliverer_, fed_atom::value, tenant);
      },
      [&state, self](hooks_atom) {
        if (state.deliverer_) self->send(state.deliverer_, changed_atom::value);
      },
      [&state, self](drain_atom) {
        state.draining = true;
        self->send(state.keeper, drain_atom::value);
      },
      [&state](ended_atom) { state.drained(); },
      [&state, self](test_atom, const std::shared_ptr<probe_request>& request) {
        if (state.stopping) return request->on_done(fail(failure::cancelled, "the node stops"));
        self->send(state.prober_, test_atom::value, request);
      },
      [&state, self](token_atom, tenant_id tenant, channel_id channel, const std::shared_ptr<token_request>& request) {
        self->send(state.guardian, token_atom::value, tenant, channel, request);
      },
      [&state](stop_atom, caf::timespan grace) { state.stop(grace); },
  };
}

}  // namespace mailherd::actors
