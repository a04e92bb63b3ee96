#include "tests/scenario/connect_world.hpp"

#include "tests/corpus/corpus.hpp"

namespace mailherd::test {

using nlohmann::json;

peers::idp_options connect_peers::provider_options(peers::test_ca& ca) {
  peers::idp_options o;
  o.tls = ca.issue();
  return o;
}

peers::dovecot_options connect_peers::server_options(peers::test_ca& ca, const std::filesystem::path& keys) {
  peers::dovecot_options o;
  o.tls = ca.issue();
  o.key_dir = keys;
  o.max_userip_connections = connections_allowed;
  return o;
}

connect_world::connect_world() : herd_world(&all().ca), client_(fmt::format("app-{}", ++people_)) {
  user_ = new_user();
  start_herd();
  api::options o;
  o.listen = "127.0.0.1:0";
  o.metrics_listen = "";
  o.operator_tokens = {secret<>(std::string("operator-token"))};
  o.version = "test";
  auto made = api::server::start(std::move(o), *store_, *herd_, [] { return std::string(); });
  if (!made) throw std::runtime_error(describe(made.error()));
  api_ = std::move(*made);
  url_ = fmt::format("http://127.0.0.1:{}", api_->port());
  peers::idp_client c;
  c.id = client_;
  c.redirect_uris = {url_ + "/oauth2/callback"};
  all().provider.add_client(c);
}

connect_world::~connect_world() {
  all().provider.clear_faults();
  if (api_) api_->stop();
  stop_herd();
  // Jobs of the API may be left in the store: it goes first.
  store_.reset();
}

http_reply connect_world::call(const std::string& method, const std::string& path, const json& body, const std::string& token) {
  http_connection c(api_->port());
  return c.send(method, path, body.is_null() ? std::nullopt : std::optional(body.dump()), {{"Authorization", "Bearer " + token}});
}

http_reply connect_world::open(browser& b, const std::string& method, const std::string& url) {
  http_connection c(api_->port());
  std::map<std::string, std::string> headers;
  if (!b.cookie.empty()) headers["Cookie"] = "other=1; " + b.cookie;
  auto r = c.send(method, url.starts_with(url_) ? url.substr(url_.size()) : url, method == "POST" ? std::optional<std::string>("") : std::nullopt,
                  headers);
  if (const auto set = r.header("set-cookie"); !set.empty()) b.cookie = set.substr(0, set.find(';'));
  return r;
}

std::string connect_world::make_app(json changes) {
  json app{{"name", "provider"},
           {"provider", "custom"},
           {"client_id", client_},
           {"client_secret", "mailherd-secret"},
           {"authorize_url", all().provider.authorize_url()},
           {"token_url", all().provider.token_url()},
           {"device_url", all().provider.device_url()},
           {"scopes", {"openid", "email", "offline_access", "mail"}}};
  if (!changes.is_null()) app.merge_patch(changes);
  const auto r = call("POST", in("/oauth-apps"), app);
  EXPECT_EQ(r.status, 201) << r.body;
  return r.json().value("id", "");
}

json connect_world::oauth2(const std::string& app, const std::string& mailbox) const {
  json a{{"type", "oauth2"}, {"app", app}, {"grant", "authorization_code"}};
  if (!mailbox.empty()) a["mailbox"] = mailbox;
  return a;
}

channel_id connect_world::make_channel(const json& auth, const std::string& address) {
  const auto r = call("POST", in("/channels"),
                      {{"name", "Support"},
                       {"address", address == "*" ? user_ : address},
                       {"incoming", {{"protocol", "imap"}, {"host", "127.0.0.1"}, {"port", all().server.imaps_port()}}},
                       {"auth", auth},
                       {"start_from", "all"}});
  EXPECT_EQ(r.status, 201) << r.body;
  return *parse_id<channel_id>(r.json().value("id", "c999999999"));
}

std::string connect_world::begin(channel_id c, const json& body) {
  const auto r = call("POST", in(c, "/connect"), body);
  EXPECT_EQ(r.status, 200) << r.body;
  return r.json().value("authorize_url", "");
}

http_reply connect_world::consent(browser& b, const std::string& authorize_url, const std::string& who, bool deny) {
  return open(b, "GET", all().provider.consent(authorize_url, who, deny));
}

http_reply connect_world::consent(const std::string& authorize_url, const std::string& who, bool deny) {
  browser b;
  return consent(b, authorize_url, who, deny);
}

std::string connect_world::button(const http_reply& page, const std::string& words) {
  const auto at = page.body.find(words + "</button>");
  const auto form = at == std::string::npos ? at : page.body.rfind("action=\"", at);
  return form == std::string::npos ? "" : page.body.substr(form + 8, page.body.find('"', form + 8) - form - 8);
}

std::string connect_world::onward(const http_reply& page) {
  constexpr std::string_view mark = "content=\"0;url=";
  const auto at = page.body.find(mark);
  if (at == std::string::npos) return {};
  auto url = page.body.substr(at + mark.size(), page.body.find('"', at + mark.size()) - at - mark.size());
  for (auto amp = url.find("&amp;"); amp != std::string::npos; amp = url.find("&amp;")) url.replace(amp, 5, "&");
  return url;
}

::testing::AssertionResult connect_world::wait_serves(channel_id c, std::int64_t g) {
  const auto serves = [&] {
    const auto r = channel(c);
    return (g == 0 ? r.observed_generation > 0 : r.observed_generation == g) && r.state == channel_state::active && r.state_reason.empty();
  };
  if (wait(serves)) return ::testing::AssertionSuccess();
  const auto r = channel(c);
  return ::testing::AssertionFailure() << "generation " << r.observed_generation << " of " << r.generation << " serves, state " << to_string(r.state)
                                       << " " << r.state_reason << " " << r.state_detail << ", switch " << to_string(r.switching) << " "
                                       << r.switch_error;
}

std::string connect_world::new_user() {
  auto name = fmt::format("p{}@acme.test", ++people_);
  all().server.add_user({name, "secret"});
  return name;
}

void connect_world::deliver(const std::string& user, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) all().server.deliver(user, "INBOX", corpus::simple(fmt::format("message {}", ++sent_)));
}

std::string connect_world::events(channel_id c) { return call("GET", in(c, "/events")).body; }

}  // namespace mailherd::test
