// The group commit: invariants 1 (one transaction guarded by the epoch) and 2 (identity, exactly once), on a real PostgreSQL.
#include <atomic>
#include <random>
#include <thread>

#include "tests/storage/mail_world.hpp"

namespace mailherd::test {
namespace {

using commit_test = mail_world;

TEST_F(commit_test, mail_is_stored_byte_for_byte_with_its_cursor_in_one_transaction) {
  std::string hostile("a\0b\r\n\xFF\xFE '\\x41\" {,}", 18);
  auto u = unit(guard(1, 11), {mail(1, hostile), mail(2, "second")});
  store::cursor c;
  c.uid_validity = {7};
  c.last_uid = {2};
  c.baseline = store::time_of(1'600'000'000'000'001);
  c.highest_modseq = 1ULL << 62U;
  c.initialised = true;
  u.move_cursor = c;
  u.backfill_done = 2;
  u.backfill_total = 10;
  const auto outcome = commit(std::move(u));
  ASSERT_TRUE(outcome.status);
  EXPECT_EQ(outcome.stored, 2);
  EXPECT_EQ(outcome.suppressed, 0);
  EXPECT_EQ(outcome.last_sequence, 2);
  const auto loaded = store.load_cursor(guard(1, 11), protocol_kind::imap, "INBOX");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(*loaded, c);
  EXPECT_EQ(database.query("SELECT octet_length(body) FROM messages WHERE sequence = 1"), std::to_string(hostile.size()));
  pqxx::connection raw(database.superuser_url());
  pqxx::nontransaction look(raw);
  EXPECT_EQ(pqxx::binarystring(look.exec("SELECT body FROM messages WHERE sequence = 1")[0][0]).str(), hostile);
  EXPECT_EQ(database.query("SELECT messages_stored || '/' || backfill_done || '/' || backfill_total FROM channel_status WHERE channel_id = 11"), "2/2/10");
  EXPECT_EQ(database.query("SELECT mailherd_us(internal_date) FROM messages WHERE sequence = 1"), "1700000000123457");
  expect_gapless();
}

TEST_F(commit_test, a_writer_with_an_old_epoch_changes_nothing_and_others_of_its_group_are_stored) {
  database.query("UPDATE channel_leases SET epoch = 5, owner = 2 WHERE channel_id = 11");
  auto stale = unit(guard(1, 11, 4), {mail(1, "late")});
  stale.move_cursor = store::cursor{{7}, {1}, {}, {}, 0, {}, true};
  stale.skipped_uidls = {"x"};
  auto all = store.commit({stale, unit(guard(2, 21), {mail(1, "fine")})});
  ASSERT_TRUE(all);
  ASSERT_FALSE((*all)[0].status);
  EXPECT_EQ((*all)[0].status.error().code, failure::fenced);
  EXPECT_TRUE((*all)[1].status);
  EXPECT_EQ(database.query("SELECT count(*) FROM messages"), "1");
  EXPECT_EQ(database.query("SELECT count(*) FROM ledger WHERE channel_id = 11"), "0");
  EXPECT_EQ(database.query("SELECT count(*) FROM cursors"), "0");
  EXPECT_EQ(database.query("SELECT last_sequence FROM channel_status WHERE channel_id = 11"), "0");
}

TEST_F(commit_test, a_lease_that_was_given_back_is_no_lease) {
  database.query("UPDATE channel_leases SET owner = NULL WHERE channel_id = 11");
  EXPECT_EQ(commit(unit(guard(1, 11), {mail(1, "x")})).status.error().code, failure::fenced);
  EXPECT_EQ(store.note_try(guard(1, 11), mail(1, "").source).error().code, failure::fenced);
  EXPECT_EQ(store.new_blob(guard(1, 11)).error().code, failure::fenced);
  EXPECT_EQ(store.set_state(guard(1, 11), {}).error().code, failure::fenced);
}

TEST_F(commit_test, a_writer_that_freezes_in_mid_transaction_holds_others_up_for_seconds_only) {
  const auto frozen = database.connect();
  store::commit_outcome outcome{fail(failure::internal), 0, 0, 0};
  const auto done = frozen->transact({}, [&]() -> result<void> {
    frozen->run(store::sql::query{"hold", "SELECT 1 FROM feed_heads WHERE tenant_id = 1 FOR NO KEY UPDATE"});
    outcome = commit(unit(guard(1, 11), {mail(1, "a")}));   // while nothing comes from the other one
    return {};
  });
  EXPECT_TRUE(outcome.status) << describe(outcome.status.error());
  EXPECT_FALSE(done) << "its transaction is over";
  EXPECT_EQ(done.error().code, failure::store_unavailable);
  expect_gapless();
}

TEST_F(commit_test, the_same_commit_twice_stores_once) {
  ASSERT_EQ(commit(unit(guard(1, 11), {mail(1, "a"), mail(2, "b")})).stored, 2);
  const auto again = commit(unit(guard(1, 11), {mail(1, "a"), mail(2, "b"), mail(3, "c")}));
  EXPECT_EQ(again.stored, 1);
  EXPECT_EQ(again.suppressed, 2);
  EXPECT_EQ(again.last_sequence, 3);
  EXPECT_EQ(database.query("SELECT string_agg(uid::text, ',' ORDER BY sequence) FROM messages"), "1,2,3");
  expect_gapless();
}

TEST_F(commit_test, one_identity_twice_in_a_group_is_stored_once) {
  auto all = store.commit({unit(guard(1, 11), {mail(1, "a"), mail(1, "a")}), unit(guard(1, 11), {mail(1, "a"), mail(2, "b")})});
  ASSERT_TRUE(all);
  EXPECT_EQ((*all)[0].stored, 1);
  EXPECT_EQ((*all)[0].suppressed, 1);
  EXPECT_EQ((*all)[1].stored, 1);
  EXPECT_EQ((*all)[1].suppressed, 1);
  EXPECT_EQ((*all)[1].last_sequence, 2);
  expect_gapless();
}

TEST_F(commit_test, equal_numbers_of_other_channels_folders_and_validities_are_other_messages) {
  auto other_folder = mail(1, "c");
  other_folder.source.folder = "Archive";
  auto pop = mail(0, "d");
  pop.source = {protocol_kind::pop3, "", {}, {}, "uidl \"1\" \\ {,}"};
  auto all = store.commit({unit(guard(1, 11), {mail(1, "a"), mail(1, "b", 8), other_folder, pop}), unit(guard(1, 12), {mail(1, "a")}), unit(guard(2, 21), {mail(1, "a")})});
  ASSERT_TRUE(all);
  EXPECT_EQ((*all)[0].stored, 4);
  EXPECT_EQ((*all)[1].stored, 1);
  EXPECT_EQ((*all)[2].stored, 1);
  EXPECT_EQ(database.query("SELECT count(*) FROM messages WHERE tenant_id = 1"), "5");
  EXPECT_EQ(database.query("SELECT position FROM feed_heads WHERE tenant_id = 2"), "1");
  expect_gapless();
}

TEST_F(commit_test, equal_numbers_of_another_server_are_other_messages_and_its_cursor_is_another_cursor) {
  auto second = guard(1, 11);
  second.server = 2;
  auto u = unit(guard(1, 11), {mail(1, "a"), mail(2, "b")});
  u.move_cursor = store::cursor{{7}, {2}, {}, {}, 0, {}, true};
  ASSERT_EQ(commit(u).stored, 2);
  EXPECT_FALSE(store.load_cursor(second, protocol_kind::imap, "INBOX")->initialised);
  auto there = unit(second, {mail(1, "c"), mail(2, "d")});
  there.after = after_fetch::remove;
  EXPECT_EQ(commit(there).stored, 2);
  EXPECT_EQ(commit(unit(guard(1, 11), {mail(2, "b"), mail(3, "e")})).stored, 1) << "what the old session still hands in belongs to its own server";
  EXPECT_EQ(store.stored_uids(second, "INBOX", {7}, {0}, {9}, after_fetch::remove, 10)->size(), 2U);
  EXPECT_EQ(store.find_candidates(second, "INBOX", {7}, {{std::nullopt, 1}}, store::identities::all)->size(), 3U) << "those of the first server may be the same mail";
  expect_gapless();
}

TEST_F(commit_test, text_that_no_database_takes_is_cleaned_not_refused) {
  auto m = mail(1, "x");
  m.envelope.subject = std::string("a\0b\xC3", 4);
  m.envelope.from = {{"\xF0\x28\x8C\x28", "x@y"}};
  m.problem = std::string("\0", 1);
  EXPECT_EQ(commit(unit(guard(1, 11), {m})).stored, 1);
  EXPECT_EQ(database.query("SELECT problem = U&'\\FFFD' FROM messages"), "t");
}

TEST_F(commit_test, an_empty_unit_only_moves_the_cursor) {
  auto u = unit(guard(1, 11), {});
  u.move_cursor = store::cursor{{7}, {9}, {3}, {4}, 5, {}, true};
  EXPECT_TRUE(commit(u).status);
  EXPECT_EQ(store.load_cursor(guard(1, 11), protocol_kind::imap, "INBOX")->last_uid.value, 9U);
  EXPECT_FALSE(store.load_cursor(guard(1, 11), protocol_kind::pop3, "")->initialised);
}

TEST_F(commit_test, a_deleted_tenant_refuses_its_group_whole) {
  database.query("DELETE FROM feed_heads WHERE tenant_id = 2");
  auto all = store.commit({unit(guard(1, 11), {mail(1, "a")}), unit(guard(2, 21), {mail(1, "b")})});
  EXPECT_FALSE(all);
  EXPECT_EQ(database.query("SELECT count(*) FROM ledger"), "0");
}

// Eight writers commit groups over the same tenants in random order, each resending what it sent before; a reader follows the feed all the while.
TEST_F(commit_test, the_feed_never_skips_a_message_that_commits_late) {
  constexpr int writers = 8, rounds = 25;
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  for (int w = 0; w < writers; ++w)
    for (int t = 1; t <= 2; ++t) channel(t, 100 * (w + 1) + t);
  std::atomic<int> running{writers};
  std::atomic<std::int64_t> expected{0};
  std::vector<std::thread> threads;
  for (int w = 0; w < writers; ++w) {
    threads.emplace_back([&, w] {
      std::mt19937 random(seed + static_cast<unsigned>(w));
      const auto own_link = database.connect();
      store::pg_mail_store own(*own_link, *keys, 0, 14);
      std::uint32_t sent = 0;
      for (int r = 0; r < rounds; ++r) {
        std::vector<store::commit_unit> units;
        const auto n = 1 + random() % 4;
        for (int t = 1; t <= 2; ++t) {
          std::vector<store::incoming_message> batch;
          for (std::uint32_t uid = sent > 2 ? sent - 1 : 1; uid <= sent + n; ++uid) batch.push_back(mail(uid, "x"));
          units.push_back(unit(guard(t, 100 * (w + 1) + t), std::move(batch)));
        }
        if (random() % 2 == 0) std::swap(units[0], units[1]);
        const auto done = own.commit(units);
        ASSERT_TRUE(done) << describe(done.error());
        for (const auto& o : *done) expected += o.stored;
        sent += n;
      }
      --running;
    });
  }
  std::int64_t seen = 0, gaps = 0;
  {
    pqxx::connection raw(database.superuser_url());
    for (bool last = false;;) {
      last = running == 0;
      pqxx::nontransaction look(raw);
      for (const auto& row : look.exec_params("SELECT position FROM messages WHERE tenant_id = 1 AND position > $1 ORDER BY position", seen)) {
        if (row[0].as<std::int64_t>() != seen + 1) ++gaps;
        seen = row[0].as<std::int64_t>();
      }
      if (last) break;
    }
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(gaps, 0);
  EXPECT_EQ(database.query("SELECT count(*) FROM messages"), std::to_string(expected.load()));
  EXPECT_EQ(database.query("SELECT sum(position) FROM feed_heads"), std::to_string(expected.load()));
  expect_gapless();
}

// ---- bodies in chunks -----------------------------------------------------------------------------------------------------------------------

TEST_F(commit_test, chunks_belong_to_their_message_from_the_commit_on_and_are_swept_without_one) {
  const auto blob = store.new_blob(guard(1, 11));
  const auto orphan = store.new_blob(guard(1, 11));
  ASSERT_TRUE(blob && orphan);
  for (const auto& b : {*blob, *orphan}) {
    ASSERT_TRUE(store.put_chunk(guard(1, 11), b, 0, std::string("\0first", 6)));
    ASSERT_TRUE(store.put_chunk(guard(1, 11), b, 0, std::string("\0first", 6))) << "repeated after a lost answer";
    ASSERT_TRUE(store.put_chunk(guard(1, 11), b, 1, "second"));
  }
  EXPECT_EQ(store.put_chunk(guard(1, 12), *blob, 2, "x").error().code, failure::fenced) << "another channel's blob";
  EXPECT_EQ(store.put_chunk(guard(1, 11, 2), *blob, 2, "x").error().code, failure::fenced);
  auto m = mail(1, "");
  m.body.reset();
  m.blob = *blob;
  m.size = 12;
  EXPECT_EQ(commit(unit(guard(1, 11), {m})).stored, 1);
  database.query("UPDATE blobs SET created_at = now() - interval '2 days'");
  ASSERT_TRUE(store.sweep());
  EXPECT_EQ(database.query("SELECT string_agg(DISTINCT blob_id::text, ',') FROM blob_chunks"), std::to_string(blob->value));
  EXPECT_EQ(database.query("SELECT count(*) FROM blobs"), "1");
}

}  // namespace
}  // namespace mailherd::test
