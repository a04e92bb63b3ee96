// tests/protocol/imap: every way to sign in, and what must never happen on the way.
#include <gmock/gmock.h>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "tests/protocol/imap/script.hpp"

namespace mailherd::imap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

script greeted(std::string_view capabilities, engine_options options = {}) {
  script s(std::move(options));
  s.greet(capabilities);
  return s;
}

const std::string token_response = base64_encode(
    "user=joe@x.test\x01"
    "auth=Bearer the-token\x01\x01");

TEST(login, plain_with_and_without_an_initial_response) {
  auto s = greeted("IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN");
  ASSERT_TRUE(s.engine.login(password_of()));
  EXPECT_EQ(s.sent(), "A1 AUTHENTICATE PLAIN AGpvZQBodW50ZXIy\r\n");
  EXPECT_THAT(s.server("A1 OK\r\n"), ElementsAre("logged_in 1 PLAIN"));
  auto two = greeted("IMAP4rev1 AUTH=PLAIN");
  ASSERT_TRUE(two.engine.login(password_of()));
  EXPECT_EQ(two.sent(), "A1 AUTHENTICATE PLAIN\r\n");
  EXPECT_THAT(two.server("+ \r\n"), IsEmpty());
  EXPECT_EQ(two.sent(), "AGpvZQBodW50ZXIy\r\n");
  EXPECT_THAT(two.server("A1 OK\r\n"), ElementsAre("logged_in 1 PLAIN"));
  auto bare = greeted("IMAP4rev1 AUTH=PLAIN");
  bare.engine.login(password_of());
  bare.sent();
  bare.server("+\r\n");
  EXPECT_EQ(bare.sent(), "AGpvZQBodW50ZXIy\r\n") << "a \"+\" without its blank";
}

TEST(login, a_long_initial_response_waits_for_the_server) {
  auto s = greeted("IMAP4rev1 SASL-IR AUTH=XOAUTH2");
  auto who = token_of();
  who.access_token = secret<>(std::string(6'000, 't'));
  s.engine.login(who);
  EXPECT_EQ(s.sent(), "A1 AUTHENTICATE XOAUTH2\r\n") << "command lines end at 8 KB (RFC 7162, 4)";
  s.server("+ \r\n");
  EXPECT_EQ(s.sent(), base64_encode("user=joe@x.test\x01"
                                    "auth=Bearer " +
                                    std::string(6'000, 't') + "\x01\x01") +
                          "\r\n");
}

TEST(login, mechanism_login_asks_twice) {
  auto s = greeted("IMAP4rev1 SASL-IR AUTH=LOGIN");
  s.engine.login(password_of());
  EXPECT_EQ(s.sent(), "A1 AUTHENTICATE LOGIN\r\n");
  s.server("+ " + base64_encode("Username:") + "\r\n");
  EXPECT_EQ(s.sent(), base64_encode("joe") + "\r\n");
  s.server("+ " + base64_encode("Password:") + "\r\n");
  EXPECT_EQ(s.sent(), base64_encode("hunter2") + "\r\n");
  EXPECT_THAT(s.server("A1 OK\r\n"), ElementsAre("logged_in 1 LOGIN"));
}

TEST(login, the_command_where_no_mechanism_fits) {
  auto s = greeted("IMAP4rev1");
  s.engine.login(password_of("joe", "a \"b\" \\c"));
  EXPECT_EQ(s.sent(), "A1 LOGIN \"joe\" \"a \\\"b\\\" \\\\c\"\r\n");
  EXPECT_THAT(s.server("A1 OK\r\n"), ElementsAre("logged_in 1 LOGIN"));
  auto unknown = greeted("IMAP4rev1 AUTH=KERBEROS_V4");
  unknown.engine.login(password_of("NIL"));
  EXPECT_EQ(unknown.sent(), "A1 LOGIN \"NIL\" \"hunter2\"\r\n");
  script untold;
  untold.server("* OK ready\r\n");
  untold.engine.login(password_of());
  EXPECT_EQ(untold.sent(), "A1 LOGIN \"joe\" \"hunter2\"\r\n");
}

TEST(login, the_command_carries_any_password) {
  auto s = greeted("IMAP4rev1");
  s.engine.login(password_of("jöe", "pä ss"));
  EXPECT_EQ(s.sent(), "A1 LOGIN {4}\r\n");
  s.server("+ go on\r\n");
  EXPECT_EQ(s.sent(), "jöe {6}\r\n");
  s.server("+ go on\r\n");
  EXPECT_EQ(s.sent(), "pä ss\r\n");
  EXPECT_THAT(s.server("A1 OK\r\n"), ElementsAre("logged_in 1 LOGIN"));
  auto plus = greeted("IMAP4rev1 LITERAL+");
  plus.engine.login(password_of("jöe"));
  EXPECT_EQ(plus.sent(), "A1 LOGIN {4+}\r\njöe \"hunter2\"\r\n");
  for (const std::string& bad : {std::string("a\0b", 3), std::string("a\r\nA2 LOGOUT")}) {
    auto refused = greeted("IMAP4rev1");
    EXPECT_EQ(refused.engine.login(password_of("joe", bad)).error().code, failure::invalid_input);
    EXPECT_EQ(refused.sent(), "");
  }
}

TEST(login, the_command_wants_no_challenge) {
  auto s = greeted("IMAP4rev1");
  s.engine.login(password_of());
  s.sent();
  EXPECT_THAT(s.server("+ what else?\r\n"), ElementsAre("failed protocol_violation"));
}

TEST(login, no_name_breaks_out_of_its_line) {
  for (const std::string& user : {std::string("joe\r\nA2 LOGOUT"), std::string("joe\n"), std::string("a\0b", 3), std::string()})
    for (const char* offered : {"IMAP4rev1", "IMAP4rev1 AUTH=PLAIN", "IMAP4rev1 AUTH=XOAUTH2"}) {
      auto s = greeted(offered);
      const auto r = s.engine.login(std::string_view(offered).ends_with("XOAUTH2") ? token_of(user) : password_of(user));
      ASSERT_FALSE(r) << offered;
      EXPECT_EQ(to_string(r.error().code), "invalid_input");
      EXPECT_EQ(s.sent(), "");
    }
}

TEST(login, nothing_goes_in_the_clear_unless_allowed) {
  for (const char* offered : {"IMAP4rev1", "IMAP4rev1 AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2"}) {
    auto s = greeted(offered, {.encrypted = false});
    EXPECT_EQ(s.engine.login(password_of()).error().code, failure::mechanism_missing);
    EXPECT_EQ(s.engine.login(token_of()).error().code, failure::mechanism_missing);
    EXPECT_EQ(s.sent(), "");
    auto allowed = greeted(offered, {.encrypted = false, .allow_unencrypted = true});
    EXPECT_TRUE(allowed.engine.login(password_of()));
  }
  auto scram = greeted("IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=SCRAM-SHA-256", {.encrypted = false});
  EXPECT_TRUE(scram.engine.login(password_of()));
  EXPECT_THAT(scram.sent(), HasSubstr("AUTHENTICATE SCRAM-SHA-256 "));
}

TEST(login, passwords_switched_off_are_named) {
  auto oauth_only = greeted("IMAP4rev1 AUTH=XOAUTH2");
  EXPECT_EQ(oauth_only.engine.login(password_of()).error().code, failure::login_disabled);
  auto disabled = greeted("IMAP4rev1 LOGINDISABLED");
  EXPECT_EQ(disabled.engine.login(password_of()).error().code, failure::login_disabled);
  EXPECT_EQ(disabled.sent(), "");
  auto token = greeted("IMAP4rev1 AUTH=PLAIN");
  EXPECT_EQ(token.engine.login(token_of()).error().code, failure::mechanism_missing);
}

TEST(login, a_token_by_xoauth2_or_oauthbearer) {
  auto s = greeted("IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER");
  s.engine.login(token_of());
  EXPECT_EQ(s.sent(), "A1 AUTHENTICATE XOAUTH2 " + token_response + "\r\n");
  EXPECT_THAT(s.server("A1 OK in\r\n"), ElementsAre("logged_in 1 XOAUTH2"));
  auto bearer = greeted("IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH=OAUTHBEARER", {.prefer_oauthbearer = true});
  bearer.engine.login(token_of());
  EXPECT_THAT(bearer.sent(), HasSubstr("A1 AUTHENTICATE OAUTHBEARER "));
  EXPECT_THAT(bearer.server("A1 OK in\r\n"), ElementsAre("logged_in 1 OAUTHBEARER"));
}

TEST(login, an_error_challenge_is_answered_and_remembered) {
  auto s = greeted("IMAP4rev1 SASL-IR AUTH=XOAUTH2");
  s.engine.login(token_of());
  s.sent();
  EXPECT_THAT(s.server("+ " + base64_encode(R"({"status":"401","schemes":"Bearer","scope":"https://mail.google.com/"})") + "\r\n"),
              IsEmpty());
  EXPECT_EQ(s.sent(), "\r\n");
  EXPECT_THAT(s.server("A1 NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n"), ElementsAre("refused 1 login token_rejected"));
  EXPECT_THAT(s.reason.detail, HasSubstr("status 401"));
  EXPECT_THAT(s.reason.detail, HasSubstr("[AUTHENTICATIONFAILED] Invalid credentials"));
  EXPECT_FALSE(s.engine.authenticated());

  auto bearer = greeted("IMAP4rev1 SASL-IR AUTH=OAUTHBEARER");
  bearer.engine.login(token_of());
  bearer.sent();
  bearer.server("+ " + base64_encode(R"({"status":"invalid_token"})") + "\r\n");
  EXPECT_EQ(bearer.sent(), base64_encode("\x01") + "\r\n");
  EXPECT_THAT(bearer.server("A1 NO no\r\n"), ElementsAre("refused 1 login token_rejected"));
  EXPECT_THAT(bearer.reason.detail, HasSubstr("invalid_token"));
}

TEST(login, refused_without_a_reason_as_exchange_does) {
  auto s = greeted("IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+");
  s.engine.login(token_of());
  EXPECT_THAT(s.server("A1 NO AUTHENTICATE failed.\r\n"), ElementsAre("refused 1 login token_rejected"));
  EXPECT_TRUE(s.engine.login(token_of())) << "another try on the same connection is the caller's to decide";
  EXPECT_THAT(s.server("A2 NO Request is throttled. Suggested Backoff Time: 299910 milliseconds\r\n"),
              ElementsAre("refused 2 login throttled"));
  EXPECT_EQ(s.reason.retry_at, test_now + milliseconds(299910));
}

TEST(login, an_acceptance_before_the_end_is_no_acceptance) {
  auto s = greeted("IMAP4rev1 AUTH=SCRAM-SHA-256");
  s.engine.login(password_of());
  EXPECT_THAT(s.server("A1 OK come in\r\n"), ElementsAre("failed protocol_violation")) << "the server has proven nothing";
  auto refused = greeted("IMAP4rev1 SASL-IR AUTH=XOAUTH2");
  refused.engine.login(token_of());
  refused.server("+ e30=\r\n");
  EXPECT_THAT(refused.server("A1 OK after an error\r\n"), ElementsAre("failed protocol_violation"));
  auto withdrawn = greeted("IMAP4rev1 AUTH=LOGIN");
  withdrawn.engine.login(password_of());
  withdrawn.server("+ !!!\r\n");
  EXPECT_THAT(withdrawn.server("A1 OK all the same\r\n"), ElementsAre("failed protocol_violation"));
  EXPECT_THAT(withdrawn.reason.detail, HasSubstr("base64")) << "the reason is why we withdrew";
}

TEST(login, scram_proves_both_sides) {
  const std::string nonce = "rOprNGfwEbeRWgbNEkqO";
  const auto start = [&] {
    auto s = greeted("IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN", {.encrypted = false, .scram_nonce = nonce});
    s.engine.login(password_of("user", "pencil"));
    EXPECT_EQ(s.sent(), "A1 AUTHENTICATE SCRAM-SHA-256 " + base64_encode("n,,n=user,r=" + nonce) + "\r\n");
    s.server("+ " + base64_encode("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096") + "\r\n");
    EXPECT_EQ(s.sent(),
              base64_encode("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=") +
                  "\r\n");
    return s;
  };
  auto good = start();
  good.server("+ " + base64_encode("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") + "\r\n");
  EXPECT_EQ(good.sent(), "\r\n");
  EXPECT_THAT(good.server("A1 OK\r\n"), ElementsAre("logged_in 1 SCRAM-SHA-256"));
  auto skipped = start();
  EXPECT_THAT(skipped.server("A1 OK trust me\r\n"), ElementsAre("failed protocol_violation"));
  auto wrong = start();
  EXPECT_THAT(wrong.server("+ " + base64_encode("v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") + "\r\n"), IsEmpty());
  EXPECT_EQ(wrong.sent(), "*\r\n");
  EXPECT_THAT(wrong.server("A1 BAD cancelled\r\n"), ElementsAre("refused 1 login protocol_violation"))
      << "the reason is ours, not the server's";
}

TEST(login, challenges_that_are_no_base64_withdraw_once) {
  auto s = greeted("IMAP4rev1 AUTH=LOGIN");
  s.engine.login(password_of());
  s.sent();
  EXPECT_THAT(s.server("+ !!!\r\n"), IsEmpty());
  EXPECT_EQ(s.sent(), "*\r\n");
  EXPECT_THAT(s.server("+ VXNlcm5hbWU6\r\n"), ElementsAre("failed protocol_violation")) << "it goes on asking: nothing more is said";
  EXPECT_EQ(s.sent(), "");
}

TEST(login, a_challenge_has_a_limit) {
  auto s = greeted("IMAP4rev1 AUTH=LOGIN");
  s.engine.login(password_of());
  EXPECT_THAT(s.server("+ " + std::string(limits::sasl_challenge_bytes * 4 / 3 + 8, 'A') + "\r\n"), ElementsAre("failed limit_exceeded"));
}

TEST(login, what_a_server_repeats_stays_secret) {
  for (const std::string echo : {"LOGIN joe hunter2", "AUTHENTICATE PLAIN AGpvZQBodW50ZXIy", "\"AGpvZQBodW50ZXIy\"", "HUNTER2"}) {
    for (const std::string status : {"A1 BAD ", "A1 NO ", "* BYE ", "A1 NO [hunter2] "}) {
      auto s = greeted("IMAP4rev1 SASL-IR AUTH=PLAIN");
      s.engine.login(password_of());
      s.server(status + "unknown command " + echo + "\r\n");
      ASSERT_FALSE(s.reason.detail.empty());
      EXPECT_THAT(s.reason.detail, Not(HasSubstr("unter2"))) << status << echo;
      EXPECT_THAT(s.reason.detail, Not(HasSubstr("AGpvZQ")));
    }
    auto alert = greeted("IMAP4rev1 SASL-IR AUTH=PLAIN");
    alert.engine.login(password_of());
    EXPECT_THAT(alert.server("* NO [ALERT] " + echo + "\r\n"), IsEmpty());
  }
  auto token = greeted("IMAP4rev1 SASL-IR AUTH=XOAUTH2");
  token.engine.login(token_of());
  token.server("A1 BAD AUTHENTICATE XOAUTH2 " + token_response + "\r\n");
  EXPECT_THAT(token.reason.detail, Not(HasSubstr(token_response)));
  auto in_challenge = greeted("IMAP4rev1 SASL-IR AUTH=XOAUTH2");
  in_challenge.engine.login(token_of());
  in_challenge.server("+ " + base64_encode(R"({"status":"the-token"})") + "\r\nA1 NO x\r\n");
  EXPECT_THAT(in_challenge.reason.detail, Not(HasSubstr("the-token")));
}

TEST(login, words_count_although_they_hold_the_password) {
  auto s = greeted("IMAP4rev1 SASL-IR AUTH=PLAIN");
  s.engine.login(password_of("joe", "password"));
  EXPECT_THAT(s.server("A1 NO [ALERT] Application-specific password required\r\n"), ElementsAre("refused 1 login login_disabled"));
}

TEST(login, goodbye_in_the_middle_says_why) {
  auto s = greeted("IMAP4rev1 SASL-IR AUTH=PLAIN");
  s.engine.login(password_of());
  EXPECT_THAT(s.server("* BYE [LIMIT] too many logins\r\n"), ElementsAre("bye throttled"));
  auto t = greeted("IMAP4rev1 SASL-IR AUTH=PLAIN");
  t.engine.login(password_of());
  EXPECT_THAT(t.server("* BYE Server shutting down\r\n"), ElementsAre("bye server_bye")) << "says nothing about the password";
}

}  // namespace
}  // namespace mailherd::imap
