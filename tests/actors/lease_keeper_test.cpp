// The lease keeper: a node that serves surely holds its lease, and gives a channel back only when nobody serves it any more.
#include "actors/lease_keeper.hpp"

#include <algorithm>
#include <set>

#include "tests/actors/world.hpp"

namespace mailherd::actors {
namespace {

using guards = std::vector<store::lease_guard>;

class keeper : public test::world {
 public:
  keeper() {
    auto& m = store.mail;
    m.on_join = [this](const std::string& name, const std::string&, seconds) -> result<store::mail_store::incarnation> {
      ++lives;
      for (auto& [channel, lease] : leases) lease.owner = {};   // of an earlier life of this name
      until = now() + env.options.lease_ttl;
      return store::mail_store::incarnation{incarnation_id{lives}, name};
    };
    m.on_renew = [this](const store::mail_store::incarnation& self, seconds ttl) -> result<void> {
      if (self.id.value != lives || now() >= until) return fail(failure::fenced, "given away");
      ++renewals;
      until = now() + ttl;
      return {};
    };
    m.on_claim = [this](const store::mail_store::incarnation& self, std::size_t limit) -> result<guards> {
      guards mine;
      for (auto& [channel, lease] : leases) {
        if (lease.owner || !lease.enabled || mine.size() >= limit) continue;
        lease.owner = self.id;
        mine.push_back({tenant_id{1}, channel, ++lease.epoch});
      }
      return mine;
    };
    m.on_owned = [this](const store::mail_store::incarnation& self) -> result<guards> {
      guards mine;
      for (const auto& [channel, lease] : leases)
        if (lease.owner == self.id) mine.push_back({tenant_id{1}, channel, lease.epoch});
      return mine;
    };
    m.on_release = [this](const store::mail_store::incarnation& self, const guards& channels) -> result<void> {
      for (const auto& g : channels) {
        auto& lease = leases[g.channel];
        if (lease.owner == self.id && lease.epoch == g.epoch) lease.owner = {};
        released.push_back(g.channel);
      }
      return {};
    };
    m.on_leave = [this](const auto&) -> result<void> {
      left = true;
      return {};
    };
    m.on_changes_since = [this](const auto&, std::int64_t revision) -> result<std::vector<store::mail_store::change>> {
      std::vector<store::mail_store::change> all;
      for (const auto& c : changes)
        if (c.revision > revision) all.push_back(c);
      store::mail_store::change newest;
      newest.revision = changes.empty() ? 0 : changes.back().revision;
      all.push_back(newest);
      return all;
    };
    guardian = owned(system.spawn([this](node_guardian_actor::pointer self) -> node_guardian_actor::behavior_type {
      return {
          [](const continuation& c) { c.run(); },
          [this](claimed_atom, const guards& g) { claimed.insert(claimed.end(), g.begin(), g.end()); },
          [this](revoked_atom, const guards& g, caf::timespan grace) {
            revoked.insert(revoked.end(), g.begin(), g.end());
            last_grace = grace;
            revoked_at = now();
          },
          [](ended_atom, const store::lease_guard&) {},
          [this](hand_atom, const store::lease_guard& g, hand_step step) { steps_told.emplace_back(g, step); },
          [](tick_atom, std::uint64_t) {},
          [this](changed_atom, tenant_id, channel_id c) { changed.push_back(c); },
          [](token_atom, tenant_id, channel_id, const std::shared_ptr<token_request>&) {},
          [](lost_atom, channel_id, std::int64_t) {},
          [self](stop_atom) { self->quit(); },
      };
    }));
  }
  ~keeper() override {
    store.held = false;
    for (auto& kill : at_end) kill();
    at_end.clear();
    guardian = nullptr;
    it = nullptr;
    settle();
  }

  void start(int channels = 3) {
    for (int c = 1; c <= channels; ++c) leases[channel_id{c}];
    it = owned(spawn_lease_keeper(system, env, guardian, serving));
    settle();
  }
  /// The fetcher of a channel has ended.
  void end(const store::lease_guard& g) {
    caf::anon_send(it, revoked_atom::value, g);
    settle();
  }

  struct lease {
    std::optional<incarnation_id> owner;
    std::int64_t epoch = 0;
    bool enabled = true;
  };
  std::map<channel_id, lease> leases;
  std::vector<store::mail_store::change> changes;
  std::int64_t lives = 0;
  std::size_t renewals = 0;
  mono_time until{}, revoked_at{};
  duration last_grace{};
  guards claimed, revoked;
  std::vector<std::pair<store::lease_guard, hand_step>> steps_told;
  std::vector<channel_id> changed, released;
  bool left = false;
  std::shared_ptr<std::atomic<bool>> serving = std::make_shared<std::atomic<bool>>(false);
  node_guardian_actor guardian;
  lease_keeper_actor it;
};

TEST_F(keeper, joins_claims_and_renews_on_its_grid) {
  start();
  EXPECT_TRUE(*serving);
  EXPECT_EQ(claimed.size(), 3U);
  advance(seconds(400));
  EXPECT_EQ(renewals, 100U);
  EXPECT_EQ(lives, 1);
  EXPECT_TRUE(revoked.empty());
  EXPECT_EQ(report.count["leases"], 3);
}

TEST_F(keeper, joins_when_the_database_is_there) {
  store.up = false;
  start();
  advance(std::chrono::minutes(5));
  EXPECT_FALSE(*serving);
  store.up = true;
  advance(seconds(11));
  EXPECT_TRUE(*serving);
  EXPECT_EQ(claimed.size(), 3U);
}

TEST_F(keeper, what_a_claim_brought_is_served_although_its_answer_was_lost) {
  // Committed, and the database was killed before it could say so.
  unsigned lost = 2;
  store.mail.on_claim = [&, claim = store.mail.on_claim](const store::mail_store::incarnation& self, std::size_t limit) -> result<guards> {
    auto mine = claim(self, limit);
    if (lost > 0 && lost-- > 0) return fail(failure::store_unavailable, "connection lost");
    return mine;
  };
  start();
  EXPECT_TRUE(claimed.empty());
  advance(seconds(10));
  ASSERT_EQ(claimed.size(), 3U) << "once each";
  leases[channel_id{9}];
  advance(seconds(10));
  EXPECT_EQ(claimed.size(), 4U);
  // What is being given back is not taken up again.
  leases[channel_id{10}];
  lost = 1;
  store.mail.on_release = [release = store.mail.on_release, n = 0](const auto& self, const guards& g) mutable -> result<void> {
    if (n++ == 0) return fail(failure::store_unavailable, "away");
    return release(self, g);
  };
  const auto first = claimed.front();
  leases[first.channel].enabled = false;
  end(first);
  advance(seconds(20));
  EXPECT_EQ(std::count_if(claimed.begin(), claimed.end(), [&](const auto& g) { return g.channel == first.channel; }), 1);
  EXPECT_FALSE(leases[first.channel].owner);
  EXPECT_EQ(claimed.size(), 5U);
}

TEST_F(keeper, claims_what_becomes_free_later_and_no_more_than_it_may) {
  env.options.max_channels = 5;
  start(3);
  for (int c = 10; c < 20; ++c) leases[channel_id{c}];
  advance(seconds(5));
  EXPECT_EQ(claimed.size(), 5U);
}

TEST_F(keeper, claims_thousands_batch_by_batch) {
  start(1000);
  EXPECT_EQ(claimed.size(), 1000U);
}

TEST_F(keeper, two_lost_renewals_stop_nobody) {
  start();
  store.mail.on_renew = [n = 0, renew = store.mail.on_renew](const auto& self, seconds ttl) mutable -> result<void> {
    if (++n <= 2) return fail(failure::store_unavailable);
    return renew(self, ttl);
  };
  advance(seconds(60));
  EXPECT_EQ(lives, 1);
  EXPECT_TRUE(revoked.empty());
}

TEST_F(keeper, stops_serving_before_its_lease_can_end_elsewhere) {
  start();
  advance(seconds(8));
  const auto last_renewed = until - env.options.lease_ttl;
  store.up = false;
  advance(seconds(30));
  ASSERT_EQ(revoked.size(), 3U);
  EXPECT_LT(revoked_at + last_grace, last_renewed + env.options.lease_ttl) << "its fetchers are gone before the lease is";
  EXPECT_FALSE(*serving);
  // And begins anew, under new epochs.
  store.up = true;
  claimed.clear();
  advance(seconds(11));
  EXPECT_EQ(lives, 2);
  ASSERT_EQ(claimed.size(), 3U);
  EXPECT_EQ(claimed[0].epoch, 2);
  EXPECT_TRUE(*serving);
}

TEST_F(keeper, a_renewal_that_hangs_does_not_keep_a_node_serving) {
  start();
  advance(seconds(4));
  store.held = true;
  advance(seconds(20));
  EXPECT_EQ(revoked.size(), 3U);
  store.held = false;
  settle();
  advance(seconds(11));
  EXPECT_TRUE(*serving);
}

TEST_F(keeper, a_node_that_froze_and_wakes_serves_no_longer) {
  start();
  advance(seconds(5));
  scheduler.clock().current_time += std::chrono::minutes(2);   // nothing ran meanwhile
  for (auto& [channel, lease] : leases) lease = {incarnation_id{99}, lease.epoch + 1, true};
  claimed.clear();
  scheduler.clock().trigger_timeout();
  settle();
  EXPECT_EQ(revoked.size(), 3U);
  advance(seconds(15));
  EXPECT_TRUE(*serving);
}

TEST_F(keeper, a_lease_that_was_given_away_is_lost_at_once) {
  start();
  ++lives;   // another life of the same name
  advance(seconds(5));
  EXPECT_EQ(revoked.size(), 3U);
  EXPECT_EQ(last_grace, duration(limits::fetcher_lost_grace));
}

TEST_F(keeper, gives_a_channel_back_only_when_its_fetcher_has_ended) {
  start();
  const auto g = claimed[0];
  changes.push_back({g, 5, true});
  leases[g.channel].enabled = false;
  caf::anon_send(it, changed_atom::value);
  settle();
  ASSERT_EQ(revoked.size(), 1U);
  EXPECT_EQ(last_grace, duration(limits::fetcher_stop_grace));
  advance(seconds(5));
  EXPECT_TRUE(released.empty());
  end(g);
  EXPECT_EQ(released, (std::vector<channel_id>{g.channel}));
}

TEST_F(keeper, repeats_a_release_that_failed) {
  start();
  const auto release = store.mail.on_release;
  int failures = 3;
  store.mail.on_release = [&](const auto& self, const guards& g) -> result<void> {
    if (failures-- > 0) return fail(failure::store_unavailable);
    return release(self, g);
  };
  end(claimed[1]);
  advance(seconds(15));
  ASSERT_FALSE(released.empty());
  EXPECT_EQ(released[0], claimed[1].channel);
}

TEST_F(keeper, a_fenced_channel_is_forgotten_and_free_again) {
  start();
  const auto g = claimed[0];
  claimed.clear();
  caf::anon_send(it, lost_atom::value, g.channel, g.epoch);
  settle();
  EXPECT_EQ(released, (std::vector<channel_id>{g.channel}));
  advance(seconds(5));
  ASSERT_EQ(claimed.size(), 1U) << "claimed anew, under a new epoch";
  EXPECT_EQ(claimed[0].epoch, g.epoch + 1);
  caf::anon_send(it, lost_atom::value, g.channel, g.epoch);   // late
  settle();
  EXPECT_EQ(released.size(), 1U);
}

TEST_F(keeper, passes_changes_on_and_looks_at_once_when_it_is_told) {
  start();
  advance(seconds(5));
  changes.push_back({claimed[1], 7, false});
  caf::anon_send(it, changed_atom::value);
  settle();
  EXPECT_EQ(changed, (std::vector<channel_id>{claimed[1].channel}));
  changes.push_back({claimed[2], 8, false});
  advance(3 * limits::lease_renew + seconds(1));
  EXPECT_EQ(changed.size(), 2U) << "a lost hint costs a moment";
}

TEST_F(keeper, a_drain_gives_everything_back_and_takes_nothing_more) {
  start();
  caf::anon_send(it, drain_atom::value);
  settle();
  EXPECT_FALSE(*serving);
  EXPECT_EQ(revoked.size(), 3U);
  for (const auto& g : guards(revoked)) end(g);
  EXPECT_EQ(released.size(), 3U);
  const auto had = claimed.size();
  advance(std::chrono::minutes(1));
  EXPECT_EQ(claimed.size(), had);
  EXPECT_EQ(lives, 1) << "still a member";
}

TEST_F(keeper, a_drain_that_nobody_hears_is_told_again_and_holds_nobody_up) {
  int drained = 0, heard = 0;
  store.mail.on_start_draining = [&](const auto&) { ++heard; };
  for (int c = 1; c <= 3; ++c) leases[channel_id{c}];
  it = owned(spawn_lease_keeper(system, env, guardian, serving, [&] { ++drained; }));
  settle();
  store.up = false;
  caf::anon_send(it, drain_atom::value);
  settle();
  EXPECT_EQ(drained, 0) << "it may be a moment only";
  advance(limits::unheard_at_end + seconds(1));
  EXPECT_EQ(drained, 1) << "who stops need not wait for the lease's end";
  store.up = true;
  advance(seconds(1));
  EXPECT_EQ(heard, 1);
  for (const auto& g : guards(claimed)) end(g);
  EXPECT_EQ(drained, 1);
  caf::anon_send(it, drain_atom::value);
  settle();
  EXPECT_EQ(drained, 2) << "who stops later, and waits for the end of a drain that is long over";
}

TEST_F(keeper, ends_soon_although_its_database_is_away) {
  start();
  store.up = false;
  caf::anon_send(it, drain_atom::value);
  caf::anon_send(it, stop_atom::value);
  settle();
  for (const auto& g : guards(revoked)) end(g);
  EXPECT_FALSE(ended(it)) << "it may be a moment only";
  advance(limits::unheard_at_end + seconds(2));
  EXPECT_TRUE(ended(it)) << "its lease runs out by itself";
}

TEST_F(keeper, leaves_last) {
  start();
  caf::anon_send(it, stop_atom::value);
  settle();
  EXPECT_FALSE(left);
  for (const auto& g : guards(revoked)) end(g);
  EXPECT_TRUE(left);
  EXPECT_TRUE(ended(it));
  EXPECT_EQ(released.size(), 3U);
}

TEST_F(keeper, gives_back_what_a_dead_guardian_left) {
  start();
  caf::anon_send_exit(guardian, caf::exit_reason::kill);
  settle();
  caf::anon_send(it, stop_atom::value);
  settle();
  EXPECT_EQ(released.size(), 3U);
  EXPECT_TRUE(ended(it));
}

TEST_F(keeper, ends_although_it_never_joined) {
  store.up = false;
  start();
  caf::anon_send(it, stop_atom::value);
  advance(seconds(15));
  EXPECT_TRUE(ended(it));
}

TEST_F(keeper, keeps_no_claim_of_an_earlier_life) {
  start(0);
  leases[channel_id{1}];
  store.held = true;
  advance(seconds(4));   // a claim is under way
  ++lives;               // and the lease is lost meanwhile
  store.held = false;
  settle();
  advance(seconds(10));
  std::set<std::int64_t> epochs;
  for (const auto& g : claimed) epochs.insert(g.epoch);
  EXPECT_EQ(claimed.size(), epochs.size());
  ASSERT_FALSE(claimed.empty());
  EXPECT_EQ(claimed.back().epoch, leases[channel_id{1}].epoch);
}

}  // namespace
}  // namespace mailherd::actors
