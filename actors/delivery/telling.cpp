#include "actors/delivery/telling.hpp"

#include <utility>

namespace mailherd::actors {

using store::webhook_store;

namespace {

std::string state_event_id(tenant_id tenant, std::int64_t position) { return "s" + std::to_string(tenant.value) + "-" + std::to_string(position); }

// ---- on storage workers: rows become events with their bodies

result<std::optional<told_event>> tell(store::session& s, const event_words& words, const store::webhook_load& to, const store::stored_message& m) {
  auto body = words.message(s, to.spec, m);
  if (!body) return fail(body.error());
  if (!*body) return std::optional<told_event>();
  told_event e;
  e.lane = {store::event_kind::message, m.channel};
  e.position = m.id.position;
  e.sequence = m.sequence;
  e.id = to_string(m.id);
  e.due_since = m.received_at;
  e.body = std::make_shared<const std::string>(std::move(**body));
  return std::optional(std::move(e));
}

result<std::optional<told_event>> tell(store::session& s, const event_words& words, const store::webhook_load& to, const store::state_event& state) {
  auto body = words.state(s, to.key.tenant, state);
  if (!body) return fail(body.error());
  if (!*body) return std::optional<told_event>();
  told_event e;
  e.lane = {store::event_kind::state, state.channel};
  e.position = e.sequence = state.position;
  e.id = state_event_id(to.key.tenant, state.position);
  e.due_since = state.at;
  e.body = std::make_shared<const std::string>(std::move(**body));
  return std::optional(std::move(e));
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
  const auto add = [&](const auto& rows) -> result<void> {
    for (const auto& row : rows) {
      auto e = tell(s, words, to, row);
      if (!e) return fail(e.error());
      if (*e) out.events.push_back(std::move(**e));
    }
    return {};
  };
  if (auto done = add(read->messages); !done) return fail(done.error());
  if (auto done = add(read->states); !done) return fail(done.error());
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
      if (!found->events.empty() && found->events.front().position == d.position) e = std::move(found->events.front());
    }
    e.lane = {d.kind, d.channel};
    e.position = d.position;
    e.sequence = d.sequence;
    e.id = d.event;
    e.asked = d.id;
    e.attempts = d.attempts;
    out.events.push_back(std::move(e));
  }
  return out;
}

}  // namespace mailherd::actors
