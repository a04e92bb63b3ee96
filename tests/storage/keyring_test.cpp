// tests/storage/keyring: what the seal refuses, and that it opens nothing anywhere else.
#include "storage/keyring.hpp"

#include <gtest/gtest.h>

namespace mailherd::store {
namespace {

TEST(Keyring, OpensWhatItSealed) {
  const auto keys = keyring::parse(keyring::generate());
  ASSERT_TRUE(keys);
  EXPECT_EQ((*keys)->open("a", (*keys)->seal("a", "value"))->reveal(), "value");
}

}  // namespace
}  // namespace mailherd::store
