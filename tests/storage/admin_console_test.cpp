// Sessions of the console: how they end. What the console shows, as a tenant's key and as an operator.
#include "tests/storage/admin_world.hpp"

namespace mailherd::test {
namespace {

class console_store : public admin_world {
 protected:
  static sha256_digest cookie(std::uint8_t n) { return {n}; }
  std::optional<store::console_session> session(std::uint8_t n) { return must(store.find_session(cookie(n))); }
  void age(std::uint8_t n, const std::string& column, const std::string& by) {
    database.query(
        fmt::format("UPDATE console_sessions SET {0} = {0} - interval '{1}' WHERE session = '\\x{2:02x}{3:062d}' RETURNING 1", column, by, n, 0));
  }
};

TEST_F(console_store, a_session_ends_by_time_by_rest_by_its_key_and_by_signing_out) {
  const auto t = tenant();
  const auto key = must(store.create_api_key({}, t, "k", {7})).id;
  const sha256_digest token{42, 1};
  for (std::uint8_t n = 1; n <= 4; ++n) ASSERT_TRUE(store.create_session(cookie(n), {{}, {}, token, {}}, seconds(3600)));
  ASSERT_TRUE(store.create_session(cookie(5), {{t}, key, {}, {}}, seconds(3600)));
  ASSERT_TRUE(session(1));
  EXPECT_FALSE(session(1)->who.only);
  EXPECT_EQ(session(1)->operator_token, token);
  ASSERT_TRUE(session(5));
  EXPECT_EQ(session(5)->who.only, t);
  EXPECT_EQ(session(5)->key, key);
  EXPECT_FALSE(session(6)) << "nobody's";

  age(1, "expires_at", "61 minutes");
  EXPECT_FALSE(session(1));
  age(2, "seen_at", "121 minutes");
  EXPECT_FALSE(session(2));
  age(3, "seen_at", "119 minutes");
  EXPECT_TRUE(session(3)) << "just in time";
  age(3, "seen_at", "119 minutes");
  EXPECT_TRUE(session(3)) << "and that counted as use";
  ASSERT_TRUE(store.delete_session(cookie(4)));
  EXPECT_FALSE(session(4));
  ASSERT_TRUE(store.delete_api_key({}, t, key));
  EXPECT_FALSE(session(5));
  // A sign-in takes away what has ended.
  ASSERT_TRUE(store.create_session(cookie(9), {{}, {}, token, {}}, seconds(3600)));
  EXPECT_EQ(database.query("SELECT count(*) FROM console_sessions"), "3") << "3 and 9, and 5, whose time is not over";
}

TEST_F(console_store, what_needs_a_person_is_shown_to_those_who_may_see_it) {
  const auto t = tenant("one"), other = tenant("two");
  const auto waits = must(store.create_channel({}, t, spec("waits"), oauth2(app(t)), "operator")).id;
  const auto theirs = must(store.create_channel({}, other, spec("theirs"), oauth2(app(other)), "operator")).id;
  must(store.create_channel({}, t, spec("fresh"), basic(), "operator"));
  EXPECT_EQ(must(store.attention({}, 10)).size(), 2U);
  EXPECT_EQ(must(store.attention({}, 1)).size(), 1U);
  const auto mine = must(store.attention({t}, 10));
  ASSERT_EQ(mine.size(), 1U);
  EXPECT_EQ(mine[0].id, waits);
  EXPECT_EQ(mine[0].tenant, t);
  EXPECT_NE(mine[0].id, theirs);
}

}  // namespace
}  // namespace mailherd::test
