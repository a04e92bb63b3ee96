// tests/peers_test/dovecot_mail: what is put into the mailbox is what is served, byte for byte, and what the files say is what is served.
#include <set>

#include "support.hpp"
#include "tests/corpus/corpus.hpp"
#include "tests/peers/dovecot_server.hpp"
#include "tests/peers/files.hpp"

namespace mailherd::peers::test {
namespace {

constexpr const char* box = "alice@acme.test";

class dovecot_mail : public ::testing::Test {
 protected:
  static dovecot_options options() {
    dovecot_options out;
    out.users = {{box, "pw"}};
    return out;
  }
  tls_client selected(std::string_view folder = "INBOX") {
    auto client = plain(server.imap_port());
    EXPECT_THAT(sign_in(client, box, "pw"), HasSubstr("a1 OK"));
    EXPECT_THAT(client.imap("a2", "SELECT \"" + std::string(folder) + "\""), HasSubstr("a2 OK"));
    return client;
  }
  std::vector<std::string> served(std::string_view folder = "INBOX") {
    auto client = selected(folder);
    std::vector<std::string> out;
    for (const auto& body : fetch_all(client)) out.push_back(sha256_hex(body));
    return out;
  }
  std::vector<std::string> kept(std::string_view folder = "INBOX") {
    std::vector<std::string> out;
    for (const auto& message : server.messages(box, folder)) out.push_back(message.sha256);
    return out;
  }

  dovecot_server server{options()};
};

TEST_F(dovecot_mail, serves_the_delivered_bytes_in_the_order_of_delivery) {
  std::vector<std::string> put;
  for (std::size_t i = 0; i < 60; ++i) {
    const std::string raw = corpus::message(3, i);
    server.deliver(box, "INBOX", raw);
    put.push_back(sha256_hex(raw));
  }
  EXPECT_EQ(served(), put);
  EXPECT_EQ(kept(), put);
  EXPECT_EQ(server.count(box), 60U);
}

TEST_F(dovecot_mail, odd_bytes_survive) {
  const std::vector<std::string> odd = {"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n",
                                        "Subject: no line end\r\n\r\nlast",
                                        "Subject: 8 bit\r\n\r\n\xff\xfe\x80\r\n",
                                        "Subject: header only\r\n\r\n",
                                        "Subject: long\r\n\r\n" + std::string(100'000, 'x') + "\r\n"};
  std::vector<std::string> put;
  for (const auto& raw : odd) {
    server.deliver(box, "INBOX", raw);
    put.push_back(sha256_hex(raw));
  }
  EXPECT_EQ(served(), put);
  EXPECT_EQ(kept(), put);
  // POP3 sends whole lines: what lacks its last line end gets one.
  auto client = plain(server.pop3_port());
  client.pop3("USER " + std::string(box));
  EXPECT_THAT(client.pop3("PASS pw"), StartsWith("+OK"));
  const std::string dots = client.pop3("RETR 1", true);
  EXPECT_EQ(dots.substr(dots.find("\r\n") + 2), odd[0]);
}

TEST_F(dovecot_mail, lmtp_writes_files_with_bare_line_feeds_and_their_digest_is_still_what_is_served) {
  for (std::size_t i = 0; i < 5; ++i) server.deliver_lmtp(box, corpus::message(3, i));
  server.deliver_lmtp(box, ".starts with a dot\r\n.\r\n..\r\nand ends without a line end");
  std::size_t with_bare_lf = 0;
  for (const auto& message : server.messages(box)) {
    const std::string file = read_file(server.maildir(box) / "new" / message.name);
    if (file.find('\r') == std::string::npos) ++with_bare_lf;
    EXPECT_GT(message.size, file.size());
  }
  EXPECT_EQ(with_bare_lf, 6U);
  EXPECT_EQ(served(), kept());
}

TEST_F(dovecot_mail, thousands_of_messages_are_in_place_within_seconds) {
  constexpr std::size_t count = 20'000;
  const auto start = std::chrono::steady_clock::now();
  server.deliver_many(box, "INBOX", count, [](std::size_t i) { return corpus::simple("number " + std::to_string(i)); });
  const double took = seconds_since(start);
  EXPECT_LT(took, 20) << "20,000 small messages";
  auto client = plain(server.imap_port());
  sign_in(client, box, "pw");
  EXPECT_THAT(client.imap("a2", "SELECT INBOX"), HasSubstr("* 20000 EXISTS"));
  EXPECT_THAT(client.imap("a3", "UID FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"), HasSubstr("Subject: number 0\r\n"));
  EXPECT_THAT(client.imap("a4", "UID FETCH 20000 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"), HasSubstr("Subject: number 19999\r\n"));
}

TEST_F(dovecot_mail, news_reach_an_idle_session_at_once) {
  auto client = selected();
  client.write("i IDLE\r\n");
  client.read_line();
  const auto start = std::chrono::steady_clock::now();
  server.deliver(box, "INBOX", corpus::simple("news"));
  EXPECT_EQ(client.read_line(), "* 1 EXISTS");
  EXPECT_LT(seconds_since(start), 5);
}

TEST_F(dovecot_mail, serves_the_date_it_is_given) {
  server.deliver(box, "INBOX", corpus::simple("old"), corpus::received_at(0));
  auto client = selected();
  EXPECT_THAT(client.imap("a3", "UID FETCH 1 INTERNALDATE"), HasSubstr("\"01-Jan-2025 00:00:00 +0000\""));
}

TEST_F(dovecot_mail, folders_are_made_and_messages_move_and_go) {
  const std::string first = server.deliver(box, "INBOX", corpus::simple("one"));
  const std::string second = server.deliver(box, "INBOX", corpus::simple("two"));
  server.deliver(box, "Archive/2026", corpus::simple("three"));
  auto client = selected("Archive/2026");
  EXPECT_THAT(client.imap("a3", "LIST \"\" *"), HasSubstr("\"/\" Archive/2026"));
  auto inbox = selected();
  server.move(box, "INBOX", "Archive/2026", first);
  server.expunge(box, "INBOX", second);
  EXPECT_THAT(inbox.imap("n", "NOOP"), HasSubstr("EXPUNGE"));
  EXPECT_THAT(client.imap("n", "NOOP"), HasSubstr("* 2 EXISTS"));
  EXPECT_EQ(server.count(box), 0U);
  EXPECT_EQ(served("Archive/2026").size(), 2U);
  server.clear(box, "Archive/2026");
  EXPECT_EQ(server.count(box, "Archive/2026"), 0U);
  EXPECT_THROW(server.expunge(box, "INBOX", "no such message"), peer_error);
}

TEST_F(dovecot_mail, files_say_which_uid_each_message_has) {
  for (std::size_t i = 0; i < 3; ++i) server.deliver(box, "INBOX", corpus::message(3, i));
  EXPECT_EQ(server.messages(box)[2].uid, 0U) << "nobody has opened the folder";
  auto client = selected();
  client.imap("a3", "UID STORE 2 +FLAGS (\\Deleted \\Seen)");
  client.imap("a4", "EXPUNGE");
  server.deliver(box, "INBOX", corpus::message(3, 3));
  client.imap("a5", "NOOP");
  const auto left = server.messages(box);
  ASSERT_EQ(left.size(), 3U);
  EXPECT_EQ(left[0].uid, 1U);
  EXPECT_EQ(left[1].uid, 3U);
  EXPECT_EQ(left[2].uid, 4U);
  EXPECT_EQ(left[2].sha256, sha256_hex(corpus::message(3, 3)));
  EXPECT_EQ(left[2].size, corpus::message(3, 3).size());
}

TEST_F(dovecot_mail, uid_validity_changes_under_open_sessions_and_the_mail_stays) {
  std::vector<std::string> put;
  for (std::size_t i = 0; i < 10; ++i) {
    server.deliver(box, "INBOX", corpus::message(3, i));
    put.push_back(sha256_hex(corpus::message(3, i)));
  }
  auto open = selected();
  open.imap("a3", "UID STORE 1:4 +FLAGS (\\Deleted)");
  open.imap("a4", "EXPUNGE");
  put.erase(put.begin(), put.begin() + 4);
  std::set<std::uint32_t> values = {server.uid_validity(box)};
  for (int round = 0; round < 5; ++round) {
    auto idle = selected();
    idle.write("i IDLE\r\n");
    idle.read_line();
    const std::uint32_t value = server.reset_uid_validity(box);
    EXPECT_TRUE(values.insert(value).second) << value;
    EXPECT_THAT(idle.read_line(), StartsWith("* BYE"));
    auto again = plain(server.imap_port());
    sign_in(again, box, "pw");
    const std::string answer = again.imap("a2", "SELECT INBOX");
    EXPECT_THAT(answer, HasSubstr("[UIDVALIDITY " + std::to_string(value) + "]"));
    EXPECT_THAT(answer, HasSubstr("[UIDNEXT 7]"));
    EXPECT_THAT(again.imap("a3", "UID SEARCH ALL"), HasSubstr("* SEARCH 1 2 3 4 5 6\r\n"));
    EXPECT_EQ(served(), put);
    EXPECT_EQ(server.uid_validity(box), value) << "somebody wrote the old list back";
  }
}

TEST_F(dovecot_mail, nothing_is_left_out_while_a_session_renames_every_file) {
  server.deliver_many(box, "INBOX", 2'000, [](std::size_t i) { return corpus::simple("number " + std::to_string(i)); });
  auto client = selected();
  for (int round = 0; round < 4; ++round) {
    // Marking renames file by file; this thread reads the directory at the same time.
    client.write(round % 2 == 0 ? "s STORE 1:* +FLAGS.SILENT (\\Seen \\Flagged)\r\n" : "s STORE 1:* -FLAGS.SILENT (\\Seen \\Flagged)\r\n");
    EXPECT_EQ(server.digests(box).size(), 2'000U);
    EXPECT_THAT(client.read_line(), StartsWith("s OK"));
  }
}

}  // namespace
}  // namespace mailherd::peers::test
