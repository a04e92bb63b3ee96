// protocol/mime/content: texts and attachments of a message. Declared in mime.hpp.
#include <fmt/format.h>
#include <gmime/gmime.h>

#include <algorithm>
#include <array>
#include <limits>
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

/// Walks the parts in order. `on_leaf(part)` returns false to stop.
class walker {
 public:
  explicit walker(std::vector<std::string>& notes) : notes_(notes) {}

  template <class OnLeaf>
  void walk(GMimeObject* root, OnLeaf&& on_leaf) {
    // An explicit stack: hostile nesting must not become ours.
    struct frame {
      GMimeMultipart* multipart;
      int next;
    };
    std::vector<frame> stack;
    const auto enter = [&](GMimeObject* part) {
      if (part == nullptr) return true;
      if (++parts_ > limits::mime_parts) {
        add_note(notes_, fmt::format("the message has more than {} parts; the rest is left out", limits::mime_parts));
        return false;
      }
      if (!GMIME_IS_MULTIPART(part)) return on_leaf(part);
      if (stack.size() >= limits::mime_depth) {
        add_note(notes_, "parts are nested too deeply");
        return true;
      }
      stack.push_back({GMIME_MULTIPART(part), 0});
      return true;
    };
    if (!enter(root)) return;
    while (!stack.empty()) {
      frame& top = stack.back();
      if (top.next >= g_mime_multipart_get_count(top.multipart)) {
        stack.pop_back();
        continue;
      }
      GMimeObject* const part = g_mime_multipart_get_part(top.multipart, top.next++);
      if (!enter(part)) return;
    }
  }

 private:
  std::vector<std::string>& notes_;
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

decoded decode_leaf(GMimeObject* leaf, std::size_t keep) {
  if (GMIME_IS_MESSAGE_PART(leaf)) return decode_message(GMIME_MESSAGE_PART(leaf), keep);
  if (GMIME_IS_PART(leaf)) return decode_part(GMIME_PART(leaf), keep);
  return {};
}

void note_damage(const decoded& d, std::vector<std::string>& notes) {
  if (d.is_damaged) add_note(notes, "a part's transfer encoding is damaged");
}

std::string read_text(GMimeObject* leaf, std::vector<std::string>& notes) {
  decoded body = decode_leaf(leaf, limits::mime_text_bytes);
  note_damage(body, notes);
  if (body.size > body.bytes.size())
    add_note(notes, fmt::format("a text is longer than {} bytes; the rest is left out", limits::mime_text_bytes));
  std::string text = text_in_charset(body.bytes, view(g_mime_object_get_content_type_parameter(leaf, "charset")), notes);
  if (text.size() > limits::mime_text_bytes) {
    std::size_t cut = limits::mime_text_bytes;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;  // not within a character
    text.resize(cut);
    add_note(notes, fmt::format("a text is longer than {} bytes; the rest is left out", limits::mime_text_bytes));
  }
  return text;
}

bool is_delivery_status(const std::string& type) { return type == "message/delivery-status" || type == "message/global-delivery-status"; }

attachment_info describe(GMimeObject* leaf, std::string type, content& out) {
  attachment_info info;
  info.index = out.attachments.size();
  info.type = std::move(type);
  info.name = file_name(leaf);
  info.disposition = lower(clean_server_text(view(g_mime_object_get_disposition(leaf))));
  info.content_id = clean_server_text(view(g_mime_object_get_content_id(leaf)));
  const bool is_report = out.delivery_status.empty() && is_delivery_status(info.type);
  decoded body = decode_leaf(leaf, is_report ? limits::mime_report_bytes : 0);
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
  walker(out.notes).walk(message.root(), [&](GMimeObject* leaf) {
    std::string type = type_of(leaf);
    switch (sort.decide(leaf, type)) {
      case sorter::role::text: out.text = read_text(leaf, out.notes); break;
      case sorter::role::html: out.html = read_text(leaf, out.notes); break;
      case sorter::role::attachment: out.attachments.push_back(describe(leaf, std::move(type), out)); break;
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
    walker(notes).walk(message.root(), [&](GMimeObject* leaf) {
      if (sort.decide(leaf, type_of(leaf)) != sorter::role::attachment || at++ != index) return true;
      found = decode_leaf(leaf, everything).bytes;
      return false;
    });
  }
  if (!found) return fail(failure::not_found, fmt::format("the message has no attachment {}", index));
  return std::move(*found);
}

}  // namespace mailherd::mime
