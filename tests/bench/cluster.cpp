// tests/bench/cluster: implementation.
#include "cluster.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>

#include "core/limits.hpp"
#include "mail.hpp"
#include "tests/cluster/real_cluster.hpp"
#include "tests/storage/postgres_fixture.hpp"

namespace mailherd::bench {

namespace {

using clock = std::chrono::steady_clock;
using test::real_cluster;

constexpr std::chrono::minutes patience{8};
/// Mail without any event: what the delays are compared with.
constexpr std::chrono::seconds quiet{20};
/// Of a minute and more: a renewal more or less at its edges does not matter.
constexpr double renewals_seen = 15;

unsigned times(double scale, unsigned n) { return std::max(1U, static_cast<unsigned>(scale * n)); }

test::cluster_options options_for(unsigned channels, unsigned rate) {
  test::cluster_options o;
  o.channels = channels;
  o.rate = test::number_of_environment("CLUSTER_RATE", rate);
  o.ttl = test::number_of_environment("CLUSTER_TTL", static_cast<unsigned>(limits::lease_ttl.count()));
  o.stop_grace = "90s";  // a node hands over while it stops: with the usual 25 s the rest would be given back, which is not what is measured
  o.password = mail::password;
  o.user = [](unsigned n) { return mail::user(n); };
  o.patience = patience;
  o.look_every = std::chrono::milliseconds(100);
  return o;
}

/// Whole milliseconds: what a fetcher needs to note that the channel is its own is no gap.
double ms_of(double seconds) { return std::round(seconds * 1000); }

class run {
 public:
  run(double scale, const judge_function& judge)
      : judge_(judge),
        channels_(test::number_of_environment("CLUSTER_CHANNELS", 3 * times(scale, 1'000))),
        // Awake: a session that hibernates while it is about to tell of a message forgets it until the next, which would be taken for our delay.
        mail_({.mailboxes = channels_, .messages = 0, .hibernate = false, .sessions_per_mailbox = 3}),
        herd_(mail_.server(), database_, options_for(channels_, std::max(10U, times(scale, 50)))) {
    if (!peers::dovecot_server::allow_idle_sessions(2 * channels_)) throw peers::peer_error("fs.inotify.max_user_instances cannot be raised");
  }

  void all() {
    const auto began = clock::now();
    start();
    balance("all have their share");  // before it is idle
    leases();
    herd_.start_mail();
    normal_ = herd_.event(
        "quiet", [] {}, [until = clock::now() + quiet] { return clock::now() >= until; });
    drain();
    kill();
    freeze();
    roll();
    compare();
    fmt::print("  all of this took {:.0f} s\n", std::chrono::duration<double>(clock::now() - began).count());
  }

 private:
  void start() {
    const auto t0 = clock::now();
    herd_.start();
    fmt::print("  {} channels on three nodes, served after {:.1f} s: a {}, b {}, c {}; {} messages a second, lease {} s\n", channels_,
               std::chrono::duration<double>(clock::now() - t0).count(), herd_.held_by("a"), herd_.held_by("b"), herd_.held_by("c"),
               herd_.options().rate, herd_.options().ttl);
  }

  void leases() {
    const auto load = herd_.load_of(3 * renewals_seen);
    const auto every = std::min<double>(static_cast<double>(limits::lease_renew.count()), herd_.options().ttl * 4.0 / 15);
    judge_("cluster: lease statements per node and renewal", load.renewals / (3 * (std::floor(load.seconds / every) + 1)), "", 1, false);
    fmt::print("  all statements of three nodes: {:.2f} a second and node\n{}\n", load.statements / load.seconds / 3, load.most);
  }

  /// Until b has its share again: nothing moves before the cluster has been quiet for a while.
  void balance(const char* what) {
    herd_.event(
        what, [] {},
        [this] {
          const unsigned held[] = {herd_.held_by("a"), herd_.held_by("b"), herd_.held_by("c")};
          return *std::max_element(held, held + 3) - *std::min_element(held, held + 3) <= channels_ / 8 + 2 && herd_.all_served() &&
                 in_motion() == "0";
        });
  }
  /// What happens to a node that holds few channels shows nothing.
  unsigned holding(const char* node) {
    const auto held = herd_.held_by(node);
    if (held < channels_ / 6) throw peers::peer_error(fmt::format("{} holds {} of {} channels", node, held, channels_));
    return held;
  }
  void stop(const std::string& name) {
    if (herd_.node(name).terminate() == 0) return;
    ++disorderly_;
    fmt::print("  {} did not end in order: {}\n", name, peers::tail(herd_.node(name).log_file(), 3000));
  }
  std::string in_motion() { return herd_.sql("SELECT count(*) FROM channel_leases WHERE wanted IS NOT NULL"); }

  void tell_gap(const std::string& what) {
    // Buckets give bounds; the sum of all is one, too, for the longest.
    const auto sum = herd_.metric("mailherd_handover_gap_seconds_sum");
    judge_(what + ", gap per channel, p99", ms_of(std::min(herd_.quantile("mailherd_handover_gap_seconds", 0.99), sum)), "ms", 0, false);
    judge_(what + ", gap per channel, longest (no more than)", ms_of(std::min(herd_.quantile("mailherd_handover_gap_seconds", 1.0), sum)), "ms", 0,
           false);
  }

  void drain() {
    const auto had = holding("b");
    const auto cost = herd_.event(
        "drain b, asked of a", [this] { herd_.node("a").ask("POST", "/v1/cluster/nodes/b/drain"); }, [this] { return herd_.held_by("b") == 0; });
    const auto what = fmt::format("cluster: drain of {} channels", had);
    judge_(what, cost.seconds, "s", 30, false);
    const auto in_order = herd_.metric_of("b", "mailherd_handovers_total", "reason=\"drain\",result=\"ok\"");
    judge_(what + ", handed over in order", std::floor(100 * in_order / std::max(1U, had)), "%", 100, true);
    tell_gap(what);
    judge_(what + ", p99 of the mail meanwhile, more than when quiet", cost.delay(0.99) - normal_.delay(0.99), "s", 1, false);
    herd_.event(
        "stop and start b",
        [this] {
          stop("b");
          herd_.node("b").start();
        },
        [this] { return herd_.all_served(); });
    balance("b gets its share again");
    judge_("cluster: rebalance, longest gap of a channel (no more than)", ms_of(herd_.metric_of("b", "mailherd_handover_gap_seconds_sum")), "ms", 0,
           false);
  }

  void kill() {
    const auto had = holding("c");
    const auto theirs = herd_.mailboxes_of("c");
    const auto cost = herd_.event(
        "SIGKILL of c", [this] { herd_.node("c").kill(); }, [this] { return herd_.held_by("c") == 0 && herd_.all_served(); },
        [&](unsigned mailbox) { return theirs[mailbox]; });
    const auto what = fmt::format("cluster: kill -9 of a node with {} channels", had);
    judge_(what + ", arrival to stored of theirs, p99", cost.delay(0.99), "s", herd_.options().ttl + 3, false);
    judge_(what + ", all served again", cost.seconds, "s", herd_.options().ttl + 10, false);
    herd_.node("c").start();
  }

  void freeze() {
    herd_.event(
        "SIGSTOP of a for 3 leases",
        [this] {
          const auto until = clock::now() + 3 * std::chrono::seconds(herd_.options().ttl);
          herd_.freeze("a");
          const bool taken = herd_.wait([&] { return clock::now() > until && herd_.held_by("a") == 0; });
          herd_.thaw("a");
          if (!taken) throw peers::peer_error("nobody takes the frozen node's channels" + herd_.logs());
        },
        [this] {
          return herd_.all_served() &&
                 herd_.sql("SELECT count(*) FROM incarnations WHERE node = 'a' AND ended IS NULL AND expires_at > now()") == "1";
        });
    fmt::print("  writes of the frozen node that were refused: {:.0f}\n", herd_.metric_of("a", "mailherd_fenced_writes_total"));
    const auto so_far = herd_.compare();
    judge_("cluster: a frozen owner wakes up: messages lost, doubled or out of order",
           static_cast<double>(so_far.lost + so_far.doubled + so_far.out_of_order), "", 0, false);
    balance("a and c get their share again");
  }

  void roll() {
    double longest_stop = 0;
    const auto cost = herd_.event(
        "rolling restart of all",
        [&] {
          for (const char* name : {"a", "b", "c"}) {
            const auto t0 = clock::now();
            stop(name);
            longest_stop = std::max(longest_stop, std::chrono::duration<double>(clock::now() - t0).count());
            herd_.node(name).start();
          }
        },
        [this] { return herd_.all_served(); });
    fmt::print("  the longest stop took {:.1f} s\n", longest_stop);
    judge_("cluster: rolling restart, p99 of the mail meanwhile, more than when quiet", cost.delay(0.99) - normal_.delay(0.99), "s", 1, false);
  }

  void compare() {
    judge_("cluster: nodes that were asked to stop and did not in order", disorderly_, "", 0, false);
    const auto end = herd_.compare();
    if (!end.first.empty()) fmt::print("  {}\n", end.first);
    judge_("cluster: after all of it, and the rolling restart: lost", static_cast<double>(end.lost), "", 0, false);
    judge_("cluster: … doubled", static_cast<double>(end.doubled), "", 0, false);
    judge_("cluster: … channels out of order", static_cast<double>(end.out_of_order), "", 0, false);
  }

  const judge_function& judge_;
  unsigned channels_;
  mail mail_;
  test::test_database database_;
  real_cluster herd_;
  real_cluster::outcome normal_;
  unsigned disorderly_ = 0;
};

/// Everything stored is durable at its commit, as in production; nodes reach it by its socket.
void durable_database() { test::test_database::configure_server({.durable = true, .listen = {}, .connections = 100}); }

}  // namespace

void cluster(double scale, const judge_function& judge) {
  durable_database();
  run(scale, judge).all();
}

void cluster_idle(double scale, const judge_function& judge) {
  durable_database();
  const auto channels = times(scale, 10'000);
  mail server({.mailboxes = channels, .messages = 0, .hibernate = true, .sessions_per_mailbox = 2});
  test::test_database database;
  auto how = options_for(channels, 1);
  how.nodes = {"a"};
  how.patience = std::chrono::minutes(12);
  real_cluster herd(server.server(), database, how);
  herd.start();
  static_cast<void>(server.wait_hibernated(std::chrono::minutes(2)));  // two descriptors each: past its limit some stay awake, which is only memory
  const auto load = herd.load_of(renewals_seen);
  fmt::print("{}\n", load.most);
  judge(fmt::format("cluster: statements of a node with {} idle channels, for {:.0f} s", channels, load.seconds), load.statements / load.seconds,
        "a second", 5, false);
}

}  // namespace mailherd::bench
