// Deliveries on virtual time: receivers that fail, hang, are away for days, refuse one message for ever; a deliverer that is killed; a replay.
#include "actors/deliverer.hpp"

#include <deque>
#include <random>

#include "tests/actors/memory_webhooks.hpp"
#include "tests/actors/world.hpp"

namespace mailherd::test {
namespace {

using std::chrono::hours;

constexpr tenant_id acme{1};

/// A workshop that works when it is told to.
struct workbench {
  std::deque<std::function<void()>> waiting;
  bool full = false, at_work = false;

  actors::workshop takes() {
    return [this](std::function<void()> work) {
      if (!full) waiting.push_back(std::move(work));
      return !full;
    };
  }
  void work() {
    auto one = std::move(waiting.front());
    waiting.pop_front();
    at_work = true;
    one();
    at_work = false;
  }
};

class deliverer : public world {
 protected:
  deliverer() {
    hooks.now = [this] { return wall(); };
    store.webhooks = &hooks;
    env.webhooks = &http;
    env.words.message = [](store::session&, const store::webhook_spec&, const store::stored_message& m) -> actors::event_words::body {
      return std::optional(store::event_body{to_string(m.id), {}, 0});
    };
    env.words.test = [](const store::webhook_key&, const store::delivery_record&, wall_time) { return std::string("test"); };
    http.answer = [this](const net::http_request& r) -> std::optional<result<net::http_reply>> {
      const auto id = id_of(r);
      auto& in = at[r.url];
      in.attempts.push_back(id);
      const auto status = in.answer ? in.answer(id) : 200;
      if (status < 0) return std::nullopt;   // hangs
      if (status / 100 == 2 && in.seen.insert(id).second) in.taken.push_back(id);
      return net::http_reply{status, in.headers, ""};
    };
  }
  ~deliverer() override { http.calls.clear(); }

  struct receiver {
    std::function<int(const std::string&)> answer;
    std::vector<std::pair<std::string, std::string>> headers;
    std::vector<std::string> attempts, taken;   ///< taken: the first time only, as a receiver that drops repeats
    std::set<std::string> seen;
  };

  static std::string id_of(const net::http_request& r) {
    for (const auto& [name, value] : r.headers)
      if (name == "webhook-id") return value;
    return "";
  }
  void for_days() { env.options.deliverer_round = seconds(300); }
  void start() { who = owned(actors::spawn_deliverer(system, env)); settle(); }
  void crash() {
    caf::anon_send_exit(who, caf::exit_reason::kill);
    who = nullptr;
    at_end.clear();
    settle();
  }
  void mail(std::int64_t channel, int n = 1, tenant_id t = acme) {
    for (int i = 0; i < n; ++i) hooks.message(t, channel);
    if (who) caf::anon_send(who, actors::fed_atom::value, t);
    settle();
  }
  /// Every message of the feed reached the receiver, in order per channel.
  void expect_all(const std::string& url, const std::string& why = "") {
    std::map<channel_id, std::vector<std::string>> wanted, got;
    std::map<std::string, channel_id> channel;
    for (const auto& m : hooks.feed[acme]) wanted[m.channel].push_back(to_string(m.id)), channel[to_string(m.id)] = m.channel;
    for (const auto& id : at[url].taken) got[channel[id]].push_back(id);
    EXPECT_EQ(got, wanted) << why;
  }

  memory_webhooks hooks;
  workbench bench;   ///< of tests that give it to the deliverer
  std::map<std::string, receiver> at;
  actors::deliverer_actor who;
};

const std::string url = "https://a.test/";

TEST_F(deliverer, brings_everything_in_order_per_channel_and_writes_in_groups) {
  const auto key = hooks.add(acme, 1, url);
  start();
  for (int i = 0; i < 300; ++i) hooks.message(acme, i % 7);
  mail(3);
  advance(seconds(5));
  expect_all(url);
  EXPECT_EQ(hooks.places.at(key).load.message_position, 301);
  EXPECT_LT(hooks.saves, 10U) << "nothing is written per delivery";
  EXPECT_EQ(at[url].attempts.size(), 301U) << "nothing twice";
  EXPECT_EQ(report.count["failed"], 0);
}

TEST_F(deliverer, a_receiver_that_is_away_over_the_weekend_misses_nothing) {
  for_days();
  const auto key = hooks.add(acme, 1, url);
  bool up = false;
  at[url].answer = [&](const std::string&) { return up ? 200 : 503; };
  start();
  for (int day = 0; day < 2; ++day)
    for (int h = 0; h < 24; ++h) {
      mail(h % 5, 3);
      advance(hours(1));
    }
  EXPECT_TRUE(at[url].taken.empty());
  EXPECT_LT(at[url].attempts.size(), 120U) << "an endpoint that is down is tried, not hammered";
  EXPECT_EQ(hooks.count(key, "dead"), 0U);
  up = true;
  advance(hours(2));
  expect_all(url);
  EXPECT_EQ(hooks.places.at(key).stalls.size(), 0U);
  EXPECT_EQ(hooks.places.at(key).load.message_position, 144);
}

TEST_F(deliverer, after_three_days_an_event_is_given_up_listed_and_can_be_had_again) {
  for_days();
  const auto key = hooks.add(acme, 1, url);
  bool up = false;
  at[url].answer = [&](const std::string&) { return up ? 200 : 500; };
  start();
  mail(1, 2);
  advance(hours(71));
  EXPECT_EQ(hooks.count(key, "dead"), 0U) << "three days at least";
  advance(hours(5));
  EXPECT_GE(hooks.count(key, "dead"), 1U);
  up = true;
  advance(hours(2));
  EXPECT_EQ(hooks.count(key, "dead") + at[url].taken.size(), 2U);
  for (auto& d : hooks.places.at(key).deliveries)
    if (d.state == "dead") d.state = "pending";
  advance(seconds(900));
  EXPECT_EQ(at[url].seen, (std::set<std::string>{"m1-1", "m1-2"}));
  EXPECT_EQ(hooks.count(key, "dead"), 0U);
}

TEST_F(deliverer, a_message_that_is_refused_for_ever_holds_up_its_channel_for_three_days_and_no_other) {
  for_days();
  const auto key = hooks.add(acme, 1, url);
  at[url].answer = [](const std::string& id) { return id == "m1-1" ? 400 : 200; };
  start();
  mail(1, 2);
  for (int i = 0; i < 40; ++i) {
    mail(2);
    advance(hours(1));
    EXPECT_EQ(at[url].taken.size(), static_cast<std::size_t>(i) + 1) << "the other channel's mail goes out within the hour";
  }
  EXPECT_FALSE(at[url].seen.contains("m1-2")) << "in order per channel";
  advance(hours(36));
  EXPECT_TRUE(at[url].seen.contains("m1-2"));
  EXPECT_EQ(hooks.count(key, "dead"), 1U);
}

TEST_F(deliverer, five_hundred_half_of_the_time_and_crashes_lose_and_reorder_nothing) {
  env.options.deliverer_round = seconds(30);
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 dice(seed);
    hooks.places.clear();
    hooks.feed.clear();
    at.clear();
    const auto key = hooks.add(acme, 1, url);
    at[url].answer = [&](const std::string&) { return dice() % 2 == 0 ? 200 : 500; };
    start();
    for (int i = 0; i < 60; ++i) {
      mail(static_cast<std::int64_t>(dice() % 4), 1 + static_cast<int>(dice() % 3));
      advance(milliseconds(dice() % 3'000));
      if (dice() % 10 == 0) {
        crash();
        start();
      }
    }
    advance(hours(36));
    expect_all(url);
    EXPECT_EQ(hooks.count(key, "dead"), 0U);
    EXPECT_EQ(hooks.places.at(key).stalls.size(), 0U);
    crash();
  }
}

TEST_F(deliverer, an_endpoint_that_hangs_slows_no_other) {
  hooks.add(acme, 1, "https://hangs.test/");
  hooks.add(acme, 2, url);
  at["https://hangs.test/"].answer = [](const std::string&) { return -1; };
  start();
  for (int i = 0; i < 50; ++i) {
    mail(i % 20);
    EXPECT_EQ(at[url].taken.size(), static_cast<std::size_t>(i) + 1) << "at once";
  }
  EXPECT_LE(http.calls.size(), limits::webhook_in_flight);
}

TEST_F(deliverer, retry_after_is_kept_to_and_gone_disables) {
  for_days();
  const auto key = hooks.add(acme, 1, url);
  at[url].headers = {{"retry-after", "600"}};
  int status = 429;
  at[url].answer = [&](const std::string&) { return status; };
  start();
  mail(1);
  advance(seconds(590));
  EXPECT_EQ(at[url].attempts.size(), 1U);
  status = 410;
  advance(seconds(30));
  EXPECT_EQ(at[url].attempts.size(), 2U);
  EXPECT_FALSE(hooks.places.at(key).active);
  EXPECT_NE(hooks.places.at(key).disabled.find("410"), std::string::npos);
  mail(1, 5);
  advance(hours(5));
  EXPECT_EQ(at[url].attempts.size(), 2U);
}

TEST_F(deliverer, a_replay_brings_everything_again_with_the_same_ids) {
  const auto key = hooks.add(acme, 1, url);
  start();
  mail(1, 3);
  mail(2, 3);
  advance(seconds(1));
  at[url].attempts.clear();
  hooks.replay(key, 2);
  caf::anon_send(who, actors::changed_atom::value);
  advance(seconds(3));
  std::sort(at[url].attempts.begin(), at[url].attempts.end());
  EXPECT_EQ(at[url].attempts, (std::vector<std::string>{"m1-3", "m1-4", "m1-5", "m1-6"}));
  EXPECT_EQ(hooks.places.at(key).load.message_position, 6);
}

TEST_F(deliverer, keeps_to_the_endpoints_rate) {
  const auto key = hooks.add(acme, 1, url);
  hooks.places.at(key).load.spec.max_per_second = 10;
  start();
  for (int i = 0; i < 100; ++i) hooks.message(acme, i);
  mail(7);
  advance(seconds(5));
  EXPECT_GE(at[url].taken.size(), 45U);
  EXPECT_LE(at[url].taken.size(), 62U);
  advance(seconds(10));
  expect_all(url);
}

TEST_F(deliverer, does_not_wait_for_what_hangs_when_it_stops_and_the_next_one_delivers_it_with_the_same_id) {
  const auto key = hooks.add(acme, 1, url);
  hooks.add(acme, 2, "https://hangs.test/");
  at["https://hangs.test/"].answer = [](const std::string&) { return -1; };
  at[url].answer = [](const std::string&) { return -1; };
  start();
  mail(1, 2);
  advance(seconds(2));
  caf::anon_send(who, actors::stop_atom::value);
  advance(milliseconds(5));
  EXPECT_TRUE(ended(who)) << "both have had their time: at once";
  ASSERT_EQ(hooks.count(key, "failed"), 1U);
  EXPECT_NE(hooks.places.at(key).deliveries.back().error.find("interrupted"), std::string::npos);
  EXPECT_EQ(hooks.places.at(key).load.message_position, 0);
  EXPECT_EQ(hooks.places.at(key).load.failures, 0) << "the receiver is not to blame";
  http.calls.clear();
  at[url].answer = {};
  at_end.clear();
  start();
  advance(seconds(3));
  EXPECT_EQ(at[url].attempts, (std::vector<std::string>{"m1-1", "m1-1", "m1-2"}));
}

TEST_F(deliverer, stops_within_its_patience_saves_and_gives_back) {
  const auto key = hooks.add(acme, 1, url);
  start();
  mail(1, 2);
  at[url].answer = [](const std::string&) { return -1; };
  mail(2);
  caf::anon_send(who, actors::stop_atom::value);
  advance(milliseconds(900));
  EXPECT_FALSE(ended(who)) << "what was sent just now may be answered still";
  advance(milliseconds(200));
  EXPECT_TRUE(ended(who));
  EXPECT_EQ(hooks.places.at(key).load.message_position, 2) << "what was taken is saved, what hangs is not";
  EXPECT_TRUE(hooks.alive.empty());
}

TEST_F(deliverer, a_lost_database_costs_repetitions_and_nothing_else) {
  const auto key = hooks.add(acme, 1, url);
  start();
  mail(1, 2);
  store.up = false;
  mail(1, 2);
  advance(seconds(30));
  store.up = true;
  advance(seconds(30));
  expect_all(url);
  EXPECT_EQ(hooks.places.at(key).load.message_position, 4);
}

TEST_F(deliverer, mail_is_taken_apart_in_the_workshop_one_by_one_and_a_full_one_loses_nothing) {
  env.workshop = bench.takes();
  env.words.message = [this](store::session&, const store::webhook_spec&, const store::stored_message& m) -> actors::event_words::body {
    store::event_body body;
    body.rest = [this, id = to_string(m.id)] {
      EXPECT_TRUE(bench.at_work) << "not on a storage worker, not in an actor";
      return "taken apart: " + id;
    };
    body.holds = m.id.position == 3 ? limits::webhook_load_bytes : 1;
    return std::optional(std::move(body));
  };
  std::vector<std::string> bodies;
  http.answer = [&, answer = http.answer](const net::http_request& r) {
    bodies.push_back(r.body.reveal());
    return answer(r);
  };
  hooks.add(acme, 1, url);
  start();
  mail(1, 5);
  std::size_t jobs = 0;
  for (; !bench.waiting.empty() && jobs < 3; settle(), ++jobs) {
    EXPECT_TRUE(at[url].attempts.empty());
    EXPECT_EQ(bench.waiting.size(), 1U) << "one message is one job: whoever stops waits for no more";
    bench.work();
  }
  advance(seconds(1));
  EXPECT_EQ(jobs, 3U);
  EXPECT_EQ(at[url].taken.size(), 3U) << "the third filled the load";
  while (!bench.waiting.empty()) bench.work(), settle();
  advance(seconds(1));
  expect_all(url);
  bench.full = true;
  mail(2, 2);
  advance(seconds(10));
  EXPECT_EQ(at[url].taken.size(), 5U);
  bench.full = false;
  advance(seconds(10));
  while (!bench.waiting.empty()) bench.work(), settle();
  advance(seconds(1));
  expect_all(url);
  EXPECT_EQ(at[url].attempts.size(), 7U) << "nothing twice";
  ASSERT_EQ(bodies.size(), 7U);
  EXPECT_EQ(bodies.front(), "taken apart: m1-1");
}

TEST_F(deliverer, does_not_wait_for_mail_that_is_being_taken_apart_when_it_stops) {
  env.workshop = bench.takes();
  env.words.message = [](store::session&, const store::webhook_spec&, const store::stored_message&) -> actors::event_words::body {
    store::event_body body;
    body.rest = [] { return std::string("late"); };
    return std::optional(std::move(body));
  };
  hooks.add(acme, 1, url);
  start();
  mail(1);
  ASSERT_EQ(bench.waiting.size(), 1U);
  caf::anon_send(who, actors::stop_atom::value);
  advance(seconds(2));
  EXPECT_TRUE(ended(who));
  bench.work();   // its answer reaches nobody
  settle();
  EXPECT_TRUE(at[url].attempts.empty());
}

}  // namespace
}  // namespace mailherd::test
