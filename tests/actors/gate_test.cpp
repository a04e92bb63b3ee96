// The storage gate on virtual time: what is promised to the fetchers about their mail.
#include "actors/storage_gate.hpp"

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
    auto r = std::make_shared<commit_request>();
    r->unit.guard = {tenant_id{1}, channel_id{channel}, 7};
    r->unit.backfill_done = mark;
    store::incoming_message m;
    m.size = 1000;
    m.internal_date = wall() - seconds(2);
    r->unit.messages.push_back(m);
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
