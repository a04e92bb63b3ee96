// Two nodes as processes, mail that arrives all the time, one receiver: channels are moved, the node that delivers is killed in the middle of it, and
// another one is stopped while the receiver hangs. Every message arrives, in order per channel; what comes twice has the same webhook-id.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "tests/corpus/corpus.hpp"
#include "tests/peers/dovecot_server.hpp"
#include "tests/real_node/real_node.hpp"
#include "tests/storage/postgres_fixture.hpp"
#include "tests/webhooks/receiver.hpp"

namespace mailherd::test {
namespace {

using ctl::json;
using std::chrono::seconds;

constexpr unsigned channels = 4;
std::string user(unsigned n) { return fmt::format("u{}@acme.test", n); }

peers::dovecot_options users() {
  peers::dovecot_options o;
  for (unsigned n = 0; n < channels; ++n) o.users.push_back({user(n), "secret"});
  return o;
}

class deliveries_of_a_cluster : public ::testing::Test {
 protected:
  deliveries_of_a_cluster() : server(users()), dir("webhooks"), to(dir) {
    for (const char* name : {"a", "b"})
      nodes[name] = std::make_unique<real_node>(
          std::vector<std::pair<std::string, std::string>>{{"MAILHERD_DATABASE_URL", database.url()},
                                                           {"MAILHERD_ADMIN_TOKEN", "an-operators-token-of-thirty-two-bytes"},
                                                           {"MAILHERD_MASTER_KEY", "k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
                                                           {"MAILHERD_NODE_NAME", name},
                                                           {"MAILHERD_CA_FILE", server.ca_file().string()},
                                                           {"MAILHERD_LEASE_TTL", "3s"}});
  }

  void start() {
    for (auto& [name, n] : nodes) n->start();
    auto& node = *nodes["a"];
    tenant = node.ask("POST", "/v1/tenants", json{{"name", "Acme"}})["id"].get<std::string>();
    for (unsigned n = 0; n < channels; ++n)
      ids.push_back(node.ask("POST", "/v1/tenants/" + tenant + "/channels",
                             json{{"name", user(n)},
                                  {"address", user(n)},
                                  {"incoming", {{"protocol", "imap"}, {"host", "127.0.0.1"}, {"port", server.imaps_port()}}},
                                  {"auth", {{"type", "basic"}, {"username", user(n)}, {"password", "secret"}}},
                                  {"start_from", "all"}})["id"]
                        .get<std::string>());
    to.start();
    to.mode({{"secret", node.ask("POST", "/v1/tenants/" + tenant + "/webhooks", json{{"url", to.url()}})["secret"]}});
    ASSERT_TRUE(wait([&] { return database.query("SELECT count(*) FROM channel_status WHERE state = 'active'") == std::to_string(channels); }));
  }

  /// `n` more for each mailbox.
  void mail(unsigned n) {
    for (unsigned i = 0; i < n; ++i)
      for (unsigned u = 0; u < channels; ++u) server.deliver(user(u), "INBOX", corpus::simple(fmt::format("message {} for {}", wanted + i + 1, u)));
    wanted += n;
  }
  bool wait(const std::function<bool()>& condition) { return peers::wait_until(condition, real_node::patience); }
  [[nodiscard]] std::size_t noted(const char* what) const {
    std::size_t n = 0;
    for (const auto& e : to.read()) n += e.contains(what) ? 1 : 0;
    return n;
  }
  std::string holder(unsigned channel) {
    return database.query(fmt::format("SELECT i.node FROM channel_leases l JOIN incarnations i ON i.incarnation_id = l.owner WHERE l.channel_id = {}",
                                      ids[channel].substr(1)));
  }
  std::string deliverer() { return database.query("SELECT d.node FROM webhook_cursors c JOIN deliverers d ON d.deliverer_id = c.owner"); }
  std::string other(const std::string& name) { return name == "a" ? "b" : "a"; }
  void expect_all() {
    std::map<std::string, std::vector<int>> all;
    for (const auto& id : ids)
      for (int s = 1; s <= static_cast<int>(wanted); ++s) all[id].push_back(s);
    EXPECT_TRUE(wait([&] { return to.first_taken() == all; }));
    EXPECT_EQ(to.first_taken(), all) << "every message, in order per channel\n"
                                     << peers::tail(nodes["a"]->log_file()) << peers::tail(nodes["b"]->log_file());
    EXPECT_EQ(to.problems(), 0U);
    std::map<std::pair<std::string, int>, std::string> id_of;
    for (const auto& e : to.read()) {
      if (!e.contains("taken")) continue;
      const auto [at, fresh] = id_of.try_emplace({e["channel"].get<std::string>(), e["sequence"].get<int>()}, e["id"].get<std::string>());
      EXPECT_EQ(at->second, e["id"]) << "a repetition is known by its id";
    }
  }

  peers::dovecot_server server;
  test_database database;
  peers::temp_dir dir;
  receiver to;
  std::map<std::string, std::unique_ptr<real_node>> nodes;
  std::string tenant;
  std::vector<std::string> ids;
  unsigned wanted = 0;
};

TEST_F(deliveries_of_a_cluster, survive_a_move_a_kill_and_a_stop_while_the_receiver_hangs) {
  ASSERT_NO_FATAL_FAILURE(start());

  // A channel is moved while its mail goes out.
  mail(10);
  ASSERT_TRUE(wait([&] { return noted("taken") > 5; }));
  const auto target = other(holder(0));
  nodes["a"]->ask("POST", "/v1/tenants/" + tenant + "/channels/" + ids[0] + "/move", json{{"node", target}});
  mail(15);
  ASSERT_TRUE(wait([&] { return holder(0) == target; }));
  mail(5);

  // The node that delivers is killed in the middle of it.
  const auto killed = deliverer();
  ASSERT_FALSE(killed.empty());
  const auto before = noted("taken");
  mail(20);
  ASSERT_TRUE(wait([&] { return noted("taken") > before + 10; }));
  nodes[killed]->kill();
  mail(5);
  ASSERT_TRUE(wait([&] { return deliverer() == other(killed); })) << "the other one takes over";
  nodes[killed]->start();
  expect_all();

  // The one that delivers now is stopped while the receiver hangs: it does not wait for it, and the first one goes on with what had no answer.
  to.mode({{"mode", "hang"}});
  mail(1);
  ASSERT_TRUE(wait([&] { return noted("hung") > 0; }));
  const auto stopped = deliverer();
  EXPECT_EQ(nodes[stopped]->terminate(), 0);
  EXPECT_GE(std::stoi(database.query("SELECT count(*) FROM webhook_deliveries WHERE error LIKE 'interrupted:%'")), 1)
      << "people see why it came twice";
  to.mode({{"mode", "ok"}});
  expect_all();
  std::set<std::string> hung, taken;
  for (const auto& e : to.read()) (e.contains("hung") ? hung : taken).insert(e.value("id", ""));
  for (const auto& id : hung) EXPECT_TRUE(taken.contains(id)) << id << " came again with its id";
}

}  // namespace
}  // namespace mailherd::test
