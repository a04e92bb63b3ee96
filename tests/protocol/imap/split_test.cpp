// tests/protocol/imap: any split: what comes of a conversation does not depend on how the network cut it.
#include <gmock/gmock.h>

#include <functional>
#include <random>

#include "core/base64.hpp"
#include "tests/protocol/imap/script.hpp"

namespace mailherd::imap {
namespace {

using sizes = std::function<std::size_t()>;

class conversation {
 public:
  explicit conversation(sizes next_piece, engine_options options = {}) : s(std::move(options)), next_(std::move(next_piece)) {}
  void say(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto piece = std::min(next_(), bytes.size());
      for (auto& e : s.server(bytes.substr(0, piece))) all.push_back(std::move(e));
      bytes.remove_prefix(piece);
    }
    all.push_back("sent " + s.sent());
  }
  script s;
  std::vector<std::string> all;

 private:
  sizes next_;
};

std::vector<std::string> ordinary(const sizes& pieces) {
  conversation c(pieces);
  auto& e = c.s.engine;
  c.say("* OK [CAPABILITY IMAP4rev1 AUTH=LOGIN ID] Courier ready\r\n");
  e.login(password_of("jöe", "pä\"ss"));
  c.say("+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n* CAPABILITY IMAP4rev1 IDLE UIDPLUS ESEARCH LITERAL+\r\nA1 OK LOGIN Ok.\r\n");
  e.list("*");
  c.say("* LIST (\\HasNoChildren) \".\" {5}\r\nA {3}\r\n* LIST () \"/\" \"q{3}\"\r\n\r\nA2 OK\r\n");
  e.select("Entwürfe", false);
  c.say("* FLAGS (\\Seen)\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 10] y\r\nA3 OK [READ-WRITE] in\r\n");
  e.search_since(test_now);
  c.say("* SEARCH 5 3 1\r\nA4 OK\r\n");
  e.fetch(uids({1}), fetch_what::body);
  e.fetch(uids({3}), fetch_what::body);
  e.fetch(uids({5}), fetch_what::headers);
  c.say(
      "* 1 FETCH (BODY[] {12}\r\n)\r\nA5 OK\r\n\r\n UID 1 FLAGS (\\Seen {2}\r\n\r\n))\r\n* 9 EXISTS\r\nA5 OK\r\n"
      "* 2 FETCH (ENVELOPE (\"a\" {3}\r\n(\"\\ NIL) UID 3 BODY[TEXT] {4}\r\n{9}\r INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] "
      "{0}\r\n)\n"
      "* 2 EXPUNGE\r\nA6 OK\r\n* 3 FETCH (UID 5 RFC822.SIZE 9 BODY[HEADER] \"A: \\\"b\\\"\" X (((\"y\"))))\r\nA7 NO [EXPUNGEISSUED] "
      "some\r\n");
  e.idle();
  c.say("+ idling\r\n+ still\r\n* 10 EXISTS\r\n");
  e.noop();
  c.say("A8 OK\r\nDONE BAD x\r\n");
  c.say("A9 OK [ALERT] mind {5}\r\n* BYE Session expired {3}\r\n");
  return c.all;
}

std::vector<std::string> broken(const sizes& pieces, std::string_view tail) {
  conversation c(pieces);
  c.s.select();
  c.s.engine.fetch(uids({1}), fetch_what::body);
  c.say(tail);
  return c.all;
}

TEST(any_split, a_whole_conversation) {
  const auto whole = ordinary([] { return std::size_t{1'000'000}; });
  ASSERT_EQ(whole[whole.size() - 2], "bye server_bye") << "it gets to its end";
  EXPECT_EQ(ordinary([] { return std::size_t{1}; }), whole) << "byte by byte";
  for (std::size_t n = 2; n <= 16; ++n) EXPECT_EQ(ordinary([n] { return n; }), whole) << "by " << n;
  for (std::uint32_t seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    ASSERT_EQ(ordinary([&] { return std::size_t{1 + random() % 23}; }), whole) << "seed " << seed;
  }
}

TEST(any_split, every_way_to_fail) {
  for (const std::string tail :
       {"* 1 FETCH (UID 1 BODY[] {600000000}\r\nx", "* 1 FETCH (UID 1 X {3}\r\nabc BODY[] {3}\r\nabc BODY[] {3}\r\nabc)\r\n",
        "* 1 FETCH (UID 0)\r\n", "A9 OK\r\n* 1 EXISTS\r\n", "* 1 FETCH (UID 1 BODY[] \"x\" BODY[] \"y\")\r\n", "+ what\r\n",
        "* SEARCH 1 x\r\n", "* OK [UIDVALIDITY 9] x\r\n* 1 EXISTS\r\n", "* LIST () \"/\" {70000}\r\n", "* BYE gone\r\nA3 OK\r\n"}) {
    const auto whole = broken([] { return std::size_t{1'000'000}; }, tail);
    EXPECT_EQ(broken([] { return std::size_t{1}; }, tail), whole) << tail;
    for (std::size_t n = 2; n <= 9; ++n) EXPECT_EQ(broken([n] { return n; }, tail), whole) << tail;
  }
}

TEST(any_split, random_servers_of_the_bytes_that_matter) {
  const std::vector<std::string> pieces{"* ",
                                        "1 ",
                                        "FETCH ",
                                        "(",
                                        ")",
                                        "UID ",
                                        "5 ",
                                        "BODY[] ",
                                        "{3}\r\n",
                                        "abc",
                                        "\"",
                                        "\\",
                                        "\r\n",
                                        "A3 OK ",
                                        "+ ",
                                        "NIL ",
                                        "OK ",
                                        "[",
                                        "]",
                                        "{0}\r\n",
                                        "EXISTS",
                                        " ",
                                        "* 1 FETCH (UID 1 ",
                                        "BODY[HEADER] ",
                                        "\"a b\" ",
                                        "* SEARCH 1 2\r\n",
                                        "A3 OK x\r\n",
                                        "\n"};
  for (std::uint32_t seed = 1; seed <= 3'000; ++seed) {
    std::mt19937 random(seed);
    std::string said;
    for (std::size_t n = 3 + random() % 20; n > 0; --n) said += pieces[random() % pieces.size()];
    const auto whole = broken([] { return std::size_t{1'000'000}; }, said);
    ASSERT_EQ(broken([] { return std::size_t{1}; }, said), whole) << "seed " << seed << ": " << said;
    ASSERT_EQ(broken([&] { return std::size_t{1 + random() % 7}; }, said), whole) << "seed " << seed << ": " << said;
  }
}

TEST(any_split, a_message_cut_at_every_place) {
  const std::string message = "A: b\r\n\r\n{5}\r\n)\r\nA3 OK\r\n";
  const std::string wire = fmt::format("* 1 FETCH (UID 1 BODY[] {{{}}}\r\n{} FLAGS ())\r\nA3 OK\r\n", message.size(), message);
  for (std::size_t a = 0; a <= wire.size(); ++a)
    for (std::size_t b = a; b <= std::min(wire.size(), a + 3); ++b) {
      script s;
      s.select();
      s.engine.fetch(uids({1}), fetch_what::body);
      s.server(wire.substr(0, a));
      s.server(wire.substr(a, b - a));
      s.server(wire.substr(b));
      ASSERT_EQ(s.events.bodies(), std::vector{message}) << a << " " << b;
      ASSERT_EQ(s.engine.pending(), 0u);
    }
}

}  // namespace
}  // namespace mailherd::imap
