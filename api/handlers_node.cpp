// api/handlers_node: health, the API's own description, the cluster.
#include <atomic>

#include "api/handlers.hpp"
#include "api/model_json.hpp"
#include "api/openapi.hpp"
#include "api/service.hpp"

namespace mailherd::api::handle {

void healthz(service& s, const call& c) { s.finish(c, json_answer(200, R"({"status":"ok"})")); }

// Asks nothing outside this process: a database that went away later does not make a node that has begun a node that has not.
void startupz(service& s, const call& c) {
  if (!s.control.started()) return s.finish(c, unavailable("This node waits for its database, or brings it to this version.", 2));
  s.finish(c, json_answer(200, R"({"status":"started"})"));
}

void readyz(service& s, const call& c) {
  if (!s.control.serving()) return s.finish(c, unavailable("This node is starting, draining or without its lease.", 2));
  s.in_store(c, [&s](store::session& db) -> response {
    if (auto up = db.admin.ping(); !up) {
      const auto schema = up.error().code == failure::store_unavailable;
      return unavailable(schema ? "The database cannot be reached." : "The database's migrations are not current.", 2);
    }
    if (!s.control.serving()) return unavailable("This node is starting, draining or without its lease.", 2);
    return json_answer(200, R"({"status":"ready"})");
  });
}

void openapi(service& s, const call& c) {
  response r;
  r.headers = {{"Content-Type", "application/yaml"}, {"Cache-Control", "no-cache"}, {"X-Content-Type-Options", "nosniff"}};
  r.body = std::string(openapi_document());
  s.finish(c, std::move(r));
}

void cluster(service& s, const call& c) {
  s.in_store(c, [&s](store::session& db) -> response {
    auto nodes = db.admin.list_nodes();
    if (!nodes) return s.failed(nodes.error());
    out_json j;
    j["nodes"] = out_json::array();
    for (const auto& n : *nodes) j["nodes"].push_back(to_json(n));
    return json_answer(200, dump(j));
  });
}

void drain(service& s, const call& c) {
  const auto& node = c->args[0];
  auto done = s.control.drain(node);
  if (done) return s.finish(c, json_answer(202, dump({{"node", node}, {"state", "draining"}})));
  if (done.error().code != failure::not_found) return s.finish(c, s.failed(done.error()));
  // Another node: it is told by its row.
  s.in_store(c, [&s, node](store::session& db) -> response {
    auto asked = db.admin.drain_node(node);
    if (asked) return json_answer(202, dump({{"node", node}, {"state", "draining"}}));
    if (asked.error().code == failure::not_found) return not_found("There is no node of this name.");
    if (asked.error().code == failure::conflict)
      return problem(409, "node-lost", "Node lost", "This node is lost: its channels go to others by themselves when its lease is over.");
    return s.failed(asked.error());
  });
}

}  // namespace mailherd::api::handle
