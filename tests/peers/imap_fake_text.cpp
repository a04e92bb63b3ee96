// tests/peers/imap_fake_text: implementation.
#include "tests/peers/imap_fake_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include <fmt/format.h>

#include "tests/peers/fake_accounts.hpp"
#include "tests/peers/imap_fake.hpp"

namespace mailherd::peers {

namespace {

constexpr std::array months = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};

std::uint32_t number(std::string_view text, std::uint32_t star) {
  if (text == "*") return star;
  std::uint32_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// Header of a message with its empty line, and the rest.
std::pair<std::string_view, std::string_view> split(std::string_view raw) {
  const auto end = raw.find("\r\n\r\n");
  if (end == std::string_view::npos) return {raw, {}};
  return {raw.substr(0, end + 4), raw.substr(end + 4)};
}

std::string chosen_fields(std::string_view header, const std::vector<std::string>& wanted, bool except) {
  std::string out;
  bool taken = false;
  while (!header.empty() && header != "\r\n") {
    const auto end = std::min(header.find("\r\n"), header.size() - std::min<std::size_t>(2, header.size())) + 2;
    const std::string_view line = header.substr(0, end);
    const bool folded = line[0] == ' ' || line[0] == '\t';
    if (!folded) {
      const std::string name = upper(line.substr(0, line.find(':')));
      taken = (std::find(wanted.begin(), wanted.end(), name) != wanted.end()) != except;
    }
    if (taken) out += line;
    header.remove_prefix(std::min(end, header.size()));
  }
  return out + "\r\n";
}

std::string section_text(const std::string& section, const std::string& raw) {
  if (section.empty()) return raw;
  const auto [header, text] = split(raw);
  if (section == "HEADER") return std::string(header);
  if (section == "TEXT") return std::string(text);
  if (section.compare(0, 13, "HEADER.FIELDS") == 0) {
    const auto list = section.find('(');
    return chosen_fields(header, arguments(std::string_view(section).substr(list)), section.compare(13, 4, ".NOT") == 0);
  }
  return raw;
}

std::string body_item(const std::string& item, const fake_message& message) {
  const auto open = item.find('['), close = item.rfind(']');
  if (open == std::string::npos || close == std::string::npos) return {};
  const std::string section = item.substr(open + 1, close - open - 1);
  std::string data = section_text(section, message.raw);
  std::string origin;
  if (close + 1 < item.size() && item[close + 1] == '<') {
    const auto dot = item.find('.', close);
    const std::size_t from = std::stoul(item.substr(close + 2));
    const std::size_t count = dot == std::string::npos ? data.size() : std::stoul(item.substr(dot + 1));
    origin = fmt::format("<{}>", from);
    data = from >= data.size() ? std::string() : data.substr(from, count);
  }
  return fmt::format("BODY[{}]{} {{{}}}\r\n{}", section, origin, data.size(), data);
}

}  // namespace

number_set::number_set(std::string_view text, std::uint32_t largest) {
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    const auto colon = part.find(':');
    const std::uint32_t first = number(part.substr(0, colon), largest);
    const std::uint32_t last = colon == std::string_view::npos ? first : number(part.substr(colon + 1), largest);
    ranges_.emplace_back(std::min(first, last), std::max(first, last));
    text.remove_prefix(std::min(text.size(), comma + 1));
  }
}

bool number_set::contains(std::uint32_t value) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const auto& range) { return value >= range.first && value <= range.second; });
}

std::string next_argument(std::string_view& rest) {
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  std::string out;
  if (!rest.empty() && rest.front() == '"') {
    std::size_t at = 1;
    for (; at < rest.size() && rest[at] != '"'; ++at) {
      if (rest[at] == '\\' && at + 1 < rest.size()) ++at;
      out += rest[at];
    }
    rest.remove_prefix(std::min(rest.size(), at + 1));
    return out;
  }
  int depth = 0;
  std::size_t at = 0;
  for (; at < rest.size(); ++at) {
    const char c = rest[at];
    if (depth == 0 && c == ' ') break;
    if (c == '(' || c == '[') ++depth;
    if (c == ')' || c == ']') --depth;
  }
  out = rest.substr(0, at);
  rest.remove_prefix(at);
  return out;
}

std::vector<std::string> arguments(std::string_view text) {
  if (text.size() >= 2 && text.front() == '(' && text.back() == ')') text = text.substr(1, text.size() - 2);
  std::vector<std::string> out;
  for (;;) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    if (text.empty()) return out;
    out.push_back(next_argument(text));
  }
}

std::string internal_date(std::chrono::system_clock::time_point when) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(when);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::string month = months[static_cast<std::size_t>(parts.tm_mon)];
  month[1] = static_cast<char>(month[1] + 32);
  month[2] = static_cast<char>(month[2] + 32);
  return fmt::format("{:2}-{}-{} {:02}:{:02}:{:02} +0000", parts.tm_mday, month, parts.tm_year + 1900, parts.tm_hour, parts.tm_min,
                     parts.tm_sec);
}

long days_of(std::string_view date) {
  const auto first = date.find('-'), second = date.find('-', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return -1;
  const std::string name = upper(date.substr(first + 1, second - first - 1));
  const auto month = std::find(months.begin(), months.end(), name);
  if (month == months.end()) return -1;
  std::tm parts{};
  parts.tm_mday = static_cast<int>(number(date.substr(0, first), 0));
  parts.tm_mon = static_cast<int>(month - months.begin());
  parts.tm_year = static_cast<int>(number(date.substr(second + 1), 0)) - 1900;
  return timegm(&parts) / 86400;
}

std::string fetch_item(const std::string& item, const fake_message& message) {
  if (item == "UID") return fmt::format("UID {}", message.uid);
  if (item == "FLAGS") return fmt::format("FLAGS ({})", fmt::join(message.flags, " "));
  if (item == "INTERNALDATE") return fmt::format("INTERNALDATE \"{}\"", internal_date(message.internal_date));
  if (item == "RFC822.SIZE")
    return fmt::format("RFC822.SIZE {}", message.claimed_size.value_or(static_cast<std::uint32_t>(message.raw.size())));
  if (item == "MODSEQ") return fmt::format("MODSEQ ({})", message.modseq);
  if (item.compare(0, 5, "BODY[") == 0 || item.compare(0, 10, "BODY.PEEK[") == 0) return body_item(item, message);
  if (item == "RFC822") return fmt::format("RFC822 {{{}}}\r\n{}", message.raw.size(), message.raw);
  return {};
}

}  // namespace mailherd::peers
