// Pages for people: whatever a provider or a person wrote is text on them, and nothing else runs, loads or leads elsewhere.
#include <gtest/gtest.h>

#include "api/pages.hpp"

namespace mailherd::api {
namespace {

std::string header(const response& r, const std::string& name) {
  for (const auto& [key, value] : r.headers)
    if (key == name) return value;
  return {};
}

TEST(pages, hold_no_script_and_show_hostile_texts_as_text) {
  const std::string evil = "<script>alert(1)</script>\"'><img src=x onerror=1>";
  using enum actors::consent_end;
  for (const auto end : {connected, wrong_account, declined, refused, failed, expired, used, unknown, other_browser, superseded}) {
    actors::consent_outcome out;
    out.end = end;
    out.channel_name = out.address = out.mailbox = out.account = out.detail = evil;
    out.return_to = "/console/\"onclick=1";
    out.again = out.pick = out.accept = "token\"><script>";
    for (const auto& r : {outcome_page(out), link_page({failed, evil, evil, evil, evil, provider_kind::custom}, evil),
                          onward_page("https://id.test/?a=\"><script>"), sorry_page(503, evil)}) {
      EXPECT_EQ(r.body.find("<script"), std::string::npos) << r.body;
      EXPECT_EQ(r.body.find("<img"), std::string::npos);
      EXPECT_EQ(r.body.find("\"onclick"), std::string::npos);
      const auto policy = header(r, "Content-Security-Policy");
      EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
      EXPECT_NE(policy.find("frame-ancestors 'none'"), std::string::npos);
      EXPECT_EQ(policy.find("unsafe"), std::string::npos);
      EXPECT_EQ(header(r, "Cache-Control"), "no-store");
      EXPECT_EQ(header(r, "Referrer-Policy"), "no-referrer");
      EXPECT_EQ(header(r, "Location"), "");
    }
  }
}

TEST(pages, offer_only_what_is_possible) {
  actors::consent_outcome out;
  out.end = actors::consent_end::wrong_account;
  out.address = "meant@acme.test";
  out.account = "other@acme.test";
  out.pick = "p";
  auto page = outcome_page(out).body;
  EXPECT_NE(page.find("meant@acme.test"), std::string::npos);
  EXPECT_NE(page.find("other@acme.test"), std::string::npos);
  EXPECT_NE(page.find("/oauth2/link/p"), std::string::npos);
  EXPECT_EQ(page.find("all the same"), std::string::npos);
  out.accept = "a";
  EXPECT_NE(outcome_page(out).body.find("Use other@acme.test all the same"), std::string::npos);
}

}  // namespace
}  // namespace mailherd::api
