#include "actors/lease_keeper.hpp"

#include <caf/actor_cast.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace mailherd::actors {

namespace {

constexpr backoff_policy join_backoff{milliseconds(500), seconds(10), 2.0, 0.5};
/// Changes are looked for when somebody says that there are some, and unasked with every so manieth tick: a lost hint costs a moment.
constexpr unsigned ticks_to_changes = 3;
constexpr backoff_policy release_backoff{milliseconds(200), seconds(5), 2.0, 0.5};

}  // namespace

// Two renewals in a row may fail without any effect if the third is answered soon; what is left then is to end the fetchers. Writes are
// fenced by the epoch in any case: what this saves is a mailbox served twice.
lease_plan::lease_plan(seconds ttl)
    : renew(std::min<duration>(limits::lease_renew, duration(ttl) * 4 / 15)),
      lost_grace(std::min<duration>(limits::fetcher_lost_grace, renew / 2)),
      serve(duration(ttl) - lost_grace - renew / 8) {}

void lease_keeper_state::start() {
  plan = lease_plan(env->options.lease_ttl);
  join();
}

// ---- membership ---------------------------------------------------------------------------------------------------------------------

void lease_keeper_state::join() {
  if (stopping) return end_if_done();
  const auto sent = self->clock().now();
  const auto attempt = ++lives;
  ask_store<store::mail_store::incarnation>(
      self, *env->store, deadline::after(sent, plan.renew),
      [node = env->options.node_name, version = env->options.version, ttl = env->options.lease_ttl, most = env->options.max_channels](store::session& s) {
        return s.mail.join(node, version, ttl, most);
      },
      [this, sent, attempt](result<store::mail_store::incarnation> joined) {
        if (attempt != lives) return;
        const auto now = self->clock().now();
        // A join that took so long that its lease may be over is none.
        if (joined && now - sent >= plan.serve) joined = fail(failure::timed_out, "the database answered too late");
        if (!joined) {
          if (join_attempts == 0) env->report->log(log_level::warning, "node cannot join the cluster and tries again", {{"reason", describe(joined.error())}});
          timers.after(self, backoff_delay(join_backoff, join_attempts++, env->random()), [this, attempt] {
            if (attempt == lives) join();
          });
          return;
        }
        join_attempts = 0;
        life = std::move(*joined);
        renewed = sent;
        searched = grid = now;
        renewals = 0;
        revision = 0;
        primed = false;
        *serving = !draining;
        env->report->log(log_level::info, "node joined the cluster", {{"node", env->options.node_name}, {"incarnation", to_string(life->id)}});
        if (stopping) return end_if_done();
        if (draining) tell_draining();
        gauge();
        watch_loss();
        timers.after(self, plan.renew, [this, attempt] {
          if (attempt == lives) tick();
        });
        look();
      },
      true);
}

void lease_keeper_state::tick() {
  const auto now = self->clock().now();
  if (now - renewed >= plan.serve) return lose("no renewal succeeded in time");   // frozen: this timer came before the other
  renew();
  survey();
  if (++ticks % ticks_to_changes == 0 || !unannounced.empty()) look_for_changes();
  // The grid is fixed: a slow tick does not push the later ones out. A node that slept skips what it missed.
  grid += plan.renew;
  if (grid <= now - plan.renew) grid = now;
  timers.after(self, grid + plan.renew - now, [this, of = lives] {
    if (of == lives) tick();
  });
}

void lease_keeper_state::renew() {
  // One may hang on a dead connection: a second finds another worker. More would only queue.
  if (!life || renewals >= 2) return;
  ++renewals;
  const auto sent = self->clock().now();
  ask_store<void>(
      self, *env->store, deadline::after(sent, plan.renew),
      [who = *life, ttl = env->options.lease_ttl, channels = held.size()](store::session& s) { return s.mail.renew(who, ttl, channels); },
      [this, sent, of = lives](result<void> answer) {
        if (of == lives && life) on_renewed(sent, answer);
      },
      true);
}

void lease_keeper_state::on_renewed(mono_time sent, const result<void>& answer) {
  --renewals;
  if (answer) {
    if (self->clock().now() - renewed >= plan.serve) return lose("a renewal was answered too late");
    renewed = std::max(renewed, sent);
    gauge();
    return watch_loss();
  }
  if (answer.error().code == failure::fenced || answer.error().code == failure::not_found) return lose("the lease was given away");
  env->report->log(log_level::warning, "node could not renew its lease", {{"reason", describe(answer.error())}});
}

void lease_keeper_state::watch_loss() {
  timers.cancel(loss_timer);
  loss_timer = timers.after(self, renewed + plan.serve - self->clock().now(), [this] { lose("no renewal succeeded in time"); });
}

void lease_keeper_state::lose(std::string_view why) {
  if (!life) return;
  env->report->log(log_level::error, "node stops serving: its lease may end elsewhere",
                   {{"reason", std::string(why)}, {"channels", std::to_string(held.size())}});
  timers.cancel(loss_timer);
  life.reset();
  ++lives;
  *serving = false;
  claiming = claim_again = claim_lost = looking = look_again = surveying = survey_again = offering = passing = telling_draining = false;
  renewals = 0;
  free_since.reset();
  unannounced.clear();
  follow(book.clear());
  revoke(all_held(), plan.lost_grace);
  held.clear();
  to_release.clear();   // nothing to give back: it is not ours
  gauge();
  // To join is to end the former life for all: others may claim its channels at that moment, and not before the fetchers here have ended.
  timers.after(self, plan.lost_grace, [this, of = lives] {
    if (of == lives) join();
  });
}

// ---- channels -----------------------------------------------------------------------------------------------------------------------

void lease_keeper_state::look() {
  if (!life) return;
  survey();
  look_for_changes();
}

void lease_keeper_state::claim(std::size_t allowed) {
  if (!life || draining || allowed == 0) return;
  if (claiming) {
    claim_again = true;
    return;
  }
  claiming = true;
  claim_again = false;
  const auto wanted = std::min(limits::lease_claim_channels, allowed);
  ask_store<std::vector<store::lease_guard>>(
      self, *env->store, deadline::after(self->clock().now(), plan.renew),
      [who = *life, wanted](store::session& s) { return s.mail.claim(who, wanted); },
      [this, wanted, of = lives](result<std::vector<store::lease_guard>> fresh) {
        if (of != lives) return;   // an earlier life's claims ended with its lease
        claiming = false;
        const bool more = fresh && fresh->size() >= wanted;
        claim_lost = !fresh;
        if (fresh && !fresh->empty()) on_claimed(std::move(*fresh));
        if (more || claim_again) survey();   // others may have come, or claimed, meanwhile
        end_if_done();
      },
      true);
}

/// The database may have done what it was asked and died before it said so. What is ours in its rows and unknown here would be served by nobody for
/// as long as this node lives.
void lease_keeper_state::find_lost() {
  if (!life || draining) return;   // what leaves gives everything back
  claiming = true;
  ask_store<std::vector<store::lease_guard>>(
      self, *env->store, deadline::after(self->clock().now(), plan.renew), [who = *life](store::session& s) { return s.mail.owned(who); },
      [this, of = lives, before = given_back, busy = releases > 0 || passing](result<std::vector<store::lease_guard>> rows) {
        if (of != lives) return;
        claiming = false;
        // What is being given back may still stand there. Asked again with the next tick, not at once: it would be asked in a circle until then.
        if (!rows || busy || before != given_back) return end_if_done();
        claim_lost = false;
        searched = self->clock().now();
        std::erase_if(*rows, [this](const auto& g) {
          const auto at = held.find(g.channel);
          const auto leaving = std::any_of(to_release.begin(), to_release.end(), [&](const auto& r) { return r.channel == g.channel; });
          return leaving || (at != held.end() && at->second.epoch == g.epoch);
        });
        if (!rows->empty()) {
          env->report->log(log_level::info, "node found channels of its own that it had not been told of", {{"channels", std::to_string(rows->size())}});
          on_claimed(std::move(*rows));
        }
        survey();
        end_if_done();
      },
      true);
}

void lease_keeper_state::on_claimed(std::vector<store::lease_guard> fresh) {
  for (const auto& g : fresh) {
    held[g.channel] = g;
    book.forget(g.channel);   // of a standby it becomes the owner
  }
  if (draining) {   // asked for before the drain began
    for (const auto& g : fresh) release(g);
    return;
  }
  // Rows are read by the fetchers after this: what changed before the first look at changes needs no second reading.
  if (primed) return announce(std::move(fresh));
  unannounced.insert(unannounced.end(), fresh.begin(), fresh.end());
  look_for_changes();
}

void lease_keeper_state::announce(std::vector<store::lease_guard> fresh) {
  std::erase_if(fresh, [this](const auto& g) {
    const auto at = held.find(g.channel);
    return at == held.end() || at->second.epoch != g.epoch;
  });
  if (!fresh.empty()) self->send(guardian, claimed_atom::value, std::move(fresh));
}

void lease_keeper_state::look_for_changes() {
  if (!life || held.empty()) return;
  if (looking) {
    look_again = true;
    return;
  }
  looking = true;
  look_again = false;
  ask_store<std::vector<store::mail_store::change>>(
      self, *env->store, deadline::after(self->clock().now(), plan.renew),
      [who = *life, after = revision](store::session& s) { return s.mail.changes_since(who, after); },
      [this, of = lives](result<std::vector<store::mail_store::change>> changes) {
        if (of != lives) return;
        looking = false;
        if (changes) on_changes(*changes);
        if (look_again) look_for_changes();
      },
      true);
}

void lease_keeper_state::on_changes(const std::vector<store::mail_store::change>& changes) {
  const bool first = !std::exchange(primed, true);
  std::vector<store::lease_guard> gone;
  for (const auto& c : changes) {
    revision = std::max(revision, c.revision);
    const auto at = held.find(c.guard.channel);
    if (at == held.end() || at->second.epoch != c.guard.epoch) continue;
    if (c.gone) {
      gone.push_back(c.guard);
    } else if (!first) {
      self->send(guardian, changed_atom::value, c.guard.tenant, c.guard.channel);
    }
  }
  auto waiting = std::exchange(unannounced, {});
  for (const auto& g : gone) {
    const auto n = std::erase_if(waiting, [&](const auto& w) { return w.channel == g.channel; });
    if (n > 0) release(g);   // nobody was told of it
  }
  std::erase_if(gone, [this](const auto& g) { return !held.contains(g.channel); });
  revoke(std::move(gone), limits::fetcher_stop_grace);
  announce(std::move(waiting));
}

void lease_keeper_state::revoke(std::vector<store::lease_guard> what, duration grace) {
  if (what.empty()) return;
  if (guardian_gone) {
    for (const auto& g : what) release(g);
  } else {
    self->send(guardian, revoked_atom::value, std::move(what), caf::timespan{grace});
  }
}

void lease_keeper_state::forget(channel_id channel, std::int64_t epoch) {
  if (epoch == 0) return hand({{}, channel, 0}, hand_step::refused);   // a standby: its channel is gone or disabled
  const auto at = held.find(channel);
  if (at == held.end() || at->second.epoch != epoch) return;
  // Should the row still name this life as the owner, nobody else could take the channel: giving it back is guarded and does no harm.
  to_release.push_back(at->second);
  held.erase(at);
  book.forget(channel);
  flush_releases();
  end_if_done();
}

void lease_keeper_state::release(const store::lease_guard& guard) {
  const auto at = held.find(guard.channel);
  if (at == held.end() || at->second.epoch != guard.epoch) return;   // of an earlier life or epoch
  held.erase(at);
  book.forget(guard.channel);
  to_release.push_back(guard);
  flush_releases();
  end_if_done();
}

/// Batches form while a statement is under way.
void lease_keeper_state::flush_releases() {
  if (!life || to_release.empty() || releases > 0) return;
  ++releases;
  ++given_back;
  auto batch = std::make_shared<std::vector<store::lease_guard>>(std::exchange(to_release, {}));
  ask_store<void>(
      self, *env->store, deadline::after(self->clock().now(), plan.renew),
      [who = *life, batch](store::session& s) { return s.mail.release(who, *batch); },
      [this, batch, of = lives](result<void> done) {
        --releases;
        if (of == lives && !done && done.error().code != failure::fenced) {
          // Unreleased they would stay unserved for as long as this node lives.
          // But a node that ends waits for no database: its lease runs out by itself.
          if (stopping && self->clock().now() - stop_since >= limits::unheard_at_end) {
            to_release.clear();
            return end_if_done();
          }
          to_release.insert(to_release.end(), batch->begin(), batch->end());
          timers.after(self, backoff_delay(release_backoff, release_attempts++, env->random()), [this] { flush_releases(); });
          return;
        }
        release_attempts = 0;
        flush_releases();
        end_if_done();
      },
      true);
}

// ---- the end ------------------------------------------------------------------------------------------------------------------------

void lease_keeper_state::stop() {
  if (std::exchange(stopping, true)) return;
  draining = true;
  *serving = false;
  stop_since = self->clock().now();
  give_back();
  if (guardian_gone) guardian_ended();
  end_if_done();
}

void lease_keeper_state::guardian_ended() {
  guardian_gone = true;
  if (!stopping) return;
  for (const auto& g : all_held()) release(g);
  end_if_done();
}

void lease_keeper_state::end_if_done() {
  tell_drained();
  if (!stopping || leaving) return;
  if (!life) return self->quit();
  if (claiming || !held.empty() || !to_release.empty() || releases > 0) return;
  leaving = true;
  ask_store<void>(
      self, *env->store, deadline::after(self->clock().now(), plan.renew), [who = *life](store::session& s) { return s.mail.leave(who); },
      [this](result<void> left) {
        if (!left) env->report->log(log_level::warning, "node could not leave the cluster: its lease runs out by itself", {{"reason", describe(left.error())}});
        self->quit();
      },
      true);
}

std::vector<store::lease_guard> lease_keeper_state::all_held() const {
  std::vector<store::lease_guard> all;
  all.reserve(held.size());
  for (const auto& [channel, guard] : held) all.push_back(guard);
  return all;
}

void lease_keeper_state::gauge() {
  env->report->leases(held.size(), std::chrono::duration<double>(self->clock().now() - renewed).count());
}

lease_keeper_actor::behavior_type lease_keeper(lease_keeper_actor::stateful_pointer<lease_keeper_state> self, const environment* env,
                                               const node_guardian_actor& guardian, std::shared_ptr<std::atomic<bool>> serving,
                                               std::function<void()> on_drained) {
  auto& state = self->state;
  state.env = env;
  state.guardian = guardian;
  state.serving = std::move(serving);
  state.on_drained = std::move(on_drained);
  self->monitor(guardian);
  self->set_down_handler([&state](const caf::down_msg&) { state.guardian_ended(); });
  state.start();
  return {
      [](const continuation& rest) { rest.run(); },
      [&state](tick_atom, std::uint64_t timer) { state.timers.fire(timer); },
      [&state](changed_atom) { state.look(); },
      [&state](lost_atom, channel_id channel, std::int64_t epoch) { state.forget(channel, epoch); },
      [&state](drain_atom) { state.drain(); },
      [&state](revoked_atom, const store::lease_guard& guard) { state.release(guard); },
      [&state](hand_atom, const store::lease_guard& guard, hand_step step) { state.hand(guard, step); },
      [&state](stop_atom) { state.stop(); },
  };
}

lease_keeper_actor spawn_lease_keeper(caf::actor_system& system, const environment& env, const node_guardian_actor& guardian,
                                      std::shared_ptr<std::atomic<bool>> serving, std::function<void()> on_drained) {
  return system.spawn(lease_keeper, &env, guardian, std::move(serving), std::move(on_drained));
}

}  // namespace mailherd::actors
