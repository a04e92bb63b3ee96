// tests/core: what a server says, made fit for people; base64.
#include <gmock/gmock.h>

#include <random>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd {
namespace {

using namespace std::string_literals;

bool is_valid(std::string_view text) {
  while (!text.empty()) {
    const auto n = utf8_sequence(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

TEST(clean_server_text, is_one_line_of_valid_utf8) {
  EXPECT_EQ(clean_server_text("  a \r\n\tb\0 c  "s), "a b c");
  EXPECT_EQ(clean_server_text("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"), "café € 😀");
  EXPECT_EQ(clean_server_text("a\xFF" "b\xC3"), "a?b?");
  EXPECT_EQ(clean_server_text("\xC0\xAF\xED\xA0\x80"), "?????") << "overlong and surrogate";
  EXPECT_EQ(clean_server_text("a\x1b[31mred\x7F"), "a [31mred");
  EXPECT_EQ(clean_server_text("a\xE2\x80\xAE" "b"), "a b") << "right-to-left override";
  EXPECT_EQ(clean_server_text("a\xC2\x85" "b"), "a b") << "a C1 control";
  EXPECT_EQ(clean_server_text(""), "");
  EXPECT_EQ(clean_server_text("\r\n "), "");
}

TEST(clean_server_text, is_bounded_and_cut_between_characters) {
  EXPECT_EQ(clean_server_text(std::string(limits::server_text_bytes, 'a')).size(), limits::server_text_bytes);
  const auto cut = clean_server_text(std::string(limits::server_text_bytes + 1, 'a'));
  EXPECT_EQ(cut.size(), limits::server_text_bytes);
  EXPECT_TRUE(cut.ends_with("a..."));
  for (std::size_t shift = 0; shift < 4; ++shift) {
    std::string wide(shift, 'a');
    for (int i = 0; i < 400; ++i) wide += "\xE2\x82\xAC";
    const auto text = clean_server_text(wide);
    EXPECT_LE(text.size(), limits::server_text_bytes);
    EXPECT_TRUE(is_valid(text)) << shift;
  }
}

TEST(clean_server_text, any_bytes_become_valid) {
  const std::uint32_t seed = 7;
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 700, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const auto text = clean_server_text(bytes);
    ASSERT_TRUE(is_valid(text)) << "seed " << seed << " round " << round;
    ASSERT_LE(text.size(), limits::server_text_bytes);
    ASSERT_EQ(clean_server_text(text), text) << "cleaning twice changes nothing";
  }
}

TEST(throttle_backoff, exchange_and_its_variants) {
  using std::chrono::milliseconds;
  EXPECT_EQ(throttle_backoff("Request is throttled. Suggested Backoff Time: 299910 milliseconds"), milliseconds(299910));
  EXPECT_EQ(throttle_backoff("x BACKOFF TIME:5"), milliseconds(5));
  EXPECT_EQ(throttle_backoff("Backoff time: 5 seconds"), milliseconds(5000));
  EXPECT_EQ(throttle_backoff("Backoff time: 50 minutes"), milliseconds(3'000'000));
  EXPECT_EQ(throttle_backoff("Backoff time: 99999999999999999999999 minutes"), milliseconds(24 * 3600 * 1000));
  EXPECT_FALSE(throttle_backoff("Backoff time: soon"));
  EXPECT_FALSE(throttle_backoff("Backoff time: -5"));
  EXPECT_FALSE(throttle_backoff("Request is throttled."));
  EXPECT_FALSE(throttle_backoff(""));
}

TEST(comparing, ignores_case_of_ascii_only) {
  EXPECT_TRUE(contains_text("Mailbox IN USE", "in use"));
  EXPECT_TRUE(contains_text("x", ""));
  EXPECT_FALSE(contains_text("", "x"));
  EXPECT_TRUE(equal_text("INBOX", "inbox"));
  EXPECT_FALSE(equal_text("INBOX", "inbo"));
  EXPECT_FALSE(equal_text("\xC4", "\xE4"));
}

TEST(base64, rfc_4648) {
  const std::vector<std::pair<std::string, std::string>> vectors{
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(base64_encode(plain), encoded);
    EXPECT_EQ(base64_decode(encoded), plain);
  }
  EXPECT_EQ(base64_encode("\xFB\xFF"), "+/8=");
  EXPECT_EQ(base64url_encode("\xFB\xFF"), "-_8");
}

TEST(base64, every_byte_survives) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  for (std::size_t n = 0; n <= all.size(); ++n) EXPECT_EQ(base64_decode(base64_encode(all.substr(0, n))), all.substr(0, n));
}

TEST(base64, garbage_is_an_error_not_a_guess) {
  for (const auto& bad :
       {"Z"s, "Zg"s, "Zg="s, "Zg==="s, "Zm9v\n"s, "Zm 9v"s, "Zg=A"s, "=Zg="s, "===="s, "Zh=="s, "Zm9="s, "-_8="s, "Zm9\0"s, "Zg==Zg=="s})
    EXPECT_FALSE(base64_decode(bad)) << bad;
}

}  // namespace
}  // namespace mailherd
