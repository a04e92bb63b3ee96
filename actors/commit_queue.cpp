#include "actors/commit_queue.hpp"

#include <utility>

#include "core/limits.hpp"

namespace mailherd::actors {

std::size_t bytes_of(const store::commit_unit& unit) {
  std::size_t n = 0;
  for (const auto& m : unit.messages) n += m.body ? m.body->size() : 0;
  return n;
}

bool commit_queue::add(commit_request_ptr request) {
  if (size_ >= limits::gate_units) return false;
  const auto channel = request->unit.guard.channel;
  auto& l = lanes_[channel];
  const auto arrival = ++arrivals_;
  l.waiting.push_back({arrival, std::move(request)});
  mark_ready(channel, l);
  ++size_;
  return true;
}

/// Does nothing if it is already.
void commit_queue::mark_ready(channel_id channel, const lane& of) {
  if (!of.in_flight && !of.waiting.empty() && !of.waiting.front().request->held) ready_.emplace(of.waiting.front().arrival, channel);
}

void commit_queue::released(channel_id channel) {
  const auto at = lanes_.find(channel);
  if (at != lanes_.end()) mark_ready(channel, at->second);
}

commit_queue::requests commit_queue::next_group(mono_time now, requests& expired) {
  requests group;
  std::size_t bytes = 0, messages = 0;
  while (!ready_.empty()) {
    const auto channel = ready_.begin()->second;
    auto& l = lanes_.at(channel);
    auto& first = l.waiting.front().request;
    if (first->until.expired(now)) {
      ready_.erase(ready_.begin());
      empty(l, expired);
      if (l.waiting.empty() && !l.in_flight) lanes_.erase(channel);
      continue;
    }
    const auto b = bytes_of(first->unit);
    const auto m = first->unit.messages.size();
    if (!group.empty() && (bytes + b > limits::commit_group_bytes || messages + m > limits::commit_group_messages)) break;
    bytes += b;
    messages += m;
    group.push_back(std::move(first));
    ready_.erase(ready_.begin());
    l.waiting.pop_front();
    --size_;
    mark_ready(channel, l);
  }
  for (const auto& r : group) {
    auto& l = lanes_[r->unit.guard.channel];
    l.in_flight = true;
    if (!l.waiting.empty()) ready_.erase(l.waiting.front().arrival);
  }
  return group;
}

void commit_queue::finished(const requests& group) {
  for (const auto& r : group) {
    const auto channel = r->unit.guard.channel;
    const auto at = lanes_.find(channel);
    if (at == lanes_.end() || !at->second.in_flight) continue;   // the group held another unit of this channel
    at->second.in_flight = false;
    if (at->second.waiting.empty()) {
      lanes_.erase(at);
    } else {
      mark_ready(channel, at->second);
    }
  }
}

commit_queue::requests commit_queue::drop(channel_id channel) {
  requests dropped;
  const auto at = lanes_.find(channel);
  if (at == lanes_.end()) return dropped;
  if (!at->second.waiting.empty()) ready_.erase(at->second.waiting.front().arrival);
  empty(at->second, dropped);
  if (!at->second.in_flight) lanes_.erase(at);
  return dropped;
}

void commit_queue::expire(mono_time now, requests& expired) {
  for (auto at = lanes_.begin(); at != lanes_.end();) {
    auto& l = at->second;
    const bool late = !l.waiting.empty() && l.waiting.front().request->until.expired(now);
    if (late) {
      ready_.erase(l.waiting.front().arrival);
      empty(l, expired);
    }
    at = late && !l.in_flight ? lanes_.erase(at) : std::next(at);
  }
}

void commit_queue::empty(lane& from, requests& into) {
  size_ -= from.waiting.size();
  for (auto& e : from.waiting) into.push_back(std::move(e.request));
  from.waiting.clear();
}

}  // namespace mailherd::actors
