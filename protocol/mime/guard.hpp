// protocol/mime/guard: what GMime's parser must not see.
//
// Owns:   one pass over a message's lines before GMime reads it, against what a sender can do to that parser: "To: a:a:a:..." makes it
//         recurse until the stack ends, long address or parameter lists cost the square of their length, each empty part or header line costs
//         hundreds of bytes of memory, and each name of a character set is remembered as long as the process lives, so that only those of our
//         table may reach it (text.hpp), in encoded words (RFC 2047) and in parameters (RFC 2231). Private to the room.
// Never:  changes a byte of what is given back to anybody: what is hidden is put back before contents are read.
#pragma once

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

  /// As they came, up to where the rest was cut.
  [[nodiscard]] std::string_view raw() const { return raw_; }
  /// For the parser.
  [[nodiscard]] std::string_view bytes() const { return copy_.empty() ? raw_ : std::string_view(copy_); }

  /// The structure is parsed: from here on contents are read as they came.
  void show_hidden();

 private:
  std::string_view raw_;
  std::string copy_;   ///< unless there was nothing to hide
};

}  // namespace mailherd::mime
