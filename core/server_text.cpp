// core/server_text: see the header.
#include "core/server_text.hpp"

#include <algorithm>
#include <cstdint>

#include "core/limits.hpp"

namespace mailherd {

namespace {

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// C1 controls, line separators and the bidirectional overrides that would let a server rewrite the line it is shown in.
bool is_invisible(std::string_view sequence) noexcept {
  if (sequence.size() == 2 && sequence[0] == '\xC2') return static_cast<unsigned char>(sequence[1]) < 0xA0;
  if (sequence.size() != 3 || sequence[0] != '\xE2') return false;
  const auto second = static_cast<unsigned char>(sequence[1]), third = static_cast<unsigned char>(sequence[2]);
  return (second == 0x80 && ((third >= 0x8B && third <= 0x8F) || (third >= 0xA8 && third <= 0xAE))) ||
         (second == 0x81 && third >= 0xA0 && third <= 0xAF);
}

}  // namespace

std::size_t utf8_sequence(std::string_view s) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  std::size_t length = 0;
  unsigned char low = 0x80, high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;   // overlong
    if (first == 0xED) high = 0x9F;  // surrogates
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;  // past U+10FFFF
  }
  if (length == 0 || s.size() < length || byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  return length;
}

std::string clean_server_text(std::string_view text) {
  constexpr std::string_view dots = "...";
  std::string out;
  out.reserve(std::min(text.size(), limits::server_text_bytes));
  std::size_t cut = 0;  // longest prefix of `out` that leaves room for the dots
  bool blank = false;
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text.front());
    const std::size_t length = utf8_sequence(text);
    const std::string_view sequence = text.substr(0, std::max<std::size_t>(length, 1));
    text.remove_prefix(sequence.size());
    if (c <= 0x20 || c == 0x7F || (length > 1 && is_invisible(sequence))) {
      blank = !out.empty();
      continue;
    }
    const std::string_view piece = length == 0 ? std::string_view("?") : sequence;
    if (out.size() + (blank ? 1 : 0) + piece.size() > limits::server_text_bytes) {
      out.resize(cut);
      out += dots;
      return out;
    }
    if (blank) out += ' ';
    blank = false;
    out += piece;
    if (out.size() + dots.size() <= limits::server_text_bytes) cut = out.size();
  }
  return out;
}

bool contains_text(std::string_view haystack, std::string_view needle) noexcept {
  return std::search(haystack.begin(), haystack.end(), needle.begin(), needle.end(),
                     [](char a, char b) { return lower(a) == lower(b); }) != haystack.end() ||
         needle.empty();
}

bool equal_text(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<milliseconds> throttle_backoff(std::string_view text) noexcept {
  constexpr std::string_view key = "backoff time:";
  constexpr std::int64_t cap = 24LL * 3600 * 1000;
  const auto found = std::search(text.begin(), text.end(), key.begin(), key.end(), [](char a, char b) { return lower(a) == b; });
  if (found == text.end()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(found - text.begin()) + key.size());
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  std::int64_t number = 0;
  std::size_t digits = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits)
    number = std::min(cap, number * 10 + (text[digits] - '0'));
  if (digits == 0) return std::nullopt;
  text.remove_prefix(digits);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  // Exchange says milliseconds; a number without a unit is read as that.
  const auto begins = [&](std::string_view unit) { return text.size() >= unit.size() && equal_text(text.substr(0, unit.size()), unit); };
  if (begins("sec")) number *= 1000;
  if (begins("min")) number *= 60'000;
  return milliseconds(std::min(cap, number));
}

}  // namespace mailherd
