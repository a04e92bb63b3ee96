// tests/protocol/imap: what a NO, BAD or BYE means, row by row; the table of quirks.
#include "protocol/imap/classify.hpp"

#include <gmock/gmock.h>

#include <set>

#include "protocol/imap/quirks.hpp"

namespace mailherd::imap {
namespace {

using testing::HasSubstr;

const wall_time now{std::chrono::seconds(1795486332)};

error of(phase where, std::string_view status, std::string_view code, std::string_view text, bool with_token = false) {
  return classify({where, status, code, text, with_token, {}}, now);
}

struct row {
  phase where;
  const char *status, *code, *text;
  failure with_password, with_token;
};

TEST(classify, every_row) {
  using enum failure;
  for (const row& r : {
           // the codes of RFC 5530 and their neighbours
           row{phase::login, "NO", "AUTHENTICATIONFAILED", "Authentication failed.", login_rejected, token_rejected},
           row{phase::login, "NO", "authenticationfailed", "Temporary authentication failure.", login_rejected, token_rejected},
           row{phase::login, "NO", "AUTHORIZATIONFAILED", "x", no_mailbox_rights, no_mailbox_rights},
           row{phase::login, "NO", "EXPIRED", "password has run out", account_blocked, token_rejected},
           row{phase::login, "NO", "PRIVACYREQUIRED", "x", login_disabled, login_disabled},
           row{phase::login, "NO", "CONTACTADMIN", "x", account_blocked, account_blocked},
           row{phase::login, "NO", "UNAVAILABLE", "Temporary authentication failure.", server_unavailable, server_unavailable},
           row{phase::login, "NO", "SERVERBUG", "Internal error occurred.", server_unavailable, server_unavailable},
           row{phase::login, "NO", "INUSE", "x", server_busy, server_busy},
           row{phase::select, "NO", "IN-USE", "x", server_busy, server_busy},
           row{phase::login, "NO", "LIMIT", "Maximum number of connections from user+IP exceeded", too_many_connections,
               too_many_connections},
           row{phase::login, "NO", "LIMIT", "LOGIN Rate limit hit", throttled, throttled},
           row{phase::fetch, "NO", "LIMIT", "x", too_many_connections, too_many_connections},
           row{phase::greeting, "BYE", "LIMIT", "x", too_many_connections, too_many_connections},
           row{phase::mailbox, "NO", "OVERQUOTA", "x", over_quota, over_quota},
           row{phase::login, "NO", "OVERQUOTA", "Account exceeded command or bandwidth limits. (Failure)", throttled, throttled},
           row{phase::mailbox, "NO", "THROTTLED", "x", throttled, throttled},
           row{phase::select, "NO", "NOPERM", "x", no_mailbox_rights, no_mailbox_rights},
           row{phase::mailbox, "NO", "NOPERM", "read-only", command_refused, command_refused},
           row{phase::select, "NO", "NONEXISTENT", "Unknown Mailbox: x (Failure)", mailbox_missing, mailbox_missing},
           row{phase::select, "NO", "TRYCREATE", "x", mailbox_missing, mailbox_missing},
           row{phase::fetch, "NO", "EXPUNGEISSUED", "Some messages were expunged", command_refused, command_refused},
           row{phase::mailbox, "NO", "CORRUPTION", "x", server_unavailable, server_unavailable},
           row{phase::login, "NO", "WEBALERT https://x.test", "x", login_rejected, token_rejected},
           row{phase::login, "NO", "WEBALERT", "x", login_disabled, token_rejected},
           // Exchange
           row{phase::login, "NO", "", "AUTHENTICATE failed.", login_rejected, token_rejected},
           row{phase::login, "NO", "", "LOGIN failed.", login_rejected, token_rejected},
           row{phase::select, "NO", "", "User is authenticated but not connected.", no_mailbox_rights, no_mailbox_rights},
           row{phase::mailbox, "BAD", "", "User is authenticated but not connected.", no_mailbox_rights, no_mailbox_rights},
           row{phase::fetch, "BAD", "", "Request is throttled. Suggested Backoff Time: 299910 milliseconds", throttled, throttled},
           row{phase::select, "NO", "", "Server Unavailable. 15", server_unavailable, server_unavailable},
           row{phase::mailbox, "BYE", "", "Connection closed. 14", server_bye, server_bye},
           row{phase::mailbox, "BYE", "", "Session invalidated - AccessTokenExpired", server_bye, token_rejected},
           row{phase::login, "NO", "", "LogonDenied-BasicAuthBlocked", login_disabled, login_disabled},
           row{phase::select, "NO", "", "Folder doesn't exist.", mailbox_missing, mailbox_missing},
           // Gmail
           row{phase::login, "NO", "ALERT", "Application-specific password required: https://support.google.com", login_disabled,
               login_disabled},
           row{phase::login, "NO", "ALERT", "Please log in via your web browser: https://support.google.com", login_disabled,
               login_disabled},
           row{phase::login, "NO", "ALERT", "Too many simultaneous connections. (Failure)", too_many_connections, too_many_connections},
           row{phase::login, "NO", "ALERT", "Your account is not enabled for IMAP use.", no_mailbox_rights, no_mailbox_rights},
           row{phase::mailbox, "BYE", "", "Session expired, please login again.", server_bye, token_rejected},
           row{phase::login, "NO", "UNAVAILABLE", "Temporary System Error (Failure)", server_unavailable, server_unavailable},
           // others
           row{phase::login, "NO", "", "Account is locked", account_blocked, account_blocked},
           row{phase::mailbox, "NO", "", "message is locked", command_refused, command_refused},
           row{phase::login, "NO", "", "IMAP access disabled for this user", no_mailbox_rights, no_mailbox_rights},
           row{phase::mailbox, "NO", "", "IMAP is disabled", command_refused, command_refused},
           row{phase::login, "NO", "", "please try again later", server_unavailable, server_unavailable},
           row{phase::login, "BAD", "", "Unknown command", command_refused, command_refused},
           row{phase::login, "NO", "", "", login_rejected, token_rejected},
           row{phase::login, "BYE", "", "shutting down", server_bye, server_bye},
           row{phase::greeting, "BYE", "", "shutting down", server_unavailable, server_unavailable},
           row{phase::select, "NO", "", "Unable to open this mailbox.", mailbox_missing, mailbox_missing},
           row{phase::select, "NO", "", "SELECT failed", command_refused, command_refused},
           row{phase::select, "BAD", "", "no", command_refused, command_refused},
           row{phase::fetch, "NO", "", "message not found", command_refused, command_refused},
           row{phase::tls, "NO", "", "x", tls_not_offered, tls_not_offered},
           row{phase::capabilities, "BAD", "", "x", command_refused, command_refused},
           row{phase::fetch, "NO", "UNKNOWN-CTE", "x", command_refused, command_refused},
       }) {
    EXPECT_EQ(to_string(of(r.where, r.status, r.code, r.text, false).code), to_string(r.with_password))
        << r.status << " [" << r.code << "] " << r.text;
    EXPECT_EQ(to_string(of(r.where, r.status, r.code, r.text, true).code), to_string(r.with_token))
        << r.status << " [" << r.code << "] " << r.text;
  }
}

TEST(classify, nothing_a_mail_server_says_asks_for_consent) {
  for (const auto where : {phase::greeting, phase::capabilities, phase::tls, phase::login, phase::select, phase::mailbox, phase::fetch})
    for (const char* text : {"", "consent required", "AADSTS50173", "invalid_grant", "token expired", "AADSTS65001 interaction_required"})
      for (const char* status : {"NO", "BAD", "BYE"})
        for (const bool token : {false, true}) {
          const auto code = of(where, status, "", text, token).code;
          EXPECT_NE(code, failure::consent_required);
          EXPECT_NE(code, failure::admin_required);
        }
}

TEST(classify, says_when_to_come_back_only_if_the_server_did) {
  EXPECT_EQ(of(phase::fetch, "NO", "", "Request is throttled. Suggested Backoff Time: 299910 milliseconds").retry_at,
            now + milliseconds(299910));
  EXPECT_EQ(of(phase::fetch, "NO", "X", "Suggested Backoff Time: 99999999999999999999 milliseconds").retry_at,
            now + std::chrono::hours(24));
  EXPECT_FALSE(of(phase::fetch, "NO", "", "Request is throttled").retry_at);
  EXPECT_FALSE(of(phase::login, "NO", "LIMIT", "x").retry_at);
}

TEST(classify, details_keep_code_and_text_clean_and_bounded) {
  EXPECT_EQ(of(phase::login, "NO", "AUTHENTICATIONFAILED", "a\x1b[31m\x01 b").detail, "login: NO [AUTHENTICATIONFAILED] a [31m b");
  EXPECT_EQ(of(phase::fetch, "BAD", "", "").detail, "fetch: BAD refused without a reason");
  EXPECT_LT(of(phase::fetch, "NO", std::string(100'000, 'c'), std::string(100'000, 'x')).detail.size(), 1'200u);
  EXPECT_EQ(classify({phase::login, "NO", "", "x", true, "status 401"}, now).detail, "login: NO x (status 401)");
}

TEST(quirks, each_has_a_name_and_a_reason) {
  std::set<std::string_view> names;
  for (const auto& rule : quirks()) {
    EXPECT_FALSE(rule.name.empty());
    EXPECT_FALSE(rule.why.empty()) << rule.name;
    EXPECT_EQ(&rule_of(rule.id), &rule);
    names.insert(rule.name);
  }
  EXPECT_EQ(names.size(), quirks().size());
  quirk_set met;
  EXPECT_TRUE(met.empty());
  EXPECT_TRUE(met.meet(quirk::blank_line));
  EXPECT_FALSE(met.meet(quirk::renumbered));
  EXPECT_TRUE(met.met(quirk::blank_line));
  EXPECT_TRUE(met.met(quirk::renumbered));
  EXPECT_FALSE(met.met(quirk::unasked_item));
}

TEST(sayings, each_is_reached) {
  for (const auto& s : telling_sayings()) {
    const auto where = s.where == where_said::login ? phase::login : s.where == where_said::select ? phase::select : phase::mailbox;
    EXPECT_EQ(to_string(of(where, "NO", "", s.text, true).code), to_string(s.meaning)) << s.text << " is hidden by a line before it";
  }
}

}  // namespace
}  // namespace mailherd::imap
