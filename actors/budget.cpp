#include "actors/budget.hpp"

#include <utility>
#include <vector>

namespace mailherd::actors {

void fetch_budget::ask(std::size_t bytes, handler on_granted) {
  {
    std::lock_guard lock(mutex_);
    if (!waiting_.empty() || !fits(bytes)) {
      waiting_.push_back({bytes, std::move(on_granted)});
      return;
    }
    used_ += bytes;
  }
  on_granted(std::make_shared<share>(shared_from_this(), bytes));
}

std::size_t fetch_budget::in_use() const {
  std::lock_guard lock(mutex_);
  return used_;
}

void fetch_budget::give_back(std::size_t bytes) {
  std::vector<waiter> ready;
  {
    std::lock_guard lock(mutex_);
    used_ -= bytes;
    while (!waiting_.empty() && fits(waiting_.front().bytes)) {
      used_ += waiting_.front().bytes;
      ready.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }
  // Outside the lock: a handler may ask again.
  for (auto& w : ready) w.on_granted(std::make_shared<share>(shared_from_this(), w.bytes));
}

}  // namespace mailherd::actors
