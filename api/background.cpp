// api/background: one thread over a bounded queue; see the header.
#include "api/background.hpp"

#include <utility>

namespace mailherd::api {

background::background(std::size_t most) : most_(most), thread_([this] { run(); }) {}

background::~background() { stop(); }

bool background::submit(std::function<void()> work) {
  {
    const std::lock_guard lock(guard_);
    if (ending_ || waiting_.size() >= most_) return false;
    waiting_.push_back(std::move(work));
  }
  changed_.notify_one();
  return true;
}

void background::stop() {
  std::deque<std::function<void()>> left;  // destroyed outside the lock: it may answer requests
  {
    const std::lock_guard lock(guard_);
    ending_ = true;
    left.swap(waiting_);
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void background::run() {
  std::unique_lock lock(guard_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (ending_) return;
    auto work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
  }
}

}  // namespace mailherd::api
