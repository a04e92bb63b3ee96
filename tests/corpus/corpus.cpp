// tests/corpus: implementation. Every choice comes from a counter-based generator keyed by (seed, index), so any message can be made alone.
#include "tests/corpus/corpus.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <stdexcept>

#include <fmt/format.h>

#include "core/base64.hpp"

namespace mailherd::corpus {

namespace fs = std::filesystem;

namespace {

/// SplitMix64: the standard library's distributions differ between implementations, this does not.
class generator {
 public:
  generator(std::uint64_t seed, std::uint64_t index) : state_(seed * 0x9E3779B97F4A7C15ULL + (index + 1) * 0xD1B54A32D192ED03ULL) {
    next();
  }

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31U);
  }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() % bound); }
  std::size_t between(std::size_t low, std::size_t high) { return low + below(high - low + 1); }
  bool percent(unsigned chance) { return below(100) < chance; }

 private:
  std::uint64_t state_;
};

constexpr std::array words = {
    "order",   "invoice", "please",  "the",     "a",       "delivery", "broken", "ticket", "thank",    "you",    "refund", "waiting",
    "since",   "monday",  "address", "changed", "our",     "customer", "number", "and",    "not",      "we",     "have",   "received",
    "parcel",  "account", "login",   "error",   "printer", "screen",   "when",   "I",      "open",     "again",  "could",  "help",
    "regards", "phone",   "meeting", "offer",   "price",   "quantity", "blue",   "large",  "warranty", "serial", "photo",  "attached"};
constexpr std::array names = {"Anna Berger", "Jörg Müller", "Zoë Lefèvre", "Carlos Núñez", "Li Wei", "Ola Nordmann", "Иван Петров", "山田 太郎",
                              "Marta Kowalska", "John Smith", "Priya Patel", "Çağla Öztürk"};
constexpr std::array locals = {"anna", "joerg", "zoe", "carlos", "li.wei", "ola", "ivan", "yamada", "marta", "john", "priya", "cagla"};
constexpr std::array hosts = {"example.test", "shop.example.test", "mail.example.test", "kunde.test", "client.test"};
constexpr std::array subjects = {
    "Re: Your order", "Lieferung verspätet – bitte prüfen", "Question about invoice", "Réclamation n° 4711", "お問い合わせ",
    "Broken screen",  "AW: Angebot für Büromöbel",          "Cannot log in",          "Заказ не получен",    "Thank you!"};

template <class Array>
const char* pick(generator& random, const Array& from) {
  return from[random.below(from.size())];
}

bool ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) > 0x7e) return false;
  }
  return true;
}

/// RFC 2047, B or Q; one encoded word is enough, no text here is longer than 75 bytes encoded.
std::string encoded_word(generator& random, std::string_view text) {
  if (ascii(text)) return std::string(text);
  if (random.percent(50)) return "=?UTF-8?B?" + base64_encode(text) + "?=";
  std::string out = "=?utf-8?q?";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == ' ') out += '_';
    else if (std::isalnum(byte) != 0) out += c;
    else out += fmt::format("={:02X}", byte);
  }
  return out + "?=";
}

std::string date_header(std::uint64_t index) {
  const std::time_t when = std::chrono::system_clock::to_time_t(received_at(index));
  std::tm parts{};
  gmtime_r(&when, &parts);
  constexpr std::array days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} +0000", days[static_cast<std::size_t>(parts.tm_wday)], parts.tm_mday,
                     months[static_cast<std::size_t>(parts.tm_mon)], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

void add_text(generator& random, std::string& out, std::size_t bytes, std::string_view line_begin = {}) {
  const std::size_t end = out.size() + bytes;
  while (out.size() < end) {
    const std::size_t line = out.size();
    out += line_begin;
    while (out.size() - line < 66) {
      out += pick(random, words);
      out += ' ';
    }
    out += "\r\n";
  }
}

void add_html(generator& random, std::string& out, std::size_t bytes) {
  out += "<html><head><meta charset=3D\"utf-8\"></head><body style=3D\"font-family:sans=\r\n-serif\">\r\n";
  const std::size_t end = out.size() + bytes;
  while (out.size() < end) {
    out += "<p class=3D\"m\">";
    add_text(random, out, 300);
    out += "</p>\r\n";
  }
  out += "<p>Gr=C3=BC=C3=9Fe</p></body></html>\r\n";
}

void add_base64(generator& random, std::string& out, std::size_t bytes) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::size_t lines = bytes / 78 + 1;
  for (std::size_t i = 0; i < lines; ++i) {
    for (int group = 0; group < 8; ++group) {
      std::uint64_t bits = random.next();
      const int letters = group < 7 ? 10 : 6;
      for (int k = 0; k < letters; ++k, bits >>= 6U) out += alphabet[bits & 63U];
    }
    out += "\r\n";
  }
}

std::string headers(generator& random, std::uint64_t seed, std::uint64_t index) {
  const std::size_t person = random.below(names.size());
  const char* host = pick(random, hosts);
  std::string out = fmt::format(
      "Return-Path: <{0}@{1}>\r\nReceived: from mx.{1} (mx.{1} [192.0.2.{2}])\r\n\tby mail.acme.test with ESMTPS id {3:x}\r\n\tfor "
      "<support@acme.test>; {4}\r\n",
      locals[person], host, random.below(254) + 1, random.next(), date_header(index));
  out += fmt::format("Date: {}\r\nFrom: {} <{}@{}>\r\nTo: Support <support@acme.test>\r\n", date_header(index),
                     encoded_word(random, names[person]), locals[person], host);
  if (random.percent(15))
    out += fmt::format("Cc: {} <{}@{}>\r\n", encoded_word(random, names[random.below(names.size())]), pick(random, locals), host);
  out += fmt::format("Subject: {}\r\n {}\r\n", encoded_word(random, pick(random, subjects)), index);
  if (!random.percent(2)) out += fmt::format("Message-ID: <{:x}.{}.{}@{}>\r\n", random.next(), seed, index, host);
  if (index > 0 && random.percent(30)) out += fmt::format("In-Reply-To: <{:x}.{}@acme.test>\r\n", random.next(), random.below(index));
  return out + "MIME-Version: 1.0\r\nX-Mailer: corpus\r\n";
}

/// The sizes' mix: many small, few large, mean 21.7 KB.
std::string original(std::uint64_t seed, std::uint64_t index) {
  generator random(seed, index);
  std::string out = headers(random, seed, index);
  const std::size_t kind = random.below(100);
  if (kind < 55) {
    out += "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n";
    add_text(random, out, random.between(300, 3500));
    if (random.percent(40)) add_text(random, out, random.between(200, 3000), "> ");
    return out;
  }
  const std::string boundary = fmt::format("=_{:016x}", random.next());
  const bool attachments = kind >= 85;
  const std::string inner = attachments ? boundary + "_a" : boundary;
  if (attachments) out += fmt::format("Content-Type: multipart/mixed; boundary=\"{0}\"\r\n\r\n--{0}\r\n", boundary);
  out += fmt::format(
      "Content-Type: multipart/alternative; boundary=\"{0}\"\r\n\r\n--{0}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", inner);
  add_text(random, out, random.between(300, 3000));
  out += fmt::format("--{}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", inner);
  add_html(random, out, random.between(2000, 17000));
  out += fmt::format("--{}--\r\n", inner);
  if (!attachments) return out;
  const bool large = kind >= 98;
  const std::size_t bytes = large ? random.between(100'000, 680'000) : random.between(6'000, 110'000);
  const std::string name = random.percent(50) ? "filename=\"photo.jpg\"" : "filename*=UTF-8''Rechnung%20M%C3%A4rz.pdf";
  out += fmt::format(
      "--{}\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; {}\r\n\r\n",
      boundary, name);
  out.reserve(out.size() + bytes + 200);
  add_base64(random, out, bytes);
  return out + fmt::format("--{}--\r\n", boundary);
}

}  // namespace

std::string message(std::uint64_t seed, std::uint64_t index) {
  // A duplicate repeats one of the 50 messages before it; that one may be a duplicate itself.
  for (;;) {
    generator random(seed ^ 0xD0B1E5ULL, index);
    if (index == 0 || !random.percent(1)) return original(seed, index);
    index -= 1 + random.below(std::min<std::size_t>(static_cast<std::size_t>(index), 50));
  }
}

std::string simple(std::string_view subject, std::string_view body, std::string_view from, std::string_view to) {
  std::uint64_t hash = 1469598103934665603ULL;  // FNV-1a: the Message-ID follows from the content
  for (const auto part : {subject, body, from, to}) {
    for (const char c : part) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  }
  return fmt::format("Date: {}\r\nFrom: <{}>\r\nTo: <{}>\r\nSubject: {}\r\nMessage-ID: <{:016x}@example.test>\r\nMIME-Version: 1.0\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n\r\n{}",
                     date_header(0), from, to, subject, hash, body);
}

std::chrono::system_clock::time_point received_at(std::uint64_t index) {
  constexpr std::time_t start = 1'735'689'600;  // 2025-01-01T00:00:00Z
  return std::chrono::system_clock::from_time_t(start + static_cast<std::time_t>(index % 500'000) * 60);
}

totals write_maildir(const fs::path& maildir, std::uint64_t seed, std::size_t count) {
  for (const char* part : {"tmp", "new", "cur"}) fs::create_directories(maildir / part);
  totals out;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string raw = message(seed, i);
    const auto when = std::chrono::system_clock::to_time_t(received_at(i));
    const fs::path file =
        maildir / "cur" / fmt::format("{}.M{:06}P1Q{:08}.corpus,S={},W={}:2,", when, i % 1'000'000, i, raw.size(), raw.size());
    const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    const bool ok = fd >= 0 && ::write(fd, raw.data(), raw.size()) == static_cast<ssize_t>(raw.size());
    const timespec times[2] = {{when, 0}, {when, 0}};
    if (fd >= 0) {
      ::futimens(fd, times);
      ::close(fd);
    }
    if (!ok) throw std::runtime_error("corpus: cannot write " + file.string());
    ++out.messages;
    out.bytes += raw.size();
  }
  return out;
}

}  // namespace mailherd::corpus
