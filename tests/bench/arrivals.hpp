// tests/bench/arrivals: how long from a delivery until somebody knows of it.
//
// Owns:   the schedule of deliveries (seeded: the same for every candidate) and the percentiles.
// Threads: one; whoever is told writes into an arrival_board from any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "mail.hpp"

namespace mailherd::bench {

/// When each mailbox was heard of last.
class arrival_board {
 public:
  using clock = std::chrono::system_clock;  ///< the candidate may be another process

  void heard(const std::string& user, clock::time_point at);
  /// The first time after `since` at which something was heard of this mailbox; nullopt after `timeout`.
  std::optional<clock::time_point> wait(const std::string& user, clock::time_point since, std::chrono::milliseconds timeout);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, clock::time_point> last_;
};

struct arrival_options {
  std::size_t mailboxes = 1000;
  std::size_t arrivals = 300;     ///< no more than mailboxes, or some wait half a second
  std::chrono::milliseconds gap{20};  ///< between one being heard of and the next delivery
  std::uint64_t seed = 1;
  std::chrono::milliseconds timeout{20'000};
};

struct arrival_times {
  std::vector<double> ms;   ///< sorted
  std::size_t lost = 0;     ///< not heard of within the timeout
  /// q in 0..1, nearest rank; 0 if there is nothing.
  [[nodiscard]] double percentile(double q) const;
};

/// Delivers one message after the other, to mailboxes in an order that the seed shuffles. From the moment at which the file is in new/.
arrival_times deliver_and_wait(peers::dovecot_server& server, arrival_board& board, const arrival_options& options);

}  // namespace mailherd::bench
