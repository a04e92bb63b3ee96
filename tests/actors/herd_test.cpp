// The herd over real threads: it starts, answers and stops in bounded time whatever the database does. All else is on virtual time.
#include "actors/herd.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <future>
#include <mutex>

#include "tests/actors/memory_mail.hpp"
#include "tests/actors/memory_net.hpp"
#include "tests/actors/world.hpp"

namespace mailherd::actors {
namespace {

/// Takes every job and never runs it: a database that does not answer.
class silent_store : public store::executor {
 public:
  bool submit(deadline, job work, bool) override {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(work));
    return true;
  }
  [[nodiscard]] std::size_t queued() const override { return 0; }

 private:
  std::mutex mutex_;
  std::deque<job> jobs_;
};

/// Answers every job at once: unavailable.
class absent_store : public store::executor {
 public:
  bool submit(deadline, job work, bool) override {
    work(fail(failure::store_unavailable, "the database is away"));
    return true;
  }
  [[nodiscard]] std::size_t queued() const override { return 0; }
};

class herd_of : public ::testing::Test {
 public:
  environment env() {
    environment e;
    e.options.node_name = "node-a";
    reactor.clock = [] { return mono_clock::now(); };
    reactor.wall = [] { return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now()); };
    e.reactors = {&reactor};
    e.dialer = &net;
    e.http = &http;
    e.report = &report;
    e.budget = std::make_shared<fetch_budget>(limits::fetch_budget_bytes);
    e.wall_now = reactor.wall;
    e.random = [] { return std::uint64_t{4}; };
    return e;
  }
  /// Ends within the time that is promised, with a margin for a busy machine.
  static void expect_end(herd& h, seconds grace) {
    const auto began = mono_clock::now();
    h.stop(grace);
    EXPECT_LE(mono_clock::now() - began, grace + seconds(10));
  }
  class quiet : public telemetry {
  } report;
  test::memory_reactor reactor;
  test::memory_net net;
  test::scripted_http http;
};

TEST_F(herd_of, stops_in_time_when_the_database_never_answers) {
  silent_store store;
  auto e = env();
  e.store = &store;
  auto h = herd::start(std::move(e), 2);
  EXPECT_FALSE(h->serving());
  expect_end(*h, seconds(1));
  h->stop(seconds(20));   // a second stop returns at once
}

TEST_F(herd_of, stops_in_order_before_it_has_joined) {
  absent_store store;
  auto e = env();
  e.store = &store;
  auto h = herd::start(std::move(e), 1);
  EXPECT_TRUE(h->stop(seconds(20)));
}

TEST_F(herd_of, is_destroyed_without_being_stopped) {
  silent_store store;
  auto e = env();
  e.store = &store;
  auto h = herd::start(std::move(e), 1);
  h.reset();
}

TEST_F(herd_of, answers_a_test_also_when_it_has_stopped) {
  absent_store store;
  auto e = env();
  e.store = &store;
  auto h = herd::start(std::move(e), 1);
  h->stop(seconds(20));
  std::promise<failure> answer;
  h->test({}, deadline::after(mono_clock::now(), seconds(5)), [&](result<test_report> r) { answer.set_value(r ? failure::internal : r.error().code); });
  EXPECT_EQ(answer.get_future().get(), failure::cancelled);
}

TEST_F(herd_of, drains_only_itself) {
  absent_store store;
  auto e = env();
  e.store = &store;
  auto h = herd::start(std::move(e), 1);
  EXPECT_FALSE(h->drain("node-b"));
  EXPECT_TRUE(h->drain("node-a"));
  EXPECT_FALSE(h->serving());
}

}  // namespace
}  // namespace mailherd::actors
