#include "actors/commit_queue.hpp"

#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
std::size_t bytes_of(const store::commit_unit& unit) {
  std::size_t n = 0;
  for (const auto& m : unit.messages) n += m.body ? m.body->size() : 0;
  return n;
}
}  // namespace

bool commit_queue::add(std::shared_ptr<commit_request> request) {
  if (waiting_.size() >= limits::gate_units) return false;
  waiting_.push_back(std::move(request));
  return true;
}

std::vector<std::shared_ptr<commit_request>> commit_queue::next_group(mono_time now, std::vector<std::shared_ptr<commit_request>>& expired) {
  std::vector<std::shared_ptr<commit_request>> group;
  std::deque<std::shared_ptr<commit_request>> left;
  std::unordered_set<channel_id> passed_over;   // a later unit must not overtake an earlier one of its channel
  std::size_t bytes = 0, messages = 0;
  bool full = false;
  for (auto& r : waiting_) {
    const auto channel = r->unit.guard.channel;
    if (r->until.expired(now)) {
      // Everything of this channel that waits behind it goes too: a gap in the middle would move the cursor over unstored mail.
      expired.push_back(std::move(r));
      passed_over.insert(channel);
      continue;
    }
    const auto b = bytes_of(r->unit);
    const auto m = r->unit.messages.size();
    if (!group.empty() && (bytes + b > limits::commit_group_bytes || messages + m > limits::commit_group_messages)) full = true;
    if (full || in_flight_.contains(channel) || passed_over.contains(channel)) {
      passed_over.insert(channel);
      left.push_back(std::move(r));
      continue;
    }
    bytes += b;
    messages += m;
    group.push_back(std::move(r));
  }
  waiting_ = std::move(left);
  for (const auto& r : group) in_flight_.insert(r->unit.guard.channel);
  return group;
}

void commit_queue::finished(const std::vector<std::shared_ptr<commit_request>>& group) {
  for (const auto& r : group) in_flight_.erase(r->unit.guard.channel);
}

}  // namespace mailherd::actors
