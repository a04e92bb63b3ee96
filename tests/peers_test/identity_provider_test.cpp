// tests/peers_test/identity_provider: grants without a browser and with one, rotation that forgives nothing, faults on demand.
#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <nlohmann/json.hpp>

#include "core/base64.hpp"
#include "support.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/identity_provider.hpp"

namespace mailherd::peers::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* alice = "alice@acme.test";

/// What a token endpoint gets from a program; ours, so that nothing of the fixture's own client is trusted here.
struct answer {
  long status = 0;
  std::string body;
};

std::size_t collect(char* data, std::size_t size, std::size_t count, void* into) {
  static_cast<std::string*>(into)->append(data, size * count);
  return size * count;
}

answer post(const std::string& url, const std::string& form) {
  answer out;
  CURL* easy = curl_easy_init();
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT, 20L);
  curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, form.c_str());
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &collect);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &out.body);
  if (curl_easy_perform(easy) == CURLE_OK) curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &out.status);
  curl_easy_cleanup(easy);
  return out;
}

json part(const std::string& token, int number) {
  std::string_view rest = token;
  for (; number > 0; --number) rest.remove_prefix(rest.find('.') + 1);
  std::string text(rest.substr(0, rest.find('.')));
  for (char& c : text) c = c == '-' ? '+' : c == '_' ? '/' : c;
  text.append((4 - text.size() % 4) % 4, '=');
  return json::parse(base64_decode(text).value_or("null"));
}

std::string query_value(const std::string& url, const std::string& name) {
  const auto at = url.find(name + "=");
  if (at == std::string::npos) return {};
  const auto begin = at + name.size() + 1;
  return url.substr(begin, url.find('&', begin) - begin);
}

class idp : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    idp_options options;
    options.clients.push_back({.id = "daemon", .secret = "daemon-secret", .app_domain = "acme.test"});
    provider = new identity_provider(options);
  }
  static void TearDownTestSuite() {
    delete provider;
    provider = nullptr;
  }
  void TearDown() override {
    provider->clear_faults();
    provider->clear_log();
    provider->set_access_token_ttl(3600s);
  }
  static identity_provider* provider;
};
identity_provider* idp::provider = nullptr;

TEST_F(idp, gives_a_refresh_token_without_a_browser_and_rotates_it) {
  const std::string first = provider->grant(alice);
  ASSERT_FALSE(first.empty());
  const token_answer second = provider->refresh(first);
  ASSERT_EQ(second.status, 200) << second.body;
  EXPECT_FALSE(second.refresh_token.empty());
  EXPECT_NE(second.refresh_token, first);
  EXPECT_EQ(second.expires_in, 3600);
  const json header = part(second.access_token, 0), claims = part(second.access_token, 1);
  EXPECT_EQ(header["typ"], "JWT");
  EXPECT_EQ(header["alg"], "RS256");
  EXPECT_EQ(claims["email"], alice);
  EXPECT_TRUE(fs::exists(provider->key_dir() / "default/RS256" / header["kid"].get<std::string>()));
  EXPECT_EQ(provider->refresh(second.refresh_token).status, 200);
}

TEST_F(idp, revokes_the_whole_grant_when_an_old_refresh_token_is_used_again) {
  const std::string first = provider->grant(alice), other_grant = provider->grant(alice);
  const token_answer second = provider->refresh(first);
  ASSERT_EQ(second.status, 200);
  const token_answer reused = provider->refresh(first);
  EXPECT_EQ(reused.status, 400);
  EXPECT_EQ(reused.error, "invalid_grant");
  EXPECT_EQ(provider->refresh(second.refresh_token).error, "invalid_grant") << "the newest token must be dead too";
  EXPECT_EQ(provider->refresh(other_grant).status, 200) << "another grant of the same person lives";
}

TEST_F(idp, knows_many_grants_at_once) {
  std::vector<std::string> tokens;
  for (int i = 0; i < 1200; ++i) tokens.push_back(provider->grant("user" + std::to_string(i) + "@acme.test"));
  EXPECT_EQ(provider->refresh(tokens.front()).status, 200) << "the shipped adapter forgets all but 1,000";
  EXPECT_EQ(provider->refresh(tokens.back()).status, 200);
}

TEST_F(idp, refuses_wrong_secrets_and_unknown_clients) {
  const std::string token = provider->grant(alice);
  EXPECT_EQ(provider->refresh(token, "mailherd", "wrong").error, "invalid_client");
  EXPECT_EQ(provider->refresh(token, "stranger", "x").error, "invalid_client");
  EXPECT_EQ(provider->refresh(token, "daemon", "daemon-secret").error, "invalid_grant") << "a token of another client";
  EXPECT_THROW(provider->grant(alice, "stranger"), peer_error);
  provider->add_client({.id = "late", .secret = "late-secret"});
  EXPECT_EQ(provider->refresh(provider->grant(alice, "late"), "late", "late-secret").status, 200);
}

TEST_F(idp, gives_tokens_to_applications) {
  const token_answer got = provider->client_credentials("daemon", "daemon-secret");
  ASSERT_EQ(got.status, 200) << got.body;
  EXPECT_TRUE(got.refresh_token.empty());
  EXPECT_EQ(part(got.access_token, 1)["app_mailbox"], "any@acme.test");
  const token_answer without_permission = provider->client_credentials("mailherd", "mailherd-secret");
  EXPECT_EQ(without_permission.status, 400);
  EXPECT_TRUE(without_permission.access_token.empty());
}

TEST_F(idp, takes_a_signed_assertion_instead_of_a_secret) {
  EVP_PKEY* key = EVP_RSA_gen(2048);
  BIO* memory = BIO_new(BIO_s_mem());
  PEM_write_bio_PUBKEY(memory, key);
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  provider->add_client({.id = "signer",
                        .secret = "",
                        .auth_method = "private_key_jwt",
                        .public_key = std::string(data, static_cast<std::size_t>(size)),
                        .app_domain = "acme.test"});
  const auto assertion = [&](const std::string& audience, const std::string& id) {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    const std::string text =
        base64url_encode(R"({"alg":"RS256","typ":"JWT"})") + "." +
        base64url_encode(
            json{{"iss", "signer"}, {"sub", "signer"}, {"aud", audience}, {"jti", id}, {"iat", now}, {"exp", now + 300}}.dump());
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key);
    std::size_t length = 512;
    std::string signature(length, '\0');
    EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &length,
                   reinterpret_cast<const unsigned char*>(text.data()), text.size());
    EVP_MD_CTX_free(context);
    return text + "." + base64url_encode(std::string_view(signature).substr(0, length));
  };
  const auto ask = [&](const std::string& url, const std::string& signed_by_us) {
    return post(url,
                "grant_type=client_credentials&scope=mail&client_id=signer&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-"
                "assertion-type%3Ajwt-bearer&client_assertion=" +
                    signed_by_us);
  };
  const answer direct = ask(provider->token_url(), assertion(provider->token_url(), "1"));
  EXPECT_EQ(direct.status, 200) << direct.body;
  const std::string tenant_url = provider->authority("contoso") + "/oauth2/v2.0/token";
  const answer tenant = ask(tenant_url, assertion(tenant_url, "2"));
  EXPECT_EQ(tenant.status, 200) << tenant.body;
  const answer forged = ask(provider->token_url(), assertion("https://elsewhere.test/token", "3"));
  EXPECT_EQ(forged.status, 401) << forged.body;
  BIO_free(memory);
  EVP_PKEY_free(key);
}

TEST_F(idp, lets_a_person_consent_and_refuse) {
  const std::string verifier = "a-verifier-of-at-least-forty-three-characters-0123456789";
  unsigned char digest[32];
  EVP_Digest(verifier.data(), verifier.size(), digest, nullptr, EVP_sha256(), nullptr);
  const std::string challenge = base64url_encode({reinterpret_cast<const char*>(digest), sizeof digest});
  const std::string query =
      "?response_type=code&client_id=mailherd&redirect_uri=http%3A%2F%2F127.0.0.1%2Foauth2%2Fcallback&scope=mail%20offline_access"
      "&state=s1&code_challenge_method=S256&code_challenge=" +
      challenge;
  const std::string back = provider->consent(provider->authority("contoso") + "/oauth2/v2.0/authorize" + query, alice);
  EXPECT_THAT(back, StartsWith("http://127.0.0.1/oauth2/callback?"));
  EXPECT_EQ(query_value(back, "state"), "s1");
  const std::string form =
      "grant_type=authorization_code&client_id=mailherd&client_secret=mailherd-secret&redirect_uri=http%3A%2F%2F127.0.0.1%2Foauth2%"
      "2Fcallback&code=" +
      query_value(back, "code") + "&code_verifier=";
  const answer tokens = post(provider->token_url(), form + verifier);
  ASSERT_EQ(tokens.status, 200) << tokens.body;
  const json got = json::parse(tokens.body);
  EXPECT_EQ(part(got["access_token"], 1)["email"], alice);
  EXPECT_EQ(provider->refresh(got["refresh_token"].get<std::string>()).status, 200);
  const std::string denied = provider->consent(provider->authorize_url() + query, alice, true);
  EXPECT_EQ(query_value(denied, "error"), "access_denied");
  EXPECT_EQ(query_value(denied, "state"), "s1");
}

TEST_F(idp, signs_in_a_device) {
  const answer begun = post(provider->device_url(), "client_id=mailherd&client_secret=mailherd-secret&scope=mail%20offline_access");
  ASSERT_EQ(begun.status, 200) << begun.body;
  const json device = json::parse(begun.body);
  const std::string form =
      "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&client_id=mailherd&client_secret=mailherd-secret&device_code=" +
      device["device_code"].get<std::string>();
  EXPECT_EQ(json::parse(post(provider->token_url(), form).body)["error"], "authorization_pending");
  provider->approve_device(device["user_code"].get<std::string>(), alice);
  const answer done = post(provider->token_url(), form);
  ASSERT_EQ(done.status, 200) << done.body;
  EXPECT_EQ(part(json::parse(done.body)["access_token"], 1)["email"], alice);
}

TEST_F(idp, revokes_all_grants_of_an_account) {
  const std::string hers = provider->grant(alice), his = provider->grant("bob@acme.test");
  provider->revoke(alice);
  EXPECT_EQ(provider->refresh(hers).error, "invalid_grant");
  EXPECT_EQ(provider->refresh(his).status, 200);
}

TEST_F(idp, tokens_live_as_long_as_it_is_told) {
  provider->set_access_token_ttl(7s);
  const token_answer got = provider->refresh(provider->grant(alice));
  EXPECT_EQ(got.expires_in, 7);
  const json claims = part(got.access_token, 1);
  EXPECT_EQ(claims["exp"].get<long>() - claims["iat"].get<long>(), 7);
}

TEST_F(idp, answers_what_it_is_told_as_often_as_it_is_told) {
  const std::string token = provider->grant(alice);
  provider->add_fault({.status = 429, .body = R"({"error":"temporarily_unavailable"})", .headers = {{"Retry-After", "17"}}, .times = 2});
  provider->add_fault({.status = 503, .body = "<html>not JSON</html>"});
  for (int i = 0; i < 2; ++i) {
    const token_answer busy = provider->refresh(token);
    EXPECT_EQ(busy.status, 429);
    EXPECT_EQ(busy.error, "temporarily_unavailable");
  }
  const token_answer broken = provider->refresh(token);
  EXPECT_EQ(broken.status, 503);
  EXPECT_EQ(broken.body, "<html>not JSON</html>");
  EXPECT_EQ(provider->refresh(token).status, 200) << "a fault must not consume the token";
  const auto log = provider->log();
  ASSERT_EQ(log.size(), 4U);
  EXPECT_EQ(log[0].status, 429);
  EXPECT_TRUE(log[0].fault);
  EXPECT_EQ(log[3].status, 200);
  EXPECT_FALSE(log[3].fault);
  EXPECT_EQ(log[3].account, alice);
  EXPECT_EQ(log[3].grant_type, "refresh_token");
}

TEST_F(idp, faults_hit_whom_they_name) {
  const std::string hers = provider->grant(alice), his = provider->grant("bob@acme.test");
  provider->add_fault({.match = alice, .status = 400, .body = R"({"error":"invalid_grant","error_codes":[50173]})", .times = -1});
  EXPECT_EQ(provider->refresh(hers).error, "invalid_grant");
  EXPECT_EQ(provider->refresh(his).status, 200);
  EXPECT_EQ(provider->refresh(hers).error, "invalid_grant");
  provider->clear_faults();
  EXPECT_EQ(provider->refresh(hers).status, 200);
}

TEST_F(idp, delays_an_answer) {
  const std::string token = provider->grant(alice);
  provider->add_fault({.delay = 300ms});
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(provider->refresh(token).status, 200);
  EXPECT_GE(seconds_since(start), 0.3);
}

TEST_F(idp, loses_an_answer_after_the_token_was_rotated) {
  const std::string token = provider->grant(alice);
  provider->add_fault({.lose_answer = true});
  EXPECT_THROW(provider->refresh(token), peer_error) << "the connection is cut";
  EXPECT_EQ(provider->refresh(token).error, "invalid_grant") << "the client's token is the old one now";
}

TEST_F(idp, introspection_says_which_tokens_live) {
  EXPECT_EQ(json::parse(post(provider->introspection_url(), "token=nonsense").body)["active"], false);
}

// ---- providers of their own ---------------------------------------------------------------------------------------------------------

TEST(idp_life, stops_comes_back_with_its_keys_and_freezes) {
  identity_provider provider;
  const std::string access = provider.access_token(alice);
  const auto port = provider.port();
  provider.stop();
  EXPECT_FALSE(port_open(port));
  EXPECT_THROW(provider.grant(alice), peer_error);
  provider.start();
  EXPECT_EQ(provider.port(), port);
  const std::string again = provider.access_token(alice);
  EXPECT_EQ(part(access, 0)["kid"], part(again, 0)["kid"]);
  provider.freeze();
  EXPECT_TRUE(port_open(port)) << "the kernel answers";
  provider.thaw();
  EXPECT_EQ(provider.refresh(provider.grant(alice)).status, 200);
  provider.rotate_key();
  EXPECT_NE(part(provider.access_token(alice), 0)["kid"], part(again, 0)["kid"]);
  EXPECT_TRUE(fs::exists(provider.key_dir() / "default/RS256" / part(again, 0)["kid"].get<std::string>()));
  provider.rotate_key(true);
  EXPECT_FALSE(fs::exists(provider.key_dir() / "default/RS256" / part(again, 0)["kid"].get<std::string>()));
}

TEST(idp_life, speaks_tls_with_a_certificate_of_the_test_authority) {
  const temp_dir dir;
  test_ca ca(dir.path());
  idp_options options;
  options.tls = ca.issue();
  identity_provider provider(options);
  EXPECT_THAT(provider.token_url(), StartsWith("https://localhost:"));
  EXPECT_EQ(provider.refresh(provider.grant(alice)).status, 200);
  EXPECT_NO_THROW(tls_client({.port = provider.port(), .ca_file = ca.ca_file()}));
}

TEST(idp_life, that_cannot_start_says_why) {
  const temp_dir dir;
  identity_provider first;
  idp_options options;
  options.port = first.port();
  try {
    identity_provider second(options);
    FAIL() << "two on one port";
  } catch (const peer_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("EADDRINUSE"));
  }
}

}  // namespace
}  // namespace mailherd::peers::test
