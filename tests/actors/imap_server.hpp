// tests/actors/imap_server: an IMAP server in memory, without threads, whose every answer a test can change.
//
// Owns:   folders, messages, who may sign in; one conversation per connection.
// Does:   what the IMAP session asks for, and no more: CAPABILITY ID LOGIN AUTHENTICATE SELECT EXAMINE STATUS NOOP UID SEARCH/FETCH/STORE/EXPUNGE IDLE LOGOUT.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/model.hpp"
#include "tests/actors/memory_net.hpp"

namespace mailherd::test {

struct server_message {
  std::uint32_t uid = 0;
  std::string raw;
  wall_time date{};
  std::set<std::string> flags;
  std::optional<std::uint64_t> claimed_size;   ///< RFC822.SIZE, if it is not the truth
};

struct server_folder {
  std::uint32_t uid_validity = 1000;
  std::uint32_t uid_next = 1;
  std::vector<server_message> messages;

  server_message* find(std::uint32_t uid);
};

class imap_server {
 public:
  class session;
  struct command {
    std::string tag, name, arguments;   ///< name: "UID FETCH", "SELECT" ...
  };

  std::map<std::string, server_folder> folders{{"INBOX", {}}};
  std::map<std::string, std::string> passwords{{"joe", "secret"}};
  std::set<std::string> tokens;                 ///< access tokens that are taken; of the account "joe@acme.test"
  std::string capabilities = "IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2 IDLE UIDPLUS LITERAL+ ID";
  unsigned sessions_at_most = 100;              ///< a further one gets NO [LIMIT] at SELECT
  bool idle_silent = false;                     ///< IDLE never tells anything
  bool tells_uid_next = true;
  bool finds_nothing = false;                   ///< SEARCH answers with nothing
  bool rude_logout = false;                     ///< closes without an answer

  /// Before a command is answered: what to answer instead (may be empty), or nullopt.
  std::function<std::optional<std::string>(session&, const command&)> on_command;
  /// What to send instead of "BODY[] {n}\r\n<raw>"; nullopt: the truth.
  std::function<std::optional<std::string>(session&, const server_message&)> on_body;

  /// `name`: what the sessions that come this way remember of it.
  [[nodiscard]] memory_net::maker maker(std::string name = {});

  std::uint32_t add(std::string raw, wall_time date, const std::string& folder = "INBOX");
  void expunge(std::uint32_t uid, const std::string& folder = "INBOX");
  /// All UIDs are new ones.
  void renumber(std::uint32_t validity, const std::string& folder = "INBOX");
  /// A line to every session in IDLE.
  void push(const std::string& line);
  void bye_all(const std::string& text);

  [[nodiscard]] server_folder& inbox() { return folders["INBOX"]; }
  [[nodiscard]] std::size_t selected() const;   ///< sessions with a mailbox open
  [[nodiscard]] std::size_t idling() const;
  [[nodiscard]] const std::vector<session*>& sessions() const { return sessions_; }
  [[nodiscard]] std::size_t count(std::string_view name) const;   ///< commands of this name so far
  std::vector<std::string> log;                 ///< commands, and "*opened", "*closed" of sessions, in order
  std::vector<std::string> logins;              ///< what proved them: password or token

 private:
  friend class session;
  std::vector<session*> sessions_;
  unsigned numbers_ = 0;
};

class imap_server::session : public peer {
 public:
  session(imap_server& s, wire w, std::string name)
      : via(std::move(name)), server_(s), wire_(std::move(w)), number_(++s.numbers_) { server_.sessions_.push_back(this); }
  ~session() override;

  void connected() override { wire_.send("* OK ready\r\n"); }
  void received(std::string_view bytes) override;

  wire& line() { return wire_; }
  [[nodiscard]] bool idle() const { return !idle_tag_.empty(); }
  [[nodiscard]] unsigned number() const { return number_; }
  std::string folder;                           ///< selected
  bool writable = false;                        ///< by SELECT
  std::string signed_in_with;                   ///< password or token
  std::string via;                              ///< the name of the maker

 private:
  friend class imap_server;
  void on_line(const std::string& text);
  void answer(const command& c);
  void authenticate(const command& c, const std::string& proof);
  void select(const command& c);
  void fetch(const command& c);
  void store(const command& c);
  void search(const command& c);
  void expunge(const command& c);
  void ok(const command& c, std::string_view text = "done") { wire_.send(c.tag + " OK " + std::string(text) + "\r\n"); }
  void no(const command& c, std::string_view text) { wire_.send(c.tag + " NO " + std::string(text) + "\r\n"); }
  void news();
  server_folder& here() { return server_.folders[folder]; }

  imap_server& server_;
  wire wire_;
  unsigned number_;
  std::string input_, idle_tag_;
  std::optional<command> waiting_;              ///< AUTHENTICATE without an initial response
  std::size_t told_ = 0;                        ///< EXISTS as the client knows it
  bool signed_in_ = false;
};

/// A message with this subject, and headers of its own.
std::string mail(const std::string& subject, std::size_t body_bytes = 40);

}  // namespace mailherd::test
