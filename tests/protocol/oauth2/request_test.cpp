// tests/protocol/oauth2: requests: forms, client proofs (verified with the public key), consent URLs, PKCE.
#include <gmock/gmock.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <map>
#include <nlohmann/json.hpp>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "protocol/oauth2/oauth2.hpp"

namespace mailherd {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const wall_time now{std::chrono::seconds(1795486332)};

std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::map<std::string, std::string> form_of(std::string_view body) {
  std::map<std::string, std::string> form;
  while (!body.empty()) {
    const auto pair = body.substr(0, body.find('&'));
    body.remove_prefix(std::min(pair.size() + 1, body.size()));
    const auto equals = pair.find('=');
    EXPECT_TRUE(form.emplace(unescape(pair.substr(0, equals)), unescape(pair.substr(equals + 1))).second) << pair;
  }
  return form;
}

std::map<std::string, std::string> form_of(const result<oauth2::token_request>& r) {
  EXPECT_TRUE(r) << (r ? "" : describe(r.error()));
  if (!r) return {};
  EXPECT_EQ(r->content_type, "application/x-www-form-urlencoded");
  return form_of(r->body.reveal());
}

oauth_app app_of(provider_kind provider) {
  oauth_app app;
  app.provider = provider;
  app.client_id = "client-1";
  app.client_secret = secret<>(std::string("s&cret=+ ü"));
  app.authority = "contoso.com";
  if (provider == provider_kind::custom) {
    app.authorize_url = "https://idp.test/auth?x=1";
    app.token_url = "https://idp.test/token";
    app.scopes = {"mail"};
  }
  return app;
}

credential grant_of(grant_kind grant, const std::string& refresh = "r&t") {
  credential c;
  c.type = auth_type::oauth2;
  c.grant = grant;
  c.refresh_token = secret<>(refresh);
  return c;
}

/// An RSA key and a certificate for it, valid until `not_after` days from `now`.
struct key_pair {
  EVP_PKEY* key = nullptr;
  std::string private_pem, certificate_pem, sha256_thumbprint;

  explicit key_pair(unsigned bits = 2048, int days = 30) : key(EVP_RSA_gen(bits)) {
    X509* certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_time_adj_ex(X509_getm_notBefore(certificate), -400, 0, base());
    X509_time_adj_ex(X509_getm_notAfter(certificate), days, 0, base());
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    unsigned char digest[32];
    unsigned int size = 0;
    X509_digest(certificate, EVP_sha256(), digest, &size);
    sha256_thumbprint = base64url_encode({reinterpret_cast<char*>(digest), size});
    BIO* out = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(out, certificate);
    certificate_pem = drain(out);
    PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
    private_pem = drain(out);
    BIO_free(out);
    X509_free(certificate);
  }
  ~key_pair() { EVP_PKEY_free(key); }
  key_pair(const key_pair&) = delete;
  key_pair& operator=(const key_pair&) = delete;

  [[nodiscard]] bool verifies(std::string_view text, const std::string& signature) const {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, key);
    const bool good = EVP_DigestVerify(context, reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                                       reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
    EVP_MD_CTX_free(context);
    return good;
  }

 private:
  static std::time_t* base() {
    static std::time_t t;
    t = std::chrono::system_clock::to_time_t(now);
    return &t;
  }
  static std::string drain(BIO* bio) {
    char* data = nullptr;
    const auto size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<std::size_t>(size));
    (void)BIO_reset(bio);
    return text;
  }
};

std::string from_base64url(std::string text) {
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  text.append((4 - text.size() % 4) % 4, '=');
  return base64_decode(text).value_or("");
}

TEST(token_request, refresh_at_microsoft_names_the_scopes_and_the_secret) {
  const auto request =
      oauth2::build_token_request(app_of(provider_kind::microsoft), grant_of(grant_kind::authorization_code), protocol_kind::imap, now);
  const auto form = form_of(request);
  EXPECT_EQ(request->url, "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token");
  EXPECT_EQ(form.at("grant_type"), "refresh_token");
  EXPECT_EQ(form.at("refresh_token"), "r&t");
  EXPECT_EQ(form.at("client_id"), "client-1");
  EXPECT_EQ(form.at("client_secret"), "s&cret=+ ü");
  EXPECT_EQ(form.at("scope"), "https://outlook.office.com/IMAP.AccessAsUser.All offline_access openid profile email");
  EXPECT_EQ(form.count("client_assertion"), 0u);
}

TEST(token_request, refresh_at_google_names_no_scope) {
  const auto form = form_of(
      oauth2::build_token_request(app_of(provider_kind::google), grant_of(grant_kind::authorization_code), protocol_kind::imap, now));
  EXPECT_EQ(form.count("scope"), 0u);
  EXPECT_EQ(form.at("grant_type"), "refresh_token");
}

TEST(token_request, client_credentials) {
  const auto form = form_of(oauth2::build_token_request(app_of(provider_kind::microsoft), grant_of(grant_kind::client_credentials, ""),
                                                        protocol_kind::imap, now));
  EXPECT_EQ(form.at("grant_type"), "client_credentials");
  EXPECT_EQ(form.at("scope"), "https://outlook.office365.com/.default");
  EXPECT_EQ(form.count("refresh_token"), 0u);
  auto bare = app_of(provider_kind::microsoft);
  bare.client_secret = {};
  EXPECT_EQ(oauth2::build_token_request(bare, grant_of(grant_kind::client_credentials, ""), protocol_kind::imap, now).error().code,
            failure::app_misconfigured);
}

TEST(token_request, without_a_grant_somebody_must_consent) {
  const auto r =
      oauth2::build_token_request(app_of(provider_kind::google), grant_of(grant_kind::device_code, ""), protocol_kind::imap, now);
  EXPECT_EQ(r.error().code, failure::consent_required);
}

TEST(token_request, without_a_client_id_the_app_is_to_blame) {
  auto app = app_of(provider_kind::google);
  app.client_id.clear();
  EXPECT_EQ(oauth2::build_token_request(app, grant_of(grant_kind::authorization_code), protocol_kind::imap, now).error().code,
            failure::app_misconfigured);
}

TEST(assertion, is_signed_by_the_key_and_names_the_certificate) {
  const key_pair pair;
  auto app = app_of(provider_kind::microsoft);
  app.private_key = secret<>(pair.private_pem);
  app.certificate = pair.certificate_pem;
  const auto first = form_of(oauth2::build_token_request(app, grant_of(grant_kind::client_credentials, ""), protocol_kind::imap, now));
  EXPECT_EQ(first.at("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
  EXPECT_EQ(first.count("client_secret"), 0u);
  const std::string jwt = first.at("client_assertion");
  const auto dot = jwt.find('.'), last = jwt.rfind('.');
  ASSERT_TRUE(dot != std::string::npos && dot < last);
  EXPECT_TRUE(pair.verifies(std::string_view(jwt).substr(0, last), from_base64url(jwt.substr(last + 1))));
  const auto header = nlohmann::json::parse(from_base64url(jwt.substr(0, dot)));
  const auto claims = nlohmann::json::parse(from_base64url(jwt.substr(dot + 1, last - dot - 1)));
  EXPECT_EQ(header.at("alg"), "RS256");
  EXPECT_EQ(header.at("typ"), "JWT");
  EXPECT_EQ(header.at("x5t#S256"), pair.sha256_thumbprint);
  EXPECT_EQ(header.at("x5t").get<std::string>().size(), 27u);  // 20 bytes
  EXPECT_EQ(claims.at("aud"), "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token");
  EXPECT_EQ(claims.at("iss"), "client-1");
  EXPECT_EQ(claims.at("sub"), "client-1");
  EXPECT_EQ(claims.at("iat"), 1795486332);
  EXPECT_EQ(claims.at("nbf"), 1795486332);
  EXPECT_EQ(claims.at("exp"), 1795486332 + 300);
  const auto second = form_of(oauth2::build_token_request(app, grant_of(grant_kind::client_credentials, ""), protocol_kind::imap, now))
                          .at("client_assertion");
  EXPECT_NE(second, jwt) << "jti must be new each time";
}

TEST(assertion, unusable_keys_are_the_apps_fault_and_are_not_repeated) {
  const key_pair pair, other, expired(2048, -1), weak(1024);
  EVP_PKEY* curve = EVP_EC_gen("P-256");
  BIO* out = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(out, curve, nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const auto size = BIO_get_mem_data(out, &data);
  const std::string curve_pem(data, static_cast<std::size_t>(size));
  (void)BIO_reset(out);
  PEM_write_bio_PrivateKey(out, pair.key, EVP_aes_128_cbc(), reinterpret_cast<const unsigned char*>("pass"), 4, nullptr, nullptr);
  const auto encrypted_size = BIO_get_mem_data(out, &data);
  const std::string encrypted_pem(data, static_cast<std::size_t>(encrypted_size));
  BIO_free(out);
  EVP_PKEY_free(curve);
  struct row {
    std::string key, certificate, words;
  };
  for (const row& r :
       {row{"garbage", pair.certificate_pem, "PEM key"}, row{encrypted_pem, pair.certificate_pem, "unencrypted"},
        row{curve_pem, pair.certificate_pem, "RSA"}, row{weak.private_pem, weak.certificate_pem, "2048"},
        row{pair.private_pem, other.certificate_pem, "does not belong"}, row{expired.private_pem, expired.certificate_pem, "expired"},
        row{pair.private_pem, "garbage", "certificate"}, row{pair.private_pem, "", "without its certificate"}}) {
    auto app = app_of(provider_kind::microsoft);
    app.private_key = secret<>(r.key);
    app.certificate = r.certificate;
    const auto request = oauth2::build_token_request(app, grant_of(grant_kind::authorization_code), protocol_kind::imap, now);
    ASSERT_FALSE(request) << r.words;
    EXPECT_EQ(request.error().code, failure::app_misconfigured);
    EXPECT_THAT(request.error().detail, HasSubstr(r.words));
    EXPECT_THAT(request.error().detail, Not(HasSubstr("BEGIN")));
  }
}

TEST(assertion, a_custom_provider_may_know_the_key_without_certificate) {
  const key_pair pair;
  auto app = app_of(provider_kind::custom);
  app.private_key = secret<>(pair.private_pem);
  const auto form = form_of(oauth2::build_token_request(app, grant_of(grant_kind::authorization_code), protocol_kind::imap, now));
  EXPECT_EQ(form.at("scope"), "mail");
  const std::string jwt = form.at("client_assertion");
  EXPECT_TRUE(pair.verifies(std::string_view(jwt).substr(0, jwt.rfind('.')), from_base64url(jwt.substr(jwt.rfind('.') + 1))));
}

TEST(client_auth, basic_for_custom_providers_that_insist_on_it) {
  const auto app = app_of(provider_kind::custom);
  const auto request =
      oauth2::build_token_request(app, grant_of(grant_kind::authorization_code), protocol_kind::imap, now, oauth2::client_auth::basic);
  const auto form = form_of(request);
  EXPECT_EQ(request->authorization.reveal(), "Basic " + base64_encode("client-1:s%26cret%3D%2B%20%C3%BC"));
  EXPECT_EQ(form.count("client_id") + form.count("client_secret"), 0u) << "one method per request";
  EXPECT_TRUE(oauth2::build_token_request(app, grant_of(grant_kind::authorization_code), protocol_kind::imap, now)->authorization.empty());
  auto open = app;
  open.client_secret = {};
  EXPECT_EQ(form_of(oauth2::build_token_request(open, grant_of(grant_kind::authorization_code), protocol_kind::imap, now,
                                                oauth2::client_auth::basic))
                .at("client_id"),
            "client-1");

  const error refused{failure::app_misconfigured, "invalid_client", {}};
  EXPECT_TRUE(oauth2::wants_basic(app, oauth2::client_auth::body, 401, refused));
  EXPECT_FALSE(oauth2::wants_basic(app, oauth2::client_auth::basic, 401, refused)) << "once";
  EXPECT_FALSE(oauth2::wants_basic(app_of(provider_kind::microsoft), oauth2::client_auth::body, 401, refused));
  EXPECT_FALSE(oauth2::wants_basic(open, oauth2::client_auth::body, 401, refused));
  EXPECT_FALSE(oauth2::wants_basic(app, oauth2::client_auth::body, 400, error{failure::consent_required, "", {}}));
}

TEST(pkce, challenge_is_the_digest_of_the_verifier) {
  const auto a = oauth2::make_pkce(), b = oauth2::make_pkce();
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->verifier.reveal().size(), 43u);
  EXPECT_FALSE(a->verifier == b->verifier);
  unsigned char digest[32];
  EVP_Digest(a->verifier.reveal().data(), a->verifier.reveal().size(), digest, nullptr, EVP_sha256(), nullptr);
  EXPECT_EQ(a->challenge, base64url_encode({reinterpret_cast<char*>(digest), 32}));
}

TEST(consent_url, asks_each_provider_in_its_way) {
  const oauth2::consent_request what{"https://me.test/oauth2/callback", "st&te", "challenge", "joe@x.test"};
  auto url = oauth2::consent_url(app_of(provider_kind::google), protocol_kind::imap, what);
  ASSERT_TRUE(url);
  auto query = form_of(std::string_view(*url).substr(url->find('?') + 1));
  EXPECT_EQ(query.at("access_type"), "offline");
  EXPECT_EQ(query.at("prompt"), "consent");
  EXPECT_EQ(query.at("state"), "st&te");
  EXPECT_EQ(query.at("redirect_uri"), "https://me.test/oauth2/callback");
  EXPECT_EQ(query.at("code_challenge_method"), "S256");
  EXPECT_EQ(query.at("login_hint"), "joe@x.test");
  EXPECT_EQ(query.at("response_type"), "code");
  EXPECT_EQ(query.count("client_secret"), 0u);
  url = oauth2::consent_url(app_of(provider_kind::microsoft), protocol_kind::imap, what);
  query = form_of(std::string_view(*url).substr(url->find('?') + 1));
  EXPECT_EQ(query.at("prompt"), "select_account");
  EXPECT_THAT(query.at("scope"), HasSubstr("offline_access"));
  url = oauth2::consent_url(app_of(provider_kind::custom), protocol_kind::imap, what);
  EXPECT_THAT(*url, StartsWith("https://idp.test/auth?x=1&response_type=code&"));
  auto none = app_of(provider_kind::custom);
  none.authorize_url.clear();
  EXPECT_EQ(oauth2::consent_url(none, protocol_kind::imap, what).error().code, failure::app_misconfigured);
}

TEST(consent_url, for_directory_administrators) {
  const auto url = oauth2::admin_consent_url(app_of(provider_kind::microsoft), "https://me.test/cb", "s");
  ASSERT_TRUE(url) << describe(url.error());
  EXPECT_THAT(*url, StartsWith("https://login.microsoftonline.com/contoso.com/v2.0/adminconsent?client_id=client-1&"));
  EXPECT_EQ(oauth2::admin_consent_url(app_of(provider_kind::google), "https://me.test/cb", "s").error().code, failure::invalid_input);
}

TEST(code_request, carries_code_and_verifier) {
  const auto form = form_of(oauth2::build_code_request(app_of(provider_kind::custom), protocol_kind::imap, secret<>(std::string("c/d")),
                                                       "https://me.test/cb", secret<>(std::string("verifier")), now));
  EXPECT_EQ(form.at("grant_type"), "authorization_code");
  EXPECT_EQ(form.at("code"), "c/d");
  EXPECT_EQ(form.at("code_verifier"), "verifier");
  EXPECT_EQ(form.at("redirect_uri"), "https://me.test/cb");
  EXPECT_EQ(oauth2::build_code_request(app_of(provider_kind::custom), protocol_kind::imap, {}, "", {}, now).error().code,
            failure::invalid_input);
}

TEST(device_request, begins_and_polls) {
  const auto begin = oauth2::build_device_request(app_of(provider_kind::microsoft), protocol_kind::imap, now);
  EXPECT_THAT(begin->url, HasSubstr("/devicecode"));
  EXPECT_THAT(form_of(begin).at("scope"), HasSubstr("IMAP.AccessAsUser.All"));
  const auto poll =
      form_of(oauth2::build_device_poll_request(app_of(provider_kind::microsoft), protocol_kind::imap, secret<>(std::string("dc")), now));
  EXPECT_EQ(poll.at("grant_type"), "urn:ietf:params:oauth:grant-type:device_code");
  EXPECT_EQ(poll.at("device_code"), "dc");
  EXPECT_EQ(oauth2::build_device_request(app_of(provider_kind::custom), protocol_kind::imap, now).error().code, failure::app_misconfigured);
}

}  // namespace
}  // namespace mailherd
