// protocol/mime/guard: what GMime's parser must not see.
//
// Owns:   one pass over a message's lines before GMime reads it, against what a sender can do to that parser: "To: a:a:a:..." makes it
// recurse
//         until the stack ends, long address or parameter lists cost the square of their length, and each empty part or header line costs
//         hundreds of bytes of memory. Private to the room.
// Never:  changes a byte of what is given back to anybody: a field is hidden while GMime parses and put back before contents are read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mailherd::mime {

class guarded_message {
 public:
  /// `raw` must outlive this. What was hidden or cut is noted.
  guarded_message(std::string_view raw, std::vector<std::string>& notes);
  guarded_message(const guarded_message&) = delete;
  guarded_message& operator=(const guarded_message&) = delete;

  [[nodiscard]] std::string_view bytes() const { return copy_.empty() ? raw_ : std::string_view(copy_); }

  /// The structure is parsed: from here on contents are read as they came.
  void show_hidden();

 private:
  std::string_view raw_;
  std::string copy_;                 ///< only when something had to be hidden
  std::vector<std::size_t> hidden_;  ///< places of the first letters of hidden fields
};

}  // namespace mailherd::mime
