// The storage gate on virtual time: what is promised to the fetchers about their mail.
#include "actors/storage_gate.hpp"

#include <algorithm>
#include <set>

#include "tests/actors/world.hpp"

namespace mailherd::actors {
namespace {

using outcomes = std::vector<store::commit_outcome>;

class gate : public test::world {
 public:
  gate() {
    store.mail.on_commit = [this](const std::vector<store::commit_unit>& units) -> result<outcomes> {
      std::vector<std::int64_t> marks;
      outcomes all;
      for (const auto& u : units) {
        if (poison.contains(*u.backfill_done)) return fail(failure::store_failed, "a statement was refused");
        marks.push_back(*u.backfill_done);
      }
      for (const auto& u : units) {
        store::commit_outcome o;
        if (fenced == u.guard.channel) {
          o.status = fail(failure::fenced, "old epoch");
        } else {
          o.stored = static_cast<std::int64_t>(u.messages.size());
          stored.push_back(*u.backfill_done);
        }
        all.push_back(std::move(o));
      }
      groups.push_back(std::move(marks));
      return all;
    };
    it = owned(spawn_storage_gate(system, env));
  }

  std::shared_ptr<commit_request> send(std::int64_t channel, std::int64_t mark, std::shared_ptr<commit_stream> stream = nullptr,
                                       duration patience = limits::commit_deadline) {
    return send(channel, mark, std::move(stream), patience, {});
  }
  /// Two messages that together are large enough to go ahead.
  std::shared_ptr<commit_request> send_large(std::int64_t channel, std::int64_t mark, std::shared_ptr<commit_stream> stream = nullptr,
                                             duration patience = limits::commit_deadline) {
    const auto half = std::make_shared<const std::string>(limits::write_ahead_bytes / 2, 'x');
    return send(channel, mark, std::move(stream), patience, {half, half});
  }
  std::shared_ptr<commit_request> send(std::int64_t channel, std::int64_t mark, std::shared_ptr<commit_stream> stream, duration patience,
                                       const std::vector<std::shared_ptr<const std::string>>& bodies) {
    auto r = std::make_shared<commit_request>();
    r->unit.guard = {tenant_id{1}, channel_id{channel}, 7};
    r->unit.backfill_done = mark;
    store::incoming_message m;
    m.size = 1000;
    m.internal_date = wall() - seconds(2);
    if (bodies.empty()) r->unit.messages.push_back(m);
    for (const auto& b : bodies) {
      m.body = b;
      r->unit.messages.push_back(m);
    }
    r->until = deadline::after(now(), patience);
    r->stream = std::move(stream);
    r->then = {me(), [this, mark](store::commit_outcome o) {
                 EXPECT_FALSE(answers.contains(mark)) << "answered twice";
                 answers[mark] = o.status ? "stored" : std::string(to_string(o.status.error().code));
               }};
    caf::anon_send(it, commit_atom::value, commit_request_ptr(r));
    return r;
  }

  storage_gate_actor it;
  std::set<std::int64_t> poison;
  channel_id fenced;
  std::vector<std::vector<std::int64_t>> groups;
  std::vector<std::int64_t> stored;
  std::map<std::int64_t, std::string> answers;
};

using list = std::vector<std::int64_t>;

TEST_F(gate, commits_a_lone_unit_at_once) {
  const auto before = now();
  send(1, 1);
  settle();
  EXPECT_EQ(answers[1], "stored");
  EXPECT_EQ(now(), before);
  EXPECT_EQ(report.count["stored"], 1);
  EXPECT_EQ(report.count["bytes"], 1000);
  EXPECT_EQ(report.count["lag"], 2);
}

TEST_F(gate, groups_what_arrives_while_transactions_are_under_way) {
  store.held = true;
  for (int i = 1; i <= 10; ++i) send(i, i);
  settle();
  EXPECT_EQ(store.queued(), limits::gate_flights);
  store.held = false;
  settle();
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[0], (list{1}));
  EXPECT_EQ(groups[1], (list{2}));
  EXPECT_EQ(groups[2], (list{3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST_F(gate, repeats_while_the_database_is_away_and_stores_when_it_is_back) {
  store.up = false;
  send(1, 1);
  advance(seconds(20));
  EXPECT_TRUE(answers.empty());
  store.up = true;
  advance(seconds(6));
  EXPECT_EQ(answers[1], "stored");
}

TEST_F(gate, answers_everybody_in_time_when_the_database_stays_away) {
  store.up = false;
  for (int i = 1; i <= 5; ++i) send(i, i);   // two fly, three wait
  advance(limits::commit_deadline + seconds(6));
  EXPECT_EQ(answers.size(), 5U);
  for (const auto& [mark, answer] : answers) EXPECT_TRUE(answer == "store_unavailable" || answer == "timed_out") << mark << ": " << answer;
  store.up = true;
  send(6, 6);
  settle();
  EXPECT_EQ(answers[6], "stored");
}

TEST_F(gate, separates_a_unit_the_database_refuses_from_its_group) {
  poison = {5};
  store.held = true;
  for (int i = 1; i <= 9; ++i) send(i, i);
  settle();
  store.held = false;
  settle();
  EXPECT_EQ(answers.size(), 9U);
  for (const auto& [mark, answer] : answers) EXPECT_EQ(answer, mark == 5 ? "store_failed" : "stored") << mark;
}

TEST_F(gate, a_fenced_unit_costs_nobody_else) {
  fenced = channel_id{2};
  store.held = true;
  for (int i = 1; i <= 5; ++i) send(i, i);
  settle();
  store.held = false;
  settle();
  EXPECT_EQ(answers[2], "fenced");
  EXPECT_EQ(answers[3], "stored");
  EXPECT_EQ(report.count["fenced"], 1);
}

TEST_F(gate, stores_nothing_of_a_stream_after_a_part_that_was_not_stored) {
  poison = {1};
  auto stream = std::make_shared<commit_stream>();
  store.held = true;
  send(1, 1, stream);
  send(1, 2, stream);
  settle();
  store.held = false;
  settle();
  send(1, 3, stream);   // was on its way when the first answer was given
  settle();
  EXPECT_EQ(answers[1], "store_failed");
  EXPECT_EQ(answers[2], "cancelled");
  EXPECT_EQ(answers[3], "cancelled");
  EXPECT_TRUE(stored.empty());
  send(1, 4, std::make_shared<commit_stream>());   // from the cursor as stored
  settle();
  EXPECT_EQ(answers[4], "stored");
}

TEST_F(gate, a_refused_part_takes_the_later_ones_of_its_stream_out_of_the_same_group) {
  auto stream = std::make_shared<commit_stream>();
  poison = {3};
  store.held = true;
  send(8, 1);
  send(9, 2);
  send(1, 3, stream);
  send(1, 4, stream);
  send(2, 5);
  settle();
  store.held = false;
  settle();
  EXPECT_EQ(answers[3], "store_failed");
  EXPECT_EQ(answers[4], "cancelled");
  EXPECT_EQ(answers[5], "stored");
  EXPECT_EQ(stored, (list{1, 2, 5}));
}

TEST_F(gate, says_busy_when_it_is_full) {
  store.held = true;
  for (std::size_t i = 0; i < limits::gate_units + limits::gate_flights; ++i) send(1 + static_cast<std::int64_t>(i), static_cast<std::int64_t>(i));
  settle();
  EXPECT_TRUE(answers.empty());
  send(1, 1'000'000);
  settle();
  EXPECT_EQ(answers[1'000'000], "store_busy");
}

TEST_F(gate, writes_large_bodies_ahead_while_the_unit_before_is_being_committed) {
  std::vector<std::string> log;
  store.mail.on_put_bodies = [&](const store::lease_guard& g, const std::vector<std::shared_ptr<const std::string>>& bodies) -> result<blob_id> {
    EXPECT_EQ(g.epoch, 7);
    log.push_back("ahead " + std::to_string(bodies.size()));
    return blob_id{42};
  };
  const auto commits = store.mail.on_commit;
  store.mail.on_commit = [&](const std::vector<store::commit_unit>& units) -> result<outcomes> {
    for (const auto& u : units)
      for (const auto& m : u.messages)
        log.push_back(m.body ? "with body" : m.blob ? to_string(m.blob) + "." + std::to_string(m.body_index) : "without");
    return commits(units);
  };
  store.held = true;
  const auto one = send_large(1, 1);
  const auto two = send_large(1, 2);
  send(2, 3);
  settle();
  EXPECT_EQ(store.queued(), limits::write_ahead_flights + 1) << "both are on their way, and who is small waits for neither";
  store.held = false;
  settle();
  EXPECT_EQ(stored.size(), 3U);
  EXPECT_LT(std::find(stored.begin(), stored.end(), 1), std::find(stored.begin(), stored.end(), 2));
  EXPECT_EQ(std::count(log.begin(), log.end(), "ahead 2"), 2);
  EXPECT_EQ(std::count(log.begin(), log.end(), "b42.0"), 2);
  EXPECT_EQ(std::count(log.begin(), log.end(), "b42.1"), 2);
  EXPECT_EQ(std::count(log.begin(), log.end(), "with body"), 0);
}

TEST_F(gate, what_cannot_be_written_ahead_travels_with_its_commit) {
  for (const auto why : {failure::store_failed, failure::store_unavailable, failure::fenced, failure::timed_out}) {
    store.mail.on_put_bodies = [&](const auto&, const auto&) -> result<blob_id> { return fail(why, "by order of the test"); };
    const auto mark = 10 + static_cast<std::int64_t>(why);
    send_large(1, mark);
    settle();
    EXPECT_EQ(answers[mark], "stored") << to_string(why);
  }
}

TEST_F(gate, a_large_unit_keeps_its_deadline_and_what_follows_it_is_refused) {
  store.held = true;
  const auto stream = std::make_shared<commit_stream>();
  for (int i = 1; i <= 5; ++i) send_large(1, i, stream, seconds(10));
  send(1, 6, stream, seconds(100));
  advance(seconds(11));
  store.held = false;
  settle();
  for (int i = 1; i <= 6; ++i) EXPECT_EQ(answers[i], "timed_out") << i;
  EXPECT_TRUE(stored.empty());
  send(1, 7);
  settle();
  EXPECT_EQ(answers[7], "stored");
}

TEST_F(gate, stores_large_units_before_it_ends) {
  store.mail.on_put_bodies = [&](const auto&, const auto&) -> result<blob_id> { return blob_id{1}; };
  store.held = true;
  for (int i = 1; i <= 5; ++i) send_large(i, i);
  caf::anon_send(it, stop_atom::value);
  settle();
  EXPECT_FALSE(ended(it));
  store.held = false;
  settle();
  EXPECT_TRUE(ended(it));
  EXPECT_EQ(stored.size(), 5U);
}

TEST_F(gate, gives_the_budget_back_with_the_answer) {
  std::shared_ptr<fetch_budget::share> share;
  env.budget->ask(5000, [&](std::shared_ptr<fetch_budget::share> s) { share = std::move(s); });
  store.held = true;
  auto r = send(1, 1);
  r->share = std::move(share);
  r.reset();
  settle();
  EXPECT_EQ(env.budget->in_use(), 5000U);
  store.held = false;
  settle();
  EXPECT_EQ(env.budget->in_use(), 0U);
}

TEST_F(gate, writes_many_signs_of_life_with_one_statement_the_latest_of_each) {
  std::vector<std::pair<store::lease_guard, wall_time>> written;
  std::size_t statements = 0;
  store.mail.on_touch_success = [&](const std::vector<std::pair<store::lease_guard, wall_time>>& rows) -> result<void> {
    ++statements;
    written.insert(written.end(), rows.begin(), rows.end());
    return {};
  };
  for (int round = 1; round <= 3; ++round)
    for (int c = 1; c <= 100; ++c) caf::anon_send(it, served_atom::value, sign_of_life{{tenant_id{1}, channel_id{c}, 7}, wall_time{seconds(round)}});
  advance(limits::gate_sign_delay + seconds(1));
  EXPECT_EQ(statements, 1U);
  ASSERT_EQ(written.size(), 100U);
  for (const auto& [guard, at] : written) EXPECT_EQ(at, wall_time{seconds(3)});
  advance(std::chrono::hours(1));
  EXPECT_EQ(statements, 1U) << "nothing to say, nothing written";
}

TEST_F(gate, stores_what_is_queued_before_it_ends) {
  std::size_t touched = 0;
  store.mail.on_touch_success = [&](const auto& rows) -> result<void> {
    touched += rows.size();
    return {};
  };
  store.held = true;
  for (int i = 1; i <= 6; ++i) send(i, i);
  caf::anon_send(it, served_atom::value, sign_of_life{{tenant_id{1}, channel_id{1}, 7}, wall()});
  caf::anon_send(it, stop_atom::value);
  send(7, 7);
  settle();
  EXPECT_FALSE(ended(it));
  EXPECT_EQ(answers[7], "cancelled");
  store.held = false;
  settle();
  EXPECT_TRUE(ended(it));
  EXPECT_EQ(stored, (list{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(touched, 1U);
}

}  // namespace
}  // namespace mailherd::actors
