// tests/protocol/oauth2: endpoints and scopes of every provider, cloud and override.
#include <gmock/gmock.h>

#include "protocol/oauth2/providers.hpp"

namespace mailherd {
namespace {

using oauth2::endpoints_for;
using testing::ElementsAre;
using testing::HasSubstr;

oauth_app microsoft(const std::string& authority) {
  oauth_app app;
  app.provider = provider_kind::microsoft;
  app.authority = authority;
  return app;
}

TEST(providers, microsoft_for_people) {
  const auto e = endpoints_for(microsoft(""), protocol_kind::imap, grant_kind::authorization_code);
  ASSERT_TRUE(e) << describe(e.error());
  EXPECT_EQ(e->authorize_url, "https://login.microsoftonline.com/common/oauth2/v2.0/authorize");
  EXPECT_EQ(e->token_url, "https://login.microsoftonline.com/common/oauth2/v2.0/token");
  EXPECT_EQ(e->device_url, "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode");
  EXPECT_THAT(e->scopes, ElementsAre("https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access", "openid", "profile", "email"));
  EXPECT_TRUE(e->scope_on_refresh);
  EXPECT_EQ(endpoints_for(microsoft("contoso.com"), protocol_kind::pop3, grant_kind::device_code)->scopes.front(),
            "https://outlook.office.com/POP.AccessAsUser.All");
}

TEST(providers, microsoft_for_apps_needs_one_directory) {
  const auto e = endpoints_for(microsoft("contoso.com"), protocol_kind::imap, grant_kind::client_credentials);
  ASSERT_TRUE(e);
  EXPECT_EQ(e->token_url, "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token");
  EXPECT_THAT(e->scopes, ElementsAre("https://outlook.office365.com/.default"));
  for (const char* shared : {"", "common", "organizations", "consumers"}) {
    const auto refused = endpoints_for(microsoft(shared), protocol_kind::imap, grant_kind::client_credentials);
    ASSERT_FALSE(refused) << shared;
    EXPECT_EQ(refused.error().code, failure::app_misconfigured);
  }
}

TEST(providers, national_clouds_have_their_own_services) {
  const auto us =
      endpoints_for(microsoft("https://login.microsoftonline.us/contoso.us/"), protocol_kind::imap, grant_kind::client_credentials);
  ASSERT_TRUE(us);
  EXPECT_EQ(us->token_url, "https://login.microsoftonline.us/contoso.us/oauth2/v2.0/token");
  EXPECT_THAT(us->scopes, ElementsAre("https://outlook.office365.us/.default"));
  const auto cn =
      endpoints_for(microsoft("https://login.partner.microsoftonline.cn/contoso.cn"), protocol_kind::pop3, grant_kind::authorization_code);
  ASSERT_TRUE(cn);
  EXPECT_EQ(cn->scopes.front(), "https://partner.outlook.cn/POP.AccessAsUser.All");
  const auto issuer =
      endpoints_for(microsoft("https://login.microsoftonline.com/contoso.com/v2.0"), protocol_kind::imap, grant_kind::authorization_code);
  ASSERT_TRUE(issuer);
  EXPECT_EQ(issuer->token_url, "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token");
  const auto own = endpoints_for(microsoft("http://127.0.0.1:9000/tenant"), protocol_kind::imap, grant_kind::authorization_code);
  ASSERT_TRUE(own);
  EXPECT_EQ(own->token_url, "http://127.0.0.1:9000/tenant/oauth2/v2.0/token");
}

TEST(providers, an_authority_cannot_inject) {
  for (const char* bad :
       {"contoso.com/../evil", "a b", "x?y=z", "https://", "https://evil.test/a/b", "ftp://x/y", "contoso.com#", "https://e.test/a b"}) {
    const auto e = endpoints_for(microsoft(bad), protocol_kind::imap, grant_kind::authorization_code);
    ASSERT_FALSE(e) << bad << " gave " << e->token_url;
    EXPECT_EQ(e.error().code, failure::app_misconfigured);
  }
}

TEST(providers, google) {
  oauth_app app;
  app.provider = provider_kind::google;
  const auto e = endpoints_for(app, protocol_kind::pop3, grant_kind::authorization_code);
  ASSERT_TRUE(e);
  EXPECT_EQ(e->token_url, "https://oauth2.googleapis.com/token");
  EXPECT_EQ(e->scopes.front(), "https://mail.google.com/");
  EXPECT_FALSE(e->scope_on_refresh);
  EXPECT_EQ(endpoints_for(app, protocol_kind::imap, grant_kind::client_credentials).error().code, failure::app_misconfigured);
}

TEST(providers, custom_ones_bring_their_urls) {
  oauth_app app;
  EXPECT_THAT(endpoints_for(app, protocol_kind::imap, grant_kind::authorization_code).error().detail, HasSubstr("token_url"));
  app.token_url = "https://idp.test/token";
  app.scopes = {"mail", "offline_access"};
  const auto e = endpoints_for(app, protocol_kind::imap, grant_kind::client_credentials);
  ASSERT_TRUE(e);
  EXPECT_EQ(e->authorize_url, "");
  EXPECT_THAT(e->scopes, ElementsAre("mail", "offline_access"));
  app.authorize_url = "javascript:alert(1)";
  EXPECT_THAT(endpoints_for(app, protocol_kind::imap, grant_kind::authorization_code).error().detail, HasSubstr("authorize_url"));
}

TEST(providers, what_an_app_names_itself_wins) {
  auto app = microsoft("common");
  app.token_url = "http://127.0.0.1:9000/token";
  app.scopes = {"x"};
  const auto e = endpoints_for(app, protocol_kind::imap, grant_kind::client_credentials);
  ASSERT_TRUE(e);
  EXPECT_EQ(e->token_url, "http://127.0.0.1:9000/token");
  EXPECT_THAT(e->scopes, ElementsAre("x"));
}

}  // namespace
}  // namespace mailherd
