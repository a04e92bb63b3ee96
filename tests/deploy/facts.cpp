// tests/deploy/facts: prints, as JSON, what deploy/ has to agree with: settings, routes, limits, and every metric as a node exposes it.
// Used by: the tests of this folder, which run on Node. A metric that only this program could know would be worth nothing: the text comes from
// node::telemetry itself, given one report of each kind.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "api/routes.hpp"
#include "core/limits.hpp"
#include "node/config.hpp"
#include "node/telemetry.hpp"

namespace {

using namespace mailherd;

std::string metrics() {
  node::telemetry report("0.0.0", {true, actors::log_level::error, nullptr});
  std::vector<store::channel_gauge> read;
  for (int s = 0; s <= static_cast<int>(channel_state::app_blocked); ++s) read.push_back({tenant_id{1}, static_cast<channel_state>(s), 1, 1});
  report.set_gauges(read, {{tenant_id{1}, 1}});
  for (const auto p : {protocol_kind::imap, protocol_kind::pop3}) report.stored(tenant_id{1}, p, 1, 1);
  return report.text();
}

}  // namespace

int main() {
  nlohmann::json out;
  for (const auto& s : node::settings()) out["settings"].push_back(node::variable_of(s.name));
  for (const auto& r : api::routes()) out["routes"].push_back(r.path);
  out["limits"] = {{"stop_rest", limits::stop_rest.count()},
                   {"lease_renew", limits::lease_renew.count()},
                   {"gauges_interval", limits::gauges_interval.count()},
                   {"gate_units", limits::gate_units}};
  out["metrics"] = metrics();
  std::printf("%s\n", out.dump().c_str());
}
