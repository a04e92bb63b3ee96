// storage/webhooks: endpoints as the API sees them. Their secrets are sealed for the row they stand in.
#include "queries.hpp"
#include "storage/admin_support.hpp"
#include "storage/pg_webhook_store.hpp"
#include "storage/rows.hpp"

namespace mailherd::store {

namespace {

/// PostgreSQL's "{1,2}" or "{a,b}" of plain words.
std::vector<std::string> words_of(const pqxx::field& f) {
  std::vector<std::string> out;
  std::string text = f.c_str();
  if (text.size() < 2) return out;
  text = text.substr(1, text.size() - 2);
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find(',', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

std::string array_of_events(const std::vector<event_kind>& events) {
  std::vector<std::string> names;
  for (const auto e : events) names.emplace_back(event_type(e));
  return array_of(names);
}

webhook_record webhook_of(const pqxx::row& row) {
  webhook_record w;
  w.tenant.value = row["tenant_id"].as<std::int64_t>();
  w.id.value = row["webhook_id"].as<std::int64_t>();
  w.spec = webhook_spec_of(row);
  w.spec.enabled = row["enabled"].as<bool>();
  w.disabled_reason = text(row["disabled_reason"]);
  w.old_secret_until = time_or_none(row["old_secret_until"]);
  w.revision = row["revision"].as<std::int64_t>();
  w.created_at = time_of(row["created_at"].as<std::int64_t>());
  w.position = row["message_position"].as<std::int64_t>();
  w.head = row["head"].as<std::int64_t>();
  w.failures = row["failures"].as<std::int64_t>();
  w.failing_since = time_or_none(row["failing_since"]);
  w.open_until = time_or_none(row["open_until"]);
  w.stalled = row["stalled"].as<std::int64_t>();
  w.dead = row["dead"].as<std::int64_t>();
  return w;
}

}  // namespace

webhook_spec webhook_spec_of(const pqxx::row& row) {
  webhook_spec s;
  s.url = text(row["url"]);
  s.events.clear();
  for (const auto& name : words_of(row["events"]))
    if (const auto k = event_kind_from(name)) s.events.push_back(*k);
  for (const auto& number : words_of(row["channels"])) s.channels.push_back({std::stoll(number)});
  s.body = webhook_body_from(row["body"].c_str()).value_or(webhook_body::envelope);
  s.raw_bytes = row["raw_bytes"].as<std::int64_t>();
  s.max_in_flight = row["max_in_flight"].as<std::int64_t>();
  s.max_per_second = row["max_per_second"].as<std::int64_t>();
  return s;
}

std::string array_of_channels(const std::vector<channel_id>& channels) {
  std::vector<std::int64_t> numbers;
  for (const auto c : channels) numbers.push_back(c.value);
  return array_of(numbers);
}

/// A hint to every node that an endpoint changed: latency only.
void pg_webhook_store::hint(tenant_id tenant) { static_cast<void>(link_.once({}, sql::notify_channel, tenant, 0)); }

result<webhook_record> pg_webhook_store::create(const caller& who, tenant_id tenant, const webhook_spec& spec, const secret<>& signing) {
  if (!may(who, tenant)) return missing();
  auto made = link_.transact({tenant}, [&]() -> result<webhook_record> {
    if (link_.run(sql::lock_tenant, tenant).empty()) return missing();
    if (link_.run(sql::count_webhooks, tenant)[0][0].as<std::size_t>() >= limits::webhooks_per_tenant)
      return fail(failure::conflict, "The tenant has as many webhooks as it may.");
    const webhook_id id{link_.run(sql::next_webhook)[0][0].as<std::int64_t>()};   // the seal's context names it
    link_.run(sql::insert_webhook, tenant, id, spec.url, array_of_events(spec.events), array_of_channels(spec.channels), to_string(spec.body),
              spec.raw_bytes, spec.max_in_flight, spec.max_per_second, spec.enabled,
              sealed_or_null(keys_, webhook_context(tenant, id, "secret"), signing));
    link_.run(sql::insert_webhook_cursor, tenant, id, spec.enabled);
    return webhook_of(link_.run(sql::get_webhook, tenant, id)[0]);
  });
  if (made) hint(tenant);
  return made;
}

result<webhook_record> pg_webhook_store::get(const caller& who, tenant_id tenant, webhook_id webhook) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&]() -> result<webhook_record> {
    const auto rows = link_.run(sql::get_webhook, tenant, webhook);
    if (rows.empty()) return missing();
    return webhook_of(rows[0]);
  });
}

result<page<webhook_record>> pg_webhook_store::list(const caller& who, tenant_id tenant, std::size_t limit, const std::string& after) {
  if (!may(who, tenant)) return missing();
  const auto start = page_start<webhook_id>(after);
  if (!start) return fail(start.error());
  return link_.transact({tenant}, [&]() -> result<page<webhook_record>> {
    if (link_.run(sql::get_tenant, tenant).empty()) return missing();
    std::vector<webhook_record> found;
    for (const auto& row : link_.run(sql::list_webhooks, tenant, *start, limit + 1)) found.push_back(webhook_of(row));
    return cut_page(std::move(found), limit);
  });
}

result<webhook_record> pg_webhook_store::update(const caller& who, tenant_id tenant, webhook_id webhook, const webhook_spec& spec) {
  if (!may(who, tenant)) return missing();
  auto done = link_.transact({tenant}, [&]() -> result<webhook_record> {
    const auto changed = link_.run(sql::update_webhook, tenant, webhook, spec.url, array_of_events(spec.events), array_of_channels(spec.channels),
                                   to_string(spec.body), spec.raw_bytes, spec.max_in_flight, spec.max_per_second, spec.enabled);
    if (changed.affected_rows() == 0) return missing();
    return webhook_of(link_.run(sql::get_webhook, tenant, webhook)[0]);
  });
  if (done) hint(tenant);
  return done;
}

result<void> pg_webhook_store::remove(const caller& who, tenant_id tenant, webhook_id webhook) {
  if (!may(who, tenant)) return missing();
  const auto rows = link_.once({tenant}, sql::delete_webhook, tenant, webhook);
  if (!rows) return fail(rows.error());
  if (rows->affected_rows() == 0) return missing();
  hint(tenant);
  return {};
}

result<webhook_record> pg_webhook_store::rotate(const caller& who, tenant_id tenant, webhook_id webhook, const secret<>& signing, wall_time old_until) {
  if (!may(who, tenant)) return missing();
  auto done = link_.transact({tenant}, [&]() -> result<webhook_record> {
    const auto rows = link_.run(sql::hold_webhook, tenant, webhook);
    if (rows.empty()) return missing();
    const auto before = unseal(keys_, webhook_context(tenant, webhook, "secret"), rows[0][0]);
    if (!before) return fail(before.error());
    link_.run(sql::rotate_webhook_secret, tenant, webhook, sealed_or_null(keys_, webhook_context(tenant, webhook, "secret"), signing),
              sealed_or_null(keys_, webhook_context(tenant, webhook, "old_secret"), *before), old_until);
    link_.run(sql::touch_webhook, tenant, webhook);
    return webhook_of(link_.run(sql::get_webhook, tenant, webhook)[0]);
  });
  if (done) hint(tenant);
  return done;
}

result<std::int64_t> pg_webhook_store::replay(const caller& who, tenant_id tenant, webhook_id webhook, std::optional<std::int64_t> position,
                                              std::optional<wall_time> since) {
  if (!may(who, tenant)) return missing();
  auto done = link_.transact({tenant}, [&]() -> result<std::int64_t> {
    if (since) position = link_.run(sql::position_at, tenant, *since)[0][0].as<std::int64_t>();
    if (link_.run(sql::replay_webhook, tenant, webhook, position.value_or(0)).affected_rows() == 0) return missing();
    return position.value_or(0);
  });
  if (done) hint(tenant);
  return done;
}

result<std::int64_t> pg_webhook_store::position_at(const caller& who, tenant_id tenant, wall_time since) {
  if (!may(who, tenant)) return missing();
  const auto rows = link_.once({tenant}, sql::position_at, tenant, since);
  if (!rows) return fail(rows.error());
  return (*rows)[0][0].as<std::int64_t>();
}

result<delivery_id> pg_webhook_store::ask_test(const caller& who, tenant_id tenant, webhook_id webhook) {
  if (!may(who, tenant)) return missing();
  auto done = link_.transact({tenant}, [&]() -> result<delivery_id> {
    if (link_.run(sql::hold_webhook, tenant, webhook).empty()) return missing();
    return delivery_id{link_.run(sql::insert_test_delivery, tenant, webhook)[0][0].as<std::int64_t>()};
  });
  if (done) hint(tenant);
  return done;
}

result<void> pg_webhook_store::ask_again(const caller& who, tenant_id tenant, webhook_id webhook, delivery_id delivery) {
  if (!may(who, tenant)) return missing();
  auto done = link_.transact({tenant}, [&]() -> result<void> {
    if (link_.run(sql::get_delivery, tenant, webhook, delivery).empty()) return missing();
    if (link_.run(sql::ask_again, tenant, webhook, delivery).affected_rows() == 0)
      return fail(failure::conflict, "Only what was given up (state dead) is delivered again one by one; replay is for the rest.");
    return {};
  });
  if (done) hint(tenant);
  return done;
}

delivery_record delivery_of(const pqxx::row& row) {
  delivery_record d;
  d.id.value = row[0].as<std::int64_t>();
  d.state = text(row[1]);
  d.kind = event_kind_from(row[2].c_str()).value_or(event_kind::message);
  d.event = text(row[3]);
  d.channel.value = row[4].as<std::int64_t>();
  d.position = row[5].as<std::int64_t>();
  d.sequence = row[6].as<std::int64_t>();
  d.attempts = row[7].as<std::int64_t>();
  d.at = time_of(row[8].as<std::int64_t>());
  d.took = milliseconds(row[9].as<std::int64_t>());
  d.status = row[10].as<int>();
  d.error = text(row[11]);
  d.request = text(row[12]);
  d.response = text(row[13]);
  return d;
}

result<page<delivery_record>> pg_webhook_store::deliveries(const caller& who, tenant_id tenant, webhook_id webhook, const std::string& state,
                                                           std::size_t limit, const std::string& after) {
  if (!may(who, tenant)) return missing();
  const auto start = page_start<delivery_id>(after);
  if (!start) return fail(start.error());
  return link_.transact({tenant}, [&]() -> result<page<delivery_record>> {
    if (link_.run(sql::get_webhook, tenant, webhook).empty()) return missing();
    std::vector<delivery_record> found;
    for (const auto& row : link_.run(sql::list_deliveries, tenant, webhook, state, *start, limit + 1)) found.push_back(delivery_of(row));
    return cut_page(std::move(found), limit);
  });
}

stall_record stall_of(const pqxx::row& row) {
  stall_record s;
  s.kind = event_kind_from(row[0].c_str()).value_or(event_kind::message);
  s.channel.value = row[1].as<std::int64_t>();
  s.position = row[2].as<std::int64_t>();
  s.attempts = row[3].as<std::int64_t>();
  s.first_failed_at = time_or_none(row[4]);
  s.next_attempt_at = time_of(row[5].as<std::int64_t>());
  s.status = row[6].as<int>();
  s.error = text(row[7]);
  return s;
}

result<std::vector<stall_record>> pg_webhook_store::stalls(const caller& who, tenant_id tenant, webhook_id webhook) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&]() -> result<std::vector<stall_record>> {
    if (link_.run(sql::get_webhook, tenant, webhook).empty()) return missing();
    std::vector<stall_record> found;
    for (const auto& row : link_.run(sql::list_stalls, tenant, webhook)) found.push_back(stall_of(row));
    return found;
  });
}

}  // namespace mailherd::store
