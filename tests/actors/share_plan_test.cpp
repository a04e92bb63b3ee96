// Shares and the book of handovers: decisions without actors, a clock or a database.
#include "actors/share_plan.hpp"

#include <gtest/gtest.h>

#include "actors/handover_book.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {
namespace {

using row = store::mail_store::handover;
using readiness = store::mail_store::readiness;
using reason = store::mail_store::move_reason;

survey nodes(std::vector<std::int64_t> channels, std::int64_t free = 0) {
  survey s;
  std::int64_t id = 0;
  for (const auto n : channels) {
    ++id;
    s.members.push_back({incarnation_id{id}, "n" + std::to_string(id), false, 100'000, n, 0, 0, 0});
  }
  s.free = free;
  s.settled_seconds = 1'000;
  return s;
}
std::size_t sum(const offers& o) {
  std::size_t n = 0;
  for (const auto& one : o) n += one.count;
  return n;
}

TEST(shares, a_node_alone_claims_everything_it_may) {
  const auto s = nodes({0}, 3'000);
  EXPECT_EQ(claim_allowance(s, incarnation_id{1}, 0, 100'000, false), 3'000U);
  EXPECT_EQ(claim_allowance(s, incarnation_id{1}, 0, 500, false), 500U);
  EXPECT_EQ(claim_allowance(s, incarnation_id{1}, 500, 500, false), 0U);
  EXPECT_EQ(claim_allowance(nodes({5}), incarnation_id{1}, 5, 100'000, true), 0U) << "nothing is free";
}

TEST(shares, what_a_dead_node_held_is_shared_by_the_living) {
  const auto s = nodes({1'000, 1'000}, 1'000);
  EXPECT_EQ(claim_allowance(s, incarnation_id{1}, 1'000, 100'000, false), 500U);
  EXPECT_EQ(claim_allowance(s, incarnation_id{2}, 1'500, 100'000, false), 250U) << "its own count is newer than its row";
  EXPECT_EQ(claim_allowance(nodes({1'600, 1'000}, 400), incarnation_id{1}, 1'600, 100'000, false), 0U);
  EXPECT_EQ(claim_allowance(nodes({1'600, 1'000}, 400), incarnation_id{1}, 1'600, 100'000, true), 400U) << "nobody else took it";
}

TEST(shares, are_weighted_by_capacity) {
  auto s = nodes({0, 0}, 900);
  s.members[0].capacity = 200;
  s.members[1].capacity = 1'000;
  EXPECT_EQ(claim_allowance(s, incarnation_id{1}, 0, 200, false), 150U);
  EXPECT_EQ(claim_allowance(s, incarnation_id{2}, 0, 1'000, false), 750U);
}

TEST(shares, a_draining_nodes_channels_go_where_there_is_room) {
  auto s = nodes({900, 1'000, 1'400});
  s.members[0].draining = true;
  const auto plan = drain_plan(s, incarnation_id{1}, 900);
  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[0], (store::mail_store::offer{"n2", 650}));
  EXPECT_EQ(plan[1], (store::mail_store::offer{"n3", 250}));
  EXPECT_EQ(sum(drain_plan(s, incarnation_id{1}, 7)), 7U);
  s.members[1].draining = s.members[2].draining = true;
  EXPECT_TRUE(drain_plan(s, incarnation_id{1}, 900).empty());
  EXPECT_FALSE(others_could_serve(s, incarnation_id{1}));
}

TEST(shares, only_a_real_difference_moves_channels) {
  EXPECT_TRUE(balance_plan(nodes({1'000, 1'000, 960}), incarnation_id{1}, 1'000, 0).empty());
  EXPECT_TRUE(balance_plan(nodes({4, 3, 3}), incarnation_id{1}, 4, 0).empty());
  EXPECT_TRUE(balance_plan(nodes({1'500, 1'500, 0}, 3), incarnation_id{1}, 1'500, 0).empty()) << "what is free comes first";
  const auto plan = balance_plan(nodes({1'500, 1'500, 0}), incarnation_id{1}, 1'500, 0);
  ASSERT_EQ(plan.size(), 1U);
  EXPECT_EQ(plan[0], (store::mail_store::offer{"n3", 500}));
  EXPECT_TRUE(balance_plan(nodes({1'500, 1'500, 0}), incarnation_id{1}, 1'500, 500).empty()) << "they are on their way";
  EXPECT_TRUE(balance_plan(nodes({1'500, 1'500, 0}), incarnation_id{3}, 0, 0).empty());
}

// ---- the book -----------------------------------------------------------------------------------------------------------------------------

const incarnation_id here{1}, there{2};
store::lease_guard guard(std::int64_t epoch = 7) { return {tenant_id{1}, channel_id{4}, epoch}; }
const std::unordered_map<channel_id, store::lease_guard> held{{channel_id{4}, guard()}};
const mono_time t0{std::chrono::hours(1)};

row going(incarnation_id ready = {}) {
  row r;
  r.as = row::part::going;
  r.guard = guard();
  r.node = "n2";
  r.why = reason::drain;
  r.ready = ready;
  return r;
}
row coming(incarnation_id ready = {}) {
  row r = going(ready);
  r.as = row::part::coming;
  r.node = "n1";
  return r;
}

TEST(the_book, an_owner_lets_go_step_by_step) {
  handover_book book;
  auto o = book.read({going()}, held, here, 10, t0);
  EXPECT_TRUE(o.steps.empty()) << "nobody is ready";
  o = book.read({going(there)}, held, here, 10, t0);
  ASSERT_EQ(o.steps.size(), 1U);
  EXPECT_EQ(o.steps[0].second, hand_step::yield);
  EXPECT_TRUE(book.read({going(there)}, held, here, 10, t0).steps.empty()) << "told once";
  EXPECT_TRUE(book.take_passing().empty());
  book.heard(guard(), hand_step::yielded, t0);
  const auto batch = book.take_passing();
  ASSERT_EQ(batch.size(), 1U);
  EXPECT_EQ(batch[0].second, there);
  EXPECT_TRUE(book.take_passing().empty());
  book.not_passed(batch);
  EXPECT_EQ(book.take_passing().size(), 1U) << "the store did not answer: once more";
  o = book.passed(batch, {channel_id{4}});
  ASSERT_EQ(o.ended.size(), 1U);
  EXPECT_EQ(o.ended[0], std::pair(reason::drain, true));
  EXPECT_TRUE(book.idle());
}

TEST(the_book, whatever_is_in_doubt_ends_with_the_owner_serving) {
  const auto yielding = [] {
    handover_book book;
    book.read({going(there)}, held, here, 10, t0);
    return book;
  };
  auto book = yielding();
  EXPECT_EQ(book.read({}, held, here, 10, t0).steps.at(0).second, hand_step::go_on) << "the wish is gone";
  EXPECT_EQ(book.heard(guard(), hand_step::yielded, t0).steps.at(0).second, hand_step::go_on) << "and what comes late is sent back";
  book = yielding();
  EXPECT_EQ(book.read({going()}, held, here, 10, t0).steps.at(0).second, hand_step::go_on) << "the heir died";
  book = yielding();
  auto elsewhere = going();
  elsewhere.node = "n3";
  EXPECT_EQ(book.read({elsewhere}, held, here, 10, t0).steps.at(0).second, hand_step::go_on) << "wanted by another";
  book = yielding();
  auto o = book.read({going(there)}, held, here, 10, t0 + limits::yield_deadline + seconds(1));
  EXPECT_EQ(o.steps.at(0).second, hand_step::go_on) << "too slow";
  EXPECT_EQ(o.withdraw.size(), 1U);
  book = yielding();
  book.heard(guard(), hand_step::yielded, t0);
  o = book.passed(book.take_passing(), {});
  EXPECT_EQ(o.steps.at(0).second, hand_step::go_on) << "the heir was not wanted any more";
  EXPECT_EQ(o.ended.at(0), std::pair(reason::drain, false));
}

TEST(the_book, a_wish_that_nobody_answers_is_taken_back) {
  handover_book book;
  book.read({going()}, held, here, 10, t0);
  const auto o = book.read({going()}, held, here, 10, t0 + limits::handover_deadline + seconds(1));
  EXPECT_EQ(o.withdraw.size(), 1U);
  EXPECT_TRUE(o.steps.empty());
}

TEST(the_book, a_target_prepares_answers_and_takes) {
  handover_book book;
  auto o = book.read({coming()}, {}, here, 1, t0);
  ASSERT_EQ(o.prepare.size(), 1U);
  EXPECT_EQ(o.prepare[0].epoch, 0) << "no right to write";
  EXPECT_TRUE(book.read({coming()}, {}, here, 1, t0).prepare.empty());
  o = book.heard(guard(0), hand_step::ready, t0);
  EXPECT_EQ(o.answers.at(0).second, readiness::ready);
  EXPECT_EQ(book.read({coming()}, {}, here, 1, t0).answers.size(), 1U) << "the rows do not say so yet: once more";
  EXPECT_TRUE(book.read({coming(here)}, {}, here, 1, t0).answers.empty());
  row came = coming();
  came.as = row::part::came;
  came.guard = guard(8);
  o = book.read({came}, {}, here, 1, t0);
  ASSERT_EQ(o.came.size(), 1U);
  EXPECT_TRUE(o.dismiss.empty()) << "its standby is the owner now";
  EXPECT_TRUE(book.idle());
}

TEST(the_book, a_standby_ends_when_it_is_wanted_no_longer_or_cannot) {
  handover_book book;
  book.read({coming()}, {}, here, 1, t0);
  EXPECT_EQ(book.read({}, {}, here, 1, t0).dismiss.size(), 1U);
  EXPECT_EQ(book.read({coming()}, {}, here, 0, t0).answers.at(0).second, readiness::refused) << "no room";
  book.read({coming()}, {}, here, 1, t0);
  EXPECT_EQ(book.heard(guard(0), hand_step::refused, t0).dismiss.size(), 1U);
  EXPECT_TRUE(book.read({coming()}, {}, here, 1, t0).prepare.empty()) << "not again and again";
  EXPECT_EQ(book.clear().dismiss.size(), 1U);
}

}  // namespace
}  // namespace mailherd::actors
