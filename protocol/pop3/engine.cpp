// protocol/pop3/engine: the receiving half: lines, replies, listings and message bodies. The sending half is commands.cpp.
#include "protocol/pop3/engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::pop3 {

namespace {

/// Lines of a CAPA answer: no server has thirty.
constexpr std::size_t capa_lines = 256;
constexpr std::size_t timestamp_bytes = 255;
/// A buffer up to this size is kept while the session is idle.
constexpr std::size_t kept_bytes = 64;
constexpr std::string_view carriage_return = "\r";

std::string_view trim(std::string_view s) noexcept {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

/// Takes a decimal number off the front; false if there is none or it does not fit.
template <class Number>
bool take_number(std::string_view& s, Number& out) noexcept {
  s = trim(s);
  const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), out);
  if (ec != std::errc{}) return false;
  s.remove_prefix(static_cast<std::size_t>(end - s.data()));
  return s.empty() || s.front() == ' ' || s.front() == '\t';
}

/// "+OK", "-ERR": the word must end there.
bool has_status(std::string_view line, std::string_view word) noexcept {
  return line.size() >= word.size() && equal_text(line.substr(0, word.size()), word) &&
         (line.size() == word.size() || line[word.size()] == ' ' || line[word.size()] == '\t');
}

/// "120 octets", "message follows (120 octets)", or nothing but the number.
std::optional<std::uint64_t> announced_octets(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] < '0' || text[i] > '9') {
      ++i;
      continue;
    }
    std::uint64_t value = 0;
    const auto [end, ec] = std::from_chars(text.data() + i, text.data() + text.size(), value);
    const auto after = static_cast<std::size_t>(end - text.data());
    const std::string_view rest = text.substr(after);
    if (ec == std::errc{} &&
        (equal_text(rest.substr(0, 6), " octet") || equal_text(rest.substr(0, 5), " byte") || (i == 0 && rest.empty())))
      return value;
    i = after;
  }
  return std::nullopt;
}

/// A timestamp that may be signed: a plain msg-id (RFC 1939, 7). Anything looser helps the attacks on MD5 (CVE-2007-1558).
std::string_view find_timestamp(std::string_view text) noexcept {
  const auto begin = text.find('<');
  if (begin == std::string_view::npos) return {};
  const auto end = text.find('>', begin);
  if (end == std::string_view::npos) return {};
  const auto stamp = text.substr(begin, end - begin + 1);
  const auto at = stamp.find('@');
  const bool plain = std::all_of(stamp.begin(), stamp.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  const bool usable = plain && stamp.size() <= timestamp_bytes && at != std::string_view::npos && at > 1 && at + 2 < stamp.size() &&
                      stamp.find('@', at + 1) == std::string_view::npos;
  return usable ? stamp : std::string_view{};
}

/// "-ERR unknown command PASS hunter2", "-ERR unknown command AUTH PLAIN AGpvZQBodW50ZXIy": what a server repeats must not end in a log
/// through us.
bool repeats(std::string_view text, const secret<>& what) {
  if (contains_text(text, what.reveal())) return true;
  while (!text.empty()) {
    const auto length = std::min(text.find_first_of(" \t\"'<>()"), text.size());
    const auto decoded = base64_decode(text.substr(0, length));
    if (decoded && decoded->find(what.reveal()) != std::string::npos) return true;
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return false;
}

phase phase_of(command_kind k) noexcept {
  switch (k) {
    case command_kind::capa: return phase::capabilities;
    case command_kind::stls: return phase::tls;
    case command_kind::login: return phase::login;
    case command_kind::top:
    case command_kind::retr:
    case command_kind::dele: return phase::message;
    case command_kind::stat:
    case command_kind::uidl:
    case command_kind::list:
    case command_kind::rset:
    case command_kind::noop:
    case command_kind::quit: return phase::transaction;
  }
  return phase::transaction;
}

}  // namespace

engine::engine(engine_options options) : options_(std::move(options)) {}
engine::~engine() = default;
engine::engine(engine&&) noexcept = default;
engine& engine::operator=(engine&&) noexcept = default;

// ---- the pump ------------------------------------------------------------------------------------------------------------------------

void engine::receive(std::string_view bytes, wall_time now) {
  if (failure_) return;
  now_ = now;
  input_ = bytes;
}

std::optional<any_event> engine::next_event() {
  if (failure_) return std::nullopt;
  if (state_ == state::tls && !input_.empty())
    return fail_session(failure::protocol_violation, "the server sent data in the clear where TLS had to begin");
  while (!input_.empty()) {
    if (reading_ == reading::body) {
      if (auto e = next_body_event()) return e;
      continue;
    }
    const auto line = next_line();
    if (!line) {
      if (partial_.size() > limits::pop3_line_bytes)
        return fail_session(failure::limit_exceeded, fmt::format("a line of the server is longer than {} bytes", limits::pop3_line_bytes));
      break;
    }
    if (auto e = reading_ == reading::listing ? on_listing_line(*line) : on_line(*line)) return e;
  }
  release_buffers();
  return std::nullopt;
}

std::string engine::take_output() {
  std::string out = std::move(output_);
  output_.clear();
  return out;
}

void engine::release_buffers() {
  if (line_.capacity() > kept_bytes) std::string().swap(line_);
  if (partial_.empty() && partial_.capacity() > kept_bytes) std::string().swap(partial_);
  if (queue_.empty() && queue_.capacity() > 16) std::vector<command>().swap(queue_);
}

std::size_t engine::heap_bytes() const noexcept {
  const auto heap = [](const std::string& s) { return s.capacity() > 15 ? s.capacity() + 1 : 0; };
  std::size_t sum = heap(timestamp_) + heap(output_) + heap(partial_) + heap(line_) + heap(capabilities_.implementation) +
                    heap(options_.scram_nonce) + queue_.capacity() * sizeof(command) + capabilities_.sasl.capacity() * sizeof(std::string);
  for (const auto& name : capabilities_.sasl) sum += heap(name);
  if (failure_) sum += heap(failure_->detail);
  return sum + (login_ ? sizeof(login_run) : 0);
}

error engine::ended(wall_time now) const {
  if (failure_) return *failure_;
  // A last word without its line end is still a reason.
  if (reading_ == reading::status_line && has_status(partial_, "-ERR") && login_ == nullptr) {
    auto what = split_refusal(std::string_view(partial_).substr(4));
    what.where = state_ == state::greeting ? phase::greeting : pending() > 0 ? phase_of(current().kind) : phase::transaction;
    return classify(what, now);
  }
  if (state_ == state::greeting) return {failure::connection_lost, "the connection ended before the server's greeting", {}};
  if (pending() == 0) return {failure::connection_lost, "the server closed the idle connection", {}};
  return {failure::connection_lost, fmt::format("the connection ended while {} was being answered", to_string(current().kind)), {}};
}

any_event engine::fail_session(failure code, std::string detail) { return fail_session(error{code, std::move(detail), {}}); }

any_event engine::fail_session(error reason) {
  failure_ = reason;
  state_ = state::over;
  input_ = {};
  login_.reset();
  queue_.clear();
  head_ = sent_ = 0;
  return event::failed{std::move(reason)};
}

// ---- lines ---------------------------------------------------------------------------------------------------------------------------

/// One line without its end, or nullopt after keeping what is there of it. A bare LF ends a line too: between whole lines of replies
/// nothing can be smuggled by it, and servers exist that send it. Past the limit `partial_` is left too long, for the caller to see.
std::optional<std::string_view> engine::next_line() {
  const auto end = input_.find('\n');
  const std::size_t piece = end == std::string_view::npos ? input_.size() : end;
  if (partial_.size() + piece > limits::pop3_line_bytes) {
    partial_.append(input_.substr(0, limits::pop3_line_bytes + 1 - std::min(partial_.size(), limits::pop3_line_bytes)));
    return std::nullopt;
  }
  if (end == std::string_view::npos) {
    partial_.append(input_);
    input_ = {};
    return std::nullopt;
  }
  std::string_view line = input_.substr(0, end);
  input_.remove_prefix(end + 1);
  if (!partial_.empty()) {
    partial_.append(line);
    line_.swap(partial_);
    partial_.clear();
    line = line_;
  }
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

std::optional<any_event> engine::on_line(std::string_view line) {
  const bool ok = has_status(line, "+OK");
  const bool refused = !ok && has_status(line, "-ERR");
  const bool sasl = login_ != nullptr && login_->step == login_step::sasl && sent_ > 0;
  if (!ok && !refused) {
    if (sasl && !line.empty() && line.front() == '+' && (line.size() == 1 || line[1] == ' ')) return on_continuation(trim(line.substr(1)));
    // While a login runs the line may repeat what was sent.
    return fail_session(failure::protocol_violation,
                        login_ ? std::string("the server's answer to the login is neither +OK nor -ERR")
                               : fmt::format("the server's answer is neither +OK nor -ERR: {}", clean_server_text(line.substr(0, 80))));
  }
  const std::string_view text = trim(line.substr(ok ? 3 : 4));
  if (state_ == state::greeting) return on_greeting(ok, text);
  if (sent_ == 0) return on_unsolicited(ok, text);
  if (current().kind == command_kind::login) return ok ? on_login_accepted() : on_login_refused(text);
  return ok ? on_accepted(text) : std::optional<any_event>(on_refused(text));
}

any_event engine::on_greeting(bool ok, std::string_view text) {
  if (!ok) {
    auto what = split_refusal(text);
    what.where = phase::greeting;
    return fail_session(classify(what, now_));
  }
  timestamp_ = find_timestamp(text);
  state_ = state::authorization;
  return event::greeted{text, !timestamp_.empty()};
}

/// Servers say goodbye with a -ERR that answers nothing (inactivity, shutdown); a +OK that answers nothing would shift every reply
/// that follows by one.
any_event engine::on_unsolicited(bool ok, std::string_view text) {
  if (ok) return fail_session(failure::protocol_violation, "the server sent an answer to no command");
  auto what = split_refusal(text);
  error reason = classify(what, now_);
  if (reason.code == failure::command_refused) reason.code = failure::server_bye;
  return fail_session(std::move(reason));
}

/// nullopt when a listing begins: its lines are the events.
std::optional<any_event> engine::on_accepted(std::string_view text) {
  const command c = current();
  const command_id id = head_id_;
  switch (c.kind) {
    case command_kind::capa:
      capabilities_ = {};
      capabilities_.known = true;
      [[fallthrough]];
    case command_kind::uidl:
    case command_kind::list:
      reading_ = reading::listing;
      entries_ = 0;
      return std::nullopt;
    case command_kind::top:
    case command_kind::retr:
      reading_ = reading::body;
      dots_ = dots::line_start;
      body_bytes_ = 0;
      return event::body_begin{id, c.number, announced_octets(text)};
    case command_kind::stls:
      // RFC 2595, 4 and CVE-2011-0411 in mirror image: bytes from before the handshake must never be read as if they were protected.
      if (!input_.empty()) return fail_session(failure::protocol_violation, "the server sent data in the clear behind its answer to STLS");
      state_ = state::tls;
      finish_command();
      return event::start_tls{id};
    case command_kind::stat: {
      event::status status{id, 0, 0};
      if (!take_number(text, status.messages) || !take_number(text, status.octets))
        return fail_session(failure::protocol_violation, "the answer to STAT holds no two numbers");
      finish_command();
      return status;
    }
    case command_kind::login:
    case command_kind::dele:
    case command_kind::rset:
    case command_kind::noop:
    case command_kind::quit:
      finish_command();
      return event::done{id, c.kind, c.number};
  }
  return std::nullopt;
}

any_event engine::on_refused(std::string_view text) {
  const command c = current();
  const command_id id = head_id_;
  auto what = split_refusal(text);
  what.where = phase_of(c.kind);
  what.login_delay = capabilities_.login_delay;
  if (c.kind == command_kind::capa) capabilities_ = {};
  finish_command();
  if (c.kind == command_kind::capa) return event::capabilities{id, false};
  return event::refused{id, c.kind, c.number, classify(what, now_)};
}

// ---- login ---------------------------------------------------------------------------------------------------------------------------

std::optional<any_event> engine::on_login_accepted() {
  login_run& run = *login_;
  if (run.step == login_step::user) {
    run.step = login_step::pass;
    write_line("PASS " + run.who.password.reveal());
    return std::nullopt;
  }
  event::logged_in done{head_id_, "USER"};
  if (run.step == login_step::apop) done.mechanism = "APOP";
  if (run.step == login_step::sasl) {
    if (run.initial || !run.mechanism->complete())
      return fail_session(failure::protocol_violation,
                          fmt::format("{}: the server accepted before the exchange was complete", run.mechanism->name()));
    done.mechanism = run.mechanism->name();  // static text: outlives the mechanism
  }
  login_.reset();
  state_ = state::transaction;
  signed_in_ = true;
  capabilities_ = {};  // RFC 2449, 3: what was offered before the login says nothing about now
  finish_command();
  return done;
}

any_event engine::on_login_refused(std::string_view text) {
  const auto run = std::move(login_);
  auto what = split_refusal(text);
  what.where = phase::login;
  what.with_token = run->who.type == auth_type::oauth2;
  what.login_delay = capabilities_.login_delay;
  std::string detail;
  if (run->mechanism) detail = run->mechanism->failure_detail();
  what.detail = detail;
  const command_id id = head_id_;
  finish_command();
  error reason = classify(what, now_);
  if (repeats(text, what.with_token ? run->who.access_token : run->who.password)) reason.detail = "login: (the server repeated the secret)";
  return event::refused{id, command_kind::login, 0, std::move(reason)};
}

std::optional<any_event> engine::on_continuation(std::string_view challenge) {
  login_run& run = *login_;
  secret<> answer;
  if (run.initial) {
    answer = std::move(*run.initial);
    run.initial.reset();
  } else {
    const auto decoded = base64_decode(challenge);
    auto response = decoded ? run.mechanism->respond(*decoded)
                            : result<secret<>>(fail(failure::protocol_violation, "the server's challenge is not base64"));
    if (!response) {
      write_line("*");  // RFC 5034, 4: the client withdraws
      return fail_session(std::move(response.error()));
    }
    answer = std::move(*response);
  }
  const secret<> encoded(base64_encode(answer.reveal()));
  write_line(encoded.reveal());
  return std::nullopt;
}

// ---- listings ------------------------------------------------------------------------------------------------------------------------

std::optional<any_event> engine::on_listing_line(std::string_view line) {
  if (line == ".") return end_listing();
  if (!line.empty() && line.front() == '.') line.remove_prefix(1);
  const command_kind kind = current().kind;
  const std::size_t most = kind == command_kind::capa ? capa_lines : limits::listing_entries;
  if (++entries_ > most)
    return fail_session(failure::limit_exceeded, fmt::format("the answer to {} has more than {} lines", to_string(kind), most));
  if (kind == command_kind::capa) {
    capabilities_.add(line);
    return std::nullopt;
  }
  std::uint32_t number = 0;
  if (!take_number(line, number) || number == 0)
    return fail_session(failure::protocol_violation, fmt::format("a line of {} does not begin with a message number", to_string(kind)));
  if (kind == command_kind::list) {
    event::list_entry entry{head_id_, number, 0};
    if (!take_number(line, entry.octets)) return fail_session(failure::protocol_violation, "a line of LIST names no size");
    return entry;
  }
  const std::string_view sent = trim(line);
  if (sent.empty()) return event::uidl_entry{head_id_, number, {}};
  if (auto stable = stable_uidl(sent); stable != sent) {
    line_ = std::move(stable);
    return event::uidl_entry{head_id_, number, line_};
  }
  return event::uidl_entry{head_id_, number, sent};
}

any_event engine::end_listing() {
  const command_kind kind = current().kind;
  const command_id id = head_id_;
  const std::size_t entries = entries_;
  reading_ = reading::status_line;
  finish_command();
  if (kind == command_kind::capa) return event::capabilities{id, true};
  return event::listing_end{id, entries};
}

// ---- message bodies ------------------------------------------------------------------------------------------------------------------

/// Consumes input of a body; nullopt when only state changed.
std::optional<any_event> engine::next_body_event() {
  const char c = input_.front();
  switch (dots_) {
    case dots::line_start:
      if (c != '.') return next_body_slice();
      input_.remove_prefix(1);
      dots_ = dots::dot;
      return std::nullopt;
    case dots::dot:
      if (c != '\r') return next_body_slice();  // the dot was stuffing
      input_.remove_prefix(1);
      dots_ = dots::dot_cr;
      return std::nullopt;
    case dots::dot_cr:
      if (c == '\n') {
        input_.remove_prefix(1);
        const event::body_end end{head_id_, current().number, body_bytes_};
        reading_ = reading::status_line;
        finish_command();
        return end;
      }
      // ".\r" and something else: a stuffed line that begins with a lone CR.
      dots_ = dots::cr;
      ++body_bytes_;
      return event::body_chunk{head_id_, carriage_return};
    case dots::cr:
    case dots::text: return next_body_slice();
  }
  return std::nullopt;
}

/// The longest slice that needs no change. Looks for dots, not for line ends: attachments in base64 have none, and in text they are
/// rarer than lines, so one memchr runs over whole buffers.
/// Only CRLF begins a line: a message with a bare LF before "." must not end early, whoever sent it.
std::optional<any_event> engine::next_body_slice() {
  const bool after_cr = dots_ == dots::cr;
  std::string_view slice = input_;
  const auto begins_line = [&](std::size_t at) {
    if (at == 0 || input_[at - 1] != '\n') return false;
    return at >= 2 ? input_[at - 2] == '\r' : after_cr;
  };
  const char* const base = input_.data();
  // Position 0 cannot be a dot that begins a line: line_start was handled before.
  for (std::size_t from = 1; from < input_.size();) {
    const void* found = std::memchr(base + from, '.', input_.size() - from);
    if (found == nullptr) break;
    const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - base);
    if (begins_line(at)) {
      slice = input_.substr(0, at);
      break;
    }
    from = at + 1;
  }
  if (begins_line(slice.size()))
    dots_ = dots::line_start;
  else
    dots_ = slice.back() == '\r' ? dots::cr : dots::text;
  input_.remove_prefix(slice.size());
  body_bytes_ += slice.size();
  return event::body_chunk{head_id_, slice};
}

}  // namespace mailherd::pop3
