// tests/protocol/imap: IDLE, and who speaks first when it ends (RFC 2177).
#include <gmock/gmock.h>

#include "tests/protocol/imap/script.hpp"

namespace mailherd::imap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(idle, wakes_and_ends) {
  script s;
  s.select();
  ASSERT_TRUE(s.engine.idle());
  EXPECT_EQ(s.sent(), "A3 IDLE\r\n");
  EXPECT_THAT(s.server("+ idling\r\n"), ElementsAre("idling 3"));
  EXPECT_THAT(s.server("* 4 EXISTS\r\n* 1 RECENT\r\n* 2 EXPUNGE\r\n* 1 FETCH (FLAGS (\\Seen))\r\n"),
              ElementsAre("exists 4", "expunged 2", "fetched 1 uid=0"));
  s.engine.done_idle();
  EXPECT_EQ(s.sent(), "DONE\r\n");
  s.engine.done_idle();
  EXPECT_EQ(s.sent(), "") << "once is enough";
  EXPECT_THAT(s.server("A3 OK Idle completed\r\n"), ElementsAre("done 3 IDLE"));
}

TEST(idle, a_command_ends_it_and_waits) {
  script s;
  s.select();
  s.engine.idle();
  s.server("+ idling\r\n");
  s.sent();
  s.engine.fetch(uid_set::span({10}, {}), fetch_what::sizes);
  EXPECT_EQ(s.sent(), "DONE\r\n") << "the command stays here until the server has left IDLE";
  EXPECT_THAT(s.server("* 5 EXISTS\r\nA3 OK\r\n"), ElementsAre("exists 5", "done 3 IDLE"));
  EXPECT_EQ(s.sent(), "A4 UID FETCH 10:* (UID RFC822.SIZE INTERNALDATE)\r\n");
}

TEST(idle, ended_before_the_server_accepted_it) {
  script s;
  s.select();
  s.engine.idle();
  s.engine.noop();
  EXPECT_EQ(s.sent(), "A3 IDLE\r\n") << "DONE before the \"+\" would be a command line of its own";
  EXPECT_THAT(s.server("* 4 EXISTS\r\n"), ElementsAre("exists 4"));
  EXPECT_EQ(s.sent(), "");
  EXPECT_THAT(s.server("+ idling\r\n"), ElementsAre("idling 3"));
  EXPECT_EQ(s.sent(), "DONE\r\n");
  EXPECT_THAT(s.server("A3 OK\r\n"), ElementsAre("done 3 IDLE"));
  EXPECT_EQ(s.sent(), "A4 NOOP\r\n");
}

TEST(idle, behind_other_work_with_work_behind_it_does_not_hang) {
  script s;
  s.select();
  s.engine.noop();
  s.engine.idle();
  s.engine.noop();
  EXPECT_EQ(s.sent(), "A3 NOOP\r\n");
  s.server("A3 OK\r\n");
  EXPECT_EQ(s.sent(), "A4 IDLE\r\n");
  s.server("+ idling\r\n");
  EXPECT_EQ(s.sent(), "DONE\r\n") << "somebody was waiting already";
  s.server("A4 OK\r\n");
  EXPECT_EQ(s.sent(), "A5 NOOP\r\n");
}

TEST(idle, refused_or_ended_by_the_server) {
  script s;
  s.select();
  s.engine.idle();
  EXPECT_THAT(s.server("A3 NO not now\r\n"), ElementsAre("refused 3 IDLE command_refused"));
  s.engine.idle();
  EXPECT_THAT(s.server("+ idling\r\nA4 OK Idle completed (timeout)\r\n"), ElementsAre("idling 4", "done 4 IDLE"));
  s.sent();
  s.engine.done_idle();
  EXPECT_EQ(s.sent(), "") << "nothing runs any more";
  s.engine.idle();
  s.engine.noop();
  EXPECT_THAT(s.server("A5 BAD unknown command\r\n"), ElementsAre("refused 5 IDLE command_refused"));
  EXPECT_EQ(s.sent(), "A5 IDLE\r\nA6 NOOP\r\n") << "no DONE to a server that never idled";
}

TEST(idle, done_crossing_the_servers_own_end) {
  script s;
  s.select();
  s.engine.idle();
  s.server("+ idling\r\n");
  s.engine.done_idle();
  EXPECT_THAT(s.server("* 4 EXISTS\r\nA3 OK timeout\r\n"), ElementsAre("exists 4", "done 3 IDLE"));
  // The server reads our DONE as a command without a name: its BAD carries the tag DONE, or none.
  EXPECT_THAT(s.server("* BAD unknown command\r\nDONE BAD Error in IMAP command: Missing command\r\n"), IsEmpty());
  EXPECT_TRUE(s.engine.quirks().met(quirk::crossed_done));
  EXPECT_THAT(s.server("DONE OK\r\n"), ElementsAre("failed protocol_violation"));
}

TEST(idle, chatter_is_no_second_beginning) {
  script s;
  s.select();
  s.engine.idle();
  EXPECT_THAT(s.server("+\r\n+ still here\r\n* OK Still here\r\n+ still here\r\n"), ElementsAre("idling 3"));
  EXPECT_TRUE(s.engine.quirks().met(quirk::idle_chatter));
  s.engine.done_idle();
  s.server("A3 OK\r\n");
  EXPECT_THAT(s.server("+ still here\r\n"), ElementsAre("failed protocol_violation")) << "nothing asks for it now";
}

TEST(idle, again_and_again) {
  script s;
  s.select();
  for (int round = 0; round < 100; ++round) {
    const auto id = s.engine.idle();
    ASSERT_TRUE(id);
    EXPECT_EQ(s.sent(), fmt::format("A{} IDLE\r\n", *id));
    EXPECT_THAT(s.server("+ idling\r\n"), ElementsAre(fmt::format("idling {}", *id)));
    s.engine.done_idle();
    EXPECT_EQ(s.sent(), "DONE\r\n");
    EXPECT_THAT(s.server(fmt::format("A{} OK\r\n", *id)), ElementsAre(fmt::format("done {} IDLE", *id)));
  }
  EXPECT_EQ(s.engine.pending(), 0u);
}

}  // namespace
}  // namespace mailherd::imap
