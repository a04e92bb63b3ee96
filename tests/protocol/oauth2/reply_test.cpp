// tests/protocol/oauth2: replies: every row of the error tables, hostile bodies, Retry-After, what a success carries.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <set>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "protocol/oauth2/classify.hpp"
#include "protocol/oauth2/oauth2.hpp"

namespace mailherd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const wall_time now{std::chrono::seconds(1795486332)};  // Tue, 24 Nov 2026 02:12:12 GMT

result<oauth2::token_reply> parse(int status, std::string_view body, std::string_view retry_after = "",
                                  provider_kind provider = provider_kind::microsoft, grant_kind grant = grant_kind::authorization_code) {
  return oauth2::parse_token_reply(provider, status, retry_after, body, now, grant);
}

failure code_of(int status, std::string_view body, provider_kind provider = provider_kind::microsoft) {
  const auto r = parse(status, body, "", provider);
  return r ? failure::internal : r.error().code;
}

/// providers.md's table, written out again: a row moved by accident fails here.
const std::vector<std::pair<failure, std::vector<std::uint32_t>>> published{
    {failure::consent_required,
     {50173, 700082, 70008, 70000, 70043, 50089, 50132, 50133, 50076, 50079, 50074, 50072, 50078, 50158, 65001, 65004, 700020, 54005}},
    {failure::admin_required,
     {90094, 90095, 50105, 53000, 53001, 53002, 53003, 530032, 530035, 50131, 50057, 50034, 500011, 650056, 650057, 65005, 90099}},
    {failure::app_misconfigured,
     {7000222, 7000215, 70002, 7000218, 700027, 700016, 70001, 7000112, 50011, 50194, 9001023, 90002, 1000031, 700022}},
    {failure::token_unavailable, {50033, 90006, 90012, 90024, 90033, 90055, 90090, 40010, 50087, 50166, 70012, 80002, 501621, 70016}},
    {failure::request_loop, {50196}},
    {failure::account_blocked, {50053, 50055, 50144, 50126}},
};

TEST(errors, every_number_means_what_is_published) {
  std::size_t rows = 0;
  for (const auto& [meaning, numbers] : published) {
    for (const auto number : numbers) {
      ++rows;
      // By the list, by the description, and whatever error field stands beside it.
      for (const char* error : {"invalid_grant", "invalid_client", "interaction_required", "something_new"}) {
        const auto listed = fmt::format(R"({{"error":"{}","error_codes":[{}]}})", error, number);
        EXPECT_EQ(code_of(400, listed), meaning) << listed;
        const auto described = fmt::format(R"({{"error":"{}","error_description":"AADSTS{}: words. Trace ID: 1"}})", error, number);
        EXPECT_EQ(code_of(401, described), meaning) << described;
        EXPECT_EQ(code_of(400, described, provider_kind::custom), meaning) << described;
      }
      // An overloaded front end is no word of the directory.
      const auto busy = fmt::format(R"({{"error":"invalid_grant","error_codes":[{}]}})", number);
      EXPECT_EQ(code_of(503, busy), failure::token_unavailable);
      EXPECT_EQ(code_of(429, busy), failure::token_unavailable);
    }
  }
  EXPECT_EQ(rows, oauth2::aadsts_rows().size());
}

TEST(errors, every_error_field_means_what_its_row_says) {
  std::set<std::string_view> names;
  for (const auto& row : oauth2::error_rows()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " stands twice";
    const auto body = fmt::format(R"({{"error":"{}","error_description":"words"}})", row.name);
    for (const auto provider : {provider_kind::microsoft, provider_kind::google, provider_kind::custom}) {
      const bool applies = !row.provider || *row.provider == provider;
      EXPECT_EQ(code_of(400, body, provider), applies ? row.meaning : failure::token_unavailable) << body;
    }
    EXPECT_EQ(code_of(500, body), failure::token_unavailable);
  }
}

TEST(errors, the_fields_of_the_standard) {
  EXPECT_EQ(code_of(400, R"({"error":"invalid_grant"})"), failure::consent_required);
  EXPECT_EQ(code_of(400, R"({"error":"interaction_required"})"), failure::consent_required);
  EXPECT_EQ(code_of(401, R"({"error":"invalid_client"})"), failure::app_misconfigured);
  EXPECT_EQ(code_of(400, R"({"error":"unauthorized_client"})"), failure::app_misconfigured);
  EXPECT_EQ(code_of(400, R"({"error":"temporarily_unavailable"})"), failure::token_unavailable);
}

TEST(errors, an_unknown_number_leaves_the_decision_to_the_error_field) {
  EXPECT_EQ(code_of(400, R"({"error":"invalid_grant","error_codes":[1234567],"error_description":"AADSTS1234567: new"})"),
            failure::consent_required);
  EXPECT_EQ(code_of(400, R"({"error":"new_error","error_codes":[1234567]})"), failure::token_unavailable);
}

TEST(errors, only_numbers_of_the_form_count) {
  EXPECT_THAT(oauth2::aadsts_numbers("AADSTS50173: x (AADSTS65001), AADSTS, AADSTSx, AADSTS99999999999999"), ElementsAre(50173u, 65001u));
  EXPECT_EQ(code_of(400, R"({"error":"something","error_description":"code 50173 of AADST50173"})"), failure::token_unavailable);
}

TEST(errors, an_app_has_nobody_who_could_consent) {
  const auto r = parse(400, R"({"error":"invalid_grant"})", "", provider_kind::microsoft, grant_kind::client_credentials);
  EXPECT_EQ(r.error().code, failure::admin_required);
}

TEST(errors, a_success_with_an_error_in_it_is_an_error) {
  EXPECT_EQ(code_of(200, R"({"error":"invalid_grant","access_token":"x"})"), failure::consent_required);
}

TEST(errors, googles_nested_form) {
  const auto r = parse(403, R"({"error":{"code":403,"status":"PERMISSION_DENIED","message":"no"}})", "", provider_kind::google);
  EXPECT_EQ(r.error().code, failure::token_unavailable);
  EXPECT_THAT(r.error().detail, HasSubstr("PERMISSION_DENIED"));
}

TEST(errors, the_detail_helps_and_holds_no_token) {
  const std::string token(200, 'k');
  const auto r =
      parse(400, R"({"error":"invalid_grant","error_description":"AADSTS50173: grant )" + token + R"( was revoked\r\nTrace ID: 1"})");
  EXPECT_THAT(r.error().detail, HasSubstr("the password was changed"));
  EXPECT_THAT(r.error().detail, HasSubstr("AADSTS50173"));
  EXPECT_THAT(r.error().detail, Not(HasSubstr("kkkk")));
  EXPECT_THAT(r.error().detail, Not(HasSubstr("\r")));
  EXPECT_LE(r.error().detail.size(), limits::server_text_bytes);
}

TEST(hostile, whatever_is_no_answer_is_transient) {
  const std::string deep(200'000, '[');
  for (const std::string& body :
       {std::string(), std::string("<html><body>Sign in</body></html>"), std::string("null"), std::string("[]"), std::string("42"),
        std::string("\"x\""), std::string("{"), std::string("{}"), std::string("{\"access_token\":null}"),
        std::string("{\"access_token\":\"\"}"), std::string("{\"access_token\":[\"x\"]}"), std::string("{\"access_token\":\"a\\nb\"}"),
        std::string("{\"access_token\":\"a b\"}"), std::string("{\"access_token\":\"\xFF\"}"), std::string("\0\1\2", 3),
        std::string("{\"expires_in\":1e999}"), deep, std::string(limits::token_reply_bytes + 1, ' ')}) {
    for (const int status : {0, 100, 200, 204, 302, 400, 401, 404, 429, 500, 502, 503, 599}) {
      const auto r = parse(status, body);
      ASSERT_FALSE(r);
      EXPECT_EQ(r.error().code, failure::token_unavailable) << status << " " << body.substr(0, 60) << " " << describe(r.error());
      EXPECT_THAT(r.error().detail, Not(HasSubstr("Sign in")));
    }
  }
}

TEST(hostile, a_redirect_is_not_followed_by_meaning) {
  EXPECT_EQ(code_of(302, R"({"error":"invalid_grant"})"), failure::token_unavailable);
}

TEST(hostile, a_body_past_the_limit_is_not_read) {
  const std::string padded = R"({"error":"invalid_grant","x":")" + std::string(limits::token_reply_bytes, 'x') + "\"}";
  EXPECT_EQ(code_of(400, padded), failure::token_unavailable);
}

TEST(hostile, other_kinds_of_tokens_are_refused) {
  EXPECT_EQ(code_of(200, R"({"access_token":"x","token_type":"DPoP"})"), failure::app_misconfigured);
  EXPECT_TRUE(parse(200, R"({"access_token":"x","token_type":"bearer"})"));
}

TEST(success, carries_everything) {
  const std::string id_token = "e30." + base64url_encode(R"({"preferred_username":"joe@x.test","email":"other@x.test"})") + ".sig";
  const auto r =
      parse(200, R"({"access_token":"at","token_type":"Bearer","expires_in":3599,"refresh_token":"rt","scope":"a  b","id_token":")" +
                     id_token + "\"}");
  ASSERT_TRUE(r) << describe(r.error());
  EXPECT_EQ(r->access_token.reveal(), "at");
  EXPECT_EQ(r->expires_at, now + seconds(3599));
  ASSERT_TRUE(r->refresh_token);
  EXPECT_EQ(r->refresh_token->reveal(), "rt");
  EXPECT_THAT(r->scopes, ElementsAre("a", "b"));
  EXPECT_EQ(r->account_hint, "joe@x.test");
}

TEST(success, an_absent_refresh_token_means_keep_the_old_one) {
  EXPECT_FALSE(parse(200, R"({"access_token":"at"})")->refresh_token);
  EXPECT_FALSE(parse(200, R"({"access_token":"at","refresh_token":""})")->refresh_token);
  EXPECT_FALSE(parse(200, R"({"access_token":"at","refresh_token":null})")->refresh_token);
}

TEST(success, lifetimes_are_held_within_bounds) {
  const auto life = [](const std::string& value) {
    return parse(200, R"({"access_token":"at","expires_in":)" + value + "}")->expires_at - now;
  };
  EXPECT_EQ(life("3600"), seconds(3600));
  EXPECT_EQ(life("\"3600\""), seconds(3600));  // older Microsoft endpoints
  EXPECT_EQ(life("3599.7"), seconds(3599));
  EXPECT_EQ(life("0"), limits::token_lifetime_min);
  EXPECT_EQ(life("-5"), limits::token_lifetime_min);
  EXPECT_EQ(life("1e300"), limits::token_lifetime_max);
  EXPECT_EQ(life("9223372036854775807"), limits::token_lifetime_max);
  EXPECT_EQ(life("\"soon\""), limits::token_lifetime_default);
  EXPECT_EQ(parse(200, R"({"access_token":"at"})")->expires_at - now, limits::token_lifetime_default);
}

TEST(success, an_account_hint_is_optional_and_clean) {
  const auto hint = [](const std::string& token) {
    return parse(200, R"({"access_token":"at","id_token":")" + token + "\"}")->account_hint;
  };
  EXPECT_EQ(hint("e30." + base64url_encode(R"({"email":"e@x.test"})") + ".s"), "e@x.test");
  EXPECT_EQ(hint("e30." + base64url_encode(R"({"upn":"u@x.test"})")), "u@x.test");
  EXPECT_EQ(hint("e30." + base64url_encode("{\"email\":\"e\\n<b>\"}") + ".s"), "e <b>");
  for (const char* bad : {"", "x", "a.b.c", "..", "e30.!!!.x", "e30.e30.e30"}) EXPECT_EQ(hint(bad), "") << bad;
}

TEST(granted, a_consent_without_mail_is_no_consent) {
  oauth_app app;
  oauth2::token_reply reply;
  const auto check = [&](protocol_kind p, grant_kind g = grant_kind::authorization_code) {
    return oauth2::check_granted(app, p, g, reply);
  };
  app.provider = provider_kind::google;
  EXPECT_TRUE(check(protocol_kind::imap)) << "a reply that names none passes";
  reply.scopes = {"openid", "https://mail.google.com/"};
  EXPECT_TRUE(check(protocol_kind::imap));
  reply.scopes = {"openid", "email"};
  EXPECT_EQ(check(protocol_kind::imap).error().code, failure::consent_required);
  EXPECT_TRUE(check(protocol_kind::imap, grant_kind::client_credentials));
  app.provider = provider_kind::microsoft;
  reply.scopes = {"https://outlook.office.com/imap.accessasuser.all"};
  EXPECT_TRUE(check(protocol_kind::imap));
  EXPECT_FALSE(check(protocol_kind::pop3));
  reply.scopes = {"notIMAP.AccessAsUser.All"};
  EXPECT_FALSE(check(protocol_kind::imap));
  app.provider = provider_kind::custom;
  EXPECT_TRUE(check(protocol_kind::imap));
}

TEST(retry_after, seconds_and_three_kinds_of_date) {
  const auto at = [](std::string_view v) { return oauth2::retry_after_time(v, now); };
  EXPECT_EQ(at("120"), now + seconds(120));
  EXPECT_EQ(at(" 0 "), now);
  EXPECT_EQ(at("99999999999999999999"), now + limits::retry_after_max);
  EXPECT_EQ(at("Tue, 24 Nov 2026 02:14:12 GMT"), now + seconds(120));
  EXPECT_EQ(at("Tuesday, 24-Nov-26 02:14:12 GMT"), now + seconds(120));
  EXPECT_EQ(at("Tue Nov 24 02:14:12 2026"), now + seconds(120));
  EXPECT_EQ(at("Tue Nov  3 02:14:12 2026"), now) << "the past is now";
  EXPECT_EQ(at("Tue, 24 Nov 2099 02:14:12 GMT"), now + limits::retry_after_max);
  for (const char* bad :
       {"", "soon", "-5", "1.5", "Tue, 31 Feb 2026 02:14:12 GMT", "24 Nov 2026", "Tue, 24 Nov 2026 25:14:12 GMT", "02:14:12"})
    EXPECT_FALSE(at(bad)) << bad;
}

TEST(retry_after, is_in_the_error) {
  EXPECT_EQ(parse(429, "slow down", "60").error().retry_at, now + seconds(60));
  EXPECT_EQ(parse(503, R"({"error":"x"})", "60").error().retry_at, now + seconds(60));
  EXPECT_FALSE(parse(503, "").error().retry_at);
}

TEST(device, reply_and_polling) {
  const auto r = oauth2::parse_device_reply(
      provider_kind::microsoft, 200, "",
      R"({"device_code":"dc","user_code":"AB-CD","verification_uri":"https://x.test/d","expires_in":900,"interval":7})", now);
  ASSERT_TRUE(r) << describe(r.error());
  EXPECT_EQ(r->device_code.reveal(), "dc");
  EXPECT_EQ(r->user_code, "AB-CD");
  EXPECT_EQ(r->interval, seconds(7));
  EXPECT_EQ(r->expires_at, now + seconds(900));
  EXPECT_FALSE(oauth2::parse_device_reply(provider_kind::microsoft, 200, "",
                                          R"({"device_code":"dc","user_code":"A","verification_uri":"javascript:x"})", now));
  EXPECT_EQ(parse(400, R"({"error":"authorization_pending","error_codes":[70016]})").error().code, failure::token_unavailable);
  EXPECT_EQ(parse(400, R"({"error":"authorization_pending"})").error().retry_at, now + seconds(5));
  EXPECT_EQ(parse(400, R"({"error":"slow_down"})").error().retry_at, now + seconds(10));
  EXPECT_EQ(parse(400, R"({"error":"expired_token"})").error().code, failure::consent_required);
}

}  // namespace
}  // namespace mailherd
