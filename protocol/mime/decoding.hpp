// protocol/mime/decoding: GMime's objects as owned values, and the decoding of one part's content.
//
// Owns:   references to GMime objects; transfer decoding (base64, quoted-printable, uuencode) with a bound on what is kept.
// Private to the room.
#pragma once

#include <gmime/gmime.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace mailherd::mime {

struct unref {
  template <class T>
  void operator()(T* object) const noexcept {
    g_object_unref(object);
  }
};
template <class T>
using object = std::unique_ptr<T, unref>;

/// A getter's text; GMime's getters may return NULL.
inline std::string_view view(const char* text) noexcept { return text == nullptr ? std::string_view{} : std::string_view(text); }

/// A stream over bytes that somebody else owns and that outlive it; nothing is copied.
class borrowed_stream {
 public:
  explicit borrowed_stream(std::string_view bytes);
  ~borrowed_stream();
  borrowed_stream(const borrowed_stream&) = delete;
  borrowed_stream& operator=(const borrowed_stream&) = delete;
  [[nodiscard]] GMimeStream* get() const { return stream_.get(); }

 private:
  GByteArray* array_;
  object<GMimeStream> stream_;
};

struct decoded {
  std::string bytes;        ///< at most what was asked for
  std::uint64_t size = 0;   ///< of the whole
  bool is_damaged = false;  ///< bytes that the encoding does not allow
};

/// The content of a leaf, transfer encoding undone. `keep` bounds what is returned, not what is counted.
decoded decode_part(GMimePart* part, std::size_t keep);

/// The bytes of an embedded message as GMime writes them: what it was not shown is missing, line ends between parts may be others.
decoded decode_message(GMimeMessagePart* part, std::size_t keep);

}  // namespace mailherd::mime
