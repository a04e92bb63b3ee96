// The feed, messages, bodies; what deleting a channel does to them; nodes and gauges.
#include <random>
#include <thread>

#include "storage/purge.hpp"
#include "tests/storage/admin_world.hpp"

namespace mailherd::test {
namespace {

using feed_test = admin_world;
using body_test = admin_world;
using purge_test = admin_world;
using cluster_test = admin_world;

std::string noise(std::size_t bytes, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string out(bytes, '\0');
  for (auto& c : out) c = static_cast<char>(random());
  return out;
}

std::vector<std::int64_t> positions(const std::vector<store::stored_message>& all) {
  std::vector<std::int64_t> out;
  for (const auto& m : all) out.push_back(m.id.position);
  return out;
}

// ---- the feed ---------------------------------------------------------------------------------------------------------------------------

TEST_F(feed_test, a_message_is_shown_as_it_was_stored) {
  const auto t = tenant();
  const auto guard = lease_of(channel(t).id);
  auto m = message(4'000'000'000U, "raw bytes");
  m.source.folder = "B\xC3\xBCro";
  m.envelope.from = {{"J\xC3\xBCrgen", "j@acme.test"}};
  m.envelope.to = {{"", "a@x.test"}, {"B", "b@x.test"}};
  m.envelope.date = store::time_of(1'600'000'000'000'000);
  m.envelope.message_id = "<1@acme.test>";
  m.envelope.references = {"<0@acme.test>"};
  m.envelope.automatic = "list";
  m.envelope.automatic_reason = "List-Id: x";
  store::commit_unit u;
  u.guard = guard;
  u.messages = {m};
  auto lost = m;
  lost.source = {protocol_kind::pop3, "", {}, {}, "uidl-1"};
  lost.body = nullptr;
  lost.digest = {};
  lost.size = 900'000'000;
  lost.problem = "larger than 1 MiB";
  u.messages.push_back(lost);
  must(mail.commit({u}));

  const auto got = must(store.feed(anyone, t, std::nullopt, 0, 10));
  ASSERT_EQ(got.size(), 2U);
  const auto single = must(store.get_message(anyone, {t, 1}));
  for (const auto* g : {&got[0], &single}) {
    EXPECT_EQ(g->id, (message_id{t, 1}));
    EXPECT_EQ(g->channel, guard.channel);
    EXPECT_EQ(g->sequence, 1);
    EXPECT_EQ(g->internal_date, m.internal_date);
    EXPECT_EQ(g->size, 9U);
    EXPECT_EQ(g->digest, m.digest);
    EXPECT_EQ(g->source, m.source);
    EXPECT_EQ(g->envelope.from, m.envelope.from);
    EXPECT_EQ(g->envelope.to, m.envelope.to);
    EXPECT_EQ(g->envelope.date, m.envelope.date);
    EXPECT_EQ(g->envelope.subject, m.envelope.subject);
    EXPECT_EQ(g->envelope.message_id, m.envelope.message_id);
    EXPECT_EQ(g->envelope.references, m.envelope.references);
    EXPECT_EQ(g->envelope.automatic, "list");
    EXPECT_EQ(g->envelope.automatic_reason, "List-Id: x");
    EXPECT_TRUE(g->has_body);
    EXPECT_GT(g->received_at, store::time_of(1'600'000'000'000'000));
  }
  EXPECT_EQ(got[1].source, lost.source);
  EXPECT_EQ(got[1].problem, "larger than 1 MiB");
  EXPECT_EQ(got[1].size, 900'000'000U);
  EXPECT_FALSE(got[1].has_body);
  EXPECT_EQ(why(store.get_message(anyone, {t, 3})), failure::not_found);
}

TEST_F(feed_test, it_goes_on_from_any_position_for_all_or_for_one_channel) {
  const auto t = tenant();
  const auto a = channel(t).id, b = channel(t).id;
  claim();
  const store::lease_guard ga{t, a, 1}, gb{t, b, 1};
  deliver(ga, 1, {"a1", "a2"});
  deliver(gb, 1, {"b1"});
  deliver(ga, 3, {"a3"});
  const auto from = [&](std::optional<channel_id> c, std::int64_t after, std::size_t limit) { return positions(must(store.feed(anyone, t, c, after, limit))); };
  using list = std::vector<std::int64_t>;
  EXPECT_EQ(from({}, 0, 10), (list{1, 2, 3, 4}));
  EXPECT_EQ(from({}, 1, 2), (list{2, 3}));
  EXPECT_EQ(from({}, 4, 10), list{});
  EXPECT_EQ(from({}, INT64_MAX, 10), list{});
  EXPECT_EQ(from(a, 0, 10), (list{1, 2, 4}));
  EXPECT_EQ(from(a, 2, 10), (list{4}));
  EXPECT_EQ(from(b, 0, 10), (list{3}));
  EXPECT_EQ(from(channel_id{999}, 0, 10), list{});
}

TEST_F(feed_test, it_goes_on_behind_a_gap_longer_than_a_page) {
  const auto t = tenant();
  const auto a = channel(t).id, b = channel(t).id;
  store::lease_guard ga, gb;
  for (const auto& g : claim()) (g.channel == a ? ga : gb) = g;
  deliver(ga, 1, {"1", "2"});
  deliver(gb, 1, std::vector<std::string>(20, "gone"));
  deliver(ga, 3, {"23", "24", "25"});
  ASSERT_TRUE(store.delete_channel(anyone, t, b));
  EXPECT_EQ(positions(must(store.feed(anyone, t, std::nullopt, 0, 3))), (std::vector<std::int64_t>{1, 2, 23}));
  EXPECT_EQ(positions(must(store.feed(anyone, t, std::nullopt, 2, 2))), (std::vector<std::int64_t>{23, 24}));
  EXPECT_EQ(positions(must(store.feed(anyone, t, std::nullopt, 24, 2))), (std::vector<std::int64_t>{25}));
  EXPECT_TRUE(must(store.feed(anyone, t, std::nullopt, INT64_MAX - 1, 5)).empty());
}

TEST_F(feed_test, it_is_in_order_across_the_months) {
  const auto t = tenant();
  const auto guard = lease_of(channel(t).id);
  deliver(guard, 1, {"one", "two", "three"});
  // As if the first had come in the month before: another partition.
  database.query("SELECT mailherd_make_partition('messages', now() - interval '1 month')");
  database.query("UPDATE messages SET received_at = received_at - interval '1 month' WHERE position = 1");
  EXPECT_EQ(positions(must(store.feed(anyone, t, std::nullopt, 0, 10))), (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(body_of({t, 1}), "one");
  EXPECT_EQ(body_of({t, 3}), "three");
}

TEST_F(feed_test, a_reader_never_passes_over_a_message_that_commits_late) {
  const auto t = tenant();
  constexpr int writing = 8, each = 20;
  for (int i = 0; i < writing; ++i) channel(t);
  const auto guards = claim();
  std::vector<std::thread> writers;
  for (const auto& g : guards) {
    writers.emplace_back([&, g] {
      const auto mine = database.connect();
      store::pg_mail_store own(*mine, *keys, 0, 14);
      for (std::uint32_t i = 1; i <= each; ++i) {
        store::commit_unit u;
        u.guard = g;
        u.messages = {message(i, "x")};
        EXPECT_TRUE(must(own.commit({u})).at(0).status);
      }
    });
  }
  std::int64_t last = 0;
  while (last < writing * each && !::testing::Test::HasFailure())
    for (const auto& m : must(store.feed(anyone, t, std::nullopt, last, 7))) {
      EXPECT_EQ(m.id.position, last + 1);
      last = m.id.position;
    }
  for (auto& w : writers) w.join();
}

// ---- bodies -----------------------------------------------------------------------------------------------------------------------------

TEST_F(body_test, a_body_in_one_piece_is_read_in_slices_from_any_byte) {
  const auto t = tenant();
  const auto guard = lease_of(channel(t).id);
  const auto raw = noise(2 * limits::chunk_bytes + 17);
  deliver(guard, 1, {raw, "", "x"});
  EXPECT_TRUE(body_of({t, 1}) == raw);
  for (const std::size_t at : {std::size_t{1}, limits::chunk_bytes - 1, limits::chunk_bytes, limits::chunk_bytes + 1, raw.size() - 1, raw.size()})
    EXPECT_TRUE(body_of({t, 1}, at) == raw.substr(at)) << at;
  EXPECT_EQ(body_of({t, 1}, raw.size() + 1), "");
  EXPECT_EQ(body_of({t, 1}, UINT64_MAX), "");
  EXPECT_EQ(body_of({t, 2}), "");
  EXPECT_EQ(body_of({t, 3}), "x");

  int slices = 0;
  ASSERT_TRUE(store.read_body(anyone, {t, 1}, [&](std::string_view bytes) {
    EXPECT_LE(bytes.size(), limits::chunk_bytes);
    return ++slices < 2;
  }));
  EXPECT_EQ(slices, 2) << "the reader had enough";
}

TEST_F(body_test, a_body_in_chunks_is_read_from_the_chunk_that_holds_the_byte) {
  const auto t = tenant();
  const auto guard = lease_of(channel(t).id);
  const auto raw = noise(40'000, 2);
  const auto blob = must(mail.new_blob(guard));
  const std::vector<std::size_t> cuts{0, 10'000, 10'001, 30'000, raw.size()};   // of different sizes
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i)
    ASSERT_TRUE(mail.put_chunk(guard, blob, static_cast<std::int32_t>(i), raw.substr(cuts[i], cuts[i + 1] - cuts[i])));
  store::commit_unit u;
  u.guard = guard;
  u.messages = {message(1, "")};
  u.messages[0].body = nullptr;
  u.messages[0].blob = blob;
  u.messages[0].size = raw.size();
  must(mail.commit({u}));
  EXPECT_TRUE(body_of({t, 1}) == raw);
  for (const std::size_t at : {std::size_t{1}, std::size_t{9'999}, std::size_t{10'000}, std::size_t{10'001}, std::size_t{10'002}, std::size_t{29'999}, raw.size() - 1})
    EXPECT_TRUE(body_of({t, 1}, at) == raw.substr(at)) << at;
  EXPECT_EQ(body_of({t, 1}, raw.size()), "");

  database.query("DELETE FROM blob_chunks WHERE index = 2");
  const auto cut = store.read_body(anyone, {t, 1}, [](std::string_view) { return true; });
  EXPECT_EQ(why(cut), failure::store_failed) << "a truncated message looked whole";
}

TEST_F(body_test, a_message_without_a_body_says_so) {
  const auto t = tenant();
  const auto guard = lease_of(channel(t).id);
  store::commit_unit u;
  u.guard = guard;
  u.messages = {message(1, "")};
  u.messages[0].body = nullptr;
  u.messages[0].problem = "too large";
  must(mail.commit({u}));
  const auto nothing = [](std::string_view) { return true; };
  EXPECT_EQ(why(store.read_body(anyone, {t, 1}, nothing)), failure::not_found);
  EXPECT_EQ(why(store.read_body_from(anyone, {t, 1}, 5, nothing)), failure::not_found);
  EXPECT_EQ(why(store.read_body(anyone, {t, 2}, nothing)), failure::not_found);
}

// ---- deleted channels -------------------------------------------------------------------------------------------------------------------

TEST_F(purge_test, mail_of_a_deleted_channel_is_gone_from_the_feed_at_once_and_its_positions_are_not_given_again) {
  const auto t = tenant();
  const auto a = channel(t).id, b = channel(t).id;
  claim();
  const store::lease_guard ga{t, a, 1}, gb{t, b, 1};
  deliver(ga, 1, {"a1", "a2"});
  deliver(gb, 1, {"b1"});
  // Deleted, and the node died before it could purge.
  database.query(fmt::format("DELETE FROM channels WHERE channel_id = {}", a.value));
  EXPECT_EQ(positions(must(store.feed(anyone, t, std::nullopt, 0, 10))), (std::vector<std::int64_t>{3}));
  EXPECT_EQ(must(store.feed(anyone, t, a, 0, 10)).size(), 0U);
  EXPECT_EQ(why(store.get_message(anyone, {t, 1})), failure::not_found);
  EXPECT_EQ(why(store.read_body(anyone, {t, 1}, [](std::string_view) { return true; })), failure::not_found);
  ASSERT_EQ(count("messages"), 3);

  // Days later: the list of deleted channels is swept with their mail, not before it.
  database.query("UPDATE channel_changes SET at = now() - interval '2 days'");
  ASSERT_TRUE(mail.sweep());
  EXPECT_EQ(count("messages"), 1) << "the sweep forgot it";
  EXPECT_EQ(count("channel_changes"), 1);
  EXPECT_EQ(count("ledger"), 1);
  deliver(gb, 2, {"b2"});
  EXPECT_EQ(positions(must(store.feed(anyone, t, std::nullopt, 0, 10))), (std::vector<std::int64_t>{3, 4}));
}

TEST_F(purge_test, a_large_mailbox_goes_in_pieces_with_its_chunks) {
  const auto t = tenant();
  const auto c = channel(t).id;
  const auto guard = lease_of(c);
  for (int i = 0; i < 5; ++i) deliver(guard, static_cast<std::uint32_t>(1 + 100 * i), std::vector<std::string>(100, "mail"));
  const auto blob = must(mail.new_blob(guard));
  ASSERT_TRUE(mail.put_chunk(guard, blob, 0, "chunk"));
  store::commit_unit u;
  u.guard = guard;
  u.messages = {message(1'000, "")};
  u.messages[0].body = nullptr;
  u.messages[0].blob = blob;
  must(mail.commit({u}));
  database.query("INSERT INTO outbox (tenant_id, position, channel_id, sequence) SELECT tenant_id, position, channel_id, sequence FROM messages");   // an older node
  database.query(fmt::format("DELETE FROM channels WHERE channel_id = {}", c.value));
  EXPECT_FALSE(must(store::purge_channel(*link, t, c, 1)));
  const auto left = count("messages");
  EXPECT_GT(left, 0);
  EXPECT_LT(left, 501);
  EXPECT_EQ(database.query("SELECT min(position) FROM messages"), std::to_string(501 - left + 1)) << "the oldest first";
  EXPECT_TRUE(must(store::purge_gone(*link, t, 100)));
  for (const char* table : {"messages", "outbox", "blobs", "blob_chunks", "ledger", "channel_events"}) EXPECT_EQ(count(table), 0) << table;
}

// ---- nodes and gauges -------------------------------------------------------------------------------------------------------------------

TEST_F(cluster_test, a_node_is_its_newest_life) {
  const auto t = tenant();
  channel(t);
  channel(t);
  const auto shown = [&] {
    std::string out;
    for (const auto& n : must(store.list_nodes())) out += fmt::format("{} {} {} {};", n.name, n.version, n.state, n.channels);
    return out;
  };
  EXPECT_EQ(shown(), "");
  const auto a = must(mail.join("a", "1", seconds(600), 100));
  must(mail.claim(a, 1));
  EXPECT_EQ(shown(), "a 1 active 1;");
  must(mail.join("b", "1", seconds(600), 100));
  const auto again = must(mail.join("a", "2", seconds(600), 100));
  EXPECT_EQ(shown(), "a 2 active 0;b 1 active 0;");
  must(mail.claim(again, 10));
  EXPECT_EQ(shown(), "a 2 active 2;b 1 active 0;");

  database.query("UPDATE incarnations SET expires_at = now() - interval '1 second', renewed_at = now() - interval '40 seconds' WHERE node = 'a' AND ended IS NULL");
  EXPECT_EQ(shown(), "a 2 lost 2;b 1 active 0;") << "it did not renew in time";
  for (const auto& n : must(store.list_nodes())) {
    if (n.name == "a") {
      EXPECT_GE(n.lease_age_seconds, 40);
    } else {
      EXPECT_LT(n.lease_age_seconds, 40);
    }
  }
  const auto b = must(mail.join("b", "2", seconds(600), 100));
  must(mail.claim(b, 10));
  EXPECT_EQ(shown(), "a 2 lost 0;b 2 active 2;");
  ASSERT_TRUE(mail.leave(b));
  EXPECT_EQ(shown(), "a 2 lost 0;") << "a node that left is none";
}

TEST_F(cluster_test, gauges_count_by_tenant_and_state_and_what_is_throttled_by_provider) {
  const auto t = tenant(), other = tenant("Other");
  const auto a = app(t);
  channel(t);
  channel(t);
  const auto slowed = must(store.create_channel(anyone, t, spec(), oauth2(a, "token"), "operator")).id;
  database.query(fmt::format("UPDATE channel_status SET state = 'throttled' WHERE channel_id IN ({}, {})", slowed.value, channel(t).id.value));
  auto off = spec();
  off.enabled = false;
  must(store.create_channel(anyone, t, off, basic(), "operator"));
  const auto old = channel(other).id;
  database.query(fmt::format("UPDATE channel_status SET last_success_at = now() - interval '1 hour', state = 'active' WHERE channel_id = {}", old.value));
  database.query(fmt::format("UPDATE channels SET created_at = now() - interval '2 days' WHERE tenant_id = {}", t.value));
  std::map<std::string, double> seen;
  for (const auto& g : must(store.gauges()))
    seen[fmt::format("{} {} {} {}", to_string(g.tenant), to_string(g.state), g.provider ? to_string(*g.provider) : "password", g.channels)] =
        g.oldest_success_age_seconds;
  ASSERT_EQ(seen.size(), 5U);
  const auto name = [&](tenant_id id, const char* rest) { return to_string(id) + " " + rest; };
  ASSERT_TRUE(seen.contains(name(t, "connecting password 2")) && seen.contains(name(t, "throttled microsoft 1")) &&
              seen.contains(name(t, "throttled password 1")) && seen.contains(name(t, "disabled password 1")) &&
              seen.contains(name(other, "active password 1")));
  EXPECT_NEAR(seen[name(t, "connecting password 2")], 2 * 86'400, 300) << "never in order: since it was made";
  EXPECT_EQ(seen[name(t, "disabled password 1")], 0) << "what is switched off is no news";
  EXPECT_NEAR(seen[name(other, "active password 1")], 3'600, 300);
}

TEST_F(cluster_test, the_first_secret_of_a_tenant_to_expire_is_known) {
  const auto t = tenant(), other = tenant("Other");
  const auto soon = app(t), later = app(t);
  app(other);
  database.query(fmt::format("UPDATE oauth_apps SET secret_expires_at = now() + interval '1 day' WHERE app_id = {}", soon.value));
  database.query(fmt::format("UPDATE oauth_apps SET secret_expires_at = now() + interval '9 days' WHERE app_id = {}", later.value));
  const auto read = must(store.gauges_of("any")).apps;
  ASSERT_EQ(read.size(), 1U) << "of the other tenant nobody knows";
  EXPECT_EQ(read[0].tenant, t);
  EXPECT_NEAR(read[0].secret_expires_seconds, 86'400, 300);
}

TEST_F(cluster_test, one_node_counts_for_all_and_another_one_when_it_is_gone) {
  channel(tenant());
  const auto counts = [&](const char* node) { return !must(store.gauges_of(node)).channels.empty(); };
  EXPECT_TRUE(counts("b")) << "nobody is there who could do it better";
  for (const char* node : {"a", "b"})
    database.query(fmt::format("INSERT INTO incarnations (node, version, capacity, expires_at) VALUES ('{}', '1', 10, now() + interval '1 hour')", node));
  EXPECT_TRUE(counts("a"));
  EXPECT_FALSE(counts("b"));
  database.query("UPDATE incarnations SET expires_at = now() - interval '1 second' WHERE node = 'a'");
  EXPECT_FALSE(counts("a"));
  EXPECT_TRUE(counts("b"));
}

}  // namespace
}  // namespace mailherd::test
