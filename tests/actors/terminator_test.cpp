// The end of a node, and its beginning: everything in order, within its grace, and whatever had to be killed is named.
#include "actors/terminator.hpp"

#include <set>

#include "tests/actors/world.hpp"

namespace mailherd::actors {
namespace {

using guards = std::vector<store::lease_guard>;

class whole_node : public test::world {
 public:
  whole_node() {
    auto& m = store.mail;
    m.on_join = [this](const std::string& name, const auto&, seconds) -> result<store::mail_store::incarnation> {
      order.push_back("join");
      return store::mail_store::incarnation{incarnation_id{++lives}, name};
    };
    m.on_renew = [](const auto&, seconds) -> result<void> { return {}; };
    m.on_claim = [this](const auto&, std::size_t) -> result<guards> {
      guards mine;
      for (auto& [channel, held] : channels)
        if (!std::exchange(held, true)) mine.push_back({tenant_id{1}, channel, ++epochs});
      return mine;
    };
    m.on_release = [this](const auto&, const guards& all) -> result<void> {
      for (const auto& g : all) {
        order.push_back("release " + to_string(g.channel));
        channels[g.channel] = false;
      }
      return {};
    };
    m.on_leave = [this](const auto&) -> result<void> {
      order.push_back("leave");
      return {};
    };
    m.on_changes_since = [](const auto&, std::int64_t) -> result<std::vector<store::mail_store::change>> { return std::vector<store::mail_store::change>{}; };
    m.on_commit = [this](const std::vector<store::commit_unit>& units) -> result<std::vector<store::commit_outcome>> {
      order.push_back("commit");
      return std::vector<store::commit_outcome>(units.size());
    };
    m.on_touch_success = [](const auto&) -> result<void> { return {}; };
  }
  ~whole_node() override {
    store.held = false;
    if (it) caf::anon_send_exit(it, caf::exit_reason::kill);
    it = nullptr;
    fetchers.clear();
    gate = nullptr;
    env.roster->kill();
    settle();
    advance(seconds(10));
  }

  void start(int n = 3) {
    for (int c = 1; c <= n; ++c) channels[channel_id{c}] = false;
    terminator_parts parts;
    parts.env = &env;
    parts.serving = serving;
    parts.open = [](const environment&, net::reactor&, session_plan, session_listener) { return std::unique_ptr<mail_session>(); };
    parts.on_end = [this](bool orderly) {
      EXPECT_FALSE(end) << "told twice";
      end = orderly;
      ended_at = now();
    };
    parts.fetchers = [this](const storage_gate_actor& g, const pacer_actor&) -> fetcher_maker {
      gate = g;
      return [this](const store::lease_guard& guard, const caf::weak_actor_ptr&, const std::shared_ptr<vitals>&) {
        auto made = system.spawn([this, guard](channel_fetcher_actor::pointer self) -> channel_fetcher_actor::behavior_type {
          return {
              [](const continuation& c) { c.run(); },
              [](session_atom, const std::shared_ptr<session_report>&) {},
              [](tick_atom, std::uint64_t) {},
              [](changed_atom) {},
              [](token_atom, const std::shared_ptr<token_request>&) {},
              [](claimed_atom, const store::lease_guard&) {},
              [](hand_atom, hand_step) {},
              [this, guard, self](stop_atom) {
                if (deaf.contains(guard.channel)) return;
                order.push_back("fetcher " + to_string(guard.channel) + " ended");
                self->quit();
              },
          };
        });
        env.roster->add("channel_fetcher " + to_string(guard.channel), caf::actor_cast<caf::weak_actor_ptr>(made));
        fetchers.push_back(made);
        return made;
      };
    };
    it = system.spawn(terminator, std::move(parts));
    settle();
  }
  void stop(duration grace = seconds(20)) {
    caf::anon_send(it, stop_atom::value, caf::timespan{grace});
    settle();
  }
  [[nodiscard]] std::size_t place(const std::string& what) const {
    return static_cast<std::size_t>(std::find(order.begin(), order.end(), what) - order.begin());
  }
  void commit_something() {
    auto r = std::make_shared<commit_request>();
    r->unit.guard = {tenant_id{1}, channel_id{1}, 1};
    r->until = deadline::after(now(), seconds(60));
    r->then = {me(), [this](const store::commit_outcome& o) { committed = o.status.has_value(); }};
    caf::anon_send(gate, commit_atom::value, commit_request_ptr(r));
  }

  std::map<channel_id, bool> channels;
  std::int64_t epochs = 0, lives = 0;
  std::set<channel_id> deaf;
  std::vector<std::string> order;
  std::vector<channel_fetcher_actor> fetchers;
  std::shared_ptr<std::atomic<bool>> serving = std::make_shared<std::atomic<bool>>(false);
  storage_gate_actor gate;
  terminator_actor it;
  std::optional<bool> end, committed;
  mono_time ended_at{};
};

TEST_F(whole_node, begins_and_serves) {
  start();
  EXPECT_TRUE(*serving);
  EXPECT_EQ(fetchers.size(), 3U);
}

TEST_F(whole_node, ends_in_order) {
  start();
  store.held = true;
  commit_something();
  settle();
  stop();
  EXPECT_FALSE(*serving);
  EXPECT_FALSE(end);
  store.held = false;
  settle();
  ASSERT_TRUE(end);
  EXPECT_TRUE(*end);
  EXPECT_TRUE(ended(it));
  EXPECT_EQ(committed, true) << "what was queued is stored";
  for (int c = 1; c <= 3; ++c) {
    const auto channel = to_string(channel_id{c});
    EXPECT_LT(place("fetcher " + channel + " ended"), place("release " + channel)) << "the lease goes when nobody writes any more";
    EXPECT_LT(place("release " + channel), place("leave"));
  }
  EXPECT_TRUE(env.roster->living().empty());
}

TEST_F(whole_node, kills_and_names_what_does_not_end_and_gives_the_leases_back_all_the_same) {
  deaf = {channel_id{2}};
  start();
  const auto began = now();
  stop(seconds(3));
  advance(seconds(2));
  EXPECT_FALSE(end);
  advance(seconds(3));
  ASSERT_TRUE(end);
  EXPECT_FALSE(*end);
  EXPECT_LE(ended_at - began, seconds(4));
  EXPECT_TRUE(report.said("did not end in time"));
  EXPECT_LT(place("release " + to_string(channel_id{2})), order.size());
  EXPECT_LT(place("leave"), order.size());
  for (const auto& f : fetchers) EXPECT_TRUE(ended(f));
}

TEST_F(whole_node, ends_in_bounded_time_although_the_database_is_silent) {
  start();
  store.held = true;
  commit_something();
  const auto began = now();
  stop(seconds(5));
  advance(seconds(10));
  ASSERT_TRUE(end);
  EXPECT_FALSE(*end);
  EXPECT_LE(ended_at - began, seconds(6));
}

TEST_F(whole_node, ends_at_once_without_a_grace) {
  deaf = {channel_id{1}, channel_id{2}, channel_id{3}};
  start();
  const auto began = now();
  stop(seconds(0));
  advance(seconds(2));
  ASSERT_TRUE(end);
  EXPECT_LE(ended_at - began, seconds(1));
}

TEST_F(whole_node, ends_before_it_has_joined) {
  store.up = false;
  start();
  stop(seconds(10));
  advance(seconds(5));
  ASSERT_TRUE(end);
  EXPECT_TRUE(*end);
}

TEST_F(whole_node, begins_all_anew_when_one_of_its_parts_breaks) {
  start();
  caf::anon_send_exit(gate, caf::exit_reason::kill);
  settle();
  EXPECT_FALSE(*serving);
  for (const auto& f : fetchers) EXPECT_TRUE(ended(f));
  for (auto& [channel, held] : channels) held = false;   // the new life of this node frees them
  advance(seconds(2));
  EXPECT_TRUE(*serving);
  EXPECT_EQ(lives, 2);
  EXPECT_EQ(fetchers.size(), 6U);
  EXPECT_TRUE(report.said("one broke"));
  stop();
  ASSERT_TRUE(end);
  EXPECT_TRUE(*end);
}

TEST_F(whole_node, a_stop_while_it_begins_anew_ends_it) {
  start();
  caf::anon_send_exit(gate, caf::exit_reason::kill);
  settle();
  stop();
  advance(seconds(5));
  ASSERT_TRUE(end);
  EXPECT_EQ(lives, 1);
}

TEST_F(whole_node, drains_and_goes_on_draining_after_a_break) {
  start();
  caf::anon_send(it, drain_atom::value);
  settle();
  EXPECT_FALSE(*serving);
  EXPECT_EQ(place("release " + to_string(channel_id{1})) < order.size(), true);
  caf::anon_send_exit(gate, caf::exit_reason::kill);
  advance(seconds(10));
  EXPECT_EQ(fetchers.size(), 3U) << "nothing is taken any more";
  EXPECT_FALSE(*serving);
}

TEST_F(whole_node, answers_a_connection_test_while_it_stops) {
  deaf = {channel_id{1}};
  start();
  stop(seconds(5));
  auto request = std::make_shared<probe_request>();
  std::string answer;
  request->on_done = [&](result<test_report> r) { answer = r ? "report" : std::string(to_string(r.error().code)); };
  caf::anon_send(it, test_atom::value, request);
  settle();
  EXPECT_EQ(answer, "cancelled");
}

}  // namespace
}  // namespace mailherd::actors
