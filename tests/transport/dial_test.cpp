// tests/transport/dial: reaching a server: what is told when it fails, happy eyeballs, the policy, proxies.
#include <arpa/inet.h>

#include <map>
#include <mutex>

#include "core/limits.hpp"
#include "fixture.hpp"

namespace mailherd::net::test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class dialing : public net_test {
 protected:
  static void greet(client& c) {
    c.write("* OK\r\n");
    c.wait_for_end();
  }
  /// A network whose names are these; everything else does not exist.
  void names(std::map<std::string, std::vector<std::string>> table, const std::string& policy = "127.0.0.0/8, ::1") {
    make_network(policy, [table = std::move(table)](const std::string& host) -> result<std::vector<std::string>> {
      const auto found = table.find(host);
      if (found == table.end()) return fail(failure::dns_failed, host + ": there is no such host name");
      return found->second;
    });
  }
  static std::string last_words(const std::shared_ptr<dialed>& d) {
    return d->outcome ? "it connected" : describe(d->outcome.error());
  }
};

TEST_F(dialing, a_closed_port_is_refused) {
  const auto port = dead_port();
  const auto d = dial(to_port(port));
  EXPECT_EQ(last_words(d),
            "connect_refused: cannot connect to mail.acme.test port " + std::to_string(port) + ": 127.0.0.1: Connection refused");
}

TEST_F(dialing, a_name_that_does_not_exist) {
  const auto d = dial(to_port(993, "nowhere.example"));
  EXPECT_EQ(last_words(d), "dns_failed: nowhere.example: there is no such host name");
  EXPECT_TRUE(d->steps.empty());
}

TEST_F(dialing, a_black_hole_ends_at_the_deadline_and_names_the_phase) {
  const black_hole hole;
  const auto d = dial(to_port(hole.port()), 200ms);
  EXPECT_EQ(last_words(d), "timed_out: the deadline passed during the connection to mail.acme.test port " + std::to_string(hole.port()));
}

TEST_F(dialing, a_lookup_that_hangs_ends_at_the_deadline) {
  std::promise<void> go;
  auto gate = go.get_future().share();
  make_network("all", [gate](const std::string&) -> result<std::vector<std::string>> {
    gate.wait();
    return fail(failure::dns_failed);
  });
  const auto d = dial(to_port(993), 50ms);
  EXPECT_EQ(last_words(d), "timed_out: the deadline passed during the lookup of mail.acme.test");
  go.set_value();
}

TEST_F(dialing, nonsense_is_invalid_input) {
  for (const char* host : {"", "mail acme", "mail.acme.test\r\nX", "a/b"}) {
    const auto d = dial(to_port(993, host));
    ASSERT_FALSE(d->outcome);
    EXPECT_EQ(d->outcome.error().code, failure::invalid_input) << host;
  }
  EXPECT_EQ(dial(to_port(0))->outcome.error().code, failure::invalid_input);
}

TEST_F(dialing, a_withdrawn_attempt_says_nothing) {
  const peer server([](client& c) { c.wait_for_end(); });   // the handshake hangs
  auto token = std::make_shared<int>(0);
  std::unique_ptr<attempt> a;
  std::promise<void> connected;
  on(loop(), [&] {
    a = net_->dial().dial(loop(), to_port(server.port()), deadline::after(loop().now(), patience),
                          [token](result<std::unique_ptr<connection>>) { ADD_FAILURE(); },
                          [&](std::string_view step, const connection_info&) {
                            if (step == "tcp") connected.set_value();
                          });
  });
  wait(connected.get_future());
  on(loop(), [&] { a.reset(); });
  EXPECT_EQ(token.use_count(), 1);
}

TEST_F(dialing, an_attempt_may_be_withdrawn_by_its_own_progress) {
  const peer server(greet);
  for (const std::string at : {"dns", "tcp"}) {
    auto a = std::make_shared<std::unique_ptr<attempt>>();
    std::promise<void> withdrawn;
    on(loop(), [&] {
      *a = net_->dial().dial(loop(), to_port(server.port(), "mail.acme.test", false), deadline::after(loop().now(), patience),
                             [](result<std::unique_ptr<connection>>) { ADD_FAILURE(); },
                             [a, &withdrawn, at](std::string_view step, const connection_info&) {
                               if (step != at) return;
                               a->reset();
                               withdrawn.set_value();
                             });
    });
    wait(withdrawn.get_future());
    on(loop(), [] {});
  }
}

TEST_F(dialing, an_attempt_may_outlive_the_network) {
  const peer server([](client& c) { c.wait_for_end(); });
  auto token = std::make_shared<int>(0);
  std::unique_ptr<attempt> a;
  on(loop(), [&] {
    a = net_->dial().dial(loop(), to_port(server.port()), deadline::after(loop().now(), patience),
                          [token](result<std::unique_ptr<connection>>) { ADD_FAILURE(); }, {});
  });
  net_.reset();
  EXPECT_EQ(token.use_count(), 1);
}

// ---- happy eyeballs -------------------------------------------------------------------------------------------------------------

TEST_F(dialing, a_dead_family_does_not_hold_up_the_other) {
  const peer server(greet);
  names({{"both.test", {"::1", "127.0.0.1"}}});   // nothing listens at ::1
  const auto d = dial(to_port(server.port(), "both.test", false));
  ASSERT_TRUE(d->outcome) << last_words(d);
  EXPECT_EQ(d->info.peer, "127.0.0.1:" + std::to_string(server.port()));
  drop(d);
}

TEST_F(dialing, an_address_that_does_not_answer_is_overtaken) {
  const black_hole hole;                                 // at 127.0.0.1; all of 127/8 is this machine
  const peer server(greet, "127.0.0.2", hole.port());
  names({{"both.test", {"127.0.0.1", "127.0.0.2"}}});
  const auto d = dial(to_port(hole.port(), "both.test", false));
  ASSERT_TRUE(d->outcome) << last_words(d);
  EXPECT_EQ(d->info.peer, "127.0.0.2:" + std::to_string(hole.port()));
  EXPECT_GE(d->info.tcp_time, limits::next_address_delay - 1ms) << "the first address had its time";
  drop(d);
}

TEST_F(dialing, a_refusal_does_not_end_the_race_while_another_address_is_open) {
  const black_hole hole;
  names({{"both.test", {"127.0.0.1", "127.0.0.3"}}});    // nothing listens at 127.0.0.3
  const auto d = dial(to_port(hole.port(), "both.test", false), 600ms);
  ASSERT_FALSE(d->outcome);
  EXPECT_EQ(d->outcome.error().code, failure::timed_out);
}

TEST_F(dialing, all_addresses_that_failed_are_named) {
  const auto port = dead_port();
  names({{"both.test", {"::1", "127.0.0.1", "127.0.0.2"}}});
  const auto d = dial(to_port(port, "both.test"));
  ASSERT_FALSE(d->outcome);
  EXPECT_EQ(d->outcome.error().code, failure::connect_refused);
  for (const char* address : {"::1:", "127.0.0.1:", "127.0.0.2:"}) EXPECT_THAT(d->outcome.error().detail, HasSubstr(address));
}

// ---- policy ---------------------------------------------------------------------------------------------------------------------

TEST_F(dialing, private_addresses_are_refused_by_name_and_as_literals) {
  const peer server(greet);
  names({{"inside.test", {"127.0.0.1"}}, {"mapped.test", {"::ffff:127.0.0.1"}}, {"meta.test", {"169.254.169.254"}}}, "");
  for (const char* host : {"inside.test", "mapped.test", "meta.test", "127.0.0.1", "::1", "[::1]", "::ffff:127.0.0.1"}) {
    const auto d = dial(to_port(server.port(), host, false));
    ASSERT_FALSE(d->outcome) << host;
    EXPECT_EQ(d->outcome.error().code, failure::target_refused) << host;
    EXPECT_THAT(d->outcome.error().detail, HasSubstr("MAILHERD_PRIVATE_TARGETS"));
  }
  EXPECT_EQ(last_words(dial(to_port(server.port(), "inside.test"))),
            "target_refused: inside.test resolves to 127.0.0.1, an address that is not public; MAILHERD_PRIVATE_TARGETS does not allow it");
  EXPECT_EQ(server.accepted(), 0u);
}

TEST_F(dialing, of_several_addresses_only_those_allowed_are_tried) {
  const peer server(greet);
  names({{"mixed.test", {"127.0.0.2", "127.0.0.1"}}}, "127.0.0.1");
  const auto d = dial(to_port(server.port(), "mixed.test", false));
  ASSERT_TRUE(d->outcome) << last_words(d);
  EXPECT_EQ(d->info.peer, "127.0.0.1:" + std::to_string(server.port()));
  drop(d);
}

TEST_F(dialing, the_source_address_is_bound) {
  std::promise<std::string> from;
  const peer server([&](client& c) {
    sockaddr_in raw{};
    socklen_t size = sizeof raw;
    ::getpeername(c.fd(), reinterpret_cast<sockaddr*>(&raw), &size);
    char text[INET_ADDRSTRLEN] = {};
    ::inet_ntop(AF_INET, &raw.sin_addr, text, sizeof text);
    from.set_value(text);
    c.wait_for_end();
  });
  make_network("127.0.0.0/8", {}, "127.0.0.7");
  const auto d = dial(to_port(server.port(), "mail.acme.test", false));
  ASSERT_TRUE(d->outcome) << last_words(d);
  EXPECT_EQ(wait(from.get_future()), "127.0.0.7");
  drop(d);
}

}  // namespace
}  // namespace mailherd::net::test
