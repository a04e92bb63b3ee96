// tests/protocol/imap: the dialogue: transcripts, states, pairing of answers, names, codes, STARTTLS, the end.
#include <gmock/gmock.h>

#include "core/limits.hpp"
#include "tests/protocol/imap/script.hpp"

namespace mailherd::imap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(session, from_greeting_to_logout) {
  script s;
  EXPECT_THAT(s.server("* OK Dovecot ready.\r\n"), ElementsAre("greeted"));
  ASSERT_TRUE(s.engine.capability());
  EXPECT_EQ(s.sent(), "A1 CAPABILITY\r\n");
  EXPECT_THAT(s.server("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN ID\r\nA1 OK done\r\n"), ElementsAre("capabilities 1"));
  ASSERT_TRUE(s.engine.identify("Mailherd", "1.0"));
  EXPECT_EQ(s.sent(), "A2 ID (\"name\" \"Mailherd\" \"version\" \"1.0\")\r\n");
  EXPECT_THAT(s.server("* ID (\"name\" \"Dovecot\")\r\nA2 OK\r\n"), ElementsAre("done 2 ID"));
  ASSERT_TRUE(s.engine.login(password_of()));
  EXPECT_EQ(s.sent(), "A3 AUTHENTICATE PLAIN AGpvZQBodW50ZXIy\r\n");
  EXPECT_THAT(s.server("A3 OK Logged in\r\n"), ElementsAre("logged_in 3 PLAIN"));
  EXPECT_TRUE(s.engine.authenticated());
  EXPECT_FALSE(s.engine.capabilities().known()) << "what was offered before the login says nothing now";
  s.engine.capability();
  s.server("* CAPABILITY IMAP4rev1 IDLE UIDPLUS CONDSTORE ENABLE UNSELECT\r\nA4 OK\r\n");
  s.sent();
  ASSERT_TRUE(s.engine.list("*"));
  EXPECT_EQ(s.sent(), "A5 LIST \"\" \"*\"\r\n");
  EXPECT_THAT(s.server("* LIST (\\HasNoChildren \\Sent) \"/\" \"Gesendet &- &APY-\"\r\n* LIST () NIL INBOX\r\nA5 OK\r\n"),
              ElementsAre("mailbox 5 Gesendet & ö (\\HasNoChildren \\Sent) /", "mailbox 5 INBOX () flat", "done 5 LIST"));
  ASSERT_TRUE(s.engine.status("INBOX"));
  EXPECT_EQ(s.sent(), "A6 STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ)\r\n");
  EXPECT_THAT(
      s.server("* STATUS INBOX (HIGHESTMODSEQ 917162500999 MESSAGES 12 X-NEW (a b) UNSEEN 3 UIDNEXT 44 UIDVALIDITY 7)\r\nA6 OK\r\n"),
      ElementsAre("status 6 messages=12 unseen=3 next=44 validity=7 modseq=917162500999", "done 6 STATUS"));
  ASSERT_TRUE(s.engine.select("inbox", false));
  EXPECT_EQ(s.sent(), "A7 SELECT INBOX (CONDSTORE)\r\n");
  EXPECT_THAT(s.server("* FLAGS (\\Seen)\r\n* OK [PERMANENTFLAGS (\\Seen \\*)] x\r\n* 12 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 7] x\r\n"
                       "* OK [UIDNEXT 44] x\r\n* OK [HIGHESTMODSEQ 917162500999] x\r\nA7 OK [READ-WRITE] Select completed\r\n"),
              ElementsAre("selected 7 exists=12 validity=7 next=44 modseq=917162500999"));
  ASSERT_TRUE(s.engine.search_since(test_now));
  EXPECT_EQ(s.sent(), "A8 UID SEARCH SINCE 23-Nov-2026\r\n");
  EXPECT_THAT(s.server("* SEARCH 41 42 43 40\r\nA8 OK\r\n"), ElementsAre("found 8 40:43", "done 8 UID SEARCH"));
  ASSERT_TRUE(s.engine.fetch(uid_set::span({40}, {}), fetch_what::sizes));
  EXPECT_EQ(s.sent(), "A9 UID FETCH 40:* (UID RFC822.SIZE INTERNALDATE)\r\n");
  EXPECT_THAT(s.server("* 11 FETCH (UID 43 RFC822.SIZE 5 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" FLAGS (\\Seen))\r\nA9 OK\r\n"),
              ElementsAre("fetched 11 uid=43 size=5 date=837596665", "done 9 UID FETCH"));
  ASSERT_TRUE(s.engine.fetch(uids({43}), fetch_what::body));
  EXPECT_EQ(s.sent(), "A10 UID FETCH 43 (UID INTERNALDATE BODY.PEEK[])\r\n");
  EXPECT_THAT(s.server("* 11 FETCH (UID 43 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {5}\r\nhello)\r\nA10 OK\r\n"),
              ElementsAre("begin 11 uid=43 5", "body hello", "fetched 11 uid=43 date=837596665 body", "done 10 UID FETCH"));
  ASSERT_TRUE(s.engine.fetch(uids({43}), fetch_what::headers));
  EXPECT_EQ(s.sent(), "A11 UID FETCH 43 (UID RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER])\r\n");
  EXPECT_THAT(s.server("* 11 FETCH (UID 43 RFC822.SIZE 5 BODY[HEADER] {4}\r\nA: b)\r\nA11 OK\r\n"),
              ElementsAre("begin 11 uid=43 4 headers", "body A: b", "fetched 11 uid=43 size=5 body", "done 11 UID FETCH"));
  ASSERT_TRUE(s.engine.store(uids({43}), flag::seen));
  EXPECT_EQ(s.sent(), "A12 UID STORE 43 +FLAGS.SILENT (\\Seen)\r\n");
  s.server("A12 OK\r\n");
  ASSERT_TRUE(s.engine.store(uids({41, 42, 43}), flag::deleted));
  EXPECT_EQ(s.sent(), "A13 UID STORE 41:43 +FLAGS.SILENT (\\Deleted)\r\n");
  EXPECT_THAT(s.server("A13 OK\r\n"), ElementsAre("done 13 UID STORE"));
  ASSERT_TRUE(s.engine.expunge(uids({43})));
  EXPECT_EQ(s.sent(), "A14 UID EXPUNGE 43\r\n");
  EXPECT_THAT(s.server("* 11 EXPUNGE\r\nA14 OK\r\n"), ElementsAre("expunged 11", "done 14 UID EXPUNGE"));
  ASSERT_TRUE(s.engine.noop());
  EXPECT_EQ(s.sent(), "A15 NOOP\r\n");
  EXPECT_THAT(s.server("* 13 EXISTS\r\nA15 OK\r\n"), ElementsAre("exists 13", "done 15 NOOP"));
  ASSERT_TRUE(s.engine.logout());
  EXPECT_EQ(s.sent(), "A16 LOGOUT\r\n");
  EXPECT_THAT(s.server("* BYE Logging out\r\nA16 OK\r\n"), ElementsAre("done 16 LOGOUT"));
  EXPECT_FALSE(s.engine.noop()) << "nothing follows LOGOUT";
  EXPECT_TRUE(s.engine.quirks().empty()) << "nothing of this is odd";
}

TEST(session, commands_in_a_wrong_state_send_nothing) {
  script s;
  EXPECT_EQ(s.engine.capability().error().code, failure::internal) << "before the greeting";
  s.greet();
  EXPECT_EQ(s.engine.select("INBOX", false).error().code, failure::internal);
  EXPECT_EQ(s.engine.fetch(uids({1}), fetch_what::body).error().code, failure::internal);
  EXPECT_EQ(s.engine.starttls().error().code, failure::internal) << "TLS is up already";
  EXPECT_EQ(s.engine.idle().error().code, failure::internal) << "not offered";
  EXPECT_EQ(s.sent(), "");
  s.engine.login(password_of());
  EXPECT_EQ(s.engine.noop().error().code, failure::internal) << "nothing stands behind a login";
  s.server("A1 OK in\r\n");
  s.sent();
  EXPECT_EQ(s.engine.fetch(uid_set{}, fetch_what::body).error().code, failure::internal) << "nothing to fetch";
  EXPECT_EQ(s.engine.fetch(uid_set::span({0}, {}), fetch_what::sizes).error().code, failure::internal)
      << "behind the last UID there can be";
  EXPECT_EQ(s.engine.expunge(uids({1})).error().code, failure::internal) << "UIDPLUS is not offered";
  EXPECT_EQ(s.engine.login(password_of()).error().code, failure::internal);
  EXPECT_EQ(s.sent(), "");
}

TEST(session, one_command_at_a_time_but_fetches) {
  script s;
  s.select();
  for (std::uint32_t u = 1; u <= 5; ++u) s.engine.fetch(uids({u}), fetch_what::body);
  s.engine.noop();
  s.engine.fetch(uids({6}), fetch_what::body);
  EXPECT_EQ(
      s.sent(),
      "A3 UID FETCH 1 (UID INTERNALDATE BODY.PEEK[])\r\nA4 UID FETCH 2 (UID INTERNALDATE BODY.PEEK[])\r\nA5 UID FETCH 3 (UID INTERNALDATE "
      "BODY.PEEK[])\r\n");
  EXPECT_EQ(s.engine.pending(), 7u);
  EXPECT_THAT(s.server("A3 OK\r\n"), ElementsAre("done 3 UID FETCH"));
  EXPECT_EQ(s.sent(), "A6 UID FETCH 4 (UID INTERNALDATE BODY.PEEK[])\r\n");
  s.server("A4 OK\r\nA5 OK\r\nA6 OK\r\n");
  EXPECT_EQ(s.sent(), "A7 UID FETCH 5 (UID INTERNALDATE BODY.PEEK[])\r\n") << "NOOP waits for its turn";
  s.server("A7 OK\r\n");
  EXPECT_EQ(s.sent(), "A8 NOOP\r\n") << "and so does the fetch behind it";
  s.server("A8 OK\r\n");
  EXPECT_EQ(s.sent(), "A9 UID FETCH 6 (UID INTERNALDATE BODY.PEEK[])\r\n");
}

TEST(session, a_refusal_ends_only_its_command) {
  script s;
  s.select();
  s.engine.store(uids({1}), flag::seen);
  EXPECT_THAT(s.server("A3 NO [CANNOT] read-only\r\n"), ElementsAre("refused 3 UID STORE command_refused"));
  EXPECT_THAT(s.reason.detail, HasSubstr("[CANNOT] read-only"));
  s.engine.fetch(uids({1}), fetch_what::body);
  s.engine.fetch(uids({2}), fetch_what::body);
  EXPECT_THAT(s.server("A4 BAD broken\r\n* 2 FETCH (UID 2 BODY[] {1}\r\nx)\r\nA5 OK\r\n"),
              ElementsAre("refused 4 UID FETCH command_refused", "begin 2 uid=2 1", "body x", "fetched 2 uid=2 body", "done 5 UID FETCH"));
  EXPECT_FALSE(s.engine.failed());
}

TEST(session, answers_may_come_out_of_order) {
  script s;
  s.select();
  s.engine.fetch(uids({1}), fetch_what::body);
  s.engine.fetch(uids({2}), fetch_what::body);
  EXPECT_THAT(s.server("A4 OK\r\nA3 OK\r\n"), ElementsAre("done 4 UID FETCH", "done 3 UID FETCH"));
}

TEST(greeting, refusals) {
  for (const auto& [line, expected] : std::vector<std::pair<std::string, std::string>>{
           {"* BYE [UNAVAILABLE] later\r\n", "failed server_unavailable"},
           {"* BYE [LIMIT] too many\r\n", "failed too_many_connections"},
           {"* BYE Too many connections from your host\r\n", "failed too_many_connections"},
           {"* BYE go away\r\n", "failed server_unavailable"},
           {"* NO not now\r\n", "failed protocol_violation"},
           {"* CAPABILITY IMAP4rev1\r\n", "failed protocol_violation"},
           {"* 3 EXISTS\r\n", "failed protocol_violation"},
           {"* 3 FETCH (BODY[] {3}\r\nabc)\r\n", "failed protocol_violation"},
           {"* LIST () NIL {3}\r\n", "failed protocol_violation"},
           {"A1 OK hello\r\n", "failed protocol_violation"},
           {"+ go on\r\n", "failed protocol_violation"},
           {"+OK POP3 ready\r\n", "failed protocol_violation"},
           {"HTTP/1.1 400 Bad Request\r\n", "failed protocol_violation"},
           {"220 mail.x.test ESMTP\r\n", "failed protocol_violation"},
       }) {
    script s;
    EXPECT_THAT(s.server(line), ElementsAre(expected)) << line;
    EXPECT_TRUE(s.engine.failed());
    EXPECT_FALSE(s.engine.next_event());
    EXPECT_FALSE(s.engine.noop());
  }
}

TEST(greeting, preauth_needs_no_login_and_no_clear_text) {
  script s;
  EXPECT_THAT(s.server("* PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello joe\r\n"), ElementsAre("greeted preauth"));
  EXPECT_TRUE(s.engine.authenticated());
  EXPECT_TRUE(s.engine.capabilities().has(capability::idle));
  EXPECT_TRUE(s.engine.select("INBOX", true));
  EXPECT_EQ(s.sent(), "A1 EXAMINE INBOX\r\n");
  script clear(engine_options{.encrypted = false});
  EXPECT_THAT(clear.server("* PREAUTH hello\r\n"), ElementsAre("failed tls_not_offered")) << "whoever answers cannot be verified any more";
  script allowed(engine_options{.encrypted = false, .allow_unencrypted = true});
  EXPECT_THAT(allowed.server("* PREAUTH hello\r\n"), ElementsAre("greeted preauth"));
  script twice;
  twice.greet();
  EXPECT_THAT(twice.server("* PREAUTH hello\r\n"), ElementsAre("failed protocol_violation"));
}

TEST(greeting, alerts_are_for_people) {
  script s;
  EXPECT_THAT(s.server("* OK [ALERT] down for\x01 maintenance at 9\r\n"), ElementsAre("alert down for maintenance at 9", "greeted"));
  s.engine.noop();
  EXPECT_THAT(s.server("* NO [ALERT] disk is filling up\r\nA1 OK [alert] mind the gap\r\n"),
              ElementsAre("alert disk is filling up", "alert mind the gap", "done 1 NOOP"));
}

TEST(capabilities_of_a_session, are_as_fresh_as_its_state) {
  script s;
  s.greet("IMAP4rev1 STARTTLS AUTH=PLAIN");
  EXPECT_TRUE(s.engine.capabilities().known());
  s.engine.login(password_of());
  s.server("A1 OK in\r\n");
  EXPECT_FALSE(s.engine.capabilities().known()) << "stale";
  script code;
  code.greet();
  code.engine.login(password_of());
  code.server("A1 OK [capability IMAP4rev1 IDLE] in\r\n");
  EXPECT_TRUE(code.engine.capabilities().has(capability::idle)) << "the list came with the answer";
  EXPECT_THAT(code.engine.capabilities().mechanisms(), IsEmpty());
  script gmail;
  gmail.greet();
  gmail.engine.login(password_of());
  gmail.server("* CAPABILITY IMAP4rev1 UNSELECT IDLE\r\nA1 OK joe@x.test authenticated (Success)\r\n");
  EXPECT_TRUE(gmail.engine.capabilities().has(capability::idle)) << "or right before it";
}

// ---- SELECT --------------------------------------------------------------------------------------------------------------------------

TEST(select_, tells_what_the_server_told) {
  script s;
  s.sign_in();
  s.engine.select("INBOX", true);
  EXPECT_EQ(s.sent(), "A2 EXAMINE INBOX\r\n") << "CONDSTORE was not offered";
  EXPECT_THAT(s.server("* 0 EXISTS\r\nA2 OK [READ-ONLY] x\r\n"), ElementsAre("selected 2 exists=0 validity=0 next=0 modseq=0 read-only"));
  s.engine.select("INBOX", false);
  EXPECT_THAT(
      s.server("* 7 EXISTS\r\n* OK [CLOSED] gone\r\n* OK [UIDVALIDITY 4294967295] x\r\n* OK [NOMODSEQ] x\r\n* NO [UIDNOTSTICKY] x\r\n"
               "* OK [READ-ONLY] x\r\nA3 OK x\r\n"),
      ElementsAre("selected 3 exists=0 validity=4294967295 next=0 modseq=0 read-only unsticky"))
      << "what came before CLOSED belongs to the mailbox before";
  EXPECT_TRUE(s.engine.quirks().met(quirk::unsticky_uids));
}

TEST(select_, refused_leaves_nothing_selected) {
  script s;
  s.select();
  s.engine.select("Gone", false);
  EXPECT_THAT(s.server("A3 NO [NONEXISTENT] no such thing\r\n"), ElementsAre("refused 3 SELECT mailbox_missing"));
  EXPECT_TRUE(s.engine.authenticated());
  s.engine.noop();
  EXPECT_THAT(s.server("* OK [UIDVALIDITY 8] x\r\nA4 OK\r\n"), ElementsAre("done 4 NOOP")) << "of no mailbox of ours";
  s.engine.select("INBOX", false);
  EXPECT_THAT(s.server("A5 NO User is authenticated but not connected.\r\n"), ElementsAre("refused 5 SELECT no_mailbox_rights"));
}

TEST(select_, a_mailbox_renumbered_while_open_ends_the_session) {
  script s;
  s.select();
  s.engine.fetch(uids({5}), fetch_what::body);
  EXPECT_THAT(s.server("* OK [UIDVALIDITY 7] the same\r\n"), IsEmpty());
  EXPECT_THAT(s.server("* OK [UIDVALIDITY 8] another\r\n* 1 FETCH (UID 5 BODY[] {1}\r\nx)\r\nA3 OK\r\n"), ElementsAre("failed server_bye"))
      << "UID 5 means another message now";
  EXPECT_TRUE(s.engine.quirks().met(quirk::renumbered));
}

// ---- names ---------------------------------------------------------------------------------------------------------------------------

std::string selecting(std::string_view name, std::string_view capabilities) {
  script s;
  s.sign_in(capabilities);
  const auto id = s.engine.select(name, false);
  return id ? s.sent() : std::string(to_string(id.error().code));
}

TEST(names, travel_as_the_server_reads_them) {
  EXPECT_EQ(selecting("Entwürfe/日本語 & Co", "IMAP4rev1"), "A2 SELECT \"Entw&APw-rfe/&ZeVnLIqe- &- Co\"\r\n");
  EXPECT_EQ(selecting("a\"b\\c", "IMAP4rev1"), "A2 SELECT \"a\\\"b\\\\c\"\r\n");
  EXPECT_EQ(selecting("NIL", "IMAP4rev1"), "A2 SELECT \"NIL\"\r\n");
  EXPECT_EQ(selecting("Entwürfe", "IMAP4rev2"), "A2 SELECT \"Entwürfe\"\r\n") << "a server that is nothing but rev2 knows no UTF-7";
  EXPECT_EQ(selecting("Entwürfe", "IMAP4rev1 IMAP4rev2"), "A2 SELECT \"Entw&APw-rfe\"\r\n")
      << "RFC 9051, appendix A.1: until rev2 is enabled";
  EXPECT_EQ(selecting("\xFF raw", "IMAP4rev1"), "A2 SELECT {5}\r\n") << "a name that only this server can have given us";
  EXPECT_EQ(selecting("\xFF raw", "IMAP4rev1 LITERAL+"), "A2 SELECT {5+}\r\n\xFF raw\r\n");
  EXPECT_EQ(selecting("\xFF raw", "IMAP4rev1 LITERAL-"), "A2 SELECT {5+}\r\n\xFF raw\r\n");
  const std::string name(5'000, 'x');
  EXPECT_EQ(selecting(name, "IMAP4rev1 LITERAL-"), "A2 SELECT {5000}\r\n") << "RFC 7888, 5: LITERAL- ends at 4096";
  EXPECT_EQ(selecting(name, "IMAP4rev1 LITERAL+"), "A2 SELECT {5000+}\r\n" + name + "\r\n");
}

TEST(names, break_out_of_no_line) {
  for (const std::string& name : {std::string("a\r\nA9 LOGOUT"), std::string("a\n"), std::string("a\0b", 3), std::string()}) {
    EXPECT_EQ(selecting(name, "IMAP4rev1 LITERAL+"), "invalid_input");
    script s;
    s.sign_in();
    EXPECT_EQ(s.engine.list(name).error().code, failure::invalid_input);
    EXPECT_EQ(s.engine.status(name).error().code, failure::invalid_input);
    EXPECT_EQ(s.sent(), "");
  }
  script s;
  s.sign_in();
  EXPECT_FALSE(s.engine.identify("a\r\nb", "1"));
  EXPECT_FALSE(s.engine.enable("A\r\nB"));
  EXPECT_EQ(s.sent(), "");
}

TEST(names, a_literal_waits_for_the_server) {
  script s;
  s.sign_in();
  s.engine.select("\xFF", false);
  EXPECT_EQ(s.sent(), "A2 SELECT {1}\r\n");
  EXPECT_FALSE(s.engine.noop().has_value() && !s.sent().empty()) << "nothing is sent into the gap";
  EXPECT_THAT(s.server("+ go on\r\n"), IsEmpty());
  EXPECT_EQ(s.sent(), "\xFF\r\n");
  EXPECT_THAT(s.server("* 1 EXISTS\r\nA2 OK\r\n"), ElementsAre("selected 2 exists=1 validity=0 next=0 modseq=0"));
  EXPECT_EQ(s.sent(), "A3 NOOP\r\n");
  script refused;
  refused.sign_in();
  refused.engine.select("\xFF", false);
  EXPECT_THAT(refused.server("A2 NO no literals here\r\n"), ElementsAre("refused 2 SELECT command_refused"));
  EXPECT_THAT(refused.server("+ too late\r\n"), ElementsAre("failed protocol_violation"));
}

TEST(names, utf8_once_it_is_enabled) {
  script s;
  s.sign_in("IMAP4rev1 ENABLE UTF8=ACCEPT");
  ASSERT_TRUE(s.engine.enable("UTF8=ACCEPT"));
  EXPECT_EQ(s.sent(), "A2 ENABLE UTF8=ACCEPT\r\n");
  EXPECT_THAT(s.server("* ENABLED UTF8=ACCEPT\r\nA2 OK\r\n"), ElementsAre("done 2 ENABLE"));
  s.engine.list("ö%");
  EXPECT_EQ(s.sent(), "A3 LIST \"\" \"ö%\"\r\n");
  EXPECT_THAT(s.server("* LIST () \"/\" \"öl &APY-\"\r\nA3 OK\r\n"), ElementsAre("mailbox 3 öl &APY- () /", "done 3 LIST"));
  script not_enabled;
  not_enabled.sign_in("IMAP4rev1 ENABLE UTF8=ACCEPT");
  not_enabled.server("* ENABLED UTF8=ACCEPT\r\n");
  not_enabled.engine.list("ö%");
  EXPECT_EQ(not_enabled.sent(), "A2 LIST \"\" \"&APY-%\"\r\n") << "ENABLED that answers no ENABLE enables nothing";
  script late;
  late.select("IMAP4rev1 ENABLE");
  EXPECT_FALSE(late.engine.enable("CONDSTORE")) << "RFC 5161, 3.1: before a mailbox is selected";
}

TEST(names, in_listings_of_every_form) {
  script s;
  s.sign_in();
  s.engine.list("*");
  EXPECT_THAT(s.server("* LIST () \"\\\\\" \"a \\\"b\\\" \\\\c\"\r\n"
                       "* LIST (\\Noselect) \".\" {11}\r\nLiteral (x)\r\n"
                       "* LIST () NIL ~atom[1]\r\n"
                       "* LIST () \"/\" \"not & encoded\"\r\n"
                       "* LIST () \"/\" \"\"\r\n"
                       "* LIST broken\r\n"
                       "* LSUB () \"/\" x\r\n"
                       "A2 OK\r\n"),
              ElementsAre("mailbox 2 a \"b\" \\c () \\", "mailbox 2 Literal (x) (\\Noselect) .", "mailbox 2 ~atom[1] () flat",
                          "mailbox 2 not & encoded () /", "mailbox 2  () /", "done 2 LIST"));
}

// ---- STARTTLS ------------------------------------------------------------------------------------------------------------------------

script in_the_clear() {
  script s(engine_options{.encrypted = false});
  s.greet("IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN");
  return s;
}

TEST(starttls, drops_what_was_said_before) {
  auto s = in_the_clear();
  ASSERT_TRUE(s.engine.starttls());
  EXPECT_FALSE(s.engine.capability()) << "nothing may stand behind STARTTLS";
  EXPECT_EQ(s.sent(), "A1 STARTTLS\r\n");
  EXPECT_THAT(s.server("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nA1 OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] begin\r\n"),
              ElementsAre("start_tls 1"));
  EXPECT_FALSE(s.engine.capability()) << "not before the handshake";
  ASSERT_TRUE(s.engine.tls_started());
  EXPECT_TRUE(s.engine.encrypted());
  EXPECT_FALSE(s.engine.capabilities().known());
  EXPECT_FALSE(s.engine.tls_started()) << "twice";
  EXPECT_TRUE(s.engine.capability());
}

TEST(starttls, bytes_behind_its_answer_are_an_injection) {
  for (const char* injected :
       {"A1 OK\r\nA2 OK injected\r\n", "A1 OK\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", "A1 OK\r\nx", "A1 OK\r\n\r\n"}) {
    auto s = in_the_clear();
    ASSERT_TRUE(s.engine.starttls());
    s.sent();
    EXPECT_THAT(s.server(injected), ElementsAre("failed protocol_violation"));
    EXPECT_FALSE(s.engine.tls_started());
  }
  auto late = in_the_clear();
  late.engine.starttls();
  late.sent();
  late.server("A1 OK\r\n");
  EXPECT_THAT(late.server("* OK injected\r\n"), ElementsAre("failed protocol_violation"));
  auto early = in_the_clear();
  early.engine.starttls();
  EXPECT_THAT(early.server("A1 OK\r\n"), ElementsAre("failed protocol_violation")) << "an answer to what has not left yet";
}

TEST(starttls, mail_from_before_it_is_nobodys) {
  auto s = in_the_clear();
  EXPECT_THAT(s.server("* 1 EXISTS\r\n* 1 FETCH (UID 1 BODY[] {3}\r\nbad)\r\n* LIST () NIL x\r\n* SEARCH 1\r\n"), IsEmpty());
  EXPECT_TRUE(s.engine.quirks().met(quirk::early_data));
}

TEST(starttls, refused_or_not_offered) {
  auto s = in_the_clear();
  s.engine.starttls();
  EXPECT_THAT(s.server("A1 NO not today\r\n"), ElementsAre("refused 1 STARTTLS tls_not_offered"));
  EXPECT_FALSE(s.engine.tls_started());
  script t(engine_options{.encrypted = false});
  t.greet("IMAP4rev1 AUTH=PLAIN");
  EXPECT_EQ(t.engine.starttls().error().code, failure::tls_not_offered);
  EXPECT_EQ(t.sent(), "");
}

// ---- the end -------------------------------------------------------------------------------------------------------------------------

TEST(ended, names_what_was_being_waited_for) {
  script s;
  EXPECT_EQ(s.engine.ended(test_now).code, failure::connection_lost);
  EXPECT_THAT(s.engine.ended(test_now).detail, HasSubstr("greeting"));
  s.select();
  s.engine.fetch(uids({1}), fetch_what::body);
  EXPECT_THAT(s.engine.ended(test_now).detail, HasSubstr("UID FETCH"));
  s.server("* 1 FETCH (UID 1 BODY[] {100}\r\nabc");
  EXPECT_THAT(s.engine.ended(test_now).detail, HasSubstr("97 bytes"));
}

TEST(ended, a_goodbye_without_line_end_is_a_goodbye) {
  script s;
  s.greet("IMAP4rev1 AUTH=XOAUTH2");
  s.engine.login(token_of());
  s.server("+ \r\nA1 OK in\r\n* BYE Session invalidated - AccessTokenExpired");
  EXPECT_EQ(s.engine.ended(test_now).code, failure::token_rejected);
  script greeting;
  greeting.server("* BYE too many connections");
  EXPECT_EQ(greeting.engine.ended(test_now).code, failure::too_many_connections);
  script half;
  half.greet();
  half.engine.login(password_of());
  half.server("A1 NO ");
  EXPECT_EQ(half.engine.ended(test_now).code, failure::connection_lost) << "half a refusal is none: the cause may be in the other half";
}

TEST(goodbye, is_reported_once_and_stays_the_reason) {
  script s;
  s.select();
  s.engine.fetch(uids({1}), fetch_what::body);
  EXPECT_THAT(
      s.server("A3 NO Request is throttled. Suggested Backoff Time: 299910 milliseconds\r\n* BYE Connection closed. 14\r\n* BYE again\r\n"),
      ElementsAre("refused 3 UID FETCH throttled", "bye server_bye"));
  EXPECT_EQ(s.engine.ended(test_now).code, failure::server_bye);
  EXPECT_EQ(s.engine.noop().error().code, failure::server_bye);
}

TEST(goodbye, at_the_end_of_a_token) {
  script s;
  s.greet("IMAP4rev1 SASL-IR AUTH=XOAUTH2");
  s.engine.login(token_of());
  s.server("A1 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n");
  s.engine.idle();
  EXPECT_THAT(s.server("+ idling\r\n* BYE Session invalidated - AccessTokenExpired\r\n"), ElementsAre("idling 2", "bye token_rejected"));
  script with_password;
  with_password.sign_in();
  EXPECT_THAT(with_password.server("* BYE Session invalidated - AccessTokenExpired\r\n"), ElementsAre("bye server_bye"));
}

TEST(memory, an_idle_engine_is_small) {
  script s;
  s.select("IMAP4rev1 IDLE UIDPLUS CONDSTORE ENABLE ID LITERAL+ MOVE AUTH=PLAIN AUTH=XOAUTH2");
  for (std::uint32_t u = 1; u <= 200; ++u) s.engine.fetch(uids({u}), fetch_what::body);
  for (std::uint32_t u = 1; u <= 200; ++u)
    s.server(fmt::format("* {0} FETCH (UID {0} FLAGS (\\Seen $a $b $c $d $e) BODY[] {{3}}\r\nabc)\r\nA{1} OK\r\n", u, u + 2));
  s.engine.search_since(test_now);
  s.sent();
  std::string found = "* SEARCH";
  for (int n = 1; n < 2000; n += 2) found += " " + std::to_string(n);
  s.server(found + "\r\nA203 OK\r\n");
  s.engine.idle();
  s.sent();
  s.server("+ idling\r\n* 4 EXISTS\r\n");
  EXPECT_LT(sizeof(engine) + s.engine.heap_bytes(), 2048u) << sizeof(engine) << " + " << s.engine.heap_bytes();
}

}  // namespace
}  // namespace mailherd::imap
