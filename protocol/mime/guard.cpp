// protocol/mime/guard: see the header.
#include "protocol/mime/guard.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/mime/text.hpp"

namespace mailherd::mime {

namespace {

/// Fields that GMime takes apart while it parses.
constexpr std::string_view costly[] = {"from", "to", "cc", "bcc", "sender", "reply-to", "content-type", "content-disposition"};
/// What describes parts, parameters among it.
constexpr std::string_view content_fields = "content-";

/// Sum of the squares of the lengths of costly fields: about one second of CPU at worst.
constexpr std::uint64_t cost_at_most = 4ULL * limits::header_field_bytes * limits::header_field_bytes;

bool is_costly(std::string_view name) {
  return std::any_of(std::begin(costly), std::end(costly), [&](std::string_view c) { return equal_text(c, name); });
}

constexpr std::string_view blanks = " \t\r\n";

std::string_view trim(std::string_view s) {
  s.remove_prefix(std::min(s.find_first_not_of(blanks), s.size()));
  return s.substr(0, s.find_last_not_of(blanks) + 1);
}

/// Of a line; empty if it is no field.
std::string_view field_name(std::string_view line) {
  const auto colon = line.substr(0, 64).find(':');
  return colon == std::string_view::npos ? std::string_view{} : trim(line.substr(0, colon));
}

/// Parameters as RFC 2231 has them: quotes stand around whole values, nothing is escaped, nobody comments. What is read otherwise than GMime reads it
/// could hide a name in it.
bool is_plain(std::string_view field) {
  bool quoted = false;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '(' || field[i] == '\\') return false;
    if (field[i] != '"') continue;
    const auto before = i == 0 ? std::string_view::npos : field.find_last_not_of(blanks, i - 1), behind = field.find_first_not_of(blanks, i + 1);
    if (quoted ? behind != std::string_view::npos && field[behind] != ';' : before == std::string_view::npos || field[before] != '=') return false;
    quoted = !quoted;
  }
  return !quoted;
}

/// Whether each apostrophe of "name*=charset'language'text" stands behind a character set of ours. REQUIRED: is_plain of the field.
bool names_only_ours(std::string_view parameter) {
  if (parameter.find('\'') == std::string_view::npos || parameter.find('*') == std::string_view::npos) return true;
  const auto equals = std::min(parameter.find('='), parameter.size() - 1);
  auto value = trim(parameter.substr(equals + 1));
  if (value.find('*') != std::string_view::npos) return false;
  if (value.starts_with('"')) value.remove_prefix(1);
  const auto charset = value.substr(0, value.find('\''));
  return charset.empty() || is_known_charset(charset);
}

/// Walks the lines and keeps the accounts.
class scan {
 public:
  /// `hide`: of a byte that something else must stand for.
  scan(std::string_view raw, std::vector<std::string>& notes, std::function<void(std::size_t)> hide) : raw_(raw), notes_(notes), hide_(std::move(hide)) {}

  /// Returns how much of the message may be parsed.
  std::size_t run() {
    hide_words();
    std::size_t at = 0;
    while (at < raw_.size()) {
      const auto end = std::min(raw_.find('\n', at), raw_.size() - 1) + 1;
      const std::string_view line = raw_.substr(at, end - at);
      if (is_too_much(line)) return at;
      const auto name = field_name(line);
      const bool describes = equal_text(name.substr(0, content_fields.size()), content_fields);
      if (describes || is_costly(name)) {
        const auto field = raw_.substr(at, end_of_field(end) - at);
        if (is_costly(name) && must_hide(field))
          hide_(at);
        else if (describes)
          hide_parameters(field, at);
      }
      at = end;
    }
    return raw_.size();
  }

 private:
  bool is_too_much(std::string_view line) {
    if (line.starts_with("--")) {
      in_header_ = true;
      holds_message_ = false;
      if (++boundaries_ > limits::mime_boundary_lines) {
        add_note(notes_, "the message has too many boundaries; the rest is left out");
        return true;
      }
      return false;
    }
    if (line == "\n" || line == "\r\n") {
      in_header_ = in_header_ && holds_message_;  // an embedded message begins with a header of its own
      holds_message_ = false;
      return false;
    }
    if (!in_header_) return false;
    if (line.size() < 200 && contains_text(line, "message/")) holds_message_ = true;
    if (++header_lines_ > limits::mime_header_lines) {
      add_note(notes_, "the message has too many header lines; the rest is left out");
      return true;
    }
    return false;
  }

  [[nodiscard]] std::size_t end_of_field(std::size_t at) const {
    while (at < raw_.size() && (raw_[at] == ' ' || raw_[at] == '\t')) at = std::min(raw_.find('\n', at), raw_.size() - 1) + 1;
    return at;
  }

  /// "=?charset?", wherever it stands: GMime decodes many fields already for its warnings.
  void hide_words() const {
    constexpr std::size_t longest = 64;   // of the table: far less
    for (auto at = raw_.find("=?"); at != std::string_view::npos; at = raw_.find("=?", at + 1)) {
      const auto name = raw_.substr(at + 2, longest);
      const auto end = name.find_first_of("?*");
      if (end == std::string_view::npos || !is_known_charset(name.substr(0, end))) hide_(at + 1);
    }
  }

  void hide_parameters(std::string_view field, std::size_t at) const {
    // In "=\?charset?" the escape vanishes before GMime looks for words.
    for (auto i = field.find('='); i != std::string_view::npos; i = field.find('=', i + 1)) {
      const auto mark = field.find_first_not_of("\\ \t\r\n", i + 1);
      if (mark != std::string_view::npos && mark != i + 1 && field[mark] == '?') hide_(at + mark);
    }
    if (field.find('\'') == std::string_view::npos || field.find('*') == std::string_view::npos) return;
    const bool plain = is_plain(field);
    for (std::size_t from = 0; from < field.size();) {
      const auto end = plain ? end_of_parameter(field, from) : field.size();
      if (const auto one = field.substr(from, end - from); !plain || !names_only_ours(one))
        for (std::size_t i = 0; i < one.size(); ++i)
          if (one[i] == '\'') hide_(at + from + i);
      from = end + 1;
    }
  }

  /// The semicolon, or the field's end.
  static std::size_t end_of_parameter(std::string_view field, std::size_t from) {
    bool quoted = false;
    for (; from < field.size() && (quoted || field[from] != ';'); ++from) quoted ^= field[from] == '"';
    return from;
  }

  bool must_hide(std::string_view field) {
    const std::uint64_t cost = std::uint64_t{field.size()} * field.size();
    const bool deep = static_cast<std::size_t>(std::count(field.begin(), field.end(), ':')) > limits::mime_field_colons;
    if (!deep && field.size() <= limits::header_field_bytes && cost_ + cost <= cost_at_most) {
      cost_ += cost;
      return false;
    }
    add_note(notes_, "a header field is too large to be read");
    return true;
  }

  std::string_view raw_;
  std::vector<std::string>& notes_;
  std::function<void(std::size_t)> hide_;
  std::size_t boundaries_ = 0, header_lines_ = 0;
  std::uint64_t cost_ = 0;
  bool in_header_ = true, holds_message_ = false;
};

}  // namespace

guarded_message::guarded_message(std::string_view raw, std::vector<std::string>& notes) : raw_(raw) {
  const auto hide = [&](std::size_t at) {
    if (copy_.empty()) copy_.assign(raw);
    copy_[at] = '_';
  };
  raw_ = raw.substr(0, scan(raw, notes, hide).run());
  if (!copy_.empty()) copy_.resize(raw_.size());
}

// In place: the parser's stream reads from there.
void guarded_message::show_hidden() { std::copy_n(raw_.begin(), copy_.size(), copy_.begin()); }

}  // namespace mailherd::mime
