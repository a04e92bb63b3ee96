// tests/protocol/pop3: the dialogue: transcripts, pairing of replies, pipelining, listings, STLS, limits, any split.
#include <gmock/gmock.h>

#include <random>

#include "core/limits.hpp"
#include "tests/protocol/pop3/script.hpp"

namespace mailherd::pop3 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(session, from_greeting_to_quit) {
  script s;
  EXPECT_THAT(s.server("+OK Dovecot ready.\r\n"), ElementsAre("greeted"));
  ASSERT_TRUE(s.engine.capa());
  EXPECT_EQ(s.sent(), "CAPA\r\n");
  EXPECT_THAT(s.server("+OK\r\nCAPA\r\nUIDL\r\nUSER\r\nTOP\r\nSASL PLAIN\r\nEXPIRE 60\r\nLOGIN-DELAY 10 USER\r\nIMPLEMENTATION x\r\n.\r\n"),
              ElementsAre("capabilities 1 true"));
  EXPECT_TRUE(s.engine.capabilities().uidl && s.engine.capabilities().top);
  EXPECT_EQ(s.engine.capabilities().expire_days, 60u);
  EXPECT_EQ(s.engine.capabilities().login_delay, seconds(10));
  EXPECT_TRUE(s.engine.capabilities().login_delay_per_user);
  sasl::credentials who;
  who.username = "joe";
  who.password = secret<>(std::string("hunter2"));
  ASSERT_TRUE(s.engine.login(who));
  EXPECT_EQ(s.sent(), "AUTH PLAIN AGpvZQBodW50ZXIy\r\n");
  EXPECT_THAT(s.server("+OK Logged in.\r\n"), ElementsAre("logged_in 2 PLAIN"));
  EXPECT_TRUE(s.engine.authenticated());
  EXPECT_FALSE(s.engine.capabilities().known) << "what was offered before the login says nothing now";
  s.engine.stat();
  EXPECT_THAT(s.server("+OK 2 320\r\n"), ElementsAre("status 3 2 320"));
  s.engine.uidl();
  EXPECT_THAT(s.server("+OK\r\n1 aaa\r\n2 bbb\r\n.\r\n"), ElementsAre("uidl 4 1 aaa", "uidl 4 2 bbb", "end 4 2"));
  s.engine.list();
  EXPECT_THAT(s.server("+OK\r\n1 120\r\n2 200 extra\r\n.\r\n"), ElementsAre("list 5 1 120", "list 5 2 200", "end 5 2"));
  s.sent();
  s.engine.retr(2);
  EXPECT_EQ(s.sent(), "RETR 2\r\n");
  EXPECT_THAT(s.server("+OK 11 octets\r\nA: b\r\n\r\nhi\r\n.\r\n"),
              ElementsAre("begin 6 2 11", "body A: b\r\n\r\nhi\r\n", "finish 6 2 12"));
  s.engine.top(1, 0);
  EXPECT_EQ(s.sent(), "TOP 1 0\r\n");
  EXPECT_THAT(s.server("+OK\r\nA: b\r\n\r\n.\r\n"), ElementsAre("begin 7 1 ?", "body A: b\r\n\r\n", "finish 7 1 8"));
  s.engine.dele(2);
  EXPECT_THAT(s.server("+OK gone\r\n"), ElementsAre("done 8 DELE 2"));
  s.engine.rset();
  EXPECT_THAT(s.server("+OK\r\n"), ElementsAre("done 9 RSET 0"));
  s.engine.noop();
  EXPECT_THAT(s.server("+OK\r\n"), ElementsAre("done 10 NOOP 0"));
  s.engine.quit();
  EXPECT_THAT(s.server("+OK bye\r\n"), ElementsAre("done 11 QUIT 0"));
  EXPECT_FALSE(s.engine.noop()) << "nothing follows QUIT";
}

TEST(session, a_refused_message_ends_only_its_command) {
  script s;
  s.sign_in();
  s.engine.retr(1);
  EXPECT_THAT(s.server("-ERR no such message\r\n"), ElementsAre("refused 5 RETR 1 command_refused"));
  s.engine.retr(2);
  EXPECT_THAT(s.server("+OK\r\nx\r\n.\r\n"), ElementsAre("begin 6 2 ?", "body x\r\n", "finish 6 2 3"));
}

TEST(session, capa_unknown_to_the_server) {
  script s;
  s.server("+OK\r\n");
  s.engine.capa();
  EXPECT_THAT(s.server("-ERR unknown command\r\n"), ElementsAre("capabilities 1 false"));
  EXPECT_FALSE(s.engine.capabilities().known);
}

TEST(session, commands_in_a_wrong_state_send_nothing) {
  script s;
  EXPECT_EQ(s.engine.capa().error().code, failure::internal);
  s.server("+OK\r\n");
  EXPECT_EQ(s.engine.uidl().error().code, failure::internal);
  EXPECT_EQ(s.engine.retr(1).error().code, failure::internal);
  EXPECT_EQ(s.engine.stls().error().code, failure::internal) << "TLS is up already";
  EXPECT_EQ(s.sent(), "");
}

TEST(greeting, refusals) {
  for (const auto& [line, expected] :
       std::vector<std::pair<std::string, std::string>>{{"-ERR [SYS/TEMP] later\r\n", "failed server_unavailable"},
                                                        {"-ERR [IN-USE] locked\r\n", "failed server_busy"},
                                                        {"-ERR go away\r\n", "failed server_unavailable"},
                                                        {"* OK IMAP4rev1 ready\r\n", "failed protocol_violation"},
                                                        {"HTTP/1.1 400 Bad Request\r\n", "failed protocol_violation"},
                                                        {"+OKAY\r\n", "failed protocol_violation"}}) {
    script s;
    EXPECT_THAT(s.server(line), ElementsAre(expected)) << line;
    EXPECT_TRUE(s.engine.failed());
    EXPECT_FALSE(s.engine.next_event());
  }
}

TEST(pairing, an_answer_to_nothing_ends_the_session) {
  script s;
  s.sign_in();
  EXPECT_THAT(s.server("+OK surprise\r\n"), ElementsAre("failed protocol_violation"));
}

TEST(pairing, a_goodbye_to_nothing_is_a_goodbye) {
  script s;
  s.sign_in();
  EXPECT_THAT(s.server("-ERR Disconnected for inactivity.\r\n"), ElementsAre("failed server_bye"));
}

TEST(pipelining, sends_ahead_only_where_it_is_offered) {
  script s;
  s.sign_in("USER\r\nUIDL\r\nPIPELINING\r\n");
  for (std::uint32_t n = 1; n <= 3; ++n) s.engine.retr(n);
  EXPECT_EQ(s.sent(), "RETR 1\r\nRETR 2\r\nRETR 3\r\n");
  EXPECT_THAT(s.server("+OK\r\na\r\n.\r\n-ERR gone\r\n+OK\r\nc\r\n.\r\n"),
              ElementsAre("begin 5 1 ?", "body a\r\n", "finish 5 1 3", "refused 6 RETR 2 command_refused", "begin 7 3 ?", "body c\r\n",
                          "finish 7 3 3"));

  script one;
  one.sign_in();
  for (std::uint32_t n = 1; n <= 3; ++n) one.engine.retr(n);
  EXPECT_EQ(one.sent(), "RETR 1\r\n");
  one.server("+OK\r\na\r\n.\r\n");
  EXPECT_EQ(one.sent(), "RETR 2\r\n");

  script off(engine_options{.pipelining = false});
  off.sign_in("USER\r\nPIPELINING\r\n");
  off.engine.retr(1);
  off.engine.retr(2);
  EXPECT_EQ(off.sent(), "RETR 1\r\n");
}

TEST(pipelining, is_bounded_and_never_before_the_login) {
  script s;
  s.sign_in("USER\r\nPIPELINING\r\n");
  for (std::uint32_t n = 1; n <= 100; ++n) s.engine.dele(n);
  const auto lines = s.sent();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), static_cast<std::ptrdiff_t>(limits::pop3_in_flight));
  std::string replies;
  for (int n = 0; n < 100; ++n) replies += "+OK\r\n";
  EXPECT_THAT(s.server(replies.substr(0, 5)), ElementsAre("done 5 DELE 1"));
  EXPECT_EQ(s.sent(), "DELE 33\r\n");
  EXPECT_EQ(s.server(replies.substr(5)).size(), 99u) << "a new one is sent as each is answered";
  EXPECT_EQ(s.engine.pending(), 0u);

  script early;
  early.server("+OK\r\n");
  early.engine.capa();
  early.server("+OK\r\nPIPELINING\r\n.\r\n");
  early.sent();
  early.engine.capa();
  early.engine.capa();
  EXPECT_EQ(early.sent(), "CAPA\r\n");
}

TEST(listing, unique_ids_of_broken_servers_become_storable) {
  script s;
  s.sign_in();
  s.engine.uidl();
  const std::string endless(600, 'u');
  const auto events = s.server("+OK\r\n1 with blank\r\n2 \xFF\x01\r\n3 " + endless + "\r\n4\r\n.\r\n");
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0], "uidl 5 1 with blank");
  EXPECT_EQ(events[1], "uidl 5 2 hex:ff01");
  EXPECT_THAT(events[2], HasSubstr("uidl 5 3 sha256:"));
  EXPECT_EQ(events[3], "uidl 5 4 ");
}

TEST(listing, nonsense_ends_the_session) {
  for (const char* line : {"x 1", "0 a", "-1 a", "99999999999 a", "", "1a b"}) {
    script s;
    s.sign_in();
    s.engine.uidl();
    EXPECT_THAT(s.server(fmt::format("+OK\r\n{}\r\n.\r\n", line)), ElementsAre("failed protocol_violation")) << line;
  }
  script s;
  s.sign_in();
  s.engine.list();
  EXPECT_THAT(s.server("+OK\r\n1\r\n.\r\n"), ElementsAre("failed protocol_violation"));
  script t;
  t.sign_in();
  t.engine.stat();
  EXPECT_THAT(t.server("+OK lots of mail\r\n"), ElementsAre("failed protocol_violation"));
}

TEST(limits_of_lines, endless_lines_and_capabilities_end_the_session) {
  script s;
  EXPECT_THAT(s.server("+OK " + std::string(limits::pop3_line_bytes, 'x')), ElementsAre("failed limit_exceeded"));
  script piecewise;
  EXPECT_THAT(piecewise.server("+OK " + std::string(limits::pop3_line_bytes, 'x'), 100), ElementsAre("failed limit_exceeded"));
  script exact;
  EXPECT_THAT(exact.server("+OK " + std::string(limits::pop3_line_bytes - 5, 'x') + "\r\n", 1000), ElementsAre("greeted"));
  script many;
  many.server("+OK\r\n");
  many.engine.capa();
  std::string lines = "+OK\r\n";
  for (int i = 0; i < 300; ++i) lines += "X\r\n";
  EXPECT_THAT(many.server(lines), ElementsAre("failed limit_exceeded"));
}

TEST(stls, drops_what_was_said_before) {
  script s(engine_options{.encrypted = false});
  s.server("+OK <1.2@x.test> ready\r\n");
  s.engine.capa();
  s.server("+OK\r\nSTLS\r\nUSER\r\nSASL PLAIN\r\n.\r\n");
  s.sent();
  ASSERT_TRUE(s.engine.stls());
  EXPECT_FALSE(s.engine.capa()) << "nothing may stand behind STLS";
  EXPECT_EQ(s.sent(), "STLS\r\n");
  EXPECT_THAT(s.server("+OK begin\r\n"), ElementsAre("start_tls 2"));
  EXPECT_FALSE(s.engine.capa()) << "not before the handshake";
  ASSERT_TRUE(s.engine.tls_started());
  EXPECT_TRUE(s.engine.encrypted());
  EXPECT_FALSE(s.engine.capabilities().known);
}

TEST(stls, bytes_behind_its_answer_are_an_injection) {
  for (const char* injected : {"+OK\r\n+OK injected\r\n", "+OK\r\nx"}) {
    script s(engine_options{.encrypted = false});
    s.server("+OK\r\n");
    ASSERT_TRUE(s.engine.stls());
    EXPECT_THAT(s.server(injected), ElementsAre("failed protocol_violation"));
    EXPECT_FALSE(s.engine.tls_started());
  }
  script late(engine_options{.encrypted = false});
  late.server("+OK\r\n");
  late.engine.stls();
  late.server("+OK\r\n");
  EXPECT_THAT(late.server("+OK injected\r\n"), ElementsAre("failed protocol_violation"));
}

TEST(stls, refused_or_not_offered) {
  script s(engine_options{.encrypted = false});
  s.server("+OK\r\n");
  s.engine.stls();
  EXPECT_THAT(s.server("-ERR unknown\r\n"), ElementsAre("refused 1 STLS 0 tls_not_offered"));
  script t(engine_options{.encrypted = false});
  t.server("+OK\r\n");
  t.engine.capa();
  t.server("+OK\r\nUSER\r\n.\r\n");
  EXPECT_EQ(t.engine.stls().error().code, failure::tls_not_offered);
}

TEST(ended, names_what_was_being_waited_for) {
  script s;
  EXPECT_EQ(s.engine.ended(test_now).code, failure::connection_lost);
  EXPECT_THAT(s.engine.ended(test_now).detail, HasSubstr("greeting"));
  s.server("-ERR [SYS/TEMP] try la");  // no line end: the connection broke
  EXPECT_EQ(s.engine.ended(test_now).code, failure::server_unavailable);
  script t;
  t.sign_in();
  EXPECT_THAT(t.engine.ended(test_now).detail, HasSubstr("idle"));
  t.engine.retr(1);
  EXPECT_THAT(t.engine.ended(test_now).detail, HasSubstr("RETR"));
}

TEST(memory, an_idle_engine_is_small) {
  script s;
  s.sign_in("USER\r\nUIDL\r\nTOP\r\nSASL PLAIN LOGIN XOAUTH2\r\nPIPELINING\r\nIMPLEMENTATION Dovecot\r\n");
  for (std::uint32_t n = 1; n <= 200; ++n) s.engine.retr(n);
  for (int n = 1; n <= 200; ++n) s.server("+OK\r\nsome message text\r\n.\r\n");
  s.sent();
  EXPECT_LT(sizeof(engine) + s.engine.heap_bytes(), 2048u);
}

/// The whole conversation, the server's part in pieces; events must not depend on the pieces.
std::vector<std::string> conversation(const std::function<std::size_t()>& next_piece) {
  script s;
  std::vector<std::string> all;
  const auto say = [&](std::string_view bytes) {
    while (!bytes.empty()) {
      const auto piece = std::min(next_piece(), bytes.size());
      for (auto& e : s.server(bytes.substr(0, piece))) all.push_back(std::move(e));
      bytes.remove_prefix(piece);
    }
  };
  say("+OK <1896.697170952@dbc.mtview.ca.us> ready\r\n");
  s.engine.capa();
  say("+OK caps\r\nUSER\r\nSASL SCRAM-SHA-256 PLAIN\r\nPIPELINING\r\nX-JUNK\r\n.\r\n");
  sasl::credentials who;
  who.username = "joe";
  who.password = secret<>(std::string("pässword"));
  s.engine.login(who);
  say("+OK\r\n");
  s.engine.capa();
  say("+OK\r\nPIPELINING\r\nUIDL\r\n.\r\n");
  s.engine.uidl();
  s.engine.list();
  say("+OK\r\n1 a\r\n2 \xFF\r\n..3 c\r\n.\r\n");
  return all;
}

TEST(any_split, dialogue) {
  const auto whole = conversation([] { return std::size_t{1'000'000}; });
  EXPECT_EQ(conversation([] { return std::size_t{1}; }), whole);
  for (std::uint32_t seed = 1; seed <= 50; ++seed) {
    std::mt19937 random(seed);
    EXPECT_EQ(conversation([&] { return std::size_t{1 + random() % 9}; }), whole) << "seed " << seed;
  }
}

}  // namespace
}  // namespace mailherd::pop3
