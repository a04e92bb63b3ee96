// tests/protocol/pop3: message bodies: dot-unstuffing at every split, terminators that are none, identity without UIDL.
#include <gmock/gmock.h>

#include <random>

#include "tests/protocol/pop3/script.hpp"

namespace mailherd::pop3 {
namespace {

using testing::HasSubstr;

/// As a server sends it (RFC 1939, 3): a dot at the start of each line that begins with one. Lines end with CRLF only.
std::string stuffed(const std::string& message) {
  std::string out;
  for (std::size_t i = 0; i < message.size(); ++i) {
    const bool line_start = i == 0 || (i >= 2 && message[i - 1] == '\n' && message[i - 2] == '\r');
    if (line_start && message[i] == '.') out += '.';
    out += message[i];
  }
  return out + ".\r\n";
}

std::string fetched(const std::string& wire, const std::vector<std::size_t>& cuts) {
  script s;
  s.sign_in();
  s.engine.retr(1);
  s.engine.noop();
  const std::string all = "+OK\r\n" + wire + "+OK\r\n";
  std::size_t from = 0;
  std::vector<std::string> events;
  for (std::size_t cut : cuts) {
    cut = std::min(std::max(cut, from), all.size());
    for (auto& e : s.server(std::string_view(all).substr(from, cut - from))) events.push_back(std::move(e));
    from = cut;
  }
  for (auto& e : s.server(std::string_view(all).substr(from))) events.push_back(std::move(e));
  EXPECT_EQ(events.back(), "done 6 NOOP 0") << "the reply behind the body is found";
  return s.events.bodies().empty() ? "(none)" : s.events.bodies().front();
}

const std::vector<std::string> messages{
    "A: b\r\n\r\nhello\r\n",
    "",
    ".\r\n",
    "..\r\n",
    "...\r\n.\r\n\r\n.\r\n",
    ".hidden\r\n..twice\r\nend.\r\n",
    "\r\n.\r\n\r\n",
    "a\n.\nb\n.\r\n",          // bare LF begins no line
    "a\r.\r\nb\r\r\n.\r\n",    // nor does a bare CR
    ".\rx\r\n.\r.\r\n",        // a stuffed line that begins with a lone CR
    "\r\r\n\n\r\n.\r\n\r\n",
    "no dots at all in this one, but long enough to be cut anywhere it likes\r\n",
};

TEST(body, every_split_at_every_place_gives_the_same_message) {
  for (const auto& message : messages) {
    const std::string wire = stuffed(message);
    EXPECT_EQ(fetched(wire, {}), message);
    for (std::size_t a = 0; a <= wire.size() + 5; ++a) {
      ASSERT_EQ(fetched(wire, {a}), message) << "cut at " << a;
      ASSERT_EQ(fetched(wire, {a, a + 1}), message) << "one byte alone at " << a;
    }
    std::vector<std::size_t> each;
    for (std::size_t a = 0; a <= wire.size() + 10; ++a) each.push_back(a);
    EXPECT_EQ(fetched(wire, each), message) << "byte by byte";
  }
}

TEST(body, random_messages_of_the_bytes_that_matter) {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    std::string message;
    for (std::size_t n = random() % 60; n > 0; --n) message += std::string_view(".\r\nx")[random() % 4];
    message += "\r\n";
    std::vector<std::size_t> cuts;
    for (std::size_t at = random() % 5; at < message.size() * 2 + 10; at += 1 + random() % 7) cuts.push_back(at);
    ASSERT_EQ(fetched(stuffed(message), cuts), message) << "seed " << seed;
  }
}

TEST(body, slices_of_a_large_message_are_not_copied_into_pieces) {
  script s;
  s.sign_in();
  s.engine.retr(1);
  const std::string message(1'000'000, 'x');
  s.server("+OK\r\n" + message + "\r\n.\r\n");
  EXPECT_EQ(s.events.bodies().front().size(), message.size() + 2);
  EXPECT_LE(s.events.chunks(), 2u);
}

TEST(body, announced_sizes_are_hints) {
  const auto announced = [](const std::string& text) {
    script s;
    s.sign_in();
    s.engine.retr(7);
    return s.server("+OK" + text + "\r\n.\r\n").front();
  };
  EXPECT_EQ(announced(" 120 octets"), "begin 5 7 120");
  EXPECT_EQ(announced(" message follows (99 bytes)"), "begin 5 7 99");
  EXPECT_EQ(announced(" 55"), "begin 5 7 55");
  EXPECT_EQ(announced(" message 7 follows"), "begin 5 7 ?");
  EXPECT_EQ(announced(" 99999999999999999999999999 octets"), "begin 5 7 ?");
  EXPECT_EQ(announced(""), "begin 5 7 ?");
}

TEST(identity, of_twins_is_the_name_they_share_with_what_tells_them_apart) {
  EXPECT_EQ(twin_uidl("abc", 200, 1), "abc;200");
  EXPECT_EQ(twin_uidl("abc", 200, 2), "abc;200;2");
  EXPECT_EQ(twin_uidl(unnamed_uidl(5), 5, 1), "unnamed;5;5");
  EXPECT_EQ(twin_uidl("abc", sha256_digest{0x01, 0xFF}), "abc;sha256:01ff" + std::string(60, '0'));
}

TEST(identity, without_uidl_is_the_head_without_what_servers_rewrite) {
  const std::string head = "From: a@x.test\r\nSubject: x\r\nMessage-ID: <1@x>\r\n";
  const auto id = digest_uidl(head + "\r\n");
  EXPECT_THAT(id, HasSubstr("sha256:"));
  EXPECT_EQ(id.size(), 7u + 64u);
  EXPECT_EQ(digest_uidl("Status: RO\r\n" + head + "X-UIDL: abc\r\n continued\r\nContent-Length: 5\r\nlines: 7\r\n\r\n"), id);
  EXPECT_EQ(digest_uidl(head), id) << "without the blank line";
  EXPECT_EQ(digest_uidl(head + "\r\nsome servers send lines of the body all the same\r\n"), id);
  EXPECT_NE(digest_uidl(head + "X-Other: 1\r\n\r\n"), id);
  EXPECT_NE(digest_uidl("From: b@x.test\r\n\r\n"), id);
}

TEST(identity, of_a_unique_id_as_sent) {
  EXPECT_EQ(stable_uidl("abc!~"), "abc!~");
  EXPECT_EQ(stable_uidl(std::string(512, 'a')), std::string(512, 'a'));
  EXPECT_THAT(stable_uidl(std::string(513, 'a')), HasSubstr("sha256:"));
  EXPECT_EQ(stable_uidl("\x80"), "hex:80");
  EXPECT_EQ(stable_uidl(""), "hex:");
  const std::string binary(300, '\x80');
  EXPECT_THAT(stable_uidl(binary), HasSubstr("sha256:"));
  EXPECT_LE(stable_uidl(std::string(248, '\x80')).size(), 512u);
  EXPECT_NE(stable_uidl("\x80"), stable_uidl("\x81"));
}

}  // namespace
}  // namespace mailherd::pop3
