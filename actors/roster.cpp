#include "actors/roster.hpp"

#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/exit_reason.hpp>
#include <caf/send.hpp>

#include <algorithm>

namespace mailherd::actors {

void roster::add(std::string name, caf::weak_actor_ptr who) {
  std::lock_guard lock(mutex_);
  // Doubling: dead entries cost a bounded share of the living ones, and no search per actor.
  if (all_.size() >= tidy_at_) {
    forget_dead();
    tidy_at_ = std::max<std::size_t>(1'024, 2 * all_.size());
  }
  all_.emplace_back(std::move(name), std::move(who));
}

std::vector<std::string> roster::kill() {
  std::vector<std::pair<std::string, caf::weak_actor_ptr>> all;
  {
    std::lock_guard lock(mutex_);
    all.swap(all_);
  }
  std::vector<std::string> killed;
  for (const auto& [name, weak] : all) {
    const auto strong = caf::actor_cast<caf::strong_actor_ptr>(weak);
    if (!strong) continue;
    auto who = caf::actor_cast<caf::actor>(strong);
    caf::anon_send_exit(who, caf::exit_reason::kill);
    killed.push_back(name);
  }
  return killed;
}

void roster::forget_dead() {
  std::erase_if(all_, [](const auto& e) { return caf::actor_cast<caf::strong_actor_ptr>(e.second) == nullptr; });
}

}  // namespace mailherd::actors
