// actors/delivery/endpoint_progress: what of an endpoint becomes durable, and what people may see of its attempts.
#include <iterator>
#include <string_view>
#include <utility>

#include "actors/delivery/endpoint.hpp"

namespace mailherd::actors {

using store::event_kind;

namespace {

/// Notes that must not be lost (given up, asked for) are kept besides the sample.
constexpr std::size_t most_notes = 1'000;

}  // namespace

void endpoint::note(const told_event& event, const verdict& v, milliseconds took, wall_time now, const char* state) {
  const bool must = event.asked || std::string_view(state) == "dead";
  if (!must && notes_.size() >= limits::webhook_notes) return;
  if (notes_.size() >= most_notes) return;
  store::delivery_record d;
  d.id = event.asked;
  d.state = state;
  d.kind = event.lane.kind;
  d.event = event.id;
  d.channel = event.lane.channel;
  d.position = event.position;
  d.sequence = event.sequence;
  d.attempts = event.attempts + 1;
  d.at = now;
  d.took = took;
  d.status = v.status;
  d.error = v.error;
  d.request = event.body ? event.body->substr(0, limits::webhook_excerpt_bytes) : std::string();
  d.response = v.response;
  notes_.push_back(std::move(d));
}

store::webhook_progress endpoint::take_progress() {
  store::webhook_progress p;
  p.key = load_.key;
  p.epoch = load_.epoch;
  p.revision = load_.revision;
  p.message_position = cursor(event_kind::message);
  p.state_position = cursor(event_kind::state);
  p.failures = failures_;
  p.failing_since = failing_since_;
  p.open_until = open_until_;
  for (const auto& lane : std::exchange(changed_stalls_, {}))
    if (const auto at = stalls_.find(lane); at != stalls_.end()) p.stalls.push_back(at->second.record);
  for (const auto& lane : std::exchange(ended_stalls_, {}))
    if (!stalls_.contains(lane)) p.caught_up.emplace_back(lane.kind, lane.channel);
  p.notes = std::exchange(notes_, {});
  p.disable = disable_;
  dirty_ = false;
  return p;
}

void endpoint::not_saved(store::webhook_progress progress) {
  for (const auto& s : progress.stalls) {
    const lane_key lane{s.kind, s.channel};
    if (stalls_.contains(lane)) changed_stalls_.insert(lane);
  }
  for (const auto& [kind, channel] : progress.caught_up) ended_stalls_.insert({kind, channel});
  progress.notes.insert(progress.notes.end(), std::make_move_iterator(notes_.begin()), std::make_move_iterator(notes_.end()));
  notes_ = std::move(progress.notes);
  dirty_ = true;
}

}  // namespace mailherd::actors
