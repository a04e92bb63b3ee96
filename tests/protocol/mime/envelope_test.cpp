// tests/protocol/mime: envelopes of ordinary, odd and hostile headers.
#include <gmock/gmock.h>

#include <chrono>
#include <random>
#include <thread>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/mime/mime.hpp"

namespace mailherd {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string ordinary =
    "Return-Path: <a@b.test>\r\n"
    "Received: from x.test (x.test [192.0.2.1])\r\n\tby mx.test with ESMTPS id 1;\r\n\tTue, 24 Nov 2026 03:12:13 +0000\r\n"
    "From: =?utf-8?Q?J=C3=B6rg_M=C3=BCller?= <joerg@a.test>\r\n"
    "To: \"Doe, Jane\" <jane@b.test>, bob@c.test\r\n"
    "Cc: Team: x@d.test, Y <y@d.test>;\r\n"
    "Subject: =?utf-8?B?SGVsbG8g?=\r\n =?utf-8?B?V8O2cmxk?= again\r\n"
    "Date: Tue, 24 Nov 2026 03:12:12 +0100\r\n"
    "Message-ID: <one@a.test>\r\n"
    "In-Reply-To: <zero@a.test>\r\n"
    "References: <r1@a.test>\r\n <r2@a.test>\r\n"
    "Content-Type: text/plain\r\n\r\nSubject: not this\r\n";

bool is_clean(const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto n = utf8_sequence(rest);
    if (n == 0 || rest.front() == '\0') return false;
    rest.remove_prefix(n);
  }
  return true;
}

void expect_clean(const envelope& e) {
  for (const auto* list : {&e.from, &e.to, &e.cc})
    for (const auto& a : *list) EXPECT_TRUE(is_clean(a.name) && is_clean(a.address));
  EXPECT_TRUE(is_clean(e.subject) && is_clean(e.message_id));
  for (const auto* list : {&e.in_reply_to, &e.references, &e.notes})
    for (const auto& s : *list) EXPECT_TRUE(is_clean(s));
}

std::string subject_of(const std::string& value) { return mime::parse_envelope("Subject: " + value + "\r\n\r\n").subject; }

std::vector<mail_address> addresses_of(const std::string& value) { return mime::parse_envelope("To: " + value + "\r\n\r\n").to; }

TEST(envelope, reads_an_ordinary_header) {
  const auto e = mime::parse_envelope(ordinary);
  EXPECT_THAT(e.from, ElementsAre(mail_address{"Jörg Müller", "joerg@a.test"}));
  EXPECT_THAT(e.to, ElementsAre(mail_address{"Doe, Jane", "jane@b.test"}, mail_address{"", "bob@c.test"}));
  EXPECT_THAT(e.cc, ElementsAre(mail_address{"", "x@d.test"}, mail_address{"Y", "y@d.test"}));
  EXPECT_EQ(e.subject, "Hello Wörld again");
  ASSERT_TRUE(e.date);
  EXPECT_EQ(e.date->time_since_epoch(), std::chrono::seconds(1795486332));
  EXPECT_EQ(e.message_id, "one@a.test");
  EXPECT_THAT(e.in_reply_to, ElementsAre("zero@a.test"));
  EXPECT_THAT(e.references, ElementsAre("r1@a.test", "r2@a.test"));
  EXPECT_THAT(e.notes, IsEmpty());
}

TEST(envelope, says_when_no_person_wrote_it) {
  const auto robot = mime::parse_envelope("Subject: away\r\nAuto-Submitted:\r\n auto-replied (vacation)\r\n\r\n");
  EXPECT_EQ(robot.automatic, "auto_reply");
  EXPECT_EQ(robot.automatic_reason, "Auto-Submitted: auto-replied (vacation)");
  EXPECT_EQ(mime::parse_envelope(ordinary).automatic, "");
}

TEST(envelope, bare_line_feeds_are_read_alike) {
  std::string lf = ordinary;
  lf.erase(std::remove(lf.begin(), lf.end(), '\r'), lf.end());
  const auto a = mime::parse_envelope(ordinary), b = mime::parse_envelope(lf);
  EXPECT_EQ(a.subject, b.subject);
  EXPECT_EQ(a.from, b.from);
  EXPECT_EQ(a.references, b.references);
}

TEST(envelope, says_what_is_missing) {
  const auto e = mime::parse_envelope("Subject: x\r\n\r\n");
  EXPECT_THAT(e.notes, ElementsAre("From is missing", "Date is missing"));
  EXPECT_FALSE(e.date);
  EXPECT_EQ(e.message_id, "");
}

TEST(envelope, subjects_in_many_dresses) {
  EXPECT_EQ(subject_of("plain   words"), "plain words");
  EXPECT_EQ(subject_of("=?ISO-8859-1?Q?caf=E9?="), "café");
  EXPECT_EQ(subject_of("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?="), "日本");
  EXPECT_EQ(subject_of("Grüße"), "Grüße");
  EXPECT_EQ(subject_of("caf\xE9"), "café");
  EXPECT_EQ(subject_of(std::string("a\0b", 3)), "a b");
  EXPECT_TRUE(is_clean(subject_of("=?x-unknown-charset?Q?caf=E9?=")));
  EXPECT_THAT(subject_of("=?utf-8?B?broken!!!?= tail"), HasSubstr("tail"));
  EXPECT_THAT(subject_of("=?utf-8?Q?never ends"), HasSubstr("never ends"));
}

TEST(envelope, encoded_words_as_senders_really_write_them) {
  EXPECT_EQ(subject_of("=?utf-8?Q?J=C3?=\r\n =?UTF-8?Q?=B6rg?="), "Jörg") << "a character split over two words";
  EXPECT_EQ(subject_of("=?utf-8?B?w7Y?="), "ö") << "no padding";
  EXPECT_EQ(subject_of("=?utf-8*de?Q?gr=C3=BCn?="), "grün") << "RFC 2231's language";
  EXPECT_EQ(subject_of("a =?utf-8?Q?=C3=B6?= b =?utf-8?Q?c?= =?utf-8?Q?_d?="), "a ö b c d");
  EXPECT_EQ(subject_of("=?utf-8?Q?two words?="), "two words");
  EXPECT_EQ(subject_of("=?utf-8?Q?\?="), "");
  EXPECT_EQ(subject_of("=?utf-8?X?abc?="), "=?utf-8?X?abc?=");
  EXPECT_EQ(subject_of("=?\?Q?abc?="), "=?\?Q?abc?=");
  EXPECT_EQ(subject_of("=?gb2312?B?1tC5+g==?= =?euc-kr?B?x9GxuQ==?= =?koi8-r?B?7c/T?="), "中国한국Мос");
  EXPECT_EQ(subject_of("caf\xE9 =?utf-8?Q?=C3=B6?="), "café ö");
}

TEST(envelope, invented_character_sets_are_noted_and_never_reach_a_library) {
  const auto e = mime::parse_envelope("Subject: =?x-invented-1?Q?caf=E9?= =?../../x//TRANSLIT?Q?a?=\n\n");
  EXPECT_EQ(e.subject, "caféa");
  EXPECT_THAT(e.notes, Contains("the character set x-invented-1 is not known"));
}

TEST(envelope, addresses_in_many_dresses) {
  using a = mail_address;
  EXPECT_THAT(addresses_of("joe@x.test"), ElementsAre(a{"", "joe@x.test"}));
  EXPECT_THAT(addresses_of("joe@x.test (Joe (the) Doe)"), ElementsAre(a{"Joe (the) Doe", "joe@x.test"}));
  EXPECT_THAT(addresses_of("<@relay.test,@b.test:joe@x.test>"), ElementsAre(a{"", "joe@x.test"}));
  EXPECT_THAT(addresses_of("\"a \\\"quoted\\\" name\" <j@x.test>"), ElementsAre(a{"a \"quoted\" name", "j@x.test"}));
  EXPECT_THAT(addresses_of("=?utf-8?Q?Doe,_J=C3=B6rg?= <j@x.test>, b@x.test"), ElementsAre(a{"Doe, Jörg", "j@x.test"}, a{"", "b@x.test"}));
  EXPECT_THAT(addresses_of("\"=?utf-8?Q?J=C3=B6rg?=\" <j@x.test>"), ElementsAre(a{"Jörg", "j@x.test"}));
  EXPECT_THAT(addresses_of("undisclosed-recipients:;"), IsEmpty());
  EXPECT_THAT(addresses_of("root"), ElementsAre(a{"", "root"}));
  EXPECT_THAT(addresses_of(",, ,a@x.test,,"), ElementsAre(a{"", "a@x.test"}));
  EXPECT_THAT(addresses_of("our support team"), ElementsAre(a{"our support team", ""}));
  EXPECT_THAT(addresses_of("<>"), ElementsAre(a{"", ""}));
  EXPECT_THAT(addresses_of("joe @ x.test"), ElementsAre(a{"", "joe@x.test"}));
  EXPECT_THAT(addresses_of("\"Joe <joe@x.test>, b@x.test"), ElementsAre(a{"\"Joe", "joe@x.test"}, a{"", "b@x.test"}));
}

TEST(envelope, dates_in_many_dresses) {
  const auto date = [](const std::string& value) { return mime::parse_envelope("Date: " + value + "\r\n\r\n").date; };
  const wall_time expected{std::chrono::seconds(1795486332)};
  EXPECT_EQ(date("Tue, 24 Nov 2026 02:12:12 GMT"), expected);
  EXPECT_EQ(date("24 Nov 2026 02:12:12 +0000 (UTC)"), expected);
  EXPECT_EQ(date("Mon, 23 Nov 2026 21:12:12 -0500"), expected);
  EXPECT_EQ(date("Mon, 23 Nov 2026 21:12:12 EST"), expected);
  EXPECT_FALSE(date("yesterday"));
  EXPECT_FALSE(date(""));
  EXPECT_FALSE(date("Tue, 24 Nov 1926 02:12:12 GMT"));
  EXPECT_FALSE(date(std::string(100'000, '9')));
}

TEST(envelope, the_first_of_repeated_fields_counts_and_recipients_add_up) {
  const auto e = mime::parse_envelope(
      "From: a@x.test\nFrom: b@x.test\nTo: c@x.test\nTo: d@x.test\nSubject: 1\nSubject: 2\nDate: Tue, 24 Nov 2026 02:12:12 GMT\n\n");
  EXPECT_THAT(e.from, ElementsAre(mail_address{"", "a@x.test"}));
  EXPECT_EQ(e.to.size(), 2u);
  EXPECT_EQ(e.subject, "1");
  EXPECT_THAT(e.notes, Contains("From occurs more than once; the first counts"));
}

TEST(envelope, ids_without_brackets_or_with_garbage) {
  const auto id = [](const std::string& v) { return mime::parse_envelope("Message-ID: " + v + "\n\n").message_id; };
  EXPECT_EQ(id("<a@b>"), "a@b");
  EXPECT_EQ(id("a@b"), "a@b");
  EXPECT_EQ(id("<a @ b> trailing"), "a@b");
  EXPECT_EQ(id("<unterminated"), "unterminated");
  EXPECT_EQ(id("<>"), "");
  EXPECT_EQ(id("<" + std::string(5000, 'x') + ">"), "");
  const auto e = mime::parse_envelope("In-Reply-To: Your message of \"Tue\" <x@y>\nReferences: a@b, words c@d\n\n");
  EXPECT_THAT(e.in_reply_to, ElementsAre("x@y"));
  EXPECT_THAT(e.references, ElementsAre("a@b", "c@d"));
}

TEST(envelope, lines_that_are_no_fields_do_not_hide_those_behind_them) {
  const auto e = mime::parse_envelope("From joe@x.test Tue Nov 24 03:12:12 2026\ngarbage\n: no name\nSubject : yes\n\n");
  EXPECT_EQ(e.subject, "yes");
  EXPECT_THAT(e.notes, Contains("the header holds a line that is no field"));
}

TEST(envelope, endless_input_is_cut_with_a_note) {
  const auto long_header = mime::parse_envelope("Subject: x\n" + std::string(limits::header_parse_bytes, 'a') + ": b\nTo: a@b\n\n");
  EXPECT_EQ(long_header.subject, "x");
  EXPECT_THAT(long_header.to, IsEmpty());
  EXPECT_THAT(long_header.notes, Contains(HasSubstr("the header is longer than")));
  const auto long_field = mime::parse_envelope("Subject: " + std::string(limits::header_field_bytes + 1, 'a') + "\nTo: a@b\n\n");
  EXPECT_EQ(long_field.subject.size(), limits::header_field_bytes);
  EXPECT_EQ(long_field.to.size(), 1u);
  EXPECT_THAT(long_field.notes, Contains("Subject is too long; its end is left out"));
  std::string many = "To: ";
  for (std::size_t i = 0; i < limits::envelope_addresses + 1; ++i) many += "a@b.test,";
  EXPECT_EQ(mime::parse_envelope(many + "\n\n").to.size(), limits::envelope_addresses);
  many = "References: ";
  for (std::size_t i = 0; i < limits::envelope_references + 1; ++i) many += "<a@b>";
  EXPECT_EQ(mime::parse_envelope(many + "\n\n").references.size(), limits::envelope_references);
}

std::chrono::microseconds time_of(const std::string& header) {
  const auto begin = std::chrono::steady_clock::now();
  expect_clean(mime::parse_envelope(header));
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
}

/// What needs hundreds of milliseconds, or the whole stack, in a general parser. Not against a clock alone: as much of what costs nothing in particular is
/// the measure, which grows with the machine's load and with sanitizers.
TEST(envelope, hostile_fields_cost_little) {
  const auto filled = [](const std::string& name, const std::string& begin, const std::string& piece, std::size_t fields) {
    std::string header;
    for (std::size_t i = 0; i < fields; ++i) {
      const auto end = header.size() + (limits::header_parse_bytes - 64) / fields;
      header += name + begin;
      while (header.size() < end) header += piece;
      header += "\n";
    }
    return header + "\n";
  };
  for (const char* name : {"To: ", "Subject: ", "References: "}) {
    // A thousand addresses, or as many words as are decoded.
    const auto measure = std::max(time_of(filled(name, "", "a@b, ", 4)), time_of(filled(name, "", "=?iso-2022-jp?b?YQ==?= x, ", 4)));
    const auto most = std::chrono::milliseconds(20) + 10 * measure;
    for (const std::string piece : {"a:", "a@b,", "\"a\" ", "<a@b>", "=?utf-8?q?a?=,", "=?utf-8?q?a?= ", "=?iso-2022-jp?b?", "(", "<", "\"", "=?", "a:;", "\\", ",", "=?a?q?x",
                                    "=?a?q?x,", "=?a?q?", "?=", "=?utf-8?q?" "?=", "=?a?q? ?="})
      for (const char* begin : {"", "\"", "(", "\"\" <", "=?utf-8?q?"})
        for (const std::size_t fields : {1, 4}) {
          const auto header = filled(name, begin, piece, fields);
          auto took = time_of(header);
          for (int again = 0; again < 4 && took >= most; ++again) took = std::min(took, time_of(header));   // a busy machine makes one slow, not all
          EXPECT_LT(took, most) << fields << " times " << name << begin << piece;
        }
  }
}

TEST(envelope, what_looks_like_encoded_words_and_is_none_stays) {
  EXPECT_EQ(subject_of("=?a?q?x =?a?q?x and more"), "=?a?q?x =?a?q?x and more");
  EXPECT_EQ(subject_of("=?a =?utf-8?x?no?= =?utf-8?q?ok?= =?"), "=?a =?utf-8?x?no?= ok =?");
  EXPECT_EQ(subject_of("=?utf-8?q?" + std::string(4096, 'x') + "?= =?utf-8?q?ok?="), "=?utf-8?q?" + std::string(4096, 'x') + "?= ok");
  EXPECT_EQ(subject_of("=?" + std::string(70, 'a') + "?q?x?= =?utf-8?q?ok?="), "=?" + std::string(70, 'a') + "?q?x?= ok");
  EXPECT_THAT(addresses_of("\"=?utf-8?q?a?= <a@b>, =?utf-8?q?c?= <c@d>"), ElementsAre(mail_address{"\"a", "a@b"}, mail_address{"c", "c@d"})) << "read anew, without the quote";
}

TEST(envelope, any_bytes_give_clean_text) {
  const std::uint32_t seed = 20261124;
  std::mt19937 random(seed);
  for (int round = 0; round < 500; ++round) {
    std::string raw = ordinary;
    for (int i = 0; i < 12; ++i) raw[random() % raw.size()] = static_cast<char>(random());
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round);
    expect_clean(mime::parse_envelope(raw));
  }
}

TEST(envelope, many_threads_read_at_once) {
  std::vector<std::thread> threads;
  std::vector<int> good(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) good[static_cast<std::size_t>(t)] += mime::parse_envelope(ordinary).subject == "Hello Wörld again";
    });
  for (auto& t : threads) t.join();
  EXPECT_THAT(good, ElementsAre(300, 300, 300, 300));
}

TEST(header_end, is_behind_the_blank_line) {
  using mime::header_end;
  EXPECT_EQ(header_end("A: b\r\n\r\nbody"), 8u);
  EXPECT_EQ(header_end("A: b\n\nbody"), 6u);
  EXPECT_EQ(header_end("A: b\r\n\nbody"), 7u);
  EXPECT_EQ(header_end("A: b\n\r\nbody"), 7u);
  EXPECT_EQ(header_end("\r\nbody"), 2u);
  EXPECT_EQ(header_end("\nbody"), 1u);
  EXPECT_EQ(header_end("A: b\r\n"), 6u);
  EXPECT_EQ(header_end("A: b\r\n\r"), 7u);
  EXPECT_EQ(header_end("A: b"), 4u);
  EXPECT_EQ(header_end(""), 0u);
  EXPECT_EQ(header_end("A: b\r \r\n c\r\n\r\nx"), 14u);
}

}  // namespace
}  // namespace mailherd
