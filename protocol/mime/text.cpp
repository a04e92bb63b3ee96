// protocol/mime/text: see the header.
#include "protocol/mime/text.hpp"

#include <fmt/format.h>
#include <gmime/gmime.h>
#include <iconv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>

#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::mime {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

bool is_charset_name(std::string_view name) {
  return !name.empty() && name.size() <= 40 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == ':';
  });
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto length = utf8_sequence(text);
    if (length == 0 || text.front() == '\0') return false;
    text.remove_prefix(length);
  }
  return true;
}

/// Closes what g_mime_iconv_open gave.
struct converter {
  explicit converter(const char* from) : handle(g_mime_iconv_open("UTF-8", from)) {}
  ~converter() {
    if (valid()) g_mime_iconv_close(handle);
  }
  converter(const converter&) = delete;
  converter& operator=(const converter&) = delete;
  [[nodiscard]] bool valid() const { return handle != reinterpret_cast<iconv_t>(-1); }
  iconv_t handle;
};

/// Every turn takes a byte of input or ends: no converter can hold us.
std::string convert(iconv_t handle, std::string_view bytes, bool& damaged) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 2);
  std::array<char, 4096> buffer;
  char* from = const_cast<char*>(bytes.data());
  std::size_t left = bytes.size();
  while (left > 0) {
    char* to = buffer.data();
    std::size_t room = buffer.size();
    const std::size_t before = left;
    const auto converted = iconv(handle, &from, &left, &to, &room);
    const int reason = errno;
    out.append(buffer.data(), buffer.size() - room);
    if (converted != static_cast<std::size_t>(-1)) continue;
    if (reason == E2BIG && left < before) continue;
    damaged = true;
    out += replacement;
    if (reason != EILSEQ || left == 0) break;  // EINVAL: the text ends within a character
    ++from;
    --left;
  }
  char* to = buffer.data();
  std::size_t room = buffer.size();
  iconv(handle, nullptr, nullptr, &to, &room);  // some character sets hold the last character back
  out.append(buffer.data(), buffer.size() - room);
  return out;
}

}  // namespace

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] { g_mime_init(); });
}

void add_note(std::vector<std::string>& notes, std::string note) {
  if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(std::move(note));
}

bool is_ascii(std::string_view bytes) noexcept {
  return std::none_of(bytes.begin(), bytes.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

std::string utf8_text(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const auto length = utf8_sequence(bytes);
    if (length == 0 || bytes.front() == '\0')
      out += replacement;
    else
      out += bytes.substr(0, length);
    bytes.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

std::string utf8_line(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  bool blank = false;
  while (!bytes.empty()) {
    const auto c = static_cast<unsigned char>(bytes.front());
    const auto length = utf8_sequence(bytes);
    if (c <= 0x20 || c == 0x7F) {
      blank = !out.empty();
    } else {
      if (blank) out += ' ';
      blank = false;
      if (length == 0)
        out += replacement;
      else
        out += bytes.substr(0, length);
    }
    bytes.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

std::string text_in_charset(std::string_view bytes, std::string_view charset, std::vector<std::string>& notes) {
  std::string name(charset);
  const bool plain = name.empty() || equal_text(name, "us-ascii") || equal_text(name, "ascii");
  if (plain || equal_text(name, "utf-8") || equal_text(name, "utf8")) {
    if (is_valid_utf8(bytes)) return std::string(bytes);
    if (bytes.find('\0') != std::string_view::npos) add_note(notes, "a text holds NUL bytes");
    if (!plain || bytes.find('\0') != std::string_view::npos) {
      add_note(notes, "a text is not valid UTF-8");
      return utf8_text(bytes);
    }
    add_note(notes, "a text has 8-bit characters without naming a character set");
    name = "windows-1252";
  } else if (!is_charset_name(name)) {
    add_note(notes, "a text names a character set that cannot be one");
    name = "windows-1252";
  } else if (equal_text(name, "iso-8859-1") || equal_text(name, "latin1")) {
    name = "windows-1252";  // as browsers read it: what senders call Latin-1 is Windows' superset
  }
  const converter opened(name.c_str());
  if (!opened.valid()) {
    add_note(notes, fmt::format("the character set {} is not known", name));
    return utf8_text(bytes);
  }
  bool damaged = false;
  const std::string converted = convert(opened.handle, bytes, damaged);
  if (damaged) add_note(notes, fmt::format("a text holds bytes that are not {}", name));
  return utf8_text(converted);
}

std::string word_decoder::decode(std::string_view text) {
  const bool has_words = text.find("=?") != std::string_view::npos;
  if (!has_words && is_ascii(text)) return utf8_line(text);
  if (!has_words && is_valid_utf8(text)) {
    add_note(notes_, "the header holds 8-bit text that is not encoded");  // RFC 6532 allows it where SMTPUTF8 was agreed on
    return utf8_line(text);
  }
  if (has_words) {
    for (auto at = text.find("=?"); at != std::string_view::npos; at = text.find("=?", at + 2)) ++words_;
    if (words_ > limits::envelope_encoded_words) {
      add_note(notes_, "the header holds too many encoded words");
      return utf8_line(text);
    }
  }
  if (!is_ascii(text)) add_note(notes_, "the header holds 8-bit text that is not encoded");
  initialise();
  std::string terminated(text);
  std::replace(terminated.begin(), terminated.end(), '\0', ' ');
  char* const decoded = g_mime_utils_header_decode_text(nullptr, terminated.c_str());
  if (decoded == nullptr) return utf8_line(text);
  std::string line = utf8_line(decoded);
  g_free(decoded);
  return line;
}

}  // namespace mailherd::mime
