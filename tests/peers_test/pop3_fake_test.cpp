// tests/peers_test/pop3_fake: one dialogue, and every fault that scenarios rely on.
#include "core/base64.hpp"
#include "support.hpp"
#include "tests/corpus/corpus.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/pop3_fake.hpp"

namespace mailherd::peers::test {
namespace {

constexpr const char* alice = "alice@acme.test";

tls_client signed_in(pop3_fake& fake, std::chrono::milliseconds timeout = 20s) {
  tls_client client({.port = fake.port(), .tls = client_tls::none, .timeout = timeout});
  client.read_line();
  client.pop3("USER " + std::string(alice));
  EXPECT_THAT(client.pop3("PASS pw"), StartsWith("+OK"));
  return client;
}

TEST(pop3_fake, holds_a_whole_dialogue) {
  pop3_fake fake;
  const std::string dots = "Subject: dots\r\n\r\n.\r\n..x\r\nlast\r\n";
  fake.add(corpus::simple("one"), "first");
  fake.add(dots);
  tls_client client({.port = fake.port(), .tls = client_tls::none});
  EXPECT_EQ(client.read_line(), "+OK ready");
  EXPECT_THAT(client.pop3("CAPA", true), HasSubstr("\r\nUIDL\r\n"));
  EXPECT_THAT(client.pop3("STAT"), StartsWith("-ERR"));
  client.pop3("USER " + std::string(alice));
  EXPECT_THAT(client.pop3("PASS pw"), StartsWith("+OK"));
  EXPECT_EQ(client.pop3("STAT"), "+OK 2 " + std::to_string(corpus::simple("one").size() + dots.size()));
  EXPECT_THAT(client.pop3("UIDL", true), HasSubstr("1 first\r\n2 uidl-"));
  EXPECT_EQ(client.pop3("UIDL 1"), "+OK 1 first");
  EXPECT_THAT(client.pop3("LIST", true), HasSubstr("2 " + std::to_string(dots.size())));
  const std::string got = client.pop3("RETR 2", true);
  EXPECT_EQ(got.substr(got.find("\r\n") + 2), dots);
  const std::string top = client.pop3("TOP 2 1", true);
  EXPECT_EQ(top.substr(top.find("\r\n") + 2), "Subject: dots\r\n\r\n.\r\n");
  EXPECT_THAT(client.pop3("DELE 1"), StartsWith("+OK"));
  EXPECT_THAT(client.pop3("RETR 1"), StartsWith("-ERR"));
  EXPECT_EQ(fake.messages().size(), 2U) << "deleted at QUIT and not before";
  EXPECT_THAT(client.pop3("QUIT"), StartsWith("+OK"));
  EXPECT_TRUE(client.at_end());
  EXPECT_EQ(fake.messages().size(), 1U);
  EXPECT_EQ(fake.count_commands("RETR"), 2U);
}

TEST(pop3_fake, forgets_deletions_of_a_session_that_did_not_quit) {
  pop3_fake fake;
  fake.add(corpus::simple("one"));
  {
    auto client = signed_in(fake);
    client.pop3("DELE 1");
    EXPECT_EQ(fake.sessions(), 1U);
  }
  EXPECT_TRUE(wait_until([&] { return fake.sessions() == 0; }, 10s));
  EXPECT_EQ(fake.messages().size(), 1U);
}

TEST(pop3_fake, answers_pipelined_commands_in_order) {
  pop3_fake fake;
  for (int i = 0; i < 5; ++i) fake.add(corpus::simple("m" + std::to_string(i)));
  auto client = signed_in(fake);
  client.write("RETR 1\r\nRETR 2\r\nNOOP\r\nRETR 3\r\n");
  for (int i = 0; i < 4; ++i) {
    EXPECT_THAT(client.read_line(), StartsWith("+OK"));
    if (i == 2) continue;
    bool found = false;
    for (std::string line; (line = client.read_line()) != ".";) found = found || line == "Subject: m" + std::to_string(i == 3 ? 2 : i);
    EXPECT_TRUE(found) << i;
  }
}

TEST(pop3_fake, takes_tokens_in_one_line_or_only_in_two_steps) {
  pop3_fake_options options;
  options.passwords = {{alice, "pw"}};
  options.tokens = {{alice, {"good"}}};
  {
    pop3_fake fake(options);
    auto client = plain(fake.port());
    client.write("AUTH XOAUTH2 " + xoauth2_initial_response(alice, "bad") + "\r\n");
    EXPECT_THAT(client.read_line(), StartsWith("+ "));
    EXPECT_THAT(client.pop3(""), StartsWith("-ERR [AUTH]"));
    EXPECT_THAT(client.pop3("AUTH XOAUTH2 " + xoauth2_initial_response(alice, "good")), StartsWith("+OK"));
  }
  options.two_step_oauth = true;
  pop3_fake fake(options);
  auto client = plain(fake.port());
  EXPECT_THAT(client.pop3("AUTH XOAUTH2 " + xoauth2_initial_response(alice, "good")), StartsWith("-ERR Protocol error"));
  EXPECT_THAT(client.pop3("AUTH XOAUTH2"), StartsWith("+ "));
  EXPECT_THAT(client.pop3(xoauth2_initial_response(alice, "good")), StartsWith("+OK"));
  EXPECT_THAT(fake.logins(), ElementsAre(std::pair<std::string, std::string>(alice, "XOAUTH2")));
  auto other = plain(fake.port());
  other.pop3("USER " + std::string(alice));
  EXPECT_THAT(other.pop3("PASS wrong"), StartsWith("-ERR [AUTH]"));
}

TEST(pop3_fake, upgrades_by_stls) {
  const temp_dir dir;
  test_ca ca(dir.path());
  pop3_fake_options options;
  options.socket.tls = ca.issue();
  pop3_fake fake(options);
  tls_client client({.port = fake.port(), .tls = client_tls::none, .ca_file = ca.ca_file()});
  client.read_line();
  EXPECT_THAT(client.pop3("CAPA", true), HasSubstr("STLS"));
  EXPECT_THAT(client.pop3("STLS"), StartsWith("+OK"));
  client.start_tls();
  EXPECT_THAT(client.pop3("CAPA", true), Not(HasSubstr("STLS")));
}

// ---- faults, by the name of the scenario ----------------------------------------------------------------------------------------

TEST(pop3_fake_faults, maildrop_is_locked) {
  pop3_fake fake;
  auto first = signed_in(fake);
  auto second = plain(fake.port());
  second.pop3("USER x");
  EXPECT_THAT(second.pop3("PASS y"), StartsWith("-ERR [IN-USE]"));
}

TEST(pop3_fake_faults, logins_come_too_soon) {
  pop3_fake_options options;
  options.login_delay = 3600s;
  pop3_fake fake(options);
  {
    auto client = signed_in(fake);
    EXPECT_THAT(client.pop3("CAPA", true), HasSubstr("LOGIN-DELAY 3600"));
    client.pop3("QUIT");
  }
  auto again = plain(fake.port());
  again.pop3("USER " + std::string(alice));
  EXPECT_THAT(again.pop3("PASS pw"), StartsWith("-ERR [LOGIN-DELAY]"));
}

TEST(pop3_fake_faults, server_has_no_uidl_and_no_capa) {
  pop3_fake_options options;
  options.has_capa = false;
  options.has_uidl = false;
  pop3_fake fake(options);
  fake.add(corpus::simple("one"));
  auto client = signed_in(fake);
  EXPECT_THAT(client.pop3("CAPA", true), StartsWith("-ERR"));
  EXPECT_THAT(client.pop3("UIDL", true), StartsWith("-ERR"));
  EXPECT_THAT(client.pop3("TOP 1 0", true), HasSubstr("Subject: one"));
}

TEST(pop3_fake_faults, uidls_change_and_messages_vanish) {
  pop3_fake fake;
  const std::string first = fake.add(corpus::simple("one")), second = fake.add(corpus::simple("two"));
  fake.remove(first);
  fake.renumber();
  ASSERT_EQ(fake.messages().size(), 1U);
  EXPECT_NE(fake.messages()[0].first, second);
  EXPECT_EQ(fake.messages()[0].second, corpus::simple("two"));
}

TEST(pop3_fake_faults, commands_hang_break_off_and_lie) {
  pop3_fake fake;
  fake.add(std::string(10'000, 'x') + "\r\n");
  fake.on_command([](connection& c, const pop3_command& command) {
    if (command.name == "STAT") return verdict::hang;
    if (command.name == "LIST") return verdict::reset;
    if (command.name != "RETR") return verdict::normal;
    c.send("+OK 10002 octets\r\nxxxx");
    return verdict::close;
  });
  auto cut = signed_in(fake);
  cut.write("RETR 1\r\n");
  EXPECT_EQ(cut.read_line(), "+OK 10002 octets");
  EXPECT_EQ(cut.read_exact(4), "xxxx");
  EXPECT_TRUE(cut.at_end());
  ASSERT_TRUE(wait_until([&] { return fake.sessions() == 0; }, 10s));
  auto reset = signed_in(fake);
  reset.write("LIST\r\n");
  EXPECT_TRUE(reset.at_end());
  ASSERT_TRUE(wait_until([&] { return fake.sessions() == 0; }, 10s));
  auto hung = signed_in(fake, 100ms);
  EXPECT_THROW(hung.pop3("STAT"), peer_error);
}

TEST(pop3_fake_faults, everything_comes_in_pieces) {
  pop3_fake_options options;
  options.send_piece = 3;
  pop3_fake fake(options);
  fake.add(corpus::simple("one"));
  auto client = signed_in(fake);
  const std::string got = client.pop3("RETR 1", true);
  EXPECT_EQ(got.substr(got.find("\r\n") + 2), corpus::simple("one"));
}

}  // namespace
}  // namespace mailherd::peers::test
