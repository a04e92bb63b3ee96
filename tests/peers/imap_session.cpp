// tests/peers/imap_session: one conversation with the fake IMAP server.
#include <algorithm>

#include <fmt/format.h>

#include "core/base64.hpp"
#include "tests/peers/imap_fake_state.hpp"
#include "tests/peers/imap_fake_text.hpp"

namespace mailherd::peers {

namespace {

constexpr std::chrono::hours idle_limit{24};

bool has_flag(const fake_message& message, const char* flag) { return message.flags.count(flag) != 0; }

/// "{12}" or "{12+}" at the end of a line.
std::optional<std::pair<std::size_t, bool>> literal_at_end(const std::string& line) {
  if (line.empty() || line.back() != '}') return std::nullopt;
  const auto brace = line.rfind('{');
  if (brace == std::string::npos) return std::nullopt;
  const bool waits = line[line.size() - 2] != '+';
  return std::pair{static_cast<std::size_t>(std::stoul(line.substr(brace + 1))), waits};
}

}  // namespace

imap_session::~imap_session() {
  const std::lock_guard lock(fake_.mutex);
  if (!account_.empty()) --fake_.sessions_of[account_];
  fake_.idling.erase(std::remove(fake_.idling.begin(), fake_.idling.end(), this), fake_.idling.end());
  fake_.changed.notify_all();
}

void imap_session::emit(std::string_view bytes) {
  std::size_t piece = 0;
  {
    const std::lock_guard lock(fake_.mutex);
    piece = fake_.options.send_piece;
  }
  if (piece > 0) line_.send_pieces(bytes, piece);
  else line_.send(bytes);
}

void imap_session::done(const imap_command& command, std::string_view text) { emit(fmt::format("{} OK {}\r\n", command.tag, text)); }
void imap_session::no(const imap_command& command, std::string_view text) { emit(fmt::format("{} NO {}\r\n", command.tag, text)); }

std::string imap_session::capabilities() const {
  const std::lock_guard lock(fake_.mutex);
  std::string out = fake_.options.capabilities;
  // Advertised inside TLS it would be offered again and again.
  const auto at = out.find(" STARTTLS");
  if (at != std::string::npos && (line_.encrypted() || !fake_.options.socket.tls)) out.erase(at, 9);
  return out;
}

void imap_session::run() {
  std::string greeting;
  {
    const std::lock_guard lock(fake_.mutex);
    greeting = fake_.options.greeting;
  }
  const auto place = greeting.find("{}");
  if (place != std::string::npos) greeting.replace(place, 2, capabilities());
  emit(greeting + "\r\n");
  while (answer(read_command()) == after::go_on) {
  }
}

imap_command imap_session::read_command() {
  std::string text;
  for (;;) {
    std::string line = line_.read_line();
    const auto literal = literal_at_end(line);
    if (!literal) {
      text += line;
      break;
    }
    line.erase(line.rfind('{'));
    if (literal->second) emit("+ go on\r\n");
    std::string quoted;
    for (const char c : line_.read_exact(literal->first)) quoted += (c == '"' || c == '\\') ? std::string{'\\', c} : std::string{c};
    text += line + '"' + quoted + '"';
  }
  imap_command out;
  out.connection = line_.index();
  std::string_view rest = text;
  out.tag = next_argument(rest);
  out.name = upper(next_argument(rest));
  if (out.name == "UID" || out.name == "AUTHENTICATE") out.name += " " + upper(next_argument(rest));
  if (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  out.text = rest;
  return out;
}

bool imap_session::hooked(const imap_command& command, after& result) {
  imap_fake::command_hook hook;
  {
    const std::lock_guard lock(fake_.mutex);
    ++fake_.counts[command.name];
    fake_.changed.notify_all();
    hook = fake_.on_command;
  }
  result = after::go_on;
  switch (hook ? hook(line_, command) : verdict::normal) {
    case verdict::normal: return false;
    case verdict::handled: return true;
    case verdict::close: line_.close(); break;
    case verdict::reset: line_.reset(); break;
    case verdict::hang: line_.hang(); return true;
  }
  result = after::end;
  return true;
}

imap_session::after imap_session::answer(const imap_command& command) {
  after result = after::go_on;
  if (hooked(command, result)) return result;
  if (command.name == "CAPABILITY") {
    emit(fmt::format("* CAPABILITY {}\r\n", capabilities()));
    done(command);
  } else if (command.name == "LOGOUT") {
    emit("* BYE logging out\r\n");
    done(command);
    return after::end;
  } else if (command.name == "ID") {
    emit("* ID (\"name\" \"fake\")\r\n");
    done(command);
  } else if (command.name == "STARTTLS" && fake_.options.socket.tls) {
    done(command, "begin TLS");
    line_.start_tls();
  } else if (command.name == "LOGIN") {
    login(command);
  } else if (command.name.compare(0, 12, "AUTHENTICATE") == 0) {
    authenticate(command);
  } else if (command.name == "NOOP" || command.name == "CHECK") {
    tell_news(true);
    done(command);
  } else if (account_.empty()) {
    emit(fmt::format("{} BAD not authenticated\r\n", command.tag));
  } else if (command.name == "ENABLE") {
    emit(fmt::format("* ENABLED {}\r\n", command.text));
    condstore_ = true;
    done(command);
  } else if (command.name == "NAMESPACE") {
    emit("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    done(command);
  } else if (command.name == "LIST") {
    list(command);
  } else if (command.name == "STATUS") {
    status(command);
  } else if (command.name == "SELECT" || command.name == "EXAMINE") {
    select(command);
  } else {
    return answer_selected(command);
  }
  return after::go_on;
}

imap_session::after imap_session::answer_selected(const imap_command& command) {
  const bool by_uid = command.name.compare(0, 4, "UID ") == 0;
  const std::string name = by_uid ? command.name.substr(4) : command.name;
  if (name == "IDLE") return idle(command);  // also without a mailbox (RFC 2177)
  if (!selected_) emit(fmt::format("{} BAD no mailbox is selected, or unknown command\r\n", command.tag));
  else if (name == "FETCH") fetch(command, by_uid);
  else if (name == "SEARCH") search(command, by_uid);
  else if (name == "STORE") store(command, by_uid);
  else if (name == "MOVE") move(command, by_uid);
  else if (name == "EXPUNGE") expunge(command, by_uid);
  else if (name == "CLOSE" || name == "UNSELECT") {
    selected_ = false;
    done(command);
  } else {
    emit(fmt::format("{} BAD unknown command\r\n", command.tag));
  }
  return after::go_on;
}

// ---- authentication -------------------------------------------------------------------------------------------------------------

void imap_session::login(const imap_command& command) {
  std::string_view rest = command.text;
  sasl_response who;
  who.account = next_argument(rest);
  who.proof = next_argument(rest);
  signed_in(command, who, "LOGIN");
}

void imap_session::authenticate(const imap_command& command) {
  const std::string mechanism = command.name.substr(13);
  const auto ask = [&](std::string_view challenge) {
    emit(fmt::format("+ {}\r\n", challenge));
    return line_.read_line();
  };
  if (mechanism == "LOGIN") {
    const auto user = base64_decode(command.text.empty() ? ask(base64_encode("Username:")) : command.text);
    const auto password = base64_decode(ask(base64_encode("Password:")));
    if (user && password) return signed_in(command, {*user, *password, false}, "LOGIN");
  } else {
    const std::string response = command.text.empty() ? ask("") : command.text;
    const auto who = read_sasl(mechanism, response);
    if (who) return signed_in(command, *who, mechanism);
  }
  emit(fmt::format("{} BAD malformed or cancelled\r\n", command.tag));
}

void imap_session::refuse(const imap_command& command, bool token) {
  if (token) {
    // The NO comes only after the client has answered the challenge.
    emit("+ " + base64_encode(R"({"status":"401","schemes":"bearer","scope":"mail"})") + "\r\n");
    line_.read_line();
  }
  no(command, "[AUTHENTICATIONFAILED] Authentication failed.");
}

void imap_session::signed_in(const imap_command& command, const sasl_response& who, const std::string& mechanism) {
  bool taken = false, too_many = false, bye = false;
  {
    const std::lock_guard lock(fake_.mutex);
    taken = fake_.accounts.takes(who);
    const unsigned limit = fake_.options.max_connections_per_user;
    too_many = limit > 0 && fake_.sessions_of[who.account] >= limit;
    bye = fake_.options.refuse_with_bye;
    if (taken && !too_many) {
      account_ = who.account;
      ++fake_.sessions_of[account_];
      fake_.logins.emplace_back(account_, mechanism);
      fake_.changed.notify_all();
    }
  }
  if (!taken) return refuse(command, who.token);
  if (too_many && bye) {
    emit("* BYE [LIMIT] too many connections\r\n");
    line_.close();
    return;
  }
  if (too_many) return no(command, "[LIMIT] Maximum number of connections from user+IP exceeded");
  done(command, fmt::format("[CAPABILITY {}] Logged in", capabilities()));
}

// ---- mailboxes ------------------------------------------------------------------------------------------------------------------

void imap_session::list(const imap_command& command) {
  std::string out;
  {
    const std::lock_guard lock(fake_.mutex);
    for (const auto& [name, folder] : fake_.folders) out += fmt::format("* LIST (\\HasNoChildren) \"/\" \"{}\"\r\n", name);
  }
  emit(out);
  done(command);
}

void imap_session::status(const imap_command& command) {
  std::string_view rest = command.text;
  const std::string name = next_argument(rest);
  std::string out;
  {
    const std::lock_guard lock(fake_.mutex);
    if (upper(name) == "INBOX" || fake_.folders.count(name) != 0) {
      const fake_folder& folder = fake_.folder(name);
      const auto unseen =
          std::count_if(folder.messages.begin(), folder.messages.end(), [](const auto& m) { return !has_flag(m, "\\Seen"); });
      out = fmt::format("* STATUS \"{}\" (MESSAGES {} UIDNEXT {} UIDVALIDITY {} UNSEEN {} RECENT 0 HIGHESTMODSEQ {})\r\n", name,
                        folder.messages.size(), folder.uid_next, folder.uid_validity, unseen, folder.modseq);
    }
  }
  if (out.empty()) return no(command, "[NONEXISTENT] no such mailbox");
  emit(out);
  done(command);
}

void imap_session::select(const imap_command& command) {
  std::string_view rest = command.text;
  const std::string name = next_argument(rest);
  selected_ = false;
  std::string out;
  {
    const std::lock_guard lock(fake_.mutex);
    if (upper(name) == "INBOX" || fake_.folders.count(name) != 0) {
      folder_ = name;
      selected_ = true;
      const fake_folder& folder = here();
      seen_.clear();
      for (const auto& message : folder.messages) seen_.push_back(message.uid);
      told_modseq_ = folder.modseq;
      out = fmt::format(
          "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft "
          "\\*)] ok\r\n"
          "* {} EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY {}] ok\r\n* OK [UIDNEXT {}] ok\r\n* OK [HIGHESTMODSEQ {}] ok\r\n",
          static_cast<int>(seen_.size()) + fake_.exists_lie, folder.uid_validity, folder.uid_next, folder.modseq);
    }
  }
  if (!selected_) return no(command, "[NONEXISTENT] no such mailbox");
  emit(out);
  done(command, command.name == "EXAMINE" ? "[READ-ONLY] done" : "[READ-WRITE] done");
}

std::string imap_session::news(bool with_expunge) {
  if (!selected_) return {};
  std::string out;
  const fake_folder& folder = here();
  if (with_expunge) {
    for (std::size_t at = seen_.size(); at-- > 0;) {
      if (find(seen_[at]) != nullptr) continue;
      out += fmt::format("* {} EXPUNGE\r\n", at + 1);
      seen_.erase(seen_.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  const std::uint32_t last = seen_.empty() ? 0 : seen_.back();
  const std::size_t known = seen_.size();
  for (const auto& message : folder.messages) {
    if (message.uid > last) seen_.push_back(message.uid);
  }
  if (seen_.size() != known) out += fmt::format("* {} EXISTS\r\n", static_cast<int>(seen_.size()) + fake_.exists_lie);
  for (std::size_t at = 0; at < known; ++at) {
    const fake_message* message = find(seen_[at]);
    if (message != nullptr && message->modseq > told_modseq_)
      out += fmt::format("* {} FETCH (UID {} {})\r\n", at + 1, message->uid, fetch_item("FLAGS", *message));
  }
  told_modseq_ = folder.modseq;
  return out;
}

void imap_session::tell_news(bool with_expunge) {
  std::string out;
  {
    const std::lock_guard lock(fake_.mutex);
    out = news(with_expunge);
  }
  if (!out.empty()) emit(out);
}

imap_session::after imap_session::idle(const imap_command& command) {
  emit("+ idling\r\n");
  bool enrolled = false;
  while (true) {
    std::string out;
    bool close = false;
    {
      const std::lock_guard lock(fake_.mutex);
      if (!enrolled) {
        // Counted as idling only now: what a test pushes after wait_idling() must find this session.
        fake_.idling.push_back(this);
        fake_.changed.notify_all();
        enrolled = true;
      }
      if (!fake_.options.idle_silent) out = news(true);
      for (; !pushed.empty() && !close; pushed.pop_front()) {
        out += pushed.front().first + "\r\n";
        close = pushed.front().second;
      }
    }
    if (!out.empty()) emit(out);
    if (close) return after::end;
    if (line_.line_waits(idle_limit)) break;
  }
  imap_command ended;
  ended.tag = command.tag;
  ended.connection = command.connection;
  ended.name = upper(line_.read_line());
  {
    const std::lock_guard lock(fake_.mutex);
    fake_.idling.erase(std::remove(fake_.idling.begin(), fake_.idling.end(), this), fake_.idling.end());
    fake_.changed.notify_all();
  }
  after result = after::go_on;
  if (hooked(ended, result)) return result;
  if (ended.name == "DONE") done(command, "idle ended");
  else emit(fmt::format("{} BAD expected DONE\r\n", command.tag));
  return result;
}

}  // namespace mailherd::peers
