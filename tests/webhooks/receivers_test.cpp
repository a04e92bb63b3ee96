// A real node delivers to real receivers (node:http with the official Standard Webhooks library, and the examples of docs/receivers): ones that die in
// the middle of an answer, fail half of the time, hang, redirect to loopback, are gone; and the node itself is killed.
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <pqxx/pqxx>

#include <map>
#include <set>

#include "tests/real_node/real_node.hpp"
#include "tests/webhooks/receiver.hpp"

namespace mailherd::test {
namespace {

using json = ctl::json;
using std::chrono::seconds;

/// One node for all tests of this binary; each test has a tenant of its own.
real_node& the_node() {
  static auto* node = [] {
    auto* made = new real_node(std::vector<std::pair<std::string, std::string>>{{"MAILHERD_LEASE_TTL", "3s"}});
    made->start();
    return made;
  }();
  return *node;
}

struct ending : ::testing::Environment {
  void TearDown() override { delete &the_node(); }
};
const auto* const ended_last = ::testing::AddGlobalTestEnvironment(new ending);

class receivers : public ::testing::Test {
 protected:
  receivers() : node(the_node()), dir("webhooks") {
    tenant = node.ask("POST", "/v1/tenants", json{{"name", "Acme"}})["id"].get<std::string>();
    for (int i = 0; i < 5; ++i)
      channels.push_back(node.ask("POST", "/v1/tenants/" + tenant + "/channels",
                                  json{{"name", "x"}, {"enabled", false}, {"incoming", {{"protocol", "imap"}, {"host", "h.test"}}},
                                       {"auth", {{"type", "basic"}, {"username", "u"}, {"password", "p"}}}})["id"]
                             .get<std::string>());
  }

  /// Stores mail as a commit does: positions and sequences without gaps, under the tenant's head.
  void mail(int n) {
    pqxx::connection link(node.database_url());
    pqxx::nontransaction db(link);
    db.exec("SET mailherd.tenant = '*'");
    db.exec("BEGIN");
    const auto t = tenant.substr(1);
    auto position = db.exec("SELECT position FROM feed_heads WHERE tenant_id = " + t + " FOR UPDATE")[0][0].as<int>();
    for (int i = 0; i < n; ++i) {
      const auto channel = channels[static_cast<std::size_t>(stored++) % channels.size()];
      const auto sequence = static_cast<int>(wanted[channel].size()) + 1;
      wanted[channel].push_back(sequence);
      db.exec(fmt::format("INSERT INTO messages (tenant_id, position, channel_id, sequence, internal_date, size, uid_validity, uid, has_body, protocol, folder, uidl, "
                          "problem, digest, envelope) VALUES ({}, {}, {}, {}, now(), 1, 1, {}, false, 'imap', 'INBOX', '', '', '', '{{\"subject\": \"hello {}\"{}}}')",
                          t, ++position, channel.substr(1), sequence, sequence, sequence, sequence == 1 ? R"(, "automatic": "list", "automatic_reason": "List-Id: x")" : ""));
    }
    db.exec(fmt::format("UPDATE feed_heads SET position = {} WHERE tenant_id = {}", position, t));
    db.exec("COMMIT");
    db.exec("SELECT pg_notify('mailherd_feed', '" + t + "')");
  }

  json hook(const std::string& url, json more = json::object()) {
    more["url"] = url;
    return node.ask("POST", "/v1/tenants/" + tenant + "/webhooks", more);
  }
  [[nodiscard]] std::string path(const json& w) const { return "/v1/tenants/" + tenant + "/webhooks/" + w["id"].get<std::string>(); }
  json listen(receiver& r, const json& mode = {{"mode", "ok"}}) {
    r.start();
    auto w = hook(r.url());
    auto full = mode;
    full["secret"] = w["secret"];
    r.mode(full);
    return w;
  }
  void expect_all(const receiver& r) const {
    EXPECT_TRUE(peers::wait_until([&] { return r.first_taken() == wanted; }, real_node::patience));
    EXPECT_EQ(r.first_taken(), wanted) << "every message, in order per channel";
    EXPECT_EQ(r.problems(), 0U) << "the official library verifies everything";
  }

  real_node& node;
  peers::temp_dir dir;
  std::string tenant;
  std::vector<std::string> channels;
  std::map<std::string, std::vector<int>> wanted;
  int stored = 0;
};

TEST_F(receivers, everything_arrives_verified_in_order_and_once) {
  receiver r(dir);
  const auto w = listen(r);
  mail(150);
  mail(50);
  expect_all(r);
  std::size_t taken = 0;
  for (const auto& e : r.read()) taken += e.contains("taken") ? 1 : 0;
  EXPECT_EQ(taken, 200U) << "nothing twice without a reason";
  EXPECT_TRUE(peers::wait_until([&] { return node.ask("GET", path(w))["position"] == "200"; }, seconds(30)));
  EXPECT_NE(node.metrics().find("mailherd_webhook_deliveries_total{result=\"ok\"}"), std::string::npos);
  EXPECT_EQ(node.ask("GET", path(w)).contains("secret"), false);
}

TEST_F(receivers, one_that_fails_half_of_the_time_gets_everything) {
  receiver r(dir);
  listen(r, {{"mode", "half"}});
  mail(10);
  // The first repetitions wait for seconds: half of ten fail, of these half again.
  expect_all(r);
}

TEST_F(receivers, one_that_dies_in_the_middle_of_its_answer_gets_it_again_with_the_same_id) {
  receiver r(dir);
  const auto w = listen(r, {{"mode", "cut"}});
  mail(1);
  ASSERT_TRUE(peers::wait_until([&] { return !r.process->running(); }, seconds(60)));
  r.start();
  r.mode({{"secret", w["secret"]}});
  mail(20);
  expect_all(r);
  std::map<std::string, int> times;
  for (const auto& e : r.read())
    if (e.contains("taken")) ++times[e["id"].get<std::string>()];
  EXPECT_EQ(times.size(), 21U);
  EXPECT_GE(times.begin()->second, 1);
}

TEST_F(receivers, one_that_hangs_slows_no_other) {
  receiver slow(dir, "slow"), quick(dir, "quick");
  listen(slow, {{"mode", "hang"}});
  listen(quick);
  const auto begin = std::chrono::steady_clock::now();
  mail(100);
  expect_all(quick);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(15)) << "less than one attempt at the hanging one takes";
  EXPECT_TRUE(slow.first_taken().empty());
}

TEST_F(receivers, a_redirect_to_loopback_is_not_followed_and_people_are_told) {
  receiver r(dir), trap(dir, "trap");
  trap.start();
  const auto w = listen(r, {{"mode", "redirect"}, {"to", trap.url() + "/"}});
  node.ask("POST", path(w) + "/test");
  json failed;
  EXPECT_TRUE(peers::wait_until([&] { return !(failed = node.ask("GET", path(w) + "/deliveries?state=failed")["items"]).empty(); }, seconds(60)));
  EXPECT_EQ(failed[0]["status"], 301);
  EXPECT_EQ(failed[0]["type"], "webhook.test");
  EXPECT_NE(failed[0]["error"].get<std::string>().find("not followed"), std::string::npos);
  EXPECT_EQ(trap.read().size(), 1U) << "only its own first line: nobody came";
}

TEST_F(receivers, an_address_that_is_not_allowed_is_refused) {
  const auto w = hook("https://10.1.2.3/hook");
  node.ask("POST", path(w) + "/test");
  json failed;
  EXPECT_TRUE(peers::wait_until([&] { return !(failed = node.ask("GET", path(w) + "/deliveries?state=failed")["items"]).empty(); }, seconds(60)));
  EXPECT_NE(failed[0]["error"].get<std::string>().find("target_refused"), std::string::npos);
}

TEST_F(receivers, gone_disables) {
  receiver r(dir);
  const auto w = listen(r, {{"mode", "gone"}});
  mail(3);
  EXPECT_TRUE(peers::wait_until([&] { return node.ask("GET", path(w))["enabled"] == false; }, seconds(60)));
  r.mode({{"mode", "ok"}});
  node.ask("PATCH", path(w), json{{"enabled", true}});
  expect_all(r);
}

TEST_F(receivers, during_rotation_the_old_secret_verifies_too) {
  receiver r(dir);
  const auto w = listen(r);
  mail(5);
  expect_all(r);
  const auto fresh = node.ask("POST", path(w) + "/rotate-secret", json::object())["secret"];
  EXPECT_NE(fresh, w["secret"]);
  mail(5);
  expect_all(r);
  r.mode({{"secret", fresh}});
  mail(5);
  expect_all(r);
}

TEST_F(receivers, a_node_that_is_killed_again_and_again_loses_and_reorders_nothing) {
  receiver r(dir);
  listen(r);
  for (int round = 0; round < 3; ++round) {
    mail(300);
    const auto before = r.read().size();
    peers::wait_until([&] { return r.read().size() > before + 40; }, seconds(60));
    node.kill();
    node.start();
  }
  expect_all(r);
}

/// Lines that an example of docs/receivers prints for messages.
class example {
 public:
  example(const peers::temp_dir& dir, std::vector<std::string> argv, const std::string& secret) : log_(dir / "example.log") {
    peers::process_options o;
    o.argv = std::move(argv);
    o.env = {{"WEBHOOK_SECRET", secret}, {"PORT", std::to_string(port = peers::free_port())}, {"SEEN_FILE", (dir / "seen.txt").string()}};
    o.log_file = log_;
    process_ = std::make_unique<peers::process>(o);
    process_->wait_ready([&] { return peers::read_file(log_).find("listening on") != std::string::npos; }, seconds(30));
  }
  [[nodiscard]] std::map<std::string, std::vector<int>> printed() const {
    std::map<std::string, std::vector<int>> out;
    const auto text = peers::read_file(log_);
    for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
      if (text[at] == '{') {
        const auto e = json::parse(text.substr(at, end - at));
        out[e["channel"].get<std::string>()].push_back(e["sequence"].get<int>());
      }
    return out;
  }
  /// Of how many messages it says that no person wrote them.
  [[nodiscard]] std::size_t robots() const {
    std::size_t n = 0;
    const auto text = peers::read_file(log_);
    for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
      if (text[at] == '{' && json::parse(text.substr(at, end - at))["automatic"] == "list") ++n;
    return n;
  }
  int port = 0;

 private:
  std::filesystem::path log_;
  std::unique_ptr<peers::process> process_;
};

class examples : public receivers {
 protected:
  void run(std::vector<std::string> argv) {
    const auto w = hook("http://127.0.0.1:1/");
    example e(dir, std::move(argv), w["secret"].get<std::string>());
    node.ask("PATCH", path(w), json{{"url", fmt::format("http://127.0.0.1:{}/", e.port)}});
    mail(30);
    EXPECT_TRUE(peers::wait_until([&] { return e.printed() == wanted; }, seconds(90)));
    node.ask("POST", path(w) + "/replay", json{{"after", "0"}});
    mail(5);
    EXPECT_TRUE(peers::wait_until([&] { return node.ask("GET", path(w))["position"] == "35"; }, seconds(90)));
    EXPECT_EQ(e.printed(), wanted) << "repeats are dropped";
    EXPECT_EQ(e.robots(), channels.size()) << "the first message of each channel came from a list";
    ctl::client forger({fmt::format("http://127.0.0.1:{}", e.port), {}});
    const auto forged = forger.send("POST", "/", json{{"type", "message.received"}}, seconds(10));
    ASSERT_TRUE(forged);
    EXPECT_EQ(forged->status, 401) << "what is not signed is not taken";
  }
};

TEST_F(examples, the_receiver_in_node) { run({"node", std::string(MAILHERD_SOURCE_DIR) + "/docs/receivers/node/receiver.mjs"}); }
TEST_F(examples, the_receiver_in_python) { run({"python3", std::string(MAILHERD_SOURCE_DIR) + "/docs/receivers/python/receiver.py"}); }

}  // namespace
}  // namespace mailherd::test
