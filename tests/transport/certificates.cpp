// tests/transport/certificates: making them with OpenSSL.
#include "certificates.hpp"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace mailherd::net::test {

namespace {

void add_extension(X509* cert, X509* issuer, int nid, const char* value) {
  X509V3_CTX ctx;
  X509V3_set_ctx_nodb(&ctx);
  X509V3_set_ctx(&ctx, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &ctx, nid, value);
  if (extension == nullptr) throw std::runtime_error("extension");
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
}

cert_ptr make(const std::string& name, EVP_PKEY* key, long from, long until, X509* issuer, EVP_PKEY* issuer_key, bool ca,
              const std::string& alternatives) {
  static std::atomic<long> serial{::getpid() * 1000L};
  cert_ptr cert(X509_new());
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), from);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), until);
  X509_set_pubkey(cert.get(), key);
  X509_NAME* subject = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509* from_cert = issuer != nullptr ? issuer : cert.get();
  X509_set_issuer_name(cert.get(), X509_get_subject_name(from_cert));
  add_extension(cert.get(), from_cert, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add_extension(cert.get(), from_cert, NID_subject_key_identifier, "hash");
  if (!alternatives.empty()) add_extension(cert.get(), from_cert, NID_subject_alt_name, alternatives.c_str());
  X509_sign(cert.get(), issuer_key != nullptr ? issuer_key : key, EVP_sha256());
  return cert;
}

}  // namespace

authority::authority(const std::string& name) : key_(EVP_EC_gen("P-256")) {
  certificate_ = make(name, key_.get(), -86400, 365 * 86400, nullptr, nullptr, true, {});
  file_ = (std::filesystem::temp_directory_path() / "mailherd-ca-XXXXXX").string();
  const int fd = ::mkstemp(file_.data());
  std::FILE* out = ::fdopen(fd, "w");
  PEM_write_X509(out, certificate_.get());
  std::fclose(out);
}

authority::~authority() { ::unlink(file_.c_str()); }

ctx_ptr authority::server(const leaf_options& leaf) const {
  const key_ptr key(EVP_EC_gen("P-256"));
  const cert_ptr cert =
      make(leaf.common_name, key.get(), leaf.valid_from_s, leaf.valid_until_s, certificate_.get(), key_.get(), false, leaf.alternatives);
  ctx_ptr ctx(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_use_certificate(ctx.get(), cert.get());
  SSL_CTX_use_PrivateKey(ctx.get(), key.get());
  SSL_CTX_set_session_id_context(ctx.get(), reinterpret_cast<const unsigned char*>("t"), 1);
  return ctx;
}

}  // namespace mailherd::net::test
