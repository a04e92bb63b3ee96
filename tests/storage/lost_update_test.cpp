// No update is lost in the database: people who edit and switch, nodes that renew, and the sweep, on connections of their own at the same time. What the
// statements promise each other (row locks, revisions, generations) is all that keeps them apart; PostgreSQL decides the order.
//
// MAILHERD_SEEDS=<n>: so many rounds.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "storage/admin_credentials.hpp"
#include "tests/storage/admin_world.hpp"

namespace mailherd {
namespace {

using store::caller;

/// Refresh tokens r-<family>-<number>: each is good once, and one that comes again ends the grant.
class provider {
 public:
  secret<> consent() {
    std::lock_guard lock(mutex_);
    newest_[++families_] = 0;
    return secret<>(fmt::format("r-{}-0", families_));
  }
  std::optional<secret<>> use(const secret<>& token) {
    std::lock_guard lock(mutex_);
    const auto [family, number] = read(token);
    if (newest_.at(family) != number) {
      reused.push_back(token.reveal());
      return std::nullopt;
    }
    return secret<>(fmt::format("r-{}-{}", family, ++newest_[family]));
  }
  [[nodiscard]] bool is_newest(const secret<>& token) {
    const auto [family, number] = read(token);
    return newest_.at(family) == number;
  }
  std::vector<std::string> reused;

 private:
  static std::pair<int, int> read(const secret<>& token) {
    std::pair<int, int> out{0, 0};
    std::sscanf(token.reveal().c_str(), "r-%d-%d", &out.first, &out.second);
    return out;
  }
  std::mutex mutex_;
  int families_ = 0;
  std::map<int, int> newest_;
};

using change = std::function<void(channel_spec&)>;

class lost_updates : public test::admin_world {
 protected:
  /// A person or a node: a connection, and what it was told that it did.
  struct actor {
    actor(const lost_updates& w, std::uint64_t seed, int number_)
        : link(w.database.connect()), admin(*link, *w.keys), mail(*link, *w.keys, 0, 14), rng(seed), number(number_) {}
    std::unique_ptr<store::connection> link;
    store::pg_admin_store admin;
    store::pg_mail_store mail;
    std::mt19937_64 rng;
    int number, made = 0;
    std::map<std::int64_t, change> edits;            ///< by the revision they made
    std::map<std::int64_t, credential> credentials;  ///< by generation
    std::vector<std::string> wrong;

    unsigned up_to(unsigned n) { return static_cast<unsigned>(rng() % n); }
    std::string name() { return fmt::format("{}-{}", number, ++made); }
  };

  lost_updates() {
    t = tenant();
    the_app = app(t);
    c = channel(t).id;
    guard = lease_of(c);
    wanted = test::must(store.get_channel(anyone, t, c)).spec;
  }

  // ---- what people do -----------------------------------------------------------------------------------------------------------------------

  void edit(actor& a) {
    change what;
    switch (a.up_to(4)) {
      case 0:
        what = [n = a.name()](channel_spec& s) { s.name = n; };
        break;
      case 1:
        what = [n = a.name()](channel_spec& s) { s.incoming.host = n + ".test"; };
        break;
      case 2:
        what = [n = a.name()](channel_spec& s) { s.address = n + "@acme.test"; };
        break;
      default:
        what = [on = a.up_to(2) == 0](channel_spec& s) { s.after = on ? after_fetch::keep : after_fetch::seen; };
        break;
    }
    for (auto tries = a.up_to(2) == 0 ? 1 : 4; tries > 0; --tries) {
      const auto present = test::must(a.admin.get_channel(anyone, t, c));
      auto spec = present.spec;
      what(spec);
      const auto done = a.admin.update_channel(anyone, t, c, spec, present.revision, "person");
      if (done) {
        a.edits[done->revision] = what;
        return;
      }
      if (done.error().code != failure::conflict) a.wrong.push_back("edit: " + describe(done.error()));
    }
  }
  void put(actor& a) {
    auto next = a.up_to(2) == 0 ? basic("u" + a.name(), "p" + a.name()) : oauth2(the_app);
    if (next.type == auth_type::oauth2) next.refresh_token = grants.consent();
    const auto made = a.admin.put_credential(anyone, t, c, next, "person");
    if (!made) return a.wrong.push_back("put: " + describe(made.error()));
    a.credentials[*made] = next;
  }
  void go_back(actor& a) {
    const auto made = a.admin.roll_back(anyone, t, c, "person");
    if (!made && made.error().code != failure::conflict) a.wrong.push_back("roll-back: " + describe(made.error()));
  }

  // ---- what nodes do ------------------------------------------------------------------------------------------------------------------------

  void refresh(actor& a) {
    const auto mine = a.mail.hold_grant(guard, a.number, seconds(60));
    if (!mine) return a.wrong.push_back("hold: " + describe(mine.error()));
    if (!*mine) return;
    const auto loaded = a.mail.load_channel(t, c);
    if (!loaded) return a.wrong.push_back("load: " + describe(loaded.error()));
    const bool newest = loaded->record.observed_generation == 0 || a.up_to(2) == 0;
    const auto& who = newest ? loaded->credential : loaded->serving;
    if (who.type == auth_type::oauth2) {
      if (const auto fresh = grants.use(who.refresh_token)) {
        const auto written = a.mail.rotate_refresh_token(guard, newest ? loaded->record.generation : loaded->record.observed_generation,
                                                         who.refresh_token, *fresh, "");
        if (!written) a.wrong.push_back("rotate: " + describe(written.error()));
      }
    }
    static_cast<void>(a.mail.release_grant(guard, a.number));
  }
  void serve(actor& a) {
    const auto loaded = a.mail.load_channel(t, c);
    if (!loaded) return a.wrong.push_back("load: " + describe(loaded.error()));
    store::mail_store::state_change s;
    s.state = channel_state::active;
    s.observed_generation = loaded->record.generation;
    s.switching = switch_state::done;
    s.switching_to = loaded->record.generation;
    const bool owner = a.number == 3;   // the other one was, and does not know that it is no longer
    const auto done = a.mail.set_state({t, c, owner ? guard.epoch : guard.epoch - 1}, s);
    if (owner ? !done : done || done.error().code != failure::fenced)
      a.wrong.push_back("serve: " + (done ? "although fenced" : describe(done.error())));
  }
  void sweep(actor& a) {
    if (const auto done = a.mail.sweep(); !done) a.wrong.push_back("sweep: " + describe(done.error()));
  }

  void act(actor& a) {
    for (int i = 0; i < 4; ++i) {
      if (a.number == 1 || (a.number == 2 && a.up_to(3) == 0)) {
        const auto what = a.up_to(5);
        what < 3 ? edit(a) : what == 3 ? put(a) : go_back(a);
      } else {
        const auto what = a.up_to(8);
        what < 5 ? refresh(a) : what < 7 ? serve(a) : sweep(a);
      }
    }
  }

  // ---- and what became of it ----------------------------------------------------------------------------------------------------------------

  void check(const std::vector<std::unique_ptr<actor>>& all) {
    std::map<std::int64_t, change> edits;
    for (const auto& a : all) {
      for (const auto& w : a->wrong) ADD_FAILURE() << w;
      for (auto& [revision, what] : a->edits) EXPECT_TRUE(edits.emplace(revision, what).second) << "two edits made revision " << revision;
      for (auto& [generation, who] : a->credentials) EXPECT_TRUE(put_.emplace(generation, who).second) << "twice generation " << generation;
    }
    for (auto& [revision, what] : edits) what(wanted);
    revision += static_cast<std::int64_t>(edits.size());
    const auto now = test::must(mail.load_channel(t, c)).record;
    EXPECT_EQ(now.revision, revision);
    EXPECT_EQ(now.spec.name, wanted.name);
    EXPECT_EQ(now.spec.address, wanted.address);
    EXPECT_EQ(now.spec.incoming.host, wanted.incoming.host);
    EXPECT_EQ(now.spec.after, wanted.after);
    if (now.switching == switch_state::done) {
      EXPECT_EQ(now.observed_generation, now.generation) << "a switch is done that is not";
    }
    EXPECT_TRUE(grants.reused.empty()) << grants.reused.front() << " was used twice: its grant is over";
    check_credentials(now.generation);
  }
  void check_credentials(std::int64_t newest) {
    for (auto g = std::int64_t{1}; g <= newest; ++g) {
      const auto kept = store::load_credential(*link, *keys, t, c, g);
      if (!kept) continue;
      if (const auto put = put_.find(g); put != put_.end()) {
        EXPECT_EQ(kept->type, put->second.type);
        EXPECT_EQ(kept->username, put->second.username);
        EXPECT_EQ(kept->password.reveal(), put->second.password.reveal());
      }
      if (!kept->refresh_token.empty()) {
        EXPECT_TRUE(grants.is_newest(kept->refresh_token)) << "generation " << g << " has an older refresh token: " << kept->refresh_token.reveal();
      }
    }
  }

  tenant_id t;
  app_id the_app;
  channel_id c;
  store::lease_guard guard;
  provider grants;
  channel_spec wanted;
  std::int64_t revision = 1;
  std::map<std::int64_t, credential> put_;
};

TEST_F(lost_updates, are_impossible_while_people_and_nodes_write_at_once) {
  const char* many = std::getenv("MAILHERD_SEEDS");
  const std::uint64_t rounds = many != nullptr ? std::strtoull(many, nullptr, 10) : 150;
  std::vector<std::unique_ptr<actor>> actors;
  for (const int number : {1, 2, 3}) actors.push_back(std::make_unique<actor>(*this, static_cast<std::uint64_t>(number) * 7919, number));
  for (std::uint64_t round = 1; round <= rounds && !HasFailure(); ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    std::vector<std::thread> threads;
    for (auto& a : actors) threads.emplace_back([this, &a] { act(*a); });
    for (auto& one : threads) one.join();
    check(actors);
    for (auto& a : actors) a->edits.clear(), a->credentials.clear();
  }
}

}  // namespace
}  // namespace mailherd
