// core/clock: the two clocks, and the absolute deadline that one attempt carries through all its phases.
//
// Owns:   type aliases only. Nothing here reads a clock: time is always an argument, so that tests own it.
#pragma once

#include <chrono>

namespace mailherd {

/// Time since an arbitrary start; for deadlines and timers. Never stored, never sent.
using mono_clock = std::chrono::steady_clock;
using mono_time = mono_clock::time_point;

/// Civil time in UTC with microseconds (PostgreSQL's resolution); for what is stored or shown.
using wall_time = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;

using duration = std::chrono::nanoseconds;
using milliseconds = std::chrono::milliseconds;
using seconds = std::chrono::seconds;

/// An absolute point after which a piece of work must not be started or continued. One attempt (DNS + TCP + TLS + greeting +
/// authentication + select) has one deadline, handed down and never restarted per phase.
struct deadline {
  mono_time at{};

  static deadline after(mono_time now, duration d) { return deadline{now + d}; }
  [[nodiscard]] bool expired(mono_time now) const { return now >= at; }
  [[nodiscard]] duration left(mono_time now) const { return now >= at ? duration::zero() : duration(at - now); }
};

}  // namespace mailherd
