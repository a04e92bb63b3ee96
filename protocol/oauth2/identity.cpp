// protocol/oauth2/identity: see the header.
#include "protocol/oauth2/identity.hpp"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::oauth2 {

namespace {

using nlohmann::json;

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* p) const noexcept {
    Free(p);
  }
};
using key_ptr = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using key_context = std::unique_ptr<EVP_PKEY_CTX, freed_by<EVP_PKEY_CTX_free>>;
using builder_ptr = std::unique_ptr<OSSL_PARAM_BLD, freed_by<OSSL_PARAM_BLD_free>>;
using params_ptr = std::unique_ptr<OSSL_PARAM, freed_by<OSSL_PARAM_free>>;
using number_ptr = std::unique_ptr<BIGNUM, freed_by<BN_free>>;
using digest_ptr = std::unique_ptr<EVP_MD_CTX, freed_by<EVP_MD_CTX_free>>;
using signature_ptr = std::unique_ptr<ECDSA_SIG, freed_by<ECDSA_SIG_free>>;

constexpr int rsa_bits_min = 2048;
constexpr std::size_t rsa_bytes_max = 1024;  // 8192 bits: a larger modulus only costs us time
constexpr std::size_t p256_bytes = 32;

/// What is left in OpenSSL's queue of errors would be taken for the error of the next TLS read.
struct clean_errors {
  ~clean_errors() { ERR_clear_error(); }
};

std::string_view text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return {};
  return found->get_ref<const std::string&>();
}

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

number_ptr number_of(std::string_view bytes) { return number_ptr(BN_bin2bn(bytes_of(bytes), static_cast<int>(bytes.size()), nullptr)); }

key_ptr made_key(const char* type, OSSL_PARAM_BLD* from) {
  const params_ptr params(OSSL_PARAM_BLD_to_param(from));
  const key_context context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* made = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_PUBLIC_KEY, params.get()) != 1)
    return nullptr;
  return key_ptr(made);
}

key_ptr rsa_key(const signing_key& k) {
  const auto n = number_of(k.n), e = number_of(k.e);
  const builder_ptr builder(OSSL_PARAM_BLD_new());
  if (!n || !e || !builder || OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1)
    return nullptr;
  auto key = made_key("RSA", builder.get());
  return key && EVP_PKEY_get_bits(key.get()) >= rsa_bits_min ? std::move(key) : nullptr;
}

key_ptr ec_key(const signing_key& k) {
  const std::string point = '\x04' + k.x + k.y;  // SEC 1, 2.3.3: uncompressed
  const builder_ptr builder(OSSL_PARAM_BLD_new());
  if (!builder || OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1)
    return nullptr;
  return made_key("EC", builder.get());
}

/// JWS has r and s side by side (RFC 7518, 3.4), OpenSSL wants them in DER.
std::string der_of(std::string_view signature) {
  if (signature.size() != 2 * p256_bytes) return {};
  auto r = number_of(signature.substr(0, p256_bytes)), s = number_of(signature.substr(p256_bytes));
  const signature_ptr pair(ECDSA_SIG_new());
  if (!r || !s || !pair || ECDSA_SIG_set0(pair.get(), r.get(), s.get()) != 1) return {};
  static_cast<void>(r.release());
  static_cast<void>(s.release());
  unsigned char* out = nullptr;
  const int size = i2d_ECDSA_SIG(pair.get(), &out);
  if (size <= 0) return {};
  std::string der(reinterpret_cast<const char*>(out), static_cast<std::size_t>(size));
  OPENSSL_free(out);
  return der;
}

bool signed_by(const signing_key& k, std::string_view text, std::string_view signature) {
  const clean_errors at_exit;
  const auto key = k.elliptic ? ec_key(k) : rsa_key(k);
  const std::string der = k.elliptic ? der_of(signature) : std::string(signature);
  const digest_ptr context(EVP_MD_CTX_new());
  return key && !der.empty() && context && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), bytes_of(der), der.size(), bytes_of(text), text.size()) == 1;
}

struct parts {
  json header, claims;
  std::string_view signed_text;
  std::string signature;
};

std::optional<parts> split(const std::string& token) {
  if (token.size() > limits::id_token_bytes) return std::nullopt;
  const auto first = token.find('.');
  const auto second = first == std::string::npos ? first : token.find('.', first + 1);
  if (second == std::string::npos || token.find('.', second + 1) != std::string::npos) return std::nullopt;
  const std::string_view all = token;
  const auto header = base64url_decode(all.substr(0, first)), claims = base64url_decode(all.substr(first + 1, second - first - 1));
  auto signature = base64url_decode(all.substr(second + 1));
  if (!header || !claims || !signature) return std::nullopt;
  parts p{json::parse(*header, nullptr, false), json::parse(*claims, nullptr, false), all.substr(0, second), std::move(*signature)};
  if (!p.header.is_object() || !p.claims.is_object()) return std::nullopt;
  return p;
}

auto refused(const char* what) { return fail(failure::invalid_input, what); }

/// Seconds since 1970; nullopt if absent or absurd.
std::optional<wall_time> time_of(const json& claims, const char* key) {
  const auto found = claims.find(key);
  if (found == claims.end() || !found->is_number()) return std::nullopt;
  const double value = found->get<double>();
  if (!(value >= 0 && value < 1e11)) return std::nullopt;
  return wall_time(seconds(static_cast<std::int64_t>(value)));
}

/// The directory must look like one: it becomes part of what the issuer is compared with.
bool is_directory(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
  });
}

std::string wanted_issuer(const std::string& issuer, const json& claims) {
  constexpr std::string_view mark = "{tenantid}";
  const auto at = issuer.find(mark);
  if (at == std::string::npos) return issuer;
  const auto directory = text_of(claims, "tid");
  if (!is_directory(directory)) return {};
  return issuer.substr(0, at) + std::string(directory) + issuer.substr(at + mark.size());
}

/// `aud` names the client; among several audiences `azp` must say that it is the one the token was made for (Core, 2).
bool is_for(const json& claims, const std::string& client) {
  if (text_of(claims, "aud") == client) return true;
  const auto found = claims.find("aud");
  if (found == claims.end() || !found->is_array()) return false;
  const bool named =
      std::any_of(found->begin(), found->end(), [&](const json& a) { return a.is_string() && a.get_ref<const std::string&>() == client; });
  return named && (found->size() == 1 || text_of(claims, "azp") == client);
}

result<void> check_claims(const json& claims, const id_expectation& want) {
  const auto issuer = wanted_issuer(want.issuer, claims);
  if (issuer.empty() || text_of(claims, "iss") != issuer) return refused("the id_token is of another issuer");
  if (want.audience.empty() || !is_for(claims, want.audience)) return refused("the id_token is for another app");
  if (!want.nonce.empty() && !equal_in_constant_time(text_of(claims, "nonce"), want.nonce)) return refused("the id_token belongs to another request");
  const auto expires = time_of(claims, "exp");
  if (!expires || *expires + limits::id_token_skew < want.now) return refused("the id_token has expired; is this computer's clock right?");
  if (const auto begins = time_of(claims, "nbf"); begins && *begins - limits::id_token_skew > want.now)
    return refused("the id_token is not valid yet; is this computer's clock right?");
  if (text_of(claims, "sub").empty()) return refused("the id_token names nobody");
  return {};
}

id_claims read_claims(const json& claims) {
  id_claims out{std::string(text_of(claims, "iss")), std::string(text_of(claims, "sub")), {}};
  for (const char* const key : {"preferred_username", "email", "upn"}) {
    auto name = clean_server_text(text_of(claims, key));
    const auto same = [&](const std::string& other) { return equal_text(other, name); };
    if (!name.empty() && std::none_of(out.names.begin(), out.names.end(), same)) out.names.push_back(std::move(name));
  }
  return out;
}

std::optional<signing_key> read_key(const json& k) {
  if (!k.is_object()) return std::nullopt;
  const auto type = text_of(k, "kty"), algorithm = text_of(k, "alg"), use = text_of(k, "use");
  if (!use.empty() && use != "sig") return std::nullopt;
  signing_key out;
  out.id = text_of(k, "kid");
  if (type == "RSA" && (algorithm.empty() || algorithm == "RS256")) {
    auto n = base64url_decode(text_of(k, "n")), e = base64url_decode(text_of(k, "e"));
    if (!n || !e || n->empty() || e->empty() || n->size() > rsa_bytes_max || e->size() > 8) return std::nullopt;
    out.n = std::move(*n);
    out.e = std::move(*e);
    return out;
  }
  if (type == "EC" && text_of(k, "crv") == "P-256" && (algorithm.empty() || algorithm == "ES256")) {
    auto x = base64url_decode(text_of(k, "x")), y = base64url_decode(text_of(k, "y"));
    if (!x || !y || x->size() != p256_bytes || y->size() != p256_bytes) return std::nullopt;
    out.elliptic = true;
    out.x = std::move(*x);
    out.y = std::move(*y);
    return out;
  }
  return std::nullopt;
}

}  // namespace

result<std::vector<signing_key>> parse_keys(std::string_view body) {
  const auto set = json::parse(body, nullptr, false);
  const auto listed = set.is_object() ? set.find("keys") : set.end();
  if (!set.is_object() || listed == set.end() || !listed->is_array()) return fail(failure::token_unavailable, "the provider's keys cannot be read");
  std::vector<signing_key> keys;
  for (const auto& k : *listed) {
    if (keys.size() >= limits::signing_keys) break;
    if (auto key = read_key(k)) keys.push_back(std::move(*key));
  }
  return keys;
}

std::string claimed_issuer(const secret<>& id_token) {
  const auto p = split(id_token.reveal());
  return p ? std::string(text_of(p->claims, "iss")) : std::string();
}

result<id_claims> check_id_token(const secret<>& id_token, const std::vector<signing_key>& keys, const id_expectation& want) {
  const auto p = split(id_token.reveal());
  if (!p) return refused("the id_token cannot be read");
  const auto algorithm = text_of(p->header, "alg");
  if (algorithm != "RS256" && algorithm != "ES256") return refused("the id_token is signed in a way that is not accepted (RS256 and ES256 are)");
  if (p->header.contains("crit")) return refused("the id_token demands an extension that is not known");  // RFC 7515, 4.1.11
  const auto id = text_of(p->header, "kid");
  bool tried = false, good = false;
  for (const auto& k : keys) {
    // The key's own kind decides, not the token's word for it.
    if (k.elliptic != (algorithm == "ES256") || (!id.empty() && k.id != id)) continue;
    tried = true;
    good = good || signed_by(k, p->signed_text, p->signature);
  }
  if (!tried) return fail(failure::not_found, "the provider has no key of the id_token's name");
  if (!good) return refused("the id_token's signature is wrong");
  if (auto ok = check_claims(p->claims, want); !ok) return fail(std::move(ok.error()));
  return read_claims(p->claims);
}

}  // namespace mailherd::oauth2
