// actors/session/session: one authenticated connection with a mailbox, seen from the actor that owns it.
//
// Owns:   the abstract `mail_session`, its requests and its events; the same shape for IMAP and POP3.
// Never:  decides what to fetch, when to retry or what a failure means: it says what happened. Never touches the database except to write
//         the chunks of a body too large for memory (body_store.hpp).
// Threads: functions of mail_session may be called on any thread (they post to the session's reactor and return at once); events are
//         handed to `listener` on the reactor's thread, which must only forward them. Every event carries the session's epoch, so that a late
//         one cannot be taken for a newer session's.
// Lifetime: destroying the handle aborts the session; no event follows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "actors/budget.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "storage/store.hpp"

namespace mailherd::net {
class reactor;
}

namespace mailherd::actors {

struct environment;

/// All a session must know to open: one attempt with one deadline over DNS, TCP, TLS, greeting, authentication and select.
struct session_plan {
  std::uint64_t epoch = 0;               ///< connection epoch: repeated in every event
  store::lease_guard guard;              ///< whose chunks of large bodies it may write; tenant 0: none (a connection test)
  incoming_settings incoming;
  auth_type auth = auth_type::basic;
  std::string username;
  secret<> password;                     ///< auth_type::basic
  secret<> access_token;                 ///< auth_type::oauth2
  bool writable = false;                 ///< open for flags and deletions (SELECT); otherwise read only (EXAMINE)
  bool allow_plaintext = false;
  seconds poll_interval{60};
};

/// One message on the server.
struct listing_entry {
  mailherd::uid uid;                     ///< IMAP
  std::uint32_t number = 0;              ///< POP3: valid in this session only
  std::string uidl;                      ///< POP3
  bool unnamed = false;                  ///< POP3: the server gives it no unique-id and refuses its head; `uidl` says its size and no more
  std::uint64_t size = 0;                ///< as announced: a hint
  wall_time internal_date{};             ///< IMAP; epoch for POP3
};

enum class fetch_mode : std::uint8_t { body, headers };
enum class mark : std::uint8_t { seen, remove };

// ---- events ---------------------------------------------------------------------------------------------------------------------------

namespace session_event {

/// A step of the opening is done: "dns", "tcp", "proxy", "tls", "greeting", "authentication", "mailbox". Later "fetch": a good part of a
/// message has come.
struct progressed {
  std::string step;
  std::string detail;
};

/// The mailbox is selected: the session serves.
struct opened {
  std::uint32_t messages = 0;
  mailherd::uid_validity uid_validity;   ///< IMAP; 0: the server has none (quirk: UIDs then live for one session)
  mailherd::uid uid_next;                ///< IMAP; 0: not told
  std::uint64_t highest_modseq = 0;
  bool can_expunge_by_uid = false;       ///< UIDPLUS
  bool can_watch = false;                ///< IMAP; POP3 sessions end after their work
  std::string mechanism;
  std::optional<seconds> login_delay;    ///< POP3: the server wants no login sooner than this after the last
};

struct listed {
  std::uint64_t request = 0;
  std::vector<listing_entry> entries;    ///< IMAP: ascending UID
  store::named_by names = store::named_by::unknown;   ///< POP3: what their identities are
  std::optional<error> refusal = {};     ///< POP3: of the heads of those that are unnamed
};

/// Messages that have arrived, in the server's order; `share` is their part of the node's budget.
struct fetched {
  std::uint64_t request = 0;
  std::vector<store::incoming_message> messages;   ///< fetch_mode::headers: without body, only digests and envelope
  std::shared_ptr<fetch_budget::share> share;
};

/// A fetch request is answered completely.
struct fetch_done {
  std::uint64_t request = 0;
  std::vector<listing_entry> missing;    ///< asked for and not delivered although the server said OK: expunged, or withheld
  std::vector<listing_entry> refused;    ///< the server answered NO or BAD to a command with these
  std::optional<error> refusal;
};

struct marked {
  std::uint64_t request = 0;
  std::optional<error> refusal;
};

/// While watching: the mailbox changed, or it is time to look anyway.
struct woken {
  bool changed = false;                  ///< false: the server answered a look at the watch's interval; nothing new
};

/// STATUS of the folder, for tests of the connection.
struct counted {
  std::uint32_t messages = 0;
  std::optional<std::uint32_t> unseen;
};

/// The session is over; nothing follows. `during` names the message whose bytes were arriving.
struct ended {
  error reason;
  std::string phase;                     ///< "dns" ... "mailbox", "list", "fetch", "watch", "mark", "logout"
  std::optional<message_source> during;
  std::optional<listing_entry> during_entry;
  bool orderly = false;                  ///< after close(): the server confirmed
};

}  // namespace session_event

using any_session_event = std::variant<session_event::progressed, session_event::opened, session_event::listed, session_event::fetched,
                                       session_event::fetch_done, session_event::marked, session_event::woken, session_event::counted,
                                       session_event::ended>;

/// An event as it travels to the actor.
struct session_report {
  std::uint64_t epoch = 0;
  any_session_event event;
};

using session_listener = std::function<void(std::shared_ptr<session_report>)>;

class mail_session {
 public:
  virtual ~mail_session() = default;

  /// IMAP: messages with after < UID <= upto (upto 0: to the end). POP3: all of the maildrop. Answer: listed.
  virtual void list(std::uint64_t request, mailherd::uid after, mailherd::uid upto) = 0;

  /// IMAP: UIDs of messages that arrived on the server's day of `since` or later, as listed entries (start_from a time).
  virtual void list_since(std::uint64_t request, wall_time since) = 0;

  /// Fetches `entries` in order, pipelined. Bodies above limits::inline_message_bytes are written to the store in chunks while they arrive.
  /// Answers: any number of fetched, then fetch_done. A body larger than `max_bytes` is not read: it counts as refused with limit_exceeded.
  virtual void fetch(std::uint64_t request, std::vector<listing_entry> entries, fetch_mode mode, std::uint64_t max_bytes,
                     std::shared_ptr<fetch_budget::share> share) = 0;

  /// Marks read, or deletes (IMAP: \Deleted and, with UIDPLUS, UID EXPUNGE of exactly these; POP3: DELE, which becomes real with
  /// the orderly end of close()). Answer: marked.
  virtual void apply(std::uint64_t request, std::vector<listing_entry> entries, mark what) = 0;

  /// Waits for changes (IDLE, or polling where the server has none) until the next other request. Answers: woken, again and again.
  virtual void watch() = 0;

  /// IMAP: STATUS; POP3: STAT. Answer: counted.
  virtual void count() = 0;

  /// What is written of large bodies from now on belongs to this right: a standby's session was opened before there was one.
  virtual void write_as(store::lease_guard guard) = 0;

  /// Logs out in order; ended{orderly} follows, at the latest after a few seconds.
  virtual void close() = 0;
};

/// Begins to open a session on `where`; `on_event` gets opened or ended first.
std::unique_ptr<mail_session> open_session(const environment& env, net::reactor& where, session_plan plan, session_listener on_event);

}  // namespace mailherd::actors
