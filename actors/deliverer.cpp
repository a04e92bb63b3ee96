#include "actors/deliverer.hpp"

#include <utility>

#include "actors/delivery/telling.hpp"
#include "core/backoff.hpp"

namespace mailherd::actors {

using store::webhook_key;
using store::webhook_store;

namespace {

constexpr backoff_policy round_backoff{milliseconds(500), seconds(10), 2.0, 0.5};
/// What a receiver may take to answer while the deliverer stops, from its request on. One that is slower is not waited for: the attempt is noted as
/// interrupted, and the event comes again from another node with the same id. Not zero, or every stop would repeat what is just being taken.
constexpr milliseconds stop_patience{1'000};

mono_time clock_now(deliverer_actor::pointer self) { return self->clock().now(); }

/// Runs `job(webhook_store&)` on a worker.
template <class T, class Job, class Then>
void ask(deliverer_actor::pointer self, const environment& env, Job job, Then then, bool urgent = false) {
  ask_store<T>(self, *env.store, deadline::after(clock_now(self), limits::command_deadline),
               [job = std::move(job)](store::session& s) -> result<T> {
                 if (s.webhooks == nullptr) return fail(failure::internal, "this store has no webhooks");
                 return job(*s.webhooks, s);
               },
               std::move(then), urgent);
}

}  // namespace

// ---- its life in the database -----------------------------------------------------------------------------------------------------------

void deliverer_state::start() { join(); }

void deliverer_state::join() {
  in_round = true;
  ask<deliverer_id>(
      self, *env, [node = env->options.node_name](webhook_store& hooks, store::session&) { return hooks.join(node, limits::deliverer_ttl); },
      [this](const result<deliverer_id>& made) {
        in_round = false;
        if (stopping && made) life = *made;
        if (stopping) return end_if_done();
        if (!made) return plan_round(backoff_delay(round_backoff, 2, env->random()));
        life = *made;
        round();
      },
      true);
}

void deliverer_state::plan_round(duration wait) {
  timers.cancel(round_timer);
  round_timer = timers.after(self, wait, [this] { life ? round() : join(); });
}

void deliverer_state::look_now() {
  if (stopping) return;
  if (in_round) {
    round_again = true;
  } else if (life) {
    round();
  }
}

void deliverer_state::round() {
  if (stopping || in_round) return;
  timers.cancel(round_timer);
  in_round = true;
  ask<webhook_store::round_report>(
      self, *env, [life = life](webhook_store& hooks, store::session&) { return hooks.round(life, limits::deliverer_ttl); },
      [this](const result<webhook_store::round_report>& report) {
        in_round = false;
        if (stopping) return end_if_done();
        if (report) {
          on_round(*report);
        } else if (report.error().code == failure::fenced) {
          forget_life();
          return join();
        }
        // Without endpoints only a life is to be renewed.
        plan_round(std::exchange(round_again, false) ? duration::zero() : duration(env->options.deliverer_round) * (places.empty() ? 2 : 1));
      },
      true);
}

/// Others may have our endpoints: what we know of them is void. Requests under way are answered into nothing.
void deliverer_state::forget_life() {
  env->report->log(log_level::warning, "deliverer lost its life in the database and begins a new one", {});
  life = {};
  while (!places.empty()) drop(places.begin()->first);
}

void deliverer_state::on_round(const webhook_store::round_report& report) {
  std::set<webhook_key> mine;
  std::vector<webhook_key> ready;
  for (const auto& w : report.owned) {
    mine.insert(w.key);
    if (const auto& p = places[w.key]; p.at && (p.epoch != w.epoch || p.revision != w.revision)) drop(w.key);
    auto& p = places[w.key];
    if (p.at) {
      p.at->heads(w.message_head, w.state_head, w.asked);
      ready.push_back(w.key);
    } else if (p.serial == 0) {
      load_settings(w.key);
    }
  }
  std::vector<webhook_key> lost, surplus;
  std::int64_t backlog = 0, kept = 0;
  for (const auto& [key, p] : places) {
    if (!mine.contains(key)) {
      lost.push_back(key);
      continue;
    }
    if (p.at) backlog += p.at->backlog();
    // More than its share while another node has less: those that have nothing to do just now are given back.
    if (++kept > report.share && p.at && p.at->in_flight() == 0 && !p.at->loading() && !p.at->dirty()) surplus.push_back(key);
  }
  for (const auto* gone : {&lost, &surplus})
    for (const auto& key : *gone) drop(key);
  if (!surplus.empty())
    ask<void>(self, *env, [life = life, surplus](webhook_store& hooks, store::session&) { return hooks.release(life, surplus); }, [](const result<void>&) {});
  env->report->webhook_backlog(backlog);
  for (const auto& key : ready)
    if (places.contains(key)) serve(key);
}

void deliverer_state::load_settings(const webhook_key& key) {
  auto& p = places[key];
  p.serial = ++serials;
  ask<store::webhook_load>(
      self, *env, [life = life, key](webhook_store& hooks, store::session&) { return hooks.load(life, key); },
      [this, key, serial = p.serial](result<store::webhook_load> load) {
        auto* at = find(key, serial);
        if (at == nullptr) return;
        if (!load) {
          if (load.error().code != failure::fenced)
            env->report->log(log_level::warning, "deliverer cannot read an endpoint and tries again", {{"webhook", to_string(key.webhook)}, {"reason", describe(load.error())}});
          return drop(key);   // the next round asks again
        }
        at->epoch = load->epoch;
        at->revision = load->revision;
        at->at = std::make_unique<endpoint>(std::move(*load), env->wall_now());
        at->at->look();
        at->at->heads(0, at->at->settings().state_position + 1, true);
        serve(key);
      });
}

deliverer_state::place* deliverer_state::find(const webhook_key& key, std::uint64_t serial) {
  const auto at = places.find(key);
  return at != places.end() && at->second.serial == serial ? &at->second : nullptr;
}

void deliverer_state::drop(const webhook_key& key) {
  const auto at = places.find(key);
  if (at == places.end()) return;
  timers.cancel(at->second.timer);
  if (at->second.at) bytes -= std::min(bytes, at->second.at->bytes());
  unsaved.erase(key);
  places.erase(at);
}

// ---- work -------------------------------------------------------------------------------------------------------------------------------

void deliverer_state::fed(tenant_id tenant) {
  if (stopping) return;
  if (!tenant) return look_now();
  for (auto at = places.lower_bound({tenant, {}}); at != places.end() && at->first.tenant == tenant;) {
    const auto key = at->first;
    auto& p = at->second;
    ++at;
    if (!p.at) continue;
    p.at->look();
    serve(key);
  }
}

/// Whatever this endpoint can do now.
void deliverer_state::serve(const webhook_key& key) {
  const auto at = places.find(key);
  if (at == places.end() || !at->second.at || stopping) return;
  auto& p = at->second;
  const auto now = env->wall_now();
  while (true) {
    if (under_way.size() >= limits::webhook_requests) {
      if (!std::exchange(p.waits_for_turn, true)) starved.push_back(key);
      break;
    }
    auto event = p.at->take(now);
    if (!event) break;
    send(key, p, std::move(*event));
  }
  read_for(key, p);
  arm(key, p);
  touched(key, p);
}

void deliverer_state::read_for(const webhook_key& key, place& p) {
  if (p.at->loading() || stopping) return;
  if (loads >= limits::webhook_loads || (bytes >= limits::webhook_window_bytes && p.at->bytes() > 0)) {
    if (!std::exchange(p.waits_for_load, true)) to_read.push_back(key);
    return;
  }
  const auto wish = p.at->next_wish(env->wall_now());
  if (!wish) return;
  ++loads;
  auto to = std::make_shared<const store::webhook_load>(p.at->settings());
  const auto job = [life = life, to, w = *wish, words = env->words, now = env->wall_now()](webhook_store& hooks, store::session& s) {
    return w.is == endpoint::wish::what::asked ? tell_asked(hooks, s, words, life, *to, w, now) : tell_events(hooks, s, words, life, *to, w);
  };
  ask<events_told>(self, *env, job, [this, key, serial = p.serial, w = *wish](result<events_told> told) {
    auto all = std::make_shared<events_told>(told ? std::move(*told) : events_told{fail(told.error()), {}, {}});
    if (all->unmade.empty() || stopping) return load_ended(key, serial, w, std::move(*all));
    make_bodies(env->workshop, all, [me = caf::weak_actor_ptr{self->ctrl()}, this, key, serial, w, all](const result<void>& made) {
      resume(me, [this, key, serial, w, all, made] {
        if (!made) all->status = fail(made.error());
        load_ended(key, serial, w, std::move(*all));
      });
    });
  });
}

void deliverer_state::load_ended(const webhook_key& key, std::uint64_t serial, const endpoint::wish& wish, events_told told) {
  loads -= loads > 0 ? 1 : 0;
  on_read(key, serial, wish, std::move(told));
  next_reader();
  end_if_done();
}

void deliverer_state::next_reader() {
  while (!to_read.empty() && loads < limits::webhook_loads && !stopping) {
    const auto key = to_read.front();
    to_read.pop_front();
    const auto at = places.find(key);
    if (at == places.end()) continue;
    at->second.waits_for_load = false;
    if (at->second.at) read_for(key, at->second);
    if (at->second.waits_for_load) break;   // no memory: it went to the end of the line
  }
}

void deliverer_state::on_read(const webhook_key& key, std::uint64_t serial, const endpoint::wish& wish, events_told told) {
  auto* p = find(key, serial);
  if (p == nullptr || !p->at) return;
  if (!told.status) {
    p->at->load_failed(wish);
    const auto code = told.status.error().code;
    // Its owner or its settings are others: the round finds out which.
    if (code == failure::fenced || code == failure::conflict) {
      drop(key);
      return look_now();
    }
    return;   // the round comes by
  }
  const auto before = p->at->bytes();
  p->at->loaded(wish, std::move(told.events), told.upto, told.head);
  bytes += p->at->bytes() - before;
  serve(key);
}

void deliverer_state::arm(const webhook_key& key, place& p) {
  const auto now = env->wall_now();
  const auto next = p.at->next_time(now);
  if (next == p.timer_at) return;
  timers.cancel(p.timer);
  p.timer_at = next;
  p.timer = 0;
  if (!next) return;
  p.timer = timers.after(self, std::max<duration>(*next - now, milliseconds(1)), [this, key, serial = p.serial] {
    if (auto* at = find(key, serial)) {
      at->timer = 0;
      at->timer_at.reset();
      serve(key);
    }
  });
}

// ---- saving -----------------------------------------------------------------------------------------------------------------------------

void deliverer_state::touched(const webhook_key& key, place& p) {
  if (!p.at->dirty() || !unsaved.insert(key).second) return;
  plan_save();
}

void deliverer_state::plan_save() {
  if (save_due || saving) return;
  save_due = true;
  timers.after(self, stopping ? duration(milliseconds(1)) : duration(limits::deliverer_save), [this] {
    save_due = false;
    save();
  });
}

void deliverer_state::save() {
  std::vector<store::webhook_progress> all;
  for (const auto& key : std::exchange(unsaved, {}))
    if (const auto at = places.find(key); at != places.end() && at->second.at && at->second.at->dirty()) all.push_back(at->second.at->take_progress());
  if (all.empty()) return end_if_done();
  saving = true;
  auto shared = std::make_shared<std::vector<store::webhook_progress>>(std::move(all));
  ask<std::vector<bool>>(
      self, *env, [life = life, shared](webhook_store& hooks, store::session&) { return hooks.save(life, *shared); },
      [this, shared](const result<std::vector<bool>>& held) {
        saving = false;
        on_saved(std::move(*shared), held);
        if (!unsaved.empty()) plan_save();
        end_if_done();
      });
}

void deliverer_state::on_saved(std::vector<store::webhook_progress> all, const result<std::vector<bool>>& held) {
  bool others = false;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto key = all[i].key;
    const auto at = places.find(key);
    if (at == places.end() || !at->second.at || at->second.epoch != all[i].epoch || at->second.revision != all[i].revision) continue;
    if (!held) {
      at->second.at->not_saved(std::move(all[i]));
      unsaved.insert(key);
    } else if (!(*held)[i] || !all[i].disable.empty()) {
      if (!all[i].disable.empty())
        env->report->log(log_level::warning, "deliverer disables an endpoint: it answered 410 Gone", {{"tenant", to_string(key.tenant)}, {"webhook", to_string(key.webhook)}});
      others = others || !(*held)[i];
      drop(key);
    }
  }
  if (others) look_now();
}

// ---- the end ----------------------------------------------------------------------------------------------------------------------------

void deliverer_state::stop() {
  if (std::exchange(stopping, true)) return;
  timers.cancel(round_timer);
  for (auto& [key, p] : places) {
    timers.cancel(p.timer);
    if (p.at) touched(key, p);
  }
  interrupt(clock_now(self) - stop_patience);
  timers.after(self, stop_patience, [this] {
    interrupt(clock_now(self));
    loads = 0;
    end_if_done();
  });
  end_if_done();
}

void deliverer_state::end_if_done() {
  if (!stopping || leaving || in_round || !under_way.empty() || loads > 0 || saving || save_due) return;
  if (!unsaved.empty()) return save();
  leaving = true;
  if (!life) return self->quit();
  ask<void>(self, *env, [life = life](webhook_store& hooks, store::session&) { return hooks.leave(life); }, [this](const result<void>&) { self->quit(); },
            true);
}

deliverer_actor::behavior_type deliverer(deliverer_actor::stateful_pointer<deliverer_state> self, const environment* env) {
  auto& state = self->state;
  state.env = env;
  state.start();
  return {
      [](const continuation& rest) { rest.run(); },
      [&state](tick_atom, std::uint64_t timer) { state.timers.fire(timer); },
      [&state](fed_atom, tenant_id tenant) { state.fed(tenant); },
      [&state](changed_atom) { state.look_now(); },
      [&state](stop_atom) { state.stop(); },
  };
}

deliverer_actor spawn_deliverer(caf::actor_system& system, const environment& env) { return system.spawn(deliverer, &env); }

}  // namespace mailherd::actors
