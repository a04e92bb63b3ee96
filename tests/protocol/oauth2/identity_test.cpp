// An id_token is believed only with a good signature, for this app, this request, this time; and a provider's description only of itself.
#include <gtest/gtest.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "core/base64.hpp"
#include "protocol/oauth2/identity.hpp"
#include "protocol/oauth2/metadata.hpp"

namespace mailherd::oauth2 {
namespace {

using nlohmann::json;
using key_ptr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

std::string number_in(const EVP_PKEY* key, const char* name, int width = 0) {
  BIGNUM* n = nullptr;
  EVP_PKEY_get_bn_param(key, name, &n);
  std::string bytes(static_cast<std::size_t>(width > 0 ? width : BN_num_bytes(n)), '\0');
  BN_bn2binpad(n, reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  BN_free(n);
  return base64url_encode(bytes);
}

struct issuer {
  key_ptr rsa{EVP_RSA_gen(2048), EVP_PKEY_free};
  key_ptr ec{EVP_EC_gen("P-256"), EVP_PKEY_free};

  [[nodiscard]] json rsa_key() const {
    return {{"kty", "RSA"},
            {"kid", "r"},
            {"use", "sig"},
            {"n", number_in(rsa.get(), OSSL_PKEY_PARAM_RSA_N)},
            {"e", number_in(rsa.get(), OSSL_PKEY_PARAM_RSA_E)}};
  }
  [[nodiscard]] json ec_key() const {
    return {{"kty", "EC"},
            {"crv", "P-256"},
            {"kid", "e"},
            {"x", number_in(ec.get(), OSSL_PKEY_PARAM_EC_PUB_X, 32)},
            {"y", number_in(ec.get(), OSSL_PKEY_PARAM_EC_PUB_Y, 32)}};
  }
  [[nodiscard]] std::vector<signing_key> keys() const { return *parse_keys(json{{"keys", {rsa_key(), ec_key()}}}.dump()); }

  [[nodiscard]] secret<> token(const json& claims, json header = {{"alg", "RS256"}, {"kid", "r"}}) const {
    const std::string text = base64url_encode(header.dump()) + "." + base64url_encode(claims.dump());
    const bool elliptic = header["alg"] == "ES256";
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    std::string signature(512, '\0');
    std::size_t size = signature.size();
    EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, elliptic ? ec.get() : rsa.get());
    EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size, reinterpret_cast<const unsigned char*>(text.data()),
                   text.size());
    EVP_MD_CTX_free(context);
    signature.resize(size);
    if (elliptic) {
      const auto* at = reinterpret_cast<const unsigned char*>(signature.data());
      ECDSA_SIG* pair = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size));
      std::string raw(64, '\0');
      BN_bn2binpad(ECDSA_SIG_get0_r(pair), reinterpret_cast<unsigned char*>(raw.data()), 32);
      BN_bn2binpad(ECDSA_SIG_get0_s(pair), reinterpret_cast<unsigned char*>(raw.data()) + 32, 32);
      ECDSA_SIG_free(pair);
      signature = raw;
    }
    return secret<>(text + "." + base64url_encode(signature));
  }
};

const issuer& provider() {
  static const issuer one;
  return one;
}

constexpr std::int64_t second = 1'800'000'000;
const id_expectation want{"https://id.test", "client", "nonce", wall_time(seconds(second))};
json good() {
  return {{"iss", "https://id.test"}, {"aud", "client"},     {"nonce", "nonce"}, {"sub", "7"},
          {"exp", second + 60},       {"email", "A@b.test"}, {"upn", "a@B.test"}};
}
json with(const char* name, const json& value) {
  auto claims = good();
  claims[name] = value;
  return claims;
}

TEST(id_token, is_believed_when_all_is_well) {
  const auto who = check_id_token(provider().token(good()), provider().keys(), want);
  ASSERT_TRUE(who) << who.error().detail;
  EXPECT_EQ(who->subject, "7");
  EXPECT_EQ(who->names, (std::vector<std::string>{"A@b.test"})) << "the same name once, whatever its case";
  EXPECT_TRUE(check_id_token(provider().token(good(), {{"alg", "ES256"}, {"kid", "e"}}), provider().keys(), want));
  EXPECT_TRUE(check_id_token(provider().token(good(), {{"alg", "RS256"}}), provider().keys(), want)) << "no kid: every key is tried";
  EXPECT_TRUE(check_id_token(provider().token(with("aud", {"client"})), provider().keys(), want));
  auto azp = with("aud", {"client", "other"});
  azp["azp"] = "client";
  EXPECT_TRUE(check_id_token(provider().token(azp), provider().keys(), want));
  EXPECT_TRUE(check_id_token(provider().token(with("exp", second - 200)), provider().keys(), want)) << "clocks differ a little";
  EXPECT_EQ(claimed_issuer(provider().token(good())), "https://id.test");
}

TEST(id_token, is_refused_for_each_thing_that_is_wrong) {
  auto no_exp = good(), no_sub = good();
  no_exp.erase("exp");
  no_sub.erase("sub");
  for (const auto& claims :
       {with("iss", "https://evil.test"), with("iss", "https://id.test/"), with("aud", "other"), with("aud", {"client", "other"}), with("nonce", "x"),
        with("nonce", nullptr), with("exp", second - 400), with("exp", 1e300), with("exp", "soon"), with("nbf", second + 400), no_exp, no_sub}) {
    const auto who = check_id_token(provider().token(claims), provider().keys(), want);
    ASSERT_FALSE(who) << claims;
    EXPECT_EQ(who.error().code, failure::invalid_input);
  }
}

TEST(id_token, is_refused_with_another_signature_key_or_algorithm) {
  const issuer other;
  EXPECT_FALSE(check_id_token(other.token(good()), provider().keys(), want));
  EXPECT_EQ(check_id_token(provider().token(good(), {{"alg", "RS256"}, {"kid", "new"}}), provider().keys(), want).error().code, failure::not_found);
  for (const auto& header : {json{{"alg", "none"}}, json{{"alg", "HS256"}, {"kid", "r"}}, json{{"alg", "RS512"}, {"kid", "r"}},
                             json{{"alg", "RS256"}, {"kid", "r"}, {"crit", {"x"}}}, json{{"alg", "ES256"}, {"kid", "r"}}})
    EXPECT_FALSE(check_id_token(provider().token(good(), header), provider().keys(), want)) << header;
  const auto whole = provider().token(good());
  std::string text = whole.reveal();
  for (const std::size_t at : {std::size_t{3}, text.find('.') + 5, text.size() - 5}) {
    std::string changed = text;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(check_id_token(secret<>(changed), provider().keys(), want)) << at;
  }
  for (const auto* broken : {"", ".", "..", "a.b", "a.b.c", "....", "e30.e30."})
    EXPECT_FALSE(check_id_token(secret<>(std::string(broken)), provider().keys(), want));
  // What is before the last dot, signed by nobody.
  EXPECT_FALSE(check_id_token(secret<>(text.substr(0, text.rfind('.') + 1)), provider().keys(), want));
}

TEST(id_token, of_microsoft_names_its_directory) {
  auto expects = want;
  expects.issuer = "https://login.test/{tenantid}/v2.0";
  auto claims = with("iss", "https://login.test/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0");
  EXPECT_FALSE(check_id_token(provider().token(claims), provider().keys(), expects)) << "without tid";
  claims["tid"] = "9122040d-6c67-4c5b-b112-36a304b66dad";
  EXPECT_TRUE(check_id_token(provider().token(claims), provider().keys(), expects));
  claims["tid"] = "other";
  EXPECT_FALSE(check_id_token(provider().token(claims), provider().keys(), expects));
  claims["tid"] = "x/../../evil";
  claims["iss"] = "https://login.test/x/../../evil/v2.0";
  EXPECT_FALSE(check_id_token(provider().token(claims), provider().keys(), expects));
}

TEST(keys, are_passed_over_when_they_cannot_sign_what_is_accepted) {
  auto small = provider().rsa_key(), enc = provider().rsa_key(), curve = provider().ec_key();
  enc["use"] = "enc";
  curve["crv"] = "P-521";
  small["n"] = "AQAB";
  EXPECT_EQ(parse_keys(json{{"keys", {enc, curve, json{{"kty", "oct"}}, 7, provider().rsa_key()}}}.dump())->size(), 1U);
  EXPECT_FALSE(check_id_token(provider().token(good()), *parse_keys(json{{"keys", {small}}}.dump()), want));
  for (const auto* broken : {"", "[]", "{}", "{\"keys\":1}"}) EXPECT_FALSE(parse_keys(broken)) << broken;
}

TEST(metadata, speaks_only_for_its_own_issuer) {
  const auto text = [](const char* who) {
    return json{
        {"issuer", who}, {"authorization_endpoint", "https://id.test/a"}, {"token_endpoint", "https://id.test/t"}, {"jwks_uri", "https://id.test/k"}}
        .dump();
  };
  oauth_app app;
  app.issuer = "https://id.test/";
  const auto url = *metadata_url(app);
  EXPECT_EQ(url, "https://id.test/.well-known/openid-configuration");
  const auto facts = parse_metadata(app, url, text("https://id.test"));
  ASSERT_TRUE(facts);
  EXPECT_EQ(completed(app, *facts).token_url, "https://id.test/t");
  EXPECT_TRUE(speaks_for(*facts, "https://id.test/other/token"));
  EXPECT_FALSE(speaks_for(*facts, "https://evil.test/t"));
  EXPECT_FALSE(speaks_for(*facts, ""));
  EXPECT_EQ(parse_metadata(app, url, text("https://evil.test")).error().code, failure::app_misconfigured);
  EXPECT_EQ(parse_metadata(app, url, "<html>").error().code, failure::token_unavailable);
  app.issuer = "https://b2c.test/policy/.well-known/openid-configuration";
  EXPECT_EQ(*metadata_url(app), app.issuer);
  EXPECT_TRUE(parse_metadata(app, app.issuer, text("https://login.test/v2"))) << "the document itself was named";
  oauth_app microsoft;
  microsoft.provider = provider_kind::microsoft;
  microsoft.authority = "https://login.microsoftonline.us/contoso.com";
  EXPECT_EQ(*metadata_url(microsoft), "https://login.microsoftonline.us/contoso.com/v2.0/.well-known/openid-configuration");
  EXPECT_TRUE(parse_metadata(microsoft, *metadata_url(microsoft), text("https://login.microsoftonline.us/{tenantid}/v2.0")));
  microsoft.token_url = "https://proxy.test/token";
  EXPECT_EQ(*metadata_url(microsoft), "") << "tokens of another endpoint are not judged by Microsoft's keys";
}

}  // namespace
}  // namespace mailherd::oauth2
