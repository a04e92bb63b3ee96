// protocol/pop3/classify: see the header.
#include "protocol/pop3/classify.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::pop3 {

namespace {

std::string_view name_of(phase p) noexcept {
  switch (p) {
    case phase::greeting: return "greeting";
    case phase::capabilities: return "CAPA";
    case phase::tls: return "STLS";
    case phase::login: return "login";
    case phase::transaction: return "mailbox";
    case phase::message: return "message";
  }
  return "?";
}

/// Phrases of servers, the most telling first.
struct phrase {
  std::string_view text;
  failure code;
  bool only_before_login;  ///< harmless words elsewhere
};

constexpr std::array<phrase, 34> phrases{{
    // Exchange: throttling without a number, and its connection budget
    {"request is throttled", failure::throttled, false},
    {"too many connections", failure::too_many_connections, false},
    {"maximum number of connections", failure::too_many_connections, false},
    {"too many simultaneous", failure::too_many_connections, false},
    {"connection limit", failure::too_many_connections, false},
    {"too many login", failure::throttled, false},
    {"too many failed", failure::throttled, false},
    {"too many requests", failure::throttled, false},
    {"rate limit", failure::throttled, false},
    {"bandwidth limits", failure::throttled, false},  // Gmail, with [SYS/PERM] although it ends after a day
    {"login frequency", failure::throttled, true},
    {"logging in too frequently", failure::throttled, true},
    {"try again in", failure::server_unavailable, false},
    // the maildrop's exclusive lock (RFC 1939, 4)
    {"already locked", failure::server_busy, false},
    {"maildrop locked", failure::server_busy, false},
    {"mailbox is locked", failure::server_busy, false},
    {"unable to lock", failure::server_busy, false},
    {"can't lock", failure::server_busy, false},
    {"lock busy", failure::server_busy, false},
    {"in use by another", failure::server_busy, false},
    // passwords switched off by the provider
    {"basic authentication is disabled", failure::login_disabled, true},
    {"logondenied-basicauthblocked", failure::login_disabled, true},
    {"basicauthblocked", failure::login_disabled, true},
    {"plaintext authentication disallowed", failure::login_disabled, true},
    {"application-specific password required", failure::login_disabled, true},
    {"please log in via your web browser", failure::login_disabled, true},
    // POP3 not allowed for this mailbox: no new password and no consent will help
    {"not enabled for pop", failure::no_mailbox_rights, true},
    {"pop3 is disabled", failure::no_mailbox_rights, true},
    {"pop access is disabled", failure::no_mailbox_rights, true},
    {"pop3 access is disabled", failure::no_mailbox_rights, true},
    {"pop3 access not allowed", failure::no_mailbox_rights, true},
    {"user is authenticated but not connected", failure::no_mailbox_rights, false},
    {"over quota", failure::over_quota, false},
    {"connection is closed", failure::server_bye, false},
}};

constexpr std::array<std::string_view, 5> temporary{"temporar", "try again later", "try later", "service unavailable",
                                                    "server unavailable"};

/// Response codes that settle it (RFC 2449, 8.1; RFC 3206, 4).
std::optional<failure> by_code(const refusal& what) {
  if (equal_text(what.code, "IN-USE")) return failure::server_busy;
  if (equal_text(what.code, "LOGIN-DELAY")) return failure::throttled;
  if (equal_text(what.code, "SYS/TEMP")) return failure::server_unavailable;
  return std::nullopt;
}

failure by_phase(const refusal& what) {
  switch (what.where) {
    case phase::greeting: return failure::server_unavailable;
    case phase::tls: return failure::tls_not_offered;
    case phase::login: return what.with_token ? failure::token_rejected : failure::login_rejected;
    case phase::capabilities:
    case phase::transaction:
    case phase::message: return failure::command_refused;
  }
  return failure::command_refused;
}

failure decide(const refusal& what) {
  if (const auto code = by_code(what)) return *code;
  if (throttle_backoff(what.text)) return failure::throttled;
  const bool before_login = what.where == phase::greeting || what.where == phase::login || what.where == phase::capabilities;
  // [AUTH] promises that the credentials are the cause (RFC 3206); a phrase may say which way ("Application-specific password required").
  for (const phrase& p : phrases)
    if ((before_login || !p.only_before_login) && contains_text(what.text, p.text)) return p.code;
  if (equal_text(what.code, "AUTH")) return by_phase(what);
  // Permanent, and a person at the server must act: for us a refusal, never a reason to doubt the credentials.
  if (equal_text(what.code, "SYS/PERM")) return what.where == phase::login ? failure::no_mailbox_rights : failure::command_refused;
  for (const auto word : temporary)
    if (contains_text(what.text, word)) return failure::server_unavailable;
  return by_phase(what);
}

}  // namespace

refusal split_refusal(std::string_view text) noexcept {
  refusal out;
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  out.text = text;
  if (text.empty() || text.front() != '[') return out;
  const auto end = text.find(']');
  if (end == std::string_view::npos || end == 1) return out;
  const auto code = text.substr(1, end - 1);
  // "[some remark] ..." is prose: a code has no blanks.
  if (code.find(' ') != std::string_view::npos) return out;
  out.code = code;
  out.text = text.substr(end + 1);
  while (!out.text.empty() && out.text.front() == ' ') out.text.remove_prefix(1);
  return out;
}

error classify(const refusal& what, wall_time now) {
  error out;
  out.code = decide(what);
  if (out.code == failure::throttled) {
    if (const auto wait = throttle_backoff(what.text))
      out.retry_at = now + *wait;
    else if (equal_text(what.code, "LOGIN-DELAY"))
      out.retry_at = now + what.login_delay.value_or(limits::poll_interval);
  }
  const std::string text = clean_server_text(what.text);
  out.detail = fmt::format("{}: {}{}{}", name_of(what.where), what.code.empty() ? "" : fmt::format("[{}] ", clean_server_text(what.code)),
                           text.empty() ? "refused without a reason" : text,
                           what.detail.empty() ? "" : fmt::format(" ({})", clean_server_text(what.detail)));
  return out;
}

}  // namespace mailherd::pop3
