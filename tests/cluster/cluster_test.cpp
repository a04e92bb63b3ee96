// A real cluster: three nodes as processes on one PostgreSQL, one Dovecot, mail arriving all the time. Whatever is done to it, the store ends up
// as the mailboxes are, byte for byte, and every delay is measured and printed.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "tests/cluster/real_cluster.hpp"

namespace mailherd::test {
namespace {

using clock = std::chrono::steady_clock;

const unsigned channels = number_of_environment("CLUSTER_CHANNELS", 24);
const unsigned ttl = number_of_environment("CLUSTER_TTL", 3);

cluster_options options() {
  cluster_options o;
  o.channels = channels;
  o.rate = number_of_environment("CLUSTER_RATE", 20);
  o.ttl = ttl;
  return o;
}

peers::dovecot_options many_users() {
  peers::dovecot_options o;
  for (unsigned n = 0; n < channels; ++n) o.users.push_back({options().user(n), "secret"});
  o.max_sessions = 3 * channels + 100;
  peers::dovecot_server::allow_idle_sessions(o.max_sessions);
  return o;
}

class cluster : public ::testing::Test {
 protected:
  real_node& node(const std::string& name) { return herd_.node(name); }
  std::string sql(const std::string& text) { return database_.query(text); }  // NOLINT(modernize-use-nodiscard): often called for its effect

  peers::dovecot_server server_{many_users()};
  test_database database_;
  real_cluster herd_{server_, database_, options()};
};

TEST_F(cluster, is_drained_killed_frozen_and_restarted_under_load_and_the_store_is_as_the_mailboxes_are) {
  herd_.start();
  for (const char* name : {"a", "b", "c"}) EXPECT_GT(herd_.held_by(name), channels / 6) << name << " has no fair share";
  // Of channels that have nothing to do. With the usual lease a node renews every 4 s: 20 statements per renewal are 5 a second, BEGIN, COMMIT and
  // all; the number of channels adds only to the signs of life, which are written in groups.
  const auto idle = herd_.load_of(18);
  std::printf("%-34s %.1f statements per renewal and node, the API's readiness and gauges among them\n", "idle", idle.statements / idle.renewals);
  EXPECT_LT(idle.statements / idle.renewals, 20);
  herd_.start_mail();

  herd_.event(
      "drain b, asked of a", [&] { node("a").ask("POST", "/v1/cluster/nodes/b/drain"); }, [&] { return herd_.held_by("b") == 0; });
  EXPECT_GT(herd_.metric("mailherd_handovers_total", "result=\"ok\""), 0);
  EXPECT_EQ(herd_.metric("mailherd_handovers_total", "result=\"failed\""), 0);
  std::printf("%-34s %.0f handovers, time without a session: %.3f s in all\n", "", herd_.metric("mailherd_handover_gap_seconds_count"),
              herd_.metric("mailherd_handover_gap_seconds_sum"));
  EXPECT_LT(herd_.metric("mailherd_handover_gap_seconds_sum"), 0.01) << "the successor holds the mailbox before the former session goes";
  herd_.event(
      "stop and start b",
      [&] {
        EXPECT_EQ(node("b").terminate(), 0);
        node("b").start();
      },
      [&] { return herd_.all_owned(); });

  herd_.event(
      "SIGKILL of c", [&] { node("c").kill(); }, [&] { return herd_.held_by("c") == 0 && herd_.all_owned(); });
  node("c").start();

  herd_.event(
      "SIGSTOP of a for 3 leases",
      [&] {
        herd_.freeze("a");
        const auto until = clock::now() + std::chrono::seconds(3 * ttl);
        EXPECT_TRUE(herd_.wait([&] { return clock::now() > until && herd_.held_by("a") == 0; }));
        herd_.thaw("a");
      },
      [&] { return herd_.all_owned() && sql("SELECT count(*) FROM incarnations WHERE node = 'a' AND ended IS NULL AND expires_at > now()") == "1"; });

  herd_.event(
      "PostgreSQL restarts", [&] { test_database::restart_server(); }, [&] { return herd_.all_owned(); });

  const auto path = "/v1/tenants/" + herd_.tenant() + "/channels/" + herd_.channel(0);
  std::string owner;
  ASSERT_TRUE(herd_.wait([&] {
    owner = herd_.any().ask("GET", path)["node"].get<std::string>();
    return !owner.empty() && herd_.any().ask("GET", "/v1/cluster")["nodes"].size() == 3;
  }));
  const std::string target = owner == "b" ? "c" : "b", user = options().user(0);
  herd_.event(
      "move with a switch in flight",
      [&] {
        server_.set_password(user, "new");
        herd_.any().ask("PUT", path + "/auth", ctl::json{{"type", "basic"}, {"username", user}, {"password", "new"}});
        herd_.any().ask("POST", path + "/move", ctl::json{{"node", target}});
      },
      [&] {
        const auto c = herd_.any().ask("GET", path);
        if (c["auth"]["observed_generation"] != 2 || c["state"] != "active") return false;
        if (c["node"] == target) return true;
        // The old password opens nothing any more: a standby that came before the switch was over is refused, and the wish with it.
        herd_.any().ask("POST", path + "/move", ctl::json{{"node", target}});
        return false;
      });

  const auto rolled = herd_.event(
      "rolling restart of all",
      [&] {
        for (const char* name : {"a", "b", "c"}) {
          EXPECT_EQ(node(name).terminate(), 0) << peers::tail(node(name).log_file(), 3000);
          node(name).start();
        }
      },
      [&] { return herd_.all_owned(); });
  EXPECT_LT(rolled.delay(1.0), 5.0) << "no message waited for a lease";

  const auto after = herd_.compare();
  EXPECT_EQ(after.lost + after.doubled + after.out_of_order, 0U) << after.first;
}

}  // namespace
}  // namespace mailherd::test
