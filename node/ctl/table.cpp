// node/ctl/table: widths and padding; see the header.
#include "node/ctl/table.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "core/server_text.hpp"

namespace mailherd::ctl {

namespace {

// The character at the front of well-formed UTF-8.
char32_t decode(std::string_view s, std::size_t length) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(s[i])); };
  switch (length) {
    case 1: return byte(0);
    case 2: return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    case 3: return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    default: return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }
}

using block = std::pair<char32_t, char32_t>;
constexpr std::array<block, 8> zero_width{
    {{0x300, 0x36F}, {0x483, 0x489}, {0x591, 0x5BD}, {0x610, 0x61A}, {0x64B, 0x65F}, {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}}};
constexpr std::array<block, 8> wide{{{0x1100, 0x115F},
                                     {0x2E80, 0xA4CF},
                                     {0xAC00, 0xD7A3},
                                     {0xF900, 0xFAFF},
                                     {0xFE30, 0xFE6F},
                                     {0xFF00, 0xFF60},
                                     {0x1F300, 0x1FAFF},
                                     {0x20000, 0x3FFFD}}};

template <std::size_t N>
bool within(const std::array<block, N>& blocks, char32_t c) {
  return std::any_of(blocks.begin(), blocks.end(), [c](const block& b) { return c >= b.first && c <= b.second; });
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t columns = 0;
  while (!text.empty()) {
    const auto length = utf8_sequence(text);
    if (length == 0) {
      ++columns;
      text.remove_prefix(1);
      continue;
    }
    const auto c = decode(text, length);
    columns += within(zero_width, c) ? 0 : within(wide, c) ? 2 : 1;
    text.remove_prefix(length);
  }
  return columns;
}

std::string clean_for_terminal(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto length = utf8_sequence(text);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
      continue;
    }
    const auto c = decode(text, length);
    if (c < 0x20 || (c >= 0x7F && c <= 0x9F)) out += ' ';
    // Marks that reorder a line make one text look like another.
    else if (!((c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069)))
      out += text.substr(0, length);
    text.remove_prefix(length);
  }
  return out;
}

std::string paint(std::string_view text, colour c) {
  const char* code = "";
  switch (c) {
    case colour::none: return std::string(text);
    case colour::good: code = "32"; break;
    case colour::busy: code = "33"; break;
    case colour::bad: code = "31"; break;
    case colour::faint: code = "2"; break;
  }
  return "\033[" + std::string(code) + "m" + std::string(text) + "\033[0m";
}

std::string table::print(bool colours) const {
  std::vector<std::size_t> widths;
  for (const auto& h : heads_) widths.push_back(display_width(h));
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], display_width(clean_for_terminal(row[i].text)));

  std::string out;
  const auto line = [&](const std::vector<cell>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const auto text = clean_for_terminal(row[i].text);
      const auto pad = std::string(widths[i] - display_width(text), ' ');
      const auto painted = colours ? paint(text, row[i].paint) : text;
      if (row[i].right)
        out += pad + painted;
      else
        out += painted + (i + 1 < row.size() ? pad : "");
      if (i + 1 < row.size()) out += "  ";
    }
    while (!out.empty() && out.back() == ' ') out.pop_back();
    out += '\n';
  };
  std::vector<cell> head;
  for (std::size_t i = 0; i < heads_.size(); ++i)
    head.push_back({heads_[i], colour::faint, !rows_.empty() && i < rows_[0].size() && rows_[0][i].right});
  line(head);
  for (const auto& row : rows_) line(row);
  return out;
}

}  // namespace mailherd::ctl
