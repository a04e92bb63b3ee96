// tests/protocol/imap: the small languages inside: capabilities, UID sets, mailbox names in UTF-7, dates, the scanner.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <random>
#include <set>

#include "core/limits.hpp"
#include "protocol/imap/capabilities.hpp"
#include "protocol/imap/scanner.hpp"
#include "protocol/imap/uid_set.hpp"
#include "protocol/imap/utf7.hpp"

namespace mailherd::imap {
namespace {

using testing::ElementsAre;

// ---- capabilities --------------------------------------------------------------------------------------------------------------------

TEST(capabilities, words_of_real_servers) {
  capability_set dovecot;
  EXPECT_FALSE(dovecot.known());
  dovecot.assign("IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS AUTH=PLAIN auth=xoauth2 AUTH=OAUTHBEARER");
  EXPECT_TRUE(dovecot.known());
  EXPECT_THAT(dovecot.mechanisms(), ElementsAre("PLAIN", "XOAUTH2", "OAUTHBEARER"));
  EXPECT_TRUE(dovecot.has(capability::sasl_ir) && dovecot.has(capability::starttls) && dovecot.has(capability::literal_plus));
  EXPECT_FALSE(dovecot.has(capability::uidplus) || dovecot.has(capability::login_disabled) || dovecot.has(capability::condstore));
  capability_set gmail;
  gmail.assign(
      "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH "
      "UTF8=ACCEPT "
      "LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584");
  for (const auto c : {capability::compress_deflate, capability::condstore, capability::literal_minus, capability::utf8_accept,
                       capability::esearch, capability::move, capability::unselect, capability::enable})
    EXPECT_TRUE(gmail.has(c));
}

TEST(capabilities, what_one_word_contains) {
  capability_set rev2;
  rev2.assign("IMAP4rev2");
  for (const auto c : {capability::sasl_ir, capability::idle, capability::uidplus, capability::enable, capability::literal_minus,
                       capability::esearch, capability::unselect, capability::move})
    EXPECT_TRUE(rev2.has(c));
  EXPECT_FALSE(rev2.has(capability::condstore));
  EXPECT_FALSE(rev2.has(capability::imap4rev1));
  capability_set qresync;
  qresync.assign("IMAP4rev1 QRESYNC");
  EXPECT_TRUE(qresync.has(capability::condstore));
}

TEST(capabilities, each_list_replaces_the_one_before) {
  capability_set c;
  c.assign("IMAP4rev1 IDLE AUTH=PLAIN");
  c.assign("IMAP4rev1  UIDPLUS ");
  EXPECT_FALSE(c.has(capability::idle));
  EXPECT_TRUE(c.has(capability::uidplus));
  EXPECT_TRUE(c.mechanisms().empty());
  c.clear();
  EXPECT_FALSE(c.known());
  c.assign("");
  EXPECT_TRUE(c.known());
  c.assign("AUTH= AUTH AUTH=" + std::string(100, 'X') + " IDLEX XIDLE");
  EXPECT_TRUE(c.mechanisms().empty());
  EXPECT_FALSE(c.has(capability::idle));
}

// ---- UID sets ------------------------------------------------------------------------------------------------------------------------

std::string parsed(std::string_view text) {
  const auto s = uid_set::parse(text);
  return s ? s->to_string() : "none";
}

TEST(uid_sets, parse) {
  EXPECT_EQ(parsed("1"), "1");
  EXPECT_EQ(parsed("1:5,9,12:13"), "1:5,9,12:13");
  EXPECT_EQ(parsed("5:1"), "1:5");
  EXPECT_EQ(parsed("9,1:3,2:5,6"), "1:6,9");
  EXPECT_EQ(parsed("1:10,3:4,20"), "1:10,20");
  EXPECT_EQ(parsed("4294967295,4294967294"), "4294967294:4294967295");
  EXPECT_EQ(parsed("1:4294967295,5,4294967295"), "1:4294967295");
  for (const char* bad : {"",   ",",   "1,", ",1",  "1:",  ":1",         "1::2",         "1:2:3",
                          "*",  "1:*", "0",  "0:5", "1:0", "4294967296", "1:4294967296", "99999999999999999999",
                          "-1", "+1",  " 1", "1 ",  "1,a", "1;2"})
    EXPECT_EQ(parsed(bad), "none") << bad;
  EXPECT_FALSE(uid_set::parse("1,3,5", 2));
  EXPECT_TRUE(uid_set::parse("1,3", 2));
  EXPECT_EQ(uid_set::parse("1:4294967295")->size(), 4294967295u);
}

TEST(uid_sets, spans) {
  EXPECT_EQ(uid_set::span({5}, {}).to_string(), "5:*");
  EXPECT_EQ(uid_set::span({5}, {5}).to_string(), "5");
  EXPECT_EQ(uid_set::span({5}, {9}).to_string(), "5:9");
  EXPECT_TRUE(uid_set::span({}, {9}).empty());
  EXPECT_TRUE(uid_set::span({5}, {}).contains({4294967295u}));
  EXPECT_FALSE(uid_set::span({5}, {}).contains({4}));
}

TEST(uid_sets, adding_in_any_order_is_as_parsing) {
  for (std::uint32_t seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    uid_set s;
    std::string text;
    std::set<std::uint32_t> reference;
    for (std::size_t n = random() % 60; n > 0; --n) {
      const std::uint32_t u = random() % 8 == 0 ? 0xFFFFFFFFu - random() % 4 : 1 + random() % 40;
      s.add({u});
      reference.insert(u);
      text += (text.empty() ? "" : ",") + std::to_string(u);
    }
    ASSERT_EQ(s.to_string(), text.empty() ? "" : parsed(text)) << "seed " << seed << ": " << text;
    ASSERT_EQ(s.size(), reference.size());
    for (std::uint32_t u = 0; u <= 42; ++u) ASSERT_EQ(s.contains({u}), reference.count(u) == 1) << "seed " << seed << ": " << u;
    ASSERT_EQ(s.contains({0xFFFFFFFFu}), reference.count(0xFFFFFFFFu) == 1);
  }
}

TEST(uid_sets, zero_is_no_uid) {
  uid_set s;
  s.add({});
  EXPECT_TRUE(s.empty());
  s.add({0xFFFFFFFFu});
  s.add({});
  EXPECT_EQ(s.to_string(), "4294967295") << "not 4294967295:*";
}

// ---- names ---------------------------------------------------------------------------------------------------------------------------

TEST(utf7, both_ways) {
  const std::vector<std::pair<std::string, std::string>> pairs{
      {"INBOX", "INBOX"},
      {"", ""},
      {"&", "&-"},
      {"Tom & Jerry", "Tom &- Jerry"},
      {"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},
      {"Entwürfe", "Entw&APw-rfe"},
      {"ö", "&APY-"},
      {"öä", "&APYA5A-"},
      {"öäü", "&APYA5AD8-"},
      {"😀", "&2D3eAA-"},
      {"a😀b", "a&2D3eAA-b"},
      {"&ö&", "&-&APY-&-"},
      {"tab\t", "tab&AAk-"},
      {"ÿ\xEF\xBF\xBF", "&AP,,,w-"},
  };
  for (const auto& [plain, encoded] : pairs) {
    EXPECT_EQ(to_utf7(plain), encoded) << plain;
    EXPECT_EQ(from_utf7(encoded), plain) << encoded;
  }
}

TEST(utf7, what_is_no_encoding) {
  for (const char* bad : {"&",     "&APY",  "a&b",      "&AP-Y",    "&A-",   "&AA-",     "&AAA-", "&AAAAA-", "&APZ-", "&====-", "&AP/-",
                          "&2D0-", "&3gA-", "&2D0APY-", "&2D3YPQ-", "&AAA-", "&AAoAYQ-", "&AA0-", "ö",       "a\r",   "a\x7F",  "\x01"})
    EXPECT_FALSE(from_utf7(bad)) << bad;
  for (const std::string& bad : {std::string("\xFF"), std::string("a\xC3"), std::string("\xED\xA0\x80"), std::string("\xC0\x80"),
                                 std::string("a\0b", 3), std::string("a\r"), std::string("a\nb"), std::string("\xF4\x90\x80\x80")})
    EXPECT_FALSE(to_utf7(bad)) << bad;
}

TEST(utf7, random_names_come_back) {
  for (std::uint32_t seed = 1; seed <= 2'000; ++seed) {
    std::mt19937 random(seed);
    std::string name;
    for (std::size_t n = random() % 12; n > 0; --n) {
      static const std::vector<std::string> letters{"a", "&", "-", "ö", "日", "😀", "/", "+", ",", "\t", "ÿ", "\xEF\xBF\xBD"};
      name += letters[random() % letters.size()];
    }
    const auto encoded = to_utf7(name);
    ASSERT_TRUE(encoded) << "seed " << seed;
    ASSERT_EQ(from_utf7(*encoded), name) << "seed " << seed << ": " << *encoded;
    for (const char c : *encoded) ASSERT_TRUE(c >= 0x20 && c < 0x7F);
  }
}

// ---- dates ---------------------------------------------------------------------------------------------------------------------------

std::int64_t epoch(std::string_view text) {
  const auto t = parse_internal_date(text);
  return t ? t->time_since_epoch().count() / 1'000'000 : -1;
}

TEST(dates, internal) {
  EXPECT_EQ(epoch("17-Jul-1996 02:44:25 -0700"), 837596665);
  EXPECT_EQ(epoch(" 7-Jul-1996 02:44:25 +0000"), 836707465);
  EXPECT_EQ(epoch("7-Jul-1996 02:44:25 +0000"), 836707465);
  EXPECT_EQ(epoch("07-jul-1996 02:44:25 +0000"), 836707465);
  EXPECT_EQ(epoch("31-Dec-2016 23:59:60 +0000"), 1483228800) << "a leap second";
  EXPECT_EQ(epoch("29-Feb-2024 00:00:00 +0530"), 1709145000);
  EXPECT_EQ(epoch("01-Jan-9999 00:00:00 +0000"), 253370764800);
  for (const char* bad :
       {"", "17-Jul-1996", "17-Jul-1996 02:44:25", "29-Feb-2023 00:00:00 +0000", "32-Jan-2023 00:00:00 +0000", "00-Jan-2023 00:00:00 +0000",
        "17-Foo-1996 02:44:25 -0700", "17-Jul-1969 02:44:25 -0700", "17-Jul-1996 24:44:25 -0700", "17-Jul-1996 02:60:25 -0700",
        "17-Jul-1996 02:44:61 -0700", "17-Jul-1996 02:44:25 0700 ", "17-Jul-1996 02:44:25 -9900", "17-Jul-1996 02:44:25 -0099",
        "17-Jul-1996 02:44:25 -07:00", "1a-Jul-1996 02:44:25 -0700"})
    EXPECT_EQ(epoch(bad), -1) << bad;
}

TEST(dates, for_searches) {
  EXPECT_EQ(format_search_date(wall_time{std::chrono::seconds(0)}), "1-Jan-1970");
  EXPECT_EQ(format_search_date(wall_time{std::chrono::seconds(1795486332)}), "24-Nov-2026");
  EXPECT_EQ(format_search_date(wall_time{std::chrono::microseconds(-1)}), "31-Dec-1969");
}

// ---- the scanner ---------------------------------------------------------------------------------------------------------------------

TEST(scanning, names_of_items) {
  scanner in("BODY[HEADER.FIELDS (A \"B)\")]<0> UID FLAGS(x) X-[y");
  EXPECT_EQ(in.item_name(), "BODY[HEADER.FIELDS (A \"B)\")]<0>");
  in.skip_spaces();
  EXPECT_EQ(in.item_name(), "UID");
  in.skip_spaces();
  EXPECT_EQ(in.item_name(), "FLAGS");
  EXPECT_TRUE(in.take('('));
  EXPECT_EQ(in.item_name(), "x");
  EXPECT_EQ(in.item_name(), "");
  EXPECT_TRUE(in.take(')'));
  in.skip_spaces();
  EXPECT_EQ(in.item_name(), "X-[y") << "a section that never ends";
  EXPECT_TRUE(in.at_end());
  EXPECT_EQ(in.item_name(), "");
}

TEST(scanning, strings) {
  const auto string = [](std::string_view text) {
    scanner in(text);
    std::string scratch;
    const auto s = in.string(scratch);
    return s ? fmt::format("{}|{}", *s, in.rest()) : fmt::format("none|{}", in.rest());
  };
  EXPECT_EQ(string("\"a b\" c"), "a b| c");
  EXPECT_EQ(string("\"\""), "|");
  EXPECT_EQ(string("\"a\\\"b\\\\\" c"), "a\"b\\| c");
  EXPECT_EQ(string("{3}\r\na b c"), "a b| c");
  EXPECT_EQ(string("~{3+}\r\na bc"), "a b|c");
  EXPECT_EQ(string("{0}\r\n"), "|");
  EXPECT_EQ(string("NIL)"), "NIL|)");
  EXPECT_EQ(string("~x y"), "~x| y");
  for (const char* bad : {"", "\"a", "\"a\\", "\"a\\\"", "{3}\r\nab", "{3}ab", "{x}\r\n", "{99999999999999999999}\r\n", "(a)", ")"})
    EXPECT_EQ(string(bad), fmt::format("none|{}", bad));
}

TEST(scanning, values_are_skipped_whole_or_not_at_all) {
  const auto skipped = [](std::string_view text) {
    scanner in(text);
    return in.skip_value() ? fmt::format("{}", in.rest()) : fmt::format("none {}", in.rest() == text);
  };
  EXPECT_EQ(skipped("(a (\"b)\" {2}\r\n)( NIL)) c"), " c");
  EXPECT_EQ(skipped("() x"), " x");
  EXPECT_EQ(skipped("a[b) c"), ") c");
  EXPECT_EQ(skipped(" \"x\"y"), "y");
  for (const char* bad : {"", ")", "(a", "(a (b)", "(\"a)", "({5}\r\nab)", "   "}) EXPECT_EQ(skipped(bad), "none true") << bad;
  EXPECT_EQ(skipped(std::string(limits::imap_nesting, '(') + std::string(limits::imap_nesting, ')')), "");
  EXPECT_EQ(skipped(std::string(1'000'000, '(')), "none true");
}

TEST(scanning, random_bytes_never_lead_behind_the_end) {
  for (std::uint32_t seed = 1; seed <= 5'000; ++seed) {
    std::mt19937 random(seed);
    std::string text;
    for (std::size_t n = random() % 30; n > 0; --n) text += std::string_view("(){}\"\\ ~+0123ab[]\r\n")[random() % 19];
    const std::vector<char> own(text.begin(), text.end());  // its exact size: the sanitizer sees the end
    scanner in(std::string_view(own.data(), own.size()));
    std::string scratch;
    for (int i = 0; i < 50 && !in.at_end(); ++i) {
      const auto before = in.rest().size();
      switch (random() % 5) {
        case 0:
          in.skip_value();
          break;
        case 1:
          in.string(scratch);
          break;
        case 2:
          in.item_name();
          break;
        case 3:
          in.number();
          break;
        case 4:
          in.skip_spaces();
          break;
      }
      ASSERT_LE(in.rest().size(), before) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace mailherd::imap
