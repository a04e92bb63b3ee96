#include "core/model.hpp"

#include <utility>

namespace mailherd {

namespace {

template <class Enum>
struct name_table;

#define MAILHERD_NAMES(Enum, ...)                                              \
  template <>                                                                  \
  struct name_table<Enum> {                                                    \
    static constexpr auto rows = std::to_array<std::pair<Enum, std::string_view>>(__VA_ARGS__); \
  };                                                                           \
  std::string_view find_name(Enum v) noexcept {                                \
    for (const auto& [value, name] : name_table<Enum>::rows)                   \
      if (value == v) return name;                                             \
    return "";                                                                 \
  }

MAILHERD_NAMES(protocol_kind, {{protocol_kind::imap, "imap"}, {protocol_kind::pop3, "pop3"}})
MAILHERD_NAMES(tls_mode, {{tls_mode::implicit, "implicit"}, {tls_mode::starttls, "starttls"}, {tls_mode::none, "none"}})
MAILHERD_NAMES(after_fetch, {{after_fetch::keep, "keep"}, {after_fetch::seen, "seen"}, {after_fetch::remove, "delete"}})
MAILHERD_NAMES(auth_type, {{auth_type::basic, "basic"}, {auth_type::oauth2, "oauth2"}})
MAILHERD_NAMES(grant_kind, {{grant_kind::authorization_code, "authorization_code"},
                            {grant_kind::client_credentials, "client_credentials"},
                            {grant_kind::device_code, "device_code"}})
MAILHERD_NAMES(provider_kind, {{provider_kind::microsoft, "microsoft"}, {provider_kind::google, "google"}, {provider_kind::custom, "custom"}})
MAILHERD_NAMES(channel_state, {{channel_state::disabled, "disabled"},
                               {channel_state::consent_pending, "consent_pending"},
                               {channel_state::connecting, "connecting"},
                               {channel_state::backfilling, "backfilling"},
                               {channel_state::active, "active"},
                               {channel_state::throttled, "throttled"},
                               {channel_state::backoff, "backoff"},
                               {channel_state::needs_reauth, "needs_reauth"},
                               {channel_state::needs_admin, "needs_admin"},
                               {channel_state::app_blocked, "app_blocked"}})
MAILHERD_NAMES(switch_state, {{switch_state::none, "none"}, {switch_state::running, "running"}, {switch_state::done, "done"}, {switch_state::failed, "failed"}})
MAILHERD_NAMES(proxy_kind, {{proxy_kind::http_connect, "http"}, {proxy_kind::socks5, "socks5"}})

#undef MAILHERD_NAMES

}  // namespace

std::string_view to_string(protocol_kind v) noexcept { return find_name(v); }
std::string_view to_string(tls_mode v) noexcept { return find_name(v); }
std::string_view to_string(after_fetch v) noexcept { return find_name(v); }
std::string_view to_string(auth_type v) noexcept { return find_name(v); }
std::string_view to_string(grant_kind v) noexcept { return find_name(v); }
std::string_view to_string(provider_kind v) noexcept { return find_name(v); }
std::string_view to_string(channel_state v) noexcept { return find_name(v); }
std::string_view to_string(switch_state v) noexcept { return find_name(v); }
std::string_view to_string(proxy_kind v) noexcept { return find_name(v); }

template <class Enum>
std::optional<Enum> parse_name(std::string_view text) noexcept {
  for (const auto& [value, name] : name_table<Enum>::rows)
    if (name == text) return value;
  return std::nullopt;
}

template <class Enum>
std::string names_of() {
  std::string all;
  for (const auto& row : name_table<Enum>::rows) {
    if (!all.empty()) all += ", ";
    all += row.second;
  }
  return all;
}

#define MAILHERD_INSTANTIATE(Enum)                                    \
  template std::optional<Enum> parse_name<Enum>(std::string_view) noexcept; \
  template std::string names_of<Enum>();
MAILHERD_INSTANTIATE(protocol_kind)
MAILHERD_INSTANTIATE(tls_mode)
MAILHERD_INSTANTIATE(after_fetch)
MAILHERD_INSTANTIATE(auth_type)
MAILHERD_INSTANTIATE(grant_kind)
MAILHERD_INSTANTIATE(provider_kind)
MAILHERD_INSTANTIATE(channel_state)
MAILHERD_INSTANTIATE(switch_state)
MAILHERD_INSTANTIATE(proxy_kind)
#undef MAILHERD_INSTANTIATE

}  // namespace mailherd
