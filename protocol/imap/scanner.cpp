// protocol/imap/scanner: see the header.
#include "protocol/imap/scanner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::imap {

namespace {
constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
}

bool scanner::take(char c) {
  if (rest_.empty() || rest_.front() != c) return false;
  rest_.remove_prefix(1);
  return true;
}

void scanner::skip_spaces() {
  while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
}

std::optional<std::uint64_t> scanner::number() {
  std::uint64_t n = 0;
  const auto [end, ec] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), n);
  if (ec != std::errc{}) return std::nullopt;
  rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
  return n;
}

std::string_view scanner::atom() {
  const auto w = rest_.substr(0, std::min(rest_.find_first_of(" ()\""), rest_.size()));
  rest_.remove_prefix(w.size());
  return w;
}

std::string_view scanner::item_name() {
  auto end = std::min(rest_.find_first_of(" ()\"["), rest_.size());
  if (end < rest_.size() && rest_[end] == '[') {
    end = std::min(rest_.find(']', end), rest_.size());
    end = std::min(rest_.find_first_of(" ()\"", end), rest_.size());
  }
  const auto w = rest_.substr(0, end);
  rest_.remove_prefix(end);
  return w;
}

bool scanner::at_literal() const { return rest_.substr(0, 1) == "{" || rest_.substr(0, 2) == "~{"; }

std::optional<std::string_view> scanner::literal() {
  std::string_view s = rest_;
  if (!s.empty() && s.front() == '~') s.remove_prefix(1);
  if (s.empty() || s.front() != '{') return std::nullopt;
  s.remove_prefix(1);
  std::uint64_t n = 0;
  const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (ec != std::errc{}) return std::nullopt;
  s.remove_prefix(static_cast<std::size_t>(end - s.data()));
  if (!s.empty() && s.front() == '+') s.remove_prefix(1);
  if (s.substr(0, 3) != "}\r\n") return std::nullopt;
  s.remove_prefix(3);
  if (n > s.size()) return std::nullopt;
  const auto value = s.substr(0, static_cast<std::size_t>(n));
  rest_ = s.substr(static_cast<std::size_t>(n));
  return value;
}

std::optional<std::string_view> scanner::string(std::string& scratch) {
  if (rest_.empty()) return std::nullopt;
  if (at_literal()) return literal();
  if (rest_.front() != '"') {
    const auto w = atom();
    return w.empty() ? std::nullopt : std::optional(w);
  }
  const auto quoted = rest_;
  if (!skip_quoted()) return std::nullopt;
  const auto inside = quoted.substr(1, quoted.size() - rest_.size() - 2);
  if (inside.find('\\') == std::string_view::npos) return inside;
  scratch.clear();
  for (std::size_t i = 0; i < inside.size(); ++i) {
    if (inside[i] == '\\') ++i;  // skip_quoted saw to it that something follows
    scratch += inside[i];
  }
  return scratch;
}

bool scanner::skip_quoted() {
  for (std::size_t i = 1; i < rest_.size(); ++i) {
    if (rest_[i] == '\\') {
      ++i;
    } else if (rest_[i] == '"') {
      rest_.remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

bool scanner::skip_value() {
  const auto before = rest_;
  std::size_t depth = 0;
  do {
    skip_spaces();
    bool good = !rest_.empty();
    if (peek() == '(') {
      rest_.remove_prefix(1);
      good = ++depth <= limits::imap_nesting;
    } else if (peek() == ')') {
      good = good && depth > 0;
      rest_.remove_prefix(1);
      --depth;
    } else if (peek() == '"') {
      good = skip_quoted();
    } else if (good) {
      good = at_literal() ? literal().has_value() : !atom().empty();
    }
    if (!good) {
      rest_ = before;
      return false;
    }
  } while (depth > 0);
  return true;
}

std::optional<wall_time> parse_internal_date(std::string_view text) {
  // dd-Mon-yyyy hh:mm:ss +zzzz
  if (text.size() == 25 && text[1] == '-') {
    return parse_internal_date(fmt::format(" {}", text));
  }
  if (text.size() != 26 || text[2] != '-' || text[6] != '-' || text[11] != ' ' || text[14] != ':' || text[17] != ':' || text[20] != ' ')
    return std::nullopt;
  const auto two = [&](std::size_t at) {
    const char a = text[at] == ' ' ? '0' : text[at], b = text[at + 1];
    return a < '0' || a > '9' || b < '0' || b > '9' ? -1 : (a - '0') * 10 + (b - '0');
  };
  int month = 0;
  for (std::size_t i = 0; i < months.size(); ++i)
    if (equal_text(text.substr(3, 3), months[i])) month = static_cast<int>(i) + 1;
  const int day = two(0), year_high = two(7), year_low = two(9), hour = two(12), minute = two(15), second = two(18), zone_h = two(22),
            zone_m = two(24);
  if (month == 0 || day < 1 || year_high < 0 || year_low < 0 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
      second > 60 || zone_h < 0 || zone_h > 15 || zone_m < 0 || zone_m > 59 || (text[21] != '+' && text[21] != '-'))
    return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year{year_high * 100 + year_low}, std::chrono::month{static_cast<unsigned>(month)},
                                         std::chrono::day{static_cast<unsigned>(day)}};
  if (!date.ok() || date.year() < std::chrono::year{1970}) return std::nullopt;
  auto t = std::chrono::sys_days{date} + std::chrono::hours{hour} + std::chrono::minutes{minute} + seconds{second};
  const auto zone = std::chrono::hours{zone_h} + std::chrono::minutes{zone_m};
  t += text[21] == '+' ? -std::chrono::duration_cast<seconds>(zone) : std::chrono::duration_cast<seconds>(zone);
  return wall_time{std::chrono::duration_cast<wall_time::duration>(t.time_since_epoch())};
}

std::string format_search_date(wall_time t) {
  const std::chrono::year_month_day d{std::chrono::floor<std::chrono::days>(t)};
  return fmt::format("{}-{}-{:04}", static_cast<unsigned>(d.day()), months[static_cast<unsigned>(d.month()) - 1],
                     static_cast<int>(d.year()));
}

}  // namespace mailherd::imap
