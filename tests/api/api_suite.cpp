// The API as its users see it, over real sockets. Runs over the store that `make_world` gives: in memory (api.service), PostgreSQL
// (api.postgres).
#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "core/limits.hpp"
#include "tests/api/world.hpp"

namespace mailherd::test {
namespace {

using nlohmann::json;

const std::string raw_mail =
    "From: =?utf-8?q?J=C3=BCrgen?= <j@acme.test>\r\nTo: support@acme.test\r\nSubject: Hello\r\n =?utf-8?q?W=C3=B6rld?=\r\nMessage-ID: "
    "<1@acme.test>\r\n"
    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGood "
    "day\r\n"
    "--b\r\nContent-Type: application/pdf; name=\"a b.pdf\"\r\nContent-Disposition: attachment; filename=\"a "
    "b.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    "JVBERg==\r\n--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=x.html\r\n\r\n<script>1</script>\r\n--b--\r\n";

class api_suite : public ::testing::Test {
 protected:
  api_suite() : world_(make_world()), api_(world_->store()) {
    tenant_ = api_.id_of(api_.call("POST", "/v1/tenants", R"({"name":"Acme"})"));
    other_ = api_.id_of(api_.call("POST", "/v1/tenants", R"({"name":"Rival"})"));
    key_ = make_key(tenant_);
    other_key_ = make_key(other_);
    api_.seen.clear();  // keys are shown on purpose, once
  }
  ~api_suite() override { EXPECT_EQ(api_.logged, "") << "a defect was logged"; }

  std::string make_key(const std::string& tenant) {
    return api_.call("POST", "/v1/tenants/" + tenant + "/api-keys", R"({"name":"k"})").json().value("key", "");
  }
  std::string in(const std::string& tenant, const std::string& rest = "") const { return "/v1/tenants/" + tenant + rest; }
  std::string channel_body(const std::string& name = "Support") const {
    return json{
        {"name", name},
        {"address", "support@acme.test"},
        {"incoming",
         {{"protocol", "imap"},
          {"host", "mail.acme.test"},
          {"proxy", {{"kind", "socks5"}, {"host", "proxy.test"}, {"port", 1080}, {"username", "pu"}, {"password", "proxy-canary"}}}}},
        {"auth", {{"type", "basic"}, {"username", "support"}, {"password", "password-canary"}}}}
        .dump();
  }
  std::string make_channel(const std::string& tenant, const std::string& name = "Support") {
    const auto r = api_.call("POST", in(tenant, "/channels"), channel_body(name));
    EXPECT_EQ(r.status, 201) << r.body;
    return api_.id_of(r);
  }
  void deliver(const std::string& channel, const std::string& raw) {
    world_->deliver(*parse_id<tenant_id>(tenant_), *parse_id<channel_id>(channel), raw);
  }

  std::unique_ptr<world> world_;
  api_under_test api_;
  std::string tenant_, other_, key_, other_key_;
};

TEST_F(api_suite, health_needs_no_token) {
  EXPECT_EQ(api_.call("GET", "/healthz", {}, "").status, 200);
  EXPECT_EQ(api_.call("GET", "/readyz", {}, "").status, 200);
  EXPECT_EQ(api_.call("GET", "/startupz", {}, "").status, 200);
  api_.control.drained = true;
  const auto r = api_.call("GET", "/readyz", {}, "");
  EXPECT_EQ(r.status, 503);
  EXPECT_NE(r.header("retry-after"), "");
  EXPECT_EQ(api_.call("GET", "/healthz", {}, "").status, 200);
  EXPECT_EQ(api_.call("GET", "/startupz", {}, "").status, 200) << "it has begun, whatever it does now";
  EXPECT_NE(api_.call("GET", "/openapi.yaml", {}, "").body.find("openapi: 3.1.0"), std::string::npos);
}

TEST_F(api_suite, without_a_valid_token_401_with_a_challenge) {
  for (const std::string token : {"", "wrong", "mhk_wrong", "operator-token-canar", "operator-token-canaryx"}) {
    const auto r = api_.call("GET", "/v1/tenants", {}, token);
    EXPECT_EQ(r.status, 401) << token;
    EXPECT_EQ(r.header("www-authenticate"), "Bearer realm=\"mailherd\"");
    EXPECT_EQ(r.header("content-type"), "application/problem+json");
  }
  EXPECT_EQ(api_.call("GET", "/v1/tenants", {}, "", {{"Authorization", "Basic b3A6eA=="}}).status, 401);
  EXPECT_EQ(api_.call("GET", "/v1/tenants", {}, "", {{"Authorization", "bearer another-operator-token"}}).status, 200);
}

TEST_F(api_suite, a_key_sees_its_tenant_and_nothing_else) {
  const auto mine = make_channel(tenant_), theirs = make_channel(other_);
  EXPECT_EQ(api_.call("GET", in(tenant_), {}, key_).status, 200);
  EXPECT_EQ(api_.call("GET", in(tenant_, "/channels/" + mine), {}, key_).status, 200);
  const auto list = api_.call("GET", "/v1/tenants", {}, key_).json();
  ASSERT_EQ(list["items"].size(), 1u);
  EXPECT_EQ(list["items"][0]["id"], tenant_);

  const std::string nobody = api_.call("GET", in("t999999"), {}, key_).body;
  for (const auto& [method, path, body] : std::vector<std::tuple<std::string, std::string, std::optional<std::string>>>{
           {"GET", in(other_), {}},
           {"GET", in(other_, "/channels"), {}},
           {"GET", in(other_, "/channels/" + theirs), {}},
           {"GET", in(tenant_, "/channels/" + theirs), {}},
           {"PATCH", in(tenant_, "/channels/" + theirs), R"({"name":"x"})"},
           {"DELETE", in(tenant_, "/channels/" + theirs), {}},
           {"POST", in(tenant_, "/channels/" + theirs + "/test"), {}},
           {"PUT", in(tenant_, "/channels/" + theirs + "/auth"), R"({"type":"basic","username":"u","password":"p"})"},
           {"GET", in(tenant_, "/channels/" + theirs + "/events"), {}},
           {"POST", in(tenant_, "/channels/" + theirs + "/move"), R"({"node":"here"})"},
           {"GET", in(other_, "/messages"), {}},
           {"GET", in(tenant_, "/messages?channel=" + theirs), {}},
           {"GET", in(tenant_, "/messages/m" + other_.substr(1) + "-1"), {}},
           {"POST", in(other_, "/api-keys"), R"({"name":"x"})"},
           {"POST", in(other_, "/test-connection"), channel_body()},
           {"GET", "/v1/cluster", {}},
           {"POST", "/v1/cluster/nodes/here/drain", {}},
           {"POST", "/v1/tenants", R"({"name":"x"})"},
           {"PATCH", in(tenant_), R"({"name":"x"})"},
           {"DELETE", in(tenant_), {}}}) {
    const auto r = api_.call(method, path, body, key_);
    EXPECT_EQ(r.status, 404) << method << " " << path << " " << r.body;
    EXPECT_EQ(r.body, nobody) << "the words must not tell whose it is: " << path;
  }
  EXPECT_EQ(api_.call("GET", in(other_, "/channels/" + theirs)).status, 200) << "and nothing was harmed";
  EXPECT_FALSE(api_.control.drained);
}

TEST_F(api_suite, a_revoked_key_is_refused_at_once) {
  const auto keys = api_.call("GET", in(tenant_, "/api-keys")).json()["items"];
  ASSERT_EQ(keys.size(), 1u);
  EXPECT_FALSE(keys[0].contains("key"));
  EXPECT_EQ(api_.call("GET", in(tenant_), {}, key_).status, 200);
  EXPECT_EQ(api_.call("DELETE", in(tenant_, "/api-keys/" + keys[0]["id"].get<std::string>())).status, 204);
  EXPECT_EQ(api_.call("GET", in(tenant_), {}, key_).status, 401);
}

TEST_F(api_suite, tenants_live_and_die) {
  auto r = api_.call("POST", "/v1/tenants", R"({"name":"New","limits":{"max_channels":7}})");
  EXPECT_EQ(r.status, 201);
  const auto id = api_.id_of(r);
  EXPECT_EQ(r.header("location"), in(id));
  EXPECT_EQ(api_.call("PATCH", in(id), R"({"name":"Newer"})").json()["limits"]["max_channels"], 7);
  EXPECT_EQ(api_.call("GET", in(id)).json()["name"], "Newer");
  EXPECT_EQ(api_.call("DELETE", in(id)).status, 204);
  EXPECT_EQ(api_.call("GET", in(id)).status, 404);
  EXPECT_EQ(api_.call("GET", in(id, "/channels")).status, 404);
  EXPECT_EQ(api_.call("GET", in(id, "/messages")).status, 404);
}

TEST_F(api_suite, lists_are_cut_into_pages_without_gap_or_repetition) {
  std::set<std::string> made, seen;
  for (int i = 0; i < 7; ++i) made.insert(make_channel(tenant_, "channel " + std::to_string(i)));
  std::string after;
  for (int page = 0; page < 4; ++page) {
    const auto r = api_.call("GET", in(tenant_, "/channels?limit=2" + (after.empty() ? "" : "&after=" + after))).json();
    for (const auto& c : r["items"]) EXPECT_TRUE(seen.insert(c["id"]).second);
    if (page < 3)
      ASSERT_TRUE(r["next"].is_string());
    else
      EXPECT_TRUE(r["next"].is_null());
    if (r["next"].is_string()) after = r["next"];
  }
  EXPECT_EQ(seen, made);
  EXPECT_EQ(api_.call("GET", in(tenant_, "/channels?q=channel%203")).json()["items"].size(), 1u);
  EXPECT_EQ(api_.call("GET", in(tenant_, "/channels?state=active")).json()["items"].size(), 0u);
  EXPECT_EQ(api_.call("GET", in(tenant_, "/api-keys?limit=1")).json()["next"], nullptr);
}

TEST_F(api_suite, wrong_queries_are_400_naming_the_parameter) {
  for (const auto& [query, field] : std::vector<std::pair<std::string, std::string>>{{"/channels?limit=0", "limit"},
                                                                                     {"/channels?limit=1001", "limit"},
                                                                                     {"/channels?limit=x", "limit"},
                                                                                     {"/channels?limit=1&limit=2", "limit"},
                                                                                     {"/channels?state=happy", "state"},
                                                                                     {"/channels?colour=red", "colour"},
                                                                                     {"/channels?q=%FF", "q"},
                                                                                     {"/channels?q=%zz", "q"},
                                                                                     {"/messages?after=-1", "after"},
                                                                                     {"/messages?after=x", "after"},
                                                                                     {"/messages?wait=-1", "wait"},
                                                                                     {"/messages?wait=1.5", "wait"},
                                                                                     {"/messages?channel=17", "channel"}}) {
    const auto r = api_.call("GET", in(tenant_, query));
    EXPECT_EQ(r.status, 400) << query;
    ASSERT_TRUE(r.json()["errors"].is_array()) << query;
    EXPECT_EQ(r.json()["errors"][0]["field"], field) << query;
  }
}

TEST_F(api_suite, wrong_bodies_are_problems) {
  const auto path = in(tenant_, "/channels");
  auto r = api_.call("POST", path, "{\"name\":\n oops}");
  EXPECT_EQ(r.status, 400);
  EXPECT_NE(r.json()["detail"].get<std::string>().find("line 2"), std::string::npos);
  EXPECT_EQ(api_.call("POST", path, "").status, 400);
  EXPECT_EQ(api_.call("POST", path, "{\"name\":\"\xFF\"}").status, 400);
  EXPECT_EQ(api_.call("POST", path, "a=b", operator_token, {{"Content-Type", "application/x-www-form-urlencoded"}}).status, 415);
  EXPECT_EQ(api_.call("POST", path, "{}", operator_token, {{"Content-Type", "application/json"}, {"Content-Encoding", "gzip"}}).status,
            415);
  EXPECT_EQ(api_.call("POST", path, "{\"name\":\"" + std::string(limits::api_body_bytes, 'x') + "\"}").status, 413);
  EXPECT_EQ(api_.call("GET", "/v1/nothing").status, 404);
  r = api_.call("PUT", path, "{}");
  EXPECT_EQ(r.status, 405);
  EXPECT_EQ(r.header("allow"), "POST, GET, HEAD");
  r = api_.call("POST", path, R"({"incoming":{"prot":1}})");
  EXPECT_EQ(r.status, 422);
  const auto p = r.json();
  EXPECT_EQ(p["status"], 422);
  EXPECT_EQ(p["type"], "urn:mailherd:problem:invalid-input");
  EXPECT_GE(p["errors"].size(), 4u);
  r = api_.call("POST", path,
                json{{"name", "x"},
                     {"incoming", {{"protocol", "imap"}, {"host", "h.test"}}},
                     {"auth", {{"type", "oauth2"}, {"app", "a99999"}, {"grant", "device_code"}}}}
                    .dump());
  EXPECT_EQ(r.status, 422);
  EXPECT_EQ(r.json()["errors"][0]["field"], "auth.app");
}

TEST_F(api_suite, a_channel_lives_and_its_secrets_never_come_out) {
  const auto id = make_channel(tenant_);
  const auto path = in(tenant_, "/channels/" + id);
  auto c = api_.call("GET", path).json();
  EXPECT_EQ(c["incoming"]["port"], 993);
  EXPECT_EQ(c["incoming"]["proxy"]["username"], "pu");
  EXPECT_EQ(c["auth"]["type"], "basic");
  EXPECT_EQ(c["auth"]["account"], "support");
  c = api_.call("PATCH", path, R"({"name":"Sales","incoming":{"host":"new.acme.test"}})").json();
  EXPECT_EQ(c["name"], "Sales");
  EXPECT_EQ(c["incoming"]["host"], "new.acme.test");
  EXPECT_EQ(c["auth"]["account"], "support") << "editing keeps credentials";
  EXPECT_EQ(api_.call("PATCH", path, R"({"auth":{"type":"basic"}})").json()["errors"][0]["field"], "auth");

  auto r = api_.call("PUT", path + "/auth", R"({"type":"basic","username":"other","password":"second-canary"})");
  EXPECT_EQ(r.status, 202);
  EXPECT_EQ(r.json()["generation"], 2);
  c = api_.call("GET", path).json();
  EXPECT_EQ(c["auth"]["generation"], 2);
  EXPECT_EQ(c["auth"]["switch"]["state"], "running");

  r = api_.call("POST", path + "/test");
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.json()["ok"], false);
  EXPECT_EQ(r.json()["steps"][1]["reason"], "connect_refused");
  ASSERT_EQ(api_.control.tested.size(), 1u);
  EXPECT_EQ(api_.control.tested[0].auth.password.reveal(), "second-canary") << "the newest credentials are tried";
  EXPECT_NE(api_.control.tested[0].address, "") << "who signs in with a grant whose account is not known";
  EXPECT_EQ(api_.control.tested[0].incoming.proxy->password.reveal(), "proxy-canary") << "editing keeps the proxy's password";

  EXPECT_GE(api_.call("GET", path + "/events").json()["items"].size(), 1u);
  EXPECT_EQ(api_.call("GET", in(tenant_, "/channels")).json()["items"].size(), 1u);
  EXPECT_EQ(api_.call("DELETE", path).status, 204);
  EXPECT_EQ(api_.call("GET", path).status, 404);
  EXPECT_EQ(api_.control.changes.size(), 4u) << "created, edited, switched, deleted";
  EXPECT_EQ(api_.seen.find("canary"), std::string::npos);
}

TEST_F(api_suite, an_unsaved_channel_can_be_tried) {
  api_.control.busy = true;
  EXPECT_EQ(api_.call("POST", in(tenant_, "/test-connection"), channel_body()).status, 503);
  api_.control.busy = false;
  EXPECT_EQ(api_.call("POST", in(tenant_, "/test-connection"), channel_body(), key_).status, 200);
  EXPECT_EQ(api_.control.tested.back().auth.password.reveal(), "password-canary");
  EXPECT_FALSE(api_.control.tested.back().channel);
  EXPECT_EQ(api_.seen.find("canary"), std::string::npos);
}

TEST_F(api_suite, oauth_apps_live_and_their_secrets_never_come_out) {
  const auto apps = in(tenant_, "/oauth-apps");
  const auto made = api_.call(
      "POST", apps, R"({"name":"Entra","provider":"microsoft","client_id":"cid","client_secret":"app-canary","authority":"common"})", key_);
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(made.json()["credential"], "client_secret");
  const auto app = api_.id_of(made);
  EXPECT_EQ(api_.call("GET", in(other_, "/oauth-apps/" + app)).status, 404);
  const auto channel =
      api_.call("POST", in(tenant_, "/channels"),
                json{{"name", "x"},
                     {"incoming", {{"protocol", "imap"}, {"host", "h.test"}}},
                     {"auth", {{"type", "oauth2"}, {"app", app}, {"grant", "authorization_code"}, {"refresh_token", "refresh-canary"}}}}
                    .dump());
  EXPECT_EQ(channel.status, 201) << channel.body;
  EXPECT_EQ(channel.json()["auth"]["app"], app);
  EXPECT_EQ(api_.call("POST", in(tenant_, "/channels/" + api_.id_of(channel) + "/test")).status, 200);
  EXPECT_EQ(api_.control.tested.back().app->client_secret.reveal(), "app-canary");
  EXPECT_EQ(api_.call("PATCH", apps + "/" + app, R"({"name":"Entra ID","client_secret":"renewed-canary"})").json()["name"], "Entra ID");
  EXPECT_EQ(api_.call("PATCH", apps + "/" + app, R"({"provider":"google"})").status, 422);
  EXPECT_EQ(api_.call("DELETE", apps + "/" + app).status, 409);
  EXPECT_EQ(api_.call("DELETE", in(tenant_, "/channels/" + api_.id_of(channel))).status, 204);
  EXPECT_EQ(api_.call("DELETE", apps + "/" + app).status, 204);
  EXPECT_EQ(api_.call("GET", apps).json()["items"].size(), 0u);
  EXPECT_EQ(api_.seen.find("canary"), std::string::npos);
}

TEST_F(api_suite, a_grant_needs_an_app_that_can_give_it) {
  const auto app =
      api_.id_of(api_.call("POST", in(tenant_, "/oauth-apps"),
                           R"({"name":"x","provider":"custom","client_id":"i","client_secret":"s","token_url":"https://idp.test/t"})"));
  const auto errors = [&](const char* grant) {
    const json body = {{"name", "x"},
                       {"incoming", {{"protocol", "imap"}, {"host", "h.test"}}},
                       {"auth", {{"type", "oauth2"}, {"app", app}, {"grant", grant}}}};
    const auto r = api_.call("POST", in(tenant_, "/channels"), body.dump());
    return r.status == 201 ? std::string("none") : r.json()["errors"][0]["field"].get<std::string>();
  };
  EXPECT_EQ(errors("authorization_code"), "auth.grant");
  EXPECT_EQ(errors("device_code"), "auth.grant");
  EXPECT_EQ(errors("client_credentials"), "none");
}

// ---- Idempotency-Key
// ----------------------------------------------------------------------------------------------------------------------

TEST_F(api_suite, a_repeated_request_does_nothing_twice) {
  const auto path = in(tenant_, "/channels");
  const std::map<std::string, std::string> key = {{"Idempotency-Key", "abc-1"}};
  const auto first = api_.call("POST", path, channel_body(), operator_token, key),
             again = api_.call("POST", path, channel_body(), operator_token, key);
  EXPECT_EQ(first.status, 201);
  EXPECT_EQ(again.status, 201);
  EXPECT_EQ(again.body, first.body);
  EXPECT_EQ(again.header("idempotency-replayed"), "true");
  EXPECT_EQ(api_.call("GET", path).json()["items"].size(), 1u);
  EXPECT_EQ(api_.call("POST", path, channel_body("Other"), operator_token, key).status, 409);
  EXPECT_EQ(api_.call("POST", in(other_, "/channels"), channel_body(), other_key_, key).status, 201)
      << "keys of different callers do not meet";
  EXPECT_EQ(api_.call("POST", path, channel_body(), operator_token, {{"Idempotency-Key", std::string(256, 'x')}}).status, 400);
}

TEST_F(api_suite, a_repeated_request_for_an_api_key_gives_the_same_key) {
  const std::map<std::string, std::string> key = {{"Idempotency-Key", "abc-2"}};
  const auto first = api_.call("POST", in(tenant_, "/api-keys"), R"({"name":"n"})", operator_token, key);
  const auto again = api_.call("POST", in(tenant_, "/api-keys"), R"({"name":"n"})", operator_token, key);
  EXPECT_EQ(again.json(), first.json());
  EXPECT_TRUE(first.json()["key"].get<std::string>().starts_with("mhk_"));
  EXPECT_EQ(api_.call("GET", in(tenant_), {}, again.json()["key"].get<std::string>()).status, 200);
}

// ---- messages
// -----------------------------------------------------------------------------------------------------------------------------

TEST_F(api_suite, the_feed_is_ordered_and_its_cursor_goes_on) {
  const auto a = make_channel(tenant_, "a"), b = make_channel(tenant_, "b");
  auto r = api_.call("GET", in(tenant_, "/messages"), {}, key_).json();
  EXPECT_EQ(r["items"].size(), 0u);
  ASSERT_TRUE(r["next"].is_string());
  const std::string begin = r["next"];
  for (int i = 0; i < 3; ++i) {
    deliver(a, raw_mail + std::to_string(i));
    deliver(b, raw_mail + "b" + std::to_string(i));
  }
  std::vector<std::string> ids;
  std::string after = begin;
  for (int i = 0; i < 4; ++i) {
    r = api_.call("GET", in(tenant_, "/messages?limit=2&after=" + after), {}, key_).json();
    for (const auto& m : r["items"]) ids.push_back(m["id"]);
    after = r["next"];
  }
  ASSERT_EQ(ids.size(), 6u);
  EXPECT_EQ(r["items"].size(), 0u);
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 6u);
  r = api_.call("GET", in(tenant_, "/messages?channel=" + b), {}, key_).json();
  ASSERT_EQ(r["items"].size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(r["items"][i]["sequence"], i + 1);
  EXPECT_EQ(r["items"][0]["from"][0]["name"], "J\xC3\xBCrgen");
  EXPECT_EQ(r["items"][0]["subject"], "Hello W\xC3\xB6rld");
  EXPECT_EQ(r["items"][0]["source"]["protocol"], "imap");
}

TEST_F(api_suite, a_message_in_the_feed_says_all_that_it_says_alone) {
  const auto channel = make_channel(tenant_);
  deliver(channel, "From: \"A \\\" B\" <a@acme.test>\r\nSubject: say \"hi\" \\ \xF0\x9F\x98\x80 \xFF\r\nPrecedence: bulk\r\nReferences: <r@x.test>\r\n\r\n");
  deliver(channel, raw_mail);
  const auto items = api_.call("GET", in(tenant_, "/messages"), {}, key_).json()["items"];
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0]["from"][0]["name"], "A \" B");
  EXPECT_EQ(items[0]["thread"], "r@x.test");
  EXPECT_EQ(items[0]["automatic"]["kind"], "bulk");
  EXPECT_EQ(items[0]["automatic"]["reason"], "Precedence: bulk");
  EXPECT_EQ(items[1]["automatic"], nullptr);
  for (const auto& m : items) {
    auto alone = api_.call("GET", in(tenant_, "/messages/" + m["id"].get<std::string>()), {}, key_).json();
    if (alone["automatic"].is_object()) alone["automatic"].erase("recipients");
    for (const auto& [name, value] : m.items()) EXPECT_EQ(alone[name], value) << name;
  }
}

TEST_F(api_suite, a_waiting_reader_is_woken_by_new_mail) {
  const auto channel = make_channel(tenant_);
  const auto start = mono_clock::now();
  // Every reader waits long enough that only the wake can explain a quick answer; the re-check comes after 5 seconds.
  std::vector<std::unique_ptr<http_connection>> connections;
  for (int i = 0; i < 3; ++i) {
    connections.push_back(std::make_unique<http_connection>(api_.server->port()));
    connections.back()->write("GET " + in(tenant_, "/messages?wait=30") + " HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer " + key_ +
                              "\r\n\r\n");
  }
  deliver(channel, raw_mail);
  api_.server->wake(*parse_id<tenant_id>(other_));
  api_.server->wake(*parse_id<tenant_id>(tenant_));
  for (auto& c : connections) EXPECT_EQ(c->read_reply().json()["items"].size(), 1u);
  EXPECT_LT(mono_clock::now() - start, seconds(15));
}

TEST_F(api_suite, a_waiting_reader_gets_an_empty_page_in_time_and_when_the_node_stops) {
  EXPECT_EQ(api_.call("GET", in(tenant_, "/messages?wait=1"), {}, key_).json()["items"].size(), 0u);
  http_connection c(api_.server->port());
  c.write("GET " + in(tenant_, "/messages?wait=60&after=7") + " HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer " + key_ + "\r\n\r\n");
  // A later request on another connection is answered: the first one has been taken in.
  EXPECT_EQ(api_.call("GET", in(tenant_)).status, 200);
  api_.server->stop();
  const auto r = c.read_reply();
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.json()["next"], "7");
}

TEST_F(api_suite, a_message_in_all_its_forms) {
  const auto channel = make_channel(tenant_);
  deliver(channel, raw_mail);
  const auto id = api_.call("GET", in(tenant_, "/messages")).json()["items"][0]["id"].get<std::string>();
  const auto path = in(tenant_, "/messages/" + id);
  const auto m = api_.call("GET", path, {}, key_).json();
  EXPECT_EQ(m["text"], "Good day");
  EXPECT_EQ(m["html"], nullptr);
  EXPECT_EQ(m["size"], raw_mail.size());
  ASSERT_EQ(m["attachments"].size(), 2u) << m.dump();
  EXPECT_EQ(m["attachments"][0]["name"], "a b.pdf");
  EXPECT_EQ(m["attachments"][0]["size"], 4);
  EXPECT_EQ(m["headers"][2]["name"], "Subject");
  EXPECT_EQ(m["headers"][2]["value"], "Hello =?utf-8?q?W=C3=B6rld?=");

  auto r = api_.call("GET", path + "/raw", {}, key_);
  EXPECT_EQ(r.header("content-type"), "message/rfc822");
  EXPECT_EQ(r.body, raw_mail);
  r = api_.call("GET", path + "/attachments/0", {}, key_);
  EXPECT_EQ(r.body, "%PDF");
  EXPECT_EQ(r.header("content-type"), "application/pdf");
  EXPECT_EQ(r.header("content-disposition"), "attachment; filename=\"a b.pdf\"; filename*=UTF-8''a%20b.pdf");
  r = api_.call("GET", path + "/attachments/1", {}, key_);
  EXPECT_NE(r.header("content-security-policy").find("sandbox"), std::string::npos);
  EXPECT_EQ(r.header("x-content-type-options"), "nosniff");
  EXPECT_EQ(api_.call("GET", path + "/attachments/2", {}, key_).status, 404);
  EXPECT_EQ(api_.call("GET", path + "/attachments/x", {}, key_).status, 404);
  for (const auto& bad : std::vector<std::string>{"m1", "1", "m1-0", "m99999-1", "m" + tenant_.substr(1) + "-99999"})
    EXPECT_EQ(api_.call("GET", in(tenant_, "/messages/" + bad)).status, 404) << bad;
  EXPECT_EQ(api_.call("GET", in(other_, "/messages/" + id), {}, other_key_).status, 404);
  EXPECT_EQ(api_.call("GET", in(other_, "/messages/" + id)).status, 404) << "not even an operator reaches it by another tenant's path";
}

TEST_F(api_suite, a_large_message_streams_byte_for_byte) {
  std::string large = "Subject: large\r\n\r\n";
  for (int i = 0; large.size() < 9 * limits::mib; ++i) large += "line " + std::to_string(i) + "\r\n";
  const auto channel = make_channel(tenant_);
  deliver(channel, large);
  const auto id = api_.call("GET", in(tenant_, "/messages")).json()["items"][0]["id"].get<std::string>();
  EXPECT_TRUE(api_.call("GET", in(tenant_, "/messages/" + id + "/raw")).body == large);
  const auto head = api_.call("HEAD", in(tenant_, "/messages/" + id + "/raw"));
  EXPECT_EQ(head.header("content-length"), std::to_string(large.size()));
  EXPECT_EQ(api_.call("GET", in(tenant_, "/messages/" + id)).json()["subject"], "large");
}

// ---- cluster, metrics
// ---------------------------------------------------------------------------------------------------------------------

TEST_F(api_suite, the_cluster_is_for_operators) {
  EXPECT_TRUE(api_.call("GET", "/v1/cluster").json()["nodes"].is_array());
  EXPECT_EQ(api_.call("POST", "/v1/cluster/nodes/nobody/drain").status, 404);
  EXPECT_EQ(api_.call("POST", "/v1/cluster/nodes/here/drain").status, 202);
  EXPECT_TRUE(api_.control.drained);
}

TEST_F(api_suite, metrics_have_a_listener_of_their_own) {
  http_connection c(api_.server->metrics_port());
  const auto r = c.send("GET", "/metrics");
  EXPECT_EQ(r.status, 200);
  EXPECT_NE(r.body.find("mailherd_build_info"), std::string::npos);
  EXPECT_NE(r.header("content-type").find("version=0.0.4"), std::string::npos);
  EXPECT_EQ(c.send("GET", "/v1/tenants").status, 404);
  EXPECT_EQ(api_.call("GET", "/metrics").status, 404);
}

}  // namespace
}  // namespace mailherd::test
