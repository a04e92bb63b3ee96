// protocol/mime/guard: see the header.
#include "protocol/mime/guard.hpp"

#include <algorithm>
#include <array>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/mime/text.hpp"

namespace mailherd::mime {

namespace {

/// Fields that GMime takes apart while it parses.
constexpr std::array<std::string_view, 8> costly{"from", "to", "cc", "bcc", "sender", "reply-to", "content-type", "content-disposition"};

/// Sum of the squares of the lengths of costly fields: about one second of CPU at worst.
constexpr std::uint64_t cost_at_most = 4ULL * limits::header_field_bytes * limits::header_field_bytes;

bool is_costly(std::string_view line) {
  const auto colon = line.substr(0, 64).find(':');
  if (colon == std::string_view::npos) return false;
  std::string_view name = line.substr(0, colon);
  while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.remove_suffix(1);
  return std::any_of(costly.begin(), costly.end(), [&](std::string_view c) { return equal_text(c, name); });
}

/// Walks the lines and keeps the accounts.
class scan {
 public:
  scan(std::string_view raw, std::vector<std::string>& notes) : raw_(raw), notes_(notes) {}

  /// Returns how much of the message may be parsed; fills `hidden`.
  std::size_t run(std::vector<std::size_t>& hidden) {
    std::size_t at = 0;
    while (at < raw_.size()) {
      const auto end = std::min(raw_.find('\n', at), raw_.size() - 1) + 1;
      const std::string_view line = raw_.substr(at, end - at);
      if (is_too_much(line)) return at;
      if (is_costly(line)) {
        const std::size_t field_end = end_of_field(end);
        if (must_hide(raw_.substr(at, field_end - at))) hidden.push_back(at);
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
  std::size_t boundaries_ = 0, header_lines_ = 0;
  std::uint64_t cost_ = 0;
  bool in_header_ = true, holds_message_ = false;
};

}  // namespace

guarded_message::guarded_message(std::string_view raw, std::vector<std::string>& notes) : raw_(raw) {
  raw_ = raw.substr(0, scan(raw, notes).run(hidden_));
  if (hidden_.empty()) return;
  copy_.assign(raw_);
  for (const auto at : hidden_) copy_[at] = 'X';
}

void guarded_message::show_hidden() {
  for (const auto at : hidden_) copy_[at] = raw_[at];
}

}  // namespace mailherd::mime
