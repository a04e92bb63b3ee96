// actors/lease_handover: the lease keeper among others: its share, its draining, channels on their way from node to node.
#include <algorithm>
#include <utility>

#include "actors/lease_keeper.hpp"
#include "actors/share_plan.hpp"

namespace mailherd::actors {

namespace {
using move_reason = store::mail_store::move_reason;

constexpr milliseconds drain_repeat{500};
/// How often the rows are asked for channels of this node that it does not know of.
constexpr seconds lost_claim_search{60};

std::string_view name_of(move_reason why) {
  switch (why) {
    case move_reason::drain:
      return "drain";
    case move_reason::move:
      return "move";
    case move_reason::rebalance:
      return "rebalance";
  }
  return "move";
}
}  // namespace

// ---- who else is there ------------------------------------------------------------------------------------------------------------------

void lease_keeper_state::survey() {
  if (!life) return;
  if (surveying) {
    survey_again = true;
    return;
  }
  // Also without any error known here: a connection may break long after the server was asked, and the server go on.
  if (!claiming && (claim_lost || self->clock().now() - searched >= lost_claim_search)) find_lost();
  surveying = true;
  survey_again = false;
  ask_store<store::mail_store::survey>(
      self, *env->store, deadline::after(self->clock().now(), plan.renew), [](store::session& s) { return s.mail.look_around(); },
      [this, of = lives](result<store::mail_store::survey> seen) {
        if (of != lives || !life) return;
        surveying = false;
        if (seen) on_survey(*seen);
        if (survey_again) survey();
        end_if_done();
      },
      true);
}

void lease_keeper_state::on_survey(const store::mail_store::survey& s) {
  const auto now = self->clock().now();
  unsigned takers = 0;
  bool in_motion = !book.idle();
  for (const auto& m : s.members) {
    takers += m.draining ? 0 : 1;
    if (m.id != life->id) continue;
    in_motion = in_motion || m.coming > 0 || m.going > 0 || m.came > 0;
    if (m.draining && !draining) drain();  // somebody asked for it, wherever
  }
  *env->nodes = std::max(1U, takers);
  if (in_motion) read_handovers();
  if (draining) return hand_over_all(s);
  if (s.free == 0) {
    free_since.reset();
  } else if (!free_since) {
    free_since = now;
  }
  const bool overdue = free_since && now - *free_since > limits::claim_overdue;
  if (const auto allowed = claim_allowance(s, life->id, held.size(), env->options.max_channels, overdue); allowed > 0) return claim(allowed);
  if (s.settled_seconds < static_cast<double>(env->options.rebalance_after.count())) return;
  if (auto moves = balance_plan(s, life->id, held.size(), book.going()); !moves.empty()) offer(move_reason::rebalance, std::move(moves));
}

// ---- away ---------------------------------------------------------------------------------------------------------------------------------

void lease_keeper_state::drain() {
  told_drained = false;
  drain_asked = self->clock().now();
  if (std::exchange(draining, true)) {   // by whoever waits for its end now
    tell_draining();
    return tell_drained();
  }
  *serving = false;
  drain_since = self->clock().now();
  env->report->log(log_level::info, "node drains", {{"channels", std::to_string(held.size())}});
  for (const auto& g : std::exchange(unannounced, {})) release(g);
  if (!life) return tell_drained();
  tell_draining();
  survey();
}

/// Until it is heard: others offer channels to a node that does not say so. Whoever waits for the end of the drain need not wait for a database that is
/// away.
void lease_keeper_state::tell_draining() {
  if (!life || std::exchange(telling_draining, true)) return;
  ask_store<void>(
      self, *env->store, deadline::after(self->clock().now(), plan.renew), [who = *life](store::session& s) { return s.mail.start_draining(who); },
      [this, of = lives](const result<void>& done) {
        if (of != lives) return;
        telling_draining = false;
        if (done) return;
        if (on_drained && !told_drained && self->clock().now() - drain_asked >= limits::unheard_at_end) {
          told_drained = true;
          env->report->log(log_level::warning, "node cannot hand over its channels: its database does not answer", {{"reason", describe(done.error())}});
          on_drained();
        }
        timers.after(self, drain_repeat, [this, of] {
          if (of == lives) tell_draining();
        });
      },
      true);
}

/// A part at a time: each is a sign-in somewhere.
void lease_keeper_state::hand_over_all(const store::mail_store::survey& s) {
  if (held.empty() || stopping) return;
  if (!others_could_serve(s, life->id) || self->clock().now() - drain_since > limits::drain_patience) return give_back();
  if (held.size() <= book.going() || book.going() >= limits::handovers_at_once) return;
  offer(move_reason::drain, drain_plan(s, life->id, std::min(held.size() - book.going(), limits::handovers_at_once - book.going())));
}

/// Without a successor elsewhere: whoever has room claims them when their fetchers have ended here.
void lease_keeper_state::give_back() {
  for (const auto& g : std::exchange(unannounced, {})) release(g);
  follow(book.clear());
  revoke(all_held(), limits::fetcher_stop_grace);
}

void lease_keeper_state::tell_drained() {
  if (!draining || (life && (!held.empty() || claiming))) return;
  if (on_drained && !std::exchange(told_drained, true)) on_drained();
}

void lease_keeper_state::offer(move_reason why, std::vector<store::mail_store::offer> to) {
  if (offering || to.empty()) return;
  offering = true;
  const auto most = why == move_reason::rebalance ? limits::rebalance_at_once : limits::handovers_at_once;
  ask_store<std::size_t>(
      self, *env->store, deadline::after(self->clock().now(), plan.renew),
      [who = *life, why, to = std::move(to), most](store::session& s) { return s.mail.make_offers(who, why, to, most); },
      [this, of = lives](result<std::size_t> made) {
        if (of != lives) return;
        offering = false;
        if (made && *made > 0) read_handovers();
      },
      true);
}

// ---- from node to node --------------------------------------------------------------------------------------------------------------------

void lease_keeper_state::read_handovers() {
  if (!life) return;
  ask_store<std::vector<store::mail_store::handover>>(
      self, *env->store, deadline::after(self->clock().now(), plan.renew), [who = *life](store::session& s) { return s.mail.handovers(who); },
      [this, of = lives](result<std::vector<store::mail_store::handover>> rows) {
        if (of != lives || !life || !rows || stopping) return;
        const auto taken = held.size() + book.coming();
        const auto room = draining || taken >= env->options.max_channels ? 0 : env->options.max_channels - taken;
        follow(book.read(*rows, held, life->id, room, self->clock().now()));
        pass_on();
      },
      true);
}

void lease_keeper_state::hand(const store::lease_guard& guard, hand_step step) {
  follow(book.heard(guard, step, self->clock().now()));
  pass_on();
}

void lease_keeper_state::follow(handover_book::orders orders) {
  for (const auto& [why, ok] : orders.ended) env->report->handover(name_of(why), ok);
  if (!guardian_gone) {
    if (!orders.prepare.empty()) self->send(guardian, claimed_atom::value, std::move(orders.prepare));
    if (!orders.dismiss.empty()) self->send(guardian, revoked_atom::value, std::move(orders.dismiss), caf::timespan{limits::fetcher_stop_grace});
    for (const auto& [guard, step] : orders.steps) self->send(guardian, hand_atom::value, guard, step);
  }
  if (!life) return;
  if (!orders.withdraw.empty())
    write([who = *life, all = std::move(orders.withdraw)](store::session& s) { return s.mail.withdraw_offers(who, all); });
  if (!orders.answers.empty()) write([who = *life, all = std::move(orders.answers)](store::session& s) { return s.mail.answer_offers(who, all); });
  if (orders.came.empty()) return;
  std::vector<store::lease_guard> fresh;
  for (const auto& g : orders.came)
    if (const auto [at, added] = held.try_emplace(g.channel, g); added || at->second.epoch < g.epoch) at->second = g, fresh.push_back(g);
  write([who = *life, all = std::move(orders.came)](store::session& s) { return s.mail.take_passed(who, all); });
  gauge();
  if (primed) return announce(std::move(fresh));
  unannounced.insert(unannounced.end(), fresh.begin(), fresh.end());
  look_for_changes();
}

template <class Job>
void lease_keeper_state::write(Job job) {
  ask_store<void>(
      self, *env->store, deadline::after(self->clock().now(), plan.renew), std::move(job), [](const result<void>&) {}, true);
}

/// Batches form while a statement is under way.
void lease_keeper_state::pass_on() {
  if (!life || passing || stopping) return;
  auto batch = std::make_shared<std::vector<std::pair<store::lease_guard, incarnation_id>>>(book.take_passing());
  if (batch->empty()) return;
  passing = true;
  ++given_back;
  ask_store<std::vector<channel_id>>(
      self, *env->store, deadline::after(self->clock().now(), plan.renew),
      [who = *life, batch](store::session& s) { return s.mail.pass_on(who, *batch); },
      [this, batch, of = lives](result<std::vector<channel_id>> gone) {
        if (of != lives || !life) return;
        passing = false;
        if (!gone) {
          book.not_passed(*batch);  // asked again with the next look
          return end_if_done();
        }
        std::vector<store::lease_guard> ended;
        for (const auto& [guard, heir] : *batch) {
          const auto at = held.find(guard.channel);
          if (at == held.end() || at->second.epoch != guard.epoch || std::find(gone->begin(), gone->end(), guard.channel) == gone->end()) continue;
          ended.push_back(guard);
          held.erase(at);
        }
        follow(book.passed(*batch, *gone));
        revoke(std::move(ended), limits::fetcher_stop_grace);
        gauge();
        pass_on();
        if (draining) survey();
        end_if_done();
      },
      true);
}

}  // namespace mailherd::actors
