// Storage workers: order, bounds, deadlines, and what becomes of jobs while the database is away.
#include "storage/executor.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>

#include "tests/storage/postgres_fixture.hpp"

namespace mailherd::test {
namespace {

using store::worker_pool;

/// Sessions whose stores nobody looks into.
class hollow_session final : public store::postgres::worker_session {
 public:
  explicit hollow_session(std::atomic<bool>& broken) : broken_(broken) {}
  store::session& stores() override { return *reinterpret_cast<store::session*>(this); }   // never used
  [[nodiscard]] bool broken() const override { return broken_; }

 private:
  std::atomic<bool>& broken_;
};

struct executor_test : ::testing::Test {
  std::atomic<bool> broken{false}, away{false};
  std::atomic<int> connects{0};

  std::unique_ptr<worker_pool> make(unsigned workers, std::size_t limit = 100, backoff_policy reconnect = {milliseconds(0), milliseconds(0), 1, 0}) {
    return std::make_unique<worker_pool>(worker_pool::settings{workers, limit, reconnect}, [this]() -> result<std::unique_ptr<store::postgres::worker_session>> {
      ++connects;
      if (away) return fail(failure::store_unavailable, "away");
      broken = false;
      return std::make_unique<hollow_session>(broken);
    });
  }
  static deadline later() { return deadline::after(mono_clock::now(), seconds(60)); }

  /// Keeps a worker busy until the promise is kept.
  static std::pair<std::promise<void>, std::future<void>> occupy(worker_pool& pool) {
    std::promise<void> go, busy;
    auto is_busy = busy.get_future();
    pool.submit(later(), [gate = go.get_future().share(), busy = std::make_shared<std::promise<void>>(std::move(busy))](auto) {
      busy->set_value();
      gate.wait();
    }, false);
    return {std::move(go), std::move(is_busy)};
  }
  static failure ask(worker_pool& pool) {
    std::promise<failure> said;
    EXPECT_TRUE(pool.submit(later(), [&](result<store::session*> s) { said.set_value(s ? failure::cancelled : s.error().code); }, false));
    return said.get_future().get();
  }
  static constexpr failure served = failure::cancelled;   ///< `ask` says so when there was a session
};

TEST_F(executor_test, urgent_jobs_overtake_and_the_others_keep_their_order) {
  auto pool = make(1);
  auto [go, busy] = occupy(*pool);
  busy.wait();
  std::string order;
  std::promise<void> last;
  for (const char c : std::string("ab")) pool->submit(later(), [&order, c](auto) { order += c; }, false);
  for (const char c : std::string("xy")) pool->submit(later(), [&order, c](auto) { order += c; }, true);
  pool->submit(later(), [&](auto) { last.set_value(); }, false);
  EXPECT_EQ(pool->queued(), 5U);
  go.set_value();
  last.get_future().wait();
  EXPECT_EQ(order, "xyab");
}

TEST_F(executor_test, a_full_queue_takes_nothing) {
  auto pool = make(1, 2);
  auto [go, busy] = occupy(*pool);
  busy.wait();
  EXPECT_TRUE(pool->submit(later(), [](auto) {}, false));
  EXPECT_TRUE(pool->submit(later(), [](auto) {}, true));
  EXPECT_FALSE(pool->submit(later(), [](auto) { ADD_FAILURE(); }, true));
  go.set_value();
}

TEST_F(executor_test, a_job_whose_deadline_passed_does_not_touch_the_database) {
  auto pool = make(1);
  std::promise<failure> said;
  pool->submit(deadline{mono_clock::now()}, [&](result<store::session*> s) { said.set_value(s ? served : s.error().code); }, false);
  EXPECT_EQ(said.get_future().get(), failure::timed_out);
  EXPECT_EQ(connects, 0);
}

TEST_F(executor_test, jobs_left_at_the_end_are_cancelled_not_forgotten) {
  std::atomic<int> cancelled{0};
  {
    auto pool = make(1);
    auto [go, busy] = occupy(*pool);
    busy.wait();
    for (int i = 0; i < 3; ++i)
      pool->submit(later(), [&](result<store::session*> s) { cancelled += !s && s.error().code == failure::cancelled ? 1 : 0; }, i == 0);
    auto ending = std::async(std::launch::async, [&] { pool.reset(); });
    go.set_value();
    ending.wait();
  }
  // Those that the worker took before it saw the end were served: every job was answered either way.
  EXPECT_LE(cancelled, 3);
}

TEST_F(executor_test, a_lost_connection_is_replaced_and_while_there_is_none_jobs_are_told_at_once) {
  auto pool = make(1);
  EXPECT_EQ(ask(*pool), served);
  EXPECT_EQ(ask(*pool), served);
  EXPECT_EQ(connects, 1);
  broken = true;
  away = true;
  EXPECT_EQ(ask(*pool), failure::store_unavailable);
  EXPECT_EQ(ask(*pool), failure::store_unavailable);
  away = false;
  EXPECT_EQ(ask(*pool), served);
}

TEST_F(executor_test, a_database_that_is_away_is_not_asked_for_every_job) {
  away = true;
  auto pool = make(1, 100, {seconds(3600), seconds(3600), 2, 1});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(*pool), failure::store_unavailable);
  EXPECT_EQ(connects, 1);
}

// ---- a real database -----------------------------------------------------------------------------------------------------------------------

TEST(executor_on_postgres, a_server_that_ends_our_connections_costs_one_job_each) {
  const test_database database;
  store::postgres::options how;
  how.url = database.url();
  how.keys = test_keys();
  how.workers = 1;
  how.reconnect_min = how.reconnect_max = milliseconds(0);
  auto pool = store::postgres::open(how);
  ASSERT_TRUE(pool);
  const auto ping = [&] {
    std::promise<result<void>> said;
    (*pool)->submit(deadline::after(mono_clock::now(), seconds(60)),
                    [&](result<store::session*> s) { said.set_value(s ? (*s)->admin.ping() : result<void>(fail(s.error()))); });
    return said.get_future().get();
  };
  ASSERT_TRUE(ping());
  database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
  const auto lost = ping();
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, failure::store_unavailable);
  EXPECT_TRUE(ping());
}

TEST(executor_on_postgres, notifications_arrive_and_after_a_lost_connection_everybody_is_told_to_look) {
  const test_database database;
  std::mutex guard;
  std::vector<std::int64_t> feeds;
  std::vector<std::pair<std::int64_t, std::int64_t>> channels;
  std::promise<void> listening, heard, again;
  store::postgres::options how;
  how.url = database.url();
  how.keys = test_keys();
  how.on_feed = [&](tenant_id t) {
    const std::lock_guard lock(guard);
    feeds.push_back(t.value);
    if (feeds.size() == 2) heard.set_value();
  };
  how.on_channel_changed = [&](tenant_id t, channel_id c) {
    const std::lock_guard lock(guard);
    channels.emplace_back(t.value, c.value);
    if (channels.size() == 1) listening.set_value();
    if (channels.size() == 3) again.set_value();
  };
  auto pool = store::postgres::open(how);
  ASSERT_TRUE(pool);
  listening.get_future().wait();
  database.query("SELECT pg_notify('mailherd_channel', '3 17')");
  database.query("SELECT pg_notify('mailherd_feed', '3')");
  heard.get_future().wait();
  database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
  again.get_future().wait();
  const std::lock_guard lock(guard);
  EXPECT_EQ(feeds[0], 0);
  EXPECT_EQ(feeds[1], 3);
  EXPECT_EQ(channels[0], std::pair(std::int64_t{0}, std::int64_t{0}));
  EXPECT_EQ(channels[1], std::pair(std::int64_t{3}, std::int64_t{17}));
  EXPECT_EQ(channels[2], std::pair(std::int64_t{0}, std::int64_t{0}));
}

TEST(executor_on_postgres, a_url_that_cannot_be_read_says_so_without_repeating_it) {
  store::postgres::options how;
  how.url = "postgresql://user:canary@[::1";
  how.keys = test_keys();
  const auto opened = store::postgres::open(how);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, failure::invalid_input);
  EXPECT_EQ(describe(opened.error()).find("canary"), std::string::npos);
}

}  // namespace
}  // namespace mailherd::test
