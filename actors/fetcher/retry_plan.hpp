// actors/fetcher/retry_plan: what follows when a channel could not be served, as a pure function.
//
// Owns:   the waits after each kind of failure, and the state that people see meanwhile.
// Never:  reads a clock or a random device; asks a person to consent unless the reason is the token endpoint's own (invariant 5).
// Used by: channel_fetcher.
#pragma once

#include <cstdint>

#include "core/advice.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/model.hpp"

namespace mailherd::actors {

/// Nothing is wrong with the credential or the settings, as far as anybody can tell.
bool passing(failure f) noexcept;

struct retry_plan {
  channel_state state = channel_state::backoff;
  duration wait{};
  bool no_news = false;         ///< the channel stays what it was: a single lost connection is no news
  bool until_changed = false;   ///< not tried again before its row changes
  bool hold = false;            ///< no sign-in before the wait is over, whatever else happens
};

/// `attempt`: failures in a row before this one. `well`: the channel served until now.
retry_plan plan_retry(const error& reason, unsigned attempt, bool well, wall_time now, std::uint64_t random);

}  // namespace mailherd::actors
