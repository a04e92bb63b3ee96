// api/message_json: messages as JSON. They leave by ten thousands a second, so they are written straight into the text: as a tree of values, each costs
// three times as much as all the rest of a page of the feed. What needs a tree (one message with its content) reads the text back.
#include <charconv>
#include <string_view>

#include "api/model_json.hpp"
#include "api/rules.hpp"

namespace mailherd::api {

namespace {

void add(std::string& out, std::string_view s) { out.append(s); }

void add(std::string& out, std::uint64_t n) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
}

void add(std::string& out, std::int64_t n) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
}

/// Between quotes. What is not plain ASCII goes the library's way: escapes, and U+FFFD for what is not UTF-8.
void add_text(std::string& out, std::string_view s) {
  for (const char c : s)
    if (c < ' ' || c == '"' || c == '\\' || c == 0x7F) return add(out, out_json(s).dump(-1, ' ', false, out_json::error_handler_t::replace));
  out += '"';
  add(out, s);
  out += '"';
}

void add_text_or_null(std::string& out, std::string_view s) { s.empty() ? add(out, "null") : add_text(out, s); }

void add_time(std::string& out, wall_time t) {
  out += '"';
  add(out, rules::format_time(t));
  out += '"';
}

void add_hex(std::string& out, const sha256_digest& digest) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (const auto byte : digest) {
    out += digits[byte >> 4U];
    out += digits[byte & 15U];
  }
}

void add_addresses(std::string& out, const std::vector<mail_address>& all) {
  out += '[';
  for (const auto& a : all) {
    add(out, &a == &all.front() ? R"({"name":)" : R"(,{"name":)");
    add_text(out, a.name);
    add(out, R"(,"address":)");
    add_text(out, a.address);
    out += '}';
  }
  out += ']';
}

void add_texts(std::string& out, const std::vector<std::string>& all) {
  out += '[';
  for (const auto& s : all) {
    if (&s != &all.front()) out += ',';
    add_text(out, s);
  }
  out += ']';
}

/// The conversation's first message as far as this one knows (RFC 5322, 3.6.4): messages with the same `thread` belong together.
std::string_view thread_of(const envelope& e) {
  if (!e.references.empty()) return e.references.front();
  if (!e.in_reply_to.empty()) return e.in_reply_to.front();
  return e.message_id;
}

void add_envelope(std::string& out, const envelope& e) {
  add(out, R"(,"from":)");
  add_addresses(out, e.from);
  add(out, R"(,"to":)");
  add_addresses(out, e.to);
  add(out, R"(,"cc":)");
  add_addresses(out, e.cc);
  add(out, R"(,"subject":)");
  add_text(out, e.subject);
  add(out, R"(,"date":)");
  e.date ? add_time(out, *e.date) : add(out, "null");
  add(out, R"(,"message_id":)");
  add_text_or_null(out, e.message_id);
  add(out, R"(,"in_reply_to":)");
  add_texts(out, e.in_reply_to);
  add(out, R"(,"references":)");
  add_texts(out, e.references);
  add(out, R"(,"thread":)");
  add_text_or_null(out, thread_of(e));
  add(out, R"(,"automatic":)");
  if (e.automatic.empty()) return add(out, "null");
  add(out, R"({"kind":)");
  add_text(out, e.automatic);
  add(out, R"(,"reason":)");
  add_text(out, e.automatic_reason);
  out += '}';
}

void add_source(std::string& out, const message_source& s) {
  if (s.protocol == protocol_kind::imap) {
    add(out, R"({"protocol":"imap","folder":)");
    add_text(out, s.folder);
    add(out, R"(,"uid_validity":)");
    add(out, std::uint64_t{s.uid_validity.value});
    add(out, R"(,"uid":)");
    add(out, std::uint64_t{s.uid.value});
  } else {
    add(out, R"({"protocol":"pop3","uidl":)");
    add_text(out, s.uidl);
  }
  out += '}';
}

}  // namespace

void write_json(std::string& out, const store::stored_message& m) {
  add(out, R"({"id":")");
  add(out, to_string(m.id));
  add(out, R"(","channel":")");
  add(out, to_string(m.channel));
  add(out, R"(","sequence":)");
  add(out, m.sequence);
  add(out, R"(,"received_at":)");
  add_time(out, m.received_at);
  add(out, R"(,"internal_date":)");
  add_time(out, m.internal_date);
  add(out, R"(,"size":)");
  add(out, m.size);
  add(out, m.has_body ? R"(,"sha256":")" : R"(,"sha256":null)");
  if (m.has_body) {
    add_hex(out, m.digest);
    out += '"';
  }
  add_envelope(out, m.envelope);
  add(out, R"(,"source":)");
  add_source(out, m.source);
  add(out, m.has_body ? R"(,"has_body":true,"problem":)" : R"(,"has_body":false,"problem":)");
  add_text_or_null(out, m.problem);
  out += '}';
}

std::string message_page(const std::vector<store::stored_message>& items, const std::string& next) {
  std::string out = R"({"items":[)";
  out.reserve(64 + items.size() * 768);
  for (const auto& m : items) {
    if (&m != &items.front()) out += ',';
    write_json(out, m);
  }
  add(out, R"(],"next":)");
  add_text_or_null(out, next);
  out += '}';
  return out;
}

out_json to_json(const store::stored_message& m) {
  std::string text;
  write_json(text, m);
  return out_json::parse(text);
}

}  // namespace mailherd::api
