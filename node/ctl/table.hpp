// node/ctl/table: aligned columns for people.
//
// Owns:   the width of UTF-8 text in a terminal, cleaning of text that came from elsewhere, colours.
// Never:  lets a control character through: a mail's subject must not be able to steer the terminal.
// Used by: the commands.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mailherd::ctl {

/// Columns that `text` takes: combining marks none, East Asian wide characters and emoji two. Approximate, by Unicode blocks.
std::size_t display_width(std::string_view text);

/// One line without control characters (C0, DEL, C1) and with U+FFFD for what is not UTF-8.
std::string clean_for_terminal(std::string_view text);

enum class colour { none, good, busy, bad, faint };
std::string paint(std::string_view text, colour c);

struct cell {
  std::string text;
  colour paint = colour::none;
  bool right = false;  ///< numbers
};

class table {
 public:
  explicit table(std::vector<std::string> heads) : heads_(std::move(heads)) {}
  void add(std::vector<cell> row) { rows_.push_back(std::move(row)); }
  /// Lines with "\n"; the last column is not padded.
  [[nodiscard]] std::string print(bool colours) const;

 private:
  std::vector<std::string> heads_;
  std::vector<std::vector<cell>> rows_;
};

}  // namespace mailherd::ctl
