// tests/peers/test_ca: implementation on OpenSSL's X.509 functions.
#include "tests/peers/test_ca.hpp"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdint>
#include <cstring>

#include <fmt/format.h>

#include "tests/peers/files.hpp"

namespace mailherd::peers {

namespace {

struct free_ssl {
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
  void operator()(BIO* p) const { BIO_free(p); }
};
template <class T>
using owned = std::unique_ptr<T, free_ssl>;

owned<EVP_PKEY> new_key(const std::string& type) {
  owned<EVP_PKEY> key(type == "rsa" ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
  if (!key) throw peer_error("cannot make a key");
  return key;
}

std::string pem_of(X509* certificate) {
  owned<BIO> memory(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(memory.get(), certificate);
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string pem_of(EVP_PKEY* key) {
  owned<BIO> memory(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(memory.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  owned<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) throw peer_error(fmt::format("extension refused: {}", value));
}

struct blank {
  std::string common_name;
  long from_seconds, to_seconds;  ///< relative to now
};

owned<X509> new_certificate(const blank& text, EVP_PKEY* key, X509* issuer) {
  owned<X509> certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  std::uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial >> 1U);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), text.from_seconds);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), text.to_seconds);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.common_name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), issuer != nullptr ? X509_get_subject_name(issuer) : name);
  X509_set_pubkey(certificate.get(), key);
  return certificate;
}

std::string subject_alternatives(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) {
    unsigned char buffer[16];
    const bool address = inet_pton(AF_INET, name.c_str(), buffer) == 1 || inet_pton(AF_INET6, name.c_str(), buffer) == 1;
    out += fmt::format("{}{}:{}", out.empty() ? "" : ",", address ? "IP" : "DNS", name);
  }
  return out;
}

constexpr long day = 24L * 3600;

}  // namespace

struct test_ca::state {
  std::filesystem::path dir;
  owned<EVP_PKEY> key;
  owned<X509> certificate;
  unsigned issued = 0;
};

test_ca::test_ca(std::filesystem::path dir) : state_(std::make_unique<state>()) {
  state_->dir = std::move(dir);
  state_->key = new_key("ec");
  state_->certificate = new_certificate({"Mailherd test CA", -day, 30 * day}, state_->key.get(), nullptr);
  X509* ca = state_->certificate.get();
  add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(ca, ca, NID_subject_key_identifier, "hash");
  if (X509_sign(ca, state_->key.get(), EVP_sha256()) == 0) throw peer_error("cannot sign the CA");
  write_file(ca_file(), pem_of(ca));
}

test_ca::~test_ca() = default;
test_ca::test_ca(test_ca&&) noexcept = default;
test_ca& test_ca::operator=(test_ca&&) noexcept = default;

std::filesystem::path test_ca::ca_file() const { return state_->dir / "ca.pem"; }
std::string test_ca::ca_pem() const { return pem_of(state_->certificate.get()); }

certificate test_ca::issue(cert_kind kind, const std::vector<std::string>& names, const std::string& key_type) {
  blank text{"Mailherd test server", -day, 30 * day};
  if (kind == cert_kind::expired) text = {text.common_name, -10 * day, -3 * day};
  if (kind == cert_kind::not_yet_valid) text = {text.common_name, 3 * day, 30 * day};
  const auto key = new_key(key_type);
  X509* issuer = kind == cert_kind::self_signed ? nullptr : state_->certificate.get();
  const auto leaf = new_certificate(text, key.get(), issuer);
  X509* signer = issuer != nullptr ? issuer : leaf.get();
  add_extension(leaf.get(), signer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(leaf.get(), signer, NID_ext_key_usage, "serverAuth");
  const std::vector<std::string> elsewhere{"other.invalid"};
  add_extension(leaf.get(), signer, NID_subject_alt_name, subject_alternatives(kind == cert_kind::wrong_host ? elsewhere : names));
  if (X509_sign(leaf.get(), issuer != nullptr ? state_->key.get() : key.get(), EVP_sha256()) == 0) throw peer_error("cannot sign");

  const unsigned number = ++state_->issued;
  certificate out;
  out.certificate_pem = pem_of(leaf.get());
  out.key_pem = pem_of(key.get());
  out.certificate_file = state_->dir / fmt::format("server{}.pem", number);
  out.key_file = state_->dir / fmt::format("server{}.key", number);
  write_file(out.certificate_file, out.certificate_pem);
  write_file(out.key_file, out.key_pem, 0600);
  return out;
}

std::vector<std::string> test_ca::default_names() {
  return {"localhost", "127.0.0.1", "127.0.0.2", "::1", "mail.acme.test", "*.acme.test"};
}

}  // namespace mailherd::peers
