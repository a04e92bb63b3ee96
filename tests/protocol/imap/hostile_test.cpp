// tests/protocol/imap: servers that want our memory, our time or our secrets: each limit, and what no server may say.
#include <gmock/gmock.h>

#include "core/limits.hpp"
#include "tests/protocol/imap/script.hpp"

namespace mailherd::imap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(limit, of_a_line) {
  for (const std::size_t piece : {std::size_t{0}, std::size_t{1}, std::size_t{1000}}) {
    script greeting;
    EXPECT_THAT(greeting.server("* OK " + std::string(limits::imap_line_bytes, 'x'), piece), ElementsAre("failed limit_exceeded")) << piece;
    script exact;
    EXPECT_THAT(exact.server("* OK " + std::string(limits::imap_line_bytes - 7, 'x') + "\r\n", piece), ElementsAre("greeted")) << piece;
    script one_more;
    EXPECT_THAT(one_more.server("* OK " + std::string(limits::imap_line_bytes - 6, 'x') + "\r\n", piece),
                ElementsAre("failed limit_exceeded"))
        << piece;
    script returns_only;
    EXPECT_THAT(returns_only.server(std::string(limits::imap_line_bytes + 1, '\r'), piece), ElementsAre("failed limit_exceeded"));
    script nuls;
    EXPECT_THAT(nuls.server(std::string(limits::imap_line_bytes + 1, '\0'), piece), ElementsAre("failed limit_exceeded"));
  }
}

TEST(limit, of_a_line_holds_for_the_text_around_literals) {
  script s;
  s.select();
  s.engine.fetch(uids({1}), fetch_what::body);
  const std::string text(limits::imap_line_bytes / 2, 'x');
  EXPECT_THAT(s.server("* 1 FETCH (UID 1 A " + text + " BODY[] {1}\r\nm B " + text + ")\r\n"),
              ElementsAre("begin 1 uid=1 1", "body m", "failed limit_exceeded"));
  EXPECT_LT(s.engine.heap_bytes(), 2 * limits::imap_line_bytes + 8'192);
}

TEST(limit, of_a_body) {
  script s;
  s.select();
  s.engine.fetch(uids({5}), fetch_what::body);
  EXPECT_THAT(s.server("* 1 FETCH (UID 5 BODY[] {2147483648}\r\n"), ElementsAre("begin 1 uid=5 2147483648", "failed limit_exceeded"))
      << "the session must learn which message it is";
  EXPECT_THAT(s.reason.detail, HasSubstr("2147483648 bytes"));
  script largest;
  largest.select();
  largest.engine.fetch(uids({5}), fetch_what::body);
  EXPECT_THAT(largest.server(fmt::format("* 1 FETCH (UID 5 BODY[] {{{}}}\r\n", limits::imap_body_literal_bytes)),
              ElementsAre(fmt::format("begin 1 uid=5 {}", limits::imap_body_literal_bytes)));
  for (const char* size : {"18446744073709551615", "18446744073709551616", "99999999999999999999999999"}) {
    script beyond;
    beyond.select();
    beyond.engine.fetch(uids({5}), fetch_what::body);
    EXPECT_EQ(beyond.server(fmt::format("* 1 FETCH (UID 5 BODY[] {{{}}}\r\n", size)).back(), "failed limit_exceeded") << size;
  }
  script unasked;
  unasked.select();
  EXPECT_THAT(unasked.server("* 1 FETCH (UID 5 BODY[] {2147483648}\r\n"), ElementsAre("failed limit_exceeded"));
}

TEST(limit, of_literals_that_are_kept) {
  const auto listing = [](std::string_view rest) {
    script s;
    s.sign_in();
    s.engine.list("*");
    return s.server(rest);
  };
  EXPECT_THAT(listing(fmt::format("* LIST () \"/\" {{{}}}\r\n", limits::imap_small_literal_bytes + 1)),
              ElementsAre("failed limit_exceeded"));
  EXPECT_THAT(listing("* LIST () \"/\" {2147483648}\r\n"), ElementsAre("failed limit_exceeded"));
  EXPECT_THAT(listing(fmt::format("* LIST () \"/\" {{{}}}\r\n{}\r\n", limits::imap_small_literal_bytes,
                                  std::string(limits::imap_small_literal_bytes, 'n')))
                  .size(),
              1u);
  std::string many = "* X ";
  for (int i = 0; i < 3; ++i) many += "{30000}\r\n" + std::string(30'000, 'x') + " ";
  EXPECT_THAT(listing(many), ElementsAre("failed limit_exceeded")) << "together, not each";
  script nested;
  nested.select();
  EXPECT_THAT(nested.server("* 1 FETCH (ENVELOPE ({65537}\r\n"), ElementsAre("failed limit_exceeded"));
  EXPECT_LT(nested.engine.heap_bytes(), 4'096u);
}

TEST(limit, of_the_number_of_literals) {
  std::string empty = "* X";
  for (std::size_t i = 0; i <= limits::imap_literals_per_response; ++i) empty += " {0}\r\n";
  script s;
  s.sign_in();
  EXPECT_THAT(s.server(empty), ElementsAre("failed limit_exceeded"));
  script bodies;
  bodies.select();
  std::string parts = "* 1 FETCH (UID 5";
  for (std::size_t i = 0; i <= limits::imap_literals_per_response; ++i) parts += " BODY[1] {0}\r\n";
  EXPECT_THAT(bodies.server(parts), ElementsAre("failed limit_exceeded"));
}

TEST(limit, of_nesting) {
  const auto nested = [](std::size_t depth) {
    script s;
    s.select();
    return s.server("* 1 FETCH (UID 5 X " + std::string(depth, '(') + std::string(depth, ')') + ")\r\n");
  };
  EXPECT_THAT(nested(limits::imap_nesting), ElementsAre("fetched 1 uid=5"));
  EXPECT_THAT(nested(limits::imap_nesting + 1), ElementsAre("failed protocol_violation"));
  EXPECT_THAT(nested(30'000), ElementsAre("failed protocol_violation"));
  script open;
  open.select();
  EXPECT_THAT(open.server("* 1 FETCH (UID 5 X " + std::string(60'000, '(') + " {3}\r\nabc {3}\r\nabc\r\n"),
              ElementsAre("failed protocol_violation"));
}

TEST(limit, of_capabilities) {
  script s;
  std::string line = "* OK [CAPABILITY IMAP4rev1";
  for (int i = 0; i < 5'000; ++i) line += " AUTH=M" + std::to_string(i);
  s.server(line + "] x\r\n");
  EXPECT_LE(s.engine.capabilities().mechanisms().size(), 32u);
}

TEST(limit, of_what_waits) {
  script s;
  s.select();
  for (int i = 0; i < 2'000; ++i) s.engine.noop();
  EXPECT_EQ(s.engine.pending(), 1'024u);
  EXPECT_EQ(s.engine.noop().error().code, failure::internal);
}

TEST(pairing, an_answer_to_nothing_ends_the_session) {
  for (const char* line : {"A3 OK surprise\r\n", "A2 OK again\r\n", "A0 OK\r\n", "A99999999999999999999 OK\r\n", "B3 OK\r\n", "a3 OK\r\n",
                           "OK\r\n", "A\r\n", "** OK\r\n", "*\r\n", "*OK\r\n", " A3 OK\r\n", "A3OK\r\n", "A+3 OK\r\n", "\x01\r\n"}) {
    script s;
    s.select();
    EXPECT_THAT(s.server(line), ElementsAre("failed protocol_violation")) << line;
  }
  script queued;
  queued.select();
  queued.engine.noop();
  queued.engine.noop();
  EXPECT_THAT(queued.server("A4 OK before it was sent\r\n"), ElementsAre("failed protocol_violation"));
  for (const char* line : {"A3 MAYBE\r\n", "A3\r\n", "A3 \r\n", "A3 BYE\r\n", "A3 PREAUTH\r\n"}) {
    script s;
    s.select();
    s.engine.noop();
    EXPECT_THAT(s.server(line), ElementsAre("failed protocol_violation")) << line;
  }
}

TEST(pairing, continuations_that_nothing_asked_for) {
  script s;
  s.select();
  EXPECT_THAT(s.server("+ send me something\r\n"), ElementsAre("failed protocol_violation"));
  script fetching;
  fetching.select();
  fetching.engine.fetch(uids({1}), fetch_what::body);
  EXPECT_THAT(fetching.server("+\r\n"), ElementsAre("failed protocol_violation"));
  script storm;
  storm.greet("IMAP4rev1 AUTH=LOGIN");
  storm.engine.login(password_of());
  std::string plus;
  for (int i = 0; i < 100'000; ++i) plus += "+ VXNlcm5hbWU6\r\n";
  EXPECT_EQ(storm.server(plus).back(), "failed protocol_violation");
  EXPECT_LT(storm.sent().size(), limits::engine_output_bytes);
}

TEST(hostile, literals_where_none_belong) {
  const auto said = [](std::string_view bytes) {
    script s;
    s.select();
    s.engine.noop();
    return s.server(bytes);
  };
  EXPECT_THAT(said("* OK see {5}\r\n* 4 EXISTS\r\nA3 OK {7}\r\n"), ElementsAre("exists 4", "done 3 NOOP")) << "prose holds no literal";
  EXPECT_THAT(said("* NO [X] {5}\r\n* BAD {5}\r\n* 4 EXISTS\r\n"), ElementsAre("exists 4"));
  EXPECT_THAT(said("* {5}\r\nhello\r\n* 4 EXISTS\r\n"), ElementsAre("exists 4")) << "an unknown response with a literal";
  EXPECT_THAT(said("* 4 {2}\r\nhi EXISTS\r\n* 5 EXISTS\r\n"), ElementsAre("exists 5"));
  EXPECT_THAT(said("* SEARCH 1 {1}\r\n2\r\n"), ElementsAre("failed protocol_violation"));
  EXPECT_THAT(said("* CAPABILITY IMAP4rev1 {4}\r\nIDLE\r\n* 4 EXISTS\r\n"), ElementsAre("exists 4"));
  EXPECT_THAT(said("* STATUS {5}\r\nINBOX (MESSAGES 3)\r\n"), ElementsAre("status 0 messages=3 unseen=- next=- validity=- modseq=-"));
  EXPECT_THAT(said("* X {}\r\n* X {a}\r\n* X {+}\r\n* X {-1}\r\n* X 5}\r\n* 4 EXISTS\r\n"), ElementsAre("exists 4"))
      << "these announce nothing";
  EXPECT_THAT(said("A3 OK {3}\r\n"), ElementsAre("done 3 NOOP"));
}

TEST(hostile, numbers_that_overflow) {
  for (const char* line :
       {"* 4294967296 EXISTS\r\n", "* 99999999999999999999 EXISTS\r\n", "* 18446744073709551616 FETCH (UID 1)\r\n", "* 4x EXISTS\r\n"}) {
    script s;
    s.select();
    EXPECT_THAT(s.server(line), ElementsAre("failed protocol_violation")) << line;
  }
  script s;
  s.select();
  EXPECT_THAT(s.server("* 4294967295 EXISTS\r\n* 0 EXISTS\r\n* 5\r\n* 5 \r\n* 5 UNKNOWN\r\n"),
              ElementsAre("exists 4294967295", "exists 0"));
  s.engine.status("INBOX");
  EXPECT_THAT(s.server("* STATUS INBOX (MESSAGES 4294967296 UIDNEXT 99999999999999999999 UNSEEN 2 UIDVALIDITY x)\r\n"),
              ElementsAre("status 3 messages=- unseen=2 next=- validity=- modseq=-"));
  script selecting;
  selecting.sign_in();
  selecting.engine.select("INBOX", false);
  EXPECT_THAT(selecting.server(
                  "* OK [UIDVALIDITY 4294967296] x\r\n* OK [UIDNEXT -1] x\r\n* OK [HIGHESTMODSEQ 99999999999999999999] x\r\nA2 OK\r\n"),
              ElementsAre("selected 2 exists=0 validity=0 next=0 modseq=0"));
}

TEST(hostile, nuls_and_controls_reach_no_text) {
  script s;
  s.select();
  s.engine.noop();
  s.server(std::string("A3 NO [X\0Y] a\0b\x1b[31m\x7f\xff\r\n", 25));
  EXPECT_EQ(s.reason.detail.find('\0'), std::string::npos);
  EXPECT_EQ(s.reason.detail.find('\x1b'), std::string::npos);
  EXPECT_THAT(s.reason.detail, HasSubstr("a b [31m"));
}

TEST(hostile, blank_lines_and_bare_newlines_are_noise) {
  script s;
  s.select();
  s.engine.noop();
  EXPECT_THAT(s.server("\r\n\n\r\n* 4 EXISTS\nA3 OK\n\n"), ElementsAre("exists 4", "done 3 NOOP"));
  EXPECT_TRUE(s.engine.quirks().met(quirk::blank_line));
  EXPECT_TRUE(s.engine.quirks().met(quirk::bare_newline));
}

TEST(hostile, after_the_end_nothing_is_heard_or_said) {
  script s;
  s.select();
  s.engine.fetch(uids({1}), fetch_what::body);
  s.sent();
  EXPECT_THAT(s.server("A9 OK\r\n* 4 EXISTS\r\n* 1 FETCH (UID 1 BODY[] {1}\r\nx)\r\n"), ElementsAre("failed protocol_violation"));
  EXPECT_THAT(s.server("* 4 EXISTS\r\nA3 OK\r\n"), IsEmpty());
  EXPECT_EQ(s.engine.noop().error().code, failure::protocol_violation);
  s.engine.done_idle();
  EXPECT_EQ(s.sent(), "");
  EXPECT_EQ(s.engine.pending(), 0u);
  EXPECT_EQ(s.engine.ended(test_now).code, failure::protocol_violation);
}

}  // namespace
}  // namespace mailherd::imap
