// protocol/imap/fetch_reply: FETCH responses (RFC 3501, 7.4.2), taken apart from literal to literal: no message ever stands in memory.
//
// The text before a literal is read up to the item whose value the literal is. A body that a UID FETCH asked for passes through as events;
// any other top-level literal is counted and dropped; a literal inside a list (an envelope) stays in the line.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/imap/engine.hpp"
#include "protocol/imap/scanner.hpp"

namespace mailherd::imap {

namespace {
constexpr std::uint64_t uid_most = 0xFFFFFFFFu;

struct body_item {
  std::string_view name;
  bool headers_only;
  bool echoed;  ///< quirk::echoed_peek
};

/// Items that are a whole message or its whole header. Parts ("BODY[1]", "BODY[]<0>", "BODY[TEXT]") are none.
constexpr std::array<body_item, 6> body_items{{
    {"BODY[]", false, false},
    {"BODY[HEADER]", true, false},
    {"RFC822", false, false},
    {"RFC822.HEADER", true, false},
    {"BODY.PEEK[]", false, true},
    {"BODY.PEEK[HEADER]", true, true},
}};

const body_item* find_body_item(std::string_view item) {
  const auto it = std::find_if(body_items.begin(), body_items.end(), [&](const body_item& b) { return equal_text(b.name, item); });
  return it == body_items.end() ? nullptr : &*it;
}

/// Holds message bytes, whole or in part.
bool is_body_part(std::string_view item) {
  return equal_text(item.substr(0, 5), "BODY[") || equal_text(item.substr(0, 10), "BODY.PEEK[") ||
         equal_text(item.substr(0, 7), "BINARY[") || equal_text(item.substr(0, 6), "RFC822");
}
}  // namespace

void engine::malformed_fetch() {
  fail_session(failure::protocol_violation,
               fmt::format("a FETCH response that cannot be read (message {})", fetch_ ? fetch_->sequence : 0));
}

/// True if line_ begins a FETCH response: "* 12 FETCH (".
bool engine::begin_fetch() {
  std::string_view rest = line_;
  if (rest.substr(0, 2) != "* ") return false;
  rest.remove_prefix(2);
  std::uint32_t sequence = 0;
  const auto [end, ec] = std::from_chars(rest.data(), rest.data() + rest.size(), sequence);
  if (ec != std::errc{} || sequence == 0) return false;
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  constexpr std::string_view word = " FETCH ";
  if (rest.size() < word.size() || !equal_text(rest.substr(0, word.size()), word)) return false;
  scanner in(rest.substr(word.size()));
  in.skip_spaces();
  if (!in.take('(')) return false;
  fetch_.emplace().sequence = sequence;
  fetch_read_ = line_.size() - in.rest().size();
  return true;
}

/// A literal of `size` bytes follows the first `text_end` bytes of line_.
void engine::begin_fetch_literal(std::size_t text_end, std::uint64_t size) {
  std::string_view item;
  std::size_t read = 0;
  switch (read_fetch_items(std::string_view(line_).substr(fetch_read_, text_end - fetch_read_), item, read)) {
    case items::before_value: break;
    case items::inside_value:
      fetch_read_ += read;
      return begin_small_literal(size);
    case items::closed:
    case items::malformed: return malformed_fetch();
  }
  if (failure_) return;
  bool headers_only = false;
  if (wanted(item, headers_only)) {
    if (!begin_body(headers_only, size)) return;
    // Only now: the session has learned which message it is.
    if (size > limits::imap_body_literal_bytes)
      return fail_session(failure::limit_exceeded, fmt::format("message {}: the server announces {} bytes", fetch_->sequence, size));
    reading_ = reading::body;
  } else {
    if (equal_text(item, "UID") || equal_text(item, "RFC822.SIZE")) return malformed_fetch();
    if (size > limits::imap_body_literal_bytes)
      return fail_session(failure::limit_exceeded, fmt::format("a literal of {} bytes that nobody asked for", size));
    quirks_.meet(is_body_part(item) ? quirk::unasked_body : quirk::unasked_item);
    reading_ = size > 0 ? reading::dropped_body : reading::line;
  }
  literal_left_ = size;
  line_.clear();
  fetch_read_ = 0;
}

/// The line is complete.
void engine::finish_fetch() {
  std::string_view item;
  std::size_t read = 0;
  const auto end = read_fetch_items(std::string_view(line_).substr(fetch_read_), item, read);
  if (failure_) return;
  if (end != items::closed) return malformed_fetch();
  if (!is_early()) push(*fetch_);
}

/// Reads items with their values into fetch_. `read`: so much of `text` is done with; `item`: the one that was begun last.
engine::items engine::read_fetch_items(std::string_view text, std::string_view& item, std::size_t& read) {
  scanner in(text);
  while (true) {
    in.skip_spaces();
    read = text.size() - in.rest().size();
    if (in.take(')')) return items::closed;
    item = in.item_name();
    if (item.empty()) return items::malformed;
    in.skip_spaces();
    if (in.at_end()) return items::before_value;
    if (!read_fetch_value(in, item)) return in.peek() == '(' ? items::inside_value : items::malformed;
    if (failure_) return items::malformed;
  }
}

/// False: it cannot be read (yet), and nothing was consumed.
bool engine::read_fetch_value(scanner& in, std::string_view item) {
  auto& told = *fetch_;
  if (equal_text(item, "UID")) {
    const auto n = in.number();
    if (!n || *n == 0 || *n > uid_most || (told.uid.value != 0 && told.uid.value != *n)) return false;
    told.uid.value = static_cast<std::uint32_t>(*n);
    return true;
  }
  if (equal_text(item, "RFC822.SIZE")) {
    // A listing without it would pass over the message: not to be guessed.
    told.size = in.number();
    return told.size.has_value();
  }
  if (equal_text(item, "INTERNALDATE")) {
    std::string unescaped;
    const auto text = in.string(unescaped);
    if (text) told.internal_date = parse_internal_date(*text);  // a date nobody can read is as good as none
    return text.has_value();
  }
  if (in.peek() == '"' && find_body_item(item)) return read_quoted_body(in, item);
  bool headers_only = false;
  if (!equal_text(item, "FLAGS") && !equal_text(item, "MODSEQ") && !wanted(item, headers_only))
    quirks_.meet(is_body_part(item) ? quirk::unasked_body : quirk::unasked_item);
  return in.skip_value();  // NIL for a body: the message has gone
}

bool engine::read_quoted_body(scanner& in, std::string_view item) {
  bool headers_only = false;
  if (!wanted(item, headers_only)) {
    quirks_.meet(quirk::unasked_body);
    return in.skip_value();
  }
  std::string unescaped;
  const auto text = in.string(unescaped);
  if (!text) return false;
  if (!begin_body(headers_only, text->size())) return true;
  // Of its own: the line may grow before the event is read.
  scratch_ = *text;
  if (!scratch_.empty()) push(event::body_chunk{scratch_});
  push(event::body_end{});
  return true;
}

/// A body that was asked for. False: there was one already, and which of them is the message?
bool engine::begin_body(bool headers_only, std::uint64_t size) {
  auto& told = *fetch_;
  if (told.has_body) {
    fail_session(failure::protocol_violation, fmt::format("message {} comes twice in one response", told.sequence));
    return false;
  }
  told.has_body = true;
  if (told.uid.value == 0) quirks_.meet(quirk::uid_after_body);
  if (told.size && *told.size != size && !headers_only) quirks_.meet(quirk::wrong_size);
  event::body_begin e;
  e.sequence = told.sequence;
  e.uid = told.uid;
  e.headers_only = headers_only;
  e.bytes = size;
  push(e);
  return true;
}

/// True if `item` is what a UID FETCH under way asks for.
bool engine::wanted(std::string_view item, bool& headers_only) {
  const auto* body = find_body_item(item);
  if (!body) return false;
  headers_only = body->headers_only;
  const auto what = headers_only ? fetch_what::headers : fetch_what::body;
  const bool asked = std::any_of(queue_.begin(), queue_.end(),
                                 [&](const command& c) { return c.sent && c.kind == command_kind::fetch && c.what == what; });
  if (asked && body->echoed) quirks_.meet(quirk::echoed_peek);
  return asked;
}

}  // namespace mailherd::imap
