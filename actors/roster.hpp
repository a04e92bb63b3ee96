// actors/roster: who is alive, so that the end of a node can name and kill what has not ended by itself.
//
// Owns:   weak references to actors that nobody else could list (fetchers, refreshers, supervisors), with a name for the log.
// Never:  keeps an actor alive; ends one before it is asked to.
// Threads: any.
#pragma once

#include <caf/actor_control_block.hpp>

#include <cstddef>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace mailherd::actors {

class roster {
 public:
  void add(std::string name, caf::weak_actor_ptr who);

  /// Names of those that live.
  std::vector<std::string> living();

  /// Kills all that live; their names.
  std::vector<std::string> kill();

 private:
  void forget_dead();   // with the lock held

  std::mutex mutex_;
  std::size_t tidy_at_ = 1'024;
  std::vector<std::pair<std::string, caf::weak_actor_ptr>> all_;
};

}  // namespace mailherd::actors
