// protocol/imap/engine: one IMAP session as a machine without IO (RFC 3501, RFC 9051; SASL-IR RFC 4959, IDLE RFC 2177, UIDPLUS RFC 4315,
// CONDSTORE RFC 7162, LITERAL+/- RFC 7888, ID RFC 2971, ESEARCH RFC 4731, COMPRESS RFC 4978, UTF-8 names RFC 6855).
//
// Owns:   the dialogue from greeting to LOGOUT; fragmenting of responses under caps before anything is parsed; the pairing of tagged
//         answers with commands; message bodies passed through as slices of the received bytes. What servers do beside the standard, and
//         what comes of it, is a table of its own (quirks.hpp).
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
#include "protocol/imap/deflate.hpp"
#include "protocol/imap/quirks.hpp"
#include "protocol/imap/uid_set.hpp"
#include "protocol/sasl/sasl.hpp"

namespace mailherd::imap {

class scanner;

using command_id = std::uint64_t;  ///< 1, 2, 3, ... per session; 0 = none

enum class command_kind : std::uint8_t {
  capability, starttls, id, login, enable, compress, list, select, status, noop, search, fetch, store, expunge, idle, logout
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
  char delimiter = '\0';         ///< of the hierarchy; 0: a flat one
};
struct selected {
  command_id command = 0;
  std::uint32_t exists = 0;
  mailherd::uid_validity uid_validity;  ///< 0: the server named none
  mailherd::uid uid_next;               ///< 0: the server named none
  std::uint64_t highest_modseq = 0;     ///< 0: none, or NOMODSEQ
  bool read_only = false;
  bool sticky_uids = true;              ///< false: UIDs do not outlive the session (UIDNOTSTICKY)
};
struct status {
  command_id command = 0;
  std::optional<std::uint32_t> messages, unseen, uid_next, uid_validity;
  std::optional<std::uint64_t> highest_modseq;   ///< asked for where CONDSTORE is offered
};
/// Some UIDs found by UID SEARCH; more may follow until `done`. Not sorted.
struct found {
  command_id command = 0;
  const uid_set* uids = nullptr;
};
/// A message as a UID FETCH asked for it begins. Bodies nobody asked for, and parts of messages, go by without an event.
struct body_begin {
  std::uint32_t sequence = 0;
  mailherd::uid uid;           ///< 0: the server names it after the body
  bool headers_only = false;
  std::uint64_t bytes = 0;     ///< exactly so many follow; more than limits::imap_body_literal_bytes: event::failed follows
};
/// A slice of the message, as received. Points into the bytes given to `receive`, except under COMPRESS.
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
  bool has_body = false;                       ///< a body that was asked for (even an empty one) came
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
  /// The next event, or nullopt when more bytes are needed. After event::failed always nullopt. Under COMPRESS one `receive` may bring up
  /// to limits::imap_inflated_bytes.
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
  /// ENABLE, before the mailbox is selected. After UTF8=ACCEPT or IMAP4rev2 names travel as UTF-8.
  result<command_id> enable(std::string_view extension);
  /// COMPRESS DEFLATE. REQUIRED: capability::compress_deflate. From event::done on both directions are compressed; costs 45 KB until the
  /// session ends (see deflate.hpp): for a large backfill over a slow line, never for a session that will idle.
  result<command_id> compress();
  /// `pattern` is UTF-8; "%" and "*" are wildcards.
  result<command_id> list(std::string_view pattern);
  /// SELECT, or EXAMINE when read_only. `mailbox` is UTF-8.
  result<command_id> select(std::string_view mailbox, bool read_only);
  result<command_id> status(std::string_view mailbox);
  result<command_id> noop();
  /// UIDs of all messages whose internal date is `since` or later, and of some that are up to two days older: SEARCH knows days only, of
  /// the time zone each message was stored in (RFC 3501, 6.4.4). The caller looks at the dates.
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
  [[nodiscard]] bool compressed() const noexcept { return deflate_ != nullptr; }
  /// What this server has done beside the standard so far.
  [[nodiscard]] const quirk_set& quirks() const noexcept { return quirks_; }
  [[nodiscard]] bool authenticated() const noexcept { return state_ == state::authenticated || state_ == state::selected; }
  /// Commands queued or on the wire.
  [[nodiscard]] std::size_t pending() const noexcept { return queue_.size(); }
  [[nodiscard]] bool failed() const noexcept { return failure_.has_value(); }
  /// Heap bytes held now, without sizeof(engine).
  [[nodiscard]] std::size_t heap_bytes() const noexcept;

 private:
  enum class state : std::uint8_t { greeting, not_authenticated, tls, authenticated, selected, logout, over };
  /// What the next bytes are.
  enum class reading : std::uint8_t { line, literal, body, dropped_body };
  /// Where the reading of FETCH items stopped.
  enum class items : std::uint8_t { closed, before_value, inside_value, malformed };

  struct command {
    command_id id = 0;
    command_kind kind = command_kind::noop;
    bool sent = false;
    fetch_what what = fetch_what::sizes;
    std::vector<std::string> parts;   ///< text; a part that ends in a synchronising literal waits for "+" before the next
    std::size_t next_part = 0;
  };
  /// A login that runs: its secrets die with it.
  struct login_run;

  // commands.cpp: what is sent
  result<command_id> enqueue(command_kind kind, std::vector<std::string> parts, fetch_what what = {});
  result<command_id> enqueue_authenticated(command_kind kind, std::vector<std::string> parts, fetch_what what = {});
  void append_string(std::vector<std::string>& parts, std::string_view value, bool as_utf8 = false) const;
  bool append_mailbox(std::vector<std::string>& parts, std::string_view utf8) const;
  void send_part(command& c);
  void send_ready();
  void send(command& c);
  command* in_flight(command_kind kind);
  void finish_command(command_id id);

  // engine.cpp: fragments
  bool refill();
  void take_line();
  void take_literal();
  bool begin_literal();
  void begin_small_literal(std::uint64_t size);
  std::optional<any_event> next_body_slice();
  void end_response() { line_done_ = true; }
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
  void on_list(std::string_view rest);
  void on_mailbox_status(std::string_view rest);
  void on_enabled(std::string_view rest);
  void on_vanished(std::string_view rest);
  bool is_early();
  void on_tagged_ok(const command& c);
  void begin_compression(const command& c);
  void on_alert(std::string_view code, std::string_view text);
  [[nodiscard]] bool utf8_names() const;
  [[nodiscard]] error refusal_error(const command* c, std::string_view status, std::string_view code, std::string_view text,
                                    wall_time now) const;
  [[nodiscard]] error bye_error(std::string_view rest, wall_time now) const;
  [[nodiscard]] phase phase_of(const command* c) const;

  // search_reply.cpp
  bool drain_search();
  void on_search(std::string_view numbers);
  void on_esearch(std::string_view rest);
  void on_esearch_set(std::string_view text, bool by_uid);
  void on_found(uid_set found, std::size_t told);

  // fetch_reply.cpp: FETCH responses, taken apart from literal to literal
  bool begin_fetch();
  void begin_fetch_literal(std::size_t text_end, std::uint64_t size);
  void finish_fetch();
  items read_fetch_items(std::string_view text, std::string_view& item, std::size_t& read);
  bool read_fetch_value(scanner& in, std::string_view item);
  bool read_quoted_body(scanner& in, std::string_view item);
  bool begin_body(bool headers_only, std::uint64_t size);
  [[nodiscard]] bool wanted(std::string_view item, bool& headers_only);
  void malformed_fetch();

  // login.cpp
  void on_continuation(std::string_view text);
  void on_login_continuation(std::string_view text);
  void finish_login(const command& c);
  [[nodiscard]] bool repeats_secret(std::string_view text) const;

  engine_options options_;
  capability_set capabilities_;
  std::vector<command> queue_;            ///< sent ones first
  command_id last_id_ = 0;
  std::unique_ptr<login_run> login_;      ///< while a login runs
  std::optional<event::selected> select_; ///< what SELECT has told so far, while it runs
  std::vector<any_event> events_;         ///< of the response just read; [next_event_, size) are not handed out yet
  std::size_t next_event_ = 0;
  std::string output_;
  std::string_view input_;                ///< the caller's bytes, or a piece of what they unpack to, not yet consumed
  std::unique_ptr<deflate_layer> deflate_; ///< after COMPRESS
  std::string line_;                      ///< the response so far; of a FETCH what stands behind its last top-level literal
  std::optional<event::fetched> fetch_;   ///< the FETCH response that is being read
  std::size_t fetch_read_ = 0;            ///< so much of line_ is in fetch_
  std::string scratch_;                   ///< what an event of the present response points to
  uid_set found_;
  std::optional<error> failure_, bye_;
  wall_time now_{};
  std::uint64_t literal_left_ = 0;
  unsigned literals_ = 0;                 ///< in the present response
  std::size_t text_bytes_ = 0;            ///< of the present response without its literals
  std::size_t small_literal_bytes_ = 0;   ///< of the present response
  std::size_t found_told_ = 0;            ///< numbers and ranges in the answer to the SEARCH under way
  uid_validity uid_validity_;             ///< of the selected mailbox
  quirk_set quirks_;
  bool line_done_ = false;                ///< line_ was handled: the next byte begins a new response
  bool idle_active_ = false;              ///< "+" came for IDLE
  bool idle_ending_ = false;              ///< DONE is sent, or goes out with the "+"
  bool with_token_ = false;               ///< signed in, or signing in, by OAuth2
  bool told_capabilities_ = false;        ///< unasked, since the login began
  bool utf8_enabled_ = false;
  state state_ = state::greeting;
  reading reading_ = reading::line;
};

}  // namespace mailherd::imap
