// protocol/mime/content: texts and attachments of a message. Declared in mime.hpp.
#include <fmt/format.h>
#include <gmime/gmime.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <set>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/mime/decoding.hpp"
#include "protocol/mime/guard.hpp"
#include "protocol/mime/mime.hpp"
#include "protocol/mime/text.hpp"

namespace mailherd::mime {

namespace {

constexpr std::size_t everything = std::numeric_limits<std::size_t>::max();

/// What GMime's parser warns of, in words. Warnings of single header values are left out: the envelope has its own notes.
struct warning_row {
  GMimeParserWarning code;
  std::string_view words;
};
constexpr auto warnings = std::to_array<warning_row>({
    {GMIME_WARN_INVALID_CONTENT_TYPE, "a part has a Content-Type that makes no sense"},
    {GMIME_WARN_MALFORMED_MULTIPART, "a multipart holds no parts"},
    {GMIME_WARN_TRUNCATED_MESSAGE, "the message ends before its last boundary"},
    {GMIME_WARN_MALFORMED_MESSAGE, "the message is malformed"},
    {GMIME_CRIT_INVALID_HEADER_NAME, "the header holds a line that is no field"},
    {GMIME_CRIT_CONFLICTING_HEADER, "a part names its type or encoding twice and differently"},
    {GMIME_CRIT_CONFLICTING_PARAMETER, "a part names a parameter twice and differently"},
    {GMIME_CRIT_MULTIPART_WITHOUT_BOUNDARY, "a multipart names no boundary"},
    {GMIME_CRIT_NESTING_OVERFLOW, "parts are nested too deeply"},
});

void on_warning(gint64, GMimeParserWarning code, const gchar*, gpointer notes) {
  const auto* const row = std::find_if(warnings.begin(), warnings.end(), [&](const warning_row& r) { return r.code == code; });
  if (row != warnings.end()) add_note(*static_cast<std::vector<std::string>*>(notes), std::string(row->words));
}

struct free_options {
  void operator()(GMimeParserOptions* options) const noexcept { g_mime_parser_options_free(options); }
};

/// A parsed message; refers to the raw bytes.
class parsed_message {
 public:
  parsed_message(std::string_view raw, std::vector<std::string>& notes) : guarded_(raw, notes), stream_(guarded_.bytes()) {
    const std::unique_ptr<GMimeParserOptions, free_options> options(g_mime_parser_options_new());
    g_mime_parser_options_set_warning_callback(options.get(), on_warning, &notes);
    const object<GMimeParser> parser(g_mime_parser_new_with_stream(stream_.get()));
    g_mime_parser_set_persist_stream(parser.get(), TRUE);
    message_.reset(g_mime_parser_construct_message(parser.get(), options.get()));
    guarded_.show_hidden();
  }
  [[nodiscard]] std::string_view raw() const { return guarded_.raw(); }
  [[nodiscard]] GMimeObject* root() const { return message_ ? g_mime_message_get_mime_part(message_.get()) : nullptr; }

 private:
  guarded_message guarded_;
  borrowed_stream stream_;
  object<GMimeMessage> message_;
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

std::string type_of(GMimeObject* part) {
  GMimeContentType* const type = g_mime_object_get_content_type(part);
  const auto major = view(type == nullptr ? nullptr : g_mime_content_type_get_media_type(type));
  const auto minor = view(type == nullptr ? nullptr : g_mime_content_type_get_media_subtype(type));
  if (major.empty() || minor.empty()) return "application/octet-stream";
  return lower(clean_server_text(fmt::format("{}/{}", major, minor)));
}

/// A name that can be shown and used as a file name: no path, no control or direction characters.
std::string file_name(GMimeObject* part) {
  std::string_view name;
  if (GMIME_IS_PART(part)) name = view(g_mime_part_get_filename(GMIME_PART(part)));
  if (name.empty()) name = view(g_mime_object_get_content_type_parameter(part, "name"));
  if (const auto slash = name.find_last_of("/\\"); slash != std::string_view::npos) name.remove_prefix(slash + 1);
  std::string clean = clean_server_text(name);
  return clean == "." || clean == ".." ? std::string{} : clean;
}

/// A part that holds no others.
struct leaf {
  GMimeObject* part;
  std::optional<std::string_view> embedded;   ///< of a message within the message: its bytes as they came, if they are found
};

/// Walks the parts in order. `on_leaf(leaf)` returns false to stop.
class walker {
 public:
  walker(std::string_view raw, std::vector<std::string>& notes) : raw_(raw), notes_(notes) {}

  template <class OnLeaf>
  void walk(GMimeObject* root, OnLeaf&& on_leaf) {
    const auto enter = [&](GMimeObject* part) {
      if (part == nullptr) return true;
      if (++parts_ > limits::mime_parts) {
        add_note(notes_, fmt::format("the message has more than {} parts; the rest is left out", limits::mime_parts));
        return false;
      }
      if (!GMIME_IS_MULTIPART(part)) return on_leaf(leaf{part, GMIME_IS_MESSAGE_PART(part) ? embedded(GMIME_MESSAGE_PART(part)) : std::nullopt});
      if (stack_.size() >= limits::mime_depth) {
        add_note(notes_, "parts are nested too deeply");
        return true;
      }
      stack_.push_back({GMIME_MULTIPART(part), 0});
      return true;
    };
    if (!enter(root)) return;
    while (!stack_.empty()) {
      frame& top = stack_.back();
      if (top.next >= g_mime_multipart_get_count(top.multipart)) {
        stack_.pop_back();
        continue;
      }
      GMimeObject* const part = g_mime_multipart_get_part(top.multipart, top.next++);
      if (!enter(part)) return;
    }
  }

 private:
  // An explicit stack: hostile nesting must not become ours.
  struct frame {
    GMimeMultipart* multipart;
    int next;
  };

  /// From its first field up to the boundary of a multipart around it. Not as GMime would write it: of what was parsed some was hidden.
  std::optional<std::string_view> embedded(GMimeMessagePart* part) const {
    GMimeMessage* const message = g_mime_message_part_get_message(part);
    if (message == nullptr) return std::nullopt;
    auto begin = first_field(GMIME_OBJECT(message));
    if (GMimeObject* const body = g_mime_message_get_mime_part(message)) begin = std::min(begin, first_field(body));
    if (begin >= raw_.size() || (begin > 0 && raw_[begin - 1] != '\n')) return std::nullopt;
    auto end = begin;
    while (end < raw_.size() && !is_boundary(raw_.substr(end))) end = std::min(raw_.find('\n', end), raw_.size() - 1) + 1;
    if (end == raw_.size()) return raw_.substr(begin);
    auto found = raw_.substr(begin, end - begin);
    for (const char c : {'\n', '\r'})   // the line end before a boundary is its own (RFC 2046, 5.1.1)
      if (found.ends_with(c)) found.remove_suffix(1);
    return found;
  }

  static std::size_t first_field(GMimeObject* object) {
    GMimeHeaderList* const fields = g_mime_object_get_header_list(object);
    if (g_mime_header_list_get_count(fields) == 0) return std::string_view::npos;
    const auto at = g_mime_header_get_offset(g_mime_header_list_get_header_at(fields, 0));
    return at < 0 ? std::string_view::npos : static_cast<std::size_t>(at);
  }

  [[nodiscard]] bool is_boundary(std::string_view line) const {
    if (!line.starts_with("--")) return false;
    line.remove_prefix(2);
    return std::any_of(stack_.begin(), stack_.end(), [&](const frame& f) {
      const auto boundary = view(g_mime_object_get_content_type_parameter(GMIME_OBJECT(f.multipart), "boundary"));
      return !boundary.empty() && line.starts_with(boundary);
    });
  }

  std::string_view raw_;
  std::vector<std::string>& notes_;
  std::vector<frame> stack_;
  std::size_t parts_ = 0;
};

/// Decides for each leaf, in order, what it is; the same for listing and for fetching, so that indexes agree.
class sorter {
 public:
  enum class role { text, html, attachment };

  role decide(GMimeObject* leaf, const std::string& type) {
    const bool may_be_body = GMIME_IS_PART(leaf) && !equal_text(view(g_mime_object_get_disposition(leaf)), "attachment");
    if (may_be_body && type == "text/plain" && !std::exchange(has_text_, true)) return role::text;
    if (may_be_body && type == "text/html" && !std::exchange(has_html_, true)) return role::html;
    return role::attachment;
  }

 private:
  // First come: once taken, a later part of the type is an attachment. exchange() runs only when the type fits.
  bool has_text_ = false, has_html_ = false;
};

decoded decode_leaf(const leaf& l, std::size_t keep) {
  if (l.embedded) return {std::string(l.embedded->substr(0, keep)), l.embedded->size(), false};
  if (GMIME_IS_MESSAGE_PART(l.part)) return decode_message(GMIME_MESSAGE_PART(l.part), keep);
  if (GMIME_IS_PART(l.part)) return decode_part(GMIME_PART(l.part), keep);
  return {};
}

void note_damage(const decoded& d, std::vector<std::string>& notes) {
  if (d.is_damaged) add_note(notes, "a part's transfer encoding is damaged");
}

std::string read_text(const leaf& l, std::vector<std::string>& notes) {
  decoded body = decode_leaf(l, limits::mime_text_bytes);
  note_damage(body, notes);
  if (body.size > body.bytes.size())
    add_note(notes, fmt::format("a text is longer than {} bytes; the rest is left out", limits::mime_text_bytes));
  std::string text = text_in_charset(body.bytes, view(g_mime_object_get_content_type_parameter(l.part, "charset")), notes);
  if (text.size() > limits::mime_text_bytes) {
    std::size_t cut = limits::mime_text_bytes;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;  // not within a character
    text.resize(cut);
    add_note(notes, fmt::format("a text is longer than {} bytes; the rest is left out", limits::mime_text_bytes));
  }
  return text;
}

bool is_delivery_status(const std::string& type) { return type == "message/delivery-status" || type == "message/global-delivery-status"; }

attachment_info describe(const leaf& l, std::string type, content& out) {
  attachment_info info;
  info.index = out.attachments.size();
  info.type = std::move(type);
  info.name = file_name(l.part);
  info.disposition = lower(clean_server_text(view(g_mime_object_get_disposition(l.part))));
  info.content_id = clean_server_text(view(g_mime_object_get_content_id(l.part)));
  const bool is_report = out.delivery_status.empty() && is_delivery_status(info.type);
  decoded body = decode_leaf(l, is_report ? limits::mime_report_bytes : 0);
  note_damage(body, out.notes);
  info.size = body.size;
  if (is_report) out.delivery_status = std::move(body.bytes);
  return info;
}

/// What the HTML refers to: "cid:" and what follows up to the end of an attribute or a word. One pass: there may be a thousand attachments.
std::set<std::string_view> content_ids_in(std::string_view html) {
  constexpr std::string_view scheme = "cid:", ends = "\"'<> )\t\r\n";
  std::set<std::string_view> ids;
  for (auto at = html.find(scheme); at != std::string_view::npos; at = html.find(scheme, at)) {
    at += scheme.size();
    const auto id = html.substr(at, std::min(html.find_first_of(ends, at), html.size()) - at);
    if (!id.empty()) ids.insert(id);
    at += id.size();
  }
  return ids;
}

/// A multipart without boundary holds its text where nobody looks.
std::string lost_text(GMimeObject* root) {
  if (root == nullptr || !GMIME_IS_MULTIPART(root) || g_mime_multipart_get_count(GMIME_MULTIPART(root)) != 0) return {};
  const auto prologue = view(g_mime_multipart_get_prologue(GMIME_MULTIPART(root)));
  return utf8_text(prologue.substr(0, limits::mime_text_bytes));
}

content read_content(std::string_view raw) {
  content out;
  const parsed_message message(raw, out.notes);
  if (message.root() == nullptr) {
    add_note(out.notes, "the message has no header that can be read");
    out.text = utf8_text(raw.substr(0, limits::mime_text_bytes));
    return out;
  }
  sorter sort;
  walker(message.raw(), out.notes).walk(message.root(), [&](const leaf& l) {
    std::string type = type_of(l.part);
    switch (sort.decide(l.part, type)) {
      case sorter::role::text: out.text = read_text(l, out.notes); break;
      case sorter::role::html: out.html = read_text(l, out.notes); break;
      case sorter::role::attachment: out.attachments.push_back(describe(l, std::move(type), out)); break;
    }
    return true;
  });
  if (out.text.empty() && out.html.empty() && out.attachments.empty()) out.text = lost_text(message.root());
  const auto referred = content_ids_in(out.html);
  for (auto& a : out.attachments) a.is_inline = a.disposition == "inline" || referred.contains(a.content_id);
  return out;
}

}  // namespace

content parse_content(std::string_view raw) {
  initialise();
  if (raw.empty()) {
    content nothing;
    nothing.notes.emplace_back("the message is empty");
    return nothing;
  }
  return read_content(raw);
}

result<std::string> attachment(std::string_view raw, std::size_t index) {
  initialise();
  std::optional<std::string> found;
  if (!raw.empty()) {
    std::vector<std::string> notes;
    const parsed_message message(raw, notes);
    sorter sort;
    std::size_t at = 0;
    walker(message.raw(), notes).walk(message.root(), [&](const leaf& l) {
      if (sort.decide(l.part, type_of(l.part)) != sorter::role::attachment || at++ != index) return true;
      found = decode_leaf(l, everything).bytes;
      return false;
    });
  }
  if (!found) return fail(failure::not_found, fmt::format("the message has no attachment {}", index));
  return std::move(*found);
}

}  // namespace mailherd::mime
