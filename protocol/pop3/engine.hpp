// protocol/pop3/engine: one POP3 session as a machine without IO (RFC 1939, 2449, 2595, 5034).
//
// Owns:   the dialogue: greeting, CAPA, STLS, login, listings, messages; the pairing of replies with commands; dot-unstuffing.
// Never:  touches a socket or a clock (`now` is an argument), decides a policy (retry, which message), keeps message bytes.
// Used by: the POP3 session pump in actors/, tests and the fuzzer. Not thread-safe, never blocks, throws nothing but bad_alloc.
// Memory: sizeof + heap of an idle engine is under 2 KB (tested). While bytes flow: at most one partial line.
//
//   engine.receive(bytes, now);                       // never copied: events may point into `bytes`
//   while (auto e = engine.next_event()) handle(*e);  // to the end, before `bytes` dies or receive() is called again
//   connection.write(engine.take_output());
//
// Commands are queued; `command_id` names one in its reply's events. Where the server offers PIPELINING (and only after the login, as
// capabilities are asked again there) up to limits::pop3_in_flight of them are on the wire at once; otherwise one.
// A command in a wrong state is the caller's defect: failure::internal, and nothing is sent.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "protocol/pop3/capabilities.hpp"
#include "protocol/pop3/classify.hpp"
#include "protocol/sasl/sasl.hpp"

namespace mailherd::pop3 {

using command_id = std::uint64_t;  ///< 1, 2, 3, ... per session; 0 = none

enum class command_kind : std::uint8_t { capa, stls, login, stat, uidl, list, top, retr, dele, rset, noop, quit };
std::string_view to_string(command_kind k) noexcept;

/// How a SASL initial response travels.
enum class auth_form : std::uint8_t {
  automatic,  ///< tokens in two lines (Exchange Online closes the session on one), the rest in one line if it fits 255 octets (RFC 5034, 4)
  one_line,   ///< always with the command
  two_lines,  ///< always after the server's "+ "
};

// ---- events: views in them are valid until the next call of the engine --------------------------------------------------------------

namespace event {

struct greeted {
  std::string_view text;
  bool apop = false;  ///< the greeting carried a usable APOP timestamp
};
/// CAPA is answered; see engine::capabilities(). `supported` is false when the server does not know the command.
struct capabilities {
  command_id command = 0;
  bool supported = false;
};
/// STLS is accepted: do the handshake now, then call `tls_started()`. No byte may be given to `receive` before.
struct start_tls {
  command_id command = 0;
};
struct logged_in {
  command_id command = 0;
  std::string_view mechanism;  ///< "SCRAM-SHA-256", "XOAUTH2", ..., "APOP", "USER"
};
struct status {
  command_id command = 0;
  std::uint32_t messages = 0;
  std::uint64_t octets = 0;
};
/// One line of UIDL. `uidl` is the identity to store: printable ASCII as sent, at most 512 bytes; anything else is turned into
/// "hex:..." or "sha256:..." of the bytes, so that a broken server costs its own readability and nothing more. Empty when the
/// server named none: see digest_uidl().
struct uidl_entry {
  command_id command = 0;
  std::uint32_t number = 0;
  std::string_view uidl;
};
struct list_entry {
  command_id command = 0;
  std::uint32_t number = 0;
  std::uint64_t octets = 0;
};
struct listing_end {
  command_id command = 0;
  std::size_t entries = 0;
};
/// The message (RETR) or its head (TOP) begins.
struct body_begin {
  command_id command = 0;
  std::uint32_t number = 0;
  std::optional<std::uint64_t> announced;  ///< octets as the +OK text names them: a hint, servers are wrong about it
};
/// A slice of the message, dots unstuffed, line ends as received. Points into the bytes given to `receive`.
struct body_chunk {
  command_id command = 0;
  std::string_view bytes;
};
/// The message is complete, its last CRLF included; the terminator is not part of it.
struct body_end {
  command_id command = 0;
  std::uint32_t number = 0;
  std::uint64_t bytes = 0;  ///< sum of the chunks
};
/// +OK to DELE, RSET, NOOP or QUIT.
struct done {
  command_id command = 0;
  command_kind kind = command_kind::noop;
  std::uint32_t number = 0;
};
/// -ERR to one command; the session itself goes on (the server may close it next).
struct refused {
  command_id command = 0;
  command_kind kind = command_kind::noop;
  std::uint32_t number = 0;
  error reason;
};
/// The session is over: a refused greeting, a violation or a limit. Nothing follows; close the connection.
struct failed {
  error reason;
};

}  // namespace event

using any_event = std::variant<event::greeted, event::capabilities, event::start_tls, event::logged_in, event::status, event::uidl_entry,
                               event::list_entry, event::listing_end, event::body_begin, event::body_chunk, event::body_end, event::done,
                               event::refused, event::failed>;

struct engine_options {
  bool encrypted = true;           ///< implicit TLS is already up
  bool allow_unencrypted = false;  ///< the operator allows passwords and tokens in the clear
  bool pipelining = true;          ///< false: one command at a time although the server offers more
  auth_form form = auth_form::automatic;
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

  /// TLS is up after event::start_tls: capabilities learned before are dropped (RFC 2595, 4).
  result<void> tls_started();

  /// Why the session is over, for a caller that saw the connection end: the failure, or what was being waited for.
  [[nodiscard]] error ended(wall_time now) const;

  // ---- commands ----------------------------------------------------------------------------------------------------------------------

  result<command_id> capa();
  /// tls_not_offered if CAPA was answered without STLS. Nothing may be queued behind it.
  result<command_id> stls();
  /// Signs in with the best way in common. Passwords: SCRAM-SHA-256; over TLS SASL PLAIN or LOGIN, else USER/PASS; APOP when
  /// secrets may not travel in the clear, or when it is all there is (its MD5 is weak against an active attacker, so it never goes before
  /// a TLS-protected password). Errors without a byte sent: mechanism_missing, login_disabled, invalid_input (see sasl::choose).
  result<command_id> login(const sasl::credentials& who);
  result<command_id> stat();
  result<command_id> uidl();
  result<command_id> list();
  result<command_id> top(std::uint32_t number, std::uint32_t lines);
  result<command_id> retr(std::uint32_t number);
  result<command_id> dele(std::uint32_t number);
  result<command_id> rset();
  result<command_id> noop();
  /// The deletions become real with its +OK. Nothing can be queued after it.
  result<command_id> quit();

  // ---- state ---------------------------------------------------------------------------------------------------------------------------

  /// As of the last CAPA; empty after STLS and after the login until asked again.
  [[nodiscard]] const capability_set& capabilities() const noexcept { return capabilities_; }
  [[nodiscard]] bool encrypted() const noexcept { return options_.encrypted; }
  [[nodiscard]] bool authenticated() const noexcept { return signed_in_; }
  /// Commands queued or on the wire.
  [[nodiscard]] std::size_t pending() const noexcept { return queue_.size() - head_; }
  [[nodiscard]] bool failed() const noexcept { return failure_.has_value(); }
  /// Heap bytes held now, without sizeof(engine).
  [[nodiscard]] std::size_t heap_bytes() const noexcept;

 private:
  enum class state : std::uint8_t { greeting, authorization, tls, transaction, quitting, over };
  /// What the next bytes are.
  enum class reading : std::uint8_t { status_line, listing, body };
  /// Where in CRLF "." CRLF the body's scanner stands. A body begins at the start of a line (RFC 1939, 3).
  enum class dots : std::uint8_t { text, cr, line_start, dot, dot_cr };
  enum class login_step : std::uint8_t { none, user, pass, apop, sasl };

  struct command {
    command_kind kind = command_kind::noop;
    bool sent = false;
    std::uint32_t number = 0;
    std::uint32_t lines = 0;
  };
  /// A login that runs: its secrets die with it.
  struct login_run {
    login_step step = login_step::none;
    sasl::credentials who;
    std::unique_ptr<sasl::mechanism> mechanism;  ///< step sasl
    std::optional<secret<>> initial;             ///< waits for the server's first "+ "
    bool one_line = false;
  };

  // commands.cpp: what is sent
  result<command_id> enqueue(command c);
  result<command_id> enqueue_in_transaction(command c);
  void send_ready();
  void send(const command& c);
  void write_line(std::string_view line);
  void send_login();
  void finish_command();
  [[nodiscard]] const command& current() const { return queue_[head_]; }

  // engine.cpp: what is received
  std::optional<std::string_view> next_line();
  std::optional<any_event> on_line(std::string_view line);
  any_event on_greeting(bool ok, std::string_view text);
  any_event on_unsolicited(bool ok, std::string_view text);
  std::optional<any_event> on_accepted(std::string_view text);
  any_event on_refused(std::string_view text);
  std::optional<any_event> on_login_accepted();
  any_event on_login_refused(std::string_view text);
  std::optional<any_event> on_continuation(std::string_view challenge);
  std::optional<any_event> on_listing_line(std::string_view line);
  any_event end_listing();
  std::optional<any_event> next_body_event();
  std::optional<any_event> next_body_slice();
  any_event fail_session(failure code, std::string detail);
  any_event fail_session(error reason);
  void release_buffers();

  engine_options options_;
  capability_set capabilities_;
  std::string timestamp_;            ///< APOP's, with its angle brackets; empty if the greeting had none
  std::vector<command> queue_;       ///< [head_, size) are pending; sent ones first
  std::size_t head_ = 0;
  std::size_t sent_ = 0;             ///< of the pending ones
  command_id head_id_ = 1;           ///< id of queue_[head_]
  std::unique_ptr<login_run> login_; ///< while a login runs
  std::string output_;
  std::string_view input_;           ///< the caller's bytes, not yet consumed
  std::string partial_;              ///< a line whose end has not come yet
  std::string line_;                 ///< the line being handled, when it had to be joined; or a made identity
  std::optional<error> failure_;
  wall_time now_{};
  std::size_t entries_ = 0;          ///< of the listing being read
  std::uint64_t body_bytes_ = 0;
  bool signed_in_ = false;
  state state_ = state::greeting;
  reading reading_ = reading::status_line;
  dots dots_ = dots::line_start;
};

}  // namespace mailherd::pop3
