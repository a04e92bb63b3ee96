// tests/protocol/pop3: what a -ERR means, row by row; capabilities line by line.
#include <gmock/gmock.h>

#include "core/limits.hpp"
#include "protocol/pop3/capabilities.hpp"
#include "protocol/pop3/classify.hpp"

namespace mailherd::pop3 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const wall_time now{std::chrono::seconds(1795486332)};

error of(phase where, std::string_view text, bool with_token = false) {
  auto what = split_refusal(text);
  what.where = where;
  what.with_token = with_token;
  return classify(what, now);
}

struct row {
  phase where;
  const char* text;
  failure expected;
};

TEST(classify, every_row) {
  for (const row& r : {
           row{phase::login, "[IN-USE] Mailbox is locked by another POP3 session", failure::server_busy},
           row{phase::login, "[in-use] x", failure::server_busy},
           row{phase::login, "Mailbox already locked by another session", failure::server_busy},
           row{phase::login, "[SYS/TEMP] disk", failure::server_unavailable},
           row{phase::login, "[SYS/PERM] quota says no", failure::no_mailbox_rights},
           row{phase::message, "[SYS/PERM] message is corrupt", failure::command_refused},
           row{phase::login, "[SYS/PERM] Bandwidth limits exceeded", failure::throttled},
           row{phase::login, "[LOGIN-DELAY] minimum time between mail checks", failure::throttled},
           row{phase::login, "[AUTH] Authentication failed.", failure::login_rejected},
           row{phase::login, "[AUTH] Application-specific password required", failure::login_disabled},
           row{phase::login, "[AUTH] Temporary", failure::login_rejected},
           row{phase::login, "Authentication failure: unknown user name or bad password.", failure::login_rejected},
           row{phase::login, "Logon failure: LogonDenied-BasicAuthBlocked", failure::login_disabled},
           row{phase::login, "Plaintext authentication disallowed on non-secure (SSL/TLS) connections.", failure::login_disabled},
           row{phase::login, "[SYS/PERM] Your account is not enabled for POP access.", failure::no_mailbox_rights},
           row{phase::login, "POP3 is disabled for this user", failure::no_mailbox_rights},
           row{phase::login, "User is authenticated but not connected.", failure::no_mailbox_rights},
           row{phase::transaction, "User is authenticated but not connected.", failure::no_mailbox_rights},
           row{phase::login, "Maximum number of connections from user+IP exceeded", failure::too_many_connections},
           row{phase::login, "Temporary authentication failure", failure::server_unavailable},
           row{phase::login, "please try again later", failure::server_unavailable},
           row{phase::login, "Request is throttled. Suggested Backoff Time: 1000 milliseconds", failure::throttled},
           row{phase::message, "Request is throttled. Suggested Backoff Time: 1000 milliseconds", failure::throttled},
           row{phase::message, "no such message", failure::command_refused},
           row{phase::message, "pop3 is disabled", failure::command_refused},
           row{phase::greeting, "too many connections", failure::too_many_connections},
           row{phase::greeting, "nope", failure::server_unavailable},
           row{phase::tls, "not now", failure::tls_not_offered},
           row{phase::transaction, "mailbox over quota", failure::over_quota},
           row{phase::transaction, "Connection is closed. 14", failure::server_bye},
           row{phase::capabilities, "unknown", failure::command_refused},
           row{phase::login, "", failure::login_rejected},
       })
    EXPECT_EQ(of(r.where, r.text).code, r.expected) << r.text << " was " << to_string(of(r.where, r.text).code);
}

TEST(classify, a_token_is_refused_as_a_token) {
  EXPECT_EQ(of(phase::login, "Authentication failure: unknown user name or bad password.", true).code, failure::token_rejected);
  EXPECT_EQ(of(phase::login, "[AUTH] no", true).code, failure::token_rejected);
  EXPECT_EQ(of(phase::login, "[IN-USE] locked", true).code, failure::server_busy);
}

TEST(classify, nothing_a_mail_server_says_asks_for_consent) {
  for (const auto where : {phase::greeting, phase::capabilities, phase::tls, phase::login, phase::transaction, phase::message})
    for (const char* text : {"", "[AUTH] x", "consent required", "AADSTS50173", "invalid_grant", "token expired"})
      for (const bool token : {false, true}) {
        const auto code = of(where, text, token).code;
        EXPECT_NE(code, failure::consent_required);
        EXPECT_NE(code, failure::admin_required);
      }
}

TEST(classify, says_when_to_come_back_only_if_the_server_did) {
  EXPECT_EQ(of(phase::login, "Request is throttled. Suggested Backoff Time: 299910 milliseconds").retry_at, now + milliseconds(299910));
  EXPECT_FALSE(of(phase::login, "Request is throttled").retry_at);
  EXPECT_FALSE(of(phase::login, "[IN-USE] x").retry_at);
  EXPECT_EQ(of(phase::login, "[LOGIN-DELAY] x").retry_at, now + limits::poll_interval);
  auto what = split_refusal("[LOGIN-DELAY] x");
  what.login_delay = seconds(600);
  EXPECT_EQ(classify(what, now).retry_at, now + seconds(600));
}

TEST(classify, details_are_clean_and_bounded) {
  const auto e = of(phase::login, "[AUTH] a\x1b[31m\x01 b");
  EXPECT_EQ(e.detail, "login: [AUTH] a [31m b");
  EXPECT_EQ(of(phase::message, "").detail, "message: refused without a reason");
  EXPECT_LT(of(phase::login, std::string(100'000, 'x')).detail.size(), 600u);
}

TEST(split_refusal, codes_and_prose) {
  EXPECT_EQ(split_refusal("[IN-USE] x").code, "IN-USE");
  EXPECT_EQ(split_refusal("[IN-USE] x").text, "x");
  EXPECT_EQ(split_refusal("[some remark] x").code, "");
  EXPECT_EQ(split_refusal("[some remark] x").text, "[some remark] x");
  EXPECT_EQ(split_refusal("[]").code, "");
  EXPECT_EQ(split_refusal("[IN-USE").code, "");
  EXPECT_EQ(split_refusal("").text, "");
}

TEST(capabilities, line_by_line) {
  capability_set c;
  for (const char* line : {"TOP", "uidl", "USER", "STLS", "PIPELINING", "RESP-CODES", "SASL plain  LOGIN PLAIN xoauth2", "EXPIRE NEVER",
                           "LOGIN-DELAY 99999999", "IMPLEMENTATION a\x01 b", "", "   ", "X-UNKNOWN y", "EXPIRE", "LOGIN-DELAY soon"})
    c.add(line);
  EXPECT_TRUE(c.top && c.uidl && c.user && c.stls && c.pipelining && c.resp_codes);
  EXPECT_THAT(c.sasl, ElementsAre("PLAIN", "LOGIN", "XOAUTH2"));
  EXPECT_EQ(c.login_delay, seconds(86'400)) << "bounded, and not forgotten for a line that makes no sense";
  EXPECT_EQ(c.implementation, "a b");
  capability_set expire;
  expire.add("EXPIRE NEVER");
  EXPECT_TRUE(expire.expire_never);
  EXPECT_FALSE(expire.expire_days);
  expire.add("EXPIRE 30 USER");
  EXPECT_FALSE(expire.expire_never);
  EXPECT_EQ(expire.expire_days, 30u);
  EXPECT_TRUE(expire.expire_per_user);
  capability_set many;
  std::string line = "SASL";
  for (int i = 0; i < 1000; ++i) line += " M" + std::to_string(i);
  many.add(line);
  EXPECT_LE(many.sasl.size(), 32u);
}

}  // namespace
}  // namespace mailherd::pop3
