// protocol/oauth2/assertion: see the header.
#include "protocol/oauth2/assertion.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/base64.hpp"
#include "core/limits.hpp"

namespace mailherd::oauth2 {

namespace {

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* p) const noexcept {
    Free(p);
  }
};
using bio_ptr = std::unique_ptr<BIO, freed_by<BIO_free_all>>;
using key_ptr = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using certificate_ptr = std::unique_ptr<X509, freed_by<X509_free>>;
using digest_ptr = std::unique_ptr<EVP_MD_CTX, freed_by<EVP_MD_CTX_free>>;

/// OpenSSL keeps a queue of errors per thread: what is left there would be taken for the error of the next TLS read.
struct clean_errors {
  ~clean_errors() { ERR_clear_error(); }
};

auto misconfigured(const char* detail) { return fail(failure::app_misconfigured, detail); }
auto defect(const char* detail) { return fail(failure::internal, detail); }

/// OpenSSL's default asks the terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

bio_ptr memory(std::string_view text) { return bio_ptr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

result<key_ptr> read_key(const secret<>& pem) {
  const auto source = memory(pem.reveal());
  key_ptr key(source ? PEM_read_bio_PrivateKey(source.get(), nullptr, no_passphrase, nullptr) : nullptr);
  if (!key) return misconfigured("the app's private key is not an unencrypted PEM key");
  if (EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA) return misconfigured("the app's private key is not an RSA key");
  if (EVP_PKEY_get_bits(key.get()) < 2048) return misconfigured("the app's private key has fewer than 2048 bits");
  return key;
}

result<std::string> thumbprint(X509* certificate, const EVP_MD* algorithm) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (X509_digest(certificate, algorithm, digest.data(), &size) != 1) return defect("the certificate cannot be hashed");
  return base64url_encode({reinterpret_cast<const char*>(digest.data()), size});
}

/// Adds the certificate's thumbprints: providers find the registered public key by them.
result<void> add_thumbprints(const std::string& pem, EVP_PKEY* key, wall_time now, nlohmann::json& header) {
  const auto source = memory(pem);
  const certificate_ptr certificate(source ? PEM_read_bio_X509(source.get(), nullptr, no_passphrase, nullptr) : nullptr);
  if (!certificate) return misconfigured("the app's certificate is not PEM");
  if (X509_check_private_key(certificate.get(), key) != 1) return misconfigured("the app's certificate does not belong to its private key");
  std::time_t when = std::chrono::system_clock::to_time_t(now);
  if (X509_cmp_time(X509_get0_notAfter(certificate.get()), &when) < 0) return misconfigured("the app's certificate has expired");
  auto sha256 = thumbprint(certificate.get(), EVP_sha256());
  auto sha1 = thumbprint(certificate.get(), EVP_sha1());  // not for security: a name that older providers look the key up by
  if (!sha256) return fail(std::move(sha256.error()));
  if (!sha1) return fail(std::move(sha1.error()));
  header["x5t#S256"] = *sha256;
  header["x5t"] = *sha1;
  return {};
}

/// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, 3.3).
result<std::string> sign(EVP_PKEY* key, std::string_view text) {
  const digest_ptr context(EVP_MD_CTX_new());
  std::size_t size = 0;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(text.data());
  if (!context || EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size()) != 1)
    return defect("OpenSSL refused to sign");
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes, text.size()) != 1)
    return defect("OpenSSL refused to sign");
  signature.resize(size);
  return signature;
}

}  // namespace

result<std::string> random_text(std::size_t bytes) {
  std::string random(bytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), static_cast<int>(random.size())) != 1) return defect("no randomness");
  std::string text = base64url_encode(random);
  wipe(random.data(), random.size());
  return text;
}

std::string sha256_base64url(std::string_view text) {
  std::array<unsigned char, 32> digest{};
  EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return base64url_encode({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

result<secret<>> client_assertion(const oauth_app& app, const std::string& audience, wall_time now) {
  const clean_errors at_exit;
  const auto key = read_key(app.private_key);
  if (!key) return fail(key.error());
  const auto id = random_text(16);
  if (!id) return fail(id.error());
  nlohmann::json header{{"alg", "RS256"}, {"typ", "JWT"}};
  if (!app.certificate.empty()) {
    if (auto r = add_thumbprints(app.certificate, key->get(), now, header); !r) return fail(std::move(r.error()));
  } else if (app.provider == provider_kind::microsoft) {
    return misconfigured("the app has a private key without its certificate");
  }
  const auto issued = std::chrono::floor<seconds>(now.time_since_epoch()).count();
  const nlohmann::json claims{{"aud", audience},     {"iss", app.client_id}, {"sub", app.client_id}, {"jti", *id},
                              {"iat", issued},       {"nbf", issued},        {"exp", issued + limits::assertion_lifetime.count()}};
  // `replace`: a client id is the caller's text and need not be UTF-8.
  const auto text = [](const nlohmann::json& j) {
    return base64url_encode(j.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  };
  const std::string signed_part = text(header) + "." + text(claims);
  const auto signature = sign(key->get(), signed_part);
  if (!signature) return fail(signature.error());
  return secret<>(signed_part + "." + base64url_encode(*signature));
}

}  // namespace mailherd::oauth2
