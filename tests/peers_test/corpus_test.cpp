// tests/peers_test/corpus: the corpus is what it says: the same everywhere, of the size promised, legal, and with the oddities of real
// mail.
#include <set>

#include "support.hpp"
#include "tests/corpus/corpus.hpp"
#include "tests/peers/files.hpp"

namespace mailherd::corpus {
namespace {

using namespace peers::test;

constexpr std::size_t sample = 2000;

TEST(corpus, is_the_same_on_every_machine) {
  // Computed once: a change of the generator changes every benchmark's input and must be seen.
  std::string all;
  for (std::size_t i = 0; i < 200; ++i) all += peers::sha256_hex(message(1, i));
  EXPECT_EQ(peers::sha256_hex(all), "38de74767b5c8da34d8d357b4ffbdbc6950bfa6b5c943a3945757b1d9c936337");
  EXPECT_EQ(message(1, 150), message(1, 150));
  EXPECT_NE(message(1, 150), message(2, 150));
}

TEST(corpus, messages_are_legal_and_of_the_mean_size_promised) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < sample; ++i) {
    const std::string raw = message(7, i);
    bytes += raw.size();
    ASSERT_EQ(raw.substr(raw.size() - 2), "\r\n") << i;
    ASSERT_NE(raw.find("\r\n\r\n"), std::string::npos) << i;
    for (std::size_t at = 0; at < raw.size();) {
      const auto end = raw.find('\n', at);
      ASSERT_EQ(raw[end - 1], '\r') << i;
      ASSERT_LE(end - 1 - at, 998U) << i;
      ASSERT_EQ(std::string_view(raw).substr(at, end - 1 - at).find('\r'), std::string_view::npos) << i;
      at = end + 1;
    }
  }
  const double mean = static_cast<double>(bytes) / sample;
  EXPECT_GT(mean, 19'000);
  EXPECT_LT(mean, 26'000);
}

TEST(corpus, has_duplicates_missing_ids_and_encoded_headers) {
  std::set<std::string> seen;
  std::size_t duplicates = 0, without_id = 0, encoded = 0;
  for (std::size_t i = 0; i < sample; ++i) {
    const std::string raw = message(7, i);
    const std::string header = raw.substr(0, raw.find("\r\n\r\n"));
    if (!seen.insert(peers::sha256_hex(raw)).second) ++duplicates;
    if (header.find("\r\nMessage-ID:") == std::string::npos) ++without_id;
    if (header.find("=?") != std::string::npos) ++encoded;
  }
  EXPECT_GT(duplicates, sample / 250);
  EXPECT_LT(duplicates, sample / 40);
  EXPECT_GT(without_id, sample / 125);
  EXPECT_LT(without_id, sample / 25);
  EXPECT_GT(encoded, sample / 10);
}

TEST(corpus, is_written_as_a_maildir) {
  const peers::temp_dir dir;
  const totals written = write_maildir(dir / "box", 7, 50);
  EXPECT_EQ(written.messages, 50U);
  std::set<std::string> on_disk, made;
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "box/cur"))
    on_disk.insert(peers::sha256_hex(peers::read_file(entry.path())));
  for (std::size_t i = 0; i < 50; ++i) {
    bytes += message(7, i).size();
    made.insert(peers::sha256_hex(message(7, i)));
  }
  EXPECT_EQ(on_disk, made);
  EXPECT_EQ(written.bytes, bytes);
}

}  // namespace
}  // namespace mailherd::corpus
