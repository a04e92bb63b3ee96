#include "tests/actors/memory_edits.hpp"

#include <algorithm>

namespace mailherd::test::edits {

void keep_generations(memory_mail::row& r) { r.generations[r.load.record.generation] = r.load.credential; }

result<void> update_channel(memory_mail::row& r, const channel_spec& spec, std::int64_t revision) {
  auto& record = r.load.record;
  if (revision != record.revision) return fail(failure::conflict, "changed by somebody else");
  if (spec.incoming.host != record.spec.incoming.host || spec.incoming.port != record.spec.incoming.port) ++record.server;
  if (spec.enabled != record.spec.enabled) {
    const auto& newest = r.generations.at(record.generation);
    const bool granted = newest.type == auth_type::basic || !newest.refresh_token.empty() || record.observed_generation > 0;
    record.state = !spec.enabled ? channel_state::disabled : granted ? channel_state::connecting : channel_state::consent_pending;
    record.state_reason.clear();
    record.next_attempt_at.reset();
    record.throttled_until.reset();
  }
  record.spec = spec;
  ++record.revision;
  return {};
}

std::int64_t put_credential(memory_mail::row& r, credential c) {
  auto& record = r.load.record;
  r.generations[++record.generation] = std::move(c);
  record.switching = switch_state::running;
  record.switch_error.clear();
  return record.generation;
}

result<std::int64_t> complete_consent(memory_mail::row& r, std::int64_t generation, const secret<>& refresh_token) {
  auto& record = r.load.record;
  if (generation != record.generation) return fail(failure::conflict, "changed meanwhile");
  auto& newest = r.generations.at(generation);
  if (!newest.refresh_token.empty()) {
    auto next = newest;
    next.refresh_token = refresh_token;
    return put_credential(r, std::move(next));
  }
  newest.refresh_token = refresh_token;
  record.switching = switch_state::running;
  record.switch_error.clear();
  return generation;
}

result<std::int64_t> roll_back(memory_mail::row& r) {
  const auto& record = r.load.record;
  const auto back = record.observed_generation == record.generation ? record.previous_generation : record.observed_generation;
  const auto earlier = r.generations.find(back);
  if (earlier == r.generations.end()) return fail(failure::conflict, "no earlier credential");
  return put_credential(r, earlier->second);
}

void sweep(memory_mail::row& r) {
  const auto& record = r.load.record;
  std::erase_if(r.generations, [&](const auto& g) {
    return g.first < std::min(record.generation, record.observed_generation) && g.first != record.previous_generation;
  });
}

}  // namespace mailherd::test::edits
