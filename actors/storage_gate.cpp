#include "actors/storage_gate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/backoff.hpp"

namespace mailherd::actors {

namespace {

constexpr backoff_policy away{milliseconds(200), seconds(5), 2.0, 0.5};

/// Repeating may help: the statement was not judged.
bool passing(failure f) {
  return f == failure::store_unavailable || f == failure::store_busy || f == failure::timed_out || f == failure::internal;
}

store::commit_outcome failed(error why) {
  store::commit_outcome o;
  o.status = fail(std::move(why));
  return o;
}

double seconds_between(mono_time from, mono_time to) { return std::chrono::duration<double>(to - from).count(); }

}  // namespace

void storage_gate_state::add(const commit_request_ptr& request) {
  if (stopping) return refuse(request, {failure::cancelled, "the node stops", {}});
  if (request->stream && request->stream->broken)
    return refuse(request, {failure::cancelled, "an earlier part of this mailbox was not stored", {}});
  request->held = bytes_of(request->unit) >= limits::write_ahead_bytes;
  if (!queue.add(request)) return refuse(request, {failure::store_busy, "too much mail waits to be stored", {}});
  if (request->held) {
    large.push_back(request);
    write_ahead();
  }
  pump();
}

/// While a mailbox's unit is being committed, the bodies of its next one are written: the commit itself moves but short rows.
void storage_gate_state::write_ahead() {
  while (ahead < limits::write_ahead_flights && !large.empty()) {
    const auto request = std::move(large.front());
    large.pop_front();
    if (request->until.expired(self->clock().now()) || (request->stream && request->stream->broken)) {
      on_written_ahead(request, {}, fail(failure::cancelled));   // the queue answers for it, if it has not yet
      continue;
    }
    std::vector<std::size_t> which;
    std::vector<std::shared_ptr<const std::string>> bodies;
    for (std::size_t i = 0; i < request->unit.messages.size(); ++i) {
      if (!request->unit.messages[i].body) continue;
      which.push_back(i);
      bodies.push_back(request->unit.messages[i].body);
    }
    ++ahead;
    ask_store<blob_id>(
        self, *env->store, request->until,
        [guard = request->unit.guard, bodies = std::move(bodies)](store::session& s) { return s.mail.put_bodies(guard, bodies); },
        [this, request, which = std::move(which)](result<blob_id> blob) {
          --ahead;
          on_written_ahead(request, which, std::move(blob));
          write_ahead();
          pump();
        });
  }
}

/// Whatever became of it, the unit may go now. What could not be written ahead travels with the commit, where all that can fail is dealt with.
void storage_gate_state::on_written_ahead(const commit_request_ptr& request, const std::vector<std::size_t>& which, result<blob_id> blob) {
  if (blob) {
    std::int32_t index = 0;
    for (const auto i : which) {
      auto& m = request->unit.messages[i];
      m.blob = *blob;
      m.body_index = index++;
      m.body.reset();
    }
  }
  request->held = false;
  queue.released(request->unit.guard.channel);
}

void storage_gate_state::pump() {
  while (flights < limits::gate_flights) {
    commit_queue::requests expired;
    auto group = queue.next_group(self->clock().now(), expired);
    for (const auto& r : expired) refuse(r, {failure::timed_out, "not stored in time", {}});
    if (group.empty()) break;
    auto f = std::make_shared<flight>();
    part p;
    p.requests = group;
    // The guard stays readable in the moved-from unit: it is plain numbers. The queue needs it to end the flight.
    for (const auto& r : p.requests) p.units.push_back(std::move(r->unit));
    f->group = std::move(group);
    f->todo.push_back(std::move(p));
    ++flights;
    send(f);
  }
  end_if_done();
}

void storage_gate_state::send(const flight_ptr& f) {
  while (!f->todo.empty()) {
    auto p = std::make_shared<part>(std::move(f->todo.back()));
    f->todo.pop_back();
    // Half of a refused group may have been given up meanwhile: what followed it on the same stream must not be stored.
    part left;
    for (std::size_t i = 0; i < p->requests.size(); ++i) {
      if (p->requests[i]->stream && p->requests[i]->stream->broken) {
        refuse(p->requests[i], {failure::cancelled, "an earlier part of this mailbox was not stored", {}});
      } else {
        left.requests.push_back(std::move(p->requests[i]));
        left.units.push_back(std::move(p->units[i]));
      }
    }
    *p = std::move(left);
    if (p->requests.empty()) continue;
    const auto sent = self->clock().now();
    auto until = p->requests.front()->until;
    for (const auto& r : p->requests) until.at = std::min(until.at, r->until.at);
    ask_store<std::vector<store::commit_outcome>>(
        self, *env->store, until, [p](store::session& s) { return s.mail.commit(p->units); },
        [this, f, p, sent](result<std::vector<store::commit_outcome>> outcome) { on_committed(f, p, sent, std::move(outcome)); });
    return;
  }
  queue.finished(f->group);
  --flights;
  pump();
}

void storage_gate_state::on_committed(const flight_ptr& f, const std::shared_ptr<part>& p, mono_time sent,
                                      result<std::vector<store::commit_outcome>> outcome) {
  if (outcome && outcome->size() != p->units.size()) outcome = fail(failure::store_failed, "the store answered for another group");
  if (outcome) {
    env->report->commit(seconds_between(sent, self->clock().now()), queue.size());
    for (std::size_t i = 0; i < p->units.size(); ++i) {
      report_stored(p->units[i], (*outcome)[i]);
      settle(p->requests[i], std::move((*outcome)[i]));
    }
    f->attempt = 0;
    return send(f);
  }
  if (passing(outcome.error().code)) return retry(f, std::move(*p), outcome.error());
  if (p->units.size() == 1) {
    settle(p->requests.front(), failed(outcome.error()));
    return send(f);
  }
  // One refused unit must not cost the others of its group (invariant 8): halve, first half first.
  const auto half = static_cast<std::ptrdiff_t>(p->units.size() / 2);
  part first, second;
  first.requests.assign(p->requests.begin(), p->requests.begin() + half);
  second.requests.assign(p->requests.begin() + half, p->requests.end());
  std::move(p->units.begin(), p->units.begin() + half, std::back_inserter(first.units));
  std::move(p->units.begin() + half, p->units.end(), std::back_inserter(second.units));
  f->todo.push_back(std::move(second));
  f->todo.push_back(std::move(first));
  send(f);
}

void storage_gate_state::retry(const flight_ptr& f, part p, const error& why) {
  expire();
  const auto now = self->clock().now();
  part left;
  for (std::size_t i = 0; i < p.requests.size(); ++i) {
    if (p.requests[i]->until.expired(now)) {
      settle(p.requests[i], failed(why));
    } else {
      left.requests.push_back(std::move(p.requests[i]));
      left.units.push_back(std::move(p.units[i]));
    }
  }
  f->todo.push_back(std::move(left));   // an empty part is passed over; what follows a given-up unit is refused by send
  if (f->todo.back().requests.empty()) return send(f);
  auto wait = backoff_delay(away, f->attempt++, env->random());
  for (const auto& r : f->todo.back().requests) wait = std::min<duration>(wait, r->until.left(now));
  timers.after(self, wait, [this, f] { send(f); });
}

/// Of what waits behind the flights: answered in time although no group is taken while the database is away.
void storage_gate_state::expire() {
  commit_queue::requests expired;
  queue.expire(self->clock().now(), expired);
  for (const auto& r : expired) refuse(r, {failure::timed_out, "not stored in time", {}});
}

void storage_gate_state::report_stored(const store::commit_unit& unit, const store::commit_outcome& outcome) {
  if (!outcome.status) {
    if (outcome.status.error().code == failure::fenced) {
      env->report->fenced_write();
      env->report->log(log_level::warning, "storage refused mail of a lease that is over",
                       {{"channel", to_string(unit.guard.channel)}, {"epoch", std::to_string(unit.guard.epoch)}});
    }
    return;
  }
  if (outcome.suppressed > 0) env->report->duplicates_suppressed(outcome.suppressed);
  if (outcome.stored <= 0) return;
  std::uint64_t bytes = 0;
  for (const auto& m : unit.messages) bytes += m.size;
  const auto seen = std::max<std::uint64_t>(1, unit.messages.size());
  // Which of a unit's messages were duplicates is not told: their bytes are shared out evenly.
  env->report->stored(unit.guard.tenant, unit.protocol, outcome.stored, bytes * std::min<std::uint64_t>(seen, outcome.stored) / seen);
  // The first backfill's mail is old by nature and would drown the lag of mail that arrives.
  if (unit.backfill_total || outcome.suppressed > 0) return;
  const auto now = env->wall_now();
  for (const auto& m : unit.messages)
    if (m.internal_date != wall_time{}) env->report->fetch_lag(std::max(0.0, std::chrono::duration<double>(now - m.internal_date).count()));
}

void storage_gate_state::settle(const commit_request_ptr& request, store::commit_outcome outcome) {
  if (!outcome.status) return refuse(request, outcome.status.error());
  request->share.reset();
  request->then(std::move(outcome));
}

void storage_gate_state::refuse(const commit_request_ptr& request, const error& why) {
  request->share.reset();
  if (!request->stream) {
    request->then(failed(why));
    return;
  }
  const bool first = !request->stream->broken.exchange(true);
  request->then(failed(why));
  if (!first) return;
  for (const auto& r : queue.drop(request->unit.guard.channel))
    refuse(r, {failure::cancelled, "an earlier part of this mailbox was not stored", {}});
}

void storage_gate_state::note(const sign_of_life& sign) {
  if (stopping) return;
  const auto at = signs.find(sign.guard.channel);
  if (at == signs.end() && signs.size() >= limits::gate_signs) return;   // it comes again
  if (at == signs.end()) {
    signs.emplace(sign.guard.channel, sign);
  } else if (at->second.guard.epoch <= sign.guard.epoch) {
    at->second = sign;
  }
  if (signs_armed) return;
  signs_armed = true;
  timers.after(self, limits::gate_sign_delay, [this] { write_signs(); });
}

void storage_gate_state::write_signs() {
  signs_armed = false;
  std::vector<std::pair<store::lease_guard, wall_time>> rows;
  const auto write = [&] {
    if (rows.empty()) return;
    ++sign_writes;
    ask_store<void>(
        self, *env->store, deadline::after(self->clock().now(), limits::commit_deadline),
        [rows = std::move(rows)](store::session& s) { return s.mail.touch_success(rows); },
        [this](result<void>) {   // a lost one is made good by the next
          --sign_writes;
          end_if_done();
        });
    rows.clear();
  };
  for (const auto& [channel, sign] : signs) {
    rows.emplace_back(sign.guard, sign.at);
    if (rows.size() >= limits::gate_signs_statement) write();
  }
  write();
  signs.clear();
}

void storage_gate_state::stop() {
  stopping = true;
  write_signs();
  pump();
}

void storage_gate_state::end_if_done() {
  if (stopping && flights == 0 && ahead == 0 && sign_writes == 0 && queue.size() == 0) self->quit();
}

storage_gate_actor::behavior_type storage_gate(storage_gate_actor::stateful_pointer<storage_gate_state> self, const environment* env) {
  auto& state = self->state;
  state.env = env;
  return {
      [](const continuation& rest) { rest.run(); },
      [&state](commit_atom, const commit_request_ptr& request) { state.add(request); },
      [&state](served_atom, const sign_of_life& sign) { state.note(sign); },
      [&state](tick_atom, std::uint64_t timer) { state.timers.fire(timer); },
      [&state](stop_atom) { state.stop(); },
  };
}

storage_gate_actor spawn_storage_gate(caf::actor_system& system, const environment& env) { return system.spawn(storage_gate, &env); }

}  // namespace mailherd::actors
