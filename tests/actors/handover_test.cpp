// Whole nodes on virtual time, over one store and one mail server: channels go from node to node, and no mail is missed or stored twice.
#include "actors/terminator.hpp"
#include "tests/actors/fetching.hpp"
#include "tests/actors/memory_cluster.hpp"

namespace mailherd::actors {
namespace {

constexpr int channels = 12;

class handover : public test::fetching {
 public:
  struct node {
    environment env;
    terminator_actor root;
    std::shared_ptr<std::atomic<bool>> serving = std::make_shared<std::atomic<bool>>(false);
    std::optional<bool> end;
  };

  handover() {
    for (int c = 1; c <= channels; ++c) {
      const channel_id id{c};
      auto& load = mail.add(test::the_tenant, id).load;
      load = row().load;
      load.record.id = id;
      load.record.spec.start.from = start_point::kind::all;
      load.record.spec.incoming.folder = folder_of(id);
      mail.channels.at(id).epoch = 0;
      imap.folders[folder_of(id)] = {};
      rows.add(test::the_tenant, id);
    }
    rows.on_notify = [this] {
      for (auto& n : nodes)
        if (n.root) caf::anon_send(n.root, changed_atom::value);
    };
  }
  ~handover() override {
    for (auto& n : nodes)
      if (n.root) caf::anon_send_exit(n.root, caf::exit_reason::kill);
    for (auto& n : nodes) n.env.roster->kill();
    settle();
    for (auto& n : nodes) n.root = nullptr;
    settle();
    steps.resize(steps_of_base);   // watch_gaps() looks at members that are gone when the base settles
  }

  static std::string folder_of(channel_id c) { return "F" + std::to_string(c.value); }

  node& start_node(const std::string& name) {
    auto& n = nodes.emplace_back();
    n.env = env;
    n.env.options.node_name = name;
    n.env.options.rebalance_after = rebalance_after;
    n.env.roster = std::make_shared<roster>();
    n.env.nodes = std::make_shared<std::atomic<unsigned>>(1);
    n.env.budget = std::make_shared<fetch_budget>(limits::fetch_budget_bytes);
    terminator_parts parts;
    parts.env = &n.env;
    parts.serving = n.serving;
    parts.open = open_session;
    parts.on_end = [&n](bool orderly) { n.end = orderly; };
    parts.fetchers = [this, &n](const storage_gate_actor& g, const pacer_actor& p) -> fetcher_maker {
      return [this, &n, g, p](const store::lease_guard& guard, const caf::weak_actor_ptr& s, const std::shared_ptr<actors::vitals>& v) {
        auto made = spawn_channel_fetcher(system, fetcher_parts{&n.env, &reactor, guard, g, p, s, v});
        n.env.roster->add("channel_fetcher " + to_string(guard.channel), caf::actor_cast<caf::weak_actor_ptr>(made));
        return made;
      };
    };
    n.root = system.spawn(terminator, std::move(parts));
    settle();
    return n;
  }
  /// Like SIGKILL: nothing is finished, nothing given back.
  void crash(node& n) {
    n.env.roster->kill();
    caf::anon_send_exit(n.root, caf::exit_reason::kill);
    settle();
    net.break_all();
    settle();
  }
  void deliver(int each) {
    for (int c = 1; c <= channels; ++c)
      for (int i = 0; i < each; ++i) imap.add(mail_of("f" + std::to_string(c), ++mails), wall(), folder_of(channel_id{c}));
  }
  /// Mail keeps coming while time passes.
  void busy(seconds how_long) {
    for (auto t = seconds(0); t < how_long; ++t) {
      deliver(1);
      advance(seconds(1));
    }
  }
  void expect_everything_once() {
    for (int c = 1; c <= channels; ++c) {
      const channel_id id{c};
      const auto& r = mail.channels.at(id);
      EXPECT_EQ(r.messages.size(), imap.folders[folder_of(id)].messages.size()) << folder_of(id);
      for (const auto& m : imap.folders[folder_of(id)].messages) EXPECT_EQ(r.copies_of(m.raw), 1U) << m.raw.substr(40, 40);
      std::int64_t n = 0;
      for (const auto& m : r.messages) EXPECT_EQ(m.sequence, ++n);
    }
  }
  [[nodiscard]] std::size_t held_by(const std::string& name) const { return rows.held_by(name); }

  /// From now on: the fewest mailboxes that were open at any moment.
  void watch_gaps() {
    fewest = imap.selected();
    steps.push_back([this] {
      fewest = std::min(fewest, imap.selected());
      return false;
    });
  }
  /// Two nodes, everything on the first.
  std::pair<node*, node*> one_serves_and_one_waits() {
    deliver(5);
    auto& a = start_node("a");
    advance(seconds(3));
    auto& b = start_node("b");
    busy(seconds(3));
    EXPECT_EQ(held_by("a"), all);
    watch_gaps();
    return {&a, &b};
  }

  static constexpr std::size_t all = channels;
  seconds rebalance_after{24 * 3600};   ///< not here, unless a test wants it
  std::size_t fewest = 0;
  std::size_t steps_of_base = steps.size();
  test::memory_cluster rows{mail, [this] { return now(); }};
  std::deque<node> nodes;
  int mails = 0;
};

TEST_F(handover, a_node_that_drains_hands_everything_over) {
  deliver(20);
  auto& a = start_node("a");
  advance(seconds(3));
  EXPECT_EQ(held_by("a"), static_cast<std::size_t>(channels) + 0U);
  start_node("b");
  busy(seconds(5));
  watch_gaps();
  caf::anon_send(a.root, drain_atom::value);
  busy(seconds(10));
  EXPECT_EQ(held_by("b"), static_cast<std::size_t>(channels));
  EXPECT_EQ(fewest, all) << "the successor was there before the former session went";
  EXPECT_EQ(report.count["drain ok"], channels);
  EXPECT_EQ(report.count["longest gap"], 0);
  EXPECT_FALSE(*a.serving);
  EXPECT_EQ(imap.selected(), static_cast<std::size_t>(channels)) << "each mailbox is served once";
  expect_everything_once();
}

TEST_F(handover, a_node_that_stops_gives_its_leases_back_at_once) {
  auto& a = start_node("a");
  start_node("b");
  busy(seconds(3));
  caf::anon_send(a.root, stop_atom::value, caf::timespan{seconds(20)});
  busy(seconds(6));
  EXPECT_EQ(a.end, true);
  EXPECT_EQ(held_by("b"), static_cast<std::size_t>(channels)) << "no lease had to run out";
  expect_everything_once();
}

TEST_F(handover, a_node_that_stops_hands_over_before_it_logs_out) {
  const auto [a, b] = one_serves_and_one_waits();
  caf::anon_send(a->root, stop_atom::value, caf::timespan{seconds(20)});
  busy(seconds(6));
  EXPECT_EQ(a->end, true);
  EXPECT_EQ(held_by("b"), all);
  EXPECT_EQ(fewest, all);
  EXPECT_EQ(rows.passed, all);
  expect_everything_once();
}

TEST_F(handover, a_node_is_drained_through_its_row) {
  const auto [a, b] = one_serves_and_one_waits();
  rows.drain("a");
  busy(seconds(6));
  EXPECT_EQ(held_by("b"), all);
  EXPECT_EQ(fewest, all);
  EXPECT_FALSE(*a->serving);
  expect_everything_once();
}

TEST_F(handover, a_lost_notification_costs_time_and_nothing_else) {
  one_serves_and_one_waits();
  rows.on_notify = {};
  rows.drain("a");
  busy(seconds(40));
  EXPECT_EQ(held_by("b"), all);
  EXPECT_EQ(fewest, all);
  expect_everything_once();
}

TEST_F(handover, a_channel_is_moved_there_and_back) {
  one_serves_and_one_waits();
  const channel_id c{5};
  for (const char* to : {"b", "a", "b"}) {
    ASSERT_TRUE(rows.move(c, to));
    busy(seconds(3));
    EXPECT_EQ(rows.owner_of(c), to);
  }
  EXPECT_EQ(held_by("a"), all - 1);
  EXPECT_EQ(fewest, all);
  EXPECT_EQ(report.count["move ok"], 3);
  expect_everything_once();
}

TEST_F(handover, a_wish_that_changes_is_followed) {
  one_serves_and_one_waits();
  start_node("c");
  advance(seconds(1));
  const channel_id c{5};
  net.latency = [] { return milliseconds(300); };
  for (int i = 0; i < 6; ++i) {
    rows.move(c, i % 2 == 0 ? "b" : "c");
    deliver(1);
    advance(milliseconds(700 * i));
  }
  net.latency = [] { return duration::zero(); };
  busy(seconds(8));
  EXPECT_EQ(rows.owner_of(c), "c");
  EXPECT_EQ(imap.selected(), all);
  expect_everything_once();
}

TEST_F(handover, a_server_that_takes_one_session_is_left_before_it_is_entered) {
  one_serves_and_one_waits();
  imap.sessions_at_most = channels;
  rows.drain("a");
  busy(seconds(12));
  EXPECT_EQ(held_by("b"), all);
  EXPECT_EQ(imap.selected(), all);
  EXPECT_GT(report.count["gaps"], 0);
  EXPECT_LT(report.count["longest gap"], 2) << "and measured";
  expect_everything_once();
}

TEST_F(handover, a_target_that_cannot_sign_in_leaves_the_owner_serving) {
  one_serves_and_one_waits();
  imap.passwords["joe"] = "changed meanwhile";
  rows.move(channel_id{3}, "b");
  busy(seconds(10));
  EXPECT_EQ(held_by("a"), all);
  EXPECT_EQ(fewest, all);
  EXPECT_EQ(report.count["move failed"], 1);
  expect_everything_once();
}

TEST_F(handover, a_target_that_dies_leaves_the_owner_serving) {
  const auto [a, b] = one_serves_and_one_waits();
  net.latency = [] { return milliseconds(200); };
  rows.drain("a");
  advance(milliseconds(900));   // its standbys are signing in
  b->env.roster->kill();
  caf::anon_send_exit(b->root, caf::exit_reason::kill);
  settle();
  net.latency = [] { return duration::zero(); };
  busy(limits::lease_ttl + seconds(4));
  EXPECT_EQ(held_by("a") + held_by("b"), held_by("a"));
  start_node("b");
  busy(limits::lease_ttl + limits::lease_ttl);
  EXPECT_EQ(held_by("b"), all);
  expect_everything_once();
}

TEST_F(handover, a_source_that_dies_is_succeeded_when_its_lease_is_over) {
  const auto [a, b] = one_serves_and_one_waits();
  net.latency = [] { return milliseconds(200); };
  rows.drain("a");
  advance(milliseconds(1'100));
  crash(*a);
  net.latency = [] { return duration::zero(); };
  busy(limits::lease_ttl + seconds(8));
  EXPECT_EQ(held_by("b"), all);
  EXPECT_EQ(imap.selected(), all);
  expect_everything_once();
}

TEST_F(handover, a_switch_and_a_move_at_once_end_in_one_state) {
  one_serves_and_one_waits();
  net.latency = [] { return milliseconds(50); };
  const channel_id c{4};
  imap.passwords["joe2"] = "new";
  for (int i = 0; i < 8; ++i) {
    auto& load = mail.channels.at(c).load;
    load.serving = load.record.observed_generation == load.record.generation ? load.credential : load.serving;
    load.credential.username = i % 2 == 0 ? "joe2" : "joe";
    load.credential.password = secret<>(i % 2 == 0 ? "new" : "secret");
    load.record.generation += 1;
    load.record.switching = switch_state::running;
    rows.move(c, i % 2 == 0 ? "b" : "a");
    deliver(1);
    advance(milliseconds(130 * i));
  }
  net.latency = [] { return duration::zero(); };
  busy(seconds(90));
  const auto& r = mail.channels.at(c).load.record;
  EXPECT_EQ(rows.owner_of(c), "a");
  EXPECT_EQ(r.observed_generation, r.generation);
  EXPECT_EQ(r.switching, switch_state::done);
  EXPECT_EQ(imap.selected(), all);
  EXPECT_EQ(fewest, all);
  expect_everything_once();
}

TEST_F(handover, nodes_that_stay_share_the_channels) {
  rebalance_after = limits::rebalance_settle;
  start_node("a");
  advance(seconds(3));
  start_node("b");
  start_node("c");
  advance(seconds(30));
  EXPECT_EQ(held_by("a"), all) << "not at once: a node may only have restarted";
  watch_gaps();
  busy(limits::rebalance_settle + seconds(20));
  for (const char* n : {"a", "b", "c"}) EXPECT_NEAR(static_cast<double>(held_by(n)), channels / 3.0, 1.0) << n;
  EXPECT_EQ(fewest, all);
  const auto passed = rows.passed;
  busy(limits::rebalance_settle + seconds(20));
  EXPECT_EQ(rows.passed, passed) << "what is near enough stays";
  expect_everything_once();
}

TEST_F(handover, what_a_crashed_node_held_is_taken_when_its_lease_is_over) {
  auto& a = start_node("a");
  start_node("b");
  busy(seconds(3));
  crash(a);
  busy(limits::lease_ttl + seconds(8));
  EXPECT_EQ(held_by("b"), static_cast<std::size_t>(channels));
  expect_everything_once();
}

TEST_F(handover, a_node_of_the_same_name_need_not_wait_for_its_former_life) {
  auto& a = start_node("a");
  busy(seconds(3));
  crash(a);
  start_node("a");
  busy(seconds(3));
  EXPECT_EQ(held_by("a"), static_cast<std::size_t>(channels));
  expect_everything_once();
}

TEST_F(handover, a_node_cut_off_from_the_database_stops_and_comes_back) {
  auto& a = start_node("a");
  busy(seconds(3));
  store.up = false;
  advance(limits::lease_ttl);
  EXPECT_FALSE(*a.serving);
  EXPECT_EQ(imap.selected(), 0U) << "nobody serves on hope";
  store.up = true;
  busy(seconds(15));
  EXPECT_TRUE(*a.serving);
  expect_everything_once();
}

TEST_F(handover, many_ends_in_a_row_lose_nothing) {
  deliver(30);
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE(round);
    auto& n = start_node(round % 2 == 0 ? "a" : "b");
    busy(seconds(2 + round % 3));
    if (round % 3 == 0) {
      crash(n);
    } else if (round % 3 == 1) {
      caf::anon_send(n.root, stop_atom::value, caf::timespan{seconds(5)});
    } else {
      caf::anon_send(n.root, drain_atom::value);
    }
    busy(seconds(round % 4));
  }
  start_node("c");
  busy(limits::lease_ttl + seconds(10));
  expect_everything_once();
}

}  // namespace
}  // namespace mailherd::actors
