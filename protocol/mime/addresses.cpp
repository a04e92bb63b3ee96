// protocol/mime/addresses: see the header.
#include "protocol/mime/addresses.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/limits.hpp"

namespace mailherd::mime {

namespace {

constexpr std::size_t encoded_word_bytes = 512;  // RFC 2047 says 75; senders exceed it
constexpr std::size_t charset_bytes = 66;        // of it, with "=?"

bool is_blank(char c) { return static_cast<unsigned char>(c) <= 0x20; }

std::string without_blanks(std::string_view text) {
  std::string out;
  std::copy_if(text.begin(), text.end(), std::back_inserter(out), [](char c) { return !is_blank(c); });
  return out;
}

/// One address as its pieces, while it is being read.
struct pieces {
  std::string words;    ///< outside brackets and comments, quotes removed
  std::string angle;    ///< within <>
  std::string comment;  ///< the last one within ()
  bool has_angle = false;

  void clear() { *this = {}; }
};

class scanner {
 public:
  scanner(std::string_view text, bool quotes) : text_(text), quotes_(quotes) {}

  /// Reads up to the next separator; false at the end. A group's name and its ";" vanish.
  bool next(pieces& into) {
    into.clear();
    if (at_ >= text_.size()) return false;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ',' || c == ';') {
        ++at_;
        return true;
      }
      if (c == ':') {
        into.clear();  // what was read is a group's name
        ++at_;
      } else if (c == '"' && quotes_) {
        read_quoted(into.words);
      } else if (c == '(') {
        read_comment(into.comment);
      } else if (c == '<') {
        read_angle(into);
      } else if (c == '=' && read_encoded_word(into.words)) {
        // a comma in it, which RFC 2047 forbids there, is none of ours
      } else {
        into.words += c;
        ++at_;
      }
    }
    return true;
  }

  /// A quote or comment was opened and never closed.
  [[nodiscard]] bool is_unbalanced() const { return unbalanced_; }

 private:
  void read_quoted(std::string& into) {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '"') {
        ++at_;
        return;
      }
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      into += text_[at_];
    }
    unbalanced_ = true;
  }

  void read_comment(std::string& into) {
    into.clear();
    std::size_t depth = 0;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '(' && depth++ == 0) continue;
      if (c == ')' && --depth == 0) {
        ++at_;
        return;
      }
      if (c == '\\' && at_ + 1 < text_.size()) ++at_;
      into += text_[at_];
    }
    unbalanced_ = true;
  }

  void read_angle(pieces& into) {
    const auto end = std::min(text_.find('>', at_), text_.size());
    into.angle = without_blanks(text_.substr(at_ + 1, end - at_ - 1));
    into.has_angle = true;
    at_ = std::min(end + 1, text_.size());
    // A route ("<@relay.test:joe@x.test>", RFC 5322, 4.4) is dropped.
    if (into.angle.starts_with('@')) into.angle.erase(0, into.angle.rfind(':') + 1);
  }

  /// Takes "=?charset?x?text?=" as a whole. Where the next "?=" stands is remembered: it is not searched for again at each "=?".
  bool read_encoded_word(std::string& into) {
    const std::string_view rest = text_.substr(at_, encoded_word_bytes);
    if (!rest.starts_with("=?")) return false;
    auto mark = rest.substr(0, charset_bytes).find('?', 2);
    if (mark != std::string_view::npos) mark = rest.substr(0, mark + 3).find('?', mark + 1);
    if (mark == std::string_view::npos) return false;
    if (word_end_ < at_ + mark + 1) word_end_ = std::min(text_.find("?=", at_ + mark + 1), text_.size());
    const auto length = word_end_ + 2 - at_;
    if (length > rest.size()) return false;
    const auto word = rest.substr(0, length);
    if (std::any_of(word.begin(), word.end(), is_blank)) return false;
    into += word;
    at_ += length;
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t word_end_ = 0;   ///< the first "?=" behind what was looked at last; the text's size: there is none
  bool quotes_;
  bool unbalanced_ = false;
};

bool is_nothing(const pieces& p) {
  return !p.has_angle && p.comment.empty() && std::all_of(p.words.begin(), p.words.end(), is_blank);
}

mail_address assemble(const pieces& p, word_decoder& words) {
  if (p.has_angle) {
    std::string name = words.decode(p.words);
    if (name.empty()) name = words.decode(p.comment);
    return {std::move(name), utf8_line(p.angle)};
  }
  const std::string_view bare = p.words;
  const bool is_address = bare.find('@') != std::string_view::npos;
  // "root" is one; "our support team" is not.
  const auto first = std::find_if_not(bare.begin(), bare.end(), is_blank);
  const auto last = std::find_if_not(bare.rbegin(), bare.rend(), is_blank).base();
  if (!is_address && (first >= last || std::any_of(first, last, is_blank) || bare.find("=?") != std::string_view::npos))
    return {words.decode(bare), ""};
  return {words.decode(p.comment), utf8_line(without_blanks(bare))};
}

}  // namespace

void add_addresses(std::string_view field, std::string_view field_name, word_decoder& words, std::vector<mail_address>& out,
                   std::vector<std::string>& notes) {
  std::vector<pieces> found;
  // Nothing is decoded before it is known how the field is to be read.
  const auto split = [&](bool quotes) {
    found.clear();
    scanner scan(field, quotes);
    for (pieces p; scan.next(p);) {
      if (is_nothing(p)) continue;
      if (out.size() + found.size() >= limits::envelope_addresses) {
        add_note(notes, fmt::format("{} names more than {} addresses; the rest is left out", field_name, limits::envelope_addresses));
        break;
      }
      found.push_back(std::move(p));
    }
    return !scan.is_unbalanced();
  };
  if (!split(true)) {
    add_note(notes, fmt::format("{} holds a quote or comment that never ends", field_name));
    split(false);  // the quote was an ordinary character: what follows it must not vanish
  }
  for (const auto& p : found) {
    out.push_back(assemble(p, words));
    if (out.back().address.empty()) add_note(notes, fmt::format("{} holds something that is no address", field_name));
  }
}

}  // namespace mailherd::mime
