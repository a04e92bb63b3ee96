// tests/cluster/real_cluster: nodes as processes on one PostgreSQL and one mail server, mail that arrives all the time, and what became of it.
//
// Owns:   the nodes, the sender's thread, when each message was sent. Mail server and database are somebody else's and outlive it.
// Never:  judges: it measures, and throws peers::peer_error with states and logs when something does not come about in time.
// Used by: tests/cluster (small, in the suite), tests/bench (`./dev bench --only cluster`, at full size).
// Threads: one, beside the sender's own.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/peers/dovecot_server.hpp"
#include "tests/real_node/real_node.hpp"
#include "tests/storage/postgres_fixture.hpp"

namespace mailherd::test {

/// An unsigned number of the environment: CLUSTER_CHANNELS and the like, which make a test larger.
unsigned number_of_environment(const char* name, unsigned otherwise);

struct cluster_options {
  using variables = std::vector<std::pair<std::string, std::string>>;

  std::vector<std::string> nodes{"a", "b", "c"};
  unsigned channels = 24;
  unsigned rate = 20;  ///< messages a second
  unsigned ttl = 3;    ///< seconds
  std::string stop_grace = "30s";
  std::string mail_host = "127.0.0.1";
  std::filesystem::path ca_file = {};  ///< empty: the mail server's own
  std::string password = "secret";
  std::function<std::string(unsigned)> user = [](unsigned n) { return "u" + std::to_string(n) + "@acme.test"; };
  std::chrono::milliseconds look_every{5};        ///< at what is waited for: looks cost the machine that is measured
  std::chrono::seconds patience = real_node::patience;             ///< for whatever is waited for
  std::map<std::string, variables> own_env = {};                   ///< settings of single nodes
  std::map<std::string, std::vector<std::string>> launchers = {};  ///< what starts single nodes: a program and its arguments before the node's
};

class real_cluster {
 public:
  using clock = std::chrono::steady_clock;
  using condition = std::function<bool()>;

  real_cluster(peers::dovecot_server& server, test_database& database, cluster_options how);
  ~real_cluster();
  real_cluster(const real_cluster&) = delete;
  real_cluster& operator=(const real_cluster&) = delete;

  /// Nodes, a tenant, a channel for each mailbox; returns when all are served.
  void start();
  [[nodiscard]] real_node& node(const std::string& name) { return *nodes_.at(name); }
  /// One that answers.
  [[nodiscard]] real_node& any();
  void freeze(const std::string& name);
  void thaw(const std::string& name);
  /// Cut off, perhaps: it is not asked anything until `heard`.
  void unheard(const std::string& name) { silent_ = name; }
  void heard() { silent_.clear(); }

  // ---- mail ----
  void start_mail();
  void stop_mail();
  [[nodiscard]] std::int64_t delivered() const { return delivered_; }
  /// By the statuses of the channels.
  [[nodiscard]] std::int64_t stored();
  /// Waits until all that was sent so far is stored.
  void settle(const std::string& what);

  // ---- looking ----
  std::string sql(const std::string& text) { return database_.query(text); }  // NOLINT(modernize-use-nodiscard): often called for its effect
  /// Every channel is active, and owned by a life that is not over.
  [[nodiscard]] bool all_owned();
  /// … and has a session with its mailbox selected.
  [[nodiscard]] bool all_served();
  [[nodiscard]] unsigned held_by(const std::string& name);
  [[nodiscard]] std::string states();
  [[nodiscard]] std::string logs();
  /// False after `patience`. What throws meanwhile (a database that restarts) is not so yet.
  bool wait(const condition& so);
  /// The sum of a metric over the nodes that answer, of those series whose labels contain `label`.
  [[nodiscard]] double metric(const std::string& name, const std::string& label = "");
  /// The bound below which the share `part` of a histogram's observations lies, over the nodes that answer.
  [[nodiscard]] double quantile(const std::string& histogram, double part);
  [[nodiscard]] double metric_of(const std::string& node, const std::string& name, const std::string& label = "");

  /// What the nodes ask of the database while they have nothing to do, until so many renewals of leases have been seen.
  struct database_load {
    double renewals = 0, statements = 0, seconds = 0;
    std::string most;  ///< the most frequent ones, a line each: how often, and their beginning
  };
  database_load load_of(double renewals);

  // ---- one event and what it cost ----
  struct outcome {
    double seconds = 0;          ///< from its beginning until it was over
    std::vector<double> delays;  ///< of the mail that was sent meanwhile, arrival to stored, sorted
    /// q in 0..1; infinite without mail: nothing was shown then.
    [[nodiscard]] double delay(double q) const;
  };
  /// Does it, waits until it is over and the mail that came meanwhile is stored; prints a line. `of`: only the mail of these mailboxes counts.
  outcome event(const std::string& what, const std::function<void()>& happen, const condition& over, const std::function<bool(unsigned)>& of = {});
  /// Mailboxes whose channels this node holds.
  [[nodiscard]] std::vector<bool> mailboxes_of(const std::string& node);

  // ---- the end ----
  struct comparison {
    std::size_t lost = 0, doubled = 0, out_of_order = 0;
    std::string first;  ///< the first mailbox that is not as its channel, in words
  };
  /// Stored messages against mailboxes, byte for byte; throws if a sequence has a gap. Mail stops for it, and what was sent is waited for.
  [[nodiscard]] comparison compare();

  [[nodiscard]] const std::string& tenant() const { return tenant_; }
  [[nodiscard]] const std::string& channel(unsigned mailbox) const { return ids_.at(mailbox); }
  [[nodiscard]] const cluster_options& options() const { return how_; }

 private:
  struct sending {
    std::chrono::system_clock::time_point at;
    unsigned mailbox = 0;
  };
  [[nodiscard]] std::vector<double> delays_since(std::chrono::system_clock::time_point began, const std::function<bool(unsigned)>& of);
  [[nodiscard]] bool answers(const std::string& name);
  void send(unsigned i);
  [[nodiscard]] comparison compare_now();

  peers::dovecot_server& server_;
  test_database& database_;
  cluster_options how_;
  std::map<std::string, std::unique_ptr<real_node>> nodes_;
  std::string tenant_, silent_;
  std::vector<std::string> ids_;
  std::thread sender_;
  std::atomic<bool> delivering_{false};
  std::atomic<std::int64_t> delivered_{0};
  unsigned next_message_ = 0;  ///< the sender's
  std::mutex guard_;
  std::condition_variable ended_;
  std::map<std::string, sending> sent_;
};

}  // namespace mailherd::test
