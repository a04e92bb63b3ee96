// protocol/oauth2/classify: see the header.
#include "protocol/oauth2/classify.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/server_text.hpp"

namespace mailherd::oauth2 {

namespace {

constexpr std::size_t token_like = 48;
constexpr std::size_t numbers_at_most = 8;

constexpr auto errors = std::to_array<error_row>({
    // a person must consent again
    {"invalid_grant", failure::consent_required},
    {"interaction_required", failure::consent_required},
    {"consent_required", failure::consent_required},
    {"login_required", failure::consent_required},
    {"access_denied", failure::consent_required},
    {"authorization_declined", failure::consent_required},
    {"expired_token", failure::consent_required},
    {"bad_verification_code", failure::consent_required},
    // the directory's administrator must act
    {"admin_policy_enforced", failure::admin_required, provider_kind::google},
    {"org_internal", failure::admin_required, provider_kind::google},
    // the app registration is broken
    {"invalid_client", failure::app_misconfigured},
    {"unauthorized_client", failure::app_misconfigured},
    {"invalid_request", failure::app_misconfigured},
    {"invalid_scope", failure::app_misconfigured},
    {"unsupported_grant_type", failure::app_misconfigured},
    {"unsupported_response_type", failure::app_misconfigured},
    {"invalid_resource", failure::app_misconfigured},
    {"invalid_target", failure::app_misconfigured},
    {"redirect_uri_mismatch", failure::app_misconfigured, provider_kind::google},
    {"deleted_client", failure::app_misconfigured, provider_kind::google},
    {"disabled_client", failure::app_misconfigured, provider_kind::google},
    // transient
    {"temporarily_unavailable", failure::token_unavailable},
    {"server_error", failure::token_unavailable},
    {"authorization_pending", failure::token_unavailable},
    {"slow_down", failure::token_unavailable},
    {"internal_failure", failure::token_unavailable, provider_kind::google},
    {"backend_error", failure::token_unavailable, provider_kind::google},
    {"rate_limit_exceeded", failure::token_unavailable, provider_kind::google},
});

constexpr auto numbers = std::to_array<aadsts_row>({
    // a person must consent again
    {50173, failure::consent_required, "the password was changed or the sessions were revoked"},
    {700082, failure::consent_required, "the grant was not used for too long"},
    {70008, failure::consent_required, "the grant has expired"},
    {70000, failure::consent_required, "the grant is not valid any more"},
    {70043, failure::consent_required, "a sign-in frequency policy ended the grant"},
    {50089, failure::consent_required, "the sign-in has expired"},
    {50132, failure::consent_required, "the sessions were revoked"},
    {50133, failure::consent_required, "the password has changed"},
    {50076, failure::consent_required, "multi-factor authentication is needed"},
    {50079, failure::consent_required, "multi-factor authentication must be set up"},
    {50074, failure::consent_required, "strong authentication is needed"},
    {50072, failure::consent_required, "multi-factor authentication must be set up"},
    {50078, failure::consent_required, "multi-factor authentication has expired"},
    {50158, failure::consent_required, "an external security challenge is needed"},
    {65001, failure::consent_required, "nobody has consented to this app"},
    {65004, failure::consent_required, "consent was declined"},
    {700020, failure::consent_required, "a person must sign in"},
    {54005, failure::consent_required, "the authorization code was used already"},
    // the directory's administrator must act
    {90094, failure::admin_required, "an administrator must consent to this app"},
    {90095, failure::admin_required, "an administrator must consent to this app"},
    {50105, failure::admin_required, "the account is not assigned to this app"},
    {53000, failure::admin_required, "conditional access: the device is not compliant"},
    {53001, failure::admin_required, "conditional access: the device is not joined to the domain"},
    {53002, failure::admin_required, "conditional access: the app is not approved"},
    {53003, failure::admin_required, "blocked by conditional access"},
    {530032, failure::admin_required, "blocked by a security policy"},
    {530035, failure::admin_required, "blocked by security defaults"},
    {50131, failure::admin_required, "blocked by conditional access"},
    {50057, failure::admin_required, "the account is disabled"},
    {50034, failure::admin_required, "the account does not exist in this directory"},
    {500011, failure::admin_required, "the mail service is not enabled in this directory"},
    {650056, failure::admin_required, "the app's permissions are not consented in this directory"},
    {650057, failure::admin_required, "the app does not list the mail service among its permissions"},
    {65005, failure::admin_required, "the app's permissions are not consented in this directory"},
    {90099, failure::admin_required, "the app is not authorized in this directory"},
    // the app registration is broken
    {7000222, failure::app_misconfigured, "the client secret has expired"},
    {7000215, failure::app_misconfigured, "the client secret is wrong: its value is needed, not its id"},
    {70002, failure::app_misconfigured, "the client's credentials are not valid"},
    {7000218, failure::app_misconfigured, "the app needs a client secret or a certificate"},
    {700027, failure::app_misconfigured, "the certificate is not registered with the app"},
    {700016, failure::app_misconfigured,
     "the app is not known in this directory; if only one tenant fails, its directory is the wrong one"},
    {70001, failure::app_misconfigured, "the app is not known in this directory"},
    {7000112, failure::app_misconfigured, "the app is disabled"},
    {50011, failure::app_misconfigured, "the redirect URI is not registered with the app"},
    {50194, failure::app_misconfigured, "the app is not multi-tenant: use its own directory as the authority"},
    {9001023, failure::app_misconfigured, "app-only access needs the directory's own authority"},
    {90002, failure::app_misconfigured, "the directory does not exist; if only one tenant fails, its authority is wrong"},
    {1000031, failure::app_misconfigured, "the app cannot be used in this directory; if only one tenant fails, its settings are wrong"},
    {700022, failure::app_misconfigured, "the scopes belong to more than one service"},
    // transient
    {50033, failure::token_unavailable, ""},
    {90006, failure::token_unavailable, ""},
    {90012, failure::token_unavailable, ""},
    {90024, failure::token_unavailable, ""},
    {90033, failure::token_unavailable, ""},
    {90055, failure::token_unavailable, "too many requests"},
    {90090, failure::token_unavailable, ""},
    {40010, failure::token_unavailable, ""},
    {50087, failure::token_unavailable, ""},
    {50166, failure::token_unavailable, ""},
    {70012, failure::token_unavailable, ""},
    {80002, failure::token_unavailable, "the on-premises directory timed out"},
    {501621, failure::token_unavailable, ""},
    {70016, failure::token_unavailable, "the person has not finished signing in"},
    // our defect
    {50196, failure::request_loop, "the same request came too often"},
    // slow retry, then ask
    {50053, failure::account_blocked, "the account is locked, or the sign-in came from an address that is blocked"},
    {50055, failure::account_blocked, "the password has expired"},
    {50144, failure::account_blocked, "the password has expired"},
    {50126, failure::account_blocked, "user name or password is wrong at the directory"},
});

const aadsts_row* find_number(const std::vector<std::uint32_t>& listed) {
  for (const auto number : listed) {
    const auto* row = std::find_if(numbers.begin(), numbers.end(), [&](const aadsts_row& r) { return r.number == number; });
    if (row != numbers.end()) return row;
  }
  return nullptr;
}

std::string describe_reply(const error_reply& reply, const aadsts_row* row) {
  std::string out = fmt::format("HTTP {}", reply.http_status);
  if (!reply.error.empty()) out += ", " + reply.error;
  if (row != nullptr) {
    out += fmt::format(", AADSTS{}", row->number);
    if (!row->hint.empty()) out += fmt::format(": {}", row->hint);
  }
  if (!reply.description.empty()) out += fmt::format(" ({})", reply.description);
  return clean_server_text(without_tokens(out));
}

}  // namespace

std::span<const error_row> error_rows() noexcept { return errors; }
std::span<const aadsts_row> aadsts_rows() noexcept { return numbers; }

std::vector<std::uint32_t> aadsts_numbers(std::string_view text) {
  constexpr std::string_view mark = "AADSTS";
  std::vector<std::uint32_t> found;
  for (auto at = text.find(mark); at != std::string_view::npos && found.size() < numbers_at_most; at = text.find(mark, at)) {
    at += mark.size();
    std::uint32_t number = 0;
    const auto [end, ec] = std::from_chars(text.data() + at, text.data() + text.size(), number);
    if (ec == std::errc{}) found.push_back(number);
    at = static_cast<std::size_t>(end - text.data());
  }
  return found;
}

std::string without_tokens(std::string_view text) {
  const auto is_blank = [](char c) { return static_cast<unsigned char>(c) <= 0x20; };
  std::string out;
  while (!text.empty()) {
    const auto length = static_cast<std::size_t>(std::find_if(text.begin(), text.end(), is_blank) - text.begin());
    if (length >= token_like)
      out += "***";
    else
      out += text.substr(0, length);
    text.remove_prefix(length);
    if (text.empty()) break;
    out += ' ';
    text.remove_prefix(1);
  }
  return out;
}

error classify(const error_reply& reply) {
  if (reply.http_status == 429 || reply.http_status >= 500) return {failure::token_unavailable, describe_reply(reply, nullptr), {}};
  const aadsts_row* const number = find_number(reply.numbers);
  if (number != nullptr) return {number->meaning, describe_reply(reply, number), {}};
  const auto* const row = std::find_if(errors.begin(), errors.end(), [&](const error_row& r) {
    return r.name == reply.error && (!r.provider || *r.provider == reply.provider);
  });
  return {row != errors.end() ? row->meaning : failure::token_unavailable, describe_reply(reply, nullptr), {}};
}

}  // namespace mailherd::oauth2
