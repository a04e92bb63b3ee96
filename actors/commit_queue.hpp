// actors/commit_queue: which channels' units go into the next transaction, as a plain class without actor, clock or database.
//
// Owns:   units waiting, their order per channel, the rules that a channel has units in at most one transaction in flight and that a unit which is held
//         (its bodies are still being written ahead) waits, with what is behind it on its channel.
// Never:  reorders the units of one channel; lets a unit go whose predecessor was given up (it would move the cursor over mail that is
//         nowhere); grows past limits::gate_units.
// Used by: storage_gate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "actors/interfaces.hpp"

namespace mailherd::actors {

/// Of the bodies that travel with the unit.
std::size_t bytes_of(const store::commit_unit& unit);

class commit_queue {
 public:
  using requests = std::vector<commit_request_ptr>;

  /// False: full, nothing was taken.
  bool add(commit_request_ptr request);

  /// The next group: in order of arrival, at most commit_group_messages and commit_group_bytes (but at least one unit), leaving out
  /// channels that are in flight. A request whose deadline has passed is moved to `expired`, with all that waits behind it on its
  /// channel. Empty: nothing can go now. Costs what it takes, not what waits.
  requests next_group(mono_time now, requests& expired);

  /// The group is committed or failed: its channels may go again.
  void finished(const requests& group);

  /// The first unit of this channel may not be held any more.
  void released(channel_id channel);

  /// A unit of this channel was not stored: everything of it that waits, in order, no longer in the queue.
  requests drop(channel_id channel);

  /// As `next_group` does, for all that waits: while the database is away no group is taken and nobody else would look.
  void expire(mono_time now, requests& expired);

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  struct entry {
    std::uint64_t arrival;
    commit_request_ptr request;
  };
  struct lane {
    std::deque<entry> waiting;
    bool in_flight = false;
  };
  using lanes = std::unordered_map<channel_id, lane>;
  void empty(lane& from, requests& into);
  void mark_ready(channel_id channel, const lane& of);

  lanes lanes_;
  std::map<std::uint64_t, channel_id> ready_;   ///< arrival of the first unit of every channel that waits, is not in flight and not held
  std::uint64_t arrivals_ = 0;
  std::size_t size_ = 0;
};

}  // namespace mailherd::actors
