// tests/peers/test_ca: a certificate authority for loopback.
//
// Owns:   a CA key made at construction, and the certificates it signs: good ones and each kind of bad one.
// Never:  a key that anything outside a test trusts.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace mailherd::peers {

enum class cert_kind { valid, expired, not_yet_valid, wrong_host, self_signed };

/// PEM, and the same in files (key readable by its owner only).
struct certificate {
  std::string certificate_pem;  ///< the leaf
  std::string key_pem;
  std::filesystem::path certificate_file;
  std::filesystem::path key_file;
};

class test_ca {
 public:
  /// Files go into `dir`, which must exist; the key is EC P-256.
  explicit test_ca(std::filesystem::path dir);
  ~test_ca();
  test_ca(test_ca&&) noexcept;
  test_ca& operator=(test_ca&&) noexcept;

  /// For MAILHERD_CA_FILE.
  [[nodiscard]] std::filesystem::path ca_file() const;
  [[nodiscard]] std::string ca_pem() const;

  /// `names` are DNS names or IP addresses (SANs). `wrong_host` replaces them by other.invalid. `key_type` "ec" or "rsa".
  certificate issue(cert_kind kind = cert_kind::valid, const std::vector<std::string>& names = default_names(),
                    const std::string& key_type = "ec");

  /// localhost, 127.0.0.1, 127.0.0.2, ::1, mail.acme.test, *.acme.test
  static std::vector<std::string> default_names();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace mailherd::peers
