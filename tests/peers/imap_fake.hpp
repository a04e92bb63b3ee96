// tests/peers/imap_fake: an IMAP server in memory whose every answer a test can change.
//
// Owns:   mailboxes, messages, accounts; one scripted_server underneath.
// Does:   CAPABILITY ID NOOP LOGIN AUTHENTICATE(PLAIN LOGIN XOAUTH2 OAUTHBEARER) STARTTLS ENABLE NAMESPACE LIST SELECT EXAMINE STATUS
//         CHECK CLOSE UNSELECT [UID] SEARCH (sequence sets, UID, ALL, SEEN/UNSEEN, SINCE/BEFORE, SIZE) [UID] FETCH (UID FLAGS
//         INTERNALDATE RFC822.SIZE MODSEQ BODY[.PEEK][…HEADER/TEXT] with <partial>, CHANGEDSINCE) [UID] STORE, [UID] EXPUNGE, [UID] MOVE,
//         IDLE with push, LOGOUT.
// Never:  claims to be right where RFC 3501 is subtle: Dovecot is for that. This one is for what no real server does on demand.
// Threads: every public function may be called from any thread; hooks run in a connection's thread, without the server's lock.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/peers/scripted_server.hpp"

namespace mailherd::peers {

struct fake_message {
  std::uint32_t uid = 0;
  std::string raw;
  std::set<std::string> flags;
  std::chrono::system_clock::time_point internal_date{};
  std::uint64_t modseq = 1;
  std::optional<std::uint32_t> claimed_size;  ///< RFC822.SIZE says this instead of the truth (Exchange does)
};

/// One command as it came in, literals already inside `text`.
struct imap_command {
  std::string tag;
  std::string name;  ///< upper case; "UID FETCH" is one name; "AUTHENTICATE XOAUTH2" too; "DONE" ends an IDLE
  std::string text;  ///< the arguments
  std::size_t connection = 0;
};

/// What a hook decides about a command.
enum class verdict {
  normal,   ///< the server answers as ever
  handled,  ///< the hook has answered
  close,    ///< end the connection now (FIN)
  reset,    ///< end it with RST
  hang,     ///< say nothing more until release() or stop()
};

struct imap_fake_options {
  script_options socket = {};
  std::string greeting = "* OK [CAPABILITY {}] ready";  ///< {} is replaced by the capabilities
  std::string capabilities =
      "IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=OAUTHBEARER IDLE UIDPLUS MOVE CONDSTORE ENABLE ID UNSELECT "
      "NAMESPACE STARTTLS";
  /// account → password; empty: any LOGIN and any token is taken.
  std::map<std::string, std::string> passwords = {};
  /// Access tokens taken per account ("" : for all); empty: any.
  std::map<std::string, std::set<std::string>> tokens = {};
  unsigned max_connections_per_user = 0;      ///< 0: any number; past it NO [LIMIT]
  bool refuse_with_bye = false;               ///< past the limit the connection gets BYE instead of NO
  bool idle_silent = false;                   ///< IDLE never tells anything
  std::size_t send_piece = 0;                 ///< > 0: everything is sent in pieces of so many bytes
};

class imap_fake {
 public:
  using command_hook = std::function<verdict(connection&, const imap_command&)>;
  /// May replace the bytes that answer a FETCH of one message: return nullopt for the true answer.
  using fetch_hook = std::function<std::optional<std::string>(const imap_command&, const fake_message&)>;

  explicit imap_fake(imap_fake_options options = {});
  ~imap_fake();
  imap_fake(const imap_fake&) = delete;
  imap_fake& operator=(const imap_fake&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept;
  scripted_server& server() noexcept;   ///< transcript, connections, release, drop_all

  // ---- mail ----
  /// Returns the UID; sessions in IDLE are told. INBOX exists; other folders are made.
  std::uint32_t add(std::string raw, std::string_view folder = "INBOX",
                    std::chrono::system_clock::time_point internal_date = std::chrono::system_clock::now());
  void claim_size(std::uint32_t uid, std::uint32_t size, std::string_view folder = "INBOX");
  void expunge(std::uint32_t uid, std::string_view folder = "INBOX");
  void set_flags(std::uint32_t uid, std::set<std::string> flags, std::string_view folder = "INBOX");
  void set_uid_next(std::uint32_t next, std::string_view folder = "INBOX");
  void set_uid_validity(std::uint32_t value, std::string_view folder = "INBOX", bool renumber = true);
  [[nodiscard]] std::uint32_t uid_validity(std::string_view folder = "INBOX") const;
  [[nodiscard]] std::vector<fake_message> messages(std::string_view folder = "INBOX") const;
  void remove_folder(std::string_view folder);

  // ---- faults; all may be changed while sessions run ----
  void on_command(command_hook hook);
  void on_fetch(fetch_hook hook);
  /// EXISTS in SELECT, NOOP and IDLE is the true count plus this.
  void lie_about_exists(int difference);
  void idle_silent(bool silent);
  void set_passwords(std::map<std::string, std::string> passwords);
  void set_tokens(std::map<std::string, std::set<std::string>> tokens);
  void set_capabilities(std::string capabilities);
  void max_connections_per_user(unsigned limit);
  /// Sends a raw line to every session that is in IDLE, e.g. "* BYE token expired"; afterwards closes them if `close`.
  void push(std::string_view line, bool close = false);

  // ---- watching ----
  [[nodiscard]] std::size_t idling() const;
  bool wait_idling(std::size_t sessions, std::chrono::milliseconds timeout = std::chrono::seconds(10)) const;
  [[nodiscard]] std::size_t count_commands(std::string_view name) const;
  /// Account and mechanism ("LOGIN", "XOAUTH2", …) of every authentication that succeeded, in order.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> logins() const;
  void stop();

  struct state;  ///< shared with the fake's own sessions

 private:
  std::unique_ptr<state> state_;
};

}  // namespace mailherd::peers
