#include "core/backoff.hpp"

#include <algorithm>
#include <cmath>

namespace mailherd {

duration backoff_delay(const backoff_policy& policy, unsigned attempt, std::uint64_t random) noexcept {
  const double first = static_cast<double>(policy.first.count());
  const double cap = static_cast<double>(policy.cap.count());
  // The exponent is bounded before pow() so that a year of failures cannot overflow to infinity.
  const double bound = std::min(cap, first * std::pow(policy.factor, std::min(attempt, 60U)));
  const double share = policy.floor + (1.0 - policy.floor) * (static_cast<double>(random >> 11) / 9007199254740992.0);
  return duration(static_cast<duration::rep>(bound * share));
}

bool restart_budget::take(mono_time now) noexcept {
  if (used_ == 0 || now - window_start_ >= window_) {
    window_start_ = now;
    used_ = 0;
  }
  if (used_ >= limit_) return false;
  ++used_;
  return true;
}

}  // namespace mailherd
