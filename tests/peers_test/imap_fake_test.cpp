// tests/peers_test/imap_fake: one dialogue each, and every fault that scenarios rely on.
#include <optional>

#include "core/base64.hpp"
#include "support.hpp"
#include "tests/corpus/corpus.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/imap_fake.hpp"

namespace mailherd::peers::test {
namespace {

constexpr const char* alice = "alice@acme.test";

/// Signed in, INBOX selected.
tls_client selected(imap_fake& fake, std::chrono::milliseconds timeout = 20s) {
  tls_client client({.port = fake.port(), .tls = client_tls::none, .timeout = timeout});
  client.read_line();
  EXPECT_THAT(sign_in(client, alice, "pw"), HasSubstr("a1 OK"));
  EXPECT_THAT(client.imap("a2", "SELECT INBOX"), HasSubstr("a2 OK"));
  return client;
}

TEST(imap_fake, holds_a_whole_dialogue) {
  imap_fake fake;
  fake.add(corpus::simple("one"));
  fake.add(corpus::simple("two"));
  tls_client client({.port = fake.port(), .tls = client_tls::none});
  EXPECT_THAT(client.read_line(), StartsWith("* OK [CAPABILITY IMAP4rev1"));
  EXPECT_THAT(client.imap("c", "CAPABILITY"), HasSubstr("AUTH=OAUTHBEARER"));
  EXPECT_THAT(client.imap("i", "ID NIL"), HasSubstr("* ID"));
  EXPECT_THAT(client.imap("s", "SELECT INBOX"), HasSubstr("s BAD"));
  EXPECT_THAT(sign_in(client, alice, "pw"), HasSubstr("a1 OK [CAPABILITY"));
  EXPECT_THAT(client.imap("l", "LIST \"\" *"), HasSubstr("\"INBOX\""));
  EXPECT_THAT(client.imap("t", "STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)"), HasSubstr("MESSAGES 2 UIDNEXT 3"));
  const std::string answer = client.imap("s", "SELECT INBOX");
  EXPECT_THAT(answer, HasSubstr("* 2 EXISTS"));
  EXPECT_THAT(answer, HasSubstr("[UIDNEXT 3]"));
  EXPECT_THAT(client.imap("h", "UID SEARCH ALL"), HasSubstr("* SEARCH 1 2\r\n"));
  EXPECT_THAT(client.imap("f", "UID FETCH 1:* (UID RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (SUBJECT)])"),
              HasSubstr("Subject: two"));
  EXPECT_THAT(fetch_all(client), ElementsAre(corpus::simple("one"), corpus::simple("two")));
  EXPECT_THAT(client.imap("p", "UID FETCH 1 BODY.PEEK[]<5.4>"), HasSubstr("BODY[]<5> {4}\r\n" + corpus::simple("one").substr(5, 4)));
  client.imap("d", "UID STORE 1 +FLAGS.SILENT (\\Deleted)");
  EXPECT_THAT(client.imap("u", "UID EXPUNGE 1"), HasSubstr("* 1 EXPUNGE"));
  EXPECT_THAT(client.imap("m", "UID MOVE 2 Archive"), HasSubstr("* 1 EXPUNGE"));
  EXPECT_EQ(fake.messages("Archive").size(), 1U);
  EXPECT_TRUE(fake.messages().empty());
  EXPECT_THAT(client.imap("o", "LOGOUT"), HasSubstr("* BYE"));
  EXPECT_TRUE(client.at_end());
  EXPECT_THAT(fake.logins(), ElementsAre(std::pair<std::string, std::string>(alice, "LOGIN")));
  EXPECT_EQ(fake.count_commands("UID FETCH"), 3U);
  EXPECT_TRUE(fake.server().problems().empty()) << fake.server().problems().front();
}

TEST(imap_fake, takes_literals_and_sees_flags_as_the_client_sets_them) {
  imap_fake fake;
  const auto uid = fake.add(corpus::simple("one"));
  tls_client client({.port = fake.port(), .tls = client_tls::none});
  client.read_line();
  client.write("a1 LOGIN {15}\r\n");
  EXPECT_THAT(client.read_line(), StartsWith("+"));
  client.write(std::string(alice) + " {2+}\r\npw\r\n");
  EXPECT_THAT(client.read_line(), HasSubstr("a1 OK"));
  client.imap("a2", "SELECT INBOX");
  EXPECT_TRUE(fake.messages()[0].flags.empty());
  client.imap("f", "UID FETCH " + std::to_string(uid) + " BODY.PEEK[]");
  EXPECT_TRUE(fake.messages()[0].flags.empty()) << "PEEK does not set \\Seen";
  client.imap("f", "UID FETCH " + std::to_string(uid) + " BODY[]");
  EXPECT_EQ(fake.messages()[0].flags.count("\\Seen"), 1U);
}

TEST(imap_fake, checks_passwords_and_tokens_when_given) {
  imap_fake_options options;
  options.passwords = {{alice, "pw"}};
  options.tokens = {{alice, {"good"}}};
  imap_fake fake(options);
  auto client = plain(fake.port());
  EXPECT_THAT(sign_in(client, alice, "wrong"), HasSubstr("a1 NO [AUTHENTICATIONFAILED]"));
  std::string challenge;
  EXPECT_THAT(authenticate(client, "XOAUTH2", xoauth2_initial_response(alice, "bad"), &challenge), StartsWith("a1 NO"));
  EXPECT_THAT(base64_decode(challenge).value_or(""), HasSubstr("\"status\":\"401\""));
  EXPECT_THAT(authenticate(client, "XOAUTH2", xoauth2_initial_response(alice, "good")), StartsWith("a1 OK"));
  fake.set_tokens({{alice, {"better"}}});
  auto other = plain(fake.port());
  const auto bearer = [](const std::string& token) {
    return base64_encode("n,a=" + std::string(alice) + ",\x01" + "auth=Bearer " + token + "\x01\x01");
  };
  EXPECT_THAT(authenticate(other, "OAUTHBEARER", bearer("good")), StartsWith("a1 NO"));
  EXPECT_THAT(authenticate(other, "OAUTHBEARER", bearer("better")), StartsWith("a1 OK"));
  auto third = plain(fake.port());
  EXPECT_THAT(authenticate(third, "PLAIN", base64_encode(std::string("\0alice@acme.test\0pw", 19))), StartsWith("a1 OK"));
}

TEST(imap_fake, upgrades_by_starttls) {
  const temp_dir dir;
  test_ca ca(dir.path());
  imap_fake_options options;
  options.socket.tls = ca.issue();
  imap_fake fake(options);
  tls_client client({.port = fake.port(), .tls = client_tls::none, .ca_file = ca.ca_file()});
  EXPECT_THAT(client.read_line(), HasSubstr("STARTTLS"));
  EXPECT_THAT(client.imap("s", "STARTTLS"), HasSubstr("s OK"));
  client.start_tls();
  EXPECT_THAT(client.imap("c", "CAPABILITY"), Not(HasSubstr("STARTTLS")));
}

TEST(imap_fake, tells_idle_sessions_what_changes) {
  imap_fake fake;
  const auto uid = fake.add(corpus::simple("one"));
  auto client = selected(fake);
  client.write("i IDLE\r\n");
  EXPECT_THAT(client.read_line(), StartsWith("+"));
  ASSERT_TRUE(fake.wait_idling(1));
  fake.add(corpus::simple("two"));
  EXPECT_EQ(client.read_line(), "* 2 EXISTS");
  fake.set_flags(uid, {"\\Seen"});
  EXPECT_THAT(client.read_line(), HasSubstr("FETCH (UID 1 FLAGS (\\Seen))"));
  fake.expunge(uid);
  EXPECT_EQ(client.read_line(), "* 1 EXPUNGE");
  client.write("DONE\r\n");
  EXPECT_THAT(client.read_line(), HasSubstr("i OK"));
  EXPECT_EQ(fake.idling(), 0U);
}

// ---- faults, by the name of the scenario ----------------------------------------------------------------------------------------

/// What the client gets is silence, and the connection stays.
void expect_silence(tls_client& client) {
  try {
    const std::string line = client.read_line();
    ADD_FAILURE() << "the server said " << line;
  } catch (const peer_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("nothing came in time"));
  }
}

TEST(imap_fake_faults, banner_hangs) {
  scripted_server silent([](connection& c) { c.hang(); });
  tls_client client({.port = silent.port(), .tls = client_tls::none, .timeout = 100ms});
  expect_silence(client);
  imap_fake_options options;
  options.greeting = "* BYE too busy";
  imap_fake busy(options);
  tls_client other({.port = busy.port(), .tls = client_tls::none});
  EXPECT_EQ(other.read_line(), "* BYE too busy");
}

TEST(imap_fake_faults, login_hangs_and_goes_on_when_released) {
  imap_fake fake;
  fake.on_command([](connection&, const imap_command& command) { return command.name == "LOGIN" ? verdict::hang : verdict::normal; });
  tls_client client({.port = fake.port(), .tls = client_tls::none, .timeout = 100ms});
  client.read_line();
  client.write("a1 LOGIN x y\r\n");
  expect_silence(client);
  fake.server().release();
  client.write("n NOOP\r\n");
  EXPECT_THAT(client.read_line(), HasSubstr("n OK"));
}

TEST(imap_fake_faults, literal_announces_two_gigabytes) {
  imap_fake fake;
  fake.add(corpus::simple("one"));
  fake.on_fetch([](const imap_command&, const fake_message& message) {
    return "* 1 FETCH (UID " + std::to_string(message.uid) + " BODY[] {2147483648}\r\nonly these";
  });
  auto client = selected(fake);
  client.write("f UID FETCH 1 BODY.PEEK[]\r\n");
  EXPECT_EQ(client.read_line(), "* 1 FETCH (UID 1 BODY[] {2147483648}");
  EXPECT_EQ(client.read_exact(10), "only these");
}

TEST(imap_fake_faults, bye_in_mid_literal) {
  imap_fake fake;
  fake.add(std::string(10'000, 'x'));
  fake.on_command([](connection& c, const imap_command& command) {
    if (command.name != "UID FETCH") return verdict::normal;
    c.send("* 1 FETCH (UID 1 BODY[] {10000}\r\n" + std::string(5'000, 'x'));
    c.send("* BYE going down\r\n");
    return verdict::close;
  });
  auto client = selected(fake);
  client.write("f UID FETCH 1 BODY.PEEK[]\r\n");
  client.read_line();
  client.read_exact(5'000);
  EXPECT_EQ(client.read_line(), "* BYE going down");
  EXPECT_TRUE(client.at_end());
}

TEST(imap_fake_faults, connection_is_reset_in_the_middle_of_a_command) {
  imap_fake fake;
  fake.on_command([](connection&, const imap_command& command) { return command.name == "NOOP" ? verdict::reset : verdict::normal; });
  auto client = selected(fake);
  client.write("n NOOP\r\n");
  EXPECT_TRUE(client.at_end());
}

TEST(imap_fake_faults, uid_validity_changes_between_two_sessions) {
  imap_fake fake;
  fake.add(corpus::simple("one"));
  const auto gone = fake.add(corpus::simple("two"));
  fake.add(corpus::simple("three"));
  fake.expunge(gone);
  const auto before = fake.uid_validity();
  auto client = selected(fake);
  EXPECT_THAT(client.imap("h", "UID SEARCH ALL"), HasSubstr("* SEARCH 1 3\r\n"));
  fake.set_uid_validity(before + 7);
  const std::string answer = client.imap("s", "SELECT INBOX");
  EXPECT_THAT(answer, HasSubstr("[UIDVALIDITY " + std::to_string(before + 7) + "]"));
  EXPECT_THAT(answer, HasSubstr("[UIDNEXT 3]"));
  EXPECT_THAT(client.imap("h", "UID SEARCH ALL"), HasSubstr("* SEARCH 1 2\r\n"));
  EXPECT_THAT(fetch_all(client), ElementsAre(corpus::simple("one"), corpus::simple("three")));
}

TEST(imap_fake_faults, idle_is_a_black_hole) {
  imap_fake_options options;
  options.idle_silent = true;
  imap_fake fake(options);
  auto client = selected(fake, 100ms);
  client.write("i IDLE\r\n");
  client.read_line();
  fake.add(corpus::simple("unseen"));
  expect_silence(client);
  client.write("DONE\r\n");
  EXPECT_THAT(client.read_line(), HasSubstr("i OK"));
  EXPECT_THAT(client.imap("n", "NOOP"), HasSubstr("* 1 EXISTS"));
}

TEST(imap_fake_faults, exists_lies) {
  imap_fake fake;
  fake.add(corpus::simple("one"));
  fake.lie_about_exists(41);
  auto client = plain(fake.port());
  sign_in(client, alice, "pw");
  EXPECT_THAT(client.imap("s", "SELECT INBOX"), HasSubstr("* 42 EXISTS"));
  EXPECT_THAT(client.imap("h", "UID SEARCH ALL"), HasSubstr("* SEARCH 1\r\n"));
  fake.lie_about_exists(-1);
  EXPECT_THAT(client.imap("s", "SELECT INBOX"), HasSubstr("* 0 EXISTS"));
}

TEST(imap_fake_faults, size_lies) {
  imap_fake fake;
  fake.claim_size(fake.add(corpus::simple("one")), 7);
  auto client = selected(fake);
  EXPECT_THAT(client.imap("f", "UID FETCH 1 RFC822.SIZE"), HasSubstr("RFC822.SIZE 7"));
}

TEST(imap_fake_faults, mailbox_is_empty_and_is_emptied_under_the_client) {
  imap_fake fake;
  auto client = selected(fake);
  EXPECT_THAT(client.imap("h", "UID SEARCH ALL"), HasSubstr("* SEARCH\r\n"));
  EXPECT_THAT(client.imap("f", "UID FETCH 1:* (UID)"), Not(HasSubstr("FETCH (")));
  const auto uid = fake.add(corpus::simple("one"));
  EXPECT_THAT(client.imap("n", "NOOP"), HasSubstr("* 1 EXISTS"));
  fake.expunge(uid);
  const std::string answer = client.imap("f", "UID FETCH " + std::to_string(uid) + " BODY.PEEK[]");
  EXPECT_THAT(answer, Not(HasSubstr("BODY[]")));
  EXPECT_THAT(answer, HasSubstr("f OK"));
  EXPECT_THAT(client.imap("n", "NOOP"), HasSubstr("* 1 EXPUNGE"));
}

TEST(imap_fake_faults, folder_disappears) {
  imap_fake fake;
  fake.add(corpus::simple("one"), "Archive");
  auto client = selected(fake);
  EXPECT_THAT(client.imap("s", "SELECT Archive"), HasSubstr("s OK"));
  fake.remove_folder("Archive");
  EXPECT_THAT(client.imap("s", "SELECT Archive"), HasSubstr("s NO [NONEXISTENT]"));
}

TEST(imap_fake_faults, too_many_sessions_are_refused_by_no_or_by_bye) {
  imap_fake_options options;
  options.max_connections_per_user = 1;
  imap_fake fake(options);
  {
    auto first = selected(fake);
    auto second = plain(fake.port());
    EXPECT_THAT(sign_in(second, alice, "pw"), HasSubstr("a1 NO [LIMIT]"));
    EXPECT_THAT(sign_in(second, "bob@acme.test", "pw"), HasSubstr("a1 OK"));
  }
  EXPECT_TRUE(wait_until([&] { return fake.server().active() == 0; }, 10s));
  selected(fake);
}

TEST(imap_fake_faults, token_expires_under_an_idle_session) {
  imap_fake fake;
  auto client = selected(fake);
  client.write("i IDLE\r\n");
  client.read_line();
  ASSERT_TRUE(fake.wait_idling(1));
  fake.push("* BYE Session invalidated - AccessTokenExpired", true);
  EXPECT_EQ(client.read_line(), "* BYE Session invalidated - AccessTokenExpired");
  EXPECT_TRUE(client.at_end());
}

TEST(imap_fake_faults, everything_comes_in_single_bytes) {
  imap_fake_options options;
  options.send_piece = 1;
  imap_fake fake(options);
  fake.add(corpus::simple("one"));
  auto client = selected(fake);
  EXPECT_THAT(fetch_all(client), ElementsAre(corpus::simple("one")));
}

TEST(imap_fake_faults, certificate_is_expired_or_of_another_host) {
  const temp_dir dir;
  test_ca ca(dir.path());
  for (const cert_kind kind : {cert_kind::expired, cert_kind::wrong_host}) {
    imap_fake_options options;
    options.socket.tls = ca.issue(kind);
    options.socket.implicit_tls = true;
    imap_fake fake(options);
    EXPECT_THROW(tls_client({.port = fake.port(), .ca_file = ca.ca_file()}), peer_error);
  }
}

}  // namespace
}  // namespace mailherd::peers::test
