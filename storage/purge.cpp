#include "storage/purge.hpp"

#include "queries.hpp"

namespace mailherd::store {

namespace {

struct piece {
  const sql::query& statement;
  std::int64_t rows;   // of one statement; of messages, each may bring 1 MB along
};
const piece pieces[] = {{sql::purge_messages, 200}, {sql::purge_ledger, 5'000}, {sql::purge_events, 1'000}};

result<bool> purge(connection& link, tenant_id tenant, channel_id channel, unsigned& statements) {
  for (const auto& p : pieces) {
    for (bool more = true; more; --statements) {
      if (statements == 0) return false;
      const auto rows = link.once({tenant}, p.statement, tenant, channel, p.rows);
      if (!rows) return fail(rows.error());
      more = (*rows)[0][0].as<std::int64_t>() == p.rows;
    }
  }
  return true;
}

}  // namespace

result<bool> purge_channel(connection& link, tenant_id tenant, channel_id channel, unsigned statements) {
  return purge(link, tenant, channel, statements);
}

result<bool> purge_gone(connection& link, tenant_id tenant, unsigned statements) {
  const auto gone = link.once({tenant}, sql::deleted_channels);
  if (!gone) return fail(gone.error());
  for (const auto& row : *gone) {
    auto done = purge(link, tenant_id{row[0].as<std::int64_t>()}, channel_id{row[1].as<std::int64_t>()}, statements);
    if (!done || !*done) return done;
  }
  return true;
}

}  // namespace mailherd::store
