// tests/fuzz: any answer of a token endpoint: what is taken for a token can be used, what is not can be shown.
//
// Input: a byte that names provider, grant and HTTP status, a line of Retry-After, then the body.
#include "core/limits.hpp"
#include "protocol/oauth2/oauth2.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace mailherd;
using fuzz::require;

namespace {

const wall_time now{std::chrono::seconds(1795486332)};

void check(const error& e, int status) {
  require(fuzz::is_clean(e.detail) && e.detail.size() <= limits::server_text_bytes + 64, "a reason can be shown");
  if (status == 0 || status == 429 || status >= 500) require(e.code == failure::token_unavailable, "a transient answer changes no state");
  if (e.retry_at) require(*e.retry_at >= now && *e.retry_at <= now + limits::retry_after_max, "the time to come back is bounded");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr int statuses[] = {200, 400, 401, 0, 429, 503, 302, 403};
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto pick = fuzz::take_byte(input);
  const auto provider = static_cast<provider_kind>(pick % 3);
  const auto grant = (pick & 0x40) != 0 ? grant_kind::client_credentials : grant_kind::authorization_code;
  const int status = statuses[pick / 3 % 8];
  const auto retry_after = fuzz::take_line(input);

  const auto reply = oauth2::parse_token_reply(provider, status, retry_after, input, now, grant);
  if (reply) {
    require(status == 200, "only a success gives a token");
    for (const char c : reply->access_token.reveal()) require(c > 0x20 && c < 0x7F, "a token can travel");
    require(!reply->access_token.empty(), "a token is not empty");
    require(reply->expires_at >= now + limits::token_lifetime_min && reply->expires_at <= now + limits::token_lifetime_max,
            "a lifetime is bounded");
    require(!reply->refresh_token || !reply->refresh_token->empty(), "a refresh token is not empty");
    require(fuzz::is_clean(reply->account_hint), "an account can be shown");
    oauth_app app;
    app.provider = provider;
    (void)oauth2::check_granted(app, protocol_kind::imap, grant, *reply);
  } else {
    check(reply.error(), status);
  }
  if (const auto device = oauth2::parse_device_reply(provider, status, retry_after, input, now); !device) check(device.error(), status);
  return 0;
}
