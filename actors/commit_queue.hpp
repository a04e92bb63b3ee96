// actors/commit_queue: which channels' units go into the next transaction, as a plain class without actor, clock or database.
//
// Owns:   units waiting, their order per channel, the rule that a channel has units in at most one transaction in flight.
// Never:  reorders the units of one channel; grows past limits::gate_units.
// Used by: storage_gate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_set>
#include <vector>

#include "actors/interfaces.hpp"

namespace mailherd::actors {

class commit_queue {
 public:
  /// False: full, nothing was taken.
  bool add(std::shared_ptr<commit_request> request);

  /// The next group: in order of arrival, at most commit_group_messages and commit_group_bytes (but at least one unit), leaving out
  /// channels that are in flight. Requests whose deadline has passed are moved to `expired`. Empty: nothing can go now.
  std::vector<std::shared_ptr<commit_request>> next_group(mono_time now, std::vector<std::shared_ptr<commit_request>>& expired);

  /// The group is committed or failed: its channels may go again.
  void finished(const std::vector<std::shared_ptr<commit_request>>& group);

  [[nodiscard]] std::size_t size() const { return waiting_.size(); }

 private:
  std::deque<std::shared_ptr<commit_request>> waiting_;
  std::unordered_set<channel_id> in_flight_;
};

}  // namespace mailherd::actors
