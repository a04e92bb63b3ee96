// tests/peers/pop3_fake: a POP3 server in memory whose every answer a test can change.
//
// Owns:   one maildrop, accounts; one scripted_server underneath.
// Does:   CAPA STLS USER PASS AUTH (PLAIN, LOGIN, XOAUTH2 in one line and in Microsoft's two steps, OAUTHBEARER) STAT UIDL LIST TOP RETR
//         DELE RSET NOOP QUIT.
// Threads: every public function may be called from any thread; hooks run in a connection's thread, without the server's lock.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/peers/imap_fake.hpp"
#include "tests/peers/scripted_server.hpp"

namespace mailherd::peers {

struct pop3_command {
  std::string name;  ///< upper case; "AUTH XOAUTH2" is one name
  std::string text;
  std::size_t connection = 0;
};

struct pop3_fake_options {
  script_options socket = {};
  std::string greeting = "+OK ready";
  std::vector<std::string> capabilities = {"TOP",        "UIDL",       "USER", "SASL PLAIN LOGIN XOAUTH2 OAUTHBEARER",
                                           "RESP-CODES", "PIPELINING", "STLS"};
  std::map<std::string, std::string> passwords = {};        ///< empty: any
  std::map<std::string, std::set<std::string>> tokens = {}; ///< empty: any
  bool has_capa = true;
  bool has_uidl = true;                                ///< false: UIDL gets -ERR
  bool two_step_oauth = false;                         ///< XOAUTH2 only after a "+ " (Microsoft)
  std::chrono::seconds login_delay{0};                 ///< > 0: LOGIN-DELAY is announced, and a login within it is refused [LOGIN-DELAY]
  bool lock_maildrop = true;                           ///< a second session gets [IN-USE]
  std::size_t send_piece = 0;
};

class pop3_fake {
 public:
  using command_hook = std::function<verdict(connection&, const pop3_command&)>;

  explicit pop3_fake(pop3_fake_options options = {});
  ~pop3_fake();
  pop3_fake(const pop3_fake&) = delete;
  pop3_fake& operator=(const pop3_fake&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept;
  scripted_server& server() noexcept;

  /// Adds at the end; the uidl is made up when empty. Returns it.
  std::string add(std::string raw, std::string uidl = {});
  void remove(std::string_view uidl);
  /// Other UIDLs for the same messages.
  void renumber();
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> messages() const;  ///< uidl, raw

  void on_command(command_hook hook);
  void set_passwords(std::map<std::string, std::string> passwords);
  void set_tokens(std::map<std::string, std::set<std::string>> tokens);
  [[nodiscard]] std::size_t count_commands(std::string_view name) const;
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> logins() const;
  [[nodiscard]] std::size_t sessions() const;   ///< that hold the maildrop
  void stop();

  struct state;  ///< shared with the fake's own sessions

 private:
  std::unique_ptr<state> state_;
};

}  // namespace mailherd::peers
