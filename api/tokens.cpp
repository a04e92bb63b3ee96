// api/tokens: digests and keys by OpenSSL; see the header.
#include "api/tokens.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <cstdlib>

#include "core/base64.hpp"

namespace mailherd::api {

namespace {

const unsigned char* bytes_of(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }

secret<> random_bytes() {
  std::array<unsigned char, 32> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) std::abort();
  return secret<>(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace

sha256_digest digest_of(std::string_view bytes) {
  sha256_digest digest{};
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return digest;
}

sha256_digest keyed_digest(const secret<>& key, std::string_view bytes) {
  sha256_digest digest{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key.reveal().data(), static_cast<int>(key.reveal().size()), bytes_of(bytes), bytes.size(), digest.data(), &size);
  return digest;
}

std::string random_nonce() { return base64url_encode(random_bytes().reveal()); }

secret<> fresh_webhook_secret() { return secret<>("whsec_" + base64_encode(random_bytes().reveal())); }

secret<> api_key_of(const secret<>& operator_token, std::string_view nonce) {
  const auto digest = keyed_digest(operator_token, "mailherd api key\n" + std::string(nonce));
  return secret<>("mhk_" + base64url_encode({reinterpret_cast<const char*>(digest.data()), digest.size()}));
}

}  // namespace mailherd::api
