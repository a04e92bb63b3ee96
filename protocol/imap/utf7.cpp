// protocol/imap/utf7: see the header.
#include "protocol/imap/utf7.hpp"

#include <cstdint>

#include "core/server_text.hpp"

namespace mailherd::imap {

namespace {
constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

std::uint32_t decode_utf8(std::string_view s, std::size_t n) {
  const auto b = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(s[i])); };
  if (n == 1) return b(0);
  std::uint32_t c = b(0) & (0xFFu >> (n + 1));
  for (std::size_t i = 1; i < n; ++i) c = (c << 6) | (b(i) & 0x3F);
  return c;
}

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

/// The base64 run between '&' and '-', as UTF-16BE.
class encoder {
 public:
  explicit encoder(std::string& out) : out_(out) {}
  void unit(std::uint16_t u) {
    if (!open_) {
      out_ += '&';
      open_ = true;
    }
    bits_ = (bits_ << 16) | u;
    count_ += 16;
    while (count_ >= 6) {
      count_ -= 6;
      out_ += alphabet[(bits_ >> count_) & 0x3F];
    }
    bits_ &= (1u << count_) - 1;
  }
  void close() {
    if (!open_) return;
    if (count_ > 0) out_ += alphabet[(bits_ << (6 - count_)) & 0x3F];
    out_ += '-';
    open_ = false;
    bits_ = 0;
    count_ = 0;
  }

 private:
  std::string& out_;
  std::uint64_t bits_ = 0;
  unsigned count_ = 0;
  bool open_ = false;
};
}  // namespace

std::optional<std::string> to_utf7(std::string_view utf8) {
  std::string out;
  encoder e(out);
  while (!utf8.empty()) {
    const auto n = utf8_sequence(utf8);
    if (n == 0) return std::nullopt;
    const auto c = decode_utf8(utf8, n);
    utf8.remove_prefix(n);
    if (c == 0 || c == '\r' || c == '\n') return std::nullopt;
    if (c >= 0x20 && c <= 0x7E) {
      e.close();
      out += static_cast<char>(c);
      if (c == '&') out += '-';
    } else if (c < 0x10000) {
      e.unit(static_cast<std::uint16_t>(c));
    } else {
      e.unit(static_cast<std::uint16_t>(0xD800 + ((c - 0x10000) >> 10)));
      e.unit(static_cast<std::uint16_t>(0xDC00 + ((c - 0x10000) & 0x3FF)));
    }
  }
  e.close();
  return out;
}

std::optional<std::string> from_utf7(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    if (c < 0x20 || c > 0x7E) return std::nullopt;
    if (c != '&') {
      out += static_cast<char>(c);
      continue;
    }
    const auto end = name.find('-', i);
    if (end == std::string_view::npos) return std::nullopt;
    if (end == i + 1) {
      out += '&';
      i = end;
      continue;
    }
    std::uint32_t bits = 0, high = 0;
    unsigned count = 0;
    for (std::size_t k = i + 1; k < end; ++k) {
      const auto v = alphabet.find(name[k]);
      if (v == std::string_view::npos) return std::nullopt;
      bits = (bits << 6) | static_cast<std::uint32_t>(v);
      count += 6;
      if (count < 16) continue;
      count -= 16;
      const std::uint32_t u = (bits >> count) & 0xFFFF;
      bits &= (1u << count) - 1;
      if (u >= 0xD800 && u < 0xDC00) {
        if (high != 0) return std::nullopt;
        high = u;
      } else if (u >= 0xDC00 && u < 0xE000) {
        if (high == 0) return std::nullopt;
        append_utf8(out, 0x10000 + ((high - 0xD800) << 10) + (u - 0xDC00));
        high = 0;
      } else {
        if (high != 0 || u == 0 || u == '\r' || u == '\n') return std::nullopt;
        append_utf8(out, u);
      }
    }
    // What is left over must be padding: fewer bits than a digit, all zero.
    if (high != 0 || count >= 6 || bits != 0) return std::nullopt;
    i = end;
  }
  return out;
}

}  // namespace mailherd::imap
