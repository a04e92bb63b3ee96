// tests/peers/imap_fake_text: reading of IMAP arguments and writing of FETCH items, without any state.
//
// Owns:   sequence sets, argument lists, BODY sections. Used by imap_fake only.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailherd::peers {

struct fake_message;

/// "1,5:7,9:*" with * = `largest`.
class number_set {
 public:
  number_set(std::string_view text, std::uint32_t largest);
  [[nodiscard]] bool contains(std::uint32_t number) const;

 private:
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ranges_;
};

/// Takes the next argument off `rest`: an atom, a quoted string (unquoted), or a parenthesised list (with its parentheses).
/// Brackets keep "BODY[HEADER.FIELDS (A B)]<0.5>" together.
std::string next_argument(std::string_view& rest);
/// All arguments of a list or of a plain sequence.
std::vector<std::string> arguments(std::string_view text);

std::string internal_date(std::chrono::system_clock::time_point when);
/// "1-Feb-2026" → days since 1970; -1 if it is not a date.
long days_of(std::string_view date);

/// One FETCH data item of a message as text ("UID 5", "BODY[] {3}\r\nabc"); empty if the item is unknown.
std::string fetch_item(const std::string& item, const fake_message& message);

}  // namespace mailherd::peers
