// tests/storage/keyring: the seal opens only here, only unaltered, only with its key; and the keyring's text never shows in an error.
#include "storage/keyring.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <openssl/err.h>

#include <random>
#include <set>

#include "core/base64.hpp"

namespace mailherd::store {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::string_view context = "credential/t3/c17/2/password";

std::string key_of(char fill) { return base64_encode(std::string(32, fill)); }

std::shared_ptr<const keyring> ring(std::string text) {
  auto keys = keyring::parse(secret<>{std::move(text)});
  if (!keys) throw std::runtime_error(describe(keys.error()));
  return *keys;
}

std::string opened(const keyring& keys, std::string_view where, std::string_view sealed) {
  auto plain = keys.open(where, sealed);
  return plain ? std::string(plain->reveal()) : "refused: " + describe(plain.error());
}

void expect_refused(const keyring& keys, std::string_view where, std::string_view sealed, const std::string& what) {
  const auto plain = keys.open(where, sealed);
  ASSERT_FALSE(plain) << what;
  EXPECT_EQ(plain.error().code, failure::seal_failed) << what;
  EXPECT_EQ(ERR_peek_error(), 0U) << what << ": left in OpenSSL's queue, where the next TLS call of this thread finds it";
}

TEST(Keyring, OpensWhatItSealed) {
  const auto keys = ring("main:" + key_of('a'));
  for (const std::size_t size : {0U, 1U, 15U, 16U, 17U, 4096U, 1'000'000U}) {
    std::string plain(size, '\0');
    for (std::size_t i = 0; i < size; ++i) plain[i] = static_cast<char>(i * 7);
    EXPECT_EQ(opened(*keys, context, keys->seal(context, plain)), plain) << size << " bytes";
  }
}

TEST(Keyring, ShowsNeitherPlaintextNorKey) {
  const auto keys = ring("main:" + key_of('a'));
  const std::string sealed = keys->seal(context, "the mailbox password");
  EXPECT_EQ(sealed.find("password"), std::string::npos);
  EXPECT_EQ(sealed.find("aaaa"), std::string::npos);
}

TEST(Keyring, RefusesEveryAlteredByte) {
  const auto keys = ring("main:" + key_of('a') + "\nmbin:" + key_of('b'));  // one of the flips makes the one id the other
  const std::string sealed = keys->seal(context, "pw");
  for (std::size_t at = 0; at < sealed.size(); ++at)
    for (const int flip : {0x01, 0x03, 0x80, 0xFF}) {
      std::string altered = sealed;
      altered[at] = static_cast<char>(altered[at] ^ flip);
      expect_refused(*keys, context, altered, "byte " + std::to_string(at) + " flipped with " + std::to_string(flip));
    }
}

TEST(Keyring, RefusesEveryTruncationAndExtension) {
  const auto keys = ring("main:" + key_of('a'));
  const std::string sealed = keys->seal(context, "a password");
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    expect_refused(*keys, context, sealed.substr(0, size), "first " + std::to_string(size));
    expect_refused(*keys, context, sealed.substr(sealed.size() - size), "last " + std::to_string(size));
  }
  expect_refused(*keys, context, sealed + '\0', "one byte more");
  expect_refused(*keys, context, sealed + sealed, "twice");
}

TEST(Keyring, RefusesAnotherContext) {
  const auto keys = ring("main:" + key_of('a'));
  const std::string sealed = keys->seal(context, "pw");
  for (const std::string_view other : {"credential/t4/c17/2/password", "credential/t3/c17/2/passwor", "credential/t3/c17/2/password/", ""})
    expect_refused(*keys, other, sealed, std::string(other));
}

/// A row's wrapped key put before another row's ciphertext: both are genuine, of one key and one context.
TEST(Keyring, RefusesPartsOfTwoGenuineValues) {
  const auto keys = ring("main:" + key_of('a'));
  const std::string one = keys->seal(context, "first");
  const std::string two = keys->seal(context, "other");
  for (std::size_t cut = 1; cut < one.size(); ++cut)
    if (one.substr(0, cut) != two.substr(0, cut) && one.substr(cut) != two.substr(cut))
      expect_refused(*keys, context, one.substr(0, cut) + two.substr(cut), "cut at " + std::to_string(cut));
}

TEST(Keyring, RefusesRandomBytes) {
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  const auto keys = ring("main:" + key_of('a'));
  const std::string sealed = keys->seal(context, "a password");
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes(random() % 160, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const std::size_t genuine = std::min<std::size_t>(random() % 12, bytes.size());  // a genuine beginning leads deeper
    bytes.replace(0, genuine, sealed.substr(0, genuine));
    ASSERT_FALSE(keys->open(context, bytes)) << "seed " << seed << ", round " << round;
    EXPECT_LE(keyring::id_of(bytes).size(), bytes.size());
  }
}

TEST(Keyring, NamesTheMissingKey) {
  const std::string sealed = ring("old-1:" + key_of('a'))->seal(context, "pw");
  const auto plain = ring("new_2:" + key_of('b'))->open(context, sealed);
  ASSERT_FALSE(plain);
  EXPECT_EQ(plain.error().code, failure::seal_failed);
  EXPECT_THAT(plain.error().detail, HasSubstr("\"old-1\""));
}

/// An altered row must not write lines of its own into a log.
TEST(Keyring, RepeatsNoNameThatIsNone) {
  const auto keys = ring("old-1:" + key_of('a'));
  std::string sealed = keys->seal(context, "pw");
  sealed.replace(sealed.find("old-1"), 5, "x\n\"%s");
  EXPECT_EQ(keyring::id_of(sealed), "");
  EXPECT_THAT(keys->open(context, sealed).error().detail, testing::AllOf(Not(HasSubstr("\n")), Not(HasSubstr("%s"))));
}

TEST(Keyring, SaysThatAKeyOfTheSameNameIsAnother) {
  const std::string sealed = ring("k:" + key_of('a'))->seal(context, "pw");
  const auto plain = ring("k:" + key_of('b'))->open(context, sealed);
  ASSERT_FALSE(plain);
  EXPECT_EQ(plain.error().code, failure::seal_failed);
  EXPECT_THAT(plain.error().detail, HasSubstr("\"k\""));
}

TEST(Keyring, TellsANewerFormatFromGarbage) {
  const auto keys = ring("k:" + key_of('a'));
  std::string sealed = keys->seal(context, "pw");
  sealed[2] = 2;
  EXPECT_THAT(keys->open(context, sealed).error().detail, HasSubstr("newer"));
  EXPECT_THAT(keys->open(context, "hello").error().detail, Not(HasSubstr("newer")));
}

TEST(Keyring, RotatesWhileOldValuesStillOpen) {
  const auto before = ring("old:" + key_of('a'));
  const auto during = ring("new:" + key_of('b') + "\nold:" + key_of('a'));
  const auto after = ring("new:" + key_of('b'));
  const std::string old_value = before->seal(context, "pw");
  EXPECT_EQ(keyring::id_of(old_value), "old");
  EXPECT_EQ(during->sealing_id(), "new");
  EXPECT_EQ(opened(*during, context, old_value), "pw");

  const std::string resealed = during->seal(context, opened(*during, context, old_value));
  EXPECT_EQ(keyring::id_of(resealed), "new");
  EXPECT_EQ(opened(*after, context, resealed), "pw");
  expect_refused(*after, context, old_value, "of the retired key");
  expect_refused(*before, context, resealed, "of a key not yet known");
}

TEST(Keyring, NeverRepeatsANonceOrADataKey) {
  const auto keys = ring("k:" + key_of('a'));
  std::set<std::string> key_nonces, wrapped_keys, nonces, ciphertexts;
  constexpr std::size_t count = 5'000;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string sealed = keys->seal(context, "the same plaintext");
    const std::string body = sealed.substr(5);
    key_nonces.insert(body.substr(0, 12));
    wrapped_keys.insert(body.substr(12, 32));
    nonces.insert(body.substr(60, 12));
    ciphertexts.insert(body.substr(72));
  }
  EXPECT_EQ(key_nonces.size(), count);
  EXPECT_EQ(wrapped_keys.size(), count);
  EXPECT_EQ(nonces.size(), count);
  EXPECT_EQ(ciphertexts.size(), count);
}

/// What was sealed by the first release: later ones must open it.
TEST(Keyring, OpensAValueOfVersionOne) {
  const auto sealed = base64_decode(
      "bWgBBmdvbGRlbvmjZLPHTz4OidA7kD9rnCmef3ghbUHuVJwNf6eJNFNTHsDXF4fB77UGbw46tkfBxqP3RVhtKhCzHoFwrTsWwvpo"
      "ENyHzQ36TRT9sj93J24BZT0np3RAd4ajB+PcHYj1AHAJ5ilZyneDzCB7");
  ASSERT_TRUE(sealed);
  EXPECT_EQ(keyring::id_of(*sealed), "golden");
  EXPECT_EQ(opened(*ring("golden:" + key_of('g')), context, *sealed), "sealed in version 1");
}

TEST(Keyring, NamesNoKeyOfWhatIsNotSealed) {
  const std::string sealed = ring("k1:" + key_of('a'))->seal(context, "pw");
  EXPECT_EQ(keyring::id_of(sealed), "k1");
  EXPECT_EQ(keyring::id_of(""), "");
  EXPECT_EQ(keyring::id_of("password"), "");
  EXPECT_EQ(keyring::id_of(std::string_view(sealed).substr(0, sealed.size() - 4)), "");
}

TEST(KeyringText, ReadsLinesCommasBlanksAndComments) {
  const auto keys = ring("# operator's keys: a, b\r\n\n  one:" + key_of('a') + " \r\n" +  //
                         " two:" + key_of('b') + " , three:" + key_of('c') + ",\n");
  EXPECT_EQ(keys->sealing_id(), "one");
  EXPECT_EQ(opened(*keys, context, ring("two:" + key_of('b'))->seal(context, "2")), "2");
  EXPECT_EQ(opened(*keys, context, ring("three:" + key_of('c'))->seal(context, "3")), "3");
}

TEST(KeyringText, ErrorsNameTheLineAndNeverItsContent) {
  const std::string good = "a:" + key_of('a') + "\n";
  const struct {
    std::string text, says;
  } cases[] = {
      {good + "\n" + key_of('x'), "line 3"},                                     // no id at all
      {good + key_of('x') + ":b", "line 2"},                                     // the wrong way round
      {good + "B:" + key_of('x'), "line 2"},                                     // capital letter
      {good + ":" + key_of('x'), "line 2"},                                      // empty id
      {good + std::string(33, 'i') + ":" + key_of('x'), "line 2"},               // id too long
      {good + "b:" + base64_encode(std::string(31, 'x')), "31 bytes"},           //
      {good + "b:" + base64_encode(std::string(33, 'x')), "33 bytes"},           //
      {good + "b:" + key_of('x').substr(1), "base64"},                           // cut
      {good + "b:eHh4 eHh4", "base64"},                                          // blank inside
      {good + "b:", "0 bytes"},                                                  //
      {good + "# fine\na:" + key_of('x'), "line 3"},                             // the id again
      {"a:" + key_of('a') + ",a:" + key_of('x'), "line 1"},                      //
  };
  for (const auto& [text, says] : cases) {
    const auto keys = keyring::parse(secret<>{text});
    ASSERT_FALSE(keys) << says;
    EXPECT_EQ(keys.error().code, failure::invalid_input);
    EXPECT_THAT(keys.error().detail, HasSubstr(says));
    EXPECT_THAT(keys.error().detail, Not(HasSubstr("eHh4")));  // base64 of "xxx": the key's content
  }
}

TEST(KeyringText, WithoutAKeyIsRefused) {
  for (const char* text : {"", "\n\n", "# nothing but a comment", " , ,"}) {
    const auto keys = keyring::parse(secret<>{text});
    ASSERT_FALSE(keys);
    EXPECT_EQ(keys.error().code, failure::invalid_input);
  }
}

TEST(KeyringText, GeneratedLinesAreKeyringsAndDiffer) {
  std::set<std::string> lines;
  std::string text;
  for (int i = 0; i < 100; ++i) {
    const secret<> line = keyring::generate();
    lines.insert(line.reveal());
    const auto keys = keyring::parse(line);
    ASSERT_TRUE(keys) << describe(keys.error());
    EXPECT_THAT(std::string((*keys)->sealing_id()), testing::MatchesRegex("k[0-9a-f]{8}"));
  }
  EXPECT_EQ(lines.size(), 100U);
}

}  // namespace
}  // namespace mailherd::store
