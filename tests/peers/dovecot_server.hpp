// tests/peers/dovecot_server: a private Dovecot 2.3 on loopback, with IMAP, IMAPS, POP3, POP3S and LMTP.
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
  std::string password;  ///< printable
};

/// A message as it lies in a folder, read from its file and not through any protocol.
struct kept_message {
  std::string name;         ///< of its file without flags: what expunge() and move() take
  std::uint32_t uid = 0;    ///< 0 while Dovecot has not seen it
  std::string sha256;       ///< hex, of the bytes as they are served: every line end is CRLF (files that Dovecot wrote itself have LF)
  std::size_t size = 0;     ///< of the same bytes
};

struct dovecot_options {
  std::filesystem::path root = {};          ///< empty, or not reachable for the mail user: an own temporary directory
  std::vector<mail_user> users = {};
  std::filesystem::path key_dir = {};       ///< JWT keys as identity_provider writes them; empty: no local validation
  std::string introspection_url = {};  ///< for opaque tokens; empty: none. A fault on "/_introspect" at the identity provider breaks it
  std::string mechanisms = "plain login xoauth2 oauthbearer";  ///< scram-sha-256, apop and cram-md5 can be had too
  std::string capability = {};              ///< imap_capability; empty: Dovecot's own. See exchange_capability
  /// Idle sessions leave their process after `hibernate_after`, and are told news at once; the others after half a second, which Dovecot
  /// waits for more to come. What is delivered at the very moment in which a session leaves is told up to half a minute later: wait until
  /// session_processes() is 0.
  bool hibernate = false;
  std::chrono::seconds hibernate_after{10};
  bool auth_penalty = false;           ///< on: failed logins delay every login from the address (4, 8, 15 s)
  std::chrono::seconds auth_failure_delay{0};  ///< how long a NO to a wrong password waits
  unsigned max_userip_connections = 100;       ///< per user and address; 1 makes break-before-make necessary
  unsigned max_sessions = 200;         ///< IMAP and POP3 processes, each; above 500 login processes are shared (service_count = 0)
  /// false: LOGINDISABLED before STARTTLS. The server is then at 127.0.0.2: Dovecot holds what comes from its own address for secure.
  bool plaintext_login = true;
  std::string address_too = {};             ///< it listens there as well; `tls` then has to name it
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
  /// Dovecot takes an inotify instance per idle session, and the kernel's default is 128 a user: past it, news wait half a minute. Raises
  /// fs.inotify.max_user_instances when it is too low and this is root. False if it stays too low.
  static bool allow_idle_sessions(unsigned sessions);

  [[nodiscard]] const std::string& address() const noexcept;  ///< 127.0.0.1, except without plaintext_login
  [[nodiscard]] std::uint16_t imap_port() const noexcept;   ///< plain and STARTTLS
  [[nodiscard]] std::uint16_t imaps_port() const noexcept;
  [[nodiscard]] std::uint16_t pop3_port() const noexcept;   ///< plain and STLS
  [[nodiscard]] std::uint16_t pop3s_port() const noexcept;
  [[nodiscard]] std::uint16_t lmtp_port() const noexcept;
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
  [[nodiscard]] unsigned session_processes() const;  ///< IMAP and POP3 sessions that are not hibernated

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
  /// By LMTP, as a mail transfer agent does: into INBOX, with Return-Path, Delivered-To and Received before the headers.
  void deliver_lmtp(std::string_view address, std::string_view raw);
  void create_folder(std::string_view address, std::string_view folder);
  void expunge(std::string_view address, std::string_view folder, std::string_view name);
  void move(std::string_view address, std::string_view from, std::string_view to, std::string_view name);
  /// Another UIDVALIDITY, and UIDs counted from 1 again in the order of delivery, as a server gives that has lost its list. One step under
  /// Dovecot's own lock, then the user's sessions are ended. Returns the new UIDVALIDITY.
  std::uint32_t reset_uid_validity(std::string_view address, std::string_view folder = "INBOX");
  /// Empties a folder.
  void clear(std::string_view address, std::string_view folder = "INBOX");

  [[nodiscard]] std::size_t count(std::string_view address, std::string_view folder = "INBOX") const;
  /// 0 if Dovecot has not opened the folder yet.
  [[nodiscard]] std::uint32_t uid_validity(std::string_view address, std::string_view folder = "INBOX") const;
  /// Every message of the folder in the order of delivery.
  [[nodiscard]] std::vector<kept_message> messages(std::string_view address, std::string_view folder = "INBOX") const;
  /// sha256 of the same, sorted, duplicates included.
  [[nodiscard]] std::vector<std::string> digests(std::string_view address, std::string_view folder = "INBOX") const;
  [[nodiscard]] std::filesystem::path maildir(std::string_view address, std::string_view folder = "INBOX") const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace mailherd::peers
