// What the console stands on: its files, sessions and their walls, news. Runs over both stores, as api_suite.
#include <gtest/gtest.h>

#include "core/limits.hpp"
#include "tests/api/world.hpp"

namespace mailherd::test {
namespace {

using nlohmann::json;
using headers = std::map<std::string, std::string>;

class console : public ::testing::Test {
 protected:
  console() : world_(make_world()), api_(world_->store()) {
    tenant_ = api_.id_of(api_.call("POST", "/v1/tenants", R"({"name":"Acme"})"));
    other_ = api_.id_of(api_.call("POST", "/v1/tenants", R"({"name":"Rival"})"));
    const auto made = api_.call("POST", "/v1/tenants/" + tenant_ + "/api-keys", R"({"name":"k"})").json();
    key_ = made.value("key", "");
    key_id_ = made.value("id", "");
  }
  ~console() override { EXPECT_EQ(api_.logged, "") << "a defect was logged"; }

  static headers from_page(const std::string& cookie = {}, const std::string& origin = "http://test") {
    headers h{{"X-Mailherd-Console", "1"}, {"Origin", origin}};
    if (!cookie.empty()) h["Cookie"] = "theme=dark; " + cookie;
    return h;
  }
  /// name=value of the cookie that the answer sets.
  static std::string cookie_of(const http_reply& r) {
    const auto all = r.header("set-cookie");
    return all.substr(0, all.find(';'));
  }
  http_reply sign_in(const std::string& token) { return api_.call("POST", "/v1/session", json{{"token", token}}.dump(), "", from_page()); }
  http_reply by(const std::string& cookie, const std::string& method, const std::string& path, const std::optional<std::string>& body = {}) {
    return api_.call(method, path, body, "", from_page(cookie));
  }
  std::string make_channel(const std::string& tenant) {
    const json body{{"name", "Support"},
                    {"incoming", {{"protocol", "imap"}, {"host", "mail.acme.test"}}},
                    {"auth", {{"type", "basic"}, {"username", "support"}, {"password", "p"}}}};
    return api_.id_of(api_.call("POST", "/v1/tenants/" + tenant + "/channels", body.dump()));
  }

  std::unique_ptr<world> world_;
  api_under_test api_;
  std::string tenant_, other_, key_, key_id_;
};

TEST_F(console, its_files_are_in_the_program_and_its_page_runs_nothing_of_others) {
  const auto page = api_.call("GET", "/", {}, "");
  ASSERT_EQ(page.status, 200);
  EXPECT_EQ(page.header("cache-control"), "no-store");
  const auto policy = page.header("content-security-policy");
  EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(policy.find("unsafe"), std::string::npos) << policy;
  EXPECT_EQ(page.body.find("<style"), std::string::npos);
  EXPECT_EQ(page.body.find("://"), std::string::npos) << "an address of another host";
  std::size_t files = 0;
  for (auto at = page.body.find("\"/assets/"); at != std::string::npos; at = page.body.find("\"/assets/", at + 1), ++files) {
    const auto path = page.body.substr(at + 1, page.body.find('"', at + 1) - at - 1);
    const auto plain = api_.call("GET", path, {}, "");
    const auto packed = api_.call("GET", path, {}, "", {{"Accept-Encoding", "gzip, deflate"}});
    EXPECT_EQ(plain.status, 200) << path;
    EXPECT_NE(plain.header("cache-control").find("immutable"), std::string::npos);
    EXPECT_EQ(plain.header("content-encoding"), "");
    EXPECT_EQ(packed.header("content-encoding"), "gzip");
    EXPECT_EQ(packed.body.substr(0, 2), "\x1f\x8b");
    EXPECT_EQ(packed.header("vary"), "Accept-Encoding");
  }
  EXPECT_GE(files, 3u);
  EXPECT_EQ(api_.call("GET", "/assets/app-none.js", {}, "").status, 404);
}

TEST_F(console, a_cookie_stands_for_the_token_until_sign_out) {
  const auto in = sign_in(operator_token);
  ASSERT_EQ(in.status, 201) << in.body;
  EXPECT_EQ(in.json()["role"], "operator");
  const auto set = in.header("set-cookie");
  for (const auto* part : {"HttpOnly", "SameSite=Strict", "Path=/"}) EXPECT_NE(set.find(part), std::string::npos) << set;
  const auto cookie = cookie_of(in);
  EXPECT_EQ(cookie.find(operator_token), std::string::npos);
  EXPECT_EQ(by(cookie, "GET", "/v1/session").json()["role"], "operator");
  EXPECT_EQ(by(cookie, "GET", "/v1/tenants").json()["items"].size(), 2u);
  EXPECT_EQ(by(cookie, "POST", "/v1/tenants", R"({"name":"New"})").status, 201);
  EXPECT_EQ(by(cookie.substr(0, cookie.size() - 2), "GET", "/v1/tenants").status, 401);

  const auto out = by(cookie, "DELETE", "/v1/session");
  EXPECT_EQ(out.status, 204);
  EXPECT_NE(out.header("set-cookie").find("Max-Age=0"), std::string::npos);
  EXPECT_EQ(by(cookie, "GET", "/v1/tenants").status, 401) << "the cookie was kept by somebody";
  EXPECT_EQ(api_.call("GET", "/v1/session").status, 404) << "a program with a token has no session";
}

TEST_F(console, a_key_opens_its_tenant_and_its_end_is_the_sessions) {
  const auto in = sign_in(key_);
  ASSERT_EQ(in.status, 201);
  EXPECT_EQ(in.json()["role"], "tenant");
  EXPECT_EQ(in.json()["tenant"], tenant_);
  const auto cookie = cookie_of(in);
  EXPECT_EQ(by(cookie, "GET", "/v1/tenants/" + tenant_).status, 200);
  EXPECT_EQ(by(cookie, "GET", "/v1/tenants/" + other_).status, 404);
  EXPECT_EQ(by(cookie, "GET", "/v1/cluster").status, 404);
  ASSERT_EQ(api_.call("DELETE", "/v1/tenants/" + tenant_ + "/api-keys/" + key_id_).status, 204);
  EXPECT_EQ(by(cookie, "GET", "/v1/tenants/" + tenant_).status, 401);
}

TEST_F(console, another_site_cannot_use_the_cookie) {
  const auto cookie = cookie_of(sign_in(operator_token));
  const std::string path = "/v1/tenants/" + tenant_;
  EXPECT_EQ(api_.call("DELETE", path, {}, "", {{"Cookie", cookie}}).status, 403) << "a form of another site";
  EXPECT_EQ(api_.call("DELETE", path, {}, "", {{"Cookie", cookie}, {"Origin", "http://test"}}).status, 403);
  EXPECT_EQ(api_.call("DELETE", path, {}, "", {{"Cookie", cookie}, {"X-Mailherd-Console", "1"}}).status, 403);
  for (const auto* origin : {"http://evil.test", "http://test.evil.test", "null", "http://test:81", "ftp://test"})
    EXPECT_EQ(api_.call("DELETE", path, {}, "", from_page(cookie, origin)).status, 403) << origin;
  EXPECT_EQ(api_.call("GET", path).status, 200) << "and nothing was deleted";
  EXPECT_EQ(api_.call("POST", "/v1/session", json{{"token", operator_token}}.dump(), "").status, 403) << "nobody is signed in by another site";
  EXPECT_EQ(by(cookie, "GET", path).header("access-control-allow-origin"), "");
}

TEST_F(console, guessing_ends_soon) {
  for (unsigned i = 0; i < limits::console_attempts; ++i) EXPECT_EQ(sign_in("mhk_guess" + std::to_string(i)).status, 401);
  const auto r = sign_in("mhk_guess");
  EXPECT_EQ(r.status, 429);
  EXPECT_GT(std::stoi(r.header("retry-after")), 0);
  EXPECT_EQ(sign_in(operator_token).status, 429) << "the right one would tell that it is right";
  EXPECT_EQ(api_.call("GET", "/v1/tenants").status, 200) << "programs are not concerned";
}

/// Reads a stream until `what` has come.
std::string read_until(http_connection& c, const std::string& what) {
  while (c.unread().find(what) == std::string::npos)
    if (!c.read_some()) break;
  return c.unread();
}

TEST_F(console, news_reach_those_who_may_hear_them_and_end_with_the_node) {
  const auto channel = make_channel(tenant_), theirs = make_channel(other_);
  http_connection all(api_.server->port()), mine(api_.server->port());
  all.write("GET /v1/live HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer " + std::string(operator_token) + "\r\n\r\n");
  mine.write("GET /v1/live HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer " + key_ + "\r\n\r\n");
  const auto head = read_until(all, "event: hello");
  EXPECT_NE(head.find("text/event-stream"), std::string::npos);
  EXPECT_EQ(head.find("Content-Length"), std::string::npos);
  read_until(mine, "event: hello");
  api_.server->changed(*parse_id<tenant_id>(other_), *parse_id<channel_id>(theirs));
  api_.server->wake(*parse_id<tenant_id>(tenant_));
  for (int i = 0; i < 3; ++i) api_.server->changed(*parse_id<tenant_id>(tenant_), *parse_id<channel_id>(channel));
  const auto one = read_until(mine, "event: mail");
  EXPECT_NE(one.find("{\"tenant\":\"" + tenant_ + "\",\"channel\":\"" + channel + "\"}"), std::string::npos) << one;
  EXPECT_EQ(one.find(other_ + "\""), std::string::npos) << "another tenant's news";
  EXPECT_EQ(one.find("event: channel"), one.rfind("event: channel")) << "a burst is told once";
  EXPECT_NE(read_until(all, other_ + "\"").find(theirs), std::string::npos);
  api_.server->stop();
  EXPECT_TRUE(mine.closed_by_peer());
}

TEST_F(console, who_follows_no_longer_leaves_his_place) {
  for (std::size_t i = 0; i < 2 * limits::live_streams; ++i) {
    http_connection c(api_.server->port());
    c.write("GET /v1/live HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer " + std::string(operator_token) + "\r\n\r\n");
    ASSERT_NE(read_until(c, "event: hello").find("200 OK"), std::string::npos) << i;
  }
}

TEST_F(console, newest_messages_activity_and_the_overview) {
  const auto channel = make_channel(tenant_), quiet = make_channel(tenant_);
  const std::string base = "/v1/tenants/" + tenant_;
  for (int i = 1; i <= 5; ++i)
    world_->deliver(*parse_id<tenant_id>(tenant_), *parse_id<channel_id>(channel),
                    "Subject: n" + std::to_string(i) + "\r\nContent-Type: text/html\r\n\r\n<script>1</script><p>hello " + std::to_string(i) + "\r\n");
  auto page = api_.call("GET", base + "/messages/newest?limit=2", {}, key_).json();
  ASSERT_EQ(page["items"].size(), 2u);
  EXPECT_EQ(page["items"][0]["subject"], "n5");
  page = api_.call("GET", base + "/messages/newest?limit=2&after=" + page["next"].get<std::string>(), {}, key_).json();
  EXPECT_EQ(page["items"][0]["subject"], "n3");
  EXPECT_EQ(api_.call("GET", base + "/messages/newest?channel=" + quiet, {}, key_).json()["items"].size(), 0u);
  EXPECT_EQ(api_.call("GET", base + "/messages/newest?after=x", {}, key_).status, 400);

  const auto html = api_.call("GET", base + "/messages/" + page["items"][0]["id"].get<std::string>() + "/html", {}, key_);
  EXPECT_NE(html.body.find("hello 3"), std::string::npos);
  EXPECT_NE(html.header("content-security-policy").find("default-src 'none'"), std::string::npos);
  EXPECT_NE(html.header("content-security-policy").find("sandbox"), std::string::npos);
  EXPECT_EQ(html.header("content-security-policy").find("script"), std::string::npos);

  const auto activity = api_.call("GET", base + "/channels/" + channel + "/activity?span=hour", {}, key_).json();
  std::int64_t messages = 0;
  for (const auto& slice : activity["items"]) messages += slice["messages"].get<std::int64_t>();
  EXPECT_EQ(messages, 5) << activity.dump();
  EXPECT_EQ(api_.call("GET", base + "/channels/" + channel + "/activity?span=year", {}, key_).status, 400);
  EXPECT_EQ(api_.call("GET", "/v1/tenants/" + other_ + "/channels/" + channel + "/activity").status, 404);

  const auto app = api_.id_of(api_.call("POST", base + "/oauth-apps", R"({"name":"a","provider":"google","client_id":"i","client_secret":"s"})"));
  const json waiting{{"name", "Waiting"},
                     {"incoming", {{"protocol", "imap"}, {"host", "imap.gmail.com"}}},
                     {"auth", {{"type", "oauth2"}, {"app", app}, {"grant", "authorization_code"}}}};
  const auto id = api_.id_of(api_.call("POST", base + "/channels", waiting.dump()));
  for (const auto& token : {std::string(operator_token), key_}) {
    const auto o = api_.call("GET", "/v1/overview", {}, token).json();
    ASSERT_EQ(o["attention"].size(), 1u) << o.dump();
    EXPECT_EQ(o["attention"][0]["id"], id);
    EXPECT_EQ(o["attention"][0]["tenant"], tenant_);
  }
}

}  // namespace
}  // namespace mailherd::test
