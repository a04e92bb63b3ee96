// api/feed_waiters: counting of wakes, so that none is lost between a look and a wait; see the header.
#include "api/feed_waiters.hpp"

#include <utility>

namespace mailherd::api {

std::uint64_t feed_waiters::wakes(tenant_id tenant) const {
  const auto at = wakes_.find(tenant);
  return at == wakes_.end() ? 0 : at->second;
}

void feed_waiters::call_once(const waiter& w) {
  if (auto look = std::exchange(*w, nullptr)) look();
}

void feed_waiters::wait(tenant_id tenant, std::uint64_t seen, milliseconds recheck, std::function<void()> look) {
  if (stopping_ || wakes(tenant) != seen) return look();
  auto fresh = std::make_shared<std::function<void()>>(std::move(look));
  auto& list = waiting_[tenant];
  // Those whose time is over leave here: a tenant without mail has no wake that would clear the list.
  list.remove_if([](const waiter& w) { return !*w; });
  list.push_back(fresh);
  loop_->after(recheck, [fresh] { call_once(fresh); });
}

void feed_waiters::wake(tenant_id tenant) {
  ++wakes_[tenant];
  const auto at = waiting_.find(tenant);
  if (at == waiting_.end()) return;
  const auto all = std::exchange(at->second, {});
  waiting_.erase(at);
  for (const auto& w : all) call_once(w);
}

void feed_waiters::stop() {
  stopping_ = true;
  const auto all = std::exchange(waiting_, {});
  for (const auto& [tenant, list] : all)
    for (const auto& w : list) call_once(w);
}

}  // namespace mailherd::api
