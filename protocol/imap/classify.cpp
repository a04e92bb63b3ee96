// protocol/imap/classify: see the header.
#include "protocol/imap/classify.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <span>

#include "core/server_text.hpp"
#include "protocol/imap/quirks.hpp"

namespace mailherd::imap {

namespace {

std::string_view name_of(phase p) noexcept {
  switch (p) {
    case phase::greeting: return "greeting";
    case phase::capabilities: return "capabilities";
    case phase::tls: return "STARTTLS";
    case phase::login: return "login";
    case phase::select: return "opening the mailbox";
    case phase::mailbox: return "mailbox";
    case phase::fetch: return "fetch";
  }
  return "?";
}

struct coded {
  std::string_view code;
  failure meaning;
};

/// Codes that settle it, unless a well-known text says more (RFC 5530, 3; RFC 9051, 7.1).
constexpr std::array<coded, 10> codes{{
    {"UNAVAILABLE", failure::server_unavailable},
    {"SERVERBUG", failure::server_unavailable},
    {"CORRUPTION", failure::server_unavailable},
    {"INUSE", failure::server_busy},
    {"IN-USE", failure::server_busy},
    {"LIMIT", failure::too_many_connections},
    {"OVERQUOTA", failure::over_quota},
    {"PRIVACYREQUIRED", failure::login_disabled},
    {"AUTHORIZATIONFAILED", failure::no_mailbox_rights},
    {"THROTTLED", failure::throttled},
}};

bool is_login(const refusal& what) { return what.where == phase::login || what.where == phase::greeting; }
failure credential_refused(const refusal& what) { return what.with_token ? failure::token_rejected : failure::login_rejected; }

std::optional<failure> by_code(const refusal& what) {
  for (const auto& c : codes)
    if (equal_text(what.code, c.code)) return c.meaning;
  if (what.where == phase::login) {
    // The credentials are the cause, whatever excuse the text makes. An expired token is renewed, an expired password is for a person.
    if (equal_text(what.code, "AUTHENTICATIONFAILED")) return credential_refused(what);
    if (equal_text(what.code, "EXPIRED")) return what.with_token ? failure::token_rejected : failure::account_blocked;
    if (equal_text(what.code, "CONTACTADMIN")) return failure::account_blocked;
    if (equal_text(what.code, "NOPERM")) return failure::no_mailbox_rights;
    if (equal_text(what.code, "WEBALERT") && !what.with_token) return failure::login_disabled;
  }
  if (what.where == phase::select) {
    if (equal_text(what.code, "NOPERM")) return failure::no_mailbox_rights;
    if (equal_text(what.code, "NONEXISTENT") || equal_text(what.code, "TRYCREATE")) return failure::mailbox_missing;
  }
  return std::nullopt;
}

failure by_phase(const refusal& what) {
  if (what.status == "BYE") return what.where == phase::greeting ? failure::server_unavailable : failure::server_bye;
  switch (what.where) {
    case phase::greeting: return failure::server_unavailable;
    case phase::tls: return failure::tls_not_offered;
    // BAD is about the command, not about who sent it.
    case phase::login: return what.status == "BAD" ? failure::command_refused : credential_refused(what);
    // Without a word that names the folder the cause is unknown: asked again, and the server's text is shown.
    case phase::select:
    case phase::capabilities:
    case phase::mailbox:
    case phase::fetch: return failure::command_refused;
  }
  return failure::command_refused;
}

bool counts(where_said where, const refusal& what) {
  switch (where) {
    case where_said::anywhere: return true;
    case where_said::login: return is_login(what);
    case where_said::select: return what.where == phase::select;
    case where_said::token_session: return what.with_token;
  }
  return false;
}

std::optional<failure> by_text(std::span<const saying> table, const refusal& what) {
  for (const auto& s : table)
    if (counts(s.where, what) && contains_text(what.text, s.text)) return s.meaning;
  return std::nullopt;
}

failure decide(const refusal& what) {
  if (throttle_backoff(what.text)) return failure::throttled;
  if (const auto f = by_text(telling_sayings(), what)) return *f;
  if (const auto f = by_code(what)) return *f;
  if (const auto f = by_text(excuses(), what)) return *f;
  return by_phase(what);
}

}  // namespace

error classify(const refusal& what, wall_time now) {
  error out;
  out.code = decide(what);
  if (out.code == failure::throttled) {
    if (const auto wait = throttle_backoff(what.text)) out.retry_at = now + *wait;
  }
  const auto text = clean_server_text(what.text);
  out.detail = fmt::format("{}: {}{}{}{}", name_of(what.where), what.status.empty() ? "" : fmt::format("{} ", what.status),
                           what.code.empty() ? "" : fmt::format("[{}] ", clean_server_text(what.code)),
                           text.empty() ? "refused without a reason" : text,
                           what.detail.empty() ? "" : fmt::format(" ({})", clean_server_text(what.detail)));
  return out;
}

}  // namespace mailherd::imap
