// tests/peers/dovecot_server: a private Dovecot 2.3 on loopback, with IMAP, IMAPS, POP3 and POP3S.
//
// Owns:   its configuration, run directory, mail root (Maildir++) and processes; all end with this object or with its owner's death.
// Never:  touches the system's Dovecot. Works as root (mail belongs to `nobody`) and as any other user.
// Threads: one at a time, except the const functions and deliver(), which may run beside each other.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/peers/process.hpp"
#include "tests/peers/test_ca.hpp"

namespace mailherd::peers {

struct mail_user {
  std::string address;   ///< lower case; the login name
  std::string password;  ///< no ':' in it
};

struct dovecot_options {
  std::filesystem::path root = {};          ///< empty, or not reachable for the mail user: an own temporary directory
  std::vector<mail_user> users = {};
  std::filesystem::path key_dir = {};       ///< JWT keys as identity_provider writes them; empty: no local validation
  std::string introspection_url = {};       ///< for opaque tokens; empty: none. A fault on "/_introspect" at the identity provider breaks it
  std::string capability = {};              ///< imap_capability; empty: Dovecot's own. See exchange_capability
  bool hibernate = false;              ///< idle sessions leave their process after `hibernate_after`
  std::chrono::seconds hibernate_after{10};
  bool auth_penalty = false;           ///< on: failed logins delay every login from the address (4, 8, 15 s)
  std::chrono::seconds auth_failure_delay{0};  ///< how long a NO to a wrong password waits
  unsigned max_userip_connections = 100;       ///< per user and address; 1 makes break-before-make necessary
  unsigned max_sessions = 200;         ///< IMAP and POP3 processes, each; above 500 login processes are shared (service_count = 0)
  bool plaintext_login = true;         ///< false: LOGINDISABLED before STARTTLS
  certificate tls = {};                     ///< empty: an own CA and certificate for test_ca::default_names()
  bool fsync = false;                  ///< mail_fsync
  bool auth_cache = false;             ///< keeps accepting tokens after they expired
  std::string extra = {};                   ///< further lines of configuration, last
};

/// What Exchange Online advertises.
inline constexpr std::string_view exchange_capability =
    "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+";

class dovecot_server {
 public:
  /// Starts and waits until every port answers. Throws peer_error if Dovecot is not installed or does not start.
  explicit dovecot_server(dovecot_options options);
  ~dovecot_server();
  dovecot_server(const dovecot_server&) = delete;
  dovecot_server& operator=(const dovecot_server&) = delete;

  static bool installed();

  [[nodiscard]] std::uint16_t imap_port() const noexcept;   ///< plain and STARTTLS
  [[nodiscard]] std::uint16_t imaps_port() const noexcept;
  [[nodiscard]] std::uint16_t pop3_port() const noexcept;   ///< plain and STLS
  [[nodiscard]] std::uint16_t pop3s_port() const noexcept;
  /// The CA that signed its certificate; empty if options.tls was given.
  [[nodiscard]] std::filesystem::path ca_file() const;
  [[nodiscard]] std::filesystem::path log_file() const;
  [[nodiscard]] std::filesystem::path root() const;

  // ---- life ----
  void stop();      ///< orderly: sessions get BYE
  void kill();      ///< kill -9 of every process: connections are reset
  void start();     ///< after stop() or kill(); same ports, same mail
  void restart();   ///< stop() and start()
  void freeze();    ///< SIGSTOP: connections stay, nobody answers
  void thaw();
  void reload();    ///< configuration is read again, sessions stay
  [[nodiscard]] process_usage usage() const;  ///< of all its processes

  // ---- accounts ----
  void add_user(const mail_user& user);                   ///< at once, no restart
  void set_password(std::string_view address, std::string_view password);
  void remove_user(std::string_view address);             ///< passwords no longer work; the mail stays
  /// Ends the user's sessions (doveadm kick). Returns how many processes were told.
  unsigned kick(std::string_view address);

  // ---- mail ----
  /// Writes a message into the maildir: at once visible to IDLE. `raw` must have CRLF line ends, so that the bytes served are these.
  /// Folders are Maildir++ with "/" between levels ("INBOX", "Archive/2026"; ASCII) and are made when missing. Returns the name that
  /// expunge() and move() take. `internal_date`: INTERNALDATE, now if empty.
  std::string deliver(std::string_view address, std::string_view folder, std::string_view raw,
                      std::optional<std::chrono::system_clock::time_point> internal_date = {});
  /// The same for many, in order and fast (straight into cur/, without \Recent, meant for a mailbox that is not open).
  void deliver_many(std::string_view address, std::string_view folder, std::size_t count,
                    const std::function<std::string(std::size_t)>& message);
  void create_folder(std::string_view address, std::string_view folder);
  void expunge(std::string_view address, std::string_view folder, std::string_view name);
  void move(std::string_view address, std::string_view from, std::string_view to, std::string_view name);
  /// Another UIDVALIDITY and other UIDs for the same messages: ends the user's sessions and removes the UID list and indexes.
  void reset_uid_validity(std::string_view address, std::string_view folder = "INBOX");
  /// Empties a folder.
  void clear(std::string_view address, std::string_view folder = "INBOX");

  [[nodiscard]] std::size_t count(std::string_view address, std::string_view folder = "INBOX") const;
  /// Hex SHA-256 of every message of the folder, sorted, duplicates included.
  [[nodiscard]] std::vector<std::string> digests(std::string_view address, std::string_view folder = "INBOX") const;
  [[nodiscard]] std::filesystem::path maildir(std::string_view address, std::string_view folder = "INBOX") const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace mailherd::peers
