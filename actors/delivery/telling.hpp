// actors/delivery/telling: a wish of an endpoint becomes events with their bodies.
//
// Owns:   the ids of events; which rows a wish means; the order of reading (on a storage worker) and of making the bodies (on the workshop).
// Never:  sends; takes mail apart on a storage worker.
// Used by: deliverer.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/delivery/endpoint.hpp"
#include "actors/environment.hpp"

namespace mailherd::actors {

/// What a storage worker made of a wish.
struct events_told {
  result<void> status;
  std::vector<told_event> events;
  std::map<std::size_t, std::function<std::string()>> unmade;   ///< of `events`, by index: their bodies are yet to be made
  std::size_t holds = 0;                                        ///< bytes in memory for that
  std::int64_t upto = 0, head = 0;
};

/// Events of the endpoint, or of one of its lanes.
result<events_told> tell_events(store::webhook_store& hooks, store::session& s, const event_words& words, deliverer_id life, const store::webhook_load& to,
                                const endpoint::wish& w);
/// What people asked for: a test, or something given up once more.
result<events_told> tell_asked(store::webhook_store& hooks, store::session& s, const event_words& words, deliverer_id life, const store::webhook_load& to,
                               const endpoint::wish& w, wall_time now);

/// Makes the bodies that are left, one after another and each as a job of its own: whoever ends the workshop waits for one at most. `done` is called
/// once, on the workshop, or at once when it takes no more work (failure::store_busy); never if the workshop ends before.
void make_bodies(const workshop& on, const std::shared_ptr<events_told>& told, const std::function<void(result<void>)>& done);

}  // namespace mailherd::actors
