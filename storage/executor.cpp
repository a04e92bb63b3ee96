#include "storage/executor.hpp"

#include <random>
#include <utility>

namespace mailherd::store {

worker_pool::worker_pool(settings how, postgres::session_factory connect) : how_(how), connect_(std::move(connect)) {
  for (unsigned i = 0; i < std::max(1U, how_.workers); ++i) threads_.emplace_back([this, i] { run(i); });
}

worker_pool::~worker_pool() {
  {
    const std::lock_guard lock(guard_);
    ending_ = true;
  }
  changed_.notify_all();
  for (auto& t : threads_) t.join();
  // Nobody submits any more; what is left learns that it will not be done.
  for (auto* queue : {&urgent_, &ordinary_})
    for (auto& e : *queue) e.work(fail(failure::cancelled, "the node stops"));
}

bool worker_pool::submit(deadline until, job work, bool urgent) {
  {
    const std::lock_guard lock(guard_);
    if (ending_ || urgent_.size() + ordinary_.size() >= how_.queue_limit) return false;
    (urgent ? urgent_ : ordinary_).push_back({until, std::move(work)});
  }
  changed_.notify_one();
  return true;
}

std::size_t worker_pool::queued() const {
  const std::lock_guard lock(guard_);
  return urgent_.size() + ordinary_.size();
}

bool worker_pool::next(entry& out) {
  std::unique_lock lock(guard_);
  changed_.wait(lock, [this] { return ending_ || !urgent_.empty() || !ordinary_.empty(); });
  if (ending_) return false;
  auto& queue = urgent_.empty() ? ordinary_ : urgent_;
  out = std::move(queue.front());
  queue.pop_front();
  return true;
}

void worker_pool::run(unsigned number) {
  std::unique_ptr<postgres::worker_session> session;
  std::minstd_rand random(number + 1);
  unsigned failures = 0;
  mono_time retry_at{};
  error last{failure::store_unavailable, "not connected", {}};
  entry e;
  while (next(e)) {
    const auto work = std::exchange(e.work, nullptr);
    if (e.until.expired(mono_clock::now())) {
      work(fail(failure::timed_out, "waited too long for the database"));
      continue;
    }
    if (session && session->broken()) session.reset();
    // While the database is away jobs are answered at once instead of each waiting for a connection.
    if (!session && mono_clock::now() >= retry_at) {
      auto made = connect_();
      if (made) {
        session = std::move(*made);
        failures = 0;
      } else {
        last = made.error();
        const auto wide = (static_cast<std::uint64_t>(random()) << 33U) ^ random();
        retry_at = mono_clock::now() + backoff_delay(how_.reconnect, failures++, wide);
      }
    }
    if (session) {
      work(&session->stores());
    } else {
      work(fail(last));
    }
  }
}

}  // namespace mailherd::store
