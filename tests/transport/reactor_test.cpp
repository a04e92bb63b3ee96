// tests/transport/reactor: posted work, owned timers, descriptors, and what the end of a reactor does to them.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.hpp"
#include "transport/io_reactor.hpp"

namespace mailherd::net::test {
namespace {

using namespace std::chrono_literals;

TEST(reactor, work_of_one_thread_runs_in_its_order_and_of_any_thread) {
  io_reactor r("test");
  std::vector<std::pair<int, int>> seen;   // reactor thread only
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2'000; ++i) r.post([&seen, t, i] { seen.emplace_back(t, i); });
    });
  for (auto& t : threads) t.join();
  on(r, [] {});
  ASSERT_EQ(seen.size(), 8'000u);
  int next[4] = {};
  for (const auto& [t, i] : seen) EXPECT_EQ(i, next[t]++);
}

TEST(reactor, timers_run_in_the_order_of_their_times) {
  io_reactor r("test");
  std::string order;
  std::promise<void> done;
  std::vector<std::unique_ptr<timer>> timers;
  on(r, [&] {
    const auto t = r.now();
    timers.push_back(r.at(t + 30ms, [&] { order += "c"; done.set_value(); }));
    timers.push_back(r.at(t + 10ms, [&] { order += "a"; }));
    timers.push_back(r.at(t + 20ms, [&] { order += "b"; }));
  });
  wait(done.get_future());
  on(r, [&] { timers.clear(); });
  EXPECT_EQ(order, "abc");
}

TEST(reactor, a_destroyed_timer_never_runs_even_when_it_is_due) {
  io_reactor r("test");
  bool ran = false;
  auto token = std::make_shared<int>(0);
  std::unique_ptr<timer> second, third;
  std::promise<void> later;
  on(r, [&] {
    const auto t = r.now() - 1s;
    auto first = std::make_shared<std::unique_ptr<timer>>();
    // Both are due now: the completions of both are queued when the first runs and destroys the second and itself.
    *first = r.at(t, [&, first] {
      first->reset();
      second.reset();
    });
    second = r.at(t, [&ran, token] { ran = true; });
    third = r.at(r.now() + 5ms, [&] { later.set_value(); });
  });
  wait(later.get_future());
  on(r, [&] { third.reset(); });
  EXPECT_FALSE(ran);
  EXPECT_EQ(token.use_count(), 1) << "what the handler captured is gone with the timer";
}

TEST(reactor, the_end_destroys_what_waits_unrun_and_survivors_are_harmless) {
  auto token = std::make_shared<int>(0);
  bool ran = false;
  std::unique_ptr<timer> t;
  std::unique_ptr<descriptor> d;
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  {
    io_reactor r("test");
    on(r, [&] {
      t = r.at(r.now() + 1h, [&ran, token] { ran = true; });
      d = r.watch(pair[0]);
      d->wait_readable([&ran, token] { ran = true; });
    });
    r.stop();
    r.post([&ran, token] { ran = true; });
    EXPECT_EQ(token.use_count(), 1);
  }
  EXPECT_EQ(d->fd(), -1);
  d->wait_writable([&ran] { ran = true; });
  t.reset();
  d.reset();
  EXPECT_FALSE(ran);
  char c;
  EXPECT_EQ(::read(pair[1], &c, 1), 0) << "the descriptor is closed";
  ::close(pair[1]);
}

TEST(reactor, readiness_is_told_again_while_it_lasts) {
  io_reactor r("test");
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  ASSERT_EQ(::write(pair[1], "x", 1), 1);
  std::unique_ptr<descriptor> d;
  on(r, [&] { d = r.watch(pair[0]); });
  for (int i = 0; i < 3; ++i) {   // nobody reads the byte: it is ready every time
    auto ready = std::make_shared<std::promise<void>>();
    on(r, [&] { d->wait_readable([ready] { ready->set_value(); }); });
    wait(ready->get_future());
  }
  on(r, [&] { d.reset(); });
  ::close(pair[1]);
}

TEST(network, threads_have_names_and_bad_options_are_refused) {
  network_options options;
  options.reactors = 2;
  auto made = network::create(options);
  ASSERT_TRUE(made) << describe(made.error());
  EXPECT_EQ((*made)->reactors(), 2u);
  const auto name = on((*made)->at(1), [] {
    char text[16] = {};
    pthread_getname_np(pthread_self(), text, sizeof text);
    return std::string(text);
  });
  EXPECT_EQ(name, "mh-net-1");
  options.ca_file = "/nonexistent/ca.pem";
  EXPECT_EQ(network::create(options).error().code, failure::invalid_input);
  options.ca_file.clear();
  options.bind_address = "everywhere";
  EXPECT_EQ(network::create(options).error().code, failure::invalid_input);
}

}  // namespace
}  // namespace mailherd::net::test
