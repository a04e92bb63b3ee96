#include "actors/pacer.hpp"

#include <caf/actor_cast.hpp>

#include <algorithm>
#include <utility>

namespace mailherd::actors {

namespace {
bool alive(const caf::weak_actor_ptr& who) { return caf::actor_cast<caf::strong_actor_ptr>(who) != nullptr; }

char something = 0;   // what a ticket points to: a null one would look like none
}  // namespace

void pacer_state::pump() {
  queue.limit_hosts(std::max(1U, per_host / std::max(1U, nodes->load())));
  while (auto request = queue.next()) {
    if (!alive(request->then.who)) {
      queue.finished(request->host);
      continue;
    }
    // Should the asker die with the answer in its mailbox, the message is dropped and the ticket with it.
    caf::weak_actor_ptr me{self->ctrl()};
    request->then(login_ticket(&something, [me, host = request->host, this](void*) {
      resume(me, [this, host] {
        queue.finished(host);
        pump();
      });
    }));
  }
}

pacer_actor::behavior_type pacer(pacer_actor::stateful_pointer<pacer_state> self, const herd_options& options,
                                 const std::shared_ptr<std::atomic<unsigned>>& nodes) {
  auto& state = self->state;
  state.per_host = options.logins_per_host;
  state.nodes = nodes;
  state.queue = login_queue(options.logins_per_host, options.logins_per_node);
  return {
      [](const continuation& rest) { rest.run(); },
      [&state](login_atom, const std::shared_ptr<login_request>& request) {
        state.queue.add(request);
        state.pump();
      },
  };
}

pacer_actor spawn_pacer(caf::actor_system& system, const environment& env) { return system.spawn(pacer, env.options, env.nodes); }

}  // namespace mailherd::actors
