// Guardian and supervisors: whatever dies comes back, whatever is to end ends, and never are there two fetchers of one channel.
#include "actors/node_guardian.hpp"

#include <map>

#include "tests/actors/world.hpp"

namespace mailherd::actors {
namespace {

using guards = std::vector<store::lease_guard>;
constexpr tenant_id tenant{1};

class supervision : public test::world {
 public:
  struct fetcher {
    channel_fetcher_actor actor;
    store::lease_guard guard;
    caf::weak_actor_ptr supervisor;
    std::shared_ptr<vitals> signs;
    unsigned stops = 0, changes = 0, tokens = 0;
    std::optional<store::lease_guard> promoted;
    std::vector<hand_step> steps;
  };

  supervision() {
    auto make = [this](const store::lease_guard& guard, const caf::weak_actor_ptr& supervisor, const std::shared_ptr<vitals>& signs) {
      const auto n = made.size();
      made.emplace_back();
      made[n] = {spawn_fetcher(n), guard, supervisor, signs, 0, 0, 0, {}, {}};
      unsigned living = 0;
      for (const auto& f : made)
        if (f.guard.channel == guard.channel && !ended(f.actor)) ++living;
      EXPECT_EQ(living, 1U) << "two fetchers of one channel";
      return made[n].actor;
    };
    guardian = owned(spawn_node_guardian(system, env, make));
    keeper = owned(system.spawn([this](lease_keeper_actor::pointer) -> lease_keeper_actor::behavior_type {
      return {
          [](const continuation& c) { c.run(); },
          [](tick_atom, std::uint64_t) {},
          [](changed_atom) {},
          [this](lost_atom, channel_id c, std::int64_t epoch) { lost.emplace_back(c, epoch); },
          [](drain_atom) {},
          [this](revoked_atom, const store::lease_guard& g) { told_ended.push_back(g); },
          [this](hand_atom, const store::lease_guard& g, hand_step step) { told_steps.emplace_back(g, step); },
          [](stop_atom) {},
      };
    }));
  }
  ~supervision() override {
    for (auto& f : made) caf::anon_send_exit(f.actor, caf::exit_reason::kill);
    made.clear();
    for (auto& kill : at_end) kill();
    at_end.clear();
    guardian = nullptr;
    keeper = nullptr;
    settle();
  }

  channel_fetcher_actor spawn_fetcher(std::size_t n) {
    return system.spawn([this, n](channel_fetcher_actor::pointer self) -> channel_fetcher_actor::behavior_type {
      return {
          [](const continuation& c) { c.run(); },
          [](session_atom, const std::shared_ptr<session_report>&) {},
          [](tick_atom, std::uint64_t) {},
          [this, n](changed_atom) { ++made[n].changes; },
          [this, n](token_atom, const std::shared_ptr<token_request>&) { ++made[n].tokens; },
          [this, n](claimed_atom, const store::lease_guard& g) { made[n].promoted = g; },
          [this, n](hand_atom, hand_step step) { made[n].steps.push_back(step); },
          [this, n, self](stop_atom) {
            ++made[n].stops;
            if (obedient) self->quit();
          },
      };
    });
  }

  static store::lease_guard guard(std::int64_t channel, std::int64_t epoch = 1, tenant_id of = tenant) { return {of, channel_id{channel}, epoch}; }
  /// The guardian answers whoever asks: the keeper.
  void claim(const guards& all) {
    caf::send_as(caf::actor_cast<caf::actor>(keeper), guardian, claimed_atom::value, all);
    settle();
  }
  void revoke(const guards& all, duration grace = seconds(10)) {
    caf::send_as(caf::actor_cast<caf::actor>(keeper), guardian, revoked_atom::value, all, caf::timespan{grace});
    settle();
  }
  void break_fetcher(std::size_t n) {
    caf::anon_send_exit(made[n].actor, caf::exit_reason::user_shutdown);
    settle();
  }
  fetcher& newest() { return made.back(); }

  node_guardian_actor guardian;
  lease_keeper_actor keeper;
  std::deque<fetcher> made;
  std::vector<std::pair<channel_id, std::int64_t>> lost;
  guards told_ended;
  std::vector<std::pair<store::lease_guard, hand_step>> told_steps;
  bool obedient = true;
};

TEST_F(supervision, a_claimed_channel_gets_a_fetcher_and_a_revoked_one_ends) {
  claim({guard(1), guard(2), guard(3, 1, tenant_id{2})});
  EXPECT_EQ(made.size(), 3U);
  revoke({guard(2)});
  EXPECT_EQ(made[1].stops, 1U);
  ASSERT_EQ(told_ended.size(), 1U);
  EXPECT_EQ(told_ended[0].channel, channel_id{2});
  EXPECT_FALSE(ended(made[0].actor));
}

TEST_F(supervision, a_fetcher_that_does_not_end_in_time_is_killed_and_only_then_reported) {
  obedient = false;
  claim({guard(1)});
  revoke({guard(1)}, seconds(10));
  advance(seconds(9));
  EXPECT_TRUE(told_ended.empty());
  EXPECT_FALSE(ended(made[0].actor));
  advance(seconds(2));
  EXPECT_TRUE(ended(made[0].actor));
  EXPECT_EQ(told_ended.size(), 1U);
  EXPECT_TRUE(report.said("kills a fetcher"));
}

TEST_F(supervision, less_time_than_before_counts_and_more_does_not) {
  obedient = false;
  claim({guard(1)});
  revoke({guard(1)}, seconds(10));
  revoke({guard(1)}, seconds(2));
  revoke({guard(1)}, seconds(60));
  advance(seconds(3));
  EXPECT_TRUE(ended(made[0].actor));
}

TEST_F(supervision, what_is_not_there_has_ended) {
  claim({guard(1, 5)});
  revoke({guard(1, 4), guard(9)});
  EXPECT_EQ(told_ended.size(), 2U);
  EXPECT_FALSE(ended(made[0].actor));
}

TEST_F(supervision, a_fetcher_that_breaks_comes_back_with_a_pause) {
  claim({guard(1)});
  break_fetcher(0);
  EXPECT_EQ(made.size(), 1U);
  advance(seconds(2));
  ASSERT_EQ(made.size(), 2U);
  EXPECT_EQ(made[1].guard.epoch, 1);
}

TEST_F(supervision, a_fetcher_that_breaks_all_the_time_is_restarted_seldom_and_for_ever) {
  claim({guard(1)});
  const auto began = now();
  while (now() - began < std::chrono::hours(6)) {
    if (!ended(newest().actor)) break_fetcher(made.size() - 1);
    advance(seconds(10));
  }
  EXPECT_LE(made.size(), 6U * (limits::restarts + 3600 / 300) + 10);
  EXPECT_GE(made.size(), 40U);
}

TEST_F(supervision, one_that_was_well_for_long_starts_its_pauses_anew) {
  claim({guard(1)});
  for (int i = 0; i < 5; ++i) {
    break_fetcher(made.size() - 1);
    advance(std::chrono::minutes(10));
  }
  ASSERT_EQ(made.size(), 6U);
  break_fetcher(5);
  advance(seconds(1));
  EXPECT_EQ(made.size(), 7U);
}

TEST_F(supervision, the_watchdog_restarts_what_makes_no_progress) {
  claim({guard(1), guard(2), guard(3)});
  for (int m = 0; m < 90; ++m) {
    made[0].signs->progress(now());                          // works
    if (m == 0) made[1].signs->wait(now() + std::chrono::hours(1));   // waits on purpose
    advance(std::chrono::minutes(1));
    if (m == 30) {
      EXPECT_TRUE(ended(made[2].actor)) << "stuck";
      EXPECT_FALSE(ended(made[1].actor));
    }
  }
  EXPECT_FALSE(ended(made[0].actor));
  EXPECT_TRUE(ended(made[1].actor)) << "its wait was over long ago";
  EXPECT_GE(report.count["watchdog"], 2);
  EXPECT_GE(made.size(), 5U);
}

TEST_F(supervision, a_channel_claimed_anew_waits_for_its_former_fetcher) {
  obedient = false;
  claim({guard(1, 1)});
  revoke({guard(1, 1)}, seconds(2));
  claim({guard(1, 2)});
  EXPECT_EQ(made.size(), 1U);
  advance(seconds(3));
  ASSERT_EQ(made.size(), 2U);
  EXPECT_EQ(made[1].guard.epoch, 2);
  ASSERT_EQ(told_ended.size(), 1U);
  EXPECT_EQ(told_ended[0].epoch, 1);
}

TEST_F(supervision, a_later_claim_withdrawn_before_it_began_is_told_too) {
  obedient = false;
  claim({guard(1, 1)});
  revoke({guard(1, 1)}, seconds(5));
  claim({guard(1, 2)});
  revoke({guard(1, 2)}, seconds(5));
  advance(seconds(10));
  EXPECT_EQ(made.size(), 1U);
  EXPECT_EQ(told_ended.size(), 2U);
}

TEST_F(supervision, a_fenced_fetcher_is_forgotten) {
  claim({guard(1)});
  const auto supervisor = caf::actor_cast<caf::strong_actor_ptr>(made[0].supervisor);
  caf::anon_send(caf::actor_cast<caf::actor>(supervisor), lost_atom::value, channel_id{1}, std::int64_t{1});
  caf::anon_send(made[0].actor, stop_atom::value);
  settle();
  advance(std::chrono::minutes(1));
  EXPECT_EQ(lost.size(), 1U);
  EXPECT_TRUE(told_ended.empty());
  EXPECT_EQ(made.size(), 1U);
}

TEST_F(supervision, one_that_ended_in_order_by_itself_rests_until_its_rows_change) {
  claim({guard(1)});
  caf::anon_send(made[0].actor, stop_atom::value);   // as if it had decided so
  advance(std::chrono::hours(1));
  EXPECT_EQ(made.size(), 1U);
  caf::anon_send(guardian, changed_atom::value, tenant, channel_id{1});
  settle();
  EXPECT_EQ(made.size(), 2U);
}

TEST_F(supervision, a_change_reaches_the_fetcher_and_shortens_a_pause) {
  claim({guard(1)});
  caf::anon_send(guardian, changed_atom::value, tenant, channel_id{1});
  settle();
  EXPECT_EQ(made[0].changes, 1U);
  break_fetcher(0);
  caf::anon_send(guardian, changed_atom::value, tenant, channel_id{1});
  settle();
  EXPECT_EQ(made.size(), 2U);
  advance(std::chrono::minutes(2));
  EXPECT_EQ(made.size(), 2U) << "the planned restart is not due any more";
}

TEST_F(supervision, a_question_for_a_token_finds_its_fetcher_or_is_answered) {
  std::string answer;
  const auto ask = [&](tenant_id of, channel_id c) {
    auto r = std::make_shared<token_request>();
    r->then = {me(), [&](result<access_token> t) { answer = t ? "token" : std::string(to_string(t.error().code)); }};
    caf::anon_send(guardian, token_atom::value, of, c, r);
    settle();
  };
  claim({guard(1)});
  ask(tenant, channel_id{1});
  EXPECT_EQ(made[0].tokens, 1U);
  ask(tenant, channel_id{2});
  EXPECT_EQ(answer, "not_found");
  answer.clear();
  ask(tenant_id{9}, channel_id{1});
  EXPECT_EQ(answer, "not_found");
}

TEST_F(supervision, a_supervisor_that_breaks_takes_its_fetchers_along_and_comes_back) {
  claim({guard(1), guard(2)});
  caf::anon_send_exit(caf::actor_cast<caf::actor>(caf::actor_cast<caf::strong_actor_ptr>(made[0].supervisor)), caf::exit_reason::kill);
  settle();
  EXPECT_TRUE(ended(made[0].actor));
  EXPECT_TRUE(ended(made[1].actor));
  advance(seconds(2));
  EXPECT_EQ(made.size(), 4U);
  revoke({guard(1)});
  EXPECT_EQ(told_ended.size(), 1U);
}

TEST_F(supervision, a_standby_becomes_the_owner_and_stays_the_same_fetcher) {
  claim({guard(1, 0)});
  ASSERT_EQ(made.size(), 1U);
  EXPECT_EQ(made[0].guard.epoch, 0);
  const auto tell = [&](hand_step step) {
    caf::anon_send(caf::actor_cast<caf::actor>(caf::actor_cast<caf::strong_actor_ptr>(made[0].supervisor)), hand_atom::value, guard(1, 0), step);
    settle();
  };
  tell(hand_step::ready);
  ASSERT_EQ(told_steps.size(), 1U);
  EXPECT_EQ(told_steps[0].second, hand_step::ready);
  claim({guard(1, 8)});
  EXPECT_EQ(made.size(), 1U);
  ASSERT_TRUE(made[0].promoted);
  EXPECT_EQ(made[0].promoted->epoch, 8);
  tell(hand_step::ready);
  EXPECT_EQ(told_steps.size(), 1U) << "it stands by no longer";
  revoke({guard(1, 0)});
  EXPECT_EQ(made[0].stops, 0U) << "what is dismissed late is a standby, and there is none";
  revoke({guard(1, 8)});
  EXPECT_EQ(made[0].stops, 1U);
}

TEST_F(supervision, an_owner_is_asked_to_yield_and_one_that_broke_has_nothing_in_hand) {
  claim({guard(1, 3), guard(2, 3)});
  break_fetcher(1);
  for (const auto& g : {guard(1, 3), guard(2, 3), guard(1, 2)}) caf::anon_send(guardian, hand_atom::value, g, hand_step::yield);
  settle();
  EXPECT_EQ(made[0].steps, std::vector<hand_step>{hand_step::yield});
  ASSERT_EQ(told_steps.size(), 1U);
  EXPECT_EQ(told_steps[0].first.channel, channel_id{2});
  EXPECT_EQ(told_steps[0].second, hand_step::yielded);
}

TEST_F(supervision, stops_everything_and_ends) {
  claim({guard(1), guard(2), guard(3, 1, tenant_id{2})});
  break_fetcher(1);   // waits for its restart
  caf::anon_send(guardian, stop_atom::value);
  settle();
  EXPECT_TRUE(ended(guardian));
  EXPECT_EQ(told_ended.size(), 3U);
  for (const auto& f : made) EXPECT_TRUE(ended(f.actor));
}

TEST_F(supervision, stops_in_bounded_time_although_a_fetcher_does_not_listen) {
  obedient = false;
  claim({guard(1), guard(2)});
  caf::anon_send(guardian, stop_atom::value);
  advance(limits::fetcher_stop_grace + seconds(1));
  EXPECT_TRUE(ended(guardian));
  EXPECT_EQ(told_ended.size(), 2U);
}

}  // namespace
}  // namespace mailherd::actors
