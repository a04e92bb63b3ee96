// actors/vitals: what a supervisor may read of a fetcher without asking it: is it getting anywhere?
//
// Owns:   atomics that one fetcher writes and its supervisor's watchdog reads.
// Never:  decides. A socket that looks open is no sign of life; only work that came to an end is.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/clock.hpp"

namespace mailherd::actors {

struct vitals {
  /// When something last came to an end: a listing, a batch, a commit, an answered look at an idle mailbox, or a wait that was planned.
  std::atomic<std::int64_t> progress_at{0};   ///< mono_time, nanoseconds
  /// Until when the fetcher waits on purpose (back-off, poll interval): no progress is expected before. 0: it does not wait.
  std::atomic<std::int64_t> waits_until{0};

  void progress(mono_time now) {
    progress_at.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    waits_until.store(0, std::memory_order_relaxed);
  }
  void wait(mono_time until) { waits_until.store(until.time_since_epoch().count(), std::memory_order_relaxed); }
  /// The later of both: from here the watchdog counts.
  [[nodiscard]] mono_time counted_from() const {
    const auto p = progress_at.load(std::memory_order_relaxed), w = waits_until.load(std::memory_order_relaxed);
    return mono_time{mono_time::duration{p > w ? p : w}};
  }
};

}  // namespace mailherd::actors
