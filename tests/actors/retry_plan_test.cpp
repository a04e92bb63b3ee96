// What follows from each failure, as a table: who is asked to act, how long the channel waits.
#include "actors/fetcher/retry_plan.hpp"

#include <gtest/gtest.h>

namespace mailherd::actors {
namespace {

constexpr wall_time now{std::chrono::hours(24 * 365 * 50)};
constexpr std::uint64_t least = 0, most = ~std::uint64_t{0};

retry_plan plan(failure f, unsigned attempt = 0, bool active = false, std::uint64_t random = most) { return plan_retry({f, "why", {}}, attempt, active, now, random); }

TEST(retry_plan, only_the_token_endpoints_verdict_asks_for_consent) {
  for (int i = 0; i <= static_cast<int>(failure::internal); ++i) {
    const auto f = static_cast<failure>(i);
    const auto p = plan(f, 5);
    // A refused password is the one other thing that a person must enter anew.
    EXPECT_EQ(p.state == channel_state::needs_reauth, f == failure::consent_required || f == failure::login_rejected) << to_string(f);
  }
  EXPECT_NE(plan(failure::token_rejected, 9).state, channel_state::needs_reauth);
  EXPECT_NE(plan(failure::token_unavailable, 9).state, channel_state::needs_reauth);
}

TEST(retry_plan, nothing_but_a_change_ends_the_wait_for_consent) {
  EXPECT_TRUE(plan(failure::consent_required).until_changed);
  EXPECT_TRUE(plan(failure::request_loop).until_changed);
  EXPECT_FALSE(plan(failure::login_rejected).until_changed) << "passwords are unlocked without a word to us";
  EXPECT_FALSE(plan(failure::admin_required).until_changed);
}

TEST(retry_plan, waits_grow_and_are_bounded) {
  for (int i = 0; i <= static_cast<int>(failure::internal); ++i) {
    const auto f = static_cast<failure>(i);
    duration before{};
    for (unsigned attempt = 0; attempt < 40; ++attempt) {
      const auto wait = plan(f, attempt).wait;
      EXPECT_GE(wait, before) << to_string(f) << " attempt " << attempt;
      EXPECT_GT(plan(f, attempt, false, least).wait, milliseconds(400)) << to_string(f);
      EXPECT_LE(wait, std::chrono::hours(1)) << to_string(f);
      before = wait;
    }
  }
}

TEST(retry_plan, a_person_is_given_time) {
  for (const auto f : {failure::login_rejected, failure::certificate_expired, failure::mailbox_missing, failure::no_mailbox_rights, failure::admin_required,
                       failure::app_misconfigured, failure::token_rejected})
    EXPECT_GE(plan(f, 10, false, least).wait, seconds(11 * 60)) << to_string(f);
}

TEST(retry_plan, a_single_lost_connection_of_a_healthy_channel_is_no_news) {
  EXPECT_TRUE(plan(failure::connection_lost, 0, true).no_news);
  EXPECT_FALSE(plan(failure::connection_lost, 1, true).no_news);
  EXPECT_FALSE(plan(failure::connection_lost, 0, false).no_news);
  EXPECT_FALSE(plan(failure::throttled, 0, true).no_news);
  EXPECT_FALSE(plan(failure::login_rejected, 0, true).no_news);
}

TEST(retry_plan, keeps_a_named_time_exactly) {
  const auto until = now + milliseconds(299'910);
  const auto p = plan_retry({failure::throttled, "slow down", until}, 7, true, now, most);
  EXPECT_EQ(p.state, channel_state::throttled);
  EXPECT_TRUE(p.hold);
  EXPECT_EQ(p.wait, duration(milliseconds(299'910)));
  // What is not the mailbox's throttle only waits as long.
  const auto q = plan_retry({failure::token_unavailable, "429", now + seconds(500)}, 0, true, now, most);
  EXPECT_NE(q.state, channel_state::throttled);
  EXPECT_EQ(q.wait, duration(seconds(500)));
  EXPECT_EQ(plan_retry({failure::admin_required, "", now + seconds(5000)}, 0, true, now, most).state, channel_state::needs_admin);
}

TEST(retry_plan, a_throttle_without_a_time_is_a_long_one) { EXPECT_GE(plan(failure::throttled, 0, true, least).wait, seconds(45)); }

TEST(retry_plan, a_time_that_has_passed_is_now) {
  EXPECT_EQ(plan_retry({failure::throttled, "", now - seconds(5)}, 0, true, now, most).wait, duration(seconds(1)));
}

}  // namespace
}  // namespace mailherd::actors
