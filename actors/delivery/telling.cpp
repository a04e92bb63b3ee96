#include "actors/delivery/telling.hpp"

#include <exception>
#include <utility>

#include "core/limits.hpp"

namespace mailherd::actors {

using store::webhook_store;

namespace {

std::string state_event_id(tenant_id tenant, std::int64_t position) { return "s" + std::to_string(tenant.value) + "-" + std::to_string(position); }

// ---- on storage workers: rows become events

void add(events_told& to, told_event e, store::event_body said) {
  to.holds += said.holds;
  if (said.rest)
    to.unmade.emplace(to.events.size(), std::move(said.rest));
  else
    e.body = std::make_shared<const std::string>(std::move(said.text));
  to.events.push_back(std::move(e));
}

result<void> tell(events_told& out, store::session& s, const event_words& words, const store::webhook_load& to, const store::stored_message& m) {
  auto said = words.message(s, to.spec, m);
  if (!said) return fail(said.error());
  if (!*said) return {};
  told_event e;
  e.lane = {store::event_kind::message, m.channel};
  e.position = m.id.position;
  e.sequence = m.sequence;
  e.id = to_string(m.id);
  e.due_since = m.received_at;
  add(out, std::move(e), std::move(**said));
  return {};
}

result<void> tell(events_told& out, store::session& s, const event_words& words, const store::webhook_load& to, const store::state_event& state) {
  auto said = words.state(s, to.key.tenant, state);
  if (!said) return fail(said.error());
  if (!*said) return {};
  told_event e;
  e.lane = {store::event_kind::state, state.channel};
  e.position = e.sequence = state.position;
  e.id = state_event_id(to.key.tenant, state.position);
  e.due_since = state.at;
  add(out, std::move(e), std::move(**said));
  return {};
}

}  // namespace

result<events_told> tell_events(webhook_store& hooks, store::session& s, const event_words& words, deliverer_id life, const store::webhook_load& to,
                                const endpoint::wish& w) {
  webhook_store::reading what;
  what.webhook = to.key;
  what.epoch = to.epoch;
  what.revision = to.revision;
  what.kind = w.lane.kind;
  what.after = w.after;
  if (w.is == endpoint::wish::what::lane) what.lane = w.lane.channel;
  what.channels = to.spec.channels;
  what.limit = w.limit;
  auto read = hooks.read(life, what);
  if (!read) return fail(read.error());
  events_told out;
  out.upto = read->upto;
  out.head = read->head;
  for (const auto& m : read->messages) {
    if (auto done = tell(out, s, words, to, m); !done) return fail(done.error());
    if (out.holds < limits::webhook_load_bytes) continue;
    out.upto = m.id.position;   // the rest comes with the next load
    return out;
  }
  for (const auto& state : read->states)
    if (auto done = tell(out, s, words, to, state); !done) return fail(done.error());
  return out;
}

result<events_told> tell_asked(webhook_store& hooks, store::session& s, const event_words& words, deliverer_id life, const store::webhook_load& to,
                               const endpoint::wish& w, wall_time now) {
  auto asked = hooks.asked(to.key, w.limit);
  if (!asked) return fail(asked.error());
  events_told out;
  for (const auto& d : *asked) {
    told_event e;
    if (d.kind == store::event_kind::test) {
      e.body = std::make_shared<const std::string>(words.test(to.key, d, now));
    } else {
      endpoint::wish one{endpoint::wish::what::lane, {d.kind, d.channel}, d.position - 1, 1};
      auto found = tell_events(hooks, s, words, life, to, one);
      if (!found) return fail(found.error());
      if (!found->events.empty() && found->events.front().position == d.position) {
        e = std::move(found->events.front());
        if (!found->unmade.empty()) out.unmade.emplace(out.events.size(), std::move(found->unmade.begin()->second));
        out.holds += found->holds;
      }
    }
    e.lane = {d.kind, d.channel};
    e.position = d.position;
    e.sequence = d.sequence;
    e.id = d.event;
    e.asked = d.id;
    e.attempts = d.attempts;
    out.events.push_back(std::move(e));
    if (out.holds >= limits::webhook_load_bytes) break;   // the next round asks for the rest
  }
  return out;
}

// ---- on the workshop: events get their bodies

void make_bodies(const workshop& on, const std::shared_ptr<events_told>& told, const std::function<void(result<void>)>& done) {
  if (told->unmade.empty()) return done({});
  const bool taken = on([on, told, done] {
    auto one = told->unmade.extract(told->unmade.begin());
    try {
      told->events[one.key()].body = std::make_shared<const std::string>(one.mapped()());
    } catch (const std::exception& e) {
      return done(fail(failure::internal, std::string("telling a message: ") + e.what()));
    }
    one = {};   // what it held is given back before the next begins
    make_bodies(on, told, done);
  });
  if (!taken) done(fail(failure::store_busy, "too much mail is being taken apart"));
}

}  // namespace mailherd::actors
