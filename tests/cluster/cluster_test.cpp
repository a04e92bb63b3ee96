// A real cluster: three nodes as processes on one PostgreSQL, one Dovecot, mail arriving all the time. Whatever is done to it, the store ends up
// as the mailboxes are, byte for byte, and every delay is measured and printed.
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <pqxx/pqxx>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

#include "tests/corpus/corpus.hpp"
#include "tests/peers/dovecot_server.hpp"
#include "tests/real_node/real_node.hpp"
#include "tests/storage/postgres_fixture.hpp"

namespace mailherd::test {
namespace {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

unsigned number(const char* name, unsigned otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<unsigned>(std::stoul(text));
}

const unsigned channels = number("CLUSTER_CHANNELS", 24);
const unsigned rate = number("CLUSTER_RATE", 20);
const unsigned ttl = number("CLUSTER_TTL", 3);

std::string user(unsigned n) { return fmt::format("u{}@acme.test", n); }

peers::dovecot_options many_users() {
  peers::dovecot_options o;
  for (unsigned n = 0; n < channels; ++n) o.users.push_back({user(n), "secret"});
  o.max_sessions = 3 * channels + 100;
  return o;
}

class cluster : public ::testing::Test {
 protected:
  cluster() : server_(many_users()) {
    peers::dovecot_server::allow_idle_sessions(3 * channels + 100);
    for (const char* name : {"a", "b", "c"})
      nodes_[name] = std::make_unique<real_node>(std::vector<std::pair<std::string, std::string>>{
          {"MAILHERD_DATABASE_URL", database_.url()},
          {"MAILHERD_ADMIN_TOKEN", "an-operators-token-of-thirty-two-bytes"},
          {"MAILHERD_MASTER_KEY", "k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
          {"MAILHERD_NODE_NAME", name},
          {"MAILHERD_CA_FILE", server_.ca_file().string()},
          {"MAILHERD_LEASE_TTL", fmt::format("{}s", ttl)},
          {"MAILHERD_STOP_GRACE", "30s"},
      });
  }
  ~cluster() override { stop_mail(); }

  real_node& node(const std::string& name) { return *nodes_.at(name); }
  /// One that answers.
  real_node& any() {
    for (auto& [name, n] : nodes_)
      if (n->running() && name != frozen_) return *n;
    throw peers::peer_error("no node runs");
  }

  void start() {
    for (auto& [name, n] : nodes_) n->start();
    tenant_ = any().ask("POST", "/v1/tenants", ctl::json{{"name", "Acme"}, {"limits", {{"max_channels", 100'000}}}})["id"].get<std::string>();
    for (unsigned n = 0; n < channels; ++n) {
      const ctl::json incoming{{"protocol", "imap"}, {"host", "127.0.0.1"}, {"port", server_.imaps_port()}, {"tls", "implicit"}};
      const ctl::json channel{{"name", fmt::format("channel {}", n)},
                              {"address", user(n)},
                              {"incoming", incoming},
                              {"auth", {{"type", "basic"}, {"username", user(n)}, {"password", "secret"}}},
                              {"start_from", "all"}};
      const auto made = any().ask("POST", "/v1/tenants/" + tenant_ + "/channels", channel);
      ids_.push_back(made["id"].get<std::string>());
    }
    ASSERT_TRUE(all_active()) << states();
  }

  // ---- mail ----
  void start_mail() {
    delivering_ = true;
    sender_ = std::thread([this] {
      auto next = clock::now();
      for (unsigned i = 0; delivering_; ++i) {
        const auto raw = i % 50 == 0 ? corpus::message(7, i) : corpus::simple(fmt::format("message {}", i));
        {
          const std::lock_guard lock(guard_);
          sent_[peers::sha256_hex(raw)] = std::chrono::system_clock::now();
        }
        server_.deliver(user(i % channels), "INBOX", raw);
        ++delivered_;
        next += milliseconds(1000 / rate);
        std::unique_lock lock(guard_);
        ended_.wait_until(lock, next, [this] { return !delivering_.load(); });  // the rate at which mail arrives
      }
    });
  }
  void stop_mail() {
    delivering_ = false;
    ended_.notify_all();
    if (sender_.joinable()) sender_.join();
  }

  // ---- looking ----
  std::string sql(const std::string& text) { return database_.query(text); }
  bool all_active() {
    return wait([&] {
      return sql("SELECT count(*) FROM channel_status s JOIN channel_leases l USING (channel_id) JOIN incarnations i ON i.incarnation_id = l.owner "
                 "WHERE s.state = 'active' AND i.ended IS NULL AND i.expires_at > now()") == std::to_string(channels);
    });
  }
  std::string states() {
    return sql("SELECT string_agg(format('%s %s %s', channel_id, state, reason), '; ') FROM channel_status WHERE state <> 'active'");
  }
  unsigned held_by(const std::string& name) {
    return static_cast<unsigned>(std::stoul(sql(fmt::format(
        "SELECT count(*) FROM channel_leases l JOIN incarnations i ON i.incarnation_id = l.owner WHERE i.node = '{}' AND i.ended IS NULL", name))));
  }
  template <class Condition>
  bool wait(Condition condition) {
    return peers::wait_until(
        [&] {
          try {
            return condition();
          } catch (const std::exception&) {
            return false;  // the database is restarting
          }
        },
        real_node::patience);
  }
  /// The sum of a metric over the nodes that answer, whatever its labels are if they contain `label`.
  double metric(const std::string& name, const std::string& label = "") {
    double sum = 0;
    for (auto& [node_name, n] : nodes_) {
      if (!n->running() || node_name == frozen_) continue;
      const auto text = n->metrics();
      for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
        const auto line = text.substr(at, text.find('\n', at) - at);
        if ((at == 0 || text[at - 1] == '\n') && (line[name.size()] == '{' || line[name.size()] == ' ') && line.find(label) != std::string::npos)
          sum += std::stod(line.substr(line.rfind(' ')));
      }
    }
    return sum;
  }

  // ---- one event and what it cost ----
  /// Does it, waits until it is over and the mail that came meanwhile is stored; prints the delays of that mail.
  template <class Event, class Over>
  void event(const std::string& what, Event happen, Over over) {
    SCOPED_TRACE(what);
    const auto began = std::chrono::system_clock::now();
    const auto t0 = clock::now();
    happen();
    ASSERT_TRUE(wait(over)) << what << ": " << states() << logs();
    const auto took = std::chrono::duration<double>(clock::now() - t0).count();
    const auto so_far = delivered_.load();
    ASSERT_TRUE(wait([&] { return stored() >= so_far; })) << what << ": " << stored() << " of " << so_far << " stored; " << states() << logs();
    auto delays = delays_since(began);
    std::sort(delays.begin(), delays.end());
    const auto at = [&](double part) {
      return delays.empty() ? 0.0 : delays[static_cast<std::size_t>(part * static_cast<double>(delays.size() - 1))];
    };
    std::printf("%-34s over in %5.1f s; %5zu messages meanwhile, arrival to stored: p50 %6.3f s, p99 %6.3f s, longest %6.3f s\n", what.c_str(), took,
                delays.size(), at(0.5), at(0.99), at(1.0));
    std::fflush(stdout);
    longest_[what] = at(1.0);
  }
  std::int64_t stored() { return std::stoll(sql("SELECT coalesce(sum(messages_stored), 0) FROM channel_status")); }
  std::vector<double> delays_since(std::chrono::system_clock::time_point began) {
    std::vector<double> out;
    pqxx::connection link(database_.superuser_url());
    pqxx::nontransaction work(link);
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(began.time_since_epoch()).count();
    const std::lock_guard lock(guard_);
    for (const auto& row :
         work.exec(fmt::format("SELECT encode(digest, 'hex'), mailherd_us(received_at) FROM messages WHERE received_at >= mailherd_time({})", us))) {
      const auto sent = sent_.find(row[0].c_str());
      if (sent == sent_.end() || sent->second < began) continue;
      out.push_back(static_cast<double>(row[1].as<std::int64_t>()) / 1e6 - std::chrono::duration<double>(sent->second.time_since_epoch()).count());
    }
    return out;
  }
  std::string logs() {
    std::string all;
    for (auto& [name, n] : nodes_) all += "\n---- " + name + "\n" + peers::tail(n->log_file(), 2500);
    return all;
  }
  /// Of channels that have nothing to do. With the usual lease a node renews every 4 s: 20 statements per renewal are 5 a second, BEGIN, COMMIT and
  /// all; the number of channels adds only to the signs of life, which are written in groups.
  void expect_little_database_load() {
    sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
    const auto renewals = [this] {
      return std::stod(sql("SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE 'UPDATE incarnations SET renewed_at%'"));
    };
    const auto others =
        "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.userid "
        "WHERE d.datname = current_database() AND r.rolname <> 'postgres'";
    sql("SELECT pg_stat_statements_reset()");
    ASSERT_TRUE(wait([&] { return renewals() >= 18; }));
    const auto statements = std::stod(sql(others)), n = renewals();
    std::printf("%-34s %.1f statements per renewal and node, the API's readiness and gauges among them\n", "idle", statements / n);
    EXPECT_LT(statements / n, 20);
  }
  void expect_as_in_the_mailboxes() {
    std::map<std::int64_t, std::vector<std::string>> here;
    for (auto& b : any().bodies(*parse_id<tenant_id>(tenant_))) here[b.channel].push_back(std::move(b.sha256));  // throws if a sequence has a gap
    for (unsigned n = 0; n < channels; ++n) {
      auto& mine = here[parse_id<channel_id>(ids_[n])->value];
      std::sort(mine.begin(), mine.end());
      EXPECT_TRUE(mine == server_.digests(user(n))) << user(n) << ": " << mine.size() << " stored, " << server_.count(user(n)) << " in the mailbox";
    }
  }

  peers::dovecot_server server_;
  test_database database_;
  std::map<std::string, std::unique_ptr<real_node>> nodes_;
  std::string tenant_, frozen_;
  std::vector<std::string> ids_;
  std::thread sender_;
  std::atomic<bool> delivering_{false};
  std::atomic<std::int64_t> delivered_{0};
  std::mutex guard_;
  std::condition_variable ended_;
  std::map<std::string, std::chrono::system_clock::time_point> sent_;
  std::map<std::string, double> longest_;
};

TEST_F(cluster, is_drained_killed_frozen_and_restarted_under_load_and_the_store_is_as_the_mailboxes_are) {
  ASSERT_NO_FATAL_FAILURE(start());
  for (const char* name : {"a", "b", "c"}) EXPECT_GT(held_by(name), channels / 6) << name << " has no fair share";
  expect_little_database_load();
  start_mail();

  ASSERT_NO_FATAL_FAILURE(event(
      "drain b, asked of a", [&] { node("a").ask("POST", "/v1/cluster/nodes/b/drain"); }, [&] { return held_by("b") == 0; }));
  EXPECT_GT(metric("mailherd_handovers_total", "result=\"ok\""), 0);
  EXPECT_EQ(metric("mailherd_handovers_total", "result=\"failed\""), 0);
  std::printf("%-34s %.0f handovers, time without a session: %.3f s in all\n", "", metric("mailherd_handover_gap_seconds_count"),
              metric("mailherd_handover_gap_seconds_sum"));
  EXPECT_LT(metric("mailherd_handover_gap_seconds_sum"), 0.01) << "the successor holds the mailbox before the former session goes";
  event(
      "stop and start b",
      [&] {
        EXPECT_EQ(node("b").terminate(), 0);
        node("b").start();
      },
      [&] { return all_active(); });

  ASSERT_NO_FATAL_FAILURE(event(
      "SIGKILL of c", [&] { node("c").kill(); }, [&] { return held_by("c") == 0 && all_active(); }));
  node("c").start();

  ASSERT_NO_FATAL_FAILURE(event(
      "SIGSTOP of a for 3 leases",
      [&] {
        frozen_ = "a";
        node("a").freeze();
        const auto until = clock::now() + std::chrono::seconds(3 * ttl);
        ASSERT_TRUE(wait([&] { return clock::now() > until && held_by("a") == 0; }));
        node("a").thaw();
        frozen_.clear();
      },
      [&] { return all_active() && sql("SELECT count(*) FROM incarnations WHERE node = 'a' AND ended IS NULL AND expires_at > now()") == "1"; }));

  ASSERT_NO_FATAL_FAILURE(event(
      "PostgreSQL restarts", [&] { test_database::restart_server(); }, [&] { return all_active(); }));

  std::string owner;
  ASSERT_TRUE(wait([&] {
    owner = any().ask("GET", "/v1/tenants/" + tenant_ + "/channels/" + ids_[0])["node"].get<std::string>();
    return !owner.empty() && any().ask("GET", "/v1/cluster")["nodes"].size() == 3;
  }));
  const std::string target = owner == "b" ? "c" : "b";
  ASSERT_NO_FATAL_FAILURE(event(
      "move with a switch in flight",
      [&] {
        server_.set_password(user(0), "new");
        const auto path = "/v1/tenants/" + tenant_ + "/channels/" + ids_[0];
        any().ask("PUT", path + "/auth", ctl::json{{"type", "basic"}, {"username", user(0)}, {"password", "new"}});
        any().ask("POST", path + "/move", ctl::json{{"node", target}});
      },
      [&] {
        const auto c = any().ask("GET", "/v1/tenants/" + tenant_ + "/channels/" + ids_[0]);
        if (c["auth"]["observed_generation"] != 2 || c["state"] != "active") return false;
        if (c["node"] == target) return true;
        // The old password opens nothing any more: a standby that came before the switch was over is refused, and the wish with it.
        any().ask("POST", "/v1/tenants/" + tenant_ + "/channels/" + ids_[0] + "/move", ctl::json{{"node", target}});
        return false;
      }));

  ASSERT_NO_FATAL_FAILURE(event(
      "rolling restart of all",
      [&] {
        for (const char* name : {"a", "b", "c"}) {
          EXPECT_EQ(node(name).terminate(), 0) << peers::tail(node(name).log_file(), 3000);
          node(name).start();
        }
      },
      [&] { return all_active(); }));
  EXPECT_LT(longest_["rolling restart of all"], 5.0) << "no message waited for a lease";

  stop_mail();
  ASSERT_TRUE(wait([&] { return stored() >= delivered_; })) << stored() << " of " << delivered_ << logs();
  expect_as_in_the_mailboxes();
}

}  // namespace
}  // namespace mailherd::test
