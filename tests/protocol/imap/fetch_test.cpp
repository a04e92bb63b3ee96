// tests/protocol/imap: FETCH responses: bodies in every form, items nobody asked for, several fetches in flight with news in between.
#include <gmock/gmock.h>

#include "core/limits.hpp"
#include "tests/protocol/imap/script.hpp"

namespace mailherd::imap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A session in which UID FETCH of a body (number 3) is under way.
script fetching(fetch_what what = fetch_what::body) {
  script s;
  s.select();
  s.engine.fetch(uids({5, 6}), what);
  s.sent();
  return s;
}

std::vector<std::string> told(std::string_view response, fetch_what what = fetch_what::body) {
  auto s = fetching(what);
  return s.server(response);
}

TEST(body, in_every_form_a_server_may_send) {
  const auto expected = ElementsAre("begin 1 uid=5 3", "body a\r\n", "fetched 1 uid=5 body");
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] {3}\r\na\r\n)\r\n"), expected);
  EXPECT_THAT(told("* 1 fetch (uid 5 body[] {3}\r\na\r\n)\r\n"), expected);
  EXPECT_THAT(told("* 1 FETCH (UID 5 RFC822 {3}\r\na\r\n)\r\n"), expected);
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY.PEEK[] {3}\r\na\r\n)\r\n"), expected);
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] {3+}\r\na\r\n)\r\n"), expected);
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] ~{3}\r\na\r\n)\r\n"), expected);
  EXPECT_THAT(told("* 1 FETCH (UID 5  BODY[]  {3}\r\na\r\n )\r\n"), expected);
  EXPECT_THAT(told("* 1 FETCH ( UID 5 BODY[] {3}\na\r\n)\n"), expected) << "bare line feeds";
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] \"a b\")\r\n"), ElementsAre("begin 1 uid=5 3", "body a b", "fetched 1 uid=5 body"));
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] \"a\\\"\\\\b\")\r\n"), ElementsAre("begin 1 uid=5 4", "body a\"\\b", "fetched 1 uid=5 body"));
}

TEST(body, empty_and_missing_are_not_the_same) {
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] {0}\r\n)\r\n"), ElementsAre("begin 1 uid=5 0", "body ", "fetched 1 uid=5 body"));
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] \"\")\r\n"), ElementsAre("begin 1 uid=5 0", "body ", "fetched 1 uid=5 body"));
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] NIL)\r\n"), ElementsAre("fetched 1 uid=5")) << "expunged meanwhile";
}

TEST(body, uid_before_or_behind) {
  auto s = fetching();
  EXPECT_THAT(s.server("* 1 FETCH (BODY[] {3}\r\nabc UID 5 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\")\r\n"),
              ElementsAre("begin 1 uid=0 3", "body abc", "fetched 1 uid=5 date=837596665 body"));
  EXPECT_TRUE(s.engine.quirks().met(quirk::uid_after_body));
  EXPECT_THAT(s.server("* 2 FETCH (INTERNALDATE \"x\" ENVELOPE (\"UID 99\" NIL) X (UID 98) UID 6 BODY[] {3}\r\nabc)\r\n"),
              ElementsAre("begin 2 uid=6 3", "body abc", "fetched 2 uid=6 body"))
      << "a UID is an item, not a word that looks like one";
}

TEST(body, one_message_per_response) {
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] {1}\r\na BODY[] {1}\r\nb)\r\n"),
              ElementsAre("begin 1 uid=5 1", "body a", "failed protocol_violation"));
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] \"a\" RFC822 {1}\r\nb)\r\n"),
              ElementsAre("begin 1 uid=5 1", "body a", "failed protocol_violation"));
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] {1}\r\na UID 6)\r\n"), ElementsAre("begin 1 uid=5 1", "body a", "failed protocol_violation"))
      << "whose body was it?";
  EXPECT_THAT(told("* 1 FETCH (UID 5 UID 5 BODY[] {1}\r\na UID 5)\r\n"), ElementsAre("begin 1 uid=5 1", "body a", "fetched 1 uid=5 body"));
}

TEST(body, a_part_never_passes_for_the_message) {
  for (const char* item : {"BODY[TEXT]", "BODY[1]", "BODY[]<0>", "BODY[HEADER]", "BODY[HEADER.FIELDS (UID)]", "BINARY[]", "RFC822.TEXT",
                           "RFC822.HEADER", "X-BODY[]", "BODY[1.MIME]", "X-RFC822"}) {
    auto s = fetching();
    EXPECT_THAT(s.server(fmt::format("* 1 FETCH (UID 5 {} {{200}}\r\n{} FLAGS (\\Seen))\r\n", item, std::string(200, 'x'))),
                ElementsAre("fetched 1 uid=5"))
        << item;
    EXPECT_TRUE(s.engine.quirks().met(quirk::unasked_body) || s.engine.quirks().met(quirk::unasked_item)) << item;
    EXPECT_THAT(s.server(fmt::format("* 1 FETCH (UID 5 {} \"short\" BODY[] {{1}}\r\nm)\r\n", item)),
                ElementsAre("begin 1 uid=5 1", "body m", "fetched 1 uid=5 body"))
        << item;
  }
}

TEST(body, only_what_was_asked_for) {
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] {1}\r\nm)\r\n", fetch_what::headers), ElementsAre("fetched 1 uid=5"));
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] \"m\")\r\n", fetch_what::sizes), ElementsAre("fetched 1 uid=5"));
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] {1}\r\nm BODY[HEADER] {1}\r\nh)\r\n", fetch_what::headers),
              ElementsAre("begin 1 uid=5 1 headers", "body h", "fetched 1 uid=5 body"));
  script nothing;
  nothing.select();
  EXPECT_THAT(nothing.server("* 1 FETCH (UID 5 BODY[] {1}\r\nm)\r\n"), ElementsAre("fetched 1 uid=5"));
  nothing.engine.noop();
  nothing.engine.fetch(uids({5}), fetch_what::body);
  EXPECT_THAT(nothing.server("* 1 FETCH (UID 5 BODY[] {1}\r\nm)\r\n"), ElementsAre("fetched 1 uid=5")) << "not sent yet";
}

TEST(body, other_literals_large_and_small_go_by) {
  const std::string large(100'000, 'x');
  EXPECT_THAT(told("* 1 FETCH (UID 5 X-GM-BLOB {100000}\r\n" + large + " BODY[TEXT] {100000}\r\n" + large + " BODY[] {1}\r\nm)\r\n"),
              ElementsAre("begin 1 uid=5 1", "body m", "fetched 1 uid=5 body"));
  EXPECT_THAT(
      told("* 1 FETCH (ENVELOPE (\"d\" {9}\r\nsub)ject\" ((\"n\" NIL {2}\r\nme \"x\")) NIL) UID 5 BODY[] {1}\r\nm ENVELOPE ({0}\r\n))\r\n"),
      ElementsAre("begin 1 uid=5 1", "body m", "fetched 1 uid=5 body"));
}

TEST(body, short_ones_in_quotes_come_once_whatever_follows) {
  EXPECT_THAT(told("* 1 FETCH (UID 5 BODY[] \"m\" ENVELOPE ({1}\r\nx {2}\r\nyy) X (({0}\r\n)))\r\n"),
              ElementsAre("begin 1 uid=5 1", "body m", "fetched 1 uid=5 body"));
}

TEST(body, items_nobody_asked_for_are_read_over) {
  auto s = fetching();
  EXPECT_THAT(s.server("* 1 FETCH (X-GM-MSGID 1278455344230334865 X-GM-LABELS (\"\\\\Inbox\" foo[bar) FLAGS (\\Seen a] b[ ~c {2}\r\nx}) "
                       "MODSEQ (12) UID 5 "
                       "BODYSTRUCTURE ((\"TEXT\" \"PLAIN\" (\"a\" \"b\") NIL NIL \"7BIT\" 1 1)) BODY[] {1}\r\nm EMAILID (M1) X NIL)\r\n"),
              ElementsAre("begin 1 uid=5 1", "body m", "fetched 1 uid=5 body"));
  EXPECT_TRUE(s.engine.quirks().met(quirk::unasked_item));
  auto ordinary = fetching();
  ordinary.server("* 1 FETCH (UID 5 FLAGS (\\Seen) MODSEQ (12) BODY[] {1}\r\nm)\r\n");
  EXPECT_TRUE(ordinary.engine.quirks().empty());
}

TEST(body, bytes_of_any_kind_pass_unchanged) {
  std::string message;
  for (int c = 0; c < 256; ++c) message += static_cast<char>(c);
  message += "\r\n)\r\nA3 OK done\r\n* BYE\r\n{5}\r\n\r\r\n\n";
  EXPECT_THAT(told(fmt::format("* 1 FETCH (UID 5 BODY[] {{{}}}\r\n{})\r\n", message.size(), message)),
              ElementsAre(fmt::format("begin 1 uid=5 {}", message.size()), "body " + message, "fetched 1 uid=5 body"));
}

TEST(body, a_size_unlike_the_bytes_is_a_hint) {
  auto s = fetching();
  EXPECT_THAT(s.server("* 1 FETCH (UID 5 RFC822.SIZE 99 BODY[] {1}\r\nm)\r\n"),
              ElementsAre("begin 1 uid=5 1", "body m", "fetched 1 uid=5 size=99 body"));
  EXPECT_TRUE(s.engine.quirks().met(quirk::wrong_size));
}

TEST(body, slices_of_a_large_message_are_not_copied) {
  auto s = fetching();
  const std::string message(1'000'000, 'x');
  const std::string wire = "* 1 FETCH (UID 5 BODY[] {1000000}\r\n" + message + ")\r\n";
  s.engine.receive(wire, test_now);
  std::size_t chunks = 0;
  while (const auto e = s.engine.next_event()) {
    const auto* chunk = std::get_if<event::body_chunk>(&*e);
    if (!chunk) continue;
    ++chunks;
    EXPECT_GE(chunk->bytes.data(), wire.data());
    EXPECT_LE(chunk->bytes.data() + chunk->bytes.size(), wire.data() + wire.size());
  }
  EXPECT_EQ(chunks, 1u);
}

TEST(several, in_flight_with_news_in_between) {
  script s;
  s.select();
  s.engine.fetch(uids({5}), fetch_what::body);
  s.engine.fetch(uids({6}), fetch_what::body);
  s.engine.fetch(uids({7}), fetch_what::headers);
  EXPECT_THAT(s.server("* 1 FETCH (UID 5 BODY[] {3}\r\none)\r\n"
                       "* 1 EXPUNGE\r\n"
                       "* 4 EXISTS\r\n"
                       "A3 OK\r\n"
                       "* 1 FETCH (FLAGS (\\Deleted))\r\n"
                       "* VANISHED 5\r\n"
                       "* 1 FETCH (UID 6 BODY[] {3}\r\ntwo)\r\n"
                       "* OK still working\r\n"
                       "A4 OK\r\n"
                       "* 2 FETCH (UID 7 RFC822.SIZE 12 BODY[HEADER] {5}\r\nthree)\r\n"
                       "* 3 EXPUNGE\r\n"
                       "A5 OK [EXPUNGEISSUED] done\r\n"),
              ElementsAre("begin 1 uid=5 3", "body one", "fetched 1 uid=5 body", "expunged 1", "exists 4", "done 3 UID FETCH",
                          "fetched 1 uid=0", "expunged 0", "begin 1 uid=6 3", "body two", "fetched 1 uid=6 body", "done 4 UID FETCH",
                          "begin 2 uid=7 5 headers", "body three", "fetched 2 uid=7 size=12 body", "expunged 3", "done 5 UID FETCH"));
}

TEST(malformed, ends_the_session_rather_than_guessing) {
  for (const char* bad : {"* 1 FETCH\r\n",
                          "* 1 FETCH UID 5\r\n",
                          "* 1 FETCH (UID 5\r\n",
                          "* 1 FETCH (UID)\r\n",
                          "* 1 FETCH (UID x)\r\n",
                          "* 1 FETCH (UID 0)\r\n",
                          "* 1 FETCH (UID 4294967296)\r\n",
                          "* 1 FETCH (UID 99999999999999999999)\r\n",
                          "* 1 FETCH (UID -1)\r\n",
                          "* 1 FETCH (UID {1}\r\n5)\r\n",
                          "* 1 FETCH (UID 5 RFC822.SIZE)\r\n",
                          "* 1 FETCH (UID 5 RFC822.SIZE NIL)\r\n",
                          "* 1 FETCH (UID 5 RFC822.SIZE {1}\r\n5)\r\n",
                          "* 1 FETCH (UID 5 RFC822.SIZE 99999999999999999999)\r\n",
                          "* 1 FETCH (UID 5 FLAGS (a)\r\n",
                          "* 1 FETCH (UID 5 BODY[] \"open)\r\n",
                          "* 1 FETCH (UID 5 \"quoted\" x)\r\n",
                          "* 1 FETCH (UID 5 ((x)))\r\n",
                          "* 1 FETCH (BODY[] {3}\r\nabc\r\n",
                          "* 1 FETCH (BODY[] {3}\r\nabc {3}\r\ndef)\r\n",
                          "* 1 FETCH ({3}\r\nabc)\r\n",
                          "* 1 FETCH (UID 5) {3}\r\nabc\r\n",
                          "* 0 FETCH (UID 5)\r\n",
                          "* 4294967296 FETCH (UID 5)\r\n",
                          "* 4294967296 FETCH (BODY[] {3}\r\nabc)\r\n",
                          "* 1x FETCH (UID 5)\r\n"}) {
    auto s = fetching(fetch_what::sizes);
    const auto events = s.server(bad);
    ASSERT_FALSE(events.empty()) << bad;
    EXPECT_EQ(events.back(), "failed protocol_violation") << bad;
  }
}

TEST(listing, dates_and_sizes) {
  EXPECT_THAT(told("* 1 FETCH (UID 4294967295 RFC822.SIZE 18446744073709551615 INTERNALDATE \" 1-Jan-1970 00:00:00 +0000\")\r\n",
                   fetch_what::sizes),
              ElementsAre("fetched 1 uid=4294967295 size=18446744073709551615 date=0"));
  EXPECT_THAT(told("* 1 FETCH (UID 5 RFC822.SIZE 0 INTERNALDATE \"soon\")\r\n* 2 FETCH (UID 6 INTERNALDATE NIL RFC822.SIZE 1)\r\n",
                   fetch_what::sizes),
              ElementsAre("fetched 1 uid=5 size=0", "fetched 2 uid=6 size=1"))
      << "a date nobody can read is none";
}

}  // namespace
}  // namespace mailherd::imap
