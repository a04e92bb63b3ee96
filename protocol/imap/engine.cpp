// protocol/imap/engine: fragments: bytes become responses, under caps, and message bodies pass through. Whole responses are replies.cpp's.
#include "protocol/imap/engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/imap/login_run.hpp"

namespace mailherd::imap {

namespace {

/// A buffer up to this size is kept while the session is idle.
constexpr std::size_t kept_bytes = 128;
/// A SEARCH answer is taken apart while it arrives once it is longer than this: it may name every message of a mailbox.
constexpr std::size_t long_search_bytes = 16 * limits::kib;
constexpr std::string_view search_prefix = "* SEARCH ";

/// A response that is text for people cannot hold a literal, even if it ends in "{5}".
bool is_prose(std::string_view line) {
  if (line.substr(0, 2) != "* ") return true;
  const auto word = line.substr(2, std::min(line.find(' ', 2), line.size()) - 2);
  return equal_text(word, "OK") || equal_text(word, "NO") || equal_text(word, "BAD") || equal_text(word, "BYE") || equal_text(word, "PREAUTH");
}

bool is_fetch(std::string_view line, std::uint32_t& sequence) {
  line.remove_prefix(std::min<std::size_t>(2, line.size()));
  const auto [end, ec] = std::from_chars(line.data(), line.data() + line.size(), sequence);
  if (ec != std::errc{}) return false;
  line.remove_prefix(static_cast<std::size_t>(end - line.data()));
  return line.size() > 7 && equal_text(line.substr(0, 7), " FETCH ");
}

/// The section named right before a literal: "" for BODY[], "HEADER" for BODY[HEADER]; nullopt if no body item stands there.
std::optional<std::string_view> body_section(std::string_view before) {
  while (!before.empty() && before.back() == ' ') before.remove_suffix(1);
  if (!before.empty() && before.back() == '>') before = before.substr(0, before.rfind('<') == std::string_view::npos ? 0 : before.rfind('<'));
  const auto ends_with = [&](std::string_view word) {
    return before.size() >= word.size() && equal_text(before.substr(before.size() - word.size()), word);
  };
  if (ends_with("RFC822")) return "";
  if (ends_with("RFC822.HEADER")) return "HEADER";
  if (before.empty() || before.back() != ']') return std::nullopt;
  const auto open = before.rfind('[');
  if (open == std::string_view::npos) return std::nullopt;
  const auto section = before.substr(open + 1, before.size() - open - 2);
  before = before.substr(0, open);
  if (ends_with("BODY") || ends_with("BINARY")) return section;
  return std::nullopt;
}

mailherd::uid uid_named_before(std::string_view line) {
  mailherd::uid u;
  for (const std::string_view key : {" UID ", "(UID "}) {
    if (const auto at = line.find(key); at != std::string_view::npos) {
      const auto digits = line.substr(at + key.size());
      std::from_chars(digits.data(), digits.data() + digits.size(), u.value);
    }
  }
  return u;
}

}  // namespace

void engine::receive(std::string_view bytes, wall_time now) {
  input_ = bytes;
  now_ = now;
}

std::optional<any_event> engine::next_event() {
  while (true) {
    if (next_event_ < events_.size()) return std::move(events_[next_event_++]);
    events_.clear();
    next_event_ = 0;
    if (failure_) return std::nullopt;
    if (reading_ == reading::body) {
      if (auto e = next_body_slice()) return e;
      if (reading_ == reading::body) return std::nullopt;
      continue;
    }
    if (input_.empty()) {
      release_buffers();
      return std::nullopt;
    }
    if (state_ == state::tls) {
      // Whatever stands behind the answer to STARTTLS was not sent by the server we are about to verify.
      fail_session(failure::protocol_violation, "bytes in the clear behind the answer to STARTTLS");
      continue;
    }
    if (reading_ == reading::literal) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(literal_left_, input_.size()));
      line_.append(input_.substr(0, n));
      input_.remove_prefix(n);
      literal_left_ -= n;
      if (literal_left_ == 0) reading_ = reading::line;
      continue;
    }
    take_line();
  }
}

bool engine::take_line() {
  if (line_done_) {
    line_.clear();
    line_done_ = false;
    literals_ = 0;
    text_bytes_ = 0;
  }
  const auto end = input_.find('\n');
  const auto n = end == std::string_view::npos ? input_.size() : end + 1;
  line_.append(input_.substr(0, n));
  input_.remove_prefix(n);
  text_bytes_ += n;
  if (text_bytes_ > long_search_bytes && equal_text(std::string_view(line_).substr(0, search_prefix.size()), search_prefix)) drain_long_search();
  if (text_bytes_ > limits::imap_line_bytes) {
    fail_session(failure::limit_exceeded, fmt::format("a response line of more than {} bytes", limits::imap_line_bytes));
    return false;
  }
  if (end == std::string_view::npos) return false;
  line_.pop_back();
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  if (begin_literal() || failure_) return false;
  line_done_ = true;
  on_response(line_);
  return true;
}

bool engine::begin_literal() {
  if (line_.empty() || line_.back() != '}' || is_prose(line_)) return false;
  const auto open = line_.rfind('{');
  if (open == std::string::npos) return false;
  std::string_view digits = std::string_view(line_).substr(open + 1, line_.size() - open - 2);
  if (!digits.empty() && digits.back() == '+') digits.remove_suffix(1);
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) return false;
  std::uint64_t size = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), size).ec != std::errc{}) {
    fail_session(failure::limit_exceeded, "a literal of a size beyond counting");
    return false;
  }
  if (++literals_ > limits::imap_literals_per_response) {
    fail_session(failure::limit_exceeded, fmt::format("more than {} literals in one response", limits::imap_literals_per_response));
    return false;
  }
  std::uint32_t sequence = 0;
  auto before = std::string_view(line_).substr(0, open);
  if (!before.empty() && before.back() == '~') before.remove_suffix(1);
  const auto section = is_fetch(line_, sequence) ? body_section(before) : std::nullopt;
  if (!section) {
    if (size > limits::imap_small_literal_bytes) {
      fail_session(failure::limit_exceeded, fmt::format("a literal of {} bytes where a name or a text belongs", size));
      return false;
    }
    line_ += "\r\n";
    literal_left_ = size;
    reading_ = size > 0 ? reading::literal : reading::line;
    return true;
  }
  if (size > limits::imap_body_literal_bytes) {
    fail_session(failure::limit_exceeded, fmt::format("message {}: the server announces {} bytes", sequence, size));
    return false;
  }
  event::body_begin e;
  e.sequence = sequence;
  e.uid = uid_named_before(before);
  e.headers_only = equal_text(*section, "HEADER");
  e.bytes = size;
  line_.resize(before.size());
  line_ += '*';  // where the body was
  literal_left_ = size;
  reading_ = reading::body;
  push(e);
  return true;
}

std::optional<any_event> engine::next_body_slice() {
  if (literal_left_ == 0) {
    reading_ = reading::line;
    return event::body_end{};
  }
  if (input_.empty()) return std::nullopt;
  const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(literal_left_, input_.size()));
  const auto bytes = input_.substr(0, n);
  input_.remove_prefix(n);
  literal_left_ -= n;
  return event::body_chunk{bytes};
}

void engine::drain_long_search() {
  const auto last = line_.rfind(' ');
  if (last == std::string::npos || last <= search_prefix.size()) return;
  const bool complete = line_.back() == '\n';
  if (complete) return;
  on_search(std::string_view(line_).substr(search_prefix.size(), last - search_prefix.size()));
  line_.erase(search_prefix.size(), last + 1 - search_prefix.size());
  text_bytes_ = line_.size();
}

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

void engine::release_buffers() {
  if (!line_done_) return;
  if (line_.capacity() > kept_bytes) std::string().swap(line_);
  if (scratch_.capacity() > kept_bytes) std::string().swap(scratch_);
  if (events_.capacity() > 2) std::vector<any_event>().swap(events_);
  if (queue_.empty() && queue_.capacity() > 2) std::vector<command>().swap(queue_);
  if (!found_.empty()) found_ = {};
}

std::string engine::take_output() { return std::exchange(output_, {}); }

result<void> engine::tls_started() {
  if (failure_) return fail(*failure_);
  if (state_ != state::tls) return fail(failure::internal, "tls_started without STARTTLS");
  options_.encrypted = true;
  capabilities_.clear();
  state_ = state::not_authenticated;
  return {};
}

error engine::ended(wall_time) const {
  if (failure_) return *failure_;
  if (bye_) return *bye_;
  if (state_ == state::greeting) return error{failure::connection_lost, "the server closed without a greeting", {}};
  if (reading_ == reading::body) return error{failure::connection_lost, fmt::format("the server closed {} bytes before the end of a message", literal_left_), {}};
  if (!queue_.empty()) return error{failure::connection_lost, fmt::format("the server closed without answering {}", to_string(queue_.front().kind)), {}};
  return error{failure::connection_lost, "the server closed the session", {}};
}

std::size_t engine::heap_bytes() const noexcept {
  const auto of = [](const std::string& s) { return s.capacity() > 15 ? s.capacity() + 1 : 0; };
  std::size_t n = of(output_) + of(line_) + of(scratch_) + events_.capacity() * sizeof(any_event) + queue_.capacity() * sizeof(command);
  n += found_.ranges().capacity() * sizeof(uid_set::range) + capabilities_.mechanisms().capacity() * sizeof(std::string);
  if (failure_) n += of(failure_->detail);
  if (bye_) n += of(bye_->detail);
  for (const auto& c : queue_)
    for (const auto& p : c.parts) n += sizeof p + of(p);
  return n;
}

}  // namespace mailherd::imap
