// tests/peers_test/scripted_server: scripts run, hang, break and end when told, and what went unlike the script is known.
#include "support.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/scripted_server.hpp"

namespace mailherd::peers::test {
namespace {

tls_client raw(std::uint16_t port, std::chrono::milliseconds timeout = 20s) {
  return tls_client({.port = port, .tls = client_tls::none, .timeout = timeout});
}

script_options with_tls(const certificate& tls, bool implicit) {
  script_options out;
  out.tls = tls;
  out.implicit_tls = implicit;
  return out;
}

TEST(scripted_server, plays_its_script_and_keeps_a_transcript) {
  scripted_server server([](connection& c) {
    c.send_line("* OK ready " + std::to_string(c.index()));
    const std::string line = c.expect("a1 login");
    EXPECT_EQ(line, "a1 LOGIN alice pw");
    c.send_line("+ go on");
    EXPECT_EQ(c.read_exact(5), "12345");
    c.send_line("a1 OK");
  });
  for (int i = 0; i < 2; ++i) {
    auto client = raw(server.port());
    EXPECT_EQ(client.read_line(), "* OK ready " + std::to_string(i));
    client.write("a1 LOGIN alice pw\r\n");
    client.read_line();
    client.write("12345");
    EXPECT_EQ(client.read_line(), "a1 OK");
    EXPECT_TRUE(client.at_end());
  }
  EXPECT_EQ(server.connections(), 2U);
  EXPECT_THAT(server.transcript(1),
              ElementsAre("S: * OK ready 1", "C: a1 LOGIN alice pw", "S: + go on", "C: {5 bytes}", "S: a1 OK"));
  EXPECT_TRUE(server.problems().empty()) << server.problems().front();
}

TEST(scripted_server, reports_a_client_that_departs_from_the_script) {
  scripted_server server([](connection& c) { c.expect("a1 NOOP"); });
  auto client = raw(server.port());
  client.write("a1 LOGOUT\r\n");
  EXPECT_TRUE(client.at_end());
  ASSERT_EQ(server.problems().size(), 1U);
  EXPECT_THAT(server.problems()[0], HasSubstr("a1 LOGOUT"));
}

TEST(scripted_server, reports_a_client_that_stays_silent) {
  script_options options;
  options.patience = 50ms;
  scripted_server server([](connection& c) { c.read_line(); }, options);
  auto client = raw(server.port());
  EXPECT_TRUE(client.at_end());
  ASSERT_EQ(server.problems().size(), 1U);
  EXPECT_THAT(server.problems()[0], HasSubstr("said nothing"));
}

TEST(scripted_server, hangs_until_released) {
  scripted_server server([](connection& c) {
    c.hang();
    c.send_line("at last");
  });
  auto client = raw(server.port());
  ASSERT_TRUE(server.wait_connections(1));
  EXPECT_EQ(server.active(), 1U);
  server.release();
  EXPECT_EQ(client.read_line(), "at last");
}

TEST(scripted_server, stops_at_once_wherever_its_scripts_are) {
  scripted_server server([](connection& c) {
    switch (c.index()) {
      case 0: c.hang(); break;
      case 1: c.read_line(); break;
      case 2: c.drain(); break;
      default: c.line_waits(1h);
    }
  });
  std::vector<tls_client> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(raw(server.port()));
    ASSERT_TRUE(server.wait_connections(clients.size()));
  }
  const auto start = std::chrono::steady_clock::now();
  server.stop();
  EXPECT_LT(seconds_since(start), 5);
  for (auto& client : clients) EXPECT_TRUE(client.at_end());
  EXPECT_FALSE(port_open(server.port()));
}

TEST(scripted_server, ends_connections_by_fin_by_reset_and_all_at_once) {
  scripted_server server([](connection& c) {
    c.send_line("hello");
    if (c.index() == 0) c.close();
    else if (c.index() == 1) c.reset();
    else c.hang();
  });
  auto closed = raw(server.port());
  EXPECT_EQ(closed.read_line(), "hello");
  EXPECT_TRUE(closed.at_end());
  auto reset = raw(server.port());
  EXPECT_THROW(while (true) reset.read_line(), peer_error);
  auto hanging = raw(server.port());
  EXPECT_EQ(hanging.read_line(), "hello");
  server.drop_all();
  EXPECT_TRUE(hanging.at_end());
  auto after = raw(server.port());
  EXPECT_EQ(after.read_line(), "hello") << "new connections are taken";
}

TEST(scripted_server, never_accepts_when_told) {
  script_options options;
  options.accept = false;
  scripted_server server([](connection& c) { c.send_line("hello"); }, options);
  auto client = raw(server.port(), 100ms);  // connects: the kernel's queue has room
  EXPECT_THROW(client.read_line(), peer_error);
  EXPECT_EQ(server.connections(), 0U);
}

TEST(scripted_server, sends_single_segments) {
  scripted_server server([](connection& c) { c.send_pieces("abcdefghij\r\n", 1, 1ms); });
  auto client = raw(server.port());
  EXPECT_EQ(client.read_line(), "abcdefghij");
}

// ---- TLS ------------------------------------------------------------------------------------------------------------------------

class scripted_tls : public ::testing::Test {
 protected:
  temp_dir dir;
  test_ca ca{dir.path()};

  void refused(const certificate& pair, const std::string& reason) {
    scripted_server server([](connection& c) { c.hang(); }, with_tls(pair, true));
    try {
      tls_client client({.port = server.port(), .ca_file = ca.ca_file()});
      FAIL() << "taken: " << reason;
    } catch (const peer_error& error) {
      EXPECT_THAT(error.what(), HasSubstr("certificate verify failed"));
    }
    EXPECT_NO_THROW(tls_client({.port = server.port()})) << "unchecked it must work, or something else is wrong than the certificate";
  }
};

TEST_F(scripted_tls, speaks_tls_from_the_start_and_after_a_command) {
  scripted_server implicit([](connection& c) { c.send_line(c.encrypted() ? "secret" : "open"); }, with_tls(ca.issue(), true));
  tls_client client({.port = implicit.port(), .ca_file = ca.ca_file()});
  EXPECT_EQ(client.read_line(), "secret");
  scripted_server later(
      [](connection& c) {
        c.send_line("* OK");
        c.expect("a STARTTLS");
        c.send_line("a OK");
        c.start_tls();
        c.expect("b NOOP");
        c.send_line("b OK");
      },
      with_tls(ca.issue(cert_kind::valid, test_ca::default_names(), "rsa"), false));
  tls_client upgraded({.port = later.port(), .tls = client_tls::none, .ca_file = ca.ca_file()});
  upgraded.read_line();
  EXPECT_THAT(upgraded.imap("a", "STARTTLS"), HasSubstr("a OK"));
  upgraded.start_tls();
  EXPECT_THAT(upgraded.imap("b", "NOOP"), HasSubstr("b OK"));
  EXPECT_TRUE(later.problems().empty());
}

TEST_F(scripted_tls, certificates_are_bad_in_the_way_they_are_named) {
  refused(ca.issue(cert_kind::expired), "expired");
  refused(ca.issue(cert_kind::not_yet_valid), "not yet valid");
  refused(ca.issue(cert_kind::wrong_host), "wrong host");
  refused(ca.issue(cert_kind::self_signed), "self signed");
  const temp_dir elsewhere;
  test_ca stranger(elsewhere.path());
  refused(stranger.issue(), "unknown authority");
}

TEST_F(scripted_tls, never_finishes_the_handshake_when_the_script_says_so) {
  scripted_server server([](connection& c) { c.hang(); });  // plain: it reads nothing, answers nothing
  EXPECT_THROW(tls_client({.port = server.port(), .timeout = 100ms}), peer_error);
  scripted_server half([](connection& c) {
    c.send("\x16\x03\x03\x00\x40");  // a record that announces 64 bytes and never brings them
    c.hang();
  });
  EXPECT_THROW(tls_client({.port = half.port(), .timeout = 100ms}), peer_error);
}

TEST_F(scripted_tls, cut_ends_without_a_close_notify) {
  scripted_server server([](connection& c) {
    c.send_line("hello");
    c.cut();
  }, with_tls(ca.issue(), true));
  tls_client client({.port = server.port()});
  EXPECT_EQ(client.read_line(), "hello");
  EXPECT_TRUE(client.at_end());
}

}  // namespace
}  // namespace mailherd::peers::test
