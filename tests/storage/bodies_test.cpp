// Bodies written ahead of their commit: they belong to the messages of the first commit that names them, to no others, and to nobody without one.
#include <random>

#include "storage/purge.hpp"
#include "tests/storage/admin_world.hpp"

namespace mailherd::test {
namespace {

class ahead_test : public admin_world {
 protected:
  ahead_test() : guard(lease_of(channel(t).id)) {}

  /// Messages of UIDs first, first + 1 ... whose bodies lie in the database already.
  store::commit_unit written_ahead(std::uint32_t first, const std::vector<std::string>& bodies) {
    store::commit_unit u;
    u.guard = guard;
    u.folder = "INBOX";
    std::vector<std::shared_ptr<const std::string>> all;
    for (const auto& b : bodies) {
      u.messages.push_back(message(first++, b));
      all.push_back(u.messages.back().body);
    }
    const auto blob = must(mail.put_bodies(guard, all));
    std::int32_t index = 0;
    for (auto& m : u.messages) {
      m.body.reset();
      m.blob = blob;
      m.body_index = index++;
    }
    return u;
  }
  std::int64_t stored(const store::commit_unit& u) {
    const auto done = must(mail.commit({u}));
    EXPECT_TRUE(done.at(0).status) << describe(done[0].status.error());
    return done[0].stored;
  }

  const tenant_id t = tenant();
  const store::lease_guard guard;
};

std::string noise(std::size_t bytes) {
  std::mt19937 random(7);
  std::string out(bytes, '\0');
  for (auto& c : out) c = static_cast<char>(random());
  return out;
}

TEST_F(ahead_test, bodies_are_read_byte_for_byte_beside_those_that_travelled_with_their_commit) {
  const std::string hostile("a\0b\r\n\xFF\xFE '\\x41\" {,}", 18);
  const auto large = noise(limits::chunk_bytes + 1'000);
  auto u = written_ahead(1, {hostile, large, "third"});
  u.messages.push_back(message(4, "in its row"));
  EXPECT_EQ(stored(u), 4);
  EXPECT_EQ(body_of({t, 1}), hostile);
  EXPECT_EQ(body_of({t, 2}), large);
  EXPECT_EQ(body_of({t, 2}, limits::chunk_bytes + 10), large.substr(limits::chunk_bytes + 10)) << "from an offset";
  EXPECT_EQ(body_of({t, 3}), "third");
  EXPECT_EQ(body_of({t, 4}), "in its row");
  EXPECT_EQ(database.query("SELECT attstorage FROM pg_attribute WHERE attrelid = ('bodies_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM'))::regclass"
                           " AND attname = 'bytes'"),
            "e")
      << "mail is not compressed on this path";
}

TEST_F(ahead_test, an_old_owner_writes_nothing_ahead) {
  auto old = guard;
  --old.epoch;
  EXPECT_EQ(why(mail.put_bodies(old, {std::make_shared<const std::string>("late")})), failure::fenced);
  EXPECT_EQ(count("bodies"), 0);
  EXPECT_EQ(count("blobs"), 0);
}

TEST_F(ahead_test, a_commit_that_is_repeated_after_a_lost_answer_keeps_what_it_stored) {
  const auto u = written_ahead(1, {"one", "two"});
  EXPECT_EQ(stored(u), 2);
  EXPECT_EQ(stored(u), 0);
  EXPECT_EQ(body_of({t, 1}), "one");
  EXPECT_EQ(body_of({t, 2}), "two");
}

TEST_F(ahead_test, a_body_whose_message_was_stored_before_is_dropped_and_its_neighbours_stay) {
  deliver(guard, 2, {"two"});
  EXPECT_EQ(stored(written_ahead(1, {"one", "two, again", "three"})), 2);
  EXPECT_EQ(count("bodies"), 2);
  EXPECT_EQ(body_of({t, 1}), "two");
  EXPECT_EQ(body_of({t, 2}), "one");
  EXPECT_EQ(body_of({t, 3}), "three");
}

TEST_F(ahead_test, one_blob_belongs_to_one_commit) {
  const auto u = written_ahead(1, {"one"});
  EXPECT_EQ(stored(u), 1);
  auto forged = u;
  forged.messages[0].source.uid = {9};
  EXPECT_EQ(why(mail.commit({forged})), failure::store_failed);
  EXPECT_EQ(count("messages"), 1) << "nothing of the refused commit stays";
  EXPECT_EQ(database.query("SELECT last_sequence FROM channel_status"), "1");
}

TEST_F(ahead_test, bodies_without_a_message_are_swept_after_a_day_and_not_before) {
  const auto lost = written_ahead(1, {"never committed"});
  EXPECT_EQ(stored(written_ahead(2, {"committed"})), 1);
  ASSERT_TRUE(mail.sweep());
  EXPECT_EQ(count("bodies"), 2);
  database.query("UPDATE blobs SET created_at = now() - interval '25 hours'");
  ASSERT_TRUE(mail.sweep());
  EXPECT_EQ(count("bodies"), 1);
  EXPECT_EQ(body_of({t, 1}), "committed");
  EXPECT_EQ(why(mail.commit({lost})), failure::store_failed) << "swept: the unit is fetched again instead of stored without its mail";
}

TEST_F(ahead_test, they_go_with_their_channel) {
  EXPECT_EQ(stored(written_ahead(1, {"one", "two", "three"})), 3);
  database.query("DELETE FROM channels");
  ASSERT_TRUE(must(store::purge_channel(*link, t, guard.channel, 100)));
  EXPECT_EQ(count("bodies"), 0);
  EXPECT_EQ(count("blobs"), 0);
  EXPECT_EQ(count("messages"), 0);
}

TEST_F(ahead_test, at_the_turn_of_a_month_the_body_outlives_its_message) {
  // Written in the last second of one month, committed in the first of the next, both long ago.
  EXPECT_EQ(stored(written_ahead(1, {"old"})), 1);
  database.query("SELECT mailherd_make_partition(p, date_trunc('month', now()) - m * interval '1 month') FROM unnest(ARRAY['messages', 'bodies']) p, unnest(ARRAY[3, 4]) m;"
                 "UPDATE bodies SET created_at = date_trunc('month', now()) - interval '3 months' - interval '1 second';"
                 "UPDATE messages SET received_at = date_trunc('month', now()) - interval '3 months' + interval '1 second'");
  const auto days = std::stoll(database.query("SELECT extract(day FROM now() - (date_trunc('month', now()) - interval '3 months'))::int"));
  store::pg_mail_store keeps(*link, *keys, days, 14);
  ASSERT_TRUE(keeps.sweep());
  EXPECT_EQ(body_of({t, 1}), "old") << "its message is just within its retention";
  store::pg_mail_store forgets(*link, *keys, days - 40, 14);
  ASSERT_TRUE(forgets.sweep());
  EXPECT_EQ(count("messages"), 0);
  EXPECT_EQ(count("bodies"), 0);
}

TEST_F(ahead_test, a_body_that_is_past_its_retention_is_said_to_be_gone) {
  EXPECT_EQ(stored(written_ahead(1, {"old"})), 1);
  database.query("DELETE FROM bodies");
  EXPECT_EQ(why(store.read_body(anyone, {t, 1}, [](std::string_view) { return true; })), failure::not_found);
}

}  // namespace
}  // namespace mailherd::test
