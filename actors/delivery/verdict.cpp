#include "actors/delivery/verdict.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "protocol/oauth2/oauth2.hpp"

namespace mailherd::actors {

namespace {

constexpr std::string_view secret_prefix = "whsec_";

std::string_view header(const net::http_reply& reply, std::string_view name) {
  for (const auto& [n, value] : reply.headers)
    if (n == name) return value;
  return {};
}

std::string words(int status) {
  if (status >= 300 && status < 400) return fmt::format("the receiver answered {}: redirects are not followed; give the endpoint its new URL", status);
  return fmt::format("the receiver answered {}", status);
}

std::string hmac(const secret<>& signing, std::string_view text) {
  auto coded = std::string_view(signing.reveal());
  if (coded.starts_with(secret_prefix)) coded.remove_prefix(secret_prefix.size());
  const secret<> key(base64_decode(coded).value_or(std::string()));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key.reveal().data(), static_cast<int>(key.reveal().size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
       digest.data(), &size);
  return base64_encode({reinterpret_cast<const char*>(digest.data()), size});
}

}  // namespace

verdict judge(const result<net::http_reply>& answer, wall_time now) {
  verdict v;
  if (!answer) {
    v.error = describe(answer.error());
    return v;
  }
  v.status = answer->status;
  v.response = answer->body.substr(0, limits::webhook_excerpt_bytes);
  if (v.status >= 200 && v.status < 300) {
    v.what = verdict::kind::taken;
    return v;
  }
  v.error = words(v.status);
  if (v.status == 410) v.what = verdict::kind::gone;
  if (v.status == 429 || v.status == 503) v.not_before = oauth2::retry_after_time(header(*answer, "retry-after"), now);
  return v;
}

std::vector<std::pair<std::string, std::string>> signed_headers(const std::string& id, wall_time at, std::string_view body,
                                                                const std::vector<const secret<>*>& secrets) {
  const auto timestamp = std::to_string(std::chrono::floor<seconds>(at).time_since_epoch().count());
  std::string text = id + "." + timestamp + ".";
  text.append(body);
  std::string signature;
  for (const auto* s : secrets) signature += (signature.empty() ? "v1," : " v1,") + hmac(*s, text);
  return {{"webhook-id", id}, {"webhook-timestamp", timestamp}, {"webhook-signature", signature}};
}

}  // namespace mailherd::actors
