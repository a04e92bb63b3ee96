// tests/transport/certificates: a certificate authority made on the fly, and server certificates of every kind of badness.
//
// Owns:   keys and certificates in memory, and the authority's PEM file, removed at the end.
// Used by: the tests of this folder only.
#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace mailherd::net::test {

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using key_ptr = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using cert_ptr = std::unique_ptr<X509, freed_by<X509_free>>;
using ctx_ptr = std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>>;

struct leaf_options {
  std::string common_name = "mail.acme.test";
  std::string alternatives = "DNS:mail.acme.test,DNS:localhost,IP:127.0.0.1";   ///< empty: no extension
  long valid_from_s = -3600;        ///< relative to now
  long valid_until_s = 90 * 86400;
};

class authority {
 public:
  explicit authority(const std::string& name = "Mailherd Test Authority");
  ~authority();

  /// PEM file with this authority's certificate.
  [[nodiscard]] const std::string& file() const { return file_; }
  /// Context of a server with a new certificate from this authority.
  [[nodiscard]] ctx_ptr server(const leaf_options& leaf = {}) const;

 private:
  key_ptr key_;
  cert_ptr certificate_;
  std::string file_;
};

}  // namespace mailherd::net::test
