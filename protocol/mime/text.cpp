// protocol/mime/text: see the header.
#include "protocol/mime/text.hpp"

#include <fmt/format.h>
#include <gmime/gmime.h>
#include <iconv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <mutex>

#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::mime {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

/// Names that senders use → the name iconv knows. A closed list on purpose: GMime and the C library remember every name they were ever
/// asked for, so that invented ones would grow the process for ever; and the converters nobody needs are those with a history of defects.
struct charset_row {
  std::string_view name;
  const char* converter;
};
constexpr auto charsets = std::to_array<charset_row>({
    {"iso-8859-1", "WINDOWS-1252"},  // as browsers read it: what senders call Latin-1 is Windows' superset
    {"latin1", "WINDOWS-1252"},       {"windows-1252", "WINDOWS-1252"}, {"cp1252", "WINDOWS-1252"},     {"iso-8859-2", "ISO-8859-2"},
    {"iso-8859-3", "ISO-8859-3"},     {"iso-8859-4", "ISO-8859-4"},     {"iso-8859-5", "ISO-8859-5"},   {"iso-8859-6", "ISO-8859-6"},
    {"iso-8859-7", "ISO-8859-7"},     {"iso-8859-8", "ISO-8859-8"},     {"iso-8859-8-i", "ISO-8859-8"}, {"iso-8859-9", "WINDOWS-1254"},
    {"iso-8859-10", "ISO-8859-10"},   {"iso-8859-11", "CP874"},         {"iso-8859-13", "ISO-8859-13"}, {"iso-8859-14", "ISO-8859-14"},
    {"iso-8859-15", "ISO-8859-15"},   {"iso-8859-16", "ISO-8859-16"},   {"windows-1250", "CP1250"},     {"windows-1251", "CP1251"},
    {"windows-1253", "CP1253"},       {"windows-1254", "CP1254"},       {"windows-1255", "CP1255"},     {"windows-1256", "CP1256"},
    {"windows-1257", "CP1257"},       {"windows-1258", "CP1258"},       {"cp1250", "CP1250"},           {"cp1251", "CP1251"},
    {"koi8-r", "KOI8-R"},             {"koi8-u", "KOI8-U"},             {"cp437", "CP437"},             {"cp850", "CP850"},
    {"ibm850", "CP850"},              {"cp852", "CP852"},               {"cp866", "CP866"},             {"ibm866", "CP866"},
    {"macintosh", "MACINTOSH"},       {"x-mac-roman", "MACINTOSH"},     {"gb2312", "GB18030"},          {"gbk", "GB18030"},
    {"x-gbk", "GB18030"},             {"cp936", "GB18030"},             {"gb18030", "GB18030"},         {"big5", "BIG5-HKSCS"},
    {"big5-hkscs", "BIG5-HKSCS"},     {"shift_jis", "CP932"},           {"shift-jis", "CP932"},         {"sjis", "CP932"},
    {"x-sjis", "CP932"},              {"windows-31j", "CP932"},         {"cp932", "CP932"},             {"euc-jp", "EUC-JP"},
    {"iso-2022-jp", "ISO-2022-JP"},   {"iso-2022-jp-2", "ISO-2022-JP-2"}, {"euc-kr", "UHC"},            {"ks_c_5601-1987", "UHC"},
    {"cp949", "UHC"},                 {"windows-949", "UHC"},           {"iso-2022-kr", "ISO-2022-KR"}, {"tis-620", "CP874"},
    {"windows-874", "CP874"},         {"utf-16", "UTF-16"},             {"utf-16le", "UTF-16LE"},       {"utf-16be", "UTF-16BE"},
    {"utf-32", "UTF-32"},             {"utf-7", "UTF-7"},               {"unicode-1-1-utf-7", "UTF-7"},
});

const char* converter_of(std::string_view name) {
  const auto* const row = std::find_if(charsets.begin(), charsets.end(), [&](const charset_row& r) { return equal_text(r.name, name); });
  return row == charsets.end() ? nullptr : row->converter;
}

bool is_ascii_name(std::string_view charset) { return equal_text(charset, "us-ascii") || equal_text(charset, "ascii"); }
bool is_utf8_name(std::string_view charset) { return equal_text(charset, "utf-8") || equal_text(charset, "utf8"); }

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto length = utf8_sequence(text);
    if (length == 0 || text.front() == '\0') return false;
    text.remove_prefix(length);
  }
  return true;
}

struct converter {
  explicit converter(const char* from) : handle(iconv_open("UTF-8", from)) {}
  ~converter() {
    if (valid()) iconv_close(handle);
  }
  converter(const converter&) = delete;
  converter& operator=(const converter&) = delete;
  [[nodiscard]] bool valid() const { return handle != reinterpret_cast<iconv_t>(-1); }
  iconv_t handle;
};

/// What is passed over when it makes no sense: stepping by less would read everything behind it out of step.
std::size_t unit_bytes(std::string_view converter) { return converter.starts_with("UTF-16") ? 2 : converter.starts_with("UTF-32") ? 4 : 1; }

/// Every turn takes some input or ends: no converter can hold us.
std::string convert(iconv_t handle, std::string_view bytes, std::size_t unit, bool& damaged) {
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
    const auto passed = std::min(unit, left);
    from += passed;
    left -= passed;
  }
  char* to = buffer.data();
  std::size_t room = buffer.size();
  iconv(handle, nullptr, nullptr, &to, &room);  // some character sets hold the last character back
  out.append(buffer.data(), buffer.size() - room);
  return out;
}

/// One encoded word, decoded but for its character set.
struct encoded_word {
  std::string_view charset;
  std::string bytes;
  std::size_t length = 0;  ///< with "=?" and "?="
};

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string decode_q(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '=' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0;
    if (escape) {
      out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '_' ? ' ' : text[i];
    }
  }
  return out;
}

/// Forgiving, unlike core's: padding is often missing, and a subject is shown as well as it can be.
std::string decode_b(std::string_view text) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const auto value = alphabet.find(c);
    if (value == std::string_view::npos) continue;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xFF);
    }
  }
  return out;
}

/// The encoded words of one text, looked for from its front to its end. Each byte is looked at a few times whatever there is: where the next "?=" stands
/// is remembered, since a field of "=?a?q?" would be searched for it again and again.
class word_reader {
 public:
  explicit word_reader(std::string_view text) : text_(text) {}

  /// "=?charset*language?Q?text?=" at `at` (RFC 2047, 2; RFC 2231, 5). REQUIRED: `at` does not go back.
  bool read(std::size_t at, encoded_word& out) {
    constexpr std::size_t word_bytes = 4096;  // RFC 2047 says 75
    const auto head = text_.substr(at, 68);
    const auto second = head.find('?', 2);
    if (second == std::string_view::npos || second == 2 || second > 64 || second + 2 >= head.size() || head[second + 2] != '?') return false;
    const char encoding = head[second + 1];
    if (encoding != 'q' && encoding != 'Q' && encoding != 'b' && encoding != 'B') return false;
    const auto begin = at + second + 3;
    if (end_ < begin) end_ = std::min(text_.find("?=", begin), text_.size());
    if (end_ == text_.size() || end_ + 2 - at > word_bytes) return false;
    out.charset = head.substr(2, second - 2);
    out.charset = out.charset.substr(0, out.charset.find('*'));
    const auto payload = text_.substr(begin, end_ - begin);
    out.bytes = encoding == 'q' || encoding == 'Q' ? decode_q(payload) : decode_b(payload);
    out.length = end_ + 2 - at;
    return true;
  }

 private:
  std::string_view text_;
  std::size_t end_ = 0;   ///< the first "?=" behind what was looked at last; the text's size: there is none
};

/// Text that is not encoded: UTF-8, or what 8-bit text without a name usually is.
std::string literal(std::string_view text) {
  std::vector<std::string> unused;  // said once for the whole header
  return text_in_charset(text, "", unused);
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

bool is_known_charset(std::string_view name) { return is_ascii_name(name) || is_utf8_name(name) || converter_of(name) != nullptr; }

std::string text_in_charset(std::string_view bytes, std::string_view charset, std::vector<std::string>& notes) {
  const bool plain = charset.empty() || is_ascii_name(charset);
  const char* from = nullptr;
  if (plain || is_utf8_name(charset)) {
    if (is_valid_utf8(bytes)) return std::string(bytes);
    const bool has_nul = bytes.find('\0') != std::string_view::npos;
    if (has_nul) add_note(notes, "a text holds NUL bytes");
    if (!plain || has_nul) {
      add_note(notes, "a text is not valid UTF-8");
      return utf8_text(bytes);
    }
    add_note(notes, "a text has 8-bit characters without naming a character set");
    from = converter_of("windows-1252");
  } else {
    from = converter_of(charset);
  }
  if (from == nullptr) add_note(notes, fmt::format("the character set {} is not known", clean_server_text(charset.substr(0, 40))));
  if (from == nullptr && is_valid_utf8(bytes)) return std::string(bytes);
  if (from == nullptr) from = "WINDOWS-1252";
  const converter opened(from);
  if (!opened.valid()) {
    add_note(notes, fmt::format("this system has no converter for {}", from));
    return utf8_text(bytes);
  }
  bool damaged = false;
  const std::string converted = convert(opened.handle, bytes, unit_bytes(from), damaged);
  if (damaged) add_note(notes, "a text holds bytes that are not of its character set");
  return utf8_text(converted);
}

std::string word_decoder::decode(std::string_view text) {
  const bool ascii = is_ascii(text);
  if (!ascii) add_note(notes_, "the header holds 8-bit text that is not encoded");  // RFC 6532 allows it where SMTPUTF8 was agreed on
  if (text.find("=?") == std::string_view::npos) return utf8_line(ascii ? std::string(text) : literal(text));
  std::string out;
  std::string bytes, charset;  // of the words read last: a character may be split over several (RFC 2047, 5 forbids it; senders do it)
  const auto flush = [&] {
    if (!bytes.empty()) out += text_in_charset(bytes, charset, notes_);
    bytes.clear();
  };
  bool after_word = false;
  std::size_t plain_from = 0;
  word_reader words(text);
  for (auto at = text.find("=?"); at != std::string_view::npos; at = text.find("=?", at)) {
    encoded_word word;
    if (!words.read(at, word)) {
      at += 2;
      continue;
    }
    if (++words_ > limits::envelope_encoded_words) {
      add_note(notes_, "the header holds too many encoded words");
      break;
    }
    const std::string_view between = text.substr(plain_from, at - plain_from);
    // RFC 2047, 6.2: blanks between two words are not shown.
    const bool joined =
        after_word && std::all_of(between.begin(), between.end(), [](char c) { return static_cast<unsigned char>(c) <= 0x20; });
    if (!joined || !equal_text(charset, word.charset)) flush();
    if (!joined) out += literal(between);
    charset = word.charset;
    bytes += word.bytes;
    at += word.length;
    plain_from = at;
    after_word = true;
  }
  flush();
  out += literal(text.substr(plain_from));
  return utf8_line(out);
}

}  // namespace mailherd::mime
