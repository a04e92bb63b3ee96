// actors/timers: the timers of one actor, each with a generation, so that a cancelled one cannot be taken for a newer one.
//
// Owns:   what is to be done when a tick arrives.
// Never:  reads a clock. A cancelled timer's message still arrives (CAF cannot withdraw it) and does nothing.
// Used by: every actor with more than one thing to wait for. Its behaviour hands `tick_atom` to `fire`.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>

#include "actors/atoms.hpp"
#include "core/clock.hpp"

namespace mailherd::actors {

class timers {
 public:
  /// Runs `run` on the actor once after `wait`. The answer names it for `cancel`; never 0.
  template <class Self>
  std::uint64_t after(Self* self, duration wait, std::function<void()> run) {
    const auto id = ++last_;
    due_.emplace(id, std::move(run));
    self->delayed_send(self, wait > duration::zero() ? wait : duration::zero(), tick_atom::value, id);
    return id;
  }

  /// 0 and what has fired are ignored.
  void cancel(std::uint64_t id) { due_.erase(id); }

  void fire(std::uint64_t id) {
    auto node = due_.extract(id);
    if (!node.empty()) node.mapped()();
  }

 private:
  std::uint64_t last_ = 0;
  std::unordered_map<std::uint64_t, std::function<void()>> due_;
};

}  // namespace mailherd::actors
