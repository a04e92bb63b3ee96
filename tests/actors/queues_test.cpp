// The plain classes under the actors: who goes next, and never more than allowed.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "actors/budget.hpp"
#include "actors/commit_queue.hpp"
#include "actors/lease_keeper.hpp"
#include "actors/login_queue.hpp"

namespace mailherd::actors {
namespace {

constexpr mono_time start{std::chrono::hours(1)};

commit_request_ptr unit(std::int64_t channel, std::int64_t mark, std::size_t messages = 1, std::size_t bytes = 10, mono_time until = start + seconds(60)) {
  auto r = std::make_shared<commit_request>();
  r->unit.guard.channel = channel_id{channel};
  r->unit.backfill_done = mark;
  for (std::size_t i = 0; i < messages; ++i) {
    store::incoming_message m;
    m.body = std::make_shared<const std::string>(bytes / std::max<std::size_t>(1, messages), 'x');
    r->unit.messages.push_back(std::move(m));
  }
  r->until = deadline{until};
  return r;
}

std::vector<std::int64_t> marks(const commit_queue::requests& group) {
  std::vector<std::int64_t> out;
  for (const auto& r : group) out.push_back(*r->unit.backfill_done);
  return out;
}

using list = std::vector<std::int64_t>;

TEST(commit_queue, keeps_the_order_of_a_channel_and_has_it_in_one_group_at_a_time) {
  commit_queue q;
  commit_queue::requests expired;
  q.add(unit(1, 1));
  q.add(unit(1, 2));
  q.add(unit(2, 3));
  const auto first = q.next_group(start, expired);
  EXPECT_EQ(marks(first), (list{1, 2, 3}));
  q.add(unit(1, 4));
  q.add(unit(3, 5));
  const auto second = q.next_group(start, expired);
  EXPECT_EQ(marks(second), (list{5})) << "channel 1 is in flight";
  EXPECT_TRUE(q.next_group(start, expired).empty());
  q.finished(first);
  EXPECT_EQ(marks(q.next_group(start, expired)), (list{4}));
  EXPECT_EQ(q.size(), 0U);
}

TEST(commit_queue, a_unit_that_is_held_waits_with_what_is_behind_it_and_nobody_else_does) {
  commit_queue q;
  commit_queue::requests expired;
  const auto held = unit(1, 2);
  held->held = true;
  q.add(unit(1, 1));
  q.add(held);
  q.add(unit(1, 3));
  q.add(unit(2, 4));
  const auto first = q.next_group(start, expired);
  EXPECT_EQ(marks(first), (list{1, 4}));
  q.finished(first);
  EXPECT_TRUE(q.next_group(start, expired).empty());
  q.released(channel_id{7});
  held->held = false;
  q.released(channel_id{1});
  q.released(channel_id{1});
  EXPECT_EQ(marks(q.next_group(start, expired)), (list{2, 3}));
  EXPECT_TRUE(q.next_group(start, expired).empty());
  EXPECT_EQ(q.size(), 0U);
  EXPECT_TRUE(expired.empty());
}

TEST(commit_queue, what_is_held_and_in_flight_behind_itself_waits_for_both) {
  commit_queue q;
  commit_queue::requests expired;
  q.add(unit(1, 1));
  const auto first = q.next_group(start, expired);
  const auto held = unit(1, 2);
  held->held = true;
  q.add(held);
  held->held = false;
  q.released(channel_id{1});
  EXPECT_TRUE(q.next_group(start, expired).empty()) << "in flight";
  q.finished(first);
  EXPECT_EQ(marks(q.next_group(start, expired)), (list{2}));
}

TEST(commit_queue, bounds_a_group_by_messages_and_bytes_but_takes_one_unit_of_any_size) {
  commit_queue q;
  commit_queue::requests expired;
  q.add(unit(1, 1, 1, 3 * limits::commit_group_bytes));
  q.add(unit(2, 2, limits::commit_group_messages - 1));
  q.add(unit(3, 3, 2));
  EXPECT_EQ(marks(q.next_group(start, expired)), (list{1}));
  EXPECT_EQ(marks(q.next_group(start, expired)), (list{2}));
  EXPECT_EQ(marks(q.next_group(start, expired)), (list{3}));
}

TEST(commit_queue, gives_up_what_stands_behind_an_expired_unit_too) {
  commit_queue q;
  commit_queue::requests expired;
  q.add(unit(1, 1, 1, 10, start + seconds(1)));
  q.add(unit(1, 2));
  q.add(unit(2, 3));
  const auto group = q.next_group(start + seconds(2), expired);
  EXPECT_EQ(marks(group), (list{3}));
  EXPECT_EQ(marks(expired), (list{1, 2})) << "unit 2 would move the cursor over the mail of unit 1";
  EXPECT_EQ(q.size(), 0U);
}

TEST(commit_queue, expires_without_taking_a_group) {
  commit_queue q;
  commit_queue::requests expired;
  q.add(unit(1, 1, 1, 10, start + seconds(1)));
  const auto flight = q.next_group(start, expired);
  q.add(unit(1, 2, 1, 10, start + seconds(1)));
  q.add(unit(2, 3));
  q.expire(start + seconds(5), expired);
  EXPECT_EQ(marks(expired), (list{2}));
  q.finished(flight);
  EXPECT_EQ(marks(q.next_group(start + seconds(5), expired)), (list{3}));
}

TEST(commit_queue, drops_what_waits_of_a_channel) {
  commit_queue q;
  commit_queue::requests expired;
  q.add(unit(1, 1));
  const auto flight = q.next_group(start, expired);
  q.add(unit(1, 2));
  q.add(unit(2, 3));
  q.add(unit(1, 4));
  EXPECT_EQ(marks(q.drop(channel_id{1})), (list{2, 4}));
  EXPECT_TRUE(q.drop(channel_id{9}).empty());
  q.finished(flight);
  EXPECT_EQ(marks(q.next_group(start, expired)), (list{3}));
}

TEST(commit_queue, is_bounded) {
  commit_queue q;
  for (std::size_t i = 0; i < limits::gate_units; ++i) ASSERT_TRUE(q.add(unit(1 + static_cast<std::int64_t>(i % 7), 0)));
  EXPECT_FALSE(q.add(unit(1, 0)));
}

TEST(commit_queue, loses_and_reorders_nothing_whatever_happens) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 rng(seed);
    commit_queue q;
    commit_queue::requests expired;
    std::vector<commit_queue::requests> flights;
    std::map<std::int64_t, std::int64_t> newest;   // per channel
    std::int64_t mark = 0, seen = 0;
    const auto check = [&](const commit_queue::requests& group) {
      for (const auto& r : group) {
        auto& last = newest[r->unit.guard.channel.value];
        EXPECT_LT(last, *r->unit.backfill_done);
        last = *r->unit.backfill_done;
        ++seen;
      }
    };
    for (int step = 0; step < 400; ++step) {
      if (rng() % 3 != 0) {
        ASSERT_TRUE(q.add(unit(1 + static_cast<std::int64_t>(rng() % 5), ++mark, 1 + rng() % 60)));
      } else if (rng() % 2 == 0 && flights.size() < 3) {
        auto g = q.next_group(start, expired);
        std::set<std::int64_t> channels;
        for (const auto& f : flights)
          for (const auto& r : f) channels.insert(r->unit.guard.channel.value);
        for (const auto& r : g) EXPECT_FALSE(channels.contains(r->unit.guard.channel.value));
        check(g);
        if (!g.empty()) flights.push_back(std::move(g));
      } else if (!flights.empty()) {
        q.finished(flights.back());
        flights.pop_back();
      }
    }
    for (const auto& f : flights) q.finished(f);
    for (auto g = q.next_group(start, expired); !g.empty(); g = q.next_group(start, expired)) {
      check(g);
      q.finished(g);
    }
    EXPECT_EQ(seen, mark);
    EXPECT_EQ(q.size(), 0U);
  }
}

std::shared_ptr<login_request> login(std::string host, int last_success) {
  auto r = std::make_shared<login_request>();
  r->host = std::move(host);
  r->last_success = wall_time{seconds(last_success)};
  return r;
}

TEST(login_queue, lets_the_stalest_go_first) {
  login_queue q(1, 10);
  q.add(login("a", 30));
  q.add(login("a", 10));
  q.add(login("a", 20));
  EXPECT_EQ(q.next()->last_success, wall_time{seconds(10)});
  EXPECT_EQ(q.next(), nullptr);
  q.finished("a");
  EXPECT_EQ(q.next()->last_success, wall_time{seconds(20)});
}

TEST(login_queue, a_full_host_holds_up_nobody_else) {
  login_queue q(1, 10);
  q.add(login("a", 1));
  q.add(login("a", 2));
  q.add(login("b", 100));
  EXPECT_EQ(q.next()->host, "a");
  EXPECT_EQ(q.next()->host, "b");
  EXPECT_EQ(q.next(), nullptr);
}

TEST(login_queue, keeps_both_limits_and_serves_everybody) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 rng(seed);
    login_queue q(3, 8);
    std::map<std::string, unsigned> running;
    std::vector<std::string> list;
    std::size_t added = 0, served = 0;
    for (int step = 0; step < 600 || served < added; ++step) {
      if (step < 600 && rng() % 2 == 0) {
        q.add(login(std::string(1, static_cast<char>('a' + rng() % 4)), static_cast<int>(rng() % 50)));
        ++added;
      }
      if (auto r = q.next()) {
        ++served;
        EXPECT_LE(++running[r->host], 3U);
        list.push_back(r->host);
        EXPECT_LE(list.size(), 8U);
      } else if (!list.empty()) {
        const auto i = rng() % list.size();
        q.finished(list[i]);
        --running[list[i]];
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
    EXPECT_EQ(q.waiting(), 0U);
  }
}

TEST(fetch_budget, serves_in_order_and_takes_back_what_is_let_go) {
  auto budget = std::make_shared<fetch_budget>(100);
  std::vector<int> order;
  std::vector<std::shared_ptr<fetch_budget::share>> shares(4);
  const auto ask = [&](int who, std::size_t bytes) {
    budget->ask(bytes, [&, who](std::shared_ptr<fetch_budget::share> s) {
      order.push_back(who);
      shares[static_cast<std::size_t>(who)] = std::move(s);
    });
  };
  ask(0, 80);
  ask(1, 30);
  ask(2, 10);   // would fit, but nobody overtakes
  EXPECT_EQ(order, (std::vector<int>{0}));
  shares[0].reset();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(budget->in_use(), 40U);
  ask(3, 1000);
  shares[1].reset();
  EXPECT_EQ(order.size(), 3U) << "more than everything is given only when nothing is out";
  shares[2].reset();
  EXPECT_EQ(order.size(), 4U);
}

TEST(lease_plan, ends_the_fetchers_before_the_lease_can_end_elsewhere) {
  for (int ttl = 2; ttl <= 120; ++ttl) {
    const lease_plan p{seconds(ttl)};
    EXPECT_LT(3 * p.renew, duration(seconds(ttl))) << ttl;
    EXPECT_GT(p.serve, 3 * p.renew) << "two lost renewals must not stop a node, ttl " << ttl;
    EXPECT_LT(p.serve + p.lost_grace, duration(seconds(ttl))) << ttl;
  }
}

}  // namespace
}  // namespace mailherd::actors
