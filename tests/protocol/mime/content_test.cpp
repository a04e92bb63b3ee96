// tests/protocol/mime: texts and attachments of ordinary, broken and hostile messages.
#include <gmock/gmock.h>
#include <malloc.h>

#include <chrono>
#include <random>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/mime/mime.hpp"

extern "C" __attribute__((weak)) std::size_t __sanitizer_get_current_allocated_bytes();

namespace mailherd {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string mixed =
    "From: a@x.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"outer\"\r\n\r\npreamble\r\n"
    "--outer\r\nContent-Type: multipart/related; boundary=rel\r\n\r\n"
    "--rel\r\nContent-Type: multipart/alternative; boundary=alt\r\n\r\n"
    "--alt\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9 =\r\nau lait\r\n"
    "--alt\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>caf\xC3\xA9 <img src=\"cid:logo@x\"></p>\r\n--alt--\r\n"
    "--rel\r\nContent-Type: image/png; name=logo.png\r\nContent-ID: <logo@x>\r\nContent-Transfer-Encoding: "
    "base64\r\n\r\nAAECAwQ=\r\n--rel--\r\n"
    "--outer\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
    "Content-Disposition: attachment; filename*=utf-8''../%C3%9Cbersicht.pdf\r\n\r\nJVBERi0x\r\n"
    "--outer\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n"
    "--outer\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=\"notes.txt\"\r\n\r\nsecond text\r\n"
    "--outer--\r\n";

bool is_clean(const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto n = utf8_sequence(rest);
    if (n == 0 || rest.front() == '\0') return false;
    rest.remove_prefix(n);
  }
  return true;
}

/// What holds for any input.
void expect_sound(const std::string& raw) {
  const auto c = mime::parse_content(raw);
  EXPECT_TRUE(is_clean(c.text) && is_clean(c.html));
  EXPECT_LE(c.text.size(), limits::mime_text_bytes);
  EXPECT_LE(c.attachments.size(), limits::mime_parts);
  for (std::size_t i = 0; i < c.attachments.size(); ++i) {
    const auto& a = c.attachments[i];
    EXPECT_EQ(a.index, i);
    EXPECT_TRUE(is_clean(a.name) && is_clean(a.type) && is_clean(a.content_id) && is_clean(a.disposition));
    EXPECT_EQ(a.name.find_first_of("/\\"), std::string::npos);
    if (i < 20) {
      const auto bytes = mime::attachment(raw, i);
      ASSERT_TRUE(bytes) << describe(bytes.error());
      EXPECT_EQ(bytes->size(), a.size);
    }
  }
  EXPECT_FALSE(mime::attachment(raw, c.attachments.size()));
}

mime::content text_part(const std::string& header, const std::string& body) { return mime::parse_content(header + "\r\n\r\n" + body); }

TEST(content, reads_texts_and_attachments) {
  const auto c = mime::parse_content(mixed);
  EXPECT_EQ(c.text, "café au lait");
  EXPECT_EQ(c.html, "<p>café <img src=\"cid:logo@x\"></p>");
  ASSERT_EQ(c.attachments.size(), 4u);
  EXPECT_EQ(c.attachments[0].type, "image/png");
  EXPECT_EQ(c.attachments[0].name, "logo.png");
  EXPECT_EQ(c.attachments[0].content_id, "logo@x");
  EXPECT_TRUE(c.attachments[0].is_inline);
  EXPECT_EQ(c.attachments[0].size, 5u);
  EXPECT_EQ(c.attachments[1].name, "Übersicht.pdf");  // no path
  EXPECT_EQ(c.attachments[1].disposition, "attachment");
  EXPECT_FALSE(c.attachments[1].is_inline);
  EXPECT_EQ(c.attachments[2].type, "message/rfc822");
  EXPECT_EQ(c.attachments[3].name, "notes.txt");
  EXPECT_THAT(c.notes, IsEmpty());
  EXPECT_EQ(*mime::attachment(mixed, 0), std::string("\0\1\2\3\4", 5));
  EXPECT_EQ(*mime::attachment(mixed, 1), "%PDF-1");
  EXPECT_THAT(*mime::attachment(mixed, 2), HasSubstr("inner text"));
  EXPECT_EQ(*mime::attachment(mixed, 3), "second text");
  EXPECT_EQ(mime::attachment(mixed, 4).error().code, failure::not_found);
  expect_sound(mixed);
}

TEST(content, images_that_the_html_shows_are_inline) {
  const auto with = [](const std::string& html) {
    const auto c = mime::parse_content("Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n" + html +
                                       "\n--b\nContent-Type: image/png\nContent-ID: <logo@x>\n\nx\n--b--\n");
    return c.attachments.at(0).is_inline;
  };
  for (const char* html : {"<img src=\"cid:logo@x\">", "<img src='cid:logo@x'>", "<img src=cid:logo@x>", "<p style='background:url(cid:logo@x)'>", "cid:cid: cid:logo@x"})
    EXPECT_TRUE(with(html)) << html;
  for (const char* html : {"<img src=\"cid:logo@x2\">", "logo@x", "cid:", "cid:logo"}) EXPECT_FALSE(with(html)) << html;

  std::string many = "Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n";
  while (many.size() < limits::mime_text_bytes) many += "cid:x";
  for (std::size_t i = 0; i + 10 < limits::mime_parts; ++i) many += "\n--b\nContent-Type: image/png\nContent-ID: <" + std::to_string(i) + ">\n\n";
  const auto begin = std::chrono::steady_clock::now();
  mime::parse_content(many);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(content, a_message_without_mime_is_text) {
  EXPECT_EQ(mime::parse_content("Subject: x\n\nhello\n").text, "hello\n");
  EXPECT_EQ(mime::parse_content("Subject: x\r\n\r\n").text, "");
}

TEST(content, html_alone_is_html) {
  const auto c = text_part("Content-Type: text/html; charset=windows-1252", "<b>\x80</b>");
  EXPECT_EQ(c.text, "");
  EXPECT_EQ(c.html, "<b>€</b>");
}

TEST(content, unknown_and_hostile_character_sets_are_read_as_well_as_can_be) {
  auto c = text_part("Content-Type: text/plain; charset=x-klingon", "caf\xC3\xA9");
  EXPECT_EQ(c.text, "café");
  EXPECT_THAT(c.notes, Contains("the character set x-klingon is not known"));
  c = text_part("Content-Type: text/plain; charset=\"../../etc/passwd//TRANSLIT\"", "caf\xE9");
  EXPECT_EQ(c.text, "café");
  EXPECT_THAT(c.notes, Contains(HasSubstr("is not known")));
  c = text_part("Content-Type: text/plain", "caf\xE9");
  EXPECT_EQ(c.text, "café");
  EXPECT_THAT(c.notes, Contains(HasSubstr("without naming a character set")));
  c = text_part("Content-Type: text/plain; charset=utf-8", "caf\xE9!");
  EXPECT_EQ(c.text, "caf\xEF\xBF\xBD!");
  EXPECT_THAT(c.notes, Contains("a text is not valid UTF-8"));
  c = text_part("Content-Type: text/plain; charset=shift_jis", "\x93\xFA\x96\x7B\x93");
  EXPECT_EQ(c.text, "日本\xEF\xBF\xBD");
  c = text_part("Content-Type: text/plain; charset=utf-16", "a");
  EXPECT_TRUE(is_clean(c.text));
}

/// Half of an emoji, as a text that was cut leaves it; what comes behind is not read out of step.
TEST(content, one_bad_unit_of_utf_16_or_32_spoils_nothing_behind_it) {
  using namespace std::string_literals;
  auto c = text_part("Content-Type: text/plain; charset=utf-16le", "a\0\x3D\xD8z\0\xAC\x20"s);
  EXPECT_EQ(c.text, "a\xEF\xBF\xBDz€");
  EXPECT_THAT(c.notes, Contains("a text holds bytes that are not of its character set"));
  EXPECT_EQ(text_part("Content-Type: text/plain; charset=utf-16be", "\xDE\x00\0b\x20\xAC"s).text, "\xEF\xBF\xBD" "b€");
  EXPECT_EQ(text_part("Content-Type: text/plain; charset=utf-32", "\0\0\xFE\xFF\0\0\0a\xFF\xFF\xFF\xFF\0\0\0b"s).text, "a\xEF\xBF\xBD" "b");
  EXPECT_EQ(text_part("Content-Type: text/plain; charset=utf-16le", "a\0\x3D\xD8"s).text, "a\xEF\xBF\xBD") << "cut at its end";
}

TEST(content, nul_bytes_never_reach_the_text) {
  const auto c = text_part("Content-Type: text/plain", std::string("a\0b", 3));
  EXPECT_EQ(c.text, "a\xEF\xBF\xBD" "b");
  EXPECT_THAT(c.notes, Contains("a text holds NUL bytes"));
}

TEST(content, damaged_encodings_give_what_is_there_and_a_note) {
  const std::string note = "a part's transfer encoding is damaged";
  auto c = text_part("Content-Transfer-Encoding: base64", "aGVs*bG8=");
  EXPECT_THAT(c.text, HasSubstr("hel"));
  EXPECT_THAT(c.notes, Contains(note));
  c = text_part("Content-Transfer-Encoding: quoted-printable", "a=ZZb=3");
  EXPECT_THAT(c.text, HasSubstr("b"));
  EXPECT_THAT(c.notes, Contains(note));
  EXPECT_THAT(text_part("Content-Transfer-Encoding: quoted-printable", "a=3Db=\r\nc=20").notes, IsEmpty());
  EXPECT_THAT(text_part("Content-Transfer-Encoding: base64", "aGVs\r\nbG8=\r\n").notes, IsEmpty());
}

TEST(content, missing_boundaries_lose_no_text) {
  auto c = mime::parse_content("Content-Type: multipart/mixed\n\nhello\n");
  EXPECT_THAT(c.text, HasSubstr("hello"));
  EXPECT_THAT(c.notes, Contains(HasSubstr("boundary")));
  c = mime::parse_content("Content-Type: multipart/mixed; boundary=b\n\nhello, no boundary here\n");
  EXPECT_THAT(c.text, HasSubstr("hello"));
  EXPECT_FALSE(c.notes.empty());
  c = mime::parse_content("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello, no end\n");
  EXPECT_THAT(c.text, HasSubstr("hello"));
}

TEST(content, bombs_are_cut_with_a_note) {
  std::string many = "Content-Type: multipart/mixed; boundary=b\n\n";
  for (std::size_t i = 0; i < 2 * limits::mime_parts; ++i) many += "--b\nContent-Type: image/png\n\nx\n";
  auto c = mime::parse_content(many);
  EXPECT_LT(c.attachments.size(), limits::mime_parts);
  EXPECT_THAT(c.notes, Contains(HasSubstr("parts; the rest is left out")));

  std::string flood = "Content-Type: multipart/mixed; boundary=b\n\n";
  for (std::size_t i = 0; i < 4 * limits::mime_boundary_lines; ++i) flood += "--b\n";
  EXPECT_THAT(mime::parse_content(flood).notes, Contains("the message has too many boundaries; the rest is left out"));

  std::string deep;
  for (int i = 0; i < 3000; ++i)
    deep += "Content-Type: multipart/mixed; boundary=b" + std::to_string(i) + "\n\n--b" + std::to_string(i) + "\n";
  c = mime::parse_content(deep);
  EXPECT_THAT(c.notes, Contains("parts are nested too deeply"));

  std::string nested;
  for (int i = 0; i < 20'000; ++i) nested += "Content-Type: message/rfc822\n\n";
  expect_sound(nested);

  const std::string endless = "Subject: x\n\n" + std::string(limits::mime_text_bytes + 100, 'a');
  c = mime::parse_content(endless);
  EXPECT_EQ(c.text.size(), limits::mime_text_bytes);
  EXPECT_THAT(c.notes, Contains(HasSubstr("a text is longer than")));
}

/// Each of these ends the process, or holds it for minutes, in a parser that is not guarded.
TEST(content, hostile_headers_neither_recurse_nor_hold) {
  for (const std::string& prefix : {std::string(), std::string("Content-Type: message/rfc822\n\n"),
                                    std::string("Content-Type: multipart/mixed; boundary=b\n\n--b\n")}) {
    for (const std::string& field : {std::string("To: |a:"), std::string("from :|a:"), std::string("Cc:|=?utf-8?q?a?=,"),
                                     std::string("Content-Type: text/plain; |a=b;"), std::string("Content-Disposition: attachment; |a=b;"),
                                     std::string("To: |\n a:"), std::string("|To: a:b:c:;\n"), std::string("|a:\n")}) {
      const auto bar = field.find('|');
      std::string raw = prefix + field.substr(0, bar);
      while (raw.size() < 800'000) raw += field.substr(bar + 1);
      raw += "\n\nhello\n";
      const auto begin = std::chrono::steady_clock::now();
      const auto c = mime::parse_content(raw);
      EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << prefix << field;  // unguarded: minutes
      EXPECT_FALSE(c.notes.empty()) << prefix << field;
    }
  }
}

TEST(content, a_hidden_field_is_back_in_the_contents) {
  const std::string lines = "To: " + std::string(limits::header_field_bytes + 1, 'x') + "\n";
  const std::string raw =
      "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nbody\n--b\nContent-Type: application/x\n\n" + lines +
      "--b--\n";
  const auto file = mime::attachment(raw, 0);
  ASSERT_TRUE(file);
  EXPECT_EQ(*file + "\n", lines);
}

/// In use now, whoever counts: the sanitizers have an allocator of their own.
std::size_t heap_in_use() {
  if (&__sanitizer_get_current_allocated_bytes != nullptr) return __sanitizer_get_current_allocated_bytes();
  return mallinfo2().uordblks;
}

/// GMime keeps each name of a character set that it is asked for, and what iconv said of it, until the process ends.
TEST(content, invented_character_sets_leave_nothing_behind) {
  int invented = 0;
  const auto parse_some = [&](const std::string& field) {
    for (int i = 0; i < 400; ++i) {
      std::string one = field;
      one.replace(one.find('@'), 1, "x-made-up-" + std::to_string(invented++));
      one += "\nMIME-Version: 1.0\n";
      mime::parse_content(one + "\nbody\n");
      mime::parse_content("Content-Type: message/rfc822\n\n" + one + "\nbody\n");
      mime::parse_content("Content-Type: multipart/mixed; boundary=b\n\n--b\n" + one + "\nbody\n--b--\n");
    }
  };
  for (const std::string field :
       {"Subject: =?@?q?a?=", "SUBJECT :\n =?@?q?a?=", "To: =?@?q?a?= <a@b>", "From: =?@?b?YQ?= <a@b>", "Cc: a, =?@?q?a?= <a@b>", "Bcc: =?@?q?a?=", "Sender: =?@?q?a?=",
        "Reply-To: =?@?q?a?=", "Date: =?@?q?a?=", "Message-ID: =?@?q?a?=", "X-Other: =?@?q?a?=", "Resent-From: =?@?q?a?=", "Content-Description: =?@?q?a?=",
        "Content-ID: <=?@?q?a?=>", "Content-Location: =?@?q?a?=", "Content-MD5: =?@?q?a?=", "Content-Transfer-Encoding: =?@?q?a?=", "Content-Language: =?@?q?a?=",
        "Content-Type: text/plain; charset=@", "Content-Type: text/plain; name=\"=?@?q?a?=\"", "Content-Type: text/plain; name==?@?q?a?=", "Content-Type: =?@?q?a?=/x",
        "Content-Type: text/plain (=?@?q?a?=); x=y", "Content-Type: text/plain; name=\"=?\n @?q?a?=\"", "Content-Type: text/plain; name=\"=?@?q?\n a?=\"",
        "Content-Type: text/plain; name=\"=\\?@?q?a?=\"", "Content-Type: text/plain; name=\"=\n ?@?q?a?=\"", "Content-Type: text/plain; name=\"=?utf-8*@?q?a?=\"",
        "Content-Type: text/plain; name=\"=?=?@?q?a?=\"", "Content-Type: text/plain; name*=@''a", "Content-Type: text/plain; name*0*=@''a; name*1=x",
        "Content-Type: text/plain; name*1*=@''a; name*2=x", "Content-Disposition: attachment; filename*=\"@''a\"", "Content-Disposition: attachment; x*=\"p;b*=@''a\"",
        "Content-Disposition: attachment; x*=\"@;b*=utf-8''a\"", "Content-Disposition: attachment; x*=y*=@''a", "Content-Disposition: attachment; x*=@=utf-8''a",
        "Content-Disposition: attachment; x=b\"c; d*=\"@;f*=utf-8''g\"", "Content-Disposition: attachment; x=b y*=@''a", "Content-Disposition: attachment; x*=@'a",
        "Content-Disposition: attachment; x(c)*=@''a", "Content-Disposition: attachment; x*=(c)@''a", "Content-Disposition: attachment; x*=\"\\@''a\"",
        "Content-Disposition: attachment; x*=\n @''a", "Content-Disposition: attachment; x*=utf-8''%3D%3F@%3Fq%3Fa%3F%3D", "Content-Disposition: =?@?q?a?=",
        "Content-Disposition: attachment; x*=\"@'';y*=utf-8''b\""}) {
    parse_some(field);   // whatever is kept once for all
    const auto before = heap_in_use();
    parse_some(field);
    const auto after = heap_in_use();
    EXPECT_LT(after, before + 10'000) << field;   // 26,000 for 400 names
  }
  for (const std::string charset : {"uTf-8", "ISO-8859-1", "iso-2022-JP", "GB2312", "x-SJIS"}) {
    EXPECT_EQ(mime::parse_content("Content-Type: image/png; name=\"=?" + charset + "?q?a?=\"\n\n").attachments.at(0).name, "a") << charset;
    EXPECT_EQ(mime::parse_content("Content-Type: image/png; name*=" + charset + "'en'a\n\n").attachments.at(0).name, "a") << charset;
  }
  EXPECT_EQ(mime::parse_content("Content-Type: image/png; name*=utf-8''it's.png; x=\"y\"\n\n").attachments.at(0).name, "it's.png");
  EXPECT_EQ(mime::parse_content("Content-Type: image/png; name=\"it's.png\"\n\n").attachments.at(0).name, "it's.png");
  EXPECT_EQ(mime::parse_content("Content-Type: image/png; name=\"=?x-other?q?a?=.png\"\n\n").attachments.at(0).name, "=_x-other?q?a?=.png");
}

TEST(content, a_message_within_a_message_comes_as_it_was) {
  const std::string inner =
      "Date: Tue, 24 Nov 2026 03:12:12 +0100\r\nSubject: =?x-other?q?a?=\r\nFrom:  a@x.test\r\nTo: \"b\" <b@x.test>,\r\n\tc@x.test\r\n"
      "Content-Type: multipart/mixed; boundary=in\r\n\r\npreamble\r\n--in\r\nContent-Type: text/plain; name*=x-other''a\r\n\r\nfrom: text\r\n--in--\r\nepilogue\n";
  const std::string contents_first = "Content-Type: text/plain\nSubject: second\n\nto: you\n";
  const std::string raw = "Content-Type: multipart/mixed; boundary=\"outer one\"\r\n\r\n--outer one\r\nContent-Type: message/rfc822\r\n\r\n" + inner +
                          "\r\n--outer one\r\nContent-Type: message/rfc822\r\n\r\n" + contents_first + "\n--outer one\nContent-Type: message/rfc822\r\n\r\n\r\nno field\r\n--outer one--\r\n";
  const auto c = mime::parse_content(raw);
  ASSERT_EQ(c.attachments.size(), 3u);
  EXPECT_EQ(*mime::attachment(raw, 0), inner);
  EXPECT_EQ(*mime::attachment(raw, 1), contents_first);
  EXPECT_THAT(*mime::attachment(raw, 2), HasSubstr("no field"));
  const std::string alone = "content-type: MESSAGE/RFC822\n\nTo: x\n\n--body\n";
  EXPECT_EQ(*mime::attachment(alone, 0), "To: x\n\n--body\n");
  expect_sound(raw);
}

TEST(content, a_text_that_grows_by_conversion_is_cut_between_characters) {
  const auto c = text_part("Content-Type: text/plain; charset=iso-8859-15", std::string(limits::mime_text_bytes, '\xA4'));  // 3 bytes each
  EXPECT_LE(c.text.size(), limits::mime_text_bytes);
  EXPECT_TRUE(is_clean(c.text));
}

TEST(content, nonsense_is_survived) {
  for (const std::string& raw :
       {std::string(), std::string("\n"), std::string("\0", 1), std::string("--"), std::string(70'000, '\n'), std::string(70'000, ':'),
        std::string("Content-Type: ;;;;\n\nx"), std::string("Content-Type: multipart/\n\nx"),
        std::string("Content-Type: multipart/mixed; boundary=\"\"\n\n--\n--\n"),
        std::string("Content-Type: text/plain; charset*0*=%;charset*1=x\n\ny"),
        std::string("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"\xFF/..\"\n\nz")})
    expect_sound(raw);
  EXPECT_THAT(mime::parse_content("").notes, Contains("the message is empty"));
}

TEST(content, any_bytes_and_any_truncation_are_survived) {
  const std::uint32_t seed = 20261125;
  std::mt19937 random(seed);
  for (int round = 0; round < 400; ++round) {
    std::string raw = mixed;
    for (int i = 0; i < 10; ++i) raw[random() % raw.size()] = static_cast<char>(random());
    raw.resize(random() % raw.size());
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round);
    expect_sound(raw);
  }
}

}  // namespace
}  // namespace mailherd
