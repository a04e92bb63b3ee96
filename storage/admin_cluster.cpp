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

result<void> pg_admin_store::drain_node(const std::string& node) {
  return link_.transact({}, [&]() -> result<void> {
    const auto done = link_.run(sql::drain_node, node);
    if (done.affected_rows() == 0) {
      if (link_.run(sql::state_of_node, node).empty()) return fail(failure::not_found, "there is no node of this name");
      return fail(failure::conflict, "the node is lost: its channels go to others by themselves");
    }
    link_.run(sql::wake_cluster);
    return {};
  });
}

result<void> pg_admin_store::move_channel(const caller& who, tenant_id tenant, channel_id channel, const std::string& node, const std::string& actor) {
  if (auto mine = get_channel(who, tenant, channel); !mine) return fail(mine.error());
  return link_.transact({}, [&]() -> result<void> {
    const auto state = link_.run(sql::state_of_node, node);
    if (state.empty()) return fail(failure::invalid_input, "there is no node of this name");
    if (text(state[0][0]) != "active") return fail(failure::conflict, "the node is " + text(state[0][0]));
    if (link_.run(sql::want_node, tenant, channel, node).affected_rows() == 0)
      return fail(failure::conflict, "no node serves this channel now: it is disabled, or about to be taken");
    link_.run(sql::add_event, tenant, channel, "move", "", "", "to " + node, actor);
    link_.run(sql::wake_cluster);
    return {};
  });
}

namespace {

result<std::vector<channel_gauge>> channel_gauges(const pqxx::result& rows) {
  std::vector<channel_gauge> out;
  out.reserve(static_cast<std::size_t>(rows.size()));
  for (const auto& row : rows) {
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

std::vector<app_gauge> app_gauges(const pqxx::result& rows) {
  std::vector<app_gauge> out;
  for (const auto& row : rows) out.push_back({tenant_id{row[0].as<std::int64_t>()}, row[1].as<double>()});
  return out;
}

}  // namespace

result<std::vector<channel_gauge>> pg_admin_store::gauges() {
  const auto rows = link_.once({}, sql::gauges);
  if (!rows) return fail(rows.error());
  return channel_gauges(*rows);
}

result<pg_admin_store::gauge_reading> pg_admin_store::gauges_of(const std::string& node) {
  return link_.transact({}, [&]() -> result<gauge_reading> {
    const auto first = link_.run(sql::first_node);
    if (!first.empty() && text(first[0][0]) != node) return gauge_reading{};
    auto channels = channel_gauges(link_.run(sql::gauges));
    if (!channels) return fail(channels.error());
    return gauge_reading{std::move(*channels), app_gauges(link_.run(sql::app_gauges))};
  });
}

}  // namespace mailherd::store
