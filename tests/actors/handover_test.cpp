// Whole nodes on virtual time, over one store and one mail server: channels go from node to node, and no mail is missed or stored twice.
#include "actors/terminator.hpp"
#include "tests/actors/fetching.hpp"

namespace mailherd::actors {
namespace {

constexpr int channels = 12;

class handover : public test::fetching {
 public:
  /// The rows of a cluster: who holds which channel until when.
  struct lease {
    std::optional<incarnation_id> owner;
  };
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
      leases[id];
    }
    mail.on_join = [this](const std::string& name, const auto&, seconds ttl) -> result<store::mail_store::incarnation> {
      for (const auto& [life, who] : lives)
        if (who.first == name) end_life(life);
      const incarnation_id id{++last_life};
      lives[id] = {name, now() + ttl};
      return store::mail_store::incarnation{id, name};
    };
    mail.on_renew = [this](const store::mail_store::incarnation& self, seconds ttl) -> result<void> {
      const auto at = lives.find(self.id);
      if (at == lives.end() || at->second.second <= now()) return fail(failure::fenced);
      at->second.second = now() + ttl;
      return {};
    };
    mail.on_claim = [this](const store::mail_store::incarnation& self, std::size_t limit) -> result<std::vector<store::lease_guard>> {
      std::vector<store::lease_guard> mine;
      for (auto& [channel, l] : leases) {
        const auto holder = l.owner ? lives.find(*l.owner) : lives.end();
        if (mine.size() >= limit || (holder != lives.end() && holder->second.second > now())) continue;
        l.owner = self.id;
        mine.push_back({test::the_tenant, channel, ++mail.channels.at(channel).epoch});
      }
      return mine;
    };
    mail.on_release = [this](const store::mail_store::incarnation& self, const std::vector<store::lease_guard>& all) -> result<void> {
      for (const auto& g : all)
        if (leases[g.channel].owner == self.id && mail.channels.at(g.channel).epoch == g.epoch) leases[g.channel].owner.reset();
      return {};
    };
    mail.on_leave = [this](const store::mail_store::incarnation& self) -> result<void> {
      end_life(self.id);
      return {};
    };
    mail.on_changes_since = [](const auto&, std::int64_t) -> result<std::vector<store::mail_store::change>> { return std::vector<store::mail_store::change>{}; };
  }
  ~handover() override {
    for (auto& n : nodes)
      if (n.root) caf::anon_send_exit(n.root, caf::exit_reason::kill);
    for (auto& n : nodes) n.env.roster->kill();
    settle();
    for (auto& n : nodes) n.root = nullptr;
    settle();
  }

  static std::string folder_of(channel_id c) { return "F" + std::to_string(c.value); }
  void end_life(incarnation_id life) {
    for (auto& [channel, l] : leases)
      if (l.owner == life) l.owner.reset();
    lives[life].second = {};
  }

  node& start_node(const std::string& name) {
    auto& n = nodes.emplace_back();
    n.env = env;
    n.env.options.node_name = name;
    n.env.roster = std::make_shared<roster>();
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
  [[nodiscard]] std::size_t held_by(const std::string& name) {
    std::size_t n = 0;
    for (const auto& [channel, l] : leases) n += l.owner && lives[*l.owner].first == name && lives[*l.owner].second > now() ? 1 : 0;
    return n;
  }

  std::map<channel_id, lease> leases;
  std::map<incarnation_id, std::pair<std::string, mono_time>> lives;
  std::int64_t last_life = 0;
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
  caf::anon_send(a.root, drain_atom::value);
  busy(seconds(10));
  EXPECT_EQ(held_by("b"), static_cast<std::size_t>(channels));
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
