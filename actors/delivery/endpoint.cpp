#include "actors/delivery/endpoint.hpp"

#include <algorithm>
#include <utility>

#include "core/backoff.hpp"

namespace mailherd::actors {

namespace {

using store::event_kind;

constexpr backoff_policy waits{limits::webhook_backoff_first, limits::webhook_backoff_max, 3.0, 0.5};

wall_time later(wall_time now, duration d) { return now + std::chrono::ceil<std::chrono::microseconds>(d); }
std::size_t index(event_kind k) { return k == event_kind::state ? 1 : 0; }

}  // namespace

endpoint::endpoint(store::webhook_load load, wall_time now) : load_(std::move(load)) {
  message_head_ = message_read_ = load_.message_position;
  state_head_ = state_read_ = load_.state_position;
  failures_ = load_.failures;
  failing_since_ = load_.failing_since;
  open_until_ = load_.open_until;
  tokens_ = static_cast<double>(std::max<std::int64_t>(1, load_.spec.max_per_second));
  tokens_at_ = now;
  for (auto& record : std::exchange(load_.stalls, {})) {
    stall s;
    s.upto = read(record.kind);
    const lane_key lane{record.kind, record.channel};
    s.record = std::move(record);
    stalls_.emplace(lane, std::move(s));
  }
}

bool endpoint::wants(event_kind k) const { return std::find(load_.spec.events.begin(), load_.spec.events.end(), k) != load_.spec.events.end(); }

std::int64_t endpoint::cursor(event_kind k) const {
  const auto& open = undone_[index(k)];
  return open.empty() ? read(k) : *open.begin() - 1;
}

std::int64_t endpoint::backlog() const {
  std::int64_t n = static_cast<std::int64_t>(stalls_.size());
  if (wants(event_kind::message)) n += std::max<std::int64_t>(0, message_head_ - cursor(event_kind::message));
  if (wants(event_kind::state)) n += std::max<std::int64_t>(0, state_head_ - cursor(event_kind::state));
  return n;
}

// ---- reading ----------------------------------------------------------------------------------------------------------------------------

void endpoint::heads(std::int64_t messages, std::int64_t states, bool asked) {
  message_head_ = std::max(message_head_, messages);
  state_head_ = std::max(state_head_, states);
  asked_waits_ = asked_waits_ || asked;
}

void endpoint::look() { message_head_ = std::max(message_head_, message_read_ + 1); }

std::optional<endpoint::wish> endpoint::stall_wish(wall_time now, bool trial) const {
  const stall* best = nullptr;
  lane_key lane;
  std::size_t ready = 0;
  for (const auto& [key, s] : stalls_) {
    if (s.is != stall::phase::waiting) {
      ++ready;
      continue;
    }
    if (!trial && s.record.next_attempt_at > now) continue;
    // It is the endpoint that is tried, not the event: what never failed says more than what may be refused for itself.
    const auto order = [&](const stall& x) { return std::pair{trial ? x.record.attempts : 0, x.record.next_attempt_at}; };
    if (best == nullptr || order(s) < order(*best)) best = &s, lane = key;
  }
  if (best == nullptr || ready >= allowed(now)) return std::nullopt;
  return wish{wish::what::lane, lane, best->record.position - 1, trial ? 1 : limits::webhook_load_bodies};
}

std::optional<endpoint::wish> endpoint::next_wish(wall_time now) {
  if (loading_ || !disable_.empty()) return std::nullopt;
  std::optional<wish> w;
  if (asked_waits_ && asked_.empty() && !asked_busy_) {
    w = wish{wish::what::asked, {}, 0, limits::webhook_load_bodies};
    asked_waits_ = false;
  }
  const bool trial = circuit_open();
  if (!w && !trial && allowed(now) > 0) w = stall_wish(now, false);
  const auto held = undone_[0].size() + undone_[1].size();
  if (!w && (!trial || (allowed(now) > 0 && held == 0 && in_flight_ == 0))) w = event_wish(held, trial);
  if (!w && trial && allowed(now) > 0 && in_flight_ == 0) w = stall_wish(now, true);
  loading_ = w.has_value();
  return w;
}

std::optional<endpoint::wish> endpoint::event_wish(std::size_t held, bool trial) const {
  const bool small = load_.spec.body == store::webhook_body::envelope;
  const auto most = trial ? 1 : small ? limits::webhook_load_events : limits::webhook_load_bodies;
  const auto window = small ? limits::webhook_window_events : 2 * limits::webhook_load_bodies;
  // Half a load or nothing: a statement for every event that leaves the window would cost more than it brings.
  if (held + most / 2 >= window) return std::nullopt;
  for (const auto k : {event_kind::message, event_kind::state}) {
    const auto head = k == event_kind::state ? state_head_ : message_head_;
    if (wants(k) && head > read(k)) return wish{wish::what::events, {k, {}}, read(k), std::min(most, window - held)};
  }
  return std::nullopt;
}

void endpoint::load_failed(const wish& w) {
  loading_ = false;
  if (w.is == wish::what::asked) asked_waits_ = true;
}

void endpoint::loaded(const wish& w, std::vector<told_event> events, std::int64_t upto, std::int64_t head) {
  loading_ = false;
  if (w.is == wish::what::asked) {
    for (auto& e : events) asked_.push_back(std::move(e));
    return;
  }
  if (w.is == wish::what::events) {
    auto& known = w.lane.kind == event_kind::state ? state_head_ : message_head_;
    known = head;   // not the greater: look() guesses
    return enqueue(std::move(events), w.lane.kind, upto);
  }
  const auto at = stalls_.find(w.lane);
  if (at == stalls_.end() || at->second.is != stall::phase::waiting) return;
  auto& s = at->second;
  // What lies beyond the endpoint's own reading comes by that, or it would come twice.
  s.loaded_upto = std::min(upto, read(w.lane.kind));
  for (auto& e : events) {
    if (e.position > s.loaded_upto) continue;
    bytes_ += e.body ? e.body->size() : 0;
    s.events.push_back(std::move(e));
  }
  s.is = stall::phase::ready;
  if (s.events.empty()) return advance(s, w.lane, s.record.next_attempt_at);
  if (s.events.front().position != s.record.position) {   // the event that failed is no more
    s.record.position = s.events.front().position;
    s.record.attempts = 0;
    s.record.first_failed_at.reset();
    changed_stalls_.insert(w.lane);
    dirty_ = true;
  }
}

void endpoint::enqueue(std::vector<told_event> events, event_kind kind, std::int64_t upto) {
  for (auto& e : events) {
    if (const auto behind = stalls_.find(e.lane); behind != stalls_.end()) {
      behind->second.upto = std::max(behind->second.upto, e.position);
      continue;
    }
    undone_[index(kind)].insert(e.position);
    bytes_ += e.body ? e.body->size() : 0;
    auto& lane = lanes_[e.lane];
    if (lane.empty() && !busy_.contains(e.lane)) ready_.push_back(e.lane);
    lane.push_back(std::move(e));
  }
  if (upto > read(kind)) {
    read(kind) = upto;
    dirty_ = true;
  }
}

// ---- sending ----------------------------------------------------------------------------------------------------------------------------

std::size_t endpoint::allowed(wall_time now) const {
  if (!disable_.empty() || (not_before_ && *not_before_ > now)) return 0;
  if (open_until_) return *open_until_ > now ? 0 : 1;
  const auto most = static_cast<std::size_t>(std::max<std::int64_t>(1, load_.spec.max_in_flight));
  return failures_ > 0 ? std::min<std::size_t>(most, limits::webhook_in_flight_suspect) : most;
}

bool endpoint::take_token(wall_time now) {
  const auto rate = static_cast<double>(load_.spec.max_per_second);
  if (rate <= 0) return true;
  if (now > tokens_at_) tokens_ = std::min(rate, tokens_ + rate * std::chrono::duration<double>(now - tokens_at_).count());
  tokens_at_ = now;
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

std::optional<told_event> endpoint::start(told_event event) {
  ++in_flight_;
  return event;
}

/// What a person asked for goes out at once: in no order with the rest, and also through an open circuit.
std::optional<told_event> endpoint::take_asked() {
  if (asked_busy_ || asked_.empty()) return std::nullopt;
  auto e = std::move(asked_.front());
  asked_.pop_front();
  asked_busy_ = true;
  return start(std::move(e));
}

std::optional<told_event> endpoint::take_stalled() {
  for (auto& [lane, s] : stalls_) {
    if (s.is != stall::phase::ready || s.events.empty()) continue;
    s.is = stall::phase::in_flight;
    auto e = s.events.front();
    e.attempts = s.record.attempts;
    return start(std::move(e));
  }
  return std::nullopt;
}

std::optional<told_event> endpoint::take(wall_time now) {
  if (auto e = take_asked()) return e;
  if (in_flight_ - (asked_busy_ ? 1 : 0) >= allowed(now)) return std::nullopt;
  const bool some = !ready_.empty() || std::any_of(stalls_.begin(), stalls_.end(), [](const auto& s) { return s.second.is == stall::phase::ready; });
  if (!some || !take_token(now)) return std::nullopt;
  if (auto e = take_stalled()) return e;
  if (ready_.empty()) return std::nullopt;
  const auto lane = ready_.front();
  ready_.pop_front();
  busy_.insert(lane);
  return start(lanes_.at(lane).front());
}

std::optional<wall_time> endpoint::next_time(wall_time now) const {
  if (!disable_.empty()) return std::nullopt;
  std::optional<wall_time> next;
  const auto sooner = [&](wall_time t) { next = next ? std::min(*next, t) : t; };
  if (not_before_ && *not_before_ > now) sooner(*not_before_);
  if (open_until_ && *open_until_ > now) {
    sooner(*open_until_);
    return std::max(*next, now);
  }
  for (const auto& [lane, s] : stalls_)
    if (s.is == stall::phase::waiting && s.record.next_attempt_at > now) sooner(s.record.next_attempt_at);
  if (load_.spec.max_per_second > 0 && (!ready_.empty() || !stalls_.empty()) && tokens_ < 1)
    sooner(later(now, duration(static_cast<std::int64_t>(1e9 / static_cast<double>(load_.spec.max_per_second)))));
  return next;
}

// ---- answers ----------------------------------------------------------------------------------------------------------------------------

void endpoint::settle(const told_event& event, const verdict& v, milliseconds took, wall_time now, std::uint64_t random) {
  --in_flight_;
  dirty_ = true;
  if (v.not_before && *v.not_before > now) not_before_ = v.not_before;
  if (v.what == verdict::kind::gone) disable_ = v.error;
  const bool ok = v.what == verdict::kind::taken;
  if (event.asked) {
    asked_busy_ = false;
    note(event, v, took, now, ok ? "delivered" : event.lane.kind == event_kind::test ? "failed" : "dead");
    if (ok) close(now);
    return;
  }
  note(event, v, took, now, ok ? "delivered" : "failed");
  ok ? taken(event, now) : failed(event, v, now, random);
}

void endpoint::interrupted(const told_event& event, milliseconds took, wall_time now) {
  --in_flight_;
  dirty_ = true;
  verdict v;
  v.error = "interrupted: the node stopped before the receiver had answered; the event comes again with the same webhook-id";
  auto seen = event;
  seen.asked = {};   // what a person asked for stays asked for
  note(seen, v, took, now, "failed");
}

void endpoint::forget(const told_event& event) {
  bytes_ -= std::min(bytes_, event.body ? event.body->size() : 0);
}

void endpoint::drop_events(stall& s) {
  for (const auto& e : s.events) forget(e);
  s.events.clear();
  s.loaded_upto = 0;
}

void endpoint::taken(const told_event& event, wall_time now) {
  if (const auto at = stalls_.find(event.lane); at != stalls_.end() && at->second.is == stall::phase::in_flight) {
    auto& s = at->second;
    forget(event);
    if (!s.events.empty()) s.events.pop_front();
    s.record.attempts = 0;
    s.record.first_failed_at.reset();
    s.record.position = event.position + 1;
    advance(s, event.lane, now);
  } else {
    busy_.erase(event.lane);
    undone_[index(event.lane.kind)].erase(event.position);
    forget(event);
    const auto lane = lanes_.find(event.lane);
    if (lane != lanes_.end()) {
      lane->second.pop_front();
      lane->second.empty() ? void(lanes_.erase(lane)) : ready_.push_back(event.lane);
    }
  }
  close(now);
}

/// The stall's next event, or its end.
void endpoint::advance(stall& s, const lane_key& lane, wall_time now) {
  if (!s.events.empty()) {
    s.record.position = s.events.front().position;
    s.is = stall::phase::ready;
  } else if (s.loaded_upto >= s.upto) {
    changed_stalls_.erase(lane);
    ended_stalls_.insert(lane);
    dirty_ = true;
    stalls_.erase(lane);
    return;
  } else {
    s.record.position = std::max(s.record.position, s.loaded_upto + 1);
    s.record.next_attempt_at = now;
    s.is = stall::phase::waiting;
  }
  changed_stalls_.insert(lane);
  dirty_ = true;
}

endpoint::stall& endpoint::stall_of(const lane_key& lane, std::int64_t position, wall_time now) {
  auto [at, fresh] = stalls_.try_emplace(lane);
  auto& s = at->second;
  if (fresh) {
    s.record.kind = lane.kind;
    s.record.channel = lane.channel;
    s.record.position = position;
    s.record.next_attempt_at = now;
    s.upto = read(lane.kind);
    // What was read of the lane waits in the database from now on.
    if (const auto queue = lanes_.find(lane); queue != lanes_.end()) {
      for (const auto& e : queue->second) {
        undone_[index(lane.kind)].erase(e.position);
        forget(e);
      }
      lanes_.erase(queue);
    }
    busy_.erase(lane);
    ended_stalls_.erase(lane);
  }
  changed_stalls_.insert(lane);
  dirty_ = true;
  return s;
}

void endpoint::failed(const told_event& event, const verdict& v, wall_time now, std::uint64_t random) {
  ++failures_;
  if (!failing_since_) failing_since_ = now;
  auto& s = stall_of(event.lane, event.position, now);
  drop_events(s);
  s.is = stall::phase::waiting;
  const bool trips = failures_ >= limits::webhook_circuit_failures;
  if (trips) open(later(now, backoff_delay(waits, static_cast<unsigned>(failures_ - limits::webhook_circuit_failures), random)));
  give_up_or_wait(s, event, v, now, random);
}

void endpoint::give_up_or_wait(stall& s, const told_event& event, const verdict& v, wall_time now, std::uint64_t random) {
  auto& r = s.record;
  ++r.attempts;
  if (!r.first_failed_at) r.first_failed_at = now;
  r.status = v.status;
  r.error = v.error;
  const auto due = std::max(event.due_since, load_.due_since);
  const bool poison = now - *r.first_failed_at >= limits::webhook_give_up;
  // While nothing at all is taken, what is old enough has its one attempt and goes the same way: it waited behind the others that failed.
  const bool dead_end = now - *failing_since_ >= limits::webhook_give_up && now - due >= limits::webhook_give_up;
  if (!poison && !dead_end) {
    r.next_attempt_at = later(now, backoff_delay(waits, static_cast<unsigned>(r.attempts - 1), random));
    if (v.not_before) r.next_attempt_at = std::max(r.next_attempt_at, *v.not_before);
    return;
  }
  note(event, v, milliseconds(0), now, "dead");
  notes_.back().attempts = r.attempts;
  r.position = event.position + 1;
  r.attempts = 0;
  r.first_failed_at.reset();
  r.next_attempt_at = open_until_.value_or(now);
  s.loaded_upto = std::max(s.loaded_upto, event.position);
  if (event.position >= s.upto) advance(s, event.lane, now);
}

/// Nothing goes out any more but a trial now and then. What was read ahead goes back: an endpoint that is away for days holds no memory.
void endpoint::open(wall_time until) {
  open_until_ = until;
  std::vector<std::pair<lane_key, std::int64_t>> queued;
  for (const auto& [lane, events] : lanes_)
    if (!busy_.contains(lane)) queued.emplace_back(lane, events.front().position);
  for (const auto& [lane, position] : queued) stall_of(lane, position, until);
  ready_.clear();
  for (auto& [lane, s] : stalls_) {
    if (s.is != stall::phase::ready) continue;
    drop_events(s);
    s.is = stall::phase::waiting;
  }
}

void endpoint::close(wall_time now) {
  failures_ = 0;
  failing_since_.reset();
  if (!open_until_) return;
  open_until_.reset();
  for (auto& [lane, s] : stalls_) s.record.next_attempt_at = std::min(s.record.next_attempt_at, now);
}

}  // namespace mailherd::actors
