#include "tests/actors/imap_server.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

#include "core/base64.hpp"
#include "core/server_text.hpp"

namespace mailherd::test {

namespace {

std::string internal_date(wall_time t) {
  return fmt::format("{:%d-%b-%Y %H:%M:%S} +0000", fmt::gmtime(std::chrono::system_clock::to_time_t(t)));
}

/// "1:5,9,12:*"
bool in_set(std::string_view set, std::uint32_t n, std::uint32_t largest) {
  while (!set.empty()) {
    const auto part = set.substr(0, set.find(','));
    set.remove_prefix(std::min(part.size() + 1, set.size()));
    const auto number = [&](std::string_view s) { return s == "*" ? largest : static_cast<std::uint32_t>(std::stoul(std::string(s))); };
    const auto colon = part.find(':');
    auto first = number(part.substr(0, colon)), last = colon == std::string_view::npos ? first : number(part.substr(colon + 1));
    if (first > last) std::swap(first, last);
    if (n >= first && n <= last) return true;
  }
  return false;
}

std::string unquoted(std::string s) {
  if (s.size() >= 2 && s.front() == '"') s = s.substr(1, s.size() - 2);
  return s;
}

}  // namespace

std::string mail(const std::string& subject, std::size_t body_bytes) {
  std::string raw = fmt::format("From: joe@example.test\r\nTo: support@acme.test\r\nSubject: {}\r\nMessage-ID: <{}@example.test>\r\n\r\n", subject, subject);
  while (body_bytes > 0) {
    const auto n = std::min<std::size_t>(body_bytes, 70);
    raw.append(n, 'x').append("\r\n");
    body_bytes -= n;
  }
  return raw;
}

server_message* server_folder::find(std::uint32_t uid) {
  const auto at = std::find_if(messages.begin(), messages.end(), [&](const auto& m) { return m.uid == uid; });
  return at == messages.end() ? nullptr : &*at;
}

// ---- the mailbox --------------------------------------------------------------------------------------------------------------------------

memory_net::maker imap_server::maker(std::string name) {
  return [this, name = std::move(name)](wire w) { return std::make_unique<session>(*this, std::move(w), name); };
}

std::uint32_t imap_server::add(std::string raw, wall_time date, const std::string& folder) {
  auto& f = folders[folder];
  f.messages.push_back({f.uid_next++, std::move(raw), std::chrono::floor<std::chrono::seconds>(date), {}, {}});
  const auto uid = f.messages.back().uid;
  for (auto* s : sessions_)
    if (s->folder == folder && s->idle() && !idle_silent) s->news();
  return uid;
}

void imap_server::expunge(std::uint32_t uid, const std::string& folder) {
  auto& all = folders[folder].messages;
  const auto at = std::find_if(all.begin(), all.end(), [&](const auto& m) { return m.uid == uid; });
  if (at == all.end()) return;
  const auto sequence = at - all.begin() + 1;
  all.erase(at);
  for (auto* s : sessions_) {
    if (s->folder != folder) continue;
    if (s->told_ > 0) --s->told_;
    if (s->idle() && !idle_silent) s->line().send(fmt::format("* {} EXPUNGE\r\n", sequence));
  }
}

void imap_server::renumber(std::uint32_t validity, const std::string& folder) {
  auto& f = folders[folder];
  f.uid_validity = validity;
  f.uid_next = 1;
  for (auto& m : f.messages) m.uid = f.uid_next++;
}

void imap_server::push(const std::string& line) {
  for (auto* s : sessions_)
    if (s->idle()) s->line().send(line + "\r\n");
}

void imap_server::bye_all(const std::string& text) {
  for (auto* s : sessions_) {
    s->line().send("* BYE " + text + "\r\n");
    s->line().close();
  }
}

std::size_t imap_server::selected() const {
  return static_cast<std::size_t>(std::count_if(sessions_.begin(), sessions_.end(), [](const auto* s) { return !s->folder.empty(); }));
}

std::size_t imap_server::idling() const {
  return static_cast<std::size_t>(std::count_if(sessions_.begin(), sessions_.end(), [](const auto* s) { return s->idle(); }));
}

std::size_t imap_server::count(std::string_view name) const {
  return static_cast<std::size_t>(std::count_if(log.begin(), log.end(), [&](const auto& l) { return l.substr(0, name.size()) == name; }));
}

// ---- a conversation -----------------------------------------------------------------------------------------------------------------------

imap_server::session::~session() {
  std::erase(server_.sessions_, this);
  server_.log.push_back(fmt::format("*closed {}", number_));
}

void imap_server::session::received(std::string_view bytes) {
  input_ += bytes;
  for (auto end = input_.find("\r\n"); end != std::string::npos; end = input_.find("\r\n")) {
    const auto text = input_.substr(0, end);
    input_.erase(0, end + 2);
    on_line(text);
  }
}

void imap_server::session::on_line(const std::string& text) {
  if (waiting_) {
    const auto c = *std::exchange(waiting_, std::nullopt);
    return authenticate(c, text);
  }
  if (text == "DONE") {
    if (idle_tag_.empty()) return;
    wire_.send(idle_tag_ + " OK idle\r\n");
    idle_tag_.clear();
    return;
  }
  command c;
  const auto first = text.find(' ');
  c.tag = text.substr(0, first);
  auto rest = first == std::string::npos ? std::string() : text.substr(first + 1);
  auto space = rest.find(' ');
  if (rest.substr(0, 4) == "UID ") space = rest.find(' ', 4);
  c.name = rest.substr(0, space);
  c.arguments = space == std::string::npos ? std::string() : rest.substr(space + 1);
  server_.log.push_back(c.name + (c.name == "AUTHENTICATE" ? "" : " " + c.arguments));
  if (server_.on_command) {
    if (const auto instead = server_.on_command(*this, c)) return wire_.send(*instead);
  }
  answer(c);
}

void imap_server::session::answer(const command& c) {
  if (c.name == "CAPABILITY") {
    wire_.send("* CAPABILITY " + server_.capabilities + "\r\n");
    return ok(c);
  }
  if (c.name == "STARTTLS") return ok(c, "begin");
  if (c.name == "ID") {
    wire_.send("* ID NIL\r\n");
    return ok(c);
  }
  if (c.name == "AUTHENTICATE") {
    const auto space = c.arguments.find(' ');
    if (space != std::string::npos) return authenticate(c, c.arguments.substr(space + 1));
    waiting_ = c;
    return wire_.send("+ \r\n");
  }
  if (c.name == "LOGOUT") {
    if (!server_.rude_logout) {
      wire_.send("* BYE until soon\r\n");
      ok(c);
    }
    return wire_.close();
  }
  if (!signed_in_) return no(c, "sign in first");
  if (c.name == "SELECT" || c.name == "EXAMINE") return select(c);
  if (c.name == "STATUS") {
    const auto& f = server_.folders[unquoted(c.arguments.substr(0, c.arguments.find(" (")))];
    wire_.send(fmt::format("* STATUS x (MESSAGES {} UNSEEN {})\r\n", f.messages.size(), f.messages.size()));
    return ok(c);
  }
  if (c.name == "NOOP") {
    if (!folder.empty()) news();
    return ok(c);
  }
  if (c.name == "IDLE") {
    idle_tag_ = c.tag;
    wire_.send("+ idling\r\n");
    if (!server_.idle_silent) news();
    return;
  }
  if (folder.empty()) return no(c, "select first");
  if (c.name == "UID FETCH") return fetch(c);
  if (c.name == "UID SEARCH") return search(c);
  if (c.name == "UID STORE") return store(c);
  if (c.name == "UID EXPUNGE") return expunge(c);
  wire_.send(c.tag + " BAD what?\r\n");
}

void imap_server::session::authenticate(const command& c, const std::string& proof) {
  const auto plain = base64_decode(proof).value_or("");
  std::string who, secret;
  bool good = false;
  if (c.arguments.substr(0, 7) == "XOAUTH2") {
    const auto bearer = plain.find("auth=Bearer ");
    if (bearer != std::string::npos) secret = plain.substr(bearer + 12, plain.find('\x01', bearer) - bearer - 12);
    good = server_.tokens.contains(secret);
  } else {
    const auto first = plain.find('\0'), second = plain.find('\0', first + 1);
    who = plain.substr(first + 1, second - first - 1);
    secret = plain.substr(second + 1);
    const auto known = server_.passwords.find(who);
    good = known != server_.passwords.end() && known->second == secret;
  }
  if (!good) return no(c, "AUTHENTICATE failed.");
  signed_in_ = true;
  server_.logins.push_back(secret);
  signed_in_with = secret;
  ok(c, "signed in");
}

void imap_server::session::select(const command& c) {
  const auto name = unquoted(c.arguments);
  if (!server_.folders.contains(name)) return no(c, "no such folder");
  if (server_.selected() >= server_.sessions_at_most) return no(c, "[LIMIT] too many sessions");
  folder = name;
  writable = c.name == "SELECT";
  const auto& f = here();
  told_ = f.messages.size();
  server_.log.push_back(fmt::format("*opened {}", number_));
  wire_.send(fmt::format("* {} EXISTS\r\n* OK [UIDVALIDITY {}] x\r\n", told_, f.uid_validity));
  if (server_.tells_uid_next) wire_.send(fmt::format("* OK [UIDNEXT {}] x\r\n", f.uid_next));
  ok(c, c.name == "SELECT" ? "[READ-WRITE] open" : "[READ-ONLY] open");
}

void imap_server::session::news() {
  const auto& f = here();
  if (f.messages.size() == told_) return;
  told_ = f.messages.size();
  wire_.send(fmt::format("* {} EXISTS\r\n", told_));
}

void imap_server::session::fetch(const command& c) {
  const auto set = c.arguments.substr(0, c.arguments.find(' '));
  const bool body = c.arguments.find("BODY.PEEK[]") != std::string::npos;
  const bool header = c.arguments.find("BODY.PEEK[HEADER]") != std::string::npos;
  const bool size = c.arguments.find("RFC822.SIZE") != std::string::npos;
  const auto& now = here().messages;
  const auto largest = now.empty() ? 0 : now.back().uid;
  std::vector<std::pair<std::size_t, server_message>> asked;   // the answer is of this moment, whatever hooks do
  for (std::size_t i = 0; i < now.size(); ++i)
    if (in_set(set, now[i].uid, largest)) asked.emplace_back(i + 1, now[i]);
  for (const auto& [sequence, m] : asked) {
    std::string items = fmt::format("UID {} INTERNALDATE \"{}\"", m.uid, internal_date(m.date));
    if (size) items += fmt::format(" RFC822.SIZE {}", m.claimed_size.value_or(m.raw.size()));
    if (header) {
      const auto head = m.raw.substr(0, m.raw.find("\r\n\r\n") + 4);
      items += fmt::format(" BODY[HEADER] {{{}}}\r\n{}", head.size(), head);
    }
    if (body) {
      const auto instead = server_.on_body ? server_.on_body(*this, m) : std::nullopt;
      items += instead ? *instead : fmt::format(" BODY[] {{{}}}\r\n{}", m.raw.size(), m.raw);
    }
    wire_.send(fmt::format("* {} FETCH ({})\r\n", sequence, items));
    if (!wire_.open()) return;
  }
  ok(c);
}

void imap_server::session::search(const command& c) {
  std::string found = "* SEARCH";
  const auto date = c.arguments.substr(c.arguments.rfind(' ') + 1);   // "SINCE 1-Feb-2026"
  std::tm tm{};
  strptime(date.c_str(), "%d-%b-%Y", &tm);
  const wall_time since{std::chrono::seconds(timegm(&tm))};
  for (const auto& m : here().messages)
    if (m.date >= since && !server_.finds_nothing) found += fmt::format(" {}", m.uid);
  wire_.send(found + "\r\n");
  ok(c);
}

void imap_server::session::store(const command& c) {
  const auto set = c.arguments.substr(0, c.arguments.find(' '));
  const auto open = c.arguments.find('(');
  const auto flag = c.arguments.substr(open + 1, c.arguments.find(')') - open - 1);
  auto& all = here().messages;
  for (auto& m : all)
    if (in_set(set, m.uid, all.back().uid)) m.flags.insert(flag);
  ok(c);
}

void imap_server::session::expunge(const command& c) {
  std::vector<std::uint32_t> going;
  for (const auto& m : here().messages)
    if (in_set(c.arguments, m.uid, here().messages.back().uid) && m.flags.contains("\\Deleted")) going.push_back(m.uid);
  for (const auto uid : going) server_.expunge(uid, folder);
  ok(c);
}

}  // namespace mailherd::test
