#include "actors/async.hpp"

#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

namespace mailherd::actors {

void resume(const caf::weak_actor_ptr& who, std::function<void()> run) {
  if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(who)) {
    caf::anon_send(caf::actor_cast<caf::actor>(strong), continuation{std::move(run)});
  }
}

}  // namespace mailherd::actors
