// protocol/imap/scanner: reads the pieces of one response: numbers, atoms, strings, lists (RFC 3501, 9).
//
// Owns:   a position in a response that the fragmenter has put together (literals are in place, behind their "{n}\r\n").
// Never:  recurses on the server's nesting; reads past the end. Every function leaves the position alone when it fails.
// Used by: the engine's replies only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.hpp"

namespace mailherd::imap {

class scanner {
 public:
  explicit scanner(std::string_view text) : rest_(text) {}

  [[nodiscard]] std::string_view rest() const { return rest_; }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] char peek() const { return rest_.empty() ? '\0' : rest_.front(); }

  bool take(char c);
  void skip_spaces();
  std::optional<std::uint64_t> number();
  /// Up to a space, parenthesis, quote or the end. Empty: there is none.
  std::string_view atom();
  /// The name of a FETCH item: an atom whose section may hold anything, "BODY[HEADER.FIELDS (A B)]<0>". Empty: there is none.
  std::string_view item_name();
  /// Quoted string, literal or atom (NIL counts as an atom), unescaped; a view of the response or of `scratch`. nullopt: none of them.
  std::optional<std::string_view> string(std::string& scratch);
  /// Skips one value of any kind, lists included. False: malformed, or nested deeper than limits::imap_nesting.
  bool skip_value();

 private:
  /// "{" or "~{": a literal begins here. A "~" alone begins an atom.
  [[nodiscard]] bool at_literal() const;
  std::optional<std::string_view> literal();
  bool skip_quoted();

  std::string_view rest_;
};

/// "17-Jul-1996 02:44:25 -0700" (day may be padded by a space) as UTC. nullopt: not a date of the years 1970 to 9999.
std::optional<wall_time> parse_internal_date(std::string_view text);

/// "17-Jul-1996": the UTC day of `t` as SEARCH wants it.
std::string format_search_date(wall_time t);

}  // namespace mailherd::imap
