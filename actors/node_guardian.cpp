#include "actors/node_guardian.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include <utility>

#include "core/backoff.hpp"

namespace mailherd::actors {

namespace {
constexpr backoff_policy restart_backoff{seconds(1), seconds(30), 2.0, 0.5};
constexpr seconds healthy_life{5 * 60};
}  // namespace

node_guardian_state::~node_guardian_state() {
  for (auto& [tenant, h] : houses)
    if (h.supervisor) caf::anon_send_exit(h.supervisor, caf::exit_reason::kill);
}

void node_guardian_state::remember_keeper() {
  if (self->current_sender()) keeper = caf::actor_cast<lease_keeper_actor>(self->current_sender());
}

node_guardian_state::house* node_guardian_state::find(tenant_id tenant) {
  const auto at = houses.find(tenant);
  return at == houses.end() ? nullptr : &at->second;
}

void node_guardian_state::spawn(tenant_id tenant, house& h) {
  h.supervisor = make_supervisor(tenant, self);
  h.born = self->clock().now();
  by_actor[h.supervisor.id()] = tenant;
  self->monitor(h.supervisor);
  for (const auto& [channel, guard] : h.channels) self->send(h.supervisor, claimed_atom::value, guard);
}

void node_guardian_state::claimed(const std::vector<store::lease_guard>& guards) {
  remember_keeper();
  for (const auto& guard : guards) {
    if (stopping) {
      tell_ended(guard);
      continue;
    }
    const auto [at, fresh] = houses.try_emplace(guard.tenant);
    auto& h = at->second;
    h.channels[guard.channel] = guard;
    tenants[guard.channel] = guard.tenant;
    if (fresh) {
      spawn(guard.tenant, h);
    } else if (h.supervisor) {
      self->send(h.supervisor, claimed_atom::value, guard);
    }
  }
}

void node_guardian_state::revoked(const std::vector<store::lease_guard>& guards, duration grace) {
  remember_keeper();
  for (const auto& guard : guards) {
    auto* h = find(guard.tenant);
    const auto at = h ? h->channels.find(guard.channel) : decltype(h->channels.end()){};
    if (!h || at == h->channels.end() || at->second.epoch != guard.epoch) {
      tell_ended(guard);
    } else if (h->supervisor) {
      self->send(h->supervisor, revoked_atom::value, guard.channel, caf::timespan{grace});
    } else {
      ended(guard);   // its supervisor broke and took the fetcher with it
    }
  }
}

void node_guardian_state::tell_ended(const store::lease_guard& guard) {
  if (keeper) self->send(keeper, revoked_atom::value, guard);
}

void node_guardian_state::ended(const store::lease_guard& guard) {
  forget(guard);
  tell_ended(guard);
  end_if_done();
}

/// From the keeper down to the channel's supervisor, from there up to the keeper.
void node_guardian_state::hand(const store::lease_guard& guard, hand_step step) {
  const bool down = step == hand_step::yield || step == hand_step::yield_alone || step == hand_step::go_on;
  if (!down) {
    if (keeper) self->send(keeper, hand_atom::value, guard, step);
    return;
  }
  const auto* h = find(guard.tenant);
  if (h && h->supervisor) self->send(h->supervisor, hand_atom::value, guard, step);
}

void node_guardian_state::lost(channel_id channel, std::int64_t epoch) {
  if (keeper) self->send(keeper, lost_atom::value, channel, epoch);
  const auto tenant = tenants.find(channel);
  if (tenant == tenants.end()) return;
  forget({tenant->second, channel, epoch});
  end_if_done();
}

/// A tenant without channels needs no supervisor; one that comes back gets a new one, whatever became of the old.
void node_guardian_state::forget(const store::lease_guard& guard) {
  auto* h = find(guard.tenant);
  if (!h) return;
  const auto at = h->channels.find(guard.channel);
  if (at == h->channels.end() || at->second.epoch != guard.epoch) return;   // claimed anew meanwhile
  h->channels.erase(at);
  tenants.erase(guard.channel);
  if (!h->channels.empty()) return;
  if (h->supervisor) self->send(h->supervisor, stop_atom::value);
  houses.erase(guard.tenant);
}

void node_guardian_state::down(const caf::down_msg& down) {
  const auto known = by_actor.find(down.source.id());
  if (known == by_actor.end()) return;
  const auto tenant = known->second;
  by_actor.erase(known);
  auto* h = find(tenant);
  // An orderly end's last words (`ended`) may still be in the mailbox: system messages overtake them.
  if (h && h->supervisor && h->supervisor.id() == down.source.id() && down.reason != caf::exit_reason::normal) {
    h->supervisor = nullptr;
    env->report->log(log_level::error, "guardian lost a supervisor", {{"tenant", to_string(tenant)}, {"reason", caf::to_string(down.reason)}});
    if (stopping) {
      auto channels = h->channels;
      for (const auto& [channel, guard] : channels) ended(guard);
    } else {
      if (self->clock().now() - h->born >= healthy_life) h->failures = 0;
      timers.after(self, backoff_delay(restart_backoff, h->failures++, env->random()), [this, tenant] {
        auto* again = find(tenant);
        if (again && !again->supervisor && !stopping) spawn(tenant, *again);
      });
    }
  }
  end_if_done();
}

void node_guardian_state::stop() {
  if (std::exchange(stopping, true)) return;
  std::vector<store::lease_guard> homeless;
  for (auto& [tenant, h] : houses) {
    if (h.supervisor) {
      self->send(h.supervisor, stop_atom::value);
    } else {
      for (const auto& [channel, guard] : h.channels) homeless.push_back(guard);
    }
  }
  for (const auto& guard : homeless) ended(guard);
  end_if_done();
}

void node_guardian_state::end_if_done() {
  if (stopping && houses.empty() && by_actor.empty()) self->quit();
}

node_guardian_actor::behavior_type node_guardian(node_guardian_actor::stateful_pointer<node_guardian_state> self, const environment* env,
                                                 supervisor_maker make_supervisor) {
  auto& state = self->state;
  state.env = env;
  state.make_supervisor = std::move(make_supervisor);
  self->set_down_handler([&state](const caf::down_msg& down) { state.down(down); });
  return {
      [](const continuation& rest) { rest.run(); },
      [&state](claimed_atom, const std::vector<store::lease_guard>& guards) { state.claimed(guards); },
      [&state](revoked_atom, const std::vector<store::lease_guard>& guards, caf::timespan grace) { state.revoked(guards, grace); },
      [&state](ended_atom, const store::lease_guard& guard) { state.ended(guard); },
      [&state](hand_atom, const store::lease_guard& guard, hand_step step) { state.hand(guard, step); },
      [&state, self](changed_atom, tenant_id tenant, channel_id channel) {
        const auto* h = state.find(tenant);
        if (h && h->supervisor) self->send(h->supervisor, changed_atom::value, channel);
      },
      [&state, self](token_atom, tenant_id tenant, channel_id channel, const std::shared_ptr<token_request>& request) {
        const auto* h = state.find(tenant);
        if (h && h->supervisor) return self->send(h->supervisor, token_atom::value, channel, request);
        request->then(fail(failure::not_found, "the channel is not served by this node"));
      },
      [&state](lost_atom, channel_id channel, std::int64_t epoch) { state.lost(channel, epoch); },
      [&state](tick_atom, std::uint64_t timer) { state.timers.fire(timer); },
      [&state](stop_atom) { state.stop(); },
  };
}

node_guardian_actor spawn_node_guardian(caf::actor_system& system, const environment& env, fetcher_maker make_fetcher) {
  auto make = [&system, &env, make_fetcher = std::move(make_fetcher)](tenant_id tenant, const node_guardian_actor& guardian) {
    auto made = system.spawn(tenant_supervisor, tenant, supervisor_parts{&env, guardian, make_fetcher});
    env.roster->add("tenant_supervisor " + to_string(tenant), caf::actor_cast<caf::weak_actor_ptr>(made));
    return made;
  };
  return system.spawn(node_guardian, &env, supervisor_maker(std::move(make)));
}

}  // namespace mailherd::actors
