#include "storage/migrate.hpp"

#include <fmt/format.h>
#include <pqxx/pqxx>

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

result<void> migrate(pqxx::nontransaction& db) {
  db.exec("SET TimeZone = 'UTC'; SET client_min_messages = warning; SET lock_timeout = '60s'");
  db.exec(fmt::format("SELECT pg_advisory_lock({})", lock));   // ends with the connection
  become_unprivileged(db);
  db.exec("CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())");
  const auto present = db.exec("SELECT coalesce(max(version), 0) FROM schema_migrations")[0][0].as<int>();
  if (present > schema_version())
    return fail(failure::conflict, fmt::format("the database has schema {}, newer than the {} this version knows: run a newer version", present, schema_version()));
  for (const auto& m : sql::all_migrations()) {
    if (m.version <= present) continue;
    db.exec(fmt::format("BEGIN;\n{};\nINSERT INTO schema_migrations (version, name) VALUES ({}, {});\nCOMMIT", m.text, m.version, db.quote(m.name)));
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
