// tests/sim/simulation: a cluster in which everything fails, from a seed.
//
// Owns:   virtual time, the nodes, what they share (rows, mail server, identity provider), the faults and the mail, a trace of what was done.
// Checks: checkers of their own, at every moment and at the end: one effective owner per channel and epoch, no message lost, none stored twice,
//         sequences without gaps, every channel served again within `bound` after the last fault.
// A seed repeats exactly: the trace's digest is the same.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/actors/memory_cluster.hpp"
#include "tests/sim/sim_node.hpp"

namespace mailherd::sim {

/// How likely each fault is, of a thousand steps; and the size of it all.
struct faults {
  unsigned crash = 25, graceful_restart = 25, freeze = 25, drain = 12, rolling_restart = 4;
  unsigned no_database = 25, slow_database = 60, lost_answer = 40, database_restart = 10;
  unsigned no_mail_server = 20, broken_connections = 40;
  unsigned move = 80, new_credential = 20;
  unsigned clock_jump = 15;
  unsigned lost_notification = 300, doubled_notification = 100;  ///< of a thousand notifications
  unsigned store_call_fails = 3;                                 ///< of a thousand calls
  unsigned nodes = 3, channels = 6, steps = 100;
};

class simulation {
 public:
  explicit simulation(std::uint64_t seed, faults odds = {});
  ~simulation();
  simulation(const simulation&) = delete;
  simulation& operator=(const simulation&) = delete;

  void run();
  /// What was found wrong, in words; empty: nothing.
  [[nodiscard]] const std::vector<std::string>& findings() const { return findings_; }
  [[nodiscard]] std::uint64_t trace() const { return trace_; }
  [[nodiscard]] std::string story() const;
  [[nodiscard]] double count(const std::string& what) { return report_.count[what]; }

 private:
  using id = channel_id;
  unsigned up_to(unsigned n) { return n == 0 ? 0 : static_cast<unsigned>(rng_() % n); }
  bool likely(unsigned of_a_thousand) { return rng_() % 1000 < of_a_thousand; }

  // time
  void settle();
  void advance(duration by);

  // the world
  void make_channels();
  void hook_store();
  void notify();
  void deliver(id channel, unsigned n);
  sim_node& start(const std::string& name);
  void revive(const std::string& name);
  sim_node* some_node();
  void note(const std::string& what);

  // faults
  void something();
  void crash_one();
  void freeze_one();
  void restart(const std::string& name);
  void for_a_while(duration how_long, const std::function<void(bool)>& what);
  void new_credential();
  void heal();

  // checkers
  void check_writer(const store::commit_unit& unit);
  void check_served();
  void check_mail();
  void wrong(std::string what);

  const std::uint64_t seed_;
  const faults odds_;
  std::mt19937_64 rng_;
  mono_time now_{std::chrono::hours(1)};
  test::imap_server imap_;
  test::memory_mail mail_;
  test::memory_cluster rows_;
  test::scripted_http idp_;
  test::noted_telemetry report_;
  surroundings world_;
  std::deque<std::unique_ptr<sim_node>> nodes_;
  std::deque<std::pair<mono_time, std::function<void()>>> later_;  ///< ends of faults
  const std::string* speaking_ = nullptr;
  std::map<std::pair<id, std::int64_t>, std::string> writers_;
  std::map<id, std::vector<std::string>> delivered_;
  std::vector<std::string> findings_, story_;
  std::uint64_t trace_ = 14695981039346656037ULL;
  int mails_ = 0, tokens_ = 0;
  bool lossy_ = true;
};

}  // namespace mailherd::sim
