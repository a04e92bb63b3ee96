// actors/delivery/telling: a wish of an endpoint becomes events with their bodies.
//
// Owns:   the ids of events; which rows a wish means.
// Never:  runs anywhere but on a storage worker; sends.
// Used by: deliverer.
#pragma once

#include <vector>

#include "actors/delivery/endpoint.hpp"
#include "actors/environment.hpp"

namespace mailherd::actors {

/// What a storage worker made of a wish.
struct events_told {
  result<void> status;
  std::vector<told_event> events;
  std::int64_t upto = 0, head = 0;
};

/// Events of the endpoint, or of one of its lanes.
result<events_told> tell_events(store::webhook_store& hooks, store::session& s, const event_words& words, deliverer_id life, const store::webhook_load& to,
                                const endpoint::wish& w);
/// What people asked for: a test, or something given up once more.
result<events_told> tell_asked(store::webhook_store& hooks, store::session& s, const event_words& words, deliverer_id life, const store::webhook_load& to,
                               const endpoint::wish& w, wall_time now);

}  // namespace mailherd::actors
