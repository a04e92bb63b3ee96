// tests/api/world: what the API's tests stand on: a store (in memory, or a real PostgreSQL) in which mail can arrive.
//
// Owns:   the interface; each test binary links one definition of `make_world`.
#pragma once

#include <memory>
#include <string>

#include "api/server.hpp"
#include "tests/api/fake_control.hpp"
#include "tests/api/http_client.hpp"

namespace mailherd::test {

class world {
 public:
  virtual ~world() = default;
  virtual store::executor& store() = 0;
  /// Stores `raw` as the channel's next message, the way a fetcher would.
  virtual void deliver(tenant_id tenant, channel_id channel, const std::string& raw) = 0;
};

std::unique_ptr<world> make_world();

constexpr const char* operator_token = "operator-token-canary";

/// An API on a free port, and shorthand for talking to it.
struct api_under_test {
  explicit api_under_test(store::executor& store, std::size_t connections = 100) {
    api::options o;
    o.listen = "127.0.0.1:0";
    o.metrics_listen = "127.0.0.1:0";
    o.operator_tokens = {secret<>(std::string("another-operator-token")), secret<>(std::string(operator_token))};
    o.version = "test";
    o.connections = connections;
    o.log = [this](const std::string& line) {
      const std::lock_guard lock(guard);
      logged += line + "\n";
    };
    auto made = api::server::start(std::move(o), store, control, [] { return std::string("mailherd_build_info{version=\"test\"} 1\n"); });
    if (!made) throw std::runtime_error(describe(made.error()));
    server = std::move(*made);
  }

  http_reply call(const std::string& method, const std::string& path, const std::optional<std::string>& body = {},
                  const std::string& token = operator_token, std::map<std::string, std::string> headers = {}) {
    if (!token.empty()) headers["Authorization"] = "Bearer " + token;
    http_connection c(server->port());
    auto r = c.send(method, path, body, headers);
    seen += r.body;
    for (const auto& [name, value] : r.headers) seen += value;
    return r;
  }
  std::string id_of(const http_reply& r) const { return r.json().value("id", ""); }

  fake_control control;
  std::mutex guard;
  std::string logged;
  std::string seen;  ///< everything the API ever answered: no secret may be in it
  std::unique_ptr<api::server> server;
};

}  // namespace mailherd::test
