// Random schedules: everything that can go wrong does, in any order; then all heals, and the mail is there: all of it, once, byte for byte.
//
// Every seed is a schedule of its own and repeats exactly. MAILHERD_SEED=n runs that one alone, MAILHERD_SEEDS=n so many.
#include <cstdlib>
#include <random>

#include "tests/actors/fetching.hpp"

namespace mailherd::actors {
namespace {

/// How likely each event is, out of a thousand steps.
struct likelihoods {
  unsigned mail = 420, burst = 12, expunge = 40, renumber = 6;
  unsigned break_connections = 60, refuse = 15;
  unsigned database_away = 15, slow_store = 60, lost_answer = 40;
  unsigned kill = 25, moved = 20, stop = 10, all_anew = 5;
  unsigned edit = 20, credential = 10;
  unsigned store_call_fails = 3;      ///< per thousand calls
  unsigned large_unit_refused = 200;  ///< per thousand groups with a unit of many messages: the database judges, and says no
};

class schedule : public test::fetching {
 public:
  explicit schedule(std::uint64_t seed, protocol_kind protocol) : rng_(seed), pop3_(protocol == protocol_kind::pop3) {
    random = seed;
    spec().start.from = start_point::kind::all;
    if (pop3_) {
      spec().incoming.protocol = protocol_kind::pop3;
      spec().incoming.port = 995;
    }
    if (up_to(3) == 0) use_oauth2(seconds(600));
    if (up_to(4) == 0) imap.sessions_at_most = 1;
    if (up_to(4) == 0) imap.tells_uid_next = false;
    if (up_to(4) == 0) imap.idle_silent = true;
    misstated_ = up_to(3) == 0;
    const auto after = up_to(4);
    spec().after = after == 0 ? after_fetch::remove : after == 1 ? after_fetch::seen : after_fetch::keep;
    net.latency = [this] { return up_to(2) == 0 ? duration::zero() : duration(milliseconds(up_to(80))); };
    net.piece = [this] { return up_to(3) == 0 ? std::size_t{0} : 1 + up_to(9000); };
    store.pick = [this](std::size_t n) { return static_cast<std::size_t>(up_to(static_cast<unsigned>(n))); };
    mail.fault = [this](std::string_view) -> std::optional<failure> {
      return rng_() % 1000 < odds_.store_call_fails ? std::optional(failure::store_unavailable) : std::nullopt;
    };
    mail.refuse = [this](const std::vector<store::commit_unit>& units) {
      const bool large = std::any_of(units.begin(), units.end(), [](const auto& u) { return u.messages.size() >= 50; });
      return large && rng_() % 1000 < odds_.large_unit_refused;
    };
  }
  void TestBody() override {}

  void run(int steps_at_most) {
    more_mail(up_to(150));
    start();
    for (int step = 0; step < steps_at_most; ++step) {
      something();
      advance(milliseconds(up_to(4) == 0 ? up_to(20'000) : up_to(800)));
    }
    heal();
    check();
  }

 private:
  unsigned up_to(unsigned n) { return n == 0 ? 0 : static_cast<unsigned>(rng_() % n); }

  void something() {
    auto roll = static_cast<unsigned>(rng_() % 1000);
    const auto is = [&](unsigned likely) {
      if (roll < likely) return true;
      roll -= likely;
      return false;
    };
    if (is(odds_.mail)) return more_mail(1 + up_to(12));
    if (is(odds_.burst)) return burst();
    if (is(odds_.expunge)) return expunge_one();
    if (is(odds_.renumber)) return renumber();
    if (is(odds_.break_connections)) return net.break_all();
    if (is(odds_.refuse)) return refuse_for(seconds(up_to(60)));
    if (is(odds_.database_away)) return set_for(store.up, false, seconds(up_to(90)));
    if (is(odds_.slow_store)) return set_for(store.held, true, milliseconds(up_to(4000)));
    if (is(odds_.lost_answer)) {
      mail.lose_answer = [this] {
        mail.lose_answer = {};
        return true;
      };
      return;
    }
    if (is(odds_.kill)) return kill(), static_cast<void>(start());
    if (is(odds_.moved)) return moved();
    if (is(odds_.stop)) return caf::anon_send(fetchers.back(), stop_atom::value), advance(limits::fetcher_stop_grace), kill(), static_cast<void>(start());
    if (is(odds_.all_anew)) return all_anew();
    if (is(odds_.edit)) return record().revision += 1, changed();
    if (is(odds_.credential)) return put_credential(row().load.credential);
  }

  void more_mail(unsigned n) {
    for (unsigned i = 0; i < n; ++i) {
      const auto raw = mail_of("m", ++mails_, up_to(300) == 0 ? 1'200'000 + up_to(700'000) : up_to(20) == 0 ? up_to(60'000) : up_to(1'000));
      added_.push_back(raw);
      if (pop3_) {
        pop3.add(raw);
        continue;
      }
      const auto uid = imap.add(raw, wall());
      if (misstated_) imap.inbox().find(uid)->claimed_size = raw.size() + up_to(500);
    }
  }
  /// So much at once that several units of it are on their way to the store together.
  void burst() {
    store.held = true;
    more_mail(300 + up_to(400));
    advance(seconds(2));
    store.held = false;
  }
  void expunge_one() {
    if (pop3_) {
      auto& drop = pop3.drop;
      if (drop.empty()) return;
      const auto at = drop.begin() + up_to(static_cast<unsigned>(drop.size()));
      expunged_.insert(at->raw);
      drop.erase(at);
      return;
    }
    const auto& all = imap.inbox().messages;
    if (all.empty()) return;
    const auto& m = all[up_to(static_cast<unsigned>(all.size()))];
    expunged_.insert(m.raw);
    imap.expunge(m.uid);
  }
  void renumber() {
    if (pop3_) return;
    imap.renumber(imap.inbox().uid_validity + 1);
    net.break_all();
  }
  void refuse_for(duration how_long) {
    net.refuse = [](const net::target&) { return std::optional(error{failure::connect_refused, "by order of the test", {}}); };
    net.break_all();
    advance(how_long);
    net.refuse = {};
  }
  void set_for(bool& what, bool value, duration how_long) {
    what = value;
    advance(how_long);
    if (up_to(2) == 0) more_mail(up_to(4));
    advance(how_long / 4);
    what = !value;
  }
  /// Another node serves; the older fetcher froze and wakes again.
  void moved() {
    ++row().epoch;
    start();
  }
  void all_anew() {
    for (auto& f : fetchers) caf::anon_send_exit(f, caf::exit_reason::kill);
    caf::anon_send_exit(gate, caf::exit_reason::kill);
    caf::anon_send_exit(pacer, caf::exit_reason::kill);
    settle();
    gate = owned(spawn_storage_gate(system, env));
    pacer = owned(spawn_pacer(system, env));
    start();
  }

  void heal() {
    stop_hooks();
    store.up = true;
    store.held = false;
    net.refuse = {};
    if (ended(fetchers.back())) start();   // as its supervisor would
    advance(std::chrono::minutes(1));
    more_mail(1);   // whoever lost the lease without noticing tries to write it
    advance(std::chrono::minutes(pop3_ ? 12 : 40));
  }

  void check() {
    std::map<std::string, unsigned> copies;
    for (const auto& m : row().messages) ++copies[m.raw];
    for (const auto& raw : added_) {
      EXPECT_LE(copies[raw], 1U) << "stored twice: " << raw.substr(40, 60);
      if (expunged_.contains(raw)) continue;
      EXPECT_EQ(copies[raw], 1U) << "missed: " << raw.substr(40, 60);
    }
    if (spec().after == after_fetch::remove) {
      EXPECT_LE(pop3_ ? pop3.drop.size() : imap.inbox().messages.size(), 1U) << "what is stored is deleted in the end";
    }
    const std::set<std::string> known(added_.begin(), added_.end());
    for (const auto& [raw, n] : copies) EXPECT_TRUE(known.contains(raw)) << "not as it was sent, or without its body: " << raw.substr(0, 120);
    expect_gapless();
    EXPECT_EQ(env.budget->in_use(), 0U);
    EXPECT_EQ(row().state(), channel_state::active);
    unsigned living = 0;
    for (const auto& f : fetchers) living += ended(f) ? 0 : 1;
    EXPECT_EQ(living, 1U) << "whoever lost the lease has ended";
  }

  std::mt19937_64 rng_;
  likelihoods odds_;
  bool pop3_, misstated_ = false;
  int mails_ = 0;
  std::vector<std::string> added_;
  std::set<std::string> expunged_;   ///< by a person
};

void run_seeds(protocol_kind protocol, std::uint64_t base, std::uint64_t usually) {
  const char* one = std::getenv("MAILHERD_SEED");
  const char* many = std::getenv("MAILHERD_SEEDS");
  const std::uint64_t n = many ? std::strtoull(many, nullptr, 10) : usually;
  for (std::uint64_t i = 1; i <= n; ++i) {
    const auto seed = one ? std::strtoull(one, nullptr, 10) : base + i;
    SCOPED_TRACE("MAILHERD_SEED=" + std::to_string(seed));
    schedule s(seed, protocol);
    s.run(120);
    if (::testing::Test::HasFailure()) {
      const auto story = s.story();
      if (one) std::fputs(story.c_str(), stderr);
      return;
    }
    if (one) return;
  }
}

TEST(schedules, over_imap_lose_nothing_and_store_nothing_twice) { run_seeds(protocol_kind::imap, 1'000, 24); }
TEST(schedules, over_pop3_lose_nothing_and_store_nothing_twice) { run_seeds(protocol_kind::pop3, 500'000, 12); }

}  // namespace
}  // namespace mailherd::actors
