#include "actors/handover_book.hpp"

#include <algorithm>

#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
/// A wish that still shows no trace of our refusal after this long is a new one.
constexpr seconds refusal_life{5};

store::lease_guard standby_of(store::lease_guard owner) {
  owner.epoch = 0;
  return owner;
}
}  // namespace

handover_book::orders handover_book::read(const std::vector<row>& rows, const std::unordered_map<channel_id, store::lease_guard>& held,
                                          incarnation_id self, std::size_t room, mono_time now) {
  orders out;
  ++reads_;
  for (const auto& r : rows) {
    const auto mine = held.find(r.guard.channel);
    switch (r.as) {
      case row::part::going:
        if (mine != held.end() && mine->second.epoch == r.guard.epoch) read_going(r, now, out);
        break;
      case row::part::coming:
        if (mine == held.end()) read_coming(r, self, room, now, out);
        break;
      case row::part::came:
        coming_.erase(r.guard.channel);
        out.came.push_back(r.guard);
        break;
    }
  }
  for (auto at = going_.begin(); at != going_.end();) {
    auto& o = at->second;
    if (o.read == reads_ || o.at == stage::passing) {
      ++at;
      continue;
    }
    if (o.at == stage::yielding) out.steps.emplace_back(o.guard, hand_step::go_on);  // the wish is gone
    at = going_.erase(at);
  }
  for (auto at = coming_.begin(); at != coming_.end();) {
    if (at->second.read == reads_) {
      ++at;
      continue;
    }
    out.dismiss.push_back(at->second.guard);
    at = coming_.erase(at);
  }
  return out;
}

void handover_book::read_going(const row& r, mono_time now, orders& out) {
  const auto channel = r.guard.channel;
  auto& o = going_[channel];
  if (o.read == 0 || o.guard.epoch != r.guard.epoch) o = {r.guard, r.node, r.why, stage::wished, now, {}, false, 0};
  o.read = reads_;
  if (o.at == stage::passing) return;
  if (o.node != r.node || (o.at == stage::yielding && o.heir != r.ready)) {
    // Wanted elsewhere meanwhile, or the heir died.
    if (o.at == stage::yielding) out.steps.emplace_back(o.guard, hand_step::go_on);
    o = {r.guard, r.node, r.why, stage::wished, now, {}, false, reads_};
  }
  const duration limit = o.at == stage::wished ? limits::handover_deadline : limits::yield_deadline;
  if (r.refused || now - o.since > limit) return give_up(channel, out);
  if (o.at != stage::wished || !r.ready) return;
  o.at = stage::yielding;
  o.since = now;
  o.heir = r.ready;
  out.steps.emplace_back(o.guard, r.alone ? hand_step::yield_alone : hand_step::yield);
}

void handover_book::read_coming(const row& r, incarnation_id self, std::size_t& room, mono_time now, orders& out) {
  const auto guard = standby_of(r.guard);
  const auto at = coming_.find(guard.channel);
  if (at == coming_.end()) {
    if (r.refused) return;
    if (room == 0) {
      out.answers.emplace_back(guard, readiness::refused);
      return;
    }
    --room;
    coming_[guard.channel] = {guard, {}, {}, reads_};
    out.prepare.push_back(guard);
    return;
  }
  auto& s = at->second;
  s.read = reads_;
  if (!s.said) return;
  if (*s.said == readiness::refused) {
    if (!r.refused && now - s.said_at > refusal_life) coming_.erase(at);  // wished anew: the next look begins again
    return;
  }
  if (r.ready != self) out.answers.emplace_back(guard, *s.said);  // the answer was lost, or the wish is a new one
}

void handover_book::give_up(channel_id channel, orders& out) {
  const auto at = going_.find(channel);
  if (at == going_.end()) return;
  const auto& o = at->second;
  if (o.at != stage::wished) out.steps.emplace_back(o.guard, hand_step::go_on);
  out.withdraw.push_back(o.guard);
  out.ended.emplace_back(o.why, false);
  going_.erase(at);
}

handover_book::orders handover_book::heard(const store::lease_guard& guard, hand_step step, mono_time now) {
  orders out;
  if (guard.epoch != 0) {
    const auto at = going_.find(guard.channel);
    if (step != hand_step::yielded) return out;
    if (at != going_.end() && at->second.guard.epoch == guard.epoch && at->second.at == stage::yielding) {
      at->second.at = stage::passing;
      at->second.since = now;
    } else if (at == going_.end() || at->second.at != stage::passing) {
      out.steps.emplace_back(guard, hand_step::go_on);  // too late: it was given up
    }
    return out;
  }
  const auto at = coming_.find(guard.channel);
  if (at == coming_.end()) return out;
  auto& s = at->second;
  s.said = step == hand_step::ready ? readiness::ready : step == hand_step::ready_alone ? readiness::alone : readiness::refused;
  s.said_at = now;
  out.answers.emplace_back(guard, *s.said);
  if (*s.said == readiness::refused) out.dismiss.push_back(guard);  // the record stays until the wish is gone
  return out;
}

std::vector<std::pair<store::lease_guard, incarnation_id>> handover_book::take_passing() {
  std::vector<std::pair<store::lease_guard, incarnation_id>> batch;
  for (auto& [channel, o] : going_)
    if (o.at == stage::passing && !std::exchange(o.given_out, true)) batch.emplace_back(o.guard, o.heir);
  return batch;
}

handover_book::orders handover_book::passed(const std::vector<std::pair<store::lease_guard, incarnation_id>>& batch,
                                            const std::vector<channel_id>& gone) {
  orders out;
  for (const auto& [guard, heir] : batch) {
    const auto at = going_.find(guard.channel);
    if (at == going_.end() || at->second.guard.epoch != guard.epoch) continue;
    if (std::find(gone.begin(), gone.end(), guard.channel) == gone.end()) {
      give_up(guard.channel, out);
    } else {
      out.ended.emplace_back(at->second.why, true);
      going_.erase(at);
    }
  }
  return out;
}

void handover_book::not_passed(const std::vector<std::pair<store::lease_guard, incarnation_id>>& batch) {
  for (const auto& [guard, heir] : batch)
    if (const auto at = going_.find(guard.channel); at != going_.end()) at->second.given_out = false;
}

handover_book::orders handover_book::clear() {
  orders out;
  for (const auto& [channel, s] : coming_) out.dismiss.push_back(s.guard);
  for (const auto& [channel, o] : going_) out.ended.emplace_back(o.why, false);
  coming_.clear();
  going_.clear();
  return out;
}

void handover_book::forget(channel_id channel) {
  going_.erase(channel);
  coming_.erase(channel);
}

}  // namespace mailherd::actors
