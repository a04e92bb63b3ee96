#include "storage/migrate.hpp"

#include <fmt/format.h>
#include <pqxx/pqxx>

#include <algorithm>
#include <charconv>
#include <set>

#include "queries.hpp"
#include "storage/connection.hpp"

namespace mailherd::store {

namespace {

/// Any number that nobody else of this database uses.
constexpr const char* lock = "728451, 1";

/// A superuser would walk through row-level security: everything belongs to a role without such rights (connection takes it on later).
void become_unprivileged(pqxx::nontransaction& db) {
  const auto rights = db.exec("SELECT rolsuper OR rolbypassrls, current_database() FROM pg_roles WHERE rolname = current_user");
  if (rights.empty() || !rights[0][0].as<bool>()) return;
  const auto database = db.quote_name(rights[0][1].c_str());
  if (db.exec("SELECT 1 FROM pg_roles WHERE rolname = 'mailherd_app'").empty()) db.exec("CREATE ROLE mailherd_app NOLOGIN NOSUPERUSER NOBYPASSRLS");
  db.exec("GRANT CREATE, USAGE ON SCHEMA public TO mailherd_app; GRANT CREATE, TEMPORARY ON DATABASE " + database + " TO mailherd_app");
  db.exec("SET ROLE mailherd_app");
}

/// The oldest schema whose programs go on working on this one. A migration only adds ("expand"), and leaves that as it was, unless it says in a line
/// of its own "-- contracts: 7": what programs of schemas below 7 need is gone then (docs/operations/upgrade.md).
int oldest_after(std::string_view text, int before) {
  constexpr std::string_view mark = "\n-- contracts: ";
  const auto at = text.find(mark);
  int oldest = before;
  if (at != std::string_view::npos) std::from_chars(text.data() + at + mark.size(), text.data() + text.size(), oldest);
  return std::max(oldest, before);
}

/// A node of the version before is started anew in the middle of an upgrade: it may serve if the newer schema says so.
result<void> judge_newer(pqxx::nontransaction& db, int present) {
  const auto rows = db.exec("SELECT oldest FROM schema_migrations ORDER BY version DESC LIMIT 1");
  if (!rows[0][0].is_null() && rows[0][0].as<int>() <= schema_version()) return {};
  return fail(failure::conflict,
              fmt::format("the database has schema {}, newer than the {} this version knows: run a newer version", present, schema_version()));
}

result<void> migrate(pqxx::nontransaction& db) {
  db.exec("SET TimeZone = 'UTC'; SET client_min_messages = warning; SET lock_timeout = '60s'");
  db.exec(fmt::format("SELECT pg_advisory_lock({})", lock));   // ends with the connection
  become_unprivileged(db);
  db.exec("CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(), oldest integer)");
  // Databases of before this column: altered once, since even an ALTER that changes nothing waits for every reader.
  if (db.exec("SELECT 1 FROM pg_attribute WHERE attrelid = 'schema_migrations'::regclass AND attname = 'oldest'").empty())
    db.exec("ALTER TABLE schema_migrations ADD COLUMN oldest integer");
  const auto state = db.exec("SELECT coalesce(max(version), 0), coalesce(max(oldest), 1) FROM schema_migrations");
  const auto present = state[0][0].as<int>();
  auto oldest = state[0][1].as<int>();
  if (present > schema_version()) return judge_newer(db, present);
  // Not "above the newest": of two branches the one with the higher number may have come first.
  std::set<int> applied;
  for (const auto& row : db.exec("SELECT version FROM schema_migrations")) applied.insert(row[0].as<int>());
  for (const auto& m : sql::all_migrations()) {
    if (applied.contains(m.version)) continue;
    oldest = oldest_after(m.text, oldest);
    db.exec(fmt::format("BEGIN;\n{};\nINSERT INTO schema_migrations (version, name, oldest) VALUES ({}, {}, {});\nCOMMIT", m.text, m.version,
                        db.quote(m.name), oldest));
  }
  // A node that was away for months must find this month's partitions.
  db.exec(sql::sweep_partitions_ahead.text);
  return {};
}

}  // namespace

int schema_version() { return sql::all_migrations().back().version; }

result<void> run_migrations(const std::string& url) {
  try {
    pqxx::connection link(with_limits(url));
    never_reconnect(link);
    pqxx::nontransaction db(link);
    return migrate(db);
  } catch (...) {
    bool broken = false;
    return fail(connection::describe_exception(broken));
  }
}

}  // namespace mailherd::store
