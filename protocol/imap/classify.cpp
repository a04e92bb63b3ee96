// protocol/imap/classify: see the header.
#include "protocol/imap/classify.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>

#include "core/server_text.hpp"

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

/// Codes that settle it whatever the text says (RFC 5530, 3; RFC 9051, 7.1).
constexpr std::array<coded, 9> codes{{
    {"UNAVAILABLE", failure::server_unavailable},
    {"SERVERBUG", failure::server_unavailable},
    {"INUSE", failure::server_busy},
    {"IN-USE", failure::server_busy},
    {"LIMIT", failure::too_many_connections},
    {"OVERQUOTA", failure::over_quota},
    {"PRIVACYREQUIRED", failure::login_disabled},
    {"AUTHORIZATIONFAILED", failure::no_mailbox_rights},
    {"THROTTLED", failure::throttled},
}};

struct phrase {
  std::string_view text;
  failure meaning;
  bool only_at_login;
};

constexpr std::array<phrase, 24> phrases{{
    {"request is throttled", failure::throttled, false},
    {"too many simultaneous connections", failure::too_many_connections, false},
    {"maximum number of connections", failure::too_many_connections, false},
    {"too many connections", failure::too_many_connections, false},
    {"connection limit", failure::too_many_connections, false},
    {"bandwidth limits", failure::throttled, false},
    {"too many login", failure::throttled, false},
    {"too many failed", failure::throttled, false},
    {"rate limit", failure::throttled, false},
    // Exchange at the end of a token's life: a fresh one is all it takes
    {"accesstokenexpired", failure::token_rejected, false},
    {"session invalidated", failure::server_bye, false},
    {"authenticated but not connected", failure::no_mailbox_rights, false},
    {"basic authentication is disabled", failure::login_disabled, true},
    {"basicauthblocked", failure::login_disabled, true},
    {"logondenied-basicauthblocked", failure::login_disabled, true},
    {"plaintext authentication disallowed", failure::login_disabled, true},
    {"application-specific password required", failure::login_disabled, true},
    {"please log in via your web browser", failure::login_disabled, true},
    {"not enabled for imap", failure::no_mailbox_rights, true},
    {"imap is disabled", failure::no_mailbox_rights, true},
    {"imap access is disabled", failure::no_mailbox_rights, true},
    {"temporar", failure::server_unavailable, false},
    {"try again later", failure::server_unavailable, false},
    {"service unavailable", failure::server_unavailable, false},
}};

failure by_phase(const refusal& what) {
  if (what.status == "BYE") return what.where == phase::greeting ? failure::server_unavailable : failure::server_bye;
  switch (what.where) {
    case phase::greeting: return failure::server_unavailable;
    case phase::tls: return failure::tls_not_offered;
    case phase::login: return what.with_token ? failure::token_rejected : failure::login_rejected;
    case phase::select:
      return equal_text(what.code, "NOPERM") ? failure::no_mailbox_rights : failure::mailbox_missing;
    case phase::capabilities:
    case phase::mailbox:
    case phase::fetch: return failure::command_refused;
  }
  return failure::command_refused;
}

failure decide(const refusal& what) {
  for (const auto& c : codes)
    if (equal_text(what.code, c.code)) return c.meaning;
  if (throttle_backoff(what.text)) return failure::throttled;
  const bool at_login = what.where == phase::login || what.where == phase::greeting;
  for (const auto& p : phrases)
    if ((at_login || !p.only_at_login) && contains_text(what.text, p.text)) {
      // A password session has no token that could expire.
      if (p.meaning == failure::token_rejected && !what.with_token) return failure::server_bye;
      return p.meaning;
    }
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
