#include "protocol/mime/markup.hpp"

#include <algorithm>
#include <vector>

#include "core/server_text.hpp"

namespace mailherd::mime {

namespace {

/// No element and no attribute that anybody knows has a longer name.
constexpr std::size_t name_bytes = 32;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// Empty: too long for any that is known.
std::string lower_name(std::string_view name) {
  if (name.size() > name_bytes) return {};
  std::string out(name);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

class splitter {
 public:
  splitter(std::string_view html, const known_names& known) : rest_(html), known_(known) {
    out_.html.reserve(html.size() + html.size() / 8);
  }

  // Every turn takes at least one byte, and what a turn looks at it takes.
  markup run() {
    while (!rest_.empty()) {
      out_.html += take(rest_.find('<'));
      if (rest_.size() < 2) {
        if (!rest_.empty()) out_.html += "&lt;";
        break;
      }
      const char next = rest_[1];
      if (is_letter(next))
        start_tag();
      else if (next == '/' && rest_.size() > 2 && is_letter(rest_[2]))
        end_tag();
      else if (next == '/' || next == '!' || next == '?')
        comment();
      else
        stray();
    }
    return std::move(out_);
  }

 private:
  /// Up to `end`, or all that is left.
  std::string_view take(std::size_t end) {
    const auto taken = rest_.substr(0, end);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  template <class Is>
  std::string_view take_while(Is is) {
    return take(static_cast<std::size_t>(std::find_if_not(rest_.begin(), rest_.end(), is) - rest_.begin()));
  }
  bool take_one(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  /// Up to and with `mark`; all if it is not there.
  void pass(std::string_view mark) {
    const auto at = rest_.find(mark);
    take(at == std::string_view::npos ? at : at + mark.size());
  }

  void stray() {
    out_.html += "&lt;";
    rest_.remove_prefix(1);
  }

  void comment() {
    if (!rest_.starts_with("<!--")) return pass(">");
    rest_.remove_prefix(4);
    if (rest_.starts_with(">") || rest_.starts_with("->")) return pass(">");
    pass("-->");
  }

  void end_tag() {
    rest_.remove_prefix(2);
    const auto name = lower_name(tag_name());
    pass(">");
    if (name.empty() || !known_.element(name)) return;
    out_.html.append("</").append(name).append(">");
    ++out_.lookups;
  }

  std::string_view tag_name() {
    return take_while([](char c) { return !is_blank(c) && c != '/' && c != '>'; });
  }

  void start_tag() {
    rest_.remove_prefix(1);
    const auto name = lower_name(tag_name());
    tag_ = "<" + name;
    seen_.clear();
    bool empty = false;
    while (true) {
      empty = false;
      while (!rest_.empty() && (is_blank(rest_.front()) || rest_.front() == '/')) {
        empty = rest_.front() == '/';
        rest_.remove_prefix(1);
      }
      if (rest_.empty()) return;   // a tag that never ends is none
      if (take_one('>')) break;
      one_attribute();
    }
    if (name == "script" || name == "style") return pass_code(name);
    if (name.empty() || !known_.element(name)) return;
    out_.html.append(tag_).append(empty || known_.empty(name) ? "/>" : ">");
    if (name == "body") ++out_.lookups;   // a second one is searched for the first
  }

  void one_attribute() {
    const auto begin = rest_;
    if (rest_.front() == '=') rest_.remove_prefix(1);   // part of the name, there
    take_while([](char c) { return !is_blank(c) && c != '/' && c != '>' && c != '='; });
    const auto name = lower_name(begin.substr(0, begin.size() - rest_.size()));
    const auto behind = rest_;
    take_while(is_blank);
    std::string_view value;
    const bool has_value = take_one('=');
    if (has_value)
      value = one_value();
    else
      rest_ = behind;
    if (name.empty() || !known_.attribute(name) || std::find(seen_.begin(), seen_.end(), name) != seen_.end()) return;
    tag_.append(" ").append(name);
    if (has_value) quote(value);
    seen_.push_back(name);
  }

  std::string_view one_value() {
    take_while(is_blank);
    for (const char mark : {'"', '\''}) {
      if (!take_one(mark)) continue;
      const auto value = take(rest_.find(mark));
      take_one(mark);
      return value;
    }
    return take_while([](char c) { return !is_blank(c) && c != '>'; });
  }

  void quote(std::string_view value) {
    tag_ += "=\"";
    for (const char c : value) {
      if (c == '"')
        tag_ += "&quot;";
      else
        tag_ += c;
    }
    tag_ += '"';
  }

  /// Scripts and style sheets hold no markup: they go up to their end tag.
  void pass_code(std::string_view name) {
    while (!rest_.empty()) {
      pass("</");
      if (!equal_text(rest_.substr(0, name.size()), name)) continue;
      rest_.remove_prefix(name.size());
      return pass(">");
    }
  }

  std::string_view rest_;
  known_names known_;
  markup out_;
  std::string tag_;                 ///< being written
  std::vector<std::string> seen_;   ///< its attributes
};

}  // namespace

markup plain_markup(std::string_view html, const known_names& known) { return splitter(html, known).run(); }

}  // namespace mailherd::mime
