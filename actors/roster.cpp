#include "actors/roster.hpp"

#include <caf/abstract_actor.hpp>
#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/exit_reason.hpp>
#include <caf/send.hpp>

#include <algorithm>

namespace mailherd::actors {

namespace {
/// Somebody may hold on to an actor that has ended: the address alone says nothing.
caf::strong_actor_ptr alive(const caf::weak_actor_ptr& who) {
  auto strong = caf::actor_cast<caf::strong_actor_ptr>(who);
  return strong && !strong->get()->getf(caf::abstract_actor::is_terminated_flag) ? strong : nullptr;
}
}  // namespace

void roster::add(std::string name, caf::weak_actor_ptr who) {
  std::lock_guard lock(mutex_);
  // Doubling: dead entries cost a bounded share of the living ones, and no search per actor.
  if (all_.size() >= tidy_at_) {
    forget_dead();
    tidy_at_ = std::max<std::size_t>(1'024, 2 * all_.size());
  }
  all_.emplace_back(std::move(name), std::move(who));
}

std::vector<std::string> roster::living() {
  std::lock_guard lock(mutex_);
  forget_dead();
  std::vector<std::string> names;
  for (const auto& [name, who] : all_) names.push_back(name);
  return names;
}

std::vector<std::string> roster::kill() {
  std::vector<std::string> names;
  std::lock_guard lock(mutex_);
  for (const auto& [name, weak] : all_) {
    const auto strong = alive(weak);
    if (!strong) continue;
    caf::anon_send_exit(caf::actor_cast<caf::actor>(strong), caf::exit_reason::kill);
    names.push_back(name);
  }
  return names;
}

void roster::forget_dead() {
  std::erase_if(all_, [](const auto& e) { return alive(e.second) == nullptr; });
}

}  // namespace mailherd::actors
