// protocol/oauth2/reply: what a provider answered. Declared in oauth2.hpp.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/oauth2/classify.hpp"
#include "protocol/oauth2/oauth2.hpp"

namespace mailherd::oauth2 {

namespace {

using nlohmann::json;

/// String member; empty if absent or of another type.
std::string_view text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return {};
  return found->get_ref<const std::string&>();
}

/// Number of seconds; providers write it as a number or, older ones, as a string.
std::optional<std::int64_t> seconds_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  if (found->is_number()) {
    const double value = found->get<double>();  // 1e300 must not become undefined behaviour
    return static_cast<std::int64_t>(std::clamp(value, -1e9, 1e9));
  }
  const auto text = text_of(object, key);
  std::int64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Visible ASCII (RFC 6750, 2.1 and a little more): what a mail protocol can carry.
bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

struct answer {
  provider_kind provider;
  int http_status;
  std::string_view retry_after;
  wall_time now;
};

tl::unexpected<error> unavailable(const answer& a, std::string_view what) {
  const std::string detail = a.http_status == 0 ? std::string(what) : fmt::format("HTTP {}: {}", a.http_status, what);
  return fail(error{failure::token_unavailable, detail, retry_after_time(a.retry_after, a.now)});
}

/// The body as an object, or why it cannot be one. What the body holds instead is not repeated: it may be a login page, or a token.
result<json> read_object(const answer& a, std::string_view body) {
  if (a.http_status == 0) return unavailable(a, "the provider did not answer");
  if (body.empty()) return unavailable(a, "the answer is empty");
  if (body.size() > limits::token_reply_bytes) return unavailable(a, "the answer is too large");
  try {
    json object = json::parse(body, nullptr, false);
    if (object.is_object()) return object;
  } catch (const std::exception&) {
    // the same as text that is no JSON
  }
  return unavailable(a, "the answer is not a JSON object");
}

error read_error(const answer& a, const json& object) {
  error_reply reply{
      a.provider, a.http_status, std::string(text_of(object, "error")), std::string(text_of(object, "error_description")), {}};
  // Google's newer services nest it: {"error": {"status": "...", "message": "..."}}.
  if (const auto nested = object.find("error"); nested != object.end() && nested->is_object()) {
    reply.error = text_of(*nested, "status");
    reply.description = text_of(*nested, "message");
  }
  if (const auto listed = object.find("error_codes");
      a.provider == provider_kind::microsoft && listed != object.end() && listed->is_array()) {
    for (const auto& number : *listed)
      if (number.is_number_unsigned() && reply.numbers.size() < 8) reply.numbers.push_back(number.get<std::uint32_t>());
  }
  // Its own form, so it is believed from a custom provider too: that may be Microsoft behind explicit URLs.
  const auto described = aadsts_numbers(reply.description);
  reply.numbers.insert(reply.numbers.end(), described.begin(), described.end());
  error found = classify(reply);
  found.retry_at = retry_after_time(a.retry_after, a.now);
  if (!found.retry_at && found.code == failure::token_unavailable) {
    // RFC 8628, 3.5: the person is still at it; ask again after the interval, 5 seconds later when we were too quick.
    if (reply.error == "authorization_pending") found.retry_at = a.now + seconds(5);
    if (reply.error == "slow_down") found.retry_at = a.now + seconds(10);
  }
  return found;
}

/// An error unless the answer is a success; `object` is what it carries.
result<void> check_success(const answer& a, const json& object) {
  const bool success = a.http_status >= 200 && a.http_status <= 299;
  if (success && object.find("error") == object.end()) return {};
  if (a.http_status >= 300 && a.http_status <= 399) return unavailable(a, "the token endpoint redirects elsewhere");
  return fail(read_error(a, object));
}

std::vector<std::string> split_words(std::string_view text) {
  constexpr std::size_t words_at_most = 256;
  std::vector<std::string> words;
  while (!text.empty() && words.size() < words_at_most) {
    const auto blank = text.find(' ');
    if (blank != 0) words.emplace_back(text.substr(0, blank));
    text.remove_prefix(blank == std::string_view::npos ? text.size() : blank + 1);
  }
  return words;
}

/// The account in an id_token (a JWT), unverified: it came over TLS from the token endpoint (OpenID Connect Core, 3.1.3.7, 6).
std::string account_in(std::string_view id_token) {
  const auto first = id_token.find('.');
  if (first == std::string_view::npos) return {};
  const auto second = id_token.find('.', first + 1);
  std::string payload(id_token.substr(first + 1, second == std::string_view::npos ? second : second - first - 1));
  std::replace(payload.begin(), payload.end(), '-', '+');
  std::replace(payload.begin(), payload.end(), '_', '/');
  payload.append((4 - payload.size() % 4) % 4, '=');
  const auto decoded = base64_decode(payload);
  if (!decoded) return {};
  const json claims = json::parse(*decoded, nullptr, false);
  if (!claims.is_object()) return {};
  for (const char* const key : {"preferred_username", "email", "upn"})
    if (const auto account = text_of(claims, key); !account.empty()) return clean_server_text(account);
  return {};
}

constexpr std::array<std::string_view, 12> months{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};

std::optional<int> number_in(std::string_view word, int least, int most) {
  int value = 0;
  const auto [end, ec] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (ec != std::errc{} || end != word.data() + word.size() || value < least || value > most) return std::nullopt;
  return value;
}

/// All three forms of RFC 9110, 5.6.7: they differ in order and separators, not in what a word looks like.
std::optional<wall_time> http_date(std::string_view text) {
  int day = 0, month = 0, year = 0;
  std::optional<seconds> time;
  while (!text.empty()) {
    const auto length = std::min(text.find_first_of(" ,-"), text.size());
    const std::string_view word = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    const auto* named = std::find_if(months.begin(), months.end(), [&](std::string_view m) { return equal_text(m, word); });
    if (named != months.end()) {
      month = static_cast<int>(named - months.begin()) + 1;
    } else if (word.size() == 8 && word[2] == ':' && word[5] == ':') {
      const auto h = number_in(word.substr(0, 2), 0, 23), m = number_in(word.substr(3, 2), 0, 59), s = number_in(word.substr(6), 0, 60);
      if (!h || !m || !s) return std::nullopt;
      time = std::chrono::hours(*h) + std::chrono::minutes(*m) + seconds(*s);
    } else if (!word.empty() && word.size() <= 2 && day == 0) {
      day = number_in(word, 1, 31).value_or(0);
    } else if (word.size() == 2 || word.size() == 4) {
      if (const auto number = number_in(word, 0, 9999)) year = word.size() == 2 ? 2000 + *number : *number;
    }
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!time || year < 1970 || !date.ok()) return std::nullopt;
  return std::chrono::sys_days(date) + *time;
}

}  // namespace

std::optional<wall_time> retry_after_time(std::string_view value, wall_time now) {
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
  while (!value.empty() && value.back() == ' ') value.remove_suffix(1);
  if (value.empty()) return std::nullopt;
  if (std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    std::int64_t wait = 0;
    const auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), wait);
    if (ec != std::errc{} || wait > limits::retry_after_max.count()) wait = limits::retry_after_max.count();
    return now + seconds(wait);
  }
  const auto date = http_date(value);
  if (!date) return std::nullopt;
  return std::clamp(*date, now, wall_time(now + limits::retry_after_max));
}

result<token_reply> parse_token_reply(provider_kind provider, int http_status, std::string_view retry_after, std::string_view body,
                                      wall_time now, grant_kind grant) {
  const answer a{provider, http_status, retry_after, now};
  const auto object = read_object(a, body);
  if (!object) return fail(object.error());
  if (auto r = check_success(a, *object); !r) {
    if (grant == grant_kind::client_credentials && r.error().code == failure::consent_required) r.error().code = failure::admin_required;
    return fail(std::move(r.error()));
  }
  const auto access = text_of(*object, "access_token");
  if (!is_token(access)) return unavailable(a, "the answer holds no usable access token");
  if (const auto type = text_of(*object, "token_type"); !type.empty() && !equal_text(type, "bearer"))
    return fail(failure::app_misconfigured, fmt::format("the provider gives tokens of type {}, mail servers take bearer tokens only",
                                                        clean_server_text(without_tokens(type))));
  token_reply reply;
  reply.access_token = secret<>(std::string(access));
  const auto lifetime = seconds_of(*object, "expires_in").value_or(limits::token_lifetime_default.count());
  reply.expires_at = now + std::clamp(seconds(lifetime), limits::token_lifetime_min, limits::token_lifetime_max);
  if (const auto refresh = text_of(*object, "refresh_token"); !refresh.empty()) reply.refresh_token = secret<>(std::string(refresh));
  reply.scopes = split_words(text_of(*object, "scope"));
  reply.account_hint = account_in(text_of(*object, "id_token"));
  reply.id_token = secret<>(std::string(text_of(*object, "id_token")));
  return reply;
}

result<void> check_granted(const oauth_app& app, protocol_kind protocol, grant_kind grant, const token_reply& reply) {
  if (reply.scopes.empty() || grant == grant_kind::client_credentials || app.provider == provider_kind::custom) return {};
  std::string_view needed = "https://mail.google.com/";
  if (app.provider == provider_kind::microsoft) needed = protocol == protocol_kind::imap ? "IMAP.AccessAsUser.All" : "POP.AccessAsUser.All";
  const bool granted = std::any_of(reply.scopes.begin(), reply.scopes.end(), [&](std::string_view scope) {
    if (scope.size() < needed.size() || !equal_text(scope.substr(scope.size() - needed.size()), needed)) return false;
    return scope.size() == needed.size() || scope[scope.size() - needed.size() - 1] == '/';  // the resource stands before it
  });
  if (granted) return {};
  return fail(failure::consent_required, fmt::format("the consent does not include {}", needed));
}

result<device_reply> parse_device_reply(provider_kind provider, int http_status, std::string_view retry_after, std::string_view body,
                                        wall_time now) {
  const answer a{provider, http_status, retry_after, now};
  const auto object = read_object(a, body);
  if (!object) return fail(object.error());
  if (auto r = check_success(a, *object); !r) return fail(std::move(r.error()));
  device_reply reply;
  reply.device_code = secret<>(std::string(text_of(*object, "device_code")));
  reply.user_code = clean_server_text(text_of(*object, "user_code"));
  const auto uri = text_of(*object, "verification_uri");
  reply.verification_uri = uri.empty() ? text_of(*object, "verification_url") : uri;  // Google's older name for it
  reply.verification_uri_complete = text_of(*object, "verification_uri_complete");
  const auto is_link = [](std::string_view u) { return (u.starts_with("https://") || u.starts_with("http://")) && is_token(u); };
  if (reply.device_code.empty() || reply.user_code.empty() || !is_link(reply.verification_uri))
    return unavailable(a, "the answer holds no device code");
  if (!is_link(reply.verification_uri_complete)) reply.verification_uri_complete.clear();
  reply.expires_at = now + std::clamp(seconds(seconds_of(*object, "expires_in").value_or(900)), seconds(60), seconds(3600));
  reply.interval = std::clamp(seconds(seconds_of(*object, "interval").value_or(5)), seconds(1), seconds(60));
  return reply;
}

}  // namespace mailherd::oauth2
