// api/rules: forms of single values; see the header.
#include "api/rules.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <array>

namespace mailherd::api::rules {

namespace {

std::size_t characters(const std::string& s) {
  std::size_t n = 0;
  for (const char c : s) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

bool has_control(const std::string& s) {
  for (const char c : s)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return true;
  return false;
}

std::optional<std::string> plain_text(const std::string& s, std::size_t most, const char* unit) {
  const auto n = unit == std::string_view("characters") ? characters(s) : s.size();
  if (s.empty() || n > most) return fmt::format("must have 1 to {} {}", most, unit);
  if (has_control(s)) return "must not contain control characters";
  return std::nullopt;
}

bool is_ip(const std::string& s) {
  std::array<unsigned char, 16> unused{};
  return inet_pton(AF_INET, s.c_str(), unused.data()) == 1 || inet_pton(AF_INET6, s.c_str(), unused.data()) == 1;
}

bool alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

bool is_dns_name(std::string_view s) {
  if (s.size() > 253) return false;
  bool letter = false;  // "1.2.3" and "999.1.1.1" are mistyped addresses, not names
  while (true) {
    const auto label = s.substr(0, s.find('.'));
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    letter = false;
    for (const char c : label) {
      if (!alnum(c) && c != '-' && c != '_') return false;
      letter |= !(c >= '0' && c <= '9');
    }
    if (label.size() == s.size()) return letter;
    s.remove_prefix(label.size() + 1);
  }
}

bool is_loopback(const std::string& h) { return h == "localhost" || h.starts_with("127.") || h == "::1" || h.ends_with(".localhost"); }

template <class Int>
bool digits(std::string_view& s, std::size_t n, Int& out) {
  if (s.size() < n) return false;
  out = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (s[i] < '0' || s[i] > '9') return false;
    out = out * 10 + (s[i] - '0');
  }
  s.remove_prefix(n);
  return true;
}

bool symbol(std::string_view& s, std::string_view any_of) {
  if (s.empty() || any_of.find(s.front()) == std::string_view::npos) return false;
  s.remove_prefix(1);
  return true;
}

}  // namespace

std::optional<std::string> display_name(const std::string& s) {
  if (s.find_first_not_of(' ') == std::string::npos) return "must have 1 to 200 characters, not only blanks";
  return plain_text(s, 200, "characters");
}

std::optional<std::string> mail_address(const std::string& s) {
  if (auto bad = plain_text(s, 320, "bytes")) return bad;
  const auto at = s.rfind('@');
  if (at == std::string::npos || at == 0 || at + 1 == s.size() || s.find_first_of(" <>,;\"") != std::string::npos || s.find('@') != at)
    return "must be one mail address like support@acme.test";
  return std::nullopt;
}

std::optional<std::string> host(const std::string& s) {
  if (auto bad = plain_text(s, 253, "bytes")) return bad;
  if (s.find("://") != std::string::npos || s.find('/') != std::string::npos) return "must be a host name only, without scheme or path";
  if (s.front() == '[') return "must be written without brackets";
  if (is_ip(s)) return std::nullopt;
  if (s.find(':') != std::string::npos) return "must be a host name only; the port is a field of its own";
  for (const char c : s)
    if (static_cast<unsigned char>(c) >= 0x80) return "must be written in its ASCII form (xn--...)";
  if (!is_dns_name(s)) return "must be a DNS name or an IP address";
  return std::nullopt;
}

std::optional<std::string> folder(const std::string& s) { return plain_text(s, 500, "bytes"); }
std::optional<std::string> user_name(const std::string& s) { return plain_text(s, 320, "bytes"); }
std::optional<std::string> short_text(const std::string& s) { return plain_text(s, 500, "bytes"); }

std::optional<std::string> password(const std::string& s) {
  if (s.empty() || s.size() > 1024) return "must have 1 to 1024 bytes";
  if (s.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) return "must not contain line breaks or NUL";
  return std::nullopt;
}

std::optional<std::string> token(const std::string& s) {
  if (s.empty() || s.size() > 16 * 1024) return "must have 1 to 16384 bytes";
  for (const char c : s)
    if (c <= 0x20 || c == 0x7F) return "must be printable ASCII without blanks";
  return std::nullopt;
}

std::optional<std::string> scope(const std::string& s) {
  if (s.empty() || s.size() > 500) return "must have 1 to 500 bytes";
  for (const char c : s)
    if (c <= 0x20 || c >= 0x7F || c == '"' || c == '\\') return "must be one scope: printable ASCII without blanks, quotes and backslashes";
  return std::nullopt;
}

std::optional<std::string> pem(const std::string& s) {
  if (s.empty() || s.size() > 64 * 1024) return "must have 1 to 65536 bytes";
  if (!s.starts_with("-----BEGIN ")) return "must be PEM, beginning with -----BEGIN";
  if (s.find('\0') != std::string::npos) return "must not contain NUL";
  return std::nullopt;
}

text_rule url(bool allow_plaintext) {
  return [allow_plaintext](const std::string& s) -> std::optional<std::string> {
    if (s.empty() || s.size() > 2000) return "must have 1 to 2000 bytes";
    for (const char c : s)
      if (c <= 0x20 || c >= 0x7F || c == '"' || c == '<' || c == '>' || c == '\\') return "must be a URL in ASCII, without blanks";
    const bool plain = s.starts_with("http://");
    if (!plain && !s.starts_with("https://")) return "must begin with https://";
    const auto rest = s.substr(plain ? 7 : 8);
    auto authority = rest.substr(0, rest.find_first_of("/?#"));
    if (authority.find('@') != std::string::npos) return "must not contain a user name";
    if (s.find('#') != std::string::npos) return "must not contain a fragment (#)";
    const auto bracket = authority.find(']');
    const auto colon = authority.find(':', bracket == std::string::npos ? 0 : bracket);
    if (colon != std::string::npos) {
      const auto port = authority.substr(colon + 1);
      if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos || std::stoi(port) < 1 ||
          std::stoi(port) > 65535)
        return "must have a port from 1 to 65535, or none";
      authority.resize(colon);
    }
    if (authority.size() > 2 && authority.front() == '[' && authority.back() == ']') authority = authority.substr(1, authority.size() - 2);
    if (auto bad = host(authority)) return "its host " + *bad;
    if (plain && !allow_plaintext && !is_loopback(authority)) return "must begin with https:// (http:// only where the operator allows it)";
    return std::nullopt;
  };
}

std::optional<wall_time> parse_time(std::string_view s) {
  using namespace std::chrono;
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, sec = 0;
  if (!digits(s, 4, y) || !symbol(s, "-") || !digits(s, 2, mo) || !symbol(s, "-") || !digits(s, 2, d)) return std::nullopt;
  if (!symbol(s, "Tt ") || !digits(s, 2, h) || !symbol(s, ":") || !digits(s, 2, mi) || !symbol(s, ":") || !digits(s, 2, sec))
    return std::nullopt;
  std::int64_t micros = 0;
  if (symbol(s, ".")) {
    std::size_t n = 0;
    for (; !s.empty() && s.front() >= '0' && s.front() <= '9'; s.remove_prefix(1), ++n)
      if (n < 6) micros = micros * 10 + (s.front() - '0');
    if (n == 0) return std::nullopt;
    for (; n < 6; ++n) micros *= 10;
  }
  const year_month_day date{year{y}, month{static_cast<unsigned>(mo)}, day{static_cast<unsigned>(d)}};
  if (!date.ok() || y < 1970 || h > 23 || mi > 59 || sec > 60) return std::nullopt;
  minutes offset{0};
  if (!symbol(s, "Zz")) {
    if (s.empty()) return std::nullopt;
    const bool minus = s.front() == '-';
    int oh = 0, om = 0;
    if (!symbol(s, "+-") || !digits(s, 2, oh) || !symbol(s, ":") || !digits(s, 2, om) || oh > 23 || om > 59) return std::nullopt;
    offset = (minus ? -1 : 1) * minutes(oh * 60 + om);
  }
  if (!s.empty()) return std::nullopt;
  const wall_time t = sys_days(date) + hours(h) + minutes(mi) + seconds(sec) + microseconds(micros) - offset;
  if (t < wall_time{}) return std::nullopt;
  return t;
}

std::string format_time(wall_time t) {
  using namespace std::chrono;
  const auto day = floor<days>(t);
  const year_month_day date{day};
  const auto in_day = t - day;
  const auto s = duration_cast<seconds>(in_day).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()), s / 3600, s / 60 % 60, s % 60, (in_day % seconds(1)).count());
}

}  // namespace mailherd::api::rules
