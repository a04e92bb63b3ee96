// storage/admin_tenants: tenants, API keys, idempotency keys.
#include <fmt/format.h>

#include "queries.hpp"
#include "storage/admin_store.hpp"
#include "storage/admin_support.hpp"
#include "storage/migrate.hpp"
#include "storage/purge.hpp"
#include "storage/rows.hpp"

namespace mailherd::store {

namespace {

/// An idempotency key that others take and give back between our two looks at it is tried so often.
constexpr int key_tries = 5;

tenant_record tenant_of(const pqxx::row& row) {
  return {tenant_id{row[0].as<std::int64_t>()}, text(row[1]), {row[2].as<std::int64_t>(), row[3].as<std::int64_t>()}, time_of(row[4].as<std::int64_t>())};
}

api_key_record key_of(const pqxx::row& row) {
  return {api_key_id{row[0].as<std::int64_t>()}, text(row[1]), time_of(row[2].as<std::int64_t>()), time_or_none(row[3])};
}

}  // namespace

result<void> pg_admin_store::ping() {
  const auto rows = link_.once({}, sql::present_schema);
  if (!rows) return fail(rows.error());
  // A newer schema is well: it is made so that the version before it goes on working while a cluster is being upgraded.
  const auto present = (*rows)[0][0].as<int>();
  if (present >= schema_version()) return {};
  return fail(failure::conflict, fmt::format("the database has schema {}, this version needs {}: run `mailherd db migrate`", present, schema_version()));
}

// ---- tenants ----------------------------------------------------------------------------------------------------------------------------

result<tenant_record> pg_admin_store::create_tenant(const std::string& name, const tenant_limits& limits) {
  return link_.transact({}, [&]() -> result<tenant_record> {
    const auto made = tenant_of(link_.run(sql::insert_tenant, name, limits.max_channels, limits.max_message_bytes)[0]);
    link_.run(sql::insert_feed_head, made.id);
    return made;
  });
}

result<tenant_record> pg_admin_store::get_tenant(const caller& who, tenant_id tenant) {
  if (!may(who, tenant)) return missing();
  const auto rows = link_.once({tenant}, sql::get_tenant, tenant);
  if (!rows) return fail(rows.error());
  if (rows->empty()) return missing();
  return tenant_of((*rows)[0]);
}

result<page<tenant_record>> pg_admin_store::list_tenants(const caller& who, std::size_t limit, const std::string& after) {
  const auto start = page_start<tenant_id>(after);
  if (!start) return fail(start.error());
  const scope seen{who.only.value_or(tenant_id{})};
  if (who.only && !*who.only) return missing();   // a scope of nobody would be everybody's
  const auto rows = link_.once(seen, sql::list_tenants, *start, limit + 1);
  if (!rows) return fail(rows.error());
  std::vector<tenant_record> found;
  for (const auto& row : *rows) found.push_back(tenant_of(row));
  return cut_page(std::move(found), limit);
}

result<tenant_record> pg_admin_store::update_tenant(tenant_id tenant, const std::optional<std::string>& name, const std::optional<tenant_limits>& limits) {
  std::optional<std::int64_t> channels, bytes;
  if (limits) {
    channels = limits->max_channels;
    bytes = limits->max_message_bytes;
  }
  bool told = false;
  auto done = link_.transact({tenant}, [&]() -> result<tenant_record> {
    const auto before = link_.run(sql::lock_tenant, tenant);
    if (before.empty()) return missing();
    const auto changed = tenant_of(link_.run(sql::update_tenant, tenant, name, channels, bytes)[0]);
    // The largest message is the fetchers' business: they load it with their channel.
    told = changed.limits.max_message_bytes != before[0][1].as<std::int64_t>();
    if (told) link_.run(sql::note_tenant_changes, tenant);
    return changed;
  });
  if (done && told) static_cast<void>(link_.once({}, sql::notify_channel, tenant, 0));
  return done;
}

result<void> pg_admin_store::delete_tenant(tenant_id tenant) {
  auto done = link_.transact({tenant}, [&]() -> result<void> {
    // First the tenant, so that nobody makes anything in it meanwhile; then all its leases, so that nobody writes; then in the order in which
    // everybody takes locks: apps, changes, the rest.
    if (link_.run(sql::delete_tenant, tenant).empty()) return missing();
    link_.run(sql::close_tenant_leases, tenant);
    link_.run(sql::delete_tenant_apps, tenant);
    link_.run(sql::note_tenant_changes, tenant);
    link_.run(sql::delete_tenant_webhooks, tenant);
    link_.run(sql::delete_tenant_rows, tenant);
    link_.run(sql::drop_tenant_leases, tenant);
    link_.run(sql::forget_scope, to_string(tenant));   // the API's scope of a tenant's keys is its id
    return {};
  });
  if (!done) return done;
  static_cast<void>(link_.once({}, sql::notify_channel, tenant, 0));
  // Its mail cannot be seen any longer. What is not gone in a moment goes with the next sweep.
  static_cast<void>(purge_gone(link_, tenant, purge_at_once));
  return {};
}

// ---- API keys ---------------------------------------------------------------------------------------------------------------------------

result<api_key_record> pg_admin_store::create_api_key(const caller& who, tenant_id tenant, const std::string& name, const sha256_digest& key_digest) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&]() -> result<api_key_record> {
    if (link_.run(sql::hold_tenant, tenant).empty()) return missing();
    return key_of(link_.run(sql::insert_api_key, tenant, name, key_digest)[0]);
  });
}

result<std::vector<api_key_record>> pg_admin_store::list_api_keys(const caller& who, tenant_id tenant) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&]() -> result<std::vector<api_key_record>> {
    if (link_.run(sql::get_tenant, tenant).empty()) return missing();
    std::vector<api_key_record> out;
    for (const auto& row : link_.run(sql::list_api_keys, tenant)) out.push_back(key_of(row));
    return out;
  });
}

result<void> pg_admin_store::delete_api_key(const caller& who, tenant_id tenant, api_key_id key) {
  if (!may(who, tenant)) return missing();
  const auto rows = link_.once({tenant}, sql::delete_api_key, tenant, key);
  if (!rows) return fail(rows.error());
  if (rows->affected_rows() == 0) return missing();
  return {};
}

result<std::optional<std::pair<tenant_id, api_key_id>>> pg_admin_store::find_api_key(const sha256_digest& key_digest) {
  using found = std::optional<std::pair<tenant_id, api_key_id>>;
  return link_.transact({}, [&]() -> result<found> {
    const auto rows = link_.run(sql::find_api_key, key_digest);
    if (rows.empty()) return found{};
    const found key = std::pair{tenant_id{rows[0][0].as<std::int64_t>()}, api_key_id{rows[0][1].as<std::int64_t>()}};
    // A row per request would be a write per request.
    if (rows[0][2].as<bool>()) link_.run(sql::touch_api_key, key->first, key->second);
    return key;
  });
}

// ---- idempotency ------------------------------------------------------------------------------------------------------------------------

result<std::optional<admin_store::remembered>> pg_admin_store::begin_idempotent(const std::string& scope, const std::string& key,
                                                                                const sha256_digest& request) {
  return link_.transact({}, [&]() -> result<std::optional<remembered>> {
    for (int i = 0; i < key_tries; ++i) {
      // Of two at once one inserts; the other one waits for it and then finds its row.
      if (link_.run(sql::take_idempotency_key, scope, key, request).affected_rows() == 1) return std::optional<remembered>{};
      const auto rows = link_.run(sql::get_idempotency_key, scope, key);
      if (rows.empty()) continue;   // given back between the two statements
      if (digest_of(rows[0][0]) != request) return fail(failure::conflict, "the key was used with another request");
      if (rows[0][1].is_null()) return fail(failure::conflict, "a request with this key is still running");
      return std::optional(remembered{rows[0][1].as<int>(), text(rows[0][2])});
    }
    return fail(failure::conflict, "the key is in use");
  });
}

result<void> pg_admin_store::finish_idempotent(const std::string& scope, const std::string& key, const remembered& answer) {
  const auto rows = link_.once({}, sql::finish_idempotency_key, scope, key, answer.status, answer.body);
  if (!rows) return fail(rows.error());
  if (rows->affected_rows() == 0) return missing();
  return {};
}

result<void> pg_admin_store::forget_idempotent(const std::string& scope, const std::string& key) {
  const auto rows = link_.once({}, sql::forget_idempotency_key, scope, key);
  if (!rows) return fail(rows.error());
  return {};
}

}  // namespace mailherd::store
