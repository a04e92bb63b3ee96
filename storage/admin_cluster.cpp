// storage/admin_cluster: nodes, and the numbers of all channels and apps.
#include "queries.hpp"
#include "storage/admin_store.hpp"
#include "storage/rows.hpp"

namespace mailherd::store {

result<std::vector<node_record>> pg_admin_store::list_nodes() {
  const auto rows = link_.once({}, sql::list_nodes);
  if (!rows) return fail(rows.error());
  std::vector<node_record> out;
  for (const auto& row : *rows)
    out.push_back({text(row[0]), text(row[1]), text(row[2]), row[3].as<std::int64_t>(), row[4].as<double>()});
  return out;
}

result<std::vector<channel_gauge>> pg_admin_store::gauges() {
  const auto rows = link_.once({}, sql::gauges);
  if (!rows) return fail(rows.error());
  std::vector<channel_gauge> out;
  out.reserve(static_cast<std::size_t>(rows->size()));
  for (const auto& row : *rows) {
    const auto state = name_of<channel_state>(row[1]);
    if (!state) return fail(state.error());
    channel_gauge g{tenant_id{row[0].as<std::int64_t>()}, *state, row[3].as<std::int64_t>(), row[4].as<double>()};
    if (!row[2].is_null()) {
      const auto provider = name_of<provider_kind>(row[2]);
      if (!provider) return fail(provider.error());
      g.provider = *provider;
    }
    out.push_back(g);
  }
  return out;
}

result<std::vector<app_gauge>> pg_admin_store::app_gauges() {
  const auto rows = link_.once({}, sql::app_gauges);
  if (!rows) return fail(rows.error());
  std::vector<app_gauge> out;
  for (const auto& row : *rows) out.push_back({tenant_id{row[0].as<std::int64_t>()}, row[1].as<double>()});
  return out;
}

}  // namespace mailherd::store
