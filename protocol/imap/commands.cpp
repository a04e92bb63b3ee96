// protocol/imap/commands: the sending half of the engine: what goes out, and when.
#include <fmt/format.h>

#include <algorithm>

#include "core/limits.hpp"
#include "core/secret.hpp"
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

/// RFC 6855, 3: quoted strings hold UTF-8 once it is enabled.
bool is_utf8_quotable(std::string_view s) {
  if (s.size() > 1'000) return false;
  while (!s.empty()) {
    const auto n = utf8_sequence(s);
    if (n == 0 || (n == 1 && (static_cast<unsigned char>(s.front()) < 0x20 || s.front() == 0x7F))) return false;
    s.remove_prefix(n);
  }
  return true;
}

bool has_line_break_or_nul(std::string_view s) { return s.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos; }

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
    case command_kind::compress: return "COMPRESS";
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

result<command_id> engine::enqueue(command_kind kind, std::vector<std::string> parts, fetch_what what) {
  if (failure_) return fail(*failure_);
  if (bye_) return fail(*bye_);
  const bool blocked = std::any_of(queue_.begin(), queue_.end(), [](const command& c) {
    return c.kind == command_kind::starttls || c.kind == command_kind::login || c.kind == command_kind::compress ||
           c.kind == command_kind::logout;
  });
  // Nothing may stand behind STARTTLS, a login, COMPRESS or LOGOUT: what follows depends on how they end.
  if (state_ == state::greeting || state_ == state::tls || state_ == state::logout || state_ == state::over || blocked ||
      queue_.size() >= queue_limit)
    return fail(failure::internal, fmt::format("{} in a wrong state of the session", to_string(kind)));
  command c;
  c.id = ++last_id_;
  c.kind = kind;
  c.what = what;
  c.parts = std::move(parts);
  queue_.push_back(std::move(c));
  // A command ends an IDLE that runs (RFC 2177, 3).
  if (queue_.size() > 1) done_idle();
  send_ready();
  return last_id_;
}

result<command_id> engine::enqueue_authenticated(command_kind kind, std::vector<std::string> parts, fetch_what what) {
  if (!failure_ && !bye_ && !authenticated()) return fail(failure::internal, fmt::format("{} before the login", to_string(kind)));
  return enqueue(kind, std::move(parts), what);
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
  if (c.kind == command_kind::search) found_told_ = 0;
  if (c.kind == command_kind::login) told_capabilities_ = false;
  if (c.kind == command_kind::idle) {
    idle_active_ = false;
    idle_ending_ = queue_.back().id != c.id;  // others wait already: DONE goes out with the "+"
  }
  output_ += fmt::format("A{} ", c.id);
  send_part(c);
}

void engine::send_part(command& c) {
  auto& part = c.parts[c.next_part++];
  output_ += part;
  if (c.kind == command_kind::login) wipe(part.data(), part.size());
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

/// Quoted where it can be, else a literal (RFC 3501, 4.3). Never an atom: somebody may be called NIL.
void engine::append_string(std::vector<std::string>& parts, std::string_view value, bool as_utf8) const {
  if (as_utf8 ? is_utf8_quotable(value) : is_quotable(value)) {
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

/// False: no server has a mailbox of that name.
bool engine::append_mailbox(std::vector<std::string>& parts, std::string_view utf8) const {
  if (utf8.empty() || has_line_break_or_nul(utf8)) return false;
  if (equal_text(utf8, "INBOX")) {
    parts.back() += "INBOX";
  } else if (utf8_names()) {
    append_string(parts, utf8, true);
  } else {
    // A name that is no UTF-8 can only have come from this server as it is.
    append_string(parts, to_utf7(utf8).value_or(std::string(utf8)));
  }
  return true;
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
  if (!is_quotable(name) || !is_quotable(version)) return fail(failure::internal, "ID with a name that cannot be quoted");
  return enqueue(command_kind::id, {fmt::format("ID (\"name\" {} \"version\" {})", quoted(name), quoted(version))});
}

result<command_id> engine::enable(std::string_view extension) {
  if (!is_atom(extension) || !capabilities_.has(capability::enable)) return fail(failure::internal, "ENABLE of what is not offered");
  // RFC 5161, 3.1: an extension may change what the selected state means.
  if (state_ == state::selected || in_flight(command_kind::select)) return fail(failure::internal, "ENABLE with a mailbox selected");
  return enqueue_authenticated(command_kind::enable, {fmt::format("ENABLE {}", extension)});
}

result<command_id> engine::compress() {
  if (!capabilities_.has(capability::compress_deflate)) return fail(failure::internal, "COMPRESS is not offered");
  if (deflate_) return fail(failure::internal, "COMPRESS twice");
  return enqueue_authenticated(command_kind::compress, {"COMPRESS DEFLATE"});
}

result<command_id> engine::list(std::string_view pattern) {
  std::vector<std::string> parts{"LIST \"\" "};
  if (!append_mailbox(parts, pattern)) return fail(failure::invalid_input, "a pattern of mailbox names that no server can read");
  return enqueue_authenticated(command_kind::list, std::move(parts));
}

result<command_id> engine::select(std::string_view mailbox, bool read_only) {
  std::vector<std::string> parts{read_only ? "EXAMINE " : "SELECT "};
  if (!append_mailbox(parts, mailbox)) return fail(failure::invalid_input, "a mailbox name that no server can have");
  // Asking costs nothing, and from then on the server tells the modification sequence (RFC 7162, 3.1.8).
  if (capabilities_.has(capability::condstore)) parts.back() += " (CONDSTORE)";
  return enqueue_authenticated(command_kind::select, std::move(parts));
}

result<command_id> engine::status(std::string_view mailbox) {
  std::vector<std::string> parts{"STATUS "};
  if (!append_mailbox(parts, mailbox)) return fail(failure::invalid_input, "a mailbox name that no server can have");
  parts.back() += " (MESSAGES UNSEEN UIDNEXT UIDVALIDITY";
  parts.back() += capabilities_.has(capability::condstore) ? " HIGHESTMODSEQ)" : ")";
  return enqueue_authenticated(command_kind::status, std::move(parts));
}

result<command_id> engine::noop() { return enqueue(command_kind::noop, {"NOOP"}); }

result<command_id> engine::search_since(wall_time since) {
  // A message is dated by the calendar of its own time zone, up to 12 hours behind UTC: the day before may hold what is wanted.
  const auto earliest = since - std::chrono::hours{12};
  return enqueue_authenticated(command_kind::search, {"UID SEARCH SINCE " + format_search_date(earliest)});
}

result<command_id> engine::fetch(const uid_set& uids, fetch_what what) {
  if (uids.empty()) return fail(failure::internal, "UID FETCH of nothing");
  std::string items = "(UID RFC822.SIZE INTERNALDATE";
  if (what == fetch_what::headers) items += " BODY.PEEK[HEADER]";
  if (what == fetch_what::body) items = "(UID INTERNALDATE BODY.PEEK[]";
  return enqueue_authenticated(command_kind::fetch, {fmt::format("UID FETCH {} {})", uids.to_string(), items)}, what);
}

result<command_id> engine::store(const uid_set& uids, flag f) {
  if (uids.empty()) return fail(failure::internal, "UID STORE of nothing");
  return enqueue_authenticated(
      command_kind::store, {fmt::format("UID STORE {} +FLAGS.SILENT ({})", uids.to_string(), f == flag::seen ? "\\Seen" : "\\Deleted")});
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
