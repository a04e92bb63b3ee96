#include "protocol/mime/html.hpp"

#include <libxml/HTMLparser.h>
#include <libxml/parserInternals.h>
#include <libxml/xmlerror.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/mime/markup.hpp"

namespace mailherd::mime {

namespace {

using word = std::string_view;

constexpr word kept[] = {"a", "abbr", "address", "article", "aside", "b", "bdi", "bdo", "big", "blockquote", "br", "caption", "center", "cite", "code", "col",
                         "colgroup", "dd", "del", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "font", "footer", "h1", "h2", "h3", "h4", "h5", "h6",
                         "header", "hr", "i", "img", "ins", "kbd", "li", "main", "mark", "nav", "ol", "p", "pre", "q", "s", "samp", "section", "small", "span",
                         "strike", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr", "tt", "u", "ul", "var", "wbr"};
/// With everything inside: code, text that is none, and whatever could ask a reader for something.
constexpr word dropped_whole[] = {"applet", "audio", "base", "button", "canvas", "datalist", "dialog", "embed", "fieldset", "form", "frame", "frameset", "head", "iframe",
                                  "input", "keygen", "link", "map", "math", "meta", "noembed", "noframes", "noscript", "object", "option", "param", "plaintext", "portal",
                                  "script", "select", "slot", "source", "style", "svg", "template", "textarea", "title", "track", "video", "xml", "xmp"};
constexpr word empty_elements[] = {"br", "col", "hr", "img", "wbr"};
constexpr word attributes[] = {"abbr", "align", "alt", "bgcolor", "border", "cellpadding", "cellspacing", "color", "cols", "colspan", "dir", "face", "height", "hspace", "lang",
                               "nowrap", "rowspan", "scope", "size", "span", "start", "title", "type", "valign", "value", "vspace", "width"};
/// No property that moves things over others, and none that takes a URL.
constexpr word properties[] = {"background-color", "border", "border-bottom", "border-collapse", "border-color", "border-left", "border-radius", "border-right",
                               "border-spacing", "border-style", "border-top", "border-width", "color", "direction", "display", "font", "font-family", "font-size",
                               "font-style", "font-weight", "height", "letter-spacing", "line-height", "list-style-type", "margin", "margin-bottom", "margin-left",
                               "margin-right", "margin-top", "max-width", "min-width", "padding", "padding-bottom", "padding-left", "padding-right", "padding-top",
                               "text-align", "text-decoration", "text-indent", "text-transform", "vertical-align", "white-space", "width", "word-break", "word-wrap"};

template <std::size_t N>
constexpr bool sorted(const word (&list)[N]) {
  return std::is_sorted(std::begin(list), std::end(list));
}
static_assert(sorted(kept) && sorted(dropped_whole) && sorted(empty_elements) && sorted(attributes) && sorted(properties));

template <std::size_t N>
bool among(const word (&list)[N], word s) {
  return std::binary_search(std::begin(list), std::end(list), s);
}

/// What the parser is shown: the rest plays no part in what is written.
bool is_shown_element(word name) {
  constexpr word vanishing[] = {"base", "embed", "frame", "input", "keygen", "link", "meta", "param", "source", "track"};   // dropped, and nothing is inside
  return (among(kept, name) || among(dropped_whole, name) || name == "html" || name == "body") && !among(vanishing, name);
}
bool is_empty_element(word name) { return among(empty_elements, name); }
bool is_shown_attribute(word name) { return name == "href" || name == "src" || name == "style" || among(attributes, name); }

word view(const xmlChar* s) { return s == nullptr ? word{} : word(reinterpret_cast<const char*>(s)); }

std::string lower(word s) {
  std::string out(s);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

/// Whatever stands in it is text, also between double quotes; what is not UTF-8, or steers a terminal, becomes U+FFFD or nothing.
void escape(std::string& out, word s) {
  while (!s.empty()) {
    const auto length = utf8_sequence(s);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      s.remove_prefix(1);
      continue;
    }
    const char c = s.front();
    if (length > 1) {
      out.append(s.substr(0, length));
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if (c == '`') {
      out += "&#96;";
    } else if ((c >= ' ' && c != 0x7F) || c == '\n' || c == '\t') {
      out += c;
    }
    s.remove_prefix(length);
  }
}

/// Browsers pass over control characters and blanks in a scheme, so they are taken out before it is looked at.
std::string compact(word url) {
  std::string out;
  for (const char c : url)
    if (static_cast<unsigned char>(c) > ' ' && c != 0x7F) out += c;
  return out;
}

bool has_scheme(const std::string& url, word scheme) { return url.size() > scheme.size() && equal_text(word(url).substr(0, scheme.size()), scheme); }

bool is_link(const std::string& url) {
  return has_scheme(url, "https://") || has_scheme(url, "http://") || has_scheme(url, "mailto:") || has_scheme(url, "tel:");
}

bool is_image_data(const std::string& url) {
  return has_scheme(url, "data:image/png;base64,") || has_scheme(url, "data:image/gif;base64,") || has_scheme(url, "data:image/jpeg;base64,") ||
         has_scheme(url, "data:image/webp;base64,");
}

bool harmless_value(word v) {
  constexpr word signs = "abcdefghijklmnopqrstuvwxyz0123456789#%.,- !'\"";
  constexpr word functions[] = {"rgba(", "rgb(", "hsl("};   // the only ones that stay
  std::string rest;
  std::size_t open = 0;
  while (!v.empty()) {
    const auto* const function = std::find_if(std::begin(functions), std::end(functions), [&](word f) { return v.starts_with(f); });
    if (function != std::end(functions)) {
      v.remove_prefix(function->size());
      ++open;
      continue;
    }
    if (v.front() == ')' && open > 0)
      --open;
    else
      rest += v.front();
    v.remove_prefix(1);
  }
  // Only as part of a word: a negative length would move what it is about over what stands around it.
  for (std::size_t at = rest.find('-'); at != std::string::npos; at = rest.find('-', at + 1))
    if (at + 1 == rest.size() || rest[at + 1] < 'a' || rest[at + 1] > 'z') return false;
  return open == 0 && rest.find_first_not_of(signs) == std::string::npos;
}

std::string safe_style(word style) {
  std::string out;
  while (!style.empty()) {
    const auto one = style.substr(0, style.find(';'));
    style.remove_prefix(std::min(style.size(), one.size() + 1));
    const auto colon = one.find(':');
    if (colon == word::npos) continue;
    const auto trim = [](word s) {
      while (!s.empty() && static_cast<unsigned char>(s.front()) <= ' ') s.remove_prefix(1);
      while (!s.empty() && static_cast<unsigned char>(s.back()) <= ' ') s.remove_suffix(1);
      return lower(s);
    };
    const auto name = trim(one.substr(0, colon)), value = trim(one.substr(colon + 1));
    if (among(properties, name) && !value.empty() && harmless_value(value)) out += (out.empty() ? "" : "; ") + name + ": " + value;
  }
  return out;
}

/// Writes what may stay while the parser goes through the input.
class writer {
 public:
  /// `depth`: elements that the parser may hold open.
  writer(const inline_images& images, xmlParserCtxtPtr parser, std::size_t depth) : images_(images), parser_(parser), depth_(depth) {}

  void start(word name, const xmlChar** atts) {
    if (static_cast<std::size_t>(parser_->nameNr) > depth_ && !std::exchange(too_deep_, true)) xmlStopParser(parser_);
    if (too_deep_) return;
    const bool whole = among(dropped_whole, name);
    const bool stays = !whole && skipping_ == 0 && among(kept, name) && open_.size() < limits::html_safe_depth;
    if (among(empty_elements, name)) {
      if (stays && skipping_ == 0) element(name, atts);
      return;
    }
    if (whole) ++skipping_;
    open_.push_back({std::string(name), whole, stays});
    if (stays) element(name, atts);
  }

  void end(word name) {
    const auto at = std::find_if(open_.rbegin(), open_.rend(), [&](const element_open& e) { return e.name == name; });
    if (at == open_.rend()) return;   // the end of nothing
    for (auto left = at - open_.rbegin() + 1; left > 0; --left) close_last();
  }

  /// What the input left open must not swallow the page it is shown in.
  void close_all() {
    while (!open_.empty()) close_last();
  }

  void text(word s) {
    if (skipping_ == 0 && !full()) escape(out_, s);
  }

  [[nodiscard]] bool too_deep() const { return too_deep_; }
  [[nodiscard]] bool full() const { return out_.size() > limits::html_safe_output_bytes; }
  std::string take() { return std::move(out_); }

 private:
  struct element_open {
    std::string name;
    bool whole, stays;
  };

  void close_last() {
    const auto last = std::move(open_.back());
    open_.pop_back();
    if (last.whole) --skipping_;
    if (last.stays) out_ += "</" + last.name + ">";
  }

  void attribute(word name, word value) {
    out_ += ' ';
    out_ += name;
    out_ += "=\"";
    escape(out_, value);
    out_ += '"';
  }

  void image(word value) {
    const auto url = compact(value);
    if (has_scheme(url, "cid:")) {
      if (const auto found = images_ ? images_(word(url).substr(4)) : std::nullopt) attribute("src", *found);
    } else if (is_image_data(url)) {
      attribute("src", url);
    } else if (has_scheme(url, "https://") || has_scheme(url, "http://")) {
      attribute("data-remote-src", url);
    }
  }

  void element(word name, const xmlChar** atts) {
    if (full()) return;
    out_ += '<';
    out_ += name;
    for (; atts != nullptr && atts[0] != nullptr; atts += 2) {
      const auto attribute_name = view(atts[0]), value = view(atts[1]);
      if (value.size() > limits::html_attribute_bytes) continue;
      if (attribute_name == "href" && name == "a") {
        const auto url = compact(value);
        if (!is_link(url)) continue;
        attribute("href", url);
        out_ += R"( target="_blank" rel="noopener noreferrer nofollow")";
      } else if (attribute_name == "src" && name == "img") {
        image(value);
      } else if (attribute_name == "style") {
        if (const auto style = safe_style(value); !style.empty()) attribute("style", style);
      } else if (among(attributes, attribute_name)) {
        attribute(attribute_name, value);
      }
    }
    out_ += '>';
  }

  const inline_images& images_;
  const xmlParserCtxtPtr parser_;
  const std::size_t depth_;
  bool too_deep_ = false;
  std::string out_;
  std::vector<element_open> open_;
  unsigned skipping_ = 0;   ///< inside so many elements that go with all that is in them
};

htmlSAXHandler handler() {
  htmlSAXHandler h;
  std::memset(&h, 0, sizeof h);
  h.startElement = [](void* to, const xmlChar* name, const xmlChar** atts) { static_cast<writer*>(to)->start(view(name), atts); };
  h.endElement = [](void* to, const xmlChar* name) { static_cast<writer*>(to)->end(view(name)); };
  h.characters = [](void* to, const xmlChar* s, int n) { static_cast<writer*>(to)->text({reinterpret_cast<const char*>(s), static_cast<std::size_t>(n)}); };
  h.ignorableWhitespace = h.characters;
  // cdataBlock (what stands in script and style), comments and processing instructions are not even heard.
  return h;
}

struct free_context {
  void operator()(htmlParserCtxtPtr context) const { htmlFreeParserCtxt(context); }
};

}  // namespace

std::optional<std::string> safe_html(std::string_view html, const inline_images& images) {
  if (html.size() > limits::html_safe_input_bytes) return std::nullopt;
  const auto plain = plain_markup(html, {is_shown_element, is_empty_element, is_shown_attribute});
  if (plain.html.empty()) return std::string();
  // Not libxml2's push parser: it stops at whatever closes its last element, and drops the text behind it.
  const std::unique_ptr<xmlParserCtxt, free_context> parser(htmlCreateMemoryParserCtxt(plain.html.data(), static_cast<int>(plain.html.size())));
  if (!parser) return std::nullopt;
  writer to(images, parser.get(), limits::html_safe_work / std::max<std::size_t>(1, plain.lookups));
  *parser->sax = handler();
  parser->userData = &to;
  // What is inside says nothing about its encoding that would be true here: it is UTF-8 already.
  htmlCtxtUseOptions(parser.get(), HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET | HTML_PARSE_RECOVER | HTML_PARSE_IGNORE_ENC);
  xmlSwitchEncoding(parser.get(), XML_CHAR_ENCODING_UTF8);
  htmlParseDocument(parser.get());
  if (to.full() || to.too_deep()) return std::nullopt;
  to.close_all();
  return to.take();
}

}  // namespace mailherd::mime
