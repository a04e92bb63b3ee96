// node/stop_signals: SIGTERM and SIGINT, turned into a wish to stop; a second one, or a stop that takes too long, into an end at once.
//
// Owns:   the two signals (blocked everywhere, read by one thread), the bound on the whole stop, the last words.
// Never:  runs anything in a signal handler.
// Used by: node.
// Threads: made before every other thread of the program (they inherit the blocked signals). `wait_until` for one thread, the rest any.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "core/clock.hpp"

namespace mailherd::node {

class stop_signals {
 public:
  /// `longest`: from the first signal to the end of the program; what takes longer is ended as by a second signal.
  explicit stop_signals(duration longest);
  ~stop_signals();
  stop_signals(const stop_signals&) = delete;
  stop_signals& operator=(const stop_signals&) = delete;

  /// Waits until somebody wants the node to stop, or until `when`. True: stop.
  bool wait_until(mono_time when);
  [[nodiscard]] bool asked();

  /// What must not outlive the program when it ends at once, e.g. its own database. It has limits::stop_at_once, then the program ends
  /// anyway, with status 1. Empty: nothing. Blocks while the earlier one is running.
  void at_once(std::function<void()> last);

 private:
  void watch(duration longest);
  [[noreturn]] void end_at_once();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool asked_ = false;
  std::mutex last_mutex_;
  std::function<void()> last_;
  int signals_ = -1, over_ = -1;
  std::thread thread_;
};

}  // namespace mailherd::node
