// protocol/imap/uid_set: sets of UIDs as IMAP writes them ("1:5,9,12:*"; RFC 3501, 9: sequence-set).
//
// Owns:   a sorted list of ranges. Never: a range that a hostile server made large costs memory by its width.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.hpp"

namespace mailherd::imap {

class uid_set {
 public:
  struct range {
    std::uint32_t first = 0, last = 0;
    friend bool operator==(const range&, const range&) = default;
  };

  uid_set() = default;
  /// From `first` to `last`; last 0 means "*". Empty if `first` is 0 (what follows the last UID there can be).
  static uid_set span(mailherd::uid first, mailherd::uid last);
  /// Ranges as sent by a server; "*" is not allowed there. nullopt: not a set, or more than `most` ranges.
  static std::optional<uid_set> parse(std::string_view text, std::size_t most = 100'000);
  /// From ranges in any order, each with 0 < first <= last.
  static uid_set of(std::vector<range> ranges);

  /// Adds one UID; cheapest in ascending order. 0 is no UID and is not added. REQUIRED: the set was not made by span(..., 0).
  void add(mailherd::uid u);
  [[nodiscard]] bool contains(mailherd::uid u) const;
  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  /// How many UIDs. REQUIRED: the set was not made by span(..., 0).
  [[nodiscard]] std::uint64_t size() const;
  [[nodiscard]] const std::vector<range>& ranges() const { return ranges_; }
  [[nodiscard]] std::string to_string() const;

 private:
  std::vector<range> ranges_;   ///< ascending, not adjacent; last == 0 means "*"
};

}  // namespace mailherd::imap
