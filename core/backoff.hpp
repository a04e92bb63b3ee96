// core/backoff: how long to wait before trying again, as a pure function.
//
// Owns:   exponential back-off with full jitter, and the budget that bounds restarts.
// Never:  reads a clock or a random device: both are arguments.
#pragma once

#include <cstdint>

#include "core/clock.hpp"

namespace mailherd {

struct backoff_policy {
  duration first = seconds(1);   ///< upper bound of the first wait
  duration cap = seconds(300);   ///< upper bound of every wait
  double factor = 2.0;
  double floor = 0.5;            ///< share of the bound that is always waited: keeps a herd from retrying at once
};

/// The wait before attempt `attempt` (0 = first retry). `random` is uniform over all 64-bit values.
duration backoff_delay(const backoff_policy& policy, unsigned attempt, std::uint64_t random) noexcept;

/// At most `limit` events in any `window`: what a supervisor spends on restarting one child.
class restart_budget {
 public:
  restart_budget(unsigned limit, duration window) : limit_(limit), window_(window) {}

  /// Takes one restart out of the budget; false if it is used up.
  bool take(mono_time now) noexcept;

 private:
  unsigned limit_;
  duration window_;
  unsigned used_ = 0;
  mono_time window_start_{};
};

}  // namespace mailherd
