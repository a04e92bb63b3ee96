// tests/actors/pop3_server: a POP3 server in memory, without threads, whose every answer a test can change.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/actors/memory_net.hpp"

namespace mailherd::test {

class pop3_server {
 public:
  class session;
  struct message {
    std::string uidl, raw;
    unsigned serial = 0;   ///< of this server's messages: two may have the same UIDL
  };

  std::vector<message> drop;
  std::map<std::string, std::string> passwords{{"joe", "secret"}};
  std::set<std::string> tokens;
  std::vector<std::string> capabilities{"TOP", "UIDL", "USER", "PIPELINING", "RESP-CODES", "SASL PLAIN XOAUTH2"};
  bool has_uidl = true;
  std::size_t left_out_of_uidl = 0;   ///< the message of this number is in LIST only
  bool lists_backwards = false;
  bool rude_quit = false;   ///< deletes, and closes without an answer

  /// Before a command is answered: what to answer instead (may be empty), or nullopt.
  std::function<std::optional<std::string>(session&, const std::string& line)> on_command;

  [[nodiscard]] memory_net::maker maker();
  void add(std::string raw, std::string uidl = {});
  [[nodiscard]] std::size_t sessions() const { return locked_ ? 1 : 0; }
  [[nodiscard]] std::size_t count(std::string_view command) const;
  std::vector<std::string> log, logins;

 private:
  friend class session;
  session* locked_ = nullptr;   ///< who holds the maildrop
  unsigned serials_ = 0;
};

class pop3_server::session : public peer {
 public:
  session(pop3_server& s, wire w) : server_(s), wire_(std::move(w)) {}
  ~session() override;
  void connected() override { wire_.send("+OK ready\r\n"); }
  void received(std::string_view bytes) override;
  wire& line() { return wire_; }

 private:
  void on_line(const std::string& text);
  void answer(const std::string& name, const std::string& arguments);
  void authenticate(const std::string& proof);
  void enter(bool good, const std::string& secret);
  void send_body(std::string_view raw);
  [[nodiscard]] bool has(std::size_t number) const { return number >= 1 && number <= drop_.size() && !gone_.contains(number); }

  pop3_server& server_;
  wire wire_;
  std::string input_, user_, mechanism_;
  bool awaits_proof_ = false, signed_in_ = false;
  std::vector<message> drop_;        ///< as it was at the login
  std::set<std::size_t> gone_;
};

}  // namespace mailherd::test
