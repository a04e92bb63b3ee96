// protocol/mime/envelope: the header's end, and the envelope. Declared in mime.hpp.
//
// Looks only at the fields it needs and hands GMime only what needs decoding: GMime's whole header parser costs 24 µs for an ordinary
// header.
#include <fmt/format.h>
#include <gmime/gmime.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/mime/addresses.hpp"
#include "protocol/mime/automatic.hpp"
#include "protocol/mime/mime.hpp"
#include "protocol/mime/text.hpp"

namespace mailherd::mime {

namespace {

constexpr std::size_t message_id_bytes = 998;  // RFC 5322, 2.1.1: a line can hold no more

enum class field : std::uint8_t { from, to, cc, subject, date, message_id, in_reply_to, references };
constexpr std::array<std::string_view, 8> names{"From", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References"};

/// The fields of a header, one by one, unfolded. A view into the header, or into `unfolded_` when lines had to be joined.
class field_reader {
 public:
  explicit field_reader(std::string_view header) : rest_(header) {}

  struct item {
    std::string_view name;   ///< empty: a line that is no field
    std::string_view value;  ///< trimmed at its front
    bool cut = false;
  };

  bool next(item& into) {
    std::string_view line;
    if (!take_line(line)) return false;
    if (line.empty()) return false;  // the blank line
    const auto colon = line.find(':');
    std::string_view name = line.substr(0, colon == std::string_view::npos ? 0 : colon);
    while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.remove_suffix(1);  // RFC 5322, 4.5 lets blanks stand there
    const bool is_name = std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7F; });
    into = {is_name ? name : std::string_view{}, line.substr(colon == std::string_view::npos ? 0 : colon + 1), false};
    join_folded(into);
    while (!into.value.empty() && (into.value.front() == ' ' || into.value.front() == '\t')) into.value.remove_prefix(1);
    if (into.value.size() > limits::header_field_bytes) {
      into.value = into.value.substr(0, limits::header_field_bytes);
      into.cut = true;
    }
    return true;
  }

 private:
  bool take_line(std::string_view& line) {
    if (rest_.empty()) return false;
    const auto end = rest_.find('\n');
    line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    return true;
  }

  void join_folded(item& into) {
    if (rest_.empty() || (rest_.front() != ' ' && rest_.front() != '\t')) return;
    unfolded_.assign(into.value);
    std::string_view line;
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t') && take_line(line)) unfolded_ += line;
    into.value = unfolded_;
  }

  std::string_view rest_;
  std::string unfolded_;
};

/// What is within angle brackets is the id (RFC 5322, 3.6.4: they are not part of it). Without any: the words that may be ids.
std::vector<std::string> read_ids(std::string_view value, std::size_t at_most, bool& cut) {
  std::vector<std::string> ids;
  const auto add = [&](std::string_view id) {
    std::string text = utf8_line(id);
    text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
    if (text.empty() || text.size() > message_id_bytes) return;
    if (ids.size() >= at_most)
      cut = true;
    else
      ids.push_back(std::move(text));
  };
  if (value.find('<') != std::string_view::npos) {
    while (!cut) {
      const auto open = value.find('<');
      if (open == std::string_view::npos) break;
      const auto close = value.find('>', open);
      add(value.substr(open + 1, close == std::string_view::npos ? close : close - open - 1));
      value.remove_prefix(close == std::string_view::npos ? value.size() : close + 1);
    }
    return ids;
  }
  constexpr std::string_view separators = " \t\r\n,;";
  while (!value.empty() && !cut) {
    const auto length = std::min(value.find_first_of(separators), value.size());
    const std::string_view word = value.substr(0, length);
    if (word.find('@') != std::string_view::npos || at_most == 1) add(word);
    value.remove_prefix(std::min(length + 1, value.size()));
  }
  return ids;
}

std::optional<wall_time> read_date(std::string_view value) {
  constexpr std::size_t date_bytes = 128;
  constexpr std::int64_t year_10000 = 253'402'300'800;
  std::array<char, date_bytes + 1> terminated{};
  std::copy_n(value.begin(), std::min(value.size(), date_bytes), terminated.begin());
  initialise();
  GDateTime* const date = g_mime_utils_header_decode_date(terminated.data());
  if (date == nullptr) return std::nullopt;
  const std::int64_t unix_seconds = g_date_time_to_unix(date);
  g_date_time_unref(date);
  if (unix_seconds < 0 || unix_seconds >= year_10000) return std::nullopt;
  return wall_time(seconds(unix_seconds));
}

/// Collects the fields into the envelope.
class collector {
 public:
  explicit collector(envelope& out) : out_(out), words_(out.notes) {}

  void take(const field_reader::item& item) {
    if (item.name.empty()) {
      add_note(out_.notes, "the header holds a line that is no field");
      return;
    }
    const auto* const known = std::find_if(names.begin(), names.end(), [&](std::string_view n) { return equal_text(n, item.name); });
    if (known == names.end()) return;
    const auto index = static_cast<std::size_t>(known - names.begin());
    if (item.cut) add_note(out_.notes, fmt::format("{} is too long; its end is left out", *known));
    if (item.value.find('\0') != std::string_view::npos) add_note(out_.notes, fmt::format("{} holds NUL bytes", *known));
    const bool again = seen_[index];
    seen_[index] = true;
    const auto what = static_cast<field>(index);
    const bool repeatable = what == field::to || what == field::cc;
    if (again) add_note(out_.notes, fmt::format("{} occurs more than once{}", *known, repeatable ? "" : "; the first counts"));
    if (!again || repeatable) read(what, item.value);
  }

  void finish() {
    for (const field needed : {field::from, field::date})
      if (!seen_[static_cast<std::size_t>(needed)])
        add_note(out_.notes, fmt::format("{} is missing", names[static_cast<std::size_t>(needed)]));
  }

 private:
  void read(field what, std::string_view value) {
    switch (what) {
      case field::from: return add_addresses(value, "From", words_, out_.from, out_.notes);
      case field::to: return add_addresses(value, "To", words_, out_.to, out_.notes);
      case field::cc: return add_addresses(value, "Cc", words_, out_.cc, out_.notes);
      case field::subject: out_.subject = words_.decode(value); return;
      case field::date:
        out_.date = read_date(value);
        if (!out_.date) add_note(out_.notes, "Date is not a date");
        return;
      case field::message_id: {
        auto ids = read_list(value, 1, "Message-ID");
        if (!ids.empty()) out_.message_id = std::move(ids.front());
        return;
      }
      case field::in_reply_to: out_.in_reply_to = read_list(value, limits::envelope_references, "In-Reply-To"); return;
      case field::references: out_.references = read_list(value, limits::envelope_references, "References"); return;
    }
  }

  std::vector<std::string> read_list(std::string_view value, std::size_t at_most, std::string_view name) {
    bool cut = false;
    auto ids = read_ids(value, at_most, cut);
    if (cut) add_note(out_.notes, fmt::format("{} holds more than {} ids; the rest is left out", name, at_most));
    if (ids.empty()) add_note(out_.notes, fmt::format("{} holds no id", name));
    return ids;
  }

  envelope& out_;
  word_decoder words_;
  std::array<bool, names.size()> seen_{};
};

}  // namespace

std::size_t header_end(std::string_view raw) noexcept {
  std::size_t line = 0;
  while (line < raw.size()) {
    if (raw[line] == '\n') return line + 1;
    if (raw[line] == '\r' && line + 1 < raw.size() && raw[line + 1] == '\n') return line + 2;
    const void* const end = std::memchr(raw.data() + line, '\n', raw.size() - line);
    if (end == nullptr) break;
    line = static_cast<std::size_t>(static_cast<const char*>(end) - raw.data()) + 1;
  }
  return raw.size();
}

envelope parse_envelope(std::string_view raw) {
  envelope out;
  std::string_view header = raw.substr(0, limits::header_parse_bytes);
  const std::size_t end = header_end(header);
  if (end == header.size() && raw.size() > header.size())
    add_note(out.notes, fmt::format("the header is longer than {} bytes; the rest of it is ignored", limits::header_parse_bytes));
  field_reader fields(header.substr(0, end));
  collector collect(out);
  for (field_reader::item item; fields.next(item);) collect.take(item);
  collect.finish();
  auto found = classify(header.substr(0, end));
  out.automatic = std::move(found.kind);
  out.automatic_reason = std::move(found.reason);
  return out;
}

}  // namespace mailherd::mime
