// tests/peers/pop3_fake: implementation; one function per phase of RFC 1939.
#include "tests/peers/pop3_fake.hpp"

#include <algorithm>
#include <mutex>

#include <fmt/format.h>

#include "core/base64.hpp"
#include "tests/peers/fake_accounts.hpp"

namespace mailherd::peers {

namespace {

struct stored {
  std::string uidl, raw;
};

/// The dot-stuffed body of RETR and TOP; `body_lines` < 0: everything.
std::string stuffed(const std::string& raw, int body_lines) {
  std::string out;
  bool body = false;
  std::string_view rest = raw;
  while (!rest.empty()) {
    if (body && body_lines == 0) break;
    const auto end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 2);
    if (!line.empty() && line.front() == '.') out += '.';
    out += line;
    out += "\r\n";
    if (body && body_lines > 0) --body_lines;
    if (line.empty()) body = true;
  }
  return out + ".\r\n";
}

}  // namespace

struct pop3_fake::state {
  pop3_fake_options options;
  fake_accounts accounts;
  mutable std::mutex mutex;
  std::vector<stored> messages;
  std::uint64_t next_uidl = 1;
  command_hook on_command;
  std::map<std::string, std::size_t> counts;
  std::vector<std::pair<std::string, std::string>> logins;
  std::size_t holders = 0;
  std::map<std::string, std::chrono::steady_clock::time_point> last_login;
  std::unique_ptr<scripted_server> server;

  std::string new_uidl() { return fmt::format("uidl-{:08}", next_uidl++); }
};

namespace {

class pop3_session {
 public:
  pop3_session(pop3_fake::state& fake, connection& line) : fake_(fake), line_(line) {}
  ~pop3_session() {
    const std::lock_guard lock(fake_.mutex);
    if (holds_) --fake_.holders;
  }
  pop3_session(const pop3_session&) = delete;
  pop3_session& operator=(const pop3_session&) = delete;

  void run() {
    emit(fake_.options.greeting + "\r\n");
    while (answer(read_command())) {
    }
  }

 private:
  void emit(std::string_view bytes) {
    if (fake_.options.send_piece > 0) line_.send_pieces(bytes, fake_.options.send_piece);
    else line_.send(bytes);
  }
  void ok(std::string_view text = "done") { emit(fmt::format("+OK {}\r\n", text)); }
  void err(std::string_view text) { emit(fmt::format("-ERR {}\r\n", text)); }

  pop3_command read_command() {
    const std::string line = line_.read_line();
    pop3_command out;
    out.connection = line_.index();
    const auto blank = std::min(line.find(' '), line.size());
    out.name = upper(std::string_view(line).substr(0, blank));
    out.text = line.substr(std::min(line.size(), blank + 1));
    if (out.name == "AUTH" && !out.text.empty()) {
      const auto end = std::min(out.text.find(' '), out.text.size());
      out.name += " " + upper(std::string_view(out.text).substr(0, end));
      out.text.erase(0, end + 1);
    }
    return out;
  }

  /// False when the conversation is over.
  bool answer(const pop3_command& command) {
    pop3_fake::command_hook hook;
    {
      const std::lock_guard lock(fake_.mutex);
      ++fake_.counts[command.name];
      hook = fake_.on_command;
    }
    switch (hook ? hook(line_, command) : verdict::normal) {
      case verdict::normal: break;
      case verdict::handled: return true;
      case verdict::close: line_.close(); return false;
      case verdict::reset: line_.reset(); return false;
      case verdict::hang: line_.hang(); return true;
    }
    if (command.name == "QUIT") {
      quit();
      return false;
    }
    if (command.name == "CAPA") capa();
    else if (command.name == "NOOP") ok();
    else if (!holds_) authorization(command);
    else transaction(command);
    return true;
  }

  void capa() {
    if (!fake_.options.has_capa) return err("unknown command");
    std::string out = "+OK capabilities\r\n";
    for (const auto& one : fake_.options.capabilities) {
      if (one == "STLS" && (line_.encrypted() || !fake_.options.socket.tls)) continue;
      if (one == "UIDL" && !fake_.options.has_uidl) continue;
      out += one + "\r\n";
    }
    if (fake_.options.login_delay.count() > 0) out += fmt::format("LOGIN-DELAY {}\r\n", fake_.options.login_delay.count());
    emit(out + ".\r\n");
  }

  void authorization(const pop3_command& command) {
    if (command.name == "STLS" && fake_.options.socket.tls) {
      ok("begin TLS");
      line_.start_tls();
    } else if (command.name == "USER") {
      user_ = command.text;
      ok();
    } else if (command.name == "PASS") {
      sign_in({user_, command.text, false}, "USER");
    } else if (command.name.compare(0, 5, "AUTH ") == 0) {
      authenticate(command);
    } else {
      err("sign in first");
    }
  }

  std::string ask(std::string_view challenge) {
    emit(fmt::format("+ {}\r\n", challenge));
    return line_.read_line();
  }

  void authenticate(const pop3_command& command) {
    const std::string mechanism = command.name.substr(5);
    if (mechanism == "LOGIN") {
      const auto user = base64_decode(ask(base64_encode("Username:")));
      const auto password = base64_decode(ask(base64_encode("Password:")));
      return user && password ? sign_in({*user, *password, false}, mechanism) : err("malformed");
    }
    if (fake_.options.two_step_oauth && !command.text.empty() && mechanism == "XOAUTH2") return err("Protocol error. 18");
    const auto who = read_sasl(mechanism, command.text.empty() ? ask("") : command.text);
    return who ? sign_in(*who, mechanism) : err("malformed or cancelled");
  }

  void sign_in(const sasl_response& who, const std::string& mechanism) {
    const auto now = std::chrono::steady_clock::now();
    bool taken = false, locked = false, delayed = false;
    {
      const std::lock_guard lock(fake_.mutex);
      taken = fake_.accounts.takes(who);
      locked = fake_.options.lock_maildrop && fake_.holders > 0;
      const auto last = fake_.last_login.find(who.account);
      delayed = last != fake_.last_login.end() && now - last->second < fake_.options.login_delay;
      if (taken && !locked && !delayed) {
        holds_ = true;
        ++fake_.holders;
        fake_.last_login[who.account] = now;
        fake_.logins.emplace_back(who.account, mechanism);
        view_ = fake_.messages;
        deleted_.assign(view_.size(), false);
      }
    }
    if (!taken && who.token) {
      emit("+ " + base64_encode(R"({"status":"401","schemes":"bearer","scope":"mail"})") + "\r\n");
      line_.read_line();
    }
    if (!taken) err("[AUTH] Authentication failed.");
    else if (delayed) err("[LOGIN-DELAY] minimum time between logins not over");
    else if (locked) err("[IN-USE] maildrop is locked by another session");
    else ok("Logged in.");
  }

  /// The message a command names; nullptr (and -ERR sent) if there is none.
  const stored* named(const std::string& text, std::size_t& at) {
    at = std::strtoul(text.c_str(), nullptr, 10) - 1;
    if (at < view_.size() && !deleted_[at]) return &view_[at];
    err("no such message");
    return nullptr;
  }

  void listing(const pop3_command& command, const std::function<std::string(const stored&)>& value) {
    std::size_t at = 0;
    if (!command.text.empty()) {
      if (const stored* one = named(command.text, at)) ok(fmt::format("{} {}", at + 1, value(*one)));
      return;
    }
    std::string out = "+OK listing\r\n";
    for (at = 0; at < view_.size(); ++at) {
      if (!deleted_[at]) out += fmt::format("{} {}\r\n", at + 1, value(view_[at]));
    }
    emit(out + ".\r\n");
  }

  void transaction(const pop3_command& command) {
    std::size_t at = 0;
    if (command.name == "STAT") {
      std::size_t count = 0, bytes = 0;
      for (std::size_t i = 0; i < view_.size(); ++i) {
        if (deleted_[i]) continue;
        ++count;
        bytes += view_[i].raw.size();
      }
      ok(fmt::format("{} {}", count, bytes));
    } else if (command.name == "UIDL" && fake_.options.has_uidl) {
      listing(command, [](const stored& one) { return one.uidl; });
    } else if (command.name == "LIST") {
      listing(command, [](const stored& one) { return std::to_string(one.raw.size()); });
    } else if (command.name == "RETR") {
      if (const stored* one = named(command.text, at)) emit(fmt::format("+OK {} octets\r\n", one->raw.size()) + stuffed(one->raw, -1));
    } else if (command.name == "TOP") {
      const auto blank = command.text.find(' ');
      const int lines = blank == std::string::npos ? 0 : std::atoi(command.text.c_str() + blank);
      if (const stored* one = named(command.text, at)) emit("+OK top\r\n" + stuffed(one->raw, lines));
    } else if (command.name == "DELE") {
      if (named(command.text, at) == nullptr) return;
      deleted_[at] = true;
      ok("marked");
    } else if (command.name == "RSET") {
      deleted_.assign(view_.size(), false);
      ok();
    } else {
      err("unknown command");
    }
  }

  /// Deletions happen here and nowhere else (RFC 1939, 6).
  void quit() {
    {
      const std::lock_guard lock(fake_.mutex);
      for (std::size_t i = 0; i < view_.size(); ++i) {
        if (!deleted_[i]) continue;
        auto& all = fake_.messages;
        all.erase(std::remove_if(all.begin(), all.end(), [&](const stored& one) { return one.uidl == view_[i].uidl; }), all.end());
      }
      if (holds_) --fake_.holders;
      holds_ = false;
    }
    ok("bye");
  }

  pop3_fake::state& fake_;
  connection& line_;
  std::string user_;
  bool holds_ = false;
  std::vector<stored> view_;  ///< the maildrop as it was at login
  std::vector<bool> deleted_;
};

}  // namespace

pop3_fake::pop3_fake(pop3_fake_options options) : state_(std::make_unique<state>()) {
  state_->options = options;
  state_->accounts = {options.passwords, options.tokens};
  state_->server = std::make_unique<scripted_server>(
      [fake = state_.get()](connection& line) {
        pop3_session session(*fake, line);
        session.run();
      },
      options.socket);
}

pop3_fake::~pop3_fake() { stop(); }

std::uint16_t pop3_fake::port() const noexcept { return state_->server->port(); }
scripted_server& pop3_fake::server() noexcept { return *state_->server; }

std::string pop3_fake::add(std::string raw, std::string uidl) {
  const std::lock_guard lock(state_->mutex);
  if (uidl.empty()) uidl = state_->new_uidl();
  state_->messages.push_back({uidl, std::move(raw)});
  return uidl;
}

void pop3_fake::remove(std::string_view uidl) {
  const std::lock_guard lock(state_->mutex);
  auto& all = state_->messages;
  all.erase(std::remove_if(all.begin(), all.end(), [&](const stored& one) { return one.uidl == uidl; }), all.end());
}

void pop3_fake::renumber() {
  const std::lock_guard lock(state_->mutex);
  for (auto& message : state_->messages) message.uidl = state_->new_uidl();
}

std::vector<std::pair<std::string, std::string>> pop3_fake::messages() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& message : state_->messages) out.emplace_back(message.uidl, message.raw);
  return out;
}

void pop3_fake::on_command(command_hook hook) {
  const std::lock_guard lock(state_->mutex);
  state_->on_command = std::move(hook);
}

void pop3_fake::set_passwords(std::map<std::string, std::string> passwords) {
  const std::lock_guard lock(state_->mutex);
  state_->accounts.passwords = std::move(passwords);
}

void pop3_fake::set_tokens(std::map<std::string, std::set<std::string>> tokens) {
  const std::lock_guard lock(state_->mutex);
  state_->accounts.tokens = std::move(tokens);
}

std::size_t pop3_fake::count_commands(std::string_view name) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->counts.find(std::string(name));
  return found == state_->counts.end() ? 0 : found->second;
}

std::vector<std::pair<std::string, std::string>> pop3_fake::logins() const {
  const std::lock_guard lock(state_->mutex);
  return state_->logins;
}

std::size_t pop3_fake::sessions() const {
  const std::lock_guard lock(state_->mutex);
  return state_->holders;
}

void pop3_fake::stop() { state_->server->stop(); }

}  // namespace mailherd::peers
