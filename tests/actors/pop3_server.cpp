#include "tests/actors/pop3_server.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base64.hpp"

namespace mailherd::test {

memory_net::maker pop3_server::maker() {
  return [this](wire w) { return std::make_unique<session>(*this, std::move(w)); };
}

void pop3_server::add(std::string raw, std::string uidl) {
  ++serials_;
  if (uidl.empty()) uidl = fmt::format("uidl-{}", serials_);
  drop.push_back({std::move(uidl), std::move(raw), serials_});
}

std::size_t pop3_server::count(std::string_view command) const {
  return static_cast<std::size_t>(std::count_if(log.begin(), log.end(), [&](const auto& l) { return l.substr(0, command.size()) == command; }));
}

pop3_server::session::~session() {
  if (server_.locked_ == this) server_.locked_ = nullptr;
  server_.log.push_back("*closed");
}

void pop3_server::session::received(std::string_view bytes) {
  input_ += bytes;
  for (auto end = input_.find("\r\n"); end != std::string::npos; end = input_.find("\r\n")) {
    const auto text = input_.substr(0, end);
    input_.erase(0, end + 2);
    on_line(text);
  }
}

void pop3_server::session::on_line(const std::string& text) {
  if (std::exchange(awaits_proof_, false)) return authenticate(text);
  const auto space = text.find(' ');
  const auto name = text.substr(0, space);
  server_.log.push_back(name == "PASS" || name == "AUTH" ? name : text);
  if (server_.on_command) {
    if (const auto instead = server_.on_command(*this, text)) return wire_.send(*instead);
  }
  answer(name, space == std::string::npos ? std::string() : text.substr(space + 1));
}

void pop3_server::session::answer(const std::string& name, const std::string& arguments) {
  if (name == "CAPA") {
    std::string all = "+OK\r\n";
    for (const auto& c : server_.capabilities) all += c + "\r\n";
    return wire_.send(all + ".\r\n");
  }
  if (name == "STLS") return wire_.send("+OK begin\r\n");
  if (name == "USER") {
    user_ = arguments;
    return wire_.send("+OK\r\n");
  }
  if (name == "PASS") return enter(server_.passwords.contains(user_) && server_.passwords[user_] == arguments, arguments);
  if (name == "AUTH") {
    const auto space = arguments.find(' ');
    mechanism_ = arguments.substr(0, space);
    if (space != std::string::npos) return authenticate(arguments.substr(space + 1));
    awaits_proof_ = true;
    return wire_.send("+ \r\n");
  }
  if (name == "QUIT") {
    if (signed_in_) {
      for (const auto n : gone_) std::erase_if(server_.drop, [&](const message& m) { return m.serial == drop_[n - 1].serial; });
      server_.locked_ = nullptr;
    }
    if (!server_.rude_quit) wire_.send("+OK bye\r\n");
    return wire_.close();
  }
  if (!signed_in_) return wire_.send("-ERR sign in first\r\n");
  const auto number = arguments.empty() ? std::size_t{0} : static_cast<std::size_t>(std::stoul(arguments));
  if (name == "STAT") return wire_.send(fmt::format("+OK {} {}\r\n", drop_.size() - gone_.size(), 1000));
  if (name == "UIDL" && !server_.has_uidl) return wire_.send("-ERR what?\r\n");
  if (name == "UIDL" || name == "LIST") {
    std::string all = "+OK\r\n";
    for (std::size_t i = 1; i <= drop_.size(); ++i) {
      const auto n = server_.lists_backwards ? drop_.size() + 1 - i : i;
      if (!has(n) || (name == "UIDL" && n == server_.left_out_of_uidl)) continue;
      all += name == "UIDL" ? fmt::format("{} {}\r\n", n, drop_[n - 1].uidl) : fmt::format("{} {}\r\n", n, drop_[n - 1].raw.size());
    }
    return wire_.send(all + ".\r\n");
  }
  if (!has(number)) return wire_.send("-ERR no such message\r\n");
  const auto& raw = drop_[number - 1].raw;
  if (name == "TOP") return send_body(std::string_view(raw).substr(0, raw.find("\r\n\r\n") + 4));
  if (name == "RETR") return send_body(raw);
  if (name == "DELE") {
    gone_.insert(number);
    return wire_.send("+OK\r\n");
  }
  wire_.send("-ERR what?\r\n");
}

void pop3_server::session::authenticate(const std::string& proof) {
  const auto plain = base64_decode(proof).value_or("");
  if (mechanism_ == "XOAUTH2") {
    const auto bearer = plain.find("auth=Bearer ");
    const auto token = bearer == std::string::npos ? std::string() : plain.substr(bearer + 12, plain.find('\x01', bearer) - bearer - 12);
    return enter(server_.tokens.contains(token), token);
  }
  const auto first = plain.find('\0'), second = plain.find('\0', first + 1);
  const auto who = plain.substr(first + 1, second - first - 1), secret = plain.substr(second + 1);
  enter(server_.passwords.contains(who) && server_.passwords[who] == secret, secret);
}

void pop3_server::session::enter(bool good, const std::string& secret) {
  if (!good) return wire_.send("-ERR [AUTH] bad user name or password\r\n");
  if (server_.locked_) return wire_.send("-ERR [IN-USE] the maildrop is locked\r\n");
  server_.locked_ = this;
  signed_in_ = true;
  drop_ = server_.drop;
  server_.logins.push_back(secret);
  wire_.send("+OK\r\n");
}

void pop3_server::session::send_body(std::string_view raw) {
  std::string out = "+OK\r\n";
  bool line_start = true;
  for (const char c : raw) {
    if (line_start && c == '.') out += '.';
    out += c;
    line_start = c == '\n';
  }
  if (!line_start) out += "\r\n";
  wire_.send(out + ".\r\n");
}

}  // namespace mailherd::test
