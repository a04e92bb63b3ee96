// protocol/sasl/scram: see the header.
#include "protocol/sasl/scram.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <charconv>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::sasl {

namespace {

constexpr std::size_t digest_bytes = 32;

/// A key or proof; wiped like a secret, without the heap.
struct digest {
  std::array<unsigned char, digest_bytes> bytes{};
  ~digest() { wipe(bytes.data(), bytes.size()); }
  [[nodiscard]] std::string_view view() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
};

bool hmac(std::string_view key, std::string_view text, digest& out) {
  unsigned int length = 0;
  return HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
              out.bytes.data(), &length) != nullptr &&
         length == digest_bytes;
}

bool sha256(std::string_view text, digest& out) {
  return EVP_Digest(text.data(), text.size(), out.bytes.data(), nullptr, EVP_sha256(), nullptr) == 1;
}

/// "," and "=" would end the attribute (RFC 5802, 5.1).
std::string escape_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ',')
      out += "=2C";
    else if (c == '=')
      out += "=3D";
    else
      out += c;
  }
  return out;
}

/// Takes "x=value" off the front of a comma-separated list; false if the next attribute is another one.
bool take_attribute(std::string_view& list, char name, std::string_view& value) {
  if (list.size() < 2 || list[0] != name || list[1] != '=') return false;
  const auto comma = list.find(',');
  value = list.substr(2, comma == std::string_view::npos ? comma : comma - 2);
  list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  return true;
}

auto violation(std::string_view what) { return fail(failure::protocol_violation, fmt::format("SCRAM-SHA-256: {}", what)); }

class scram_sha256 final : public mechanism {
 public:
  scram_sha256(const credentials& who, std::string nonce)
      : password_(who.password), nonce_(std::move(nonce)), first_bare_("n=" + escape_name(who.username) + ",r=" + nonce_) {}

  std::string_view name() const override { return "SCRAM-SHA-256"; }

  std::optional<secret<>> initial_response() override {
    step_ = step::server_first;
    return secret<>("n,," + first_bare_);
  }

  result<secret<>> respond(std::string_view challenge) override {
    if (challenge.size() > limits::sasl_challenge_bytes) {
      step_ = step::failed;
      return fail(failure::limit_exceeded, "SCRAM-SHA-256: the challenge is too long");
    }
    switch (step_) {
      case step::start: return violation("the server answered before it was asked");
      case step::server_first: return on_server_first(challenge);
      case step::server_final: return on_server_final(challenge);
      case step::done:
      case step::failed: break;
    }
    return violation("the server goes on after the last message");
  }

  bool complete() const override { return step_ == step::done; }
  std::string failure_detail() const override { return detail_; }

 private:
  enum class step { start, server_first, server_final, done, failed };

  result<secret<>> on_server_first(std::string_view challenge) {
    const std::string_view whole = challenge;
    step_ = step::failed;  // until proven otherwise
    std::string_view nonce, salt_text, count;
    // "m=" in front announces an extension that must be understood: refusing is what RFC 5802, 5.1 asks for.
    if (!take_attribute(challenge, 'r', nonce) || !take_attribute(challenge, 's', salt_text) || !take_attribute(challenge, 'i', count))
      return violation("the server's first message is malformed");
    if (nonce.size() <= nonce_.size() || !nonce.starts_with(nonce_)) return violation("the server's nonce does not extend ours");
    const auto salt = base64_decode(salt_text);
    if (!salt || salt->empty()) return violation("the salt is not base64");
    unsigned iterations = 0;
    const auto [end, ec] = std::from_chars(count.data(), count.data() + count.size(), iterations);
    if (end != count.data() + count.size() || (ec != std::errc{} && ec != std::errc::result_out_of_range))
      return violation("the iteration count is not a number");
    if (ec == std::errc::result_out_of_range || iterations > limits::scram_iterations_max)
      return fail(failure::limit_exceeded,
                  fmt::format("SCRAM-SHA-256: the server asks for more than {} iterations", limits::scram_iterations_max));
    if (iterations < limits::scram_iterations_min)
      return violation(fmt::format("the server asks for fewer than {} iterations", limits::scram_iterations_min));
    return prove(whole, nonce, *salt, static_cast<int>(iterations));
  }

  result<secret<>> prove(std::string_view server_first, std::string_view nonce, const std::string& salt, int iterations) {
    const std::string without_proof = fmt::format("c=biws,r={}", nonce);  // biws = base64("n,,"): no channel binding
    const std::string auth_message = fmt::format("{},{},{}", first_bare_, server_first, without_proof);
    digest salted, client_key, stored_key, signature, server_key, proof;
    const auto& password = password_.reveal();
    const bool computed =
        PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), reinterpret_cast<const unsigned char*>(salt.data()),
                          static_cast<int>(salt.size()), iterations, EVP_sha256(), digest_bytes, salted.bytes.data()) == 1 &&
        hmac(salted.view(), "Client Key", client_key) && sha256(client_key.view(), stored_key) &&
        hmac(stored_key.view(), auth_message, signature) && hmac(salted.view(), "Server Key", server_key) &&
        hmac(server_key.view(), auth_message, expected_);
    if (!computed) return fail(failure::internal, "SCRAM-SHA-256: OpenSSL refused to compute");
    for (std::size_t i = 0; i < digest_bytes; ++i)
      proof.bytes[i] = static_cast<unsigned char>(client_key.bytes[i] ^ signature.bytes[i]);
    step_ = step::server_final;
    return secret<>(without_proof + ",p=" + base64_encode(proof.view()));
  }

  result<secret<>> on_server_final(std::string_view challenge) {
    step_ = step::failed;
    std::string_view value;
    if (take_attribute(challenge, 'e', value)) {
      // The NO follows once this is answered: the engine classifies it with this reason at hand.
      detail_ = clean_server_text(value);
      return secret<>();
    }
    if (!take_attribute(challenge, 'v', value)) return violation("the server's last message is malformed");
    const auto signature = base64_decode(value);
    if (!signature || !equal_in_constant_time(*signature, expected_.view()))
      return violation("the server's signature is wrong: it does not know the password");
    step_ = step::done;
    return secret<>();
  }

  secret<> password_;
  std::string nonce_;
  std::string first_bare_;
  std::string detail_;
  digest expected_;  ///< the signature only a server that knows the password's verifier can make
  step step_ = step::start;
};

}  // namespace

result<std::unique_ptr<mechanism>> make_scram_sha256(const credentials& who, std::string nonce) {
  if (nonce.empty()) {
    std::array<unsigned char, 18> random{};
    if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1)
      return fail(failure::internal, "SCRAM-SHA-256: no randomness");
    nonce = base64_encode({reinterpret_cast<const char*>(random.data()), random.size()});
  }
  return std::make_unique<scram_sha256>(who, std::move(nonce));
}

}  // namespace mailherd::sasl
