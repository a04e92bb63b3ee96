#include "actors/tenant_supervisor.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include <utility>

namespace mailherd::actors {

namespace {

constexpr backoff_policy restart_backoff{seconds(1), seconds(60), 2.0, 0.5};
/// A fetcher that lived this long was healthy: its next break is its first.
constexpr seconds healthy_life{5 * 60};

}  // namespace

tenant_supervisor_state::~tenant_supervisor_state() {
  // Also when this supervisor breaks: its successor starts the same channels.
  for (auto& [channel, c] : children)
    if (c.fetcher) caf::anon_send_exit(c.fetcher, caf::exit_reason::kill);
}

void tenant_supervisor_state::start() {
  timers.after(self, limits::watchdog_round, [this] { watch(); });
}

void tenant_supervisor_state::claimed(const store::lease_guard& guard) {
  if (stopping) {
    self->send(parts.guardian, ended_atom::value, guard);
    return;
  }
  const auto [at, fresh] = children.try_emplace(guard.channel);
  auto& c = at->second;
  if (!fresh && c.guard.epoch >= guard.epoch && !c.ending) return;   // told twice
  if (c.fetcher && c.guard.epoch == 0 && !c.ending) {
    // The standby is the owner now, and goes on with its session.
    c.guard = guard;
    self->send<caf::message_priority::high>(c.fetcher, claimed_atom::value, guard);
    return;
  }
  if (c.fetcher) {
    c.next = guard;
    if (!c.ending) end(c, limits::fetcher_stop_grace);
    return;
  }
  timers.cancel(c.timer);
  c = child{};
  c.guard = guard;
  spawn(c);
}

void tenant_supervisor_state::spawn(child& c) {
  const auto now = self->clock().now();
  c.vitals = std::make_shared<actors::vitals>();
  c.vitals->progress(now);
  c.born = now;
  c.resting = false;
  c.fetcher = parts.make_fetcher(c.guard, caf::weak_actor_ptr{self->ctrl()}, c.vitals);
  by_actor[c.fetcher.id()] = c.guard.channel;
  self->monitor(c.fetcher);
}

void tenant_supervisor_state::end(child& c, duration grace) {
  const auto at = self->clock().now() + grace;
  if (c.ending && c.kill_at <= at) return;   // told before, and with less time
  c.ending = true;
  c.kill_at = at;
  self->send<caf::message_priority::high>(c.fetcher, stop_atom::value);
  timers.cancel(c.timer);
  c.timer = timers.after(self, grace, [this, fetcher = c.fetcher, channel = c.guard.channel] {
    parts.env->report->log(log_level::warning, "supervisor kills a fetcher that did not end in time", {{"channel", to_string(channel)}});
    self->send_exit(fetcher, caf::exit_reason::kill);
  });
}

void tenant_supervisor_state::revoked(channel_id channel, duration grace) {
  const auto at = children.find(channel);
  if (at == children.end()) return;   // the guardian keeps the books: it does not ask for what is not here
  auto& c = at->second;
  if (c.next) {
    // The former fetcher is still ending, the later claim is withdrawn before it began.
    self->send(parts.guardian, ended_atom::value, *c.next);
    c.next.reset();
  }
  if (!c.fetcher) return remove(channel);
  end(c, grace);   // perhaps told before, with a longer grace
}

void tenant_supervisor_state::changed(channel_id channel) {
  const auto at = children.find(channel);
  if (at == children.end() || at->second.ending) return;
  auto& c = at->second;
  if (c.fetcher) {
    self->send(c.fetcher, changed_atom::value);
  } else {
    timers.cancel(c.timer);   // a change is a good reason not to wait any longer
    spawn(c);
  }
}

void tenant_supervisor_state::hand(const store::lease_guard& guard, hand_step step) {
  const auto at = children.find(guard.channel);
  if (at == children.end() || at->second.guard.epoch != guard.epoch) return;
  auto& c = at->second;
  switch (step) {
    case hand_step::yielded:
    case hand_step::ready:
    case hand_step::ready_alone:
    case hand_step::refused: return self->send(parts.guardian, hand_atom::value, guard, step);
    case hand_step::yield:
    case hand_step::yield_alone:
      // Without a fetcher there is nothing in hand: it broke and waits for its restart, or rests.
      if (!c.fetcher && !c.ending) return self->send(parts.guardian, hand_atom::value, guard, hand_step::yielded);
      break;
    case hand_step::go_on: break;
  }
  if (c.fetcher && !c.ending) self->send(c.fetcher, hand_atom::value, step);
}

void tenant_supervisor_state::lost(channel_id channel, std::int64_t epoch) {
  const auto at = children.find(channel);
  if (at == children.end() || at->second.guard.epoch != epoch) return;
  self->send(parts.guardian, lost_atom::value, channel, epoch);
  auto& c = at->second;
  c.lost = true;
  if (!c.fetcher) return remove(channel);
  if (!c.ending) end(c, limits::fetcher_stop_grace);   // it ends by itself; should it not, it is made to
}

void tenant_supervisor_state::token(channel_id channel, const std::shared_ptr<token_request>& request) {
  const auto at = children.find(channel);
  if (at == children.end() || !at->second.fetcher || at->second.ending) {
    request->then(fail(failure::not_found, "the channel is not served by this node"));
    return;
  }
  self->send(at->second.fetcher, token_atom::value, request);
}

void tenant_supervisor_state::ended(const caf::down_msg& down) {
  const auto known = by_actor.find(down.source.id());
  if (known == by_actor.end()) return;
  const auto channel = known->second;
  by_actor.erase(known);
  const auto at = children.find(channel);
  if (at == children.end()) return;
  auto& c = at->second;
  c.fetcher = nullptr;
  timers.cancel(c.timer);
  if (c.ending || stopping) return remove(channel);
  if (down.reason == caf::exit_reason::normal) {
    c.resting = true;
    return;
  }
  restart_later(c, caf::to_string(down.reason));
}

void tenant_supervisor_state::restart_later(child& c, const std::string& why) {
  const auto now = self->clock().now();
  if (now - c.born >= healthy_life) c.failures = 0;
  // A channel is never given up: past its budget it is tried seldom.
  const bool afford = c.budget.take(now);
  const duration wait = afford ? backoff_delay(restart_backoff, c.failures++, parts.env->random()) : duration(limits::restart_pause);
  parts.env->report->log(afford ? log_level::warning : log_level::error, "supervisor restarts a fetcher that broke",
                         {{"channel", to_string(c.guard.channel)},
                          {"reason", why},
                          {"in_ms", std::to_string(std::chrono::duration_cast<milliseconds>(wait).count())}});
  c.timer = timers.after(self, wait, [this, channel = c.guard.channel, epoch = c.guard.epoch] {
    const auto at = children.find(channel);
    if (at == children.end() || at->second.guard.epoch != epoch || at->second.fetcher || at->second.ending) return;
    spawn(at->second);
  });
}

/// Its fetcher has ended for good.
void tenant_supervisor_state::remove(channel_id channel) {
  const auto at = children.find(channel);
  const auto guard = at->second.guard;
  const bool lost = at->second.lost;
  const auto next = at->second.next;
  timers.cancel(at->second.timer);
  children.erase(at);
  if (!lost) self->send(parts.guardian, ended_atom::value, guard);
  if (next) claimed(*next);
  end_if_done();
}

void tenant_supervisor_state::watch() {
  timers.after(self, limits::watchdog_round, [this] { watch(); });
  const auto now = self->clock().now();
  for (auto& [channel, c] : children) {
    if (!c.fetcher || c.ending || now - c.vitals->counted_from() < limits::watchdog_no_progress) continue;
    parts.env->report->watchdog_restart();
    parts.env->report->log(log_level::error, "watchdog restarts a fetcher without progress", {{"channel", to_string(channel)}});
    c.vitals->progress(now);   // once; its end comes as a message
    self->send_exit(c.fetcher, caf::exit_reason::kill);
  }
}

void tenant_supervisor_state::stop() {
  if (std::exchange(stopping, true)) return;
  std::vector<channel_id> idle;
  for (auto& [channel, c] : children) {
    if (!c.fetcher) {
      idle.push_back(channel);
    } else if (!c.ending) {
      end(c, limits::fetcher_stop_grace);
    }
  }
  for (const auto channel : idle) remove(channel);
  end_if_done();
}

void tenant_supervisor_state::end_if_done() {
  if (stopping && children.empty()) self->quit();
}

tenant_supervisor_actor::behavior_type tenant_supervisor(tenant_supervisor_actor::stateful_pointer<tenant_supervisor_state> self, tenant_id tenant,
                                                         supervisor_parts parts) {
  auto& state = self->state;
  state.parts = std::move(parts);
  state.tenant = tenant;
  self->set_down_handler([&state](const caf::down_msg& down) { state.ended(down); });
  state.start();
  return {
      [](const continuation& rest) { rest.run(); },
      [&state](claimed_atom, const store::lease_guard& guard) { state.claimed(guard); },
      [&state](revoked_atom, channel_id channel, caf::timespan grace) { state.revoked(channel, grace); },
      [&state](changed_atom, channel_id channel) { state.changed(channel); },
      [&state](hand_atom, const store::lease_guard& guard, hand_step step) { state.hand(guard, step); },
      [&state](lost_atom, channel_id channel, std::int64_t epoch) { state.lost(channel, epoch); },
      [&state](token_atom, channel_id channel, const std::shared_ptr<token_request>& request) { state.token(channel, request); },
      [&state](tick_atom, std::uint64_t timer) { state.timers.fire(timer); },
      [&state](stop_atom) { state.stop(); },
  };
}

}  // namespace mailherd::actors
