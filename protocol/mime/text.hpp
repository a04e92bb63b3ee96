// protocol/mime/text: bytes of unknown character into UTF-8 that anything may show or store.
//
// Owns:   GMime's initialisation, character sets, encoded words (RFC 2047). Private to the room.
// Never:  gives a sender's name of a character set to a library: only those of the table are converted, and guard keeps the others from GMime.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mailherd::mime {

/// GMime needs one initialisation in the process; safe from any thread.
void initialise();

/// Valid UTF-8 without NUL: what is neither becomes U+FFFD.
std::string utf8_text(std::string_view bytes);

/// The same as one line: controls and runs of blanks become one blank, the ends are trimmed.
std::string utf8_line(std::string_view bytes);

bool is_ascii(std::string_view bytes) noexcept;

/// A character set that text_in_charset converts (ASCII and UTF-8 among them).
bool is_known_charset(std::string_view name);

/// Text in `charset` (as a message names it; may be empty or nonsense) as UTF-8. What was wrong is added to `notes`.
std::string text_in_charset(std::string_view bytes, std::string_view charset, std::vector<std::string>& notes);

/// Adds a note unless it is there already.
void add_note(std::vector<std::string>& notes, std::string note);

/// Encoded words of one envelope: they share a budget.
class word_decoder {
 public:
  explicit word_decoder(std::vector<std::string>& notes) : notes_(notes) {}
  /// Header text, unfolded, as one line of UTF-8.
  std::string decode(std::string_view text);

 private:
  std::vector<std::string>& notes_;
  std::size_t words_ = 0;
};

}  // namespace mailherd::mime
