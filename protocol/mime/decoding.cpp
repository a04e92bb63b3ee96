// protocol/mime/decoding: see the header.
#include "protocol/mime/decoding.hpp"

#include <algorithm>
#include <array>

namespace mailherd::mime {

namespace {

constexpr std::size_t step_bytes = 16 * 1024;

/// Reads a stream to its end.
template <class Take>
void read_all(GMimeStream* stream, Take&& take) {
  std::array<char, step_bytes> buffer;
  for (;;) {
    const auto got = g_mime_stream_read(stream, buffer.data(), buffer.size());
    if (got <= 0) return;
    take(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
  }
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f'); }

/// Looks for what the decoders pass over in silence.
class damage_check {
 public:
  explicit damage_check(GMimeContentEncoding encoding) : encoding_(encoding) {}

  void look(std::string_view bytes) {
    for (const char c : bytes) {
      if (encoding_ == GMIME_CONTENT_ENCODING_BASE64)
        look_base64(c);
      else
        look_quoted(c);
    }
  }
  [[nodiscard]] bool is_damaged() const {
    return damaged_ || (encoding_ == GMIME_CONTENT_ENCODING_BASE64 && letters_ % 4 == 1);
  }

 private:
  void look_base64(char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
    if (letter) ++letters_;
    damaged_ |= !letter && c != '=' && c != '\r' && c != '\n' && c != ' ' && c != '\t';
  }

  /// After "=": two hexadecimal digits, or the end of the line.
  void look_quoted(char c) {
    if (escape_ == 0) {
      escape_ = c == '=' ? 1 : 0;
    } else if (is_hex(c)) {
      escape_ = escape_ == 1 ? 2 : 0;
    } else {
      damaged_ |= escape_ == 2 || (c != '\r' && c != '\n' && c != ' ' && c != '\t');
      escape_ = 0;
    }
  }

  GMimeContentEncoding encoding_;
  bool damaged_ = false;
  int escape_ = 0;
  std::uint64_t letters_ = 0;
};

}  // namespace

borrowed_stream::borrowed_stream(std::string_view bytes)
    // Only ever read: neither GLib nor GMime writes to or resizes an array that nobody appends to.
    : array_(g_byte_array_new_take(reinterpret_cast<guint8*>(const_cast<char*>(bytes.data())), bytes.size())),
      stream_(g_mime_stream_mem_new_with_byte_array(array_)) {
  g_mime_stream_mem_set_owner(GMIME_STREAM_MEM(stream_.get()), FALSE);
}

borrowed_stream::~borrowed_stream() {
  stream_.reset();
  g_byte_array_steal(array_, nullptr);  // or GLib would free what is not its own
  g_byte_array_unref(array_);
}

decoded decode_part(GMimePart* part, std::size_t keep) {
  decoded out;
  GMimeDataWrapper* const content = g_mime_part_get_content(part);
  GMimeStream* const raw = content == nullptr ? nullptr : g_mime_data_wrapper_get_stream(content);
  if (raw == nullptr) return out;
  const GMimeContentEncoding encoding = g_mime_data_wrapper_get_encoding(content);
  if (encoding == GMIME_CONTENT_ENCODING_BASE64 || encoding == GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE) {
    damage_check check(encoding);
    g_mime_stream_reset(raw);
    read_all(raw, [&](std::string_view bytes) { check.look(bytes); });
    out.is_damaged = check.is_damaged();
  }
  g_mime_stream_reset(raw);
  const object<GMimeStream> filtered(g_mime_stream_filter_new(raw));
  if (encoding == GMIME_CONTENT_ENCODING_BASE64 || encoding == GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE ||
      encoding == GMIME_CONTENT_ENCODING_UUENCODE) {
    const object<GMimeFilter> decoder(g_mime_filter_basic_new(encoding, FALSE));
    g_mime_stream_filter_add(GMIME_STREAM_FILTER(filtered.get()), decoder.get());
  }
  read_all(filtered.get(), [&](std::string_view bytes) {
    out.size += bytes.size();
    out.bytes.append(bytes.substr(0, keep - std::min(keep, out.bytes.size())));
  });
  return out;
}

decoded decode_message(GMimeMessagePart* part, std::size_t keep) {
  decoded out;
  GMimeMessage* const message = g_mime_message_part_get_message(part);
  if (message == nullptr) return out;
  const object<GMimeStream> memory(g_mime_stream_mem_new());
  g_mime_object_write_to_stream(GMIME_OBJECT(message), nullptr, memory.get());
  const GByteArray* const bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(memory.get()));
  if (bytes == nullptr) return out;
  out.size = bytes->len;
  out.bytes.assign(reinterpret_cast<const char*>(bytes->data), std::min<std::size_t>(keep, bytes->len));
  return out;
}

}  // namespace mailherd::mime
