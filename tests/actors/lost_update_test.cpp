// No update is lost: edits of a channel, refreshes of its token and successions of its sessions in any order, a store transaction, an HTTP exchange or
// a moment of the network at a time, while owners die, freeze and are replaced.
//
// Each seed is one interleaving and repeats exactly. MAILHERD_SEED=n runs that one alone and tells its story, MAILHERD_SEEDS=n so many.
#include <cstdio>
#include <cstdlib>
#include <random>

#include "tests/actors/fetching.hpp"
#include "tests/actors/memory_edits.hpp"

namespace mailherd::actors {
namespace {

using namespace std::chrono_literals;
namespace edits = test::edits;

/// A consent at the provider: its refresh tokens r-<family>-<number> rotate with each use, and one that comes again ends it.
struct family {
  int newest = 0;
  bool used = false;  ///< somebody used `newest` (or the one before it, when lenient)
  bool revoked = false;
};

enum class kind { good, bad, unconsented };

class interleaving : public test::fetching {
 public:
  explicit interleaving(std::uint64_t seed) : rng_(seed) {
    random = seed;
    lenient_ = one_in(3);
    net.listen("mail.test:993", imap.maker("mail.test"));
    net.listen("other.test:993", imap.maker("other.test"));
    imap.folders["Team"].uid_validity = 2000;
    net.latency = [this] { return one_in(2) ? duration::zero() : duration(milliseconds(up_to(60))); };
    if (one_in(5)) imap.sessions_at_most = 1;
    spec().start.from = start_point::kind::all;
    row().load.app = app();
    row().load.credential = one_in(2) ? good_password() : granted();
    row().load.record.auth = row().load.credential.type;
    edits::keep_generations(row());
    kinds_[1] = kind::good;
    store.pick = [this](std::size_t n) { return static_cast<std::size_t>(up_to(static_cast<unsigned>(n))); };
    mail.lose_answer = [this] { return troubled_ && one_in(12); };
    mail.fault = [this](std::string_view) { return troubled_ && one_in(60) ? std::optional(failure::store_unavailable) : std::nullopt; };
  }
  ~interleaving() override {
    http.calls.clear();
    air_.clear();
    provide_at_once();
  }
  void TestBody() override {}

  void run() {
    wanted_ = spec();
    more_mail();
    provide_at_once();
    start();
    advance(5s);
    for (int round = 0; round < 5; ++round) {
      by_hand();
      if (one_in(3)) until_a_renewal();
      for (auto n = 1 + up_to(4); n > 0; --n) {
        something();
        for (auto steps = up_to(9); steps > 0; --steps) small_step();
      }
      if (one_in(2)) calm();
    }
    heal();
    check();
  }

  [[nodiscard]] std::string told() const {
    std::string all = lenient_ ? "a lenient provider\n" : "a strict provider\n";
    for (const auto& l : done_) all += "  " + l + "\n";
    return all + story();
  }

 private:
  unsigned up_to(unsigned n) { return n == 0 ? 0 : static_cast<unsigned>(rng_() % n); }
  bool one_in(unsigned n) { return up_to(n) == 0; }
  void note(std::string what) { done_.push_back(std::move(what)); }

  // ---- credentials, and the provider --------------------------------------------------------------------------------------------------------

  credential good_password() {
    credential c;
    c.username = fmt::format("u{}", ++names_);
    c.password = secret<>(fmt::format("p{}", names_));
    imap.passwords[c.username] = c.password.reveal();
    return c;
  }
  credential granted() {
    auto c = oauth2_credential();
    c.refresh_token = consent();
    return c;
  }
  secret<> consent() {
    families_[++names_] = {};
    return secret<>(fmt::format("r-{}-0", names_));
  }
  static std::pair<int, int> read(const std::string& text, const char* form) {
    std::pair<int, int> out{0, 0};
    return std::sscanf(text.c_str(), form, &out.first, &out.second) == 2 ? out : std::pair{0, 0};
  }

  net::http_reply provide(const std::string& form) {
    const auto at = form.find("refresh_token=r-");
    const auto [name, number] = at == std::string::npos ? std::pair{0, 0} : read(form.substr(at), "refresh_token=r-%d-%d");
    const auto found = families_.find(name);
    if (found == families_.end()) return {400, {}, R"({"error":"invalid_grant"})"};
    auto& f = found->second;
    const bool lost_answer = lenient_ && number + 1 == f.newest && !f.used;
    if (number != f.newest && !lost_answer) f.revoked = true;
    if (f.revoked) return {400, {}, R"({"error":"invalid_grant"})"};
    f.used = !lost_answer && number == f.newest ? false : f.used;
    if (!lost_answer) ++f.newest;
    note(fmt::format("provider: r-{}-{} becomes {}", name, number, f.newest));
    const auto token = fmt::format("a-{}-{}", name, f.newest);
    imap.tokens.insert(token);
    return {200,
            {},
            fmt::format(R"({{"access_token":"{}","token_type":"Bearer","expires_in":{},"refresh_token":"r-{}-{}"}})", token, 700 + up_to(600), name,
                        f.newest)};
  }
  /// A rotated token that is not in every row yet: with a provider that forgives nothing, nobody may die now.
  [[nodiscard]] bool in_the_air() {
    if (!air_.empty()) return true;
    return std::any_of(row().generations.begin(), row().generations.end(), [this](const auto& g) {
      const auto [name, number] = read(g.second.refresh_token.reveal(), "r-%d-%d");
      return name != 0 && families_.contains(name) && families_.at(name).newest != number;
    });
  }

  // ---- one thing at a time ------------------------------------------------------------------------------------------------------------------

  void by_hand() {
    store.held = true;
    http.answer = {};
    troubled_ = true;
  }
  void provide_at_once() {
    troubled_ = false;
    store.held = false;
    http.answer = [this](const net::http_request& r) -> std::optional<result<net::http_reply>> { return provide(r.body.reveal()); };
    while (deliver() || process()) settle();
    settle();
  }
  /// A request reaches the provider.
  bool process() {
    if (http.calls.empty()) return false;
    auto call = std::move(http.calls.front());
    http.calls.erase(http.calls.begin());
    if (call.until.expired(now()) || (troubled_ && one_in(15))) {
      call.on_done(fail(failure::timed_out, "by order of the test"));
    } else {
      auto reply = provide(call.request.body.reveal());
      air_.emplace_back(std::move(call), std::move(reply));
    }
    return true;
  }
  /// And its answer reaches the node.
  bool deliver() {
    if (air_.empty()) return false;
    const auto at = air_.begin() + up_to(static_cast<unsigned>(air_.size()));
    auto [call, reply] = std::move(*at);
    air_.erase(at);
    call.on_done(std::move(reply));
    return true;
  }
  void small_step() {
    switch (up_to(6)) {
      case 0:
        process();
        break;
      case 1:
        deliver();
        break;
      case 2:
        pass(milliseconds(up_to(300)));
        break;
      default:
        store.run_one();
        break;
    }
    settle();
  }
  /// Nothing waits any longer.
  void calm() {
    for (int i = 0; i < 200 && (store.queued() > 0 || !http.calls.empty() || !air_.empty()); ++i) {
      if (!(one_in(2) ? process() : deliver())) store.run_one();
      settle();
    }
  }
  void pass(duration time) {
    if (!lenient_ && in_the_air()) calm();  // no answer is late: that would be a lost token
    advance(time);
  }
  /// To the moment at which the token is renewed, and no further.
  void until_a_renewal() {
    calm();
    store.held = false;
    for (int i = 0; i < 60 && http.calls.empty(); ++i) advance(20s);
    store.held = true;
  }

  // ---- what happens -------------------------------------------------------------------------------------------------------------------------

  void something() {
    switch (up_to(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return patch();
      case 4:
      case 5:
        return put(one_in(2) ? good_password() : granted(), kind::good, "a good credential");
      case 6:
        return put_bad();
      case 7:
        return put(oauth2_ungranted(), kind::unconsented, "a grant that is to come");
      case 8:
        return person_consents();
      case 9:
        return go_back();
      case 10:
        return submit("sweep", [this] { edits::sweep(row()); });
      case 11:
        return more_mail();
      case 12:
        return note("connections break"), net.break_all();
      case 13:
        return another_owner();
      case 14:
        return crash();
      default:
        return note("told of a change"), fetchers.empty() ? void() : changed();
    }
  }
  void submit(const std::string& what, std::function<void()> work) {
    store.submit(
        deadline::after(now(), 600s),
        [this, what, work = std::move(work)](result<store::session*> s) {
          note(fmt::format("{}{}", what, s ? "" : ": did not reach the database"));
          if (s) work();
        },
        false);
  }
  /// The row changed: its owner is told, or finds out later.
  void tell() {
    if (one_in(3) || fetchers.empty()) return;
    caf::anon_send(fetchers.back(), changed_atom::value);
  }

  /// As the API edits: read, merge, write if nobody wrote between; with If-Match the first conflict is the answer.
  void patch() {
    std::function<void(channel_spec&)> change;
    std::string name;
    switch (up_to(5)) {
      case 0:
        name = fmt::format("name {}", ++names_), change = [n = name](channel_spec& s) { s.name = n; };
        break;
      case 1:
        name = "host", change = [host = one_in(2) ? "mail.test" : "other.test"](channel_spec& s) { s.incoming.host = host; };
        break;
      case 2:
        name = "folder", change = [folder = one_in(2) ? "INBOX" : "Team"](channel_spec& s) { s.incoming.folder = folder; };
        break;
      case 3:
        name = "after", change = [after = one_in(2) ? after_fetch::keep : after_fetch::seen](channel_spec& s) { s.after = after; };
        break;
      default:
        name = "enabled", change = [on = !one_in(3)](channel_spec& s) { s.enabled = on; };
        break;
    }
    patch(name, change, one_in(2) ? 1 : 4);
  }
  void patch(const std::string& name, const std::function<void(channel_spec&)>& change, unsigned tries) {
    submit("edit reads for " + name, [this, name, change, tries] {
      auto merged = spec();
      change(merged);
      submit("edit of " + name, [this, name, change, tries, merged, revision = record().revision] {
        const auto done = edits::update_channel(row(), merged, revision);
        if (!done) {
          note("  is refused: " + describe(done.error()));
          if (tries > 1) patch(name, change, tries - 1);
          return;
        }
        change(wanted_);
        tell();
      });
    });
  }
  void put(credential c, kind how, const std::string& name) {
    submit("switch to " + name, [this, c = std::move(c), how] {
      kinds_[edits::put_credential(row(), c)] = how;
      tell();
    });
  }
  void put_bad() {
    auto c = one_in(2) ? good_password() : oauth2_credential();
    if (c.type == auth_type::basic)
      c.password = secret<>("wrong");
    else
      c.refresh_token = secret<>(fmt::format("r-{}-0", 900'000 + ++names_));
    put(std::move(c), kind::bad, "a bad credential");
  }
  static credential oauth2_ungranted() {
    auto c = oauth2_credential();
    c.refresh_token = {};
    return c;
  }
  void person_consents() {
    submit("consent is asked for", [this] {
      const auto generation = record().generation;
      if (row().generations.at(generation).type != auth_type::oauth2) return;
      submit("consent", [this, generation, grant = consent()] {
        const auto made = edits::complete_consent(row(), generation, grant);
        if (made) kinds_[*made] = kind::good;
        tell();
      });
    });
  }
  void go_back() {
    submit("roll-back", [this] {
      if (const auto made = edits::roll_back(row())) kinds_[*made] = kind::good;  // it has served
      tell();
    });
  }
  void more_mail() {
    for (const auto* folder : {"INBOX", "Team"}) {
      sent_.push_back(mail_of(folder, ++names_));
      imap.add(sent_.back(), wall(), folder);
    }
  }
  /// The owner froze, another node serves; the frozen one goes on without knowing.
  void another_owner() {
    if (!spec().enabled) return;
    note("another owner");
    ++row().epoch;
    start();
  }
  /// The owner's process is gone, and what it had asked for happens or does not. With a strict provider never between a rotation and its
  /// write: no order of writes can close that moment.
  void crash() {
    if (!lenient_) {
      http.calls.clear();
      while (in_the_air()) {
        if (!deliver() && !store.run_one()) advance(1s);   // a write that failed is tried again soon
        settle();
      }
    }
    note("crash");
    for (auto& f : fetchers) caf::anon_send_exit(f, caf::exit_reason::kill);
    env.roster->kill();
    settle();
    if (!spec().enabled) return;
    ++row().epoch;
    start();
  }

  // ---- and afterwards -----------------------------------------------------------------------------------------------------------------------

  void heal() {
    note("all is well again");
    calm();
    provide_at_once();
    for (std::size_t i = 0; i + 1 < fetchers.size(); ++i) caf::anon_send_exit(fetchers[i], caf::exit_reason::kill);   // their leases are over
    for (int i = 0; i < 3; ++i) {
      if (fetchers.empty() || (ended(fetchers.back()) && spec().enabled)) {
        ++row().epoch;
        start();
      }
      changed();
      advance(minutes_(i == 0 ? 1 : 8));
    }
    more_mail();
    advance(10s);
  }
  static duration minutes_(int n) { return std::chrono::minutes(n); }

  [[nodiscard]] std::string proof_of(std::int64_t generation) {
    const auto& c = row().generations.at(generation);
    if (c.type == auth_type::basic) return c.password.reveal();
    return fmt::format("a-{}-", read(c.refresh_token.reveal(), "r-%d-%d").first);
  }

  void check() {
    check_fields();
    check_grants();
    if (spec().enabled) {
      check_service();
    } else {
      EXPECT_EQ(imap.selected(), 0U) << "disabled";
    }
    std::map<std::string, unsigned> copies;
    for (const auto& m : row().messages) EXPECT_EQ(++copies[m.raw], 1U) << "stored twice: " << m.raw.substr(0, 90);
    expect_gapless();
    if (!spec().enabled) return;
    for (const auto& m : imap.folders[spec().incoming.folder].messages) EXPECT_EQ(row().copies_of(m.raw), 1U) << "missed: " << m.raw.substr(0, 90);
  }
  void check_fields() {
    EXPECT_EQ(spec().name, wanted_.name);
    EXPECT_EQ(spec().incoming.host, wanted_.incoming.host);
    EXPECT_EQ(spec().incoming.folder, wanted_.incoming.folder);
    EXPECT_EQ(spec().after, wanted_.after);
    EXPECT_EQ(spec().enabled, wanted_.enabled);
  }
  void check_grants() {
    for (const auto& s : row().states) EXPECT_NE(s.state, channel_state::needs_reauth) << "no consent was needed: " << s.detail;
    for (const auto& [generation, c] : row().generations) {
      const auto [name, number] = read(c.refresh_token.reveal(), "r-%d-%d");
      if (!families_.contains(name)) continue;
      EXPECT_FALSE(families_[name].revoked) << "generation " << generation;
      const bool died_with_its_owner = lenient_ && number + 1 == families_[name].newest && !families_[name].used;
      EXPECT_TRUE(number == families_[name].newest || died_with_its_owner) << "generation " << generation << " has not the newest refresh token";
    }
  }
  void check_service() {
    const auto newest = record().generation, serves = record().observed_generation;
    ASSERT_TRUE(row().generations.contains(serves));
    EXPECT_EQ(kinds_[serves], kind::good);
    if (kinds_[newest] == kind::good) {
      EXPECT_EQ(serves, newest) << "the newest works and does not serve";
      EXPECT_TRUE(record().switching == switch_state::done || newest == 1) << to_string(record().switching);
    } else {
      EXPECT_EQ(record().switching, kinds_[newest] == kind::bad ? switch_state::failed : switch_state::running);
    }
    unsigned selected = 0;
    for (const auto* s : imap.sessions()) {
      if (s->folder.empty()) continue;
      ++selected;
      EXPECT_EQ(s->folder, spec().incoming.folder);
      EXPECT_EQ(s->via, spec().incoming.host);
      EXPECT_EQ(s->writable, spec().after != after_fetch::keep);
      EXPECT_EQ(s->signed_in_with.substr(0, proof_of(serves).size()), proof_of(serves)) << "not what generation " << serves << " signs in with";
    }
    EXPECT_EQ(selected, 1U);
    EXPECT_EQ(row().state(), channel_state::active);
  }

  std::mt19937_64 rng_;
  bool lenient_ = false, troubled_ = false;
  int names_ = 0;
  channel_spec wanted_;
  std::map<int, family> families_;
  std::map<std::int64_t, kind> kinds_;
  std::vector<std::pair<test::scripted_http::call, net::http_reply>> air_;  ///< answers on their way
  std::vector<std::string> sent_, done_;
};

TEST(lost_updates, are_impossible_however_edits_refreshes_and_successions_interleave) {
  const char* one = std::getenv("MAILHERD_SEED");
  const char* many = std::getenv("MAILHERD_SEEDS");
  const std::uint64_t n = many ? std::strtoull(many, nullptr, 10) : MAILHERD_INTERLEAVINGS;
  for (std::uint64_t i = 1; i <= n; ++i) {
    const auto seed = one ? std::strtoull(one, nullptr, 10) : 9'000'000 + i;
    SCOPED_TRACE("MAILHERD_SEED=" + std::to_string(seed));
    interleaving it(seed);
    it.run();
    if (one) std::fputs(it.told().c_str(), stderr);
    if (one || ::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace mailherd::actors
