// Endpoints and their progress on a real PostgreSQL: who may deliver, what a crash or a replay leaves behind, changes of state in order.
#include <thread>

#include "storage/pg_webhook_store.hpp"
#include "tests/storage/admin_world.hpp"

namespace mailherd::test {
namespace {

class webhooks : public admin_world {
 protected:
  webhooks() : hooks(*link, *keys) {}

  store::webhook_record endpoint(tenant_id t, std::vector<store::event_kind> events = {store::event_kind::message}) {
    store::webhook_spec spec;
    spec.url = "https://receiver.test/hook";
    spec.events = std::move(events);
    return must(hooks.create(anyone, t, spec, secret<>(std::string("whsec_Zmlyc3Q="))));
  }
  store::owned_webhook owned(deliverer_id self, webhook_id id) {
    for (const auto& w : must(hooks.round(self, seconds(60))).owned)
      if (w.key.webhook == id) return w;
    return {};
  }
  static store::webhook_progress progress(const store::owned_webhook& w, std::int64_t position) {
    store::webhook_progress p;
    p.key = w.key;
    p.epoch = w.epoch;
    p.revision = w.revision;
    p.message_position = position;
    return p;
  }
  static store::webhook_store::reading reading(const store::owned_webhook& w, std::int64_t after, std::size_t limit = 100) {
    store::webhook_store::reading r;
    r.webhook = w.key;
    r.epoch = w.epoch;
    r.revision = w.revision;
    r.after = after;
    r.limit = limit;
    return r;
  }

  /// A copy: the front of a vector<bool> that is gone would be anything.
  bool saved(deliverer_id self, const store::webhook_progress& p) { return must(hooks.save(self, {p})) == std::vector<bool>{true}; }

  store::pg_webhook_store hooks;
};

TEST_F(webhooks, an_endpoint_begins_where_the_feed_is_and_a_replay_goes_back) {
  const auto t = tenant();
  const auto c = channel(t);
  const auto guard = lease_of(c.id);
  deliver(guard, 1, {"one", "two"});
  const auto w = endpoint(t);
  EXPECT_EQ(w.position, 2);
  const auto me = must(hooks.join("node-a", seconds(60)));
  auto mine = owned(me, w.id);
  EXPECT_EQ(must(hooks.read(me, reading(mine, w.position))).messages.size(), 0U);
  deliver(guard, 3, {"three"});
  const auto read = must(hooks.read(me, reading(mine, w.position)));
  ASSERT_EQ(read.messages.size(), 1U);
  EXPECT_EQ(read.messages[0].id.position, 3);
  EXPECT_EQ(read.upto, 3);
  ASSERT_TRUE(saved(me, progress(mine, 3)));

  EXPECT_EQ(must(hooks.replay(anyone, t, w.id, 1, {})), 1);
  EXPECT_FALSE(saved(me, progress(mine, 3))) << "what was known before the replay is void";
  EXPECT_EQ(why(hooks.read(me, reading(mine, 3))), failure::conflict);
  EXPECT_EQ(must(hooks.load(me, mine.key)).message_position, 1);
  EXPECT_EQ(must(hooks.replay(anyone, t, w.id, {}, store::time_of(0))), 0) << "since a time before everything";
}

TEST_F(webhooks, reading_goes_on_behind_a_gap_and_says_how_far_it_looked) {
  const auto t = tenant();
  const auto a = channel(t).id, b = channel(t).id;
  store::lease_guard ga, gb;
  for (const auto& g : claim()) (g.channel == a ? ga : gb) = g;
  const auto w = endpoint(t);
  deliver(ga, 1, {"1", "2"});
  deliver(gb, 1, std::vector<std::string>(20, "gone"));
  deliver(ga, 3, {"23", "24"});
  ASSERT_TRUE(store.delete_channel(anyone, t, b));
  const auto me = must(hooks.join("node-a", seconds(60)));
  const auto mine = owned(me, w.id);
  std::vector<std::int64_t> seen, upto;
  for (std::int64_t after = 0; after < 24;) {
    const auto read = must(hooks.read(me, reading(mine, after, 3)));
    for (const auto& m : read.messages) seen.push_back(m.id.position);
    ASSERT_GT(read.upto, after);
    EXPECT_EQ(read.head, 24);
    upto.push_back(after = read.upto);
  }
  EXPECT_EQ(seen, (std::vector<std::int64_t>{1, 2, 23, 24}));
  EXPECT_LE(upto.size(), 3U) << "a gap is passed over with one look";
}

TEST_F(webhooks, two_deliverers_share_endpoints_and_a_dead_ones_come_to_the_other) {
  const auto t = tenant();
  std::set<webhook_id> all;
  for (int i = 0; i < 6; ++i) all.insert(endpoint(t).id);
  const auto a = must(hooks.join("node-a", seconds(60)));
  const auto b = must(hooks.join("node-b", seconds(60)));
  const auto of_a = must(hooks.round(a, seconds(60))).owned, of_b = must(hooks.round(b, seconds(60))).owned;
  EXPECT_EQ(of_a.size(), 3U);
  EXPECT_EQ(of_b.size(), 3U);
  std::set<webhook_id> seen;
  for (const auto& list : {of_a, of_b})
    for (const auto& w : list) seen.insert(w.key.webhook);
  EXPECT_EQ(seen, all);

  database.query("UPDATE deliverers SET expires_at = now() - interval '1 second' WHERE node = 'node-a'");
  const auto after = must(hooks.round(b, seconds(60))).owned;
  EXPECT_EQ(after.size(), 6U);
  EXPECT_EQ(why(hooks.round(a, seconds(60))), failure::fenced);
  EXPECT_FALSE(saved(a, progress(of_a[0], 0))) << "a deliverer that wakes late changes nothing";
  EXPECT_EQ(why(hooks.load(a, of_a[0].key)), failure::fenced);
}

TEST_F(webhooks, secrets_are_sealed_and_two_are_valid_during_rotation) {
  const auto t = tenant();
  const auto w = endpoint(t);
  EXPECT_EQ(database.query("SELECT count(*) FROM webhooks WHERE position('Zmlyc3Q' IN encode(sealed_secret, 'escape')) > 0"), "0");
  const auto me = must(hooks.join("node-a", seconds(60)));
  const auto mine = owned(me, w.id);
  EXPECT_EQ(must(hooks.load(me, mine.key)).signing.reveal(), "whsec_Zmlyc3Q=");
  const auto until = store::time_of(std::stoll(database.query("SELECT mailherd_us(now() + interval '1 hour')")));
  ASSERT_TRUE(hooks.rotate(anyone, t, w.id, secret<>(std::string("whsec_c2Vjb25k")), until));
  auto now = must(hooks.load(me, mine.key));
  EXPECT_EQ(now.signing.reveal(), "whsec_c2Vjb25k");
  EXPECT_EQ(now.old_signing.reveal(), "whsec_Zmlyc3Q=");
  EXPECT_GT(now.revision, mine.revision) << "the deliverer notices";
  database.query("UPDATE webhooks SET old_secret_until = now() - interval '1 second'");
  EXPECT_TRUE(must(hooks.load(me, mine.key)).old_signing.empty());
}

TEST_F(webhooks, stalls_and_notes_are_written_with_the_cursor_and_a_dead_event_can_be_asked_for_again) {
  const auto t = tenant();
  const auto c = channel(t);
  const auto w = endpoint(t);
  const auto me = must(hooks.join("node-a", seconds(60)));
  const auto mine = owned(me, w.id);
  auto p = progress(mine, 9);
  store::stall_record stall;
  stall.channel = c.id;
  stall.position = 4;
  stall.attempts = 2;
  stall.next_attempt_at = store::time_of(1'000'000);
  stall.error = "the receiver answered 500";
  p.stalls = {stall};
  store::delivery_record dead;
  dead.state = "dead";
  dead.event = "m1-3";
  dead.channel = c.id;
  dead.position = 3;
  p.notes = {dead};
  ASSERT_TRUE(saved(me, p));
  const auto load = must(hooks.load(me, mine.key));
  ASSERT_EQ(load.stalls.size(), 1U);
  EXPECT_EQ(load.stalls[0].position, 4);
  EXPECT_EQ(load.stalls[0].error, stall.error);
  EXPECT_EQ(load.message_position, 9);
  EXPECT_EQ(must(hooks.get(anyone, t, w.id)).dead, 1);

  const auto listed = must(hooks.deliveries(anyone, t, w.id, "dead", 10, "")).items;
  ASSERT_EQ(listed.size(), 1U);
  ASSERT_TRUE(hooks.ask_again(anyone, t, w.id, listed[0].id));
  EXPECT_EQ(why(hooks.ask_again(anyone, t, w.id, listed[0].id)), failure::conflict);
  EXPECT_TRUE(owned(me, w.id).asked);
  const auto asked = must(hooks.asked(mine.key, 10));
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].position, 3);

  auto done = progress(mine, 9);
  done.caught_up = {{store::event_kind::message, c.id}};
  done.notes = asked;
  done.notes[0].state = "delivered";
  ASSERT_TRUE(saved(me, done));
  EXPECT_EQ(must(hooks.load(me, mine.key)).stalls.size(), 0U);
  EXPECT_EQ(must(hooks.get(anyone, t, w.id)).dead, 0);
}

TEST_F(webhooks, gone_disables_and_enabling_again_goes_on_where_it_was) {
  const auto t = tenant();
  const auto w = endpoint(t);
  const auto me = must(hooks.join("node-a", seconds(60)));
  auto p = progress(owned(me, w.id), 0);
  p.disable = "410";
  ASSERT_TRUE(saved(me, p));
  auto now = must(hooks.get(anyone, t, w.id));
  EXPECT_FALSE(now.spec.enabled);
  EXPECT_EQ(now.disabled_reason, "410");
  EXPECT_FALSE(owned(me, w.id).key.webhook) << "it is nobody's";
  now.spec.enabled = true;
  now = must(hooks.update(anyone, t, w.id, now.spec));
  EXPECT_TRUE(now.disabled_reason.empty());
  EXPECT_TRUE(owned(me, w.id).key.webhook);
}

TEST_F(webhooks, changes_of_state_are_numbered_without_gaps_whoever_commits_first) {
  const auto quiet = tenant("nobody listens");
  const auto t = tenant();
  std::vector<channel_id> channels;
  for (int i = 0; i < 4; ++i) channels.push_back(channel(t).id);
  const auto silent = channel(quiet).id;
  const auto w = endpoint(t, {store::event_kind::state});
  const auto leases = claim();
  std::vector<std::thread> writers;
  for (const auto& guard : leases) {
    writers.emplace_back([this, guard] {
      auto own = database.connect();
      store::pg_mail_store mine(*own, *keys, 0, 14);
      for (int i = 0; i < 10; ++i) {
        store::mail_store::state_change change;
        change.state = i % 2 == 0 ? channel_state::active : channel_state::backoff;
        if (!mine.set_state(guard, change)) ADD_FAILURE();
      }
    });
  }
  const auto me = must(hooks.join("node-a", seconds(60)));
  const auto mine = owned(me, w.id);
  std::vector<std::int64_t> seen;
  std::map<channel_id, std::vector<std::string>> states;
  const auto look = [&] {
    auto r = reading(mine, seen.empty() ? 0 : seen.back(), 7);
    r.kind = store::event_kind::state;
    const auto read = must(hooks.read(me, r));
    for (const auto& e : read.states) {
      seen.push_back(e.position);
      states[e.channel].push_back(e.state);
    }
    return !read.states.empty();
  };
  // A follower that reads while they write must pass over nothing.
  for (int i = 0; i < 50; ++i) look();
  for (auto& writer : writers) writer.join();
  while (look()) {
  }
  ASSERT_EQ(seen.size(), 40U);
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], static_cast<std::int64_t>(i) + 1);
  EXPECT_FALSE(states.contains(silent));
  for (const auto c : channels) {
    ASSERT_EQ(states[c].size(), 10U);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(states[c][static_cast<std::size_t>(i)], i % 2 == 0 ? "active" : "backoff");
  }
  EXPECT_EQ(count("channel_states WHERE tenant_id = " + std::to_string(quiet.value)), 0) << "who has no endpoint pays nothing";
}

TEST_F(webhooks, a_deleted_tenant_takes_its_endpoints_along) {
  const auto t = tenant();
  endpoint(t, {store::event_kind::state});
  ASSERT_TRUE(store.delete_tenant(t));
  for (const std::string table : {"webhooks", "webhook_cursors", "webhook_stalls", "webhook_deliveries", "channel_states"}) EXPECT_EQ(count(table), 0) << table;
}

}  // namespace
}  // namespace mailherd::test
