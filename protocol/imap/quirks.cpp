// protocol/imap/quirks: see the header.
#include "protocol/imap/quirks.hpp"

#include <array>
#include <cstddef>

namespace mailherd::imap {

namespace {

constexpr std::array<quirk_rule, 13> rules{{
    {quirk::bare_newline, "bare_newline", policy::accept, "between whole responses nothing can be smuggled by it"},
    {quirk::blank_line, "blank_line", policy::ignore, "some servers send one behind a literal that ends in a line end"},
    {quirk::no_final_newline, "no_final_newline", policy::accept, "a server that ends in a hurry still says why"},
    {quirk::idle_chatter, "idle_chatter", policy::ignore, "\"+ still here\" keeps a NAT box awake and says nothing"},
    {quirk::crossed_done, "crossed_done", policy::ignore, "the server read it as a command of the tag DONE; nothing is lost"},
    {quirk::unasked_item, "unasked_item", policy::ignore, "RFC 3501, 7: a client must be ready for any data at any time"},
    {quirk::unasked_body, "unasked_body", policy::ignore, "its bytes are counted and dropped: a part must never pass for the message"},
    {quirk::uid_after_body, "uid_after_body", policy::accept, "RFC 3501 orders no items; the session pairs it afterwards"},
    {quirk::echoed_peek, "echoed_peek", policy::accept, "old gateways repeat the item as it was asked"},
    {quirk::wrong_size, "wrong_size", policy::accept, "Exchange computes RFC822.SIZE before it converts: the literal's count is the truth"},
    {quirk::early_data, "early_data", policy::ignore, "before the login it may come from anybody"},
    {quirk::unsticky_uids, "unsticky_uids", policy::accept, "the server says so in good time; event::selected tells the session"},
    {quirk::renumbered, "renumbered", policy::end_session, "every UID in flight means another message now (seen on Exchange)"},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < rules.size(); ++i)
    if (static_cast<std::size_t>(rules[i].id) != i) return false;
  return true;
}
static_assert(in_order());

using enum where_said;

constexpr std::array<saying, 43> telling{{
    // Exchange, all protocols; its number of milliseconds is read by throttle_backoff
    {"request is throttled", failure::throttled, anywhere},
    {"suggested backoff time", failure::throttled, anywhere},
    {"too many simultaneous connections", failure::too_many_connections, anywhere},
    {"maximum number of connections", failure::too_many_connections, anywhere},
    {"too many connections", failure::too_many_connections, anywhere},
    {"connection limit", failure::too_many_connections, anywhere},
    // Gmail, with [OVERQUOTA] although it ends after a day
    {"bandwidth limits", failure::throttled, anywhere},
    {"too many login", failure::throttled, anywhere},
    {"too many failed", failure::throttled, anywhere},
    {"too many requests", failure::throttled, anywhere},
    {"rate limit", failure::throttled, anywhere},
    // the end of a token's life: Exchange, then Gmail. A fresh one is all it takes
    {"accesstokenexpired", failure::token_rejected, token_session},
    {"session expired", failure::token_rejected, token_session},
    {"session invalidated", failure::server_bye, anywhere},
    // Exchange: the token is good, the mailbox is another's
    {"authenticated but not connected", failure::no_mailbox_rights, anywhere},
    // passwords switched off by the provider
    {"basic authentication is disabled", failure::login_disabled, login},
    {"basicauthblocked", failure::login_disabled, login},
    {"plaintext authentication disallowed", failure::login_disabled, login},
    {"application-specific password required", failure::login_disabled, login},
    {"please log in via your web browser", failure::login_disabled, login},
    {"web login required", failure::login_disabled, login},
    // IMAP not allowed for this mailbox: no new password and no consent will help
    {"not enabled for imap", failure::no_mailbox_rights, login},
    {"imap is disabled", failure::no_mailbox_rights, login},
    {"imap access is disabled", failure::no_mailbox_rights, login},
    {"imap access disabled", failure::no_mailbox_rights, login},
    {"account is locked", failure::account_blocked, login},
    {"account locked", failure::account_blocked, login},
    {"account is disabled", failure::account_blocked, login},
    {"account disabled", failure::account_blocked, login},
    {"account has been disabled", failure::account_blocked, login},
    {"password has expired", failure::account_blocked, login},
    {"password expired", failure::account_blocked, login},
    // folders that are not there, by servers without [NONEXISTENT]
    {"doesn't exist", failure::mailbox_missing, select},
    {"does not exist", failure::mailbox_missing, select},
    {"no such mailbox", failure::mailbox_missing, select},
    {"no such folder", failure::mailbox_missing, select},
    {"unknown mailbox", failure::mailbox_missing, select},
    {"not be found", failure::mailbox_missing, select},
    {"not found", failure::mailbox_missing, select},
    {"unable to open this mailbox", failure::mailbox_missing, select},
    {"invalid mailbox", failure::mailbox_missing, select},
    {"not valid mutf-7", failure::mailbox_missing, select},
    {"over quota", failure::over_quota, anywhere},
}};

constexpr std::array<saying, 6> temporary{{
    {"temporar", failure::server_unavailable, anywhere},
    {"try again later", failure::server_unavailable, anywhere},
    {"service unavailable", failure::server_unavailable, anywhere},
    {"server unavailable", failure::server_unavailable, anywhere},
    {"internal server error", failure::server_unavailable, anywhere},
    {"internal error", failure::server_unavailable, anywhere},
}};

}  // namespace

std::span<const quirk_rule> quirks() noexcept { return rules; }
const quirk_rule& rule_of(quirk q) noexcept { return rules[static_cast<std::size_t>(q)]; }
std::span<const saying> telling_sayings() noexcept { return telling; }
std::span<const saying> excuses() noexcept { return temporary; }

}  // namespace mailherd::imap
