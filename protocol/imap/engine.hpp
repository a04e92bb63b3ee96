// protocol/imap/engine: one IMAP session as a machine without IO (RFC 3501, RFC 9051; SASL-IR RFC 4959, IDLE RFC 2177, UIDPLUS RFC 4315,
// CONDSTORE RFC 7162, LITERAL+/- RFC 7888, ID RFC 2971, ESEARCH RFC 4731).
//
// Owns:   the dialogue from greeting to LOGOUT; fragmenting of responses under caps before anything is parsed; the pairing of tagged
//         answers with commands; message bodies passed through as slices of the received bytes.
// Never:  touches a socket or a clock (`now` is an argument), decides a policy (retry, which message), keeps message bytes.
// Used by: the IMAP session pump in actors/, tests and the fuzzer. Not thread-safe, never blocks, throws nothing but bad_alloc.
// Memory: sizeof + heap of an idle engine is under 2 KB (tested). While bytes flow: one response without its message bodies
//         (limits::imap_line_bytes plus small literals).
//
//   engine.receive(bytes, now);                       // never copied as far as bodies go: events may point into `bytes`
//   while (auto e = engine.next_event()) handle(*e);  // to the end, before `bytes` dies or receive() is called again
//   connection.write(engine.take_output());
//
// Commands are queued; `command_id` names one in its events. UID FETCHes are pipelined (limits::fetch_in_flight), everything else is
// sent alone, so that no answer is ambiguous (RFC 3501, 5.5). A command in a wrong state is the caller's defect: failure::internal.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/clock.hpp"
#include "core/ids.hpp"
#include "core/result.hpp"
#include "protocol/imap/capabilities.hpp"
#include "protocol/imap/classify.hpp"
#include "protocol/imap/uid_set.hpp"
#include "protocol/sasl/sasl.hpp"

namespace mailherd::imap {

using command_id = std::uint64_t;  ///< 1, 2, 3, ... per session; 0 = none

enum class command_kind : std::uint8_t {
  capability, starttls, id, login, enable, list, select, status, noop, search, fetch, store, expunge, idle, logout
};
std::string_view to_string(command_kind k) noexcept;

enum class fetch_what : std::uint8_t {
  sizes,    ///< UID, RFC822.SIZE, INTERNALDATE
  headers,  ///< and the header block
  body,     ///< and the whole message; never sets \Seen (BODY.PEEK)
};
enum class flag : std::uint8_t { seen, deleted };

// ---- events: views in them are valid until the next call of the engine --------------------------------------------------------------

namespace event {

struct greeted {
  bool preauth = false;
};
/// CAPABILITY is answered; see engine::capabilities().
struct capabilities {
  command_id command = 0;
};
/// STARTTLS is accepted: do the handshake now, then call `tls_started()`. No byte may be given to `receive` before.
struct start_tls {
  command_id command = 0;
};
struct logged_in {
  command_id command = 0;
  std::string_view mechanism;  ///< "PLAIN", "XOAUTH2", ..., "LOGIN"
};
/// One line of LIST. The name is UTF-8 (as sent if it is no valid encoding).
struct mailbox {
  command_id command = 0;
  std::string_view name;
  std::string_view attributes;  ///< as sent, e.g. "\HasNoChildren \Sent"
};
struct selected {
  command_id command = 0;
  std::uint32_t exists = 0;
  mailherd::uid_validity uid_validity;  ///< 0: the server named none
  mailherd::uid uid_next;               ///< 0: the server named none
  std::uint64_t highest_modseq = 0;     ///< 0: none, or NOMODSEQ
  bool read_only = false;
};
struct status {
  command_id command = 0;
  std::optional<std::uint32_t> messages, unseen, uid_next, uid_validity;
};
/// Some UIDs found by UID SEARCH; more may follow until `done`. Not sorted.
struct found {
  command_id command = 0;
  const uid_set* uids = nullptr;
};
struct body_begin {
  std::uint32_t sequence = 0;
  mailherd::uid uid;           ///< 0: the server names it after the body
  bool headers_only = false;
  std::uint64_t bytes = 0;     ///< exactly so many follow
};
/// A slice of the message, as received. Points into the bytes given to `receive`.
struct body_chunk {
  std::string_view bytes;
};
struct body_end {};
/// A FETCH response is complete, asked for or not (flags changed by another client). Bodies of it came before.
struct fetched {
  std::uint32_t sequence = 0;
  mailherd::uid uid;                           ///< 0: not named
  std::optional<std::uint64_t> size;           ///< RFC822.SIZE: a hint
  std::optional<wall_time> internal_date;
  bool has_body = false;                       ///< a body (even an empty one) came
};
struct exists {
  std::uint32_t messages = 0;
};
/// A message is gone: EXPUNGE, or VANISHED (then sequence 0).
struct expunged {
  std::uint32_t sequence = 0;
};
/// The server accepted IDLE and will speak when something changes.
struct idling {
  command_id command = 0;
};
/// Tagged OK.
struct done {
  command_id command = 0;
  command_kind kind = command_kind::noop;
};
/// Tagged NO or BAD to one command; the session itself goes on.
struct refused {
  command_id command = 0;
  command_kind kind = command_kind::noop;
  error reason;
};
/// Text the server wants a person to read (RFC 3501, 7.1), cleaned.
struct alert {
  std::string text;
};
/// The server is about to close. Nothing more will be answered.
struct bye {
  error reason;
};
/// The session is over: a violation or a limit. Nothing follows; close the connection.
struct failed {
  error reason;
};

}  // namespace event

using any_event =
    std::variant<event::greeted, event::capabilities, event::start_tls, event::logged_in, event::mailbox, event::selected, event::status,
                 event::found, event::body_begin, event::body_chunk, event::body_end, event::fetched, event::exists, event::expunged,
                 event::idling, event::done, event::refused, event::alert, event::bye, event::failed>;

struct engine_options {
  bool encrypted = true;           ///< implicit TLS is already up
  bool allow_unencrypted = false;  ///< the operator allows passwords and tokens in the clear
  bool prefer_oauthbearer = false;
  std::string scram_nonce = {};    ///< for tests
};

class engine {
 public:
  explicit engine(engine_options options);
  ~engine();
  engine(engine&&) noexcept;
  engine& operator=(engine&&) noexcept;

  // ---- the pump ----------------------------------------------------------------------------------------------------------------------

  /// Hands bytes of the server over. REQUIRED: `next_event` has returned nullopt since the last call.
  void receive(std::string_view bytes, wall_time now);
  /// The next event, or nullopt when more bytes are needed. After event::failed always nullopt.
  std::optional<any_event> next_event();
  /// Bytes to send; may hold a password: write and forget. Empty = nothing to send.
  [[nodiscard]] std::string take_output();
  /// TLS is up after event::start_tls: capabilities learned before are dropped (RFC 3501, 6.2.1).
  result<void> tls_started();
  /// Why the session is over, for a caller that saw the connection end: the failure, the BYE, or what was being waited for.
  [[nodiscard]] error ended(wall_time now) const;

  // ---- commands ----------------------------------------------------------------------------------------------------------------------

  result<command_id> capability();
  result<command_id> starttls();
  /// Tells the server who we are; some insist on it before SELECT.
  result<command_id> identify(std::string_view name, std::string_view version);
  /// Signs in with the best mechanism in common, with SASL-IR where offered; LOGIN where a password has no SASL mechanism.
  /// Errors without a byte sent: mechanism_missing, login_disabled, invalid_input (see sasl::choose).
  result<command_id> login(const sasl::credentials& who);
  result<command_id> enable(std::string_view extension);
  result<command_id> list(std::string_view pattern);
  /// SELECT, or EXAMINE when read_only. `mailbox` is UTF-8.
  result<command_id> select(std::string_view mailbox, bool read_only);
  result<command_id> status(std::string_view mailbox);
  result<command_id> noop();
  /// UIDs of messages whose internal date is on the day of `since` or later, by the server's calendar (RFC 3501, 6.4.4).
  result<command_id> search_since(wall_time since);
  result<command_id> fetch(const uid_set& uids, fetch_what what);
  result<command_id> store(const uid_set& uids, flag f);
  /// UID EXPUNGE. REQUIRED: UIDPLUS; without it nothing is expunged, since EXPUNGE would remove what other clients marked.
  result<command_id> expunge(const uid_set& uids);
  /// Ends with done_idle() and then event::done, or earlier if the server will not.
  result<command_id> idle();
  void done_idle();
  result<command_id> logout();

  // ---- state ---------------------------------------------------------------------------------------------------------------------------

  /// As of the last CAPABILITY in this state of the session; !known() after TLS and after login unless told unasked.
  [[nodiscard]] const capability_set& capabilities() const noexcept { return capabilities_; }
  [[nodiscard]] bool encrypted() const noexcept { return options_.encrypted; }
  [[nodiscard]] bool authenticated() const noexcept { return state_ == state::authenticated || state_ == state::selected; }
  /// Commands queued or on the wire.
  [[nodiscard]] std::size_t pending() const noexcept { return queue_.size(); }
  [[nodiscard]] bool failed() const noexcept { return failure_.has_value(); }
  /// Heap bytes held now, without sizeof(engine).
  [[nodiscard]] std::size_t heap_bytes() const noexcept;

 private:
  enum class state : std::uint8_t { greeting, not_authenticated, tls, authenticated, selected, logout, over };
  /// What the next bytes are.
  enum class reading : std::uint8_t { line, literal, body };

  struct command {
    command_id id = 0;
    command_kind kind = command_kind::noop;
    bool sent = false;
    std::vector<std::string> parts;   ///< text; a part that ends in a synchronising literal waits for "+" before the next
    std::size_t next_part = 0;
  };
  /// A login that runs: its secrets die with it.
  struct login_run;

  // commands.cpp: what is sent
  result<command_id> enqueue(command_kind kind, std::vector<std::string> parts);
  result<command_id> enqueue_authenticated(command_kind kind, std::vector<std::string> parts);
  void append_string(std::vector<std::string>& parts, std::string_view value) const;
  void append_mailbox(std::vector<std::string>& parts, std::string_view utf8) const;
  void send_ready();
  void send(command& c);
  command* in_flight(command_kind kind);
  void finish_command(command_id id);

  // engine.cpp: fragments
  bool take_line();
  bool begin_literal();
  void drain_long_search();
  std::optional<any_event> next_body_slice();
  void fail_session(failure code, std::string detail);
  void fail_session(error reason);
  void release_buffers();

  // replies.cpp: whole responses
  void push(any_event e) { events_.push_back(std::move(e)); }
  void on_response(std::string_view line);
  void on_untagged(std::string_view rest);
  void on_tagged(std::string_view tag, std::string_view rest);
  void on_status(std::string_view status, std::string_view rest);
  void on_greeting(std::string_view status, std::string_view code, std::string_view rest);
  void on_code(std::string_view code);
  void on_numbered(std::uint32_t number, std::string_view rest);
  void on_fetch(std::uint32_t sequence, std::string_view rest);
  void on_list(std::string_view rest);
  void on_mailbox_status(std::string_view rest);
  void on_search(std::string_view rest);
  void on_esearch(std::string_view rest);
  void on_tagged_ok(const command& c, std::string_view code);
  [[nodiscard]] error refusal_error(const command* c, std::string_view status, std::string_view code, std::string_view text) const;
  [[nodiscard]] phase phase_of(const command* c) const;

  // login.cpp
  void on_continuation(std::string_view text);
  void on_login_continuation(std::string_view text);
  void finish_login(const command& c, std::string_view code);

  engine_options options_;
  capability_set capabilities_;
  std::vector<command> queue_;            ///< sent ones first
  command_id last_id_ = 0;
  std::unique_ptr<login_run> login_;      ///< while a login runs
  std::optional<event::selected> select_; ///< what SELECT has told so far, while it runs
  std::vector<any_event> events_;         ///< of the response just read; [next_event_, size) are not handed out yet
  std::size_t next_event_ = 0;
  std::string output_;
  std::string_view input_;                ///< the caller's bytes, not yet consumed
  std::string line_;                      ///< the response so far; body literals appear as "" in it
  std::string scratch_;                   ///< what an event of the present response points to
  uid_set found_;
  std::optional<error> failure_, bye_;
  wall_time now_{};
  std::uint64_t literal_left_ = 0;
  unsigned literals_ = 0;                 ///< in the present response
  std::size_t text_bytes_ = 0;            ///< of the present response without its literals
  bool line_done_ = false;                ///< line_ was handled: the next byte begins a new response
  bool idle_active_ = false;              ///< "+" came for IDLE
  bool idle_ending_ = false;              ///< DONE is sent, or goes out with the "+"
  bool with_token_ = false;               ///< signed in, or signing in, by OAuth2
  state state_ = state::greeting;
  reading reading_ = reading::line;
};

}  // namespace mailherd::imap
