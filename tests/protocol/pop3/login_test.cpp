// tests/protocol/pop3: every way to sign in, and what must never happen on the way.
#include <gmock/gmock.h>
#include <openssl/evp.h>

#include "core/base64.hpp"
#include "tests/protocol/pop3/script.hpp"

namespace mailherd::pop3 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

sasl::credentials password(const std::string& word = "tanstaaf", const std::string& user = "mrose") {
  sasl::credentials c;
  c.username = user;
  c.password = secret<>(word);
  return c;
}

sasl::credentials token() {
  sasl::credentials c;
  c.type = auth_type::oauth2;
  c.username = "joe@x.test";
  c.access_token = secret<>(std::string("the-token"));
  return c;
}

script with_capabilities(std::string_view lines, engine_options options = {}, std::string_view greeting = "+OK ready\r\n") {
  script s(std::move(options));
  s.server(greeting);
  s.engine.capa();
  s.server(fmt::format("+OK\r\n{}.\r\n", lines));
  s.sent();
  return s;
}

const std::string rfc_greeting = "+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n";
const std::string rfc_apop = "APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n";

TEST(login, user_and_pass_without_capa) {
  script s;
  s.server("+OK\r\n");
  ASSERT_TRUE(s.engine.login(password()));
  EXPECT_EQ(s.sent(), "USER mrose\r\n");
  EXPECT_THAT(s.server("+OK send PASS\r\n"), IsEmpty());
  EXPECT_EQ(s.sent(), "PASS tanstaaf\r\n");
  EXPECT_THAT(s.server("+OK\r\n"), ElementsAre("logged_in 1 USER"));
}

TEST(login, a_refused_user_never_sends_the_password) {
  script s;
  s.server("+OK\r\n");
  s.engine.login(password());
  s.sent();
  EXPECT_THAT(s.server("-ERR never heard of mrose\r\n"), ElementsAre("refused 1 login 0 login_rejected"));
  EXPECT_EQ(s.sent(), "");
  EXPECT_FALSE(s.engine.failed());
  EXPECT_TRUE(s.engine.login(password())) << "another try is the caller's to decide";
}

TEST(login, apop_is_rfc_1939s_when_nothing_protects_the_password) {
  auto s = with_capabilities("USER\r\n", engine_options{.encrypted = false}, rfc_greeting);
  ASSERT_TRUE(s.engine.login(password()));
  EXPECT_EQ(s.sent(), rfc_apop);
  EXPECT_THAT(s.server("+OK maildrop has 1 message\r\n"), ElementsAre("logged_in 2 APOP"));
}

TEST(login, apop_steps_back_behind_tls) {
  auto s = with_capabilities("USER\r\n", {}, rfc_greeting);
  s.engine.login(password());
  EXPECT_EQ(s.sent(), "USER mrose\r\n");
  auto only = with_capabilities("", {}, rfc_greeting);
  only.engine.login(password());
  EXPECT_EQ(only.sent(), rfc_apop);
}

TEST(login, loose_timestamps_are_not_signed) {
  for (const char* bad :
       {"+OK <>\r\n", "+OK <@>\r\n", "+OK <a b@c>\r\n", "+OK <a@b@c>\r\n", "+OK <a\xFF@b>\r\n", "+OK <noat>\r\n", "+OK <a@b\r\n"}) {
    script s(engine_options{.encrypted = false});
    EXPECT_THAT(s.server(bad), ElementsAre("greeted")) << bad;
  }
}

TEST(login, a_timestamp_from_before_tls_is_forgotten) {
  script s(engine_options{.encrypted = false});
  s.server(rfc_greeting);
  s.engine.stls();
  s.server("+OK\r\n");
  ASSERT_TRUE(s.engine.tls_started());
  s.sent();
  s.engine.login(password());
  EXPECT_EQ(s.sent(), "USER mrose\r\n");
}

TEST(login, nothing_goes_in_the_clear_unless_allowed) {
  auto s = with_capabilities("USER\r\nSASL PLAIN LOGIN XOAUTH2\r\n", engine_options{.encrypted = false});
  EXPECT_EQ(s.engine.login(password()).error().code, failure::mechanism_missing);
  EXPECT_EQ(s.engine.login(token()).error().code, failure::mechanism_missing);
  EXPECT_EQ(s.sent(), "");
  auto allowed = with_capabilities("USER\r\n", engine_options{.encrypted = false, .allow_unencrypted = true});
  EXPECT_TRUE(allowed.engine.login(password()));
  auto scram = with_capabilities("USER\r\nSASL PLAIN SCRAM-SHA-256\r\n", engine_options{.encrypted = false});
  EXPECT_TRUE(scram.engine.login(password()));
  EXPECT_THAT(scram.sent(), HasSubstr("AUTH SCRAM-SHA-256 "));
}

TEST(login, passwords_switched_off_are_named) {
  auto s = with_capabilities("SASL XOAUTH2\r\n");
  EXPECT_EQ(s.engine.login(password()).error().code, failure::login_disabled);
  auto none = with_capabilities("UIDL\r\n");
  EXPECT_EQ(none.engine.login(password()).error().code, failure::mechanism_missing);
}

TEST(login, no_name_breaks_out_of_its_line) {
  for (const std::string& user : {std::string("joe\r\nDELE 1"), std::string("joe\n"), std::string("a\0b", 3), std::string()}) {
    auto s = with_capabilities("USER\r\n");
    const auto r = s.engine.login(password("x", user));
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, failure::invalid_input);
    EXPECT_EQ(s.sent(), "");
  }
}

TEST(login, plain_travels_in_one_line_or_in_two) {
  auto s = with_capabilities("SASL PLAIN\r\n");
  s.engine.login(password());
  EXPECT_EQ(s.sent(), "AUTH PLAIN AG1yb3NlAHRhbnN0YWFm\r\n");
  EXPECT_THAT(s.server("+OK\r\n"), ElementsAre("logged_in 2 PLAIN"));

  auto longer = with_capabilities("SASL PLAIN\r\n");
  const std::string word(200, 'p');
  longer.engine.login(password(word));
  EXPECT_EQ(longer.sent(), "AUTH PLAIN\r\n") << "255 octets are the limit of a line";
  EXPECT_THAT(longer.server("+ \r\n"), IsEmpty());
  EXPECT_EQ(longer.sent(), base64_encode(std::string("\0mrose\0", 7) + word) + "\r\n");
  EXPECT_THAT(longer.server("+OK\r\n"), ElementsAre("logged_in 2 PLAIN"));
}

TEST(login, tokens_travel_in_two_lines_as_exchange_wants_it) {
  auto s = with_capabilities("SASL PLAIN XOAUTH2\r\n");
  s.engine.login(token());
  EXPECT_EQ(s.sent(), "AUTH XOAUTH2\r\n");
  s.server("+ \r\n");
  EXPECT_EQ(s.sent(), base64_encode("user=joe@x.test\x01" "auth=Bearer the-token\x01\x01") + "\r\n");
  EXPECT_THAT(s.server("+OK User successfully authenticated.\r\n"), ElementsAre("logged_in 2 XOAUTH2"));
  auto one = with_capabilities("SASL XOAUTH2\r\n", engine_options{.form = auth_form::one_line});
  one.engine.login(token());
  EXPECT_EQ(one.sent(), "AUTH XOAUTH2 " + base64_encode("user=joe@x.test\x01" "auth=Bearer the-token\x01\x01") + "\r\n");
}

TEST(login, an_error_challenge_is_answered_and_remembered) {
  auto s = with_capabilities("SASL XOAUTH2\r\n");
  s.engine.login(token());
  s.server("+\r\n");
  s.sent();
  EXPECT_THAT(s.server("+ " + base64_encode(R"({"status":"401","schemes":"Bearer","scope":"mail"})") + "\r\n"), IsEmpty());
  EXPECT_EQ(s.sent(), "\r\n");
  EXPECT_THAT(s.server("-ERR [AUTH] failed\r\n"), ElementsAre("refused 2 login 0 token_rejected"));
  EXPECT_THAT(s.reason.detail, HasSubstr("status 401"));
}

TEST(login, an_acceptance_before_the_end_is_no_acceptance) {
  auto s = with_capabilities("SASL XOAUTH2\r\n");
  s.engine.login(token());
  EXPECT_THAT(s.server("+OK come in\r\n"), ElementsAre("failed protocol_violation")) << "the token was never sent";
  auto refused = with_capabilities("SASL XOAUTH2\r\n");
  refused.engine.login(token());
  refused.server("+ \r\n+ e30=\r\n");
  EXPECT_THAT(refused.server("+OK after an error\r\n"), ElementsAre("failed protocol_violation"));
}

TEST(login, scram_proves_both_sides) {
  const std::string nonce = "rOprNGfwEbeRWgbNEkqO";
  const auto start = [&] {
    auto s = with_capabilities("SASL SCRAM-SHA-256 PLAIN\r\n", engine_options{.encrypted = false, .scram_nonce = nonce});
    s.engine.login(password("pencil", "user"));
    EXPECT_EQ(s.sent(), "AUTH SCRAM-SHA-256 " + base64_encode("n,,n=user,r=" + nonce) + "\r\n");
    s.server("+ " + base64_encode("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096") + "\r\n");
    EXPECT_EQ(s.sent(),
              base64_encode("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=") +
                  "\r\n");
    return s;
  };
  auto good = start();
  good.server("+ " + base64_encode("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") + "\r\n");
  EXPECT_EQ(good.sent(), "\r\n");
  EXPECT_THAT(good.server("+OK\r\n"), ElementsAre("logged_in 2 SCRAM-SHA-256"));
  auto skipped = start();
  EXPECT_THAT(skipped.server("+OK trust me\r\n"), ElementsAre("failed protocol_violation"));
  auto wrong = start();
  EXPECT_THAT(wrong.server("+ " + base64_encode("v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") + "\r\n"),
              ElementsAre("failed protocol_violation"));
  EXPECT_EQ(wrong.sent(), "*\r\n");
}

TEST(login, challenges_that_are_no_base64_withdraw) {
  auto s = with_capabilities("SASL LOGIN\r\n");
  s.engine.login(password());
  s.sent();
  EXPECT_THAT(s.server("+ !!!\r\n"), ElementsAre("failed protocol_violation"));
  EXPECT_EQ(s.sent(), "*\r\n");
}

TEST(login, what_a_server_repeats_stays_secret) {
  for (const std::string echo : {"PASS tanstaaf", "AUTH PLAIN AG1yb3NlAHRhbnN0YWFm", "\"AG1yb3NlAHRhbnN0YWFm\"", "tanstaaf"}) {
    auto s = with_capabilities("SASL PLAIN\r\n");
    s.engine.login(password());
    EXPECT_THAT(s.server("-ERR unknown command " + echo + "\r\n"), ElementsAre("refused 2 login 0 login_rejected"));
    EXPECT_THAT(s.reason.detail, Not(HasSubstr("tanstaaf")));
    EXPECT_THAT(s.reason.detail, Not(HasSubstr("AG1yb3Nl")));
  }
  auto garbled = with_capabilities("SASL PLAIN\r\n");
  garbled.engine.login(password());
  garbled.server("AUTH PLAIN AG1yb3NlAHRhbnN0YWFm\r\n");
  EXPECT_THAT(garbled.reason.detail, Not(HasSubstr("AG1yb3Nl")));
}

TEST(login, words_count_although_they_hold_the_password) {
  auto s = with_capabilities("SASL PLAIN\r\n");
  s.engine.login(password("password"));
  EXPECT_THAT(s.server("-ERR [AUTH] Application-specific password required\r\n"), ElementsAre("refused 2 login 0 login_disabled"));
}

TEST(login, login_delay_of_capa_is_when_to_come_back) {
  auto s = with_capabilities("USER\r\nLOGIN-DELAY 120\r\n");
  s.engine.login(password());
  s.server("+OK\r\n");
  EXPECT_THAT(s.server("-ERR [LOGIN-DELAY] too soon\r\n"), ElementsAre("refused 2 login 0 throttled"));
  EXPECT_EQ(s.reason.retry_at, test_now + seconds(120));
}

}  // namespace
}  // namespace mailherd::pop3
