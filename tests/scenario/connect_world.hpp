// tests/scenario/connect_world: a herd and its API in one process, Dovecot and an OpenID provider beside them, and people with browsers.
//
// Owns:   the API's server; one pair of peers for all tests of a binary; a client registration per test at the provider.
// Never:  reaches into the connector: what it did is read from pages, from the API and from the store.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>

#include "api/server.hpp"
#include "tests/api/http_client.hpp"
#include "tests/peers/dovecot_server.hpp"
#include "tests/peers/identity_provider.hpp"
#include "tests/scenario/herd_world.hpp"

namespace mailherd::test {

/// Of one mailbox at a time: the least with which a successor can be made before its predecessor goes.
constexpr unsigned connections_allowed = 2;

struct connect_peers {
  peers::temp_dir dir{"connect"};
  peers::test_ca ca{dir.path()};
  peers::identity_provider provider;
  peers::dovecot_server server;

  static peers::idp_options provider_options(peers::test_ca& ca);
  static peers::dovecot_options server_options(peers::test_ca& ca, const std::filesystem::path& keys);
  connect_peers() : provider(provider_options(ca)), server(server_options(ca, provider.key_dir())) {}
};

/// A person's browser, as far as cookies go.
struct browser {
  std::string cookie;
};

class connect_world : public herd_world {
 protected:
  static connect_peers& all() {
    static connect_peers peers;
    return peers;
  }
  connect_world();
  ~connect_world() override;

  http_reply call(const std::string& method, const std::string& path, const nlohmann::json& body = nullptr,
                  const std::string& token = "operator-token");
  [[nodiscard]] std::string in(const std::string& rest) const { return "/v1/tenants/" + to_string(tenant_) + rest; }
  [[nodiscard]] std::string in(channel_id c, const std::string& rest = "") const { return in("/channels/" + to_string(c) + rest); }
  /// A GET or POST of a browser: keeps the cookie it is given.
  http_reply open(browser& b, const std::string& method, const std::string& url);

  std::string make_app(nlohmann::json changes = {});
  [[nodiscard]] nlohmann::json oauth2(const std::string& app, const std::string& mailbox = {}) const;
  [[nodiscard]] nlohmann::json basic() const { return {{"type", "basic"}, {"username", user_}, {"password", "secret"}}; }
  channel_id make_channel(const nlohmann::json& auth, const std::string& address = "*");
  /// POST connect; its authorize_url.
  std::string begin(channel_id c, const nlohmann::json& body = nullptr);
  /// The person consents and comes back; the page he sees.
  http_reply consent(const std::string& authorize_url, const std::string& who, bool deny = false);
  http_reply consent(browser& b, const std::string& authorize_url, const std::string& who, bool deny = false);
  /// The page's button with these words: the address its form posts to; empty if there is none.
  static std::string button(const http_reply& page, const std::string& words);
  /// Where a page leads by itself.
  static std::string onward(const http_reply& page);
  /// The channel serves generation `g` (0: any).
  ::testing::AssertionResult wait_serves(channel_id c, std::int64_t g = 0);
  std::string new_user();
  void deliver(const std::string& user, std::size_t n = 1);
  [[nodiscard]] std::string events(channel_id c);

  static inline int people_ = 0;
  std::unique_ptr<api::server> api_;
  std::string url_, client_, user_;
  std::size_t sent_ = 0;
};

}  // namespace mailherd::test
