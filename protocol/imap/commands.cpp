// protocol/imap/commands: the sending half of the engine: what goes out, and when.
#include <fmt/format.h>

#include <algorithm>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/imap/engine.hpp"
#include "protocol/imap/login_run.hpp"
#include "protocol/imap/scanner.hpp"
#include "protocol/imap/utf7.hpp"

namespace mailherd::imap {

namespace {
// Commands waiting behind each other: no caller needs more.
constexpr std::size_t queue_limit = 1'024;
// RFC 7888, 5: LITERAL- allows non-synchronising literals up to here.
constexpr std::size_t literal_minus_bytes = 4'096;

bool is_atom(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](unsigned char c) {
    return c > 0x20 && c < 0x7F && c != '(' && c != ')' && c != '{' && c != '%' && c != '*' && c != '"' && c != '\\' && c != ']';
  });
}

bool is_quotable(std::string_view s) {
  return s.size() <= 1'000 && std::all_of(s.begin(), s.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7F; });
}

std::string quoted(std::string_view s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out += '"';
}
}  // namespace

std::string_view to_string(command_kind k) noexcept {
  switch (k) {
    case command_kind::capability: return "CAPABILITY";
    case command_kind::starttls: return "STARTTLS";
    case command_kind::id: return "ID";
    case command_kind::login: return "login";
    case command_kind::enable: return "ENABLE";
    case command_kind::list: return "LIST";
    case command_kind::select: return "SELECT";
    case command_kind::status: return "STATUS";
    case command_kind::noop: return "NOOP";
    case command_kind::search: return "UID SEARCH";
    case command_kind::fetch: return "UID FETCH";
    case command_kind::store: return "UID STORE";
    case command_kind::expunge: return "UID EXPUNGE";
    case command_kind::idle: return "IDLE";
    case command_kind::logout: return "LOGOUT";
  }
  return "?";
}

// ---- the queue -----------------------------------------------------------------------------------------------------------------------

result<command_id> engine::enqueue(command_kind kind, std::vector<std::string> parts) {
  if (failure_) return fail(*failure_);
  if (bye_) return fail(*bye_);
  const bool blocked = std::any_of(queue_.begin(), queue_.end(), [](const command& c) {
    return c.kind == command_kind::starttls || c.kind == command_kind::login || c.kind == command_kind::logout;
  });
  // Nothing may stand behind STARTTLS, a login or LOGOUT: what follows depends on how they end.
  if (state_ == state::greeting || state_ == state::tls || state_ == state::logout || state_ == state::over || blocked ||
      queue_.size() >= queue_limit)
    return fail(failure::internal, fmt::format("{} in a wrong state of the session", to_string(kind)));
  command c;
  c.id = ++last_id_;
  c.kind = kind;
  c.parts = std::move(parts);
  queue_.push_back(std::move(c));
  // A command ends an IDLE that runs (RFC 2177, 3).
  if (queue_.size() > 1) done_idle();
  send_ready();
  return last_id_;
}

result<command_id> engine::enqueue_authenticated(command_kind kind, std::vector<std::string> parts) {
  if (!failure_ && !bye_ && !authenticated()) return fail(failure::internal, fmt::format("{} before the login", to_string(kind)));
  return enqueue(kind, std::move(parts));
}

void engine::send_ready() {
  std::size_t sent = 0;
  for (auto& c : queue_) {
    if (!c.sent) {
      const bool alone = sent == 0;
      const bool pipelined = c.kind == command_kind::fetch && queue_.front().kind == command_kind::fetch && sent < limits::fetch_in_flight;
      if (!alone && !pipelined) return;
      send(c);
    }
    ++sent;
    // A command that waits for "+" owns the channel.
    if (c.next_part < c.parts.size() || c.kind != command_kind::fetch) return;
  }
}

void engine::send(command& c) {
  c.sent = true;
  if (c.kind == command_kind::select) select_.emplace();
  if (c.kind == command_kind::logout) state_ = state::logout;
  if (c.kind == command_kind::idle) idle_active_ = idle_ending_ = false;
  output_ += fmt::format("A{} ", c.id);
  output_ += c.parts[0];
  c.next_part = 1;
  if (c.next_part == c.parts.size()) output_ += "\r\n";
}

engine::command* engine::in_flight(command_kind kind) {
  for (auto& c : queue_)
    if (c.sent && c.kind == kind) return &c;
  return nullptr;
}

void engine::finish_command(command_id id) {
  std::erase_if(queue_, [&](const command& c) { return c.id == id; });
  send_ready();
}

void engine::append_string(std::vector<std::string>& parts, std::string_view value) const {
  if (is_atom(value)) {
    parts.back() += value;
  } else if (is_quotable(value)) {
    parts.back() += quoted(value);
  } else if (capabilities_.has(capability::literal_plus) ||
             (capabilities_.has(capability::literal_minus) && value.size() <= literal_minus_bytes)) {
    parts.back() += fmt::format("{{{}+}}\r\n", value.size());
    parts.back() += value;
  } else {
    parts.back() += fmt::format("{{{}}}\r\n", value.size());
    parts.emplace_back(value);
  }
}

void engine::append_mailbox(std::vector<std::string>& parts, std::string_view utf8) const {
  if (equal_text(utf8, "INBOX")) {
    parts.back() += "INBOX";
    return;
  }
  // A name that is no UTF-8 can only have come from this server as it is.
  append_string(parts, to_utf7(utf8).value_or(std::string(utf8)));
}

// ---- commands ------------------------------------------------------------------------------------------------------------------------

result<command_id> engine::capability() { return enqueue(command_kind::capability, {"CAPABILITY"}); }

result<command_id> engine::starttls() {
  if (failure_) return fail(*failure_);
  if (state_ != state::not_authenticated || options_.encrypted || !queue_.empty())
    return fail(failure::internal, "STARTTLS in a wrong state of the session");
  if (capabilities_.known() && !capabilities_.has(capability::starttls))
    return fail(failure::tls_not_offered, "the server does not offer STARTTLS");
  return enqueue(command_kind::starttls, {"STARTTLS"});
}

result<command_id> engine::identify(std::string_view name, std::string_view version) {
  return enqueue(command_kind::id, {fmt::format("ID (\"name\" {} \"version\" {})", quoted(name), quoted(version))});
}

result<command_id> engine::enable(std::string_view extension) {
  return enqueue_authenticated(command_kind::enable, {fmt::format("ENABLE {}", extension)});
}

result<command_id> engine::list(std::string_view pattern) {
  return enqueue_authenticated(command_kind::list, {"LIST \"\" " + quoted(to_utf7(pattern).value_or(std::string(pattern)))});
}

result<command_id> engine::select(std::string_view mailbox, bool read_only) {
  std::vector<std::string> parts{read_only ? "EXAMINE " : "SELECT "};
  append_mailbox(parts, mailbox);
  // Asking costs nothing, and from then on the server tells the modification sequence (RFC 7162, 3.1.8).
  if (capabilities_.has(capability::condstore)) parts.back() += " (CONDSTORE)";
  return enqueue_authenticated(command_kind::select, std::move(parts));
}

result<command_id> engine::status(std::string_view mailbox) {
  std::vector<std::string> parts{"STATUS "};
  append_mailbox(parts, mailbox);
  parts.back() += " (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)";
  return enqueue_authenticated(command_kind::status, std::move(parts));
}

result<command_id> engine::noop() { return enqueue(command_kind::noop, {"NOOP"}); }

result<command_id> engine::search_since(wall_time since) {
  return enqueue_authenticated(command_kind::search, {"UID SEARCH SINCE " + format_search_date(since)});
}

result<command_id> engine::fetch(const uid_set& uids, fetch_what what) {
  if (uids.empty()) return fail(failure::internal, "UID FETCH of nothing");
  std::string items = "(UID RFC822.SIZE INTERNALDATE";
  if (what == fetch_what::headers) items += " BODY.PEEK[HEADER]";
  if (what == fetch_what::body) items = "(UID INTERNALDATE BODY.PEEK[]";
  return enqueue_authenticated(command_kind::fetch, {fmt::format("UID FETCH {} {})", uids.to_string(), items)});
}

result<command_id> engine::store(const uid_set& uids, flag f) {
  if (uids.empty()) return fail(failure::internal, "UID STORE of nothing");
  return enqueue_authenticated(command_kind::store,
                               {fmt::format("UID STORE {} +FLAGS.SILENT ({})", uids.to_string(), f == flag::seen ? "\\Seen" : "\\Deleted")});
}

result<command_id> engine::expunge(const uid_set& uids) {
  if (uids.empty() || !capabilities_.has(capability::uidplus)) return fail(failure::internal, "UID EXPUNGE without UIDPLUS");
  return enqueue_authenticated(command_kind::expunge, {"UID EXPUNGE " + uids.to_string()});
}

result<command_id> engine::idle() {
  if (!capabilities_.has(capability::idle)) return fail(failure::internal, "IDLE is not offered");
  return enqueue_authenticated(command_kind::idle, {"IDLE"});
}

void engine::done_idle() {
  auto* c = in_flight(command_kind::idle);
  if (!c || idle_ending_) return;
  idle_ending_ = true;
  if (idle_active_) output_ += "DONE\r\n";
}

result<command_id> engine::logout() { return enqueue(command_kind::logout, {"LOGOUT"}); }

}  // namespace mailherd::imap
