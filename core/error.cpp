#include "core/error.hpp"

#include <array>
#include <utility>

namespace mailherd {

namespace {

constexpr std::array<std::pair<failure, std::string_view>, 44> names{{
    {failure::dns_failed, "dns_failed"},
    {failure::target_refused, "target_refused"},
    {failure::connect_refused, "connect_refused"},
    {failure::connect_failed, "connect_failed"},
    {failure::proxy_failed, "proxy_failed"},
    {failure::timed_out, "timed_out"},
    {failure::connection_lost, "connection_lost"},
    {failure::tls_failed, "tls_failed"},
    {failure::tls_not_offered, "tls_not_offered"},
    {failure::certificate_untrusted, "certificate_untrusted"},
    {failure::certificate_expired, "certificate_expired"},
    {failure::certificate_name, "certificate_name"},
    {failure::protocol_violation, "protocol_violation"},
    {failure::limit_exceeded, "limit_exceeded"},
    {failure::server_bye, "server_bye"},
    {failure::server_unavailable, "server_unavailable"},
    {failure::server_busy, "server_busy"},
    {failure::too_many_connections, "too_many_connections"},
    {failure::throttled, "throttled"},
    {failure::over_quota, "over_quota"},
    {failure::command_refused, "command_refused"},
    {failure::login_rejected, "login_rejected"},
    {failure::token_rejected, "token_rejected"},
    {failure::mechanism_missing, "mechanism_missing"},
    {failure::login_disabled, "login_disabled"},
    {failure::no_mailbox_rights, "no_mailbox_rights"},
    {failure::mailbox_missing, "mailbox_missing"},
    {failure::wrong_mailbox, "wrong_mailbox"},
    {failure::consent_required, "consent_required"},
    {failure::admin_required, "admin_required"},
    {failure::app_misconfigured, "app_misconfigured"},
    {failure::token_unavailable, "token_unavailable"},
    {failure::account_blocked, "account_blocked"},
    {failure::request_loop, "request_loop"},
    {failure::fenced, "fenced"},
    {failure::store_busy, "store_busy"},
    {failure::store_unavailable, "store_unavailable"},
    {failure::store_failed, "store_failed"},
    {failure::seal_failed, "seal_failed"},
    {failure::not_found, "not_found"},
    {failure::conflict, "conflict"},
    {failure::invalid_input, "invalid_input"},
    {failure::cancelled, "cancelled"},
    {failure::internal, "internal"},
}};

}  // namespace

std::string_view to_string(failure f) noexcept {
  for (const auto& [code, name] : names)
    if (code == f) return name;
  return "internal";
}

std::optional<failure> failure_from(std::string_view name) noexcept {
  for (const auto& [code, text] : names)
    if (text == name) return code;
  return std::nullopt;
}

std::string describe(const error& e) {
  std::string text{to_string(e.code)};
  if (!e.detail.empty()) text.append(": ").append(e.detail);
  return text;
}

}  // namespace mailherd
