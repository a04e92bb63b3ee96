// storage/webhook_progress: what deliverers read and write. Order of locks: cursors (tenant, webhook) first, then whatever hangs on them.
#include <algorithm>
#include <set>

#include "queries.hpp"
#include "storage/pg_webhook_store.hpp"
#include "storage/rows.hpp"

namespace mailherd::store {

namespace {

tl::unexpected<error> not_mine() { return fail(failure::fenced, "another deliverer has this endpoint"); }

template <class T>
using column = std::vector<T>;

std::optional<std::int64_t> micros_or_none(const std::optional<wall_time>& t) { return t ? std::optional(micros(*t)) : std::nullopt; }

}  // namespace

result<deliverer_id> pg_webhook_store::join(const std::string& node, seconds ttl) {
  const auto rows = link_.once({}, sql::join_deliverers, node, static_cast<std::int64_t>(ttl.count()));
  if (!rows) return fail(rows.error());
  return deliverer_id{(*rows)[0][0].as<std::int64_t>()};
}

result<webhook_store::round_report> pg_webhook_store::round(deliverer_id self, seconds ttl) {
  return link_.transact({}, [&]() -> result<round_report> {
    if (link_.run(sql::renew_deliverer, self, static_cast<std::int64_t>(ttl.count())).affected_rows() == 0)
      return fail(failure::fenced, "this deliverer's life has ended");
    round_report out;
    const auto share = link_.run(sql::webhook_share, self);
    out.share = share[0][1].as<std::int64_t>();
    const auto have = share[0][0].as<std::int64_t>();
    const auto more = out.share - have;
    if (more > 0) link_.run(sql::claim_webhooks, self, more);
    if (have == 0 && more <= 0) return out;
    for (const auto& row : link_.run(sql::owned_webhooks, self)) {
      owned_webhook w;
      w.key = {{row[0].as<std::int64_t>()}, {row[1].as<std::int64_t>()}};
      w.epoch = row[2].as<std::int64_t>();
      w.revision = row[3].as<std::int64_t>();
      w.message_head = row[4].as<std::int64_t>();
      w.state_head = row[5].as<std::int64_t>();
      w.asked = row[6].as<bool>();
      out.owned.push_back(w);
    }
    return out;
  });
}

result<void> pg_webhook_store::release(deliverer_id self, const std::vector<webhook_key>& webhooks) {
  column<std::int64_t> tenants, ids;
  for (const auto& k : webhooks) {
    tenants.push_back(k.tenant.value);
    ids.push_back(k.webhook.value);
  }
  const auto rows = link_.once({}, sql::release_webhooks, self, array_of(tenants), array_of(ids));
  if (!rows) return fail(rows.error());
  return {};
}

result<void> pg_webhook_store::leave(deliverer_id self) {
  const auto rows = link_.once({}, sql::leave_deliverers, self);
  if (!rows) return fail(rows.error());
  return {};
}

result<webhook_load> pg_webhook_store::load(deliverer_id self, const webhook_key& webhook) {
  return link_.transact({webhook.tenant}, [&]() -> result<webhook_load> {
    const auto rows = link_.run(sql::load_webhook, webhook.tenant, webhook.webhook, self);
    if (rows.empty()) return not_mine();
    const auto row = rows[0];
    webhook_load out;
    out.key = webhook;
    out.spec = webhook_spec_of(row);
    auto signing = unseal(keys_, webhook_context(webhook.tenant, webhook.webhook, "secret"), row[7]);
    if (!signing) return fail(signing.error());
    auto old = unseal(keys_, webhook_context(webhook.tenant, webhook.webhook, "old_secret"), row[8]);
    if (!old) return fail(old.error());
    out.signing = std::move(*signing);
    out.old_signing = std::move(*old);
    out.old_signing_until = time_or_none(row[9]);
    out.epoch = row[10].as<std::int64_t>();
    out.revision = row[11].as<std::int64_t>();
    out.message_position = row[12].as<std::int64_t>();
    out.state_position = row[13].as<std::int64_t>();
    out.due_since = time_of(row[14].as<std::int64_t>());
    out.failures = row[15].as<std::int64_t>();
    out.failing_since = time_or_none(row[16]);
    out.open_until = time_or_none(row[17]);
    for (const auto& s : link_.run(sql::list_stalls, webhook.tenant, webhook.webhook)) out.stalls.push_back(stall_of(s));
    return out;
  });
}

result<events_read> pg_webhook_store::read(deliverer_id self, const reading& what) {
  const auto& k = what.webhook;
  return link_.transact({k.tenant}, [&]() -> result<events_read> {
    // The head first: whatever commits between the two statements lies beyond it and is read next time.
    const auto heads = link_.run(sql::webhook_heads, k.tenant, k.webhook, self, what.epoch);
    if (heads.empty()) return not_mine();
    if (heads[0][2].as<std::int64_t>() != what.revision) return fail(failure::conflict, "the endpoint was changed");
    events_read out;
    out.head = heads[0][what.kind == event_kind::state ? 1 : 0].as<std::int64_t>();
    out.upto = out.head;
    if (what.kind == event_kind::state) {
      const auto channels = what.lane ? std::vector{*what.lane} : what.channels;
      for (const auto& row : link_.run(sql::states_to_tell, k.tenant, what.after, out.head, array_of_channels(channels), what.limit))
        out.states.push_back({row[0].as<std::int64_t>(), {row[1].as<std::int64_t>()}, time_of(row[2].as<std::int64_t>()), text(row[3]), text(row[4]), text(row[5])});
      if (out.states.size() == what.limit) out.upto = out.states.back().position;
      return out;
    }
    // The next positions, not all up to the head: as in the feed. An empty stretch is a gap, and what lies beyond it is searched for.
    const auto next = what.after + static_cast<std::int64_t>(what.limit);
    if (!what.lane && what.channels.empty()) out.upto = std::min(out.head, next);
    const auto look = [&] {
      return what.lane ? link_.run(sql::messages_of_channel_to_tell, k.tenant, what.after, out.upto, *what.lane, what.limit)
                       : link_.run(sql::messages_to_tell, k.tenant, what.after, out.upto, array_of_channels(what.channels), what.limit);
    };
    auto rows = look();
    if (rows.empty() && out.upto < out.head) {
      out.upto = out.head;
      rows = look();
    }
    auto messages = messages_of(rows, k.tenant);
    if (!messages) return fail(messages.error());
    out.messages = std::move(*messages);
    if (out.messages.size() == what.limit) out.upto = out.messages.back().id.position;
    return out;
  });
}

result<std::vector<delivery_record>> pg_webhook_store::asked(const webhook_key& webhook, std::size_t limit) {
  const auto rows = link_.once({webhook.tenant}, sql::asked_deliveries, webhook.tenant, webhook.webhook, limit);
  if (!rows) return fail(rows.error());
  std::vector<delivery_record> out;
  for (const auto& row : *rows) {
    delivery_record d;
    d.id.value = row[0].as<std::int64_t>();
    d.state = "pending";
    d.kind = event_kind_from(row[1].c_str()).value_or(event_kind::test);
    d.event = text(row[2]);
    d.channel.value = row[3].as<std::int64_t>();
    d.position = row[4].as<std::int64_t>();
    d.sequence = row[5].as<std::int64_t>();
    d.attempts = row[6].as<std::int64_t>();
    out.push_back(std::move(d));
  }
  return out;
}

result<std::vector<bool>> pg_webhook_store::save(deliverer_id self, const std::vector<webhook_progress>& all) {
  return link_.transact({}, [&]() -> result<std::vector<bool>> {
    column<std::int64_t> tenants, ids, epochs, revisions, messages, states, failures;
    column<std::optional<std::int64_t>> failing, open;
    for (const auto& p : all) {
      tenants.push_back(p.key.tenant.value);
      ids.push_back(p.key.webhook.value);
      epochs.push_back(p.epoch);
      revisions.push_back(p.revision);
      messages.push_back(p.message_position);
      states.push_back(p.state_position);
      failures.push_back(p.failures);
      failing.push_back(micros_or_none(p.failing_since));
      open.push_back(micros_or_none(p.open_until));
    }
    std::set<webhook_key> held;
    for (const auto& row : link_.run(sql::save_cursors, self, array_of(tenants), array_of(ids), array_of(epochs), array_of(revisions), array_of(messages),
                                     array_of(states), array_of(failures), array_of(failing), array_of(open)))
      held.insert(webhook_key{{row[0].as<std::int64_t>()}, {row[1].as<std::int64_t>()}});
    std::vector<bool> out;
    for (const auto& p : all) {
      out.push_back(held.contains(p.key));
      if (out.back()) save_one(p);
    }
    return out;
  });
}

void pg_webhook_store::save_one(const webhook_progress& p) {
  const auto& k = p.key;
  for (const auto& [kind, channel] : p.caught_up) link_.run(sql::drop_stall, k.tenant, k.webhook, to_string(kind), channel);
  for (const auto& s : p.stalls)
    link_.run(sql::put_stall, k.tenant, k.webhook, to_string(s.kind), s.channel, s.position, s.attempts, s.first_failed_at, s.next_attempt_at, s.status,
              s.error);
  column<std::int64_t> tenants, ids, channels, positions, sequences, attempts, at, took, status;
  column<std::string> state, kind, event, why, request, response;
  for (const auto& d : p.notes) {
    if (d.id) {
      link_.run(sql::finish_asked, k.tenant, k.webhook, d.id, d.state, d.attempts, d.at, static_cast<std::int64_t>(d.took.count()), d.status, d.error,
                d.request, d.response);
      continue;
    }
    tenants.push_back(k.tenant.value);
    ids.push_back(k.webhook.value);
    state.push_back(d.state);
    kind.emplace_back(to_string(d.kind));
    event.push_back(d.event);
    channels.push_back(d.channel.value);
    positions.push_back(d.position);
    sequences.push_back(d.sequence);
    attempts.push_back(d.attempts);
    at.push_back(micros(d.at));
    took.push_back(d.took.count());
    status.push_back(d.status);
    why.push_back(d.error);
    request.push_back(d.request);
    response.push_back(d.response);
  }
  if (!tenants.empty())
    link_.run(sql::note_deliveries, array_of(tenants), array_of(ids), array_of(state), array_of(kind), array_of(event), array_of(channels),
              array_of(positions), array_of(sequences), array_of(attempts), array_of(at), array_of(took), array_of(status), array_of(why),
              array_of(request), array_of(response));
  if (!p.disable.empty()) link_.run(sql::disable_webhook, k.tenant, k.webhook, p.disable);
}

}  // namespace mailherd::store
