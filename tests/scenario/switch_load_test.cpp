// The switch under load: mail keeps arriving while channels go from passwords to OAuth2 and back, some of them with credentials that do not work.
// SWITCHES=<n>, SWITCH_CHANNELS=<n>, SWITCH_RATE=<messages a second> and SWITCH_SEED=<n> make another run of it.
#include <atomic>
#include <cstdlib>
#include <random>
#include <sstream>
#include <thread>

#include "tests/corpus/corpus.hpp"
#include "tests/scenario/connect_world.hpp"

namespace mailherd::test {
namespace {

std::size_t setting(const char* name, std::size_t otherwise) {
  const char* told = std::getenv(name);
  return told != nullptr ? std::strtoul(told, nullptr, 10) : otherwise;
}

/// Moments in which a user who had signed in had no session left, as Dovecot's log tells.
std::vector<std::string> gaps_in(const std::string& log, const std::string& user) {
  std::size_t open = 0;
  std::vector<std::string> gaps;
  bool begun = false;
  for (std::size_t at = 0; at < log.size();) {
    const auto end = std::min(log.find('\n', at), log.size());
    const auto line = std::string_view(log).substr(at, end - at);
    at = end + 1;
    if (line.find("imap-login: ") != std::string_view::npos && line.find("Login: user=<" + user + ">") != std::string_view::npos) {
      begun = true;
      ++open;
    } else if (line.find("imap(" + user + ")") != std::string_view::npos &&
               (line.find("Disconnected") != std::string_view::npos || line.find("Logged out") != std::string_view::npos)) {
      if (open > 0) --open;
      if (begun && open == 0) gaps.emplace_back(line);
    }
  }
  return gaps;
}

/// What the log tells of the user shortly before and after `line`.
std::string lines_of(const std::string& log, const std::string& user, const std::string& line) {
  const auto at = log.find(line);
  std::istringstream around(log.substr(at < 6'000 ? 0 : at - 6'000, 12'000));
  std::string all;
  for (std::string one; std::getline(around, one);)
    if (one.find(user) != std::string::npos) all += "    " + one + "\n";
  return all;
}

class switching : public connect_world {
 protected:
  struct one {
    channel_id id;
    std::string user;
    bool by_token = false;
    std::size_t delivered = 0;
  };

  /// Mail at random mailboxes, so many a second, until told to stop.
  void keep_delivering(std::size_t rate, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    auto next = mono_clock::now();
    for (std::size_t i = 0; !stop_; ++i) {
      auto& c = channels_[random() % channels_.size()];
      all().server.deliver(c.user, "INBOX", corpus::simple(fmt::format("under load {}", i)));
      ++c.delivered;
      ++delivered_;
      next += std::chrono::microseconds(1'000'000 / rate);
      peers::wait_until([&] { return stop_ || mono_clock::now() >= next; }, std::chrono::seconds(5));
    }
  }
  credential good(const one& c, bool token) {
    if (!token) return password(c.user, "secret");
    credential out;
    out.type = auth_type::oauth2;
    out.app = app_;
    out.account = c.user;
    out.refresh_token = secret<>(all().provider.grant(c.user, client_));
    return out;
  }
  credential bad(const one& c, bool token) {
    auto out = good(c, false);
    out.password = secret<>(std::string("wrong"));
    if (token) {
      out = good(c, true);
      out.refresh_token = secret<>(std::string("never-given"));
    }
    return out;
  }

  std::vector<one> channels_;
  app_id app_;
  std::atomic<bool> stop_{false};
  std::atomic<std::size_t> delivered_{0};
};

TEST_F(switching, loses_nothing_doubles_nothing_and_leaves_no_gap) {
  const auto switches = setting("SWITCHES", 14), count = setting("SWITCH_CHANNELS", 4), rate = setting("SWITCH_RATE", 50),
             seed = setting("SWITCH_SEED", 1);
  SCOPED_TRACE(fmt::format("SWITCH_SEED={}", seed));
  std::mt19937_64 random(seed);
  app_ = *parse_id<app_id>(make_app());
  for (std::size_t i = 0; i < count; ++i) {
    const auto user = new_user();
    auto s = spec("127.0.0.1", all().server.imaps_port());
    s.address = user;
    channels_.push_back({add_channel(s, password(user, "secret")), user});
  }
  for (const auto& c : channels_) ASSERT_TRUE(wait_serves(c.id, 1));
  const auto began = mono_clock::now();
  std::thread mail([&] { keep_delivering(rate, seed); });
  std::size_t worked = 0, failed = 0;
  for (std::size_t i = 0; i < switches; ++i) {
    auto& c = channels_[random() % channels_.size()];
    const auto moment = delivered_ + random() % (1 + rate / 4);  // some time within the next quarter of a second, by the mail that arrives
    wait([&] { return delivered_ >= moment; });
    const bool spoil = random() % 5 == 0;
    const auto g = change_credential(c.id, spoil ? bad(c, !c.by_token) : good(c, !c.by_token));
    const auto over = [&] {
      const auto r = channel(c.id);
      return r.generation == g && (r.switching == switch_state::done || r.switching == switch_state::failed);
    };
    ASSERT_TRUE(wait(over)) << "switch " << i << " of " << c.user;
    EXPECT_EQ(channel(c.id).switching, spoil ? switch_state::failed : switch_state::done) << channel(c.id).switch_error;
    if (!spoil) c.by_token = !c.by_token;
    ++(spoil ? failed : worked);
  }
  stop_ = true;
  mail.join();
  const auto took = std::chrono::duration<double>(mono_clock::now() - began).count();
  for (const auto& c : channels_) ASSERT_TRUE(wait_stored(c.id, static_cast<std::int64_t>(c.delivered)));
  const auto log = peers::read_file(all().server.log_file());
  std::string gaps;
  for (const auto& c : channels_) {
    EXPECT_TRUE(holds_digests(c.id, all().server.digests(c.user))) << c.user;
    std::uint32_t last = 0;
    for (const auto& m : this->mail(c.id)) {
      EXPECT_GT(m.message.source.uid.value, last) << "the order of " << c.user;
      last = m.message.source.uid.value;
    }
    for (const auto& gap : gaps_in(log, c.user)) gaps += gap + "\n" + lines_of(log, c.user, gap);
  }
  EXPECT_EQ(gaps, "") << "by the server's log";
  EXPECT_EQ(report_.count("switch.ok"), static_cast<double>(worked));
  EXPECT_GE(report_.count("switch.failed"), static_cast<double>(failed));  // a try that is told of again may be counted again
  EXPECT_EQ(report_.count("switch.gap"), 0) << "by the node's own counter: the sum, and so the longest";
  EXPECT_EQ(report_.count("suppressed"), 0) << "nothing was even fetched twice";
  if (HasFailure()) return;
  std::printf("%zu switches worked, %zu failed as they should, in %.0f s; %zu messages, %.0f a second, 0 lost, 0 twice, gap 0 at %u connections a mailbox\n",
              worked, failed, took, delivered_.load(), static_cast<double>(delivered_) / took, connections_allowed);
}

TEST_F(switching, the_newest_request_supersedes_those_before_it) {
  deliver(user_, 2);
  const auto c = make_channel(basic());
  ASSERT_TRUE(wait_serves(c, 1));
  app_ = *parse_id<app_id>(make_app());
  const one who{c, user_};
  all().provider.add_fault({.match = "/token refresh_token " + client_, .delay = std::chrono::milliseconds(400), .times = 2});
  change_credential(c, good(who, true));  // on its way when the next ones come
  change_credential(c, bad(who, false));
  const auto last = change_credential(c, good(who, true));
  ASSERT_TRUE(wait_serves(c, last));
  EXPECT_EQ(channel(c).switching, switch_state::done);
  deliver(user_);
  ASSERT_TRUE(wait_stored(c, 3));
  EXPECT_TRUE(holds_digests(c, all().server.digests(user_)));
}

}  // namespace
}  // namespace mailherd::test
