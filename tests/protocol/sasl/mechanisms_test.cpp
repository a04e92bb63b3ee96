// tests/protocol/sasl: published vectors, error challenges, the choice between mechanisms.
#include <gmock/gmock.h>

#include "core/limits.hpp"
#include "protocol/sasl/sasl.hpp"

namespace mailherd {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

sasl::credentials password(const std::string& user = "user", const std::string& word = "pencil") {
  sasl::credentials c;
  c.username = user;
  c.password = secret<>(word);
  return c;
}

sasl::credentials token(const std::string& user = "user@x.test", const std::string& value = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==") {
  sasl::credentials c;
  c.type = auth_type::oauth2;
  c.username = user;
  c.access_token = secret<>(value);
  return c;
}

std::unique_ptr<sasl::mechanism> made(const char* name, const sasl::credentials& who, const std::string& nonce = "") {
  sasl::policy rules;
  rules.scram_nonce = nonce;
  auto m = sasl::make(name, who, rules);
  EXPECT_TRUE(m) << (m ? "" : describe(m.error()));
  return m ? std::move(*m) : nullptr;
}

failure refusal(sasl::mechanism& m, std::string_view challenge) {
  const auto r = m.respond(challenge);
  return r ? failure::internal : r.error().code;
}

// ---- PLAIN, LOGIN ------------------------------------------------------------------------------------------------------------------

TEST(plain, rfc_4616) {
  const auto m = made("plain", password("tim", "tanstaaftanstaaf"));
  EXPECT_FALSE(m->complete());
  EXPECT_EQ(m->initial_response()->reveal(), "\0tim\0tanstaaftanstaaf"s);
  EXPECT_TRUE(m->complete());
  EXPECT_EQ(refusal(*m, "more?"), failure::protocol_violation);
}

TEST(login, answers_two_questions_whatever_they_are_called) {
  const auto m = made("LOGIN", password());
  EXPECT_FALSE(m->initial_response());
  EXPECT_EQ(m->respond("User Name\0"s)->reveal(), "user");
  EXPECT_FALSE(m->complete());
  EXPECT_EQ(m->respond("")->reveal(), "pencil");
  EXPECT_TRUE(m->complete());
  EXPECT_EQ(refusal(*m, "Third:"), failure::protocol_violation);
}

// ---- SCRAM-SHA-256 -----------------------------------------------------------------------------------------------------------------

const std::string nonce = "rOprNGfwEbeRWgbNEkqO";
const std::string server_first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const std::string server_final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

TEST(scram, rfc_7677) {
  const auto m = made("SCRAM-SHA-256", password(), nonce);
  EXPECT_EQ(m->initial_response()->reveal(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  const auto answer = m->respond(server_first);
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_EQ(answer->reveal(), "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  EXPECT_FALSE(m->complete()) << "the server has not proven itself";
  EXPECT_EQ(m->respond(server_final)->reveal(), "");
  EXPECT_TRUE(m->complete());
  EXPECT_EQ(refusal(*m, "v=again"), failure::protocol_violation);
}

TEST(scram, names_are_escaped) {
  const auto m = made("SCRAM-SHA-256", password("a,b=c"), nonce);
  EXPECT_EQ(m->initial_response()->reveal(), "n,,n=a=2Cb=3Dc,r=" + nonce);
}

TEST(scram, its_own_nonces_differ) {
  const auto a = made("SCRAM-SHA-256", password()), b = made("SCRAM-SHA-256", password());
  EXPECT_FALSE(*a->initial_response() == *b->initial_response());
}

TEST(scram, a_server_that_does_not_know_the_password_is_found_out) {
  const auto m = made("SCRAM-SHA-256", password(), nonce);
  m->initial_response();
  ASSERT_TRUE(m->respond(server_first));
  EXPECT_EQ(refusal(*m, "v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), failure::protocol_violation);
  EXPECT_FALSE(m->complete());
}

TEST(scram, an_error_of_the_server_is_kept_for_the_refusal_that_follows) {
  const auto m = made("SCRAM-SHA-256", password(), nonce);
  m->initial_response();
  ASSERT_TRUE(m->respond(server_first));
  EXPECT_TRUE(m->respond("e=invalid-proof"));
  EXPECT_FALSE(m->complete());
  EXPECT_EQ(m->failure_detail(), "invalid-proof");
}

TEST(scram, hostile_first_messages) {
  struct row {
    std::string message;
    failure expected;
  };
  const std::string good = "r=" + nonce + "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=";
  for (const row& r :
       {row{"", failure::protocol_violation}, row{"garbage", failure::protocol_violation},
        row{"m=ext," + server_first, failure::protocol_violation},
        row{"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", failure::protocol_violation},
        row{"r=" + nonce + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", failure::protocol_violation},  // nothing added by the server
        row{"r=" + nonce + "x,s=!!!,i=4096", failure::protocol_violation}, row{"r=" + nonce + "x,s=,i=4096", failure::protocol_violation},
        row{good + "4095", failure::protocol_violation}, row{good + "-1", failure::protocol_violation},
        row{good + "4096x", failure::protocol_violation}, row{good, failure::protocol_violation},
        row{good + "600001", failure::limit_exceeded}, row{good + "99999999999999", failure::limit_exceeded},
        row{std::string(limits::sasl_challenge_bytes + 1, 'x'), failure::limit_exceeded}}) {
    const auto m = made("SCRAM-SHA-256", password(), nonce);
    m->initial_response();
    EXPECT_EQ(refusal(*m, r.message), r.expected) << r.message.substr(0, 80);
    EXPECT_FALSE(m->complete());
    EXPECT_EQ(refusal(*m, server_first), failure::protocol_violation) << "nothing goes on after a failure";
  }
}

TEST(scram, a_server_that_speaks_first_is_refused) {
  const auto m = made("SCRAM-SHA-256", password(), nonce);
  EXPECT_EQ(refusal(*m, server_first), failure::protocol_violation);
}

// ---- tokens ------------------------------------------------------------------------------------------------------------------------

TEST(xoauth2, message_and_error_challenge) {
  const auto m = made("XOAUTH2", token());
  EXPECT_EQ(m->initial_response()->reveal(), "user=user@x.test\x01" "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01");
  EXPECT_TRUE(m->complete());
  const auto answer = m->respond(R"({"status":"401","schemes":"Bearer","scope":"https://mail.google.com/"})");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->reveal(), "") << "Google wants an empty line";
  EXPECT_FALSE(m->complete()) << "an OK after an error challenge proves nothing";
  EXPECT_EQ(m->failure_detail(), "status 401, scope https://mail.google.com/, schemes Bearer");
  EXPECT_EQ(refusal(*m, "{}"), failure::protocol_violation) << "one error challenge is all there is";
}

TEST(xoauth2, a_shared_mailbox_is_named_while_the_token_stays_the_delegates) {
  EXPECT_THAT(made("XOAUTH2", token("shared@x.test", "delegates-token"))->initial_response()->reveal(),
              HasSubstr("user=shared@x.test\x01"
                        "auth=Bearer delegates-token"));
}

TEST(oauthbearer, rfc_7628) {
  auto who = token("user@example.com");
  who.host = "server.example.com";
  who.port = 143;
  const auto m = made("OAUTHBEARER", who);
  EXPECT_EQ(m->initial_response()->reveal(),
            "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
            "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01");
  const auto answer = m->respond(R"({"status":"invalid_token"})");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->reveal(), "\x01");
  EXPECT_EQ(m->failure_detail(), "status invalid_token");
}

TEST(bearer, challenges_that_are_no_json_are_shown_cleaned) {
  const auto m = made("XOAUTH2", token());
  m->initial_response();
  ASSERT_TRUE(m->respond("no\r\njson \x01 here"));
  EXPECT_EQ(m->failure_detail(), "no json here");
}

TEST(bearer, an_echoed_token_stays_secret) {
  const auto m = made("XOAUTH2", token("u@x.test", "very-secret-token"));
  m->initial_response();
  ASSERT_TRUE(m->respond(R"({"status":"very-secret-token"})"));
  EXPECT_THAT(m->failure_detail(), Not(HasSubstr("very-secret")));
}

TEST(bearer, endless_challenges_are_refused) {
  const auto m = made("OAUTHBEARER", token());
  m->initial_response();
  EXPECT_EQ(refusal(*m, std::string(limits::sasl_challenge_bytes + 1, '{')), failure::limit_exceeded);
}

// ---- choice ------------------------------------------------------------------------------------------------------------------------

std::string chosen(std::vector<std::string> offered, const sasl::credentials& who, const sasl::policy& rules = {}) {
  const auto m = sasl::choose(offered, who, rules);
  return m ? std::string((*m)->name()) : std::string(to_string(m.error().code));
}

TEST(choose, prefers_what_protects_the_password) {
  EXPECT_EQ(chosen({"LOGIN", "PLAIN", "SCRAM-SHA-256"}, password()), "SCRAM-SHA-256");
  EXPECT_EQ(chosen({"login", "plain"}, password()), "PLAIN");
  EXPECT_EQ(chosen({"LOGIN"}, password()), "LOGIN");
  EXPECT_EQ(chosen({"PLAIN", "SCRAM-SHA-256"}, password("user", "pässword")), "PLAIN") << "SASLprep is not for guessing";
  EXPECT_EQ(chosen({"SCRAM-SHA-256"}, password("user", "pässword")), "SCRAM-SHA-256");
}

TEST(choose, token_mechanisms) {
  EXPECT_EQ(chosen({"PLAIN", "OAUTHBEARER", "XOAUTH2"}, token()), "XOAUTH2");
  EXPECT_EQ(chosen({"OAUTHBEARER"}, token()), "OAUTHBEARER");
  sasl::policy rules;
  rules.prefer_oauthbearer = true;
  EXPECT_EQ(chosen({"XOAUTH2", "OAUTHBEARER"}, token(), rules), "OAUTHBEARER");
  EXPECT_EQ(chosen({"XOAUTH2"}, token(), rules), "XOAUTH2");
}

TEST(choose, nothing_goes_in_the_clear_unless_allowed) {
  sasl::policy rules;
  rules.encrypted = false;
  EXPECT_EQ(chosen({"PLAIN", "LOGIN"}, password(), rules), "mechanism_missing");
  EXPECT_EQ(chosen({"XOAUTH2", "OAUTHBEARER"}, token(), rules), "mechanism_missing");
  rules.prefer_oauthbearer = true;
  EXPECT_EQ(chosen({"XOAUTH2", "OAUTHBEARER"}, token(), rules), "mechanism_missing");
  EXPECT_EQ(chosen({"PLAIN", "SCRAM-SHA-256"}, password(), rules), "SCRAM-SHA-256");
  EXPECT_FALSE(sasl::choose(std::vector<std::string>{"PLAIN"}, password(), false));
  EXPECT_TRUE(sasl::choose(std::vector<std::string>{"PLAIN"}, password(), true));
  rules.allow_unencrypted = true;
  EXPECT_EQ(chosen({"PLAIN"}, password(), rules), "PLAIN");
}

TEST(choose, says_when_passwords_are_switched_off) {
  EXPECT_EQ(chosen({"XOAUTH2"}, password()), "login_disabled");
  EXPECT_EQ(chosen({"XOAUTH2", "CRAM-MD5"}, password()), "mechanism_missing");
  EXPECT_EQ(chosen({}, password()), "mechanism_missing");
  EXPECT_EQ(chosen({"PLAIN"}, token()), "mechanism_missing");
}

TEST(choose, nothing_that_could_break_out_is_carried) {
  for (const auto& user : {""s, "a\0b"s, "a\rb"s, "a\nb"s, "a\x01" "b"s, std::string(1025, 'u')}) {
    EXPECT_EQ(chosen({"PLAIN"}, password(user)), "invalid_input");
    EXPECT_EQ(chosen({"XOAUTH2"}, token(user)), "invalid_input");
    EXPECT_FALSE(sasl::is_safe_username(user));
  }
  for (const auto& word : {""s, "a\0b"s, "a\rb"s, "a\nb"s}) EXPECT_EQ(chosen({"PLAIN"}, password("u", word)), "invalid_input");
  for (const auto& value : {""s, "a b"s, "a\x01"s, "a\n"s, "\xFF"s}) EXPECT_EQ(chosen({"XOAUTH2"}, token("u", value)), "invalid_input");
  EXPECT_TRUE(sasl::is_safe_username("jörg@x.test"));
}

TEST(choose, errors_hold_no_secret) {
  const auto m = sasl::choose(std::vector<std::string>{"GSSAPI"}, password("joe", "hunter2"), sasl::policy{});
  ASSERT_FALSE(m);
  EXPECT_THAT(describe(m.error()), Not(HasSubstr("hunter2")));
  EXPECT_THAT(describe(m.error()), HasSubstr("GSSAPI"));
}

}  // namespace
}  // namespace mailherd
