// protocol/imap/engine: fragments: bytes become responses, under caps, and message bodies pass through. Whole responses are replies.cpp's,
// FETCH responses fetch_reply.cpp's.
#include "protocol/imap/engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/imap/login_run.hpp"
#include "protocol/imap/scanner.hpp"

namespace mailherd::imap {

namespace {

/// A buffer up to this size is kept while the session is idle.
constexpr std::size_t kept_bytes = 128;
/// Text is taken over in slices of this size, so that every limit is looked at whatever one read brings.
constexpr std::size_t slice_bytes = 4 * limits::kib;
/// A SEARCH answer is taken apart while it arrives once it is longer than this: it may name every message of a mailbox.
constexpr std::size_t long_search_bytes = 16 * limits::kib;

bool begins_with(std::string_view line, std::string_view prefix) {
  return line.size() >= prefix.size() && equal_text(line.substr(0, prefix.size()), prefix);
}

/// A response that is text for people cannot hold a literal, even if it ends in "{5}".
bool is_prose(std::string_view line) {
  if (line.substr(0, 2) != "* ") return true;
  const auto word = line.substr(2, std::min(line.find(' ', 2), line.size()) - 2);
  return equal_text(word, "OK") || equal_text(word, "NO") || equal_text(word, "BAD") || equal_text(word, "BYE") ||
         equal_text(word, "PREAUTH");
}

struct announced {
  std::size_t text_end = 0;           ///< where "{" or "~{" stands
  std::optional<std::uint64_t> size;  ///< nullopt: beyond counting
};

/// The literal that a line announces at its end, if it does (RFC 3501, 4.3; literal8 of RFC 3516; "+" is tolerated).
std::optional<announced> announced_literal(std::string_view line) {
  if (line.empty() || line.back() != '}') return std::nullopt;
  const auto open = line.rfind('{');
  if (open == std::string_view::npos) return std::nullopt;
  auto digits = line.substr(open + 1, line.size() - open - 2);
  if (!digits.empty() && digits.back() == '+') digits.remove_suffix(1);
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  announced out;
  out.text_end = open > 0 && line[open - 1] == '~' ? open - 1 : open;
  std::uint64_t size = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), size).ec == std::errc{}) out.size = size;
  return out;
}

}  // namespace

// ---- the pump ------------------------------------------------------------------------------------------------------------------------

void engine::receive(std::string_view bytes, wall_time now) {
  now_ = now;
  if (failure_) return;
  if (deflate_) {
    deflate_->receive(bytes);
  } else {
    input_ = bytes;
  }
}

/// More plain bytes. False: there are none.
bool engine::refill() {
  if (!deflate_) return false;
  auto piece = deflate_->next_piece();
  if (!piece) {
    fail_session(std::move(piece.error()));
    return true;
  }
  input_ = *piece;
  return !input_.empty();
}

std::optional<any_event> engine::next_event() {
  while (true) {
    if (next_event_ < events_.size()) return std::move(events_[next_event_++]);
    events_.clear();
    next_event_ = 0;
    if (failure_) return std::nullopt;
    if (reading_ == reading::body && literal_left_ == 0) {
      reading_ = reading::line;
      return event::body_end{};
    }
    if (input_.empty() && !refill()) {
      release_buffers();
      return std::nullopt;
    }
    if (failure_) continue;
    if (state_ == state::tls) {
      // Whatever stands behind the answer to STARTTLS was not sent by the server we are about to verify.
      fail_session(failure::protocol_violation, "bytes in the clear behind the answer to STARTTLS");
      continue;
    }
    switch (reading_) {
      case reading::line: take_line(); break;
      case reading::body: return next_body_slice();
      case reading::literal:
      case reading::dropped_body: take_literal(); break;
    }
  }
}

std::string engine::take_output() {
  auto out = std::exchange(output_, {});
  return deflate_ && !out.empty() ? deflate_layer::pack(out) : out;
}

void engine::release_buffers() {
  if (!line_done_) return;
  if (line_.capacity() > kept_bytes) std::string().swap(line_);
  if (scratch_.capacity() > kept_bytes) std::string().swap(scratch_);
  if (events_.capacity() > 2) std::vector<any_event>().swap(events_);
  if (queue_.empty() && queue_.capacity() > 2) std::vector<command>().swap(queue_);
  if (!found_.empty()) found_ = {};
}

// ---- fragments -----------------------------------------------------------------------------------------------------------------------

/// Takes a slice of a line over; when the line is complete, it is a response, or a literal follows.
void engine::take_line() {
  if (line_done_) {
    line_.clear();
    fetch_.reset();
    fetch_read_ = text_bytes_ = small_literal_bytes_ = 0;
    literals_ = 0;
    line_done_ = false;
  }
  auto slice = input_.substr(0, slice_bytes);
  const auto newline = slice.find('\n');
  if (newline != std::string_view::npos) slice = slice.substr(0, newline + 1);
  line_.append(slice);
  input_.remove_prefix(slice.size());
  text_bytes_ += slice.size();
  if (newline == std::string_view::npos && line_.size() > long_search_bytes && drain_search()) return;
  if (text_bytes_ > limits::imap_line_bytes)
    return fail_session(failure::limit_exceeded, fmt::format("a response line of more than {} bytes", limits::imap_line_bytes));
  if (newline == std::string_view::npos) return;
  line_.pop_back();
  if (!line_.empty() && line_.back() == '\r') {
    line_.pop_back();
  } else {
    quirks_.meet(quirk::bare_newline);
  }
  if (begin_literal() || failure_) return;
  end_response();
  if (fetch_) return finish_fetch();
  on_response(line_);
}

/// True: the line does not end here, a literal follows. Behind the first literal of a FETCH the line is whatever comes next.
bool engine::begin_literal() {
  if (!fetch_ && is_prose(line_)) return false;
  const auto literal = announced_literal(line_);
  if (!literal) return false;
  if (state_ == state::greeting) {
    fail_session(failure::protocol_violation, "the server's first line is no IMAP greeting");
  } else if (!literal->size) {
    fail_session(failure::limit_exceeded, "a literal of a size beyond counting");
  } else if (++literals_ > limits::imap_literals_per_response) {
    fail_session(failure::limit_exceeded, fmt::format("more than {} literals in one response", limits::imap_literals_per_response));
  } else if (fetch_ || begin_fetch()) {
    begin_fetch_literal(literal->text_end, *literal->size);
  } else {
    begin_small_literal(*literal->size);
  }
  return true;
}

/// A literal that is kept in the line.
void engine::begin_small_literal(std::uint64_t size) {
  if (size > limits::imap_small_literal_bytes - std::min(small_literal_bytes_, limits::imap_small_literal_bytes))
    return fail_session(failure::limit_exceeded, fmt::format("a literal of {} bytes where a name or a text belongs", size));
  small_literal_bytes_ += static_cast<std::size_t>(size);
  line_ += "\r\n";
  literal_left_ = size;
  reading_ = size > 0 ? reading::literal : reading::line;
}

void engine::take_literal() {
  const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(literal_left_, input_.size()));
  if (reading_ == reading::literal) line_.append(input_.substr(0, n));
  input_.remove_prefix(n);
  literal_left_ -= n;
  if (literal_left_ == 0) reading_ = reading::line;
}

std::optional<any_event> engine::next_body_slice() {
  const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(literal_left_, input_.size()));
  const auto bytes = input_.substr(0, n);
  input_.remove_prefix(n);
  literal_left_ -= n;
  return event::body_chunk{bytes};
}

// ---- the end -------------------------------------------------------------------------------------------------------------------------

void engine::fail_session(failure code, std::string detail) { fail_session(error{code, std::move(detail), {}}); }

void engine::fail_session(error reason) {
  if (failure_) return;
  failure_ = reason;
  state_ = state::over;
  input_ = {};
  reading_ = reading::line;
  login_.reset();
  queue_.clear();
  push(event::failed{std::move(reason)});
}

result<void> engine::tls_started() {
  if (failure_) return fail(*failure_);
  if (state_ != state::tls) return fail(failure::internal, "tls_started without STARTTLS");
  options_.encrypted = true;
  capabilities_.clear();
  state_ = state::not_authenticated;
  return {};
}

error engine::ended(wall_time now) const {
  if (failure_) return *failure_;
  if (bye_) return *bye_;
  // A goodbye in a hurry, without its line end (quirk::no_final_newline). Of nothing else is a part taken for the whole.
  if (!line_done_ && reading_ == reading::line && begins_with(line_, "* BYE")) return bye_error(std::string_view(line_).substr(5), now);
  if (state_ == state::greeting) return error{failure::connection_lost, "the server closed without a greeting", {}};
  if (reading_ == reading::body)
    return error{failure::connection_lost, fmt::format("the server closed {} bytes before the end of a message", literal_left_), {}};
  if (!queue_.empty())
    return error{failure::connection_lost, fmt::format("the server closed without answering {}", to_string(queue_.front().kind)), {}};
  return error{failure::connection_lost, "the server closed the session", {}};
}

std::size_t engine::heap_bytes() const noexcept {
  const auto of = [](const std::string& s) { return s.capacity() > 15 ? s.capacity() + 1 : 0; };
  std::size_t n = of(output_) + of(line_) + of(scratch_) + events_.capacity() * sizeof(any_event) + queue_.capacity() * sizeof(command);
  n += found_.ranges().capacity() * sizeof(uid_set::range) + capabilities_.mechanisms().capacity() * sizeof(std::string);
  for (const auto& m : capabilities_.mechanisms()) n += of(m);
  if (deflate_) n += deflate_->heap_bytes();
  if (login_) n += sizeof(login_run);
  if (failure_) n += of(failure_->detail);
  if (bye_) n += of(bye_->detail);
  for (const auto& c : queue_)
    for (const auto& p : c.parts) n += sizeof p + of(p);
  return n;
}

}  // namespace mailherd::imap
