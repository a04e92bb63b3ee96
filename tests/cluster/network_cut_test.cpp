// A node that loses its database, and nothing else: for three leases its packets vanish, no connection is reset, its mail server goes on telling it of
// mail. It must have stopped serving before another node begins to; and afterwards nothing is lost, doubled or out of order.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "tests/cluster/private_network.hpp"
#include "tests/cluster/real_cluster.hpp"
#include "tests/peers/fault_proxy.hpp"
#include "tests/peers/test_ca.hpp"

namespace mailherd::test {
namespace {

/// In a container that allows no namespaces, a proxy that swallows bytes stands for the wire.
const bool apart = private_network::enter();

class cut_off : public ::testing::Test {
 protected:
  cut_off() {
    options_.channels = 9;
    options_.rate = 15;
    options_.nodes = {"a", "b"};
    options_.mail_host = apart ? private_network::near_other : "127.0.0.1";
    options_.ca_file = ca_.ca_file();
    test_database::configure_server({.durable = false, .listen = apart ? "0.0.0.0" : "127.0.0.1"});
  }
  peers::dovecot_options users() {
    peers::dovecot_options o;
    for (unsigned n = 0; n < options_.channels; ++n) o.users.push_back({options_.user(n), options_.password});
    if (options_.mail_host != "127.0.0.1") o.address_too = options_.mail_host;
    o.tls = ca_.issue(peers::cert_kind::valid, {"127.0.0.1", private_network::near_other});
    return o;
  }

  /// `options`: with what leads node a over a link that `cut` cuts and `restore` mends.
  void survives(cluster_options options, test_database& database, const std::function<void()>& cut, const std::function<void()>& restore) {
    peers::dovecot_server server(users());
    real_cluster herd(server, database, std::move(options));
    herd.start();
    const auto had = herd.held_by("a");
    ASSERT_GT(had, 0U);
    if (behind_wires_) {
      ASSERT_TRUE(herd.wait([&] { return private_network::connections_to(server.imaps_port()) == had; })) << "the count shows nothing" << herd.logs();
    }
    herd.start_mail();
    herd.event(
        "a is cut off from its database",
        [&] {
          const auto until = real_cluster::clock::now() + std::chrono::seconds(3 * herd.options().ttl);
          herd.unheard("a");
          cut();
          bool quiet = false;
          double serving_when_taken = -1;
          EXPECT_TRUE(herd.wait([&] {
            // It is asked over another wire; and where it is alone behind the wires, the mail server's side of them is asked as well.
            const auto sessions = herd.metric_of("a", "mailherd_sessions") +
                                  (behind_wires_ ? static_cast<double>(private_network::connections_to(server.imaps_port())) : 0);
            const auto held = herd.held_by("a");
            quiet = quiet || sessions == 0;
            if (held < had && serving_when_taken < 0) serving_when_taken = quiet ? 0 : sessions;
            return real_cluster::clock::now() > until && held == 0 && quiet;
          })) << herd.logs();
          EXPECT_EQ(serving_when_taken, 0) << "its lease ended elsewhere while it served";
          EXPECT_THROW(herd.node("a").ask("GET", "/readyz"), peers::peer_error);
          restore();
        },
        [&] {
          return herd.all_owned() && herd.sql("SELECT count(*) FROM incarnations WHERE node = 'a' AND ended IS NULL AND expires_at > now()") == "1";
        });
    herd.heard();
    ASSERT_TRUE(herd.wait([&] { return herd.all_served(); })) << herd.logs();
    const auto after = herd.compare();
    EXPECT_EQ(after.lost + after.doubled + after.out_of_order, 0U) << after.first;
  }

  peers::temp_dir dir_{"cut"};
  peers::test_ca ca_{dir_.path()};
  cluster_options options_;
  bool behind_wires_ = false;   ///< node a, and nobody else
};

TEST_F(cut_off, a_node_stops_serving_in_time_and_comes_back) {
  test_database database;
  if (!apart) {
    std::printf("no namespaces here: a proxy swallows what passes in both directions\n");
    peers::fault_proxy wire(test_database::tcp_port());
    options_.own_env["a"] = {{"MAILHERD_DATABASE_URL", database.tcp_url("127.0.0.1", wire.port())}};
    return survives(
        options_, database, [&] { wire.set({.black_hole = true}); }, [&] { wire.heal(); });
  }
  private_network network;
  behind_wires_ = true;
  const auto here = fmt::format("{}:0", private_network::far_other);
  options_.own_env["a"] = {{"MAILHERD_DATABASE_URL", database.tcp_url(private_network::near_database)},
                           {"MAILHERD_PRIVATE_TARGETS", private_network::both},
                           {"MAILHERD_LISTEN", here},
                           {"MAILHERD_METRICS_LISTEN", here}};
  options_.own_env["b"] = {{"MAILHERD_PRIVATE_TARGETS", private_network::both}};
  options_.launchers["a"] = network.launcher();
  survives(
      options_, database, [&] { network.cut(); }, [&] { network.restore(); });
}

TEST_F(cut_off, a_node_that_is_heard_but_hears_nothing_stops_serving_in_time_and_comes_back) {
  test_database database;
  peers::fault_proxy wire(test_database::tcp_port());
  options_.own_env["a"] = {{"MAILHERD_DATABASE_URL", database.tcp_url("127.0.0.1", wire.port())}};
  if (apart) options_.mail_host = "127.0.0.1";
  // What it asked last is done and never answered: a renewal may count, a claim bring channels that it does not know of.
  peers::proxy_faults deaf;
  deaf.to_client.cut_after = 0;
  deaf.to_client.cut = peers::cut_kind::stall;
  survives(
      options_, database, [&] { wire.set(deaf); }, [&] { wire.heal(); });
}

}  // namespace
}  // namespace mailherd::test
