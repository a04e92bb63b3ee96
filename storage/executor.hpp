// storage/executor: the storage workers: a fixed set of threads, each with one session, and a bounded queue before them.
//
// Owns:   the threads, the queue, each worker's session (made by a factory, thrown away when broken).
// Never:  blocks a submitter; runs a job twice; runs one whose deadline has passed; leaves one unanswered.
// Used by: postgres::open and tests.
// Threads: `submit` and `queued` on any thread. The destructor blocks until the jobs under way have ended; queued ones end with `cancelled`.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/backoff.hpp"
#include "storage/postgres.hpp"
#include "storage/store.hpp"

namespace mailherd::store {

class worker_pool final : public executor {
 public:
  struct settings {
    unsigned workers = 4;
    std::size_t queue_limit = limits::store_jobs;
    backoff_policy reconnect;
  };
  worker_pool(settings how, postgres::session_factory connect);
  ~worker_pool() override;

  bool submit(deadline until, job work, bool urgent) override;
  [[nodiscard]] std::size_t queued() const override;

 private:
  struct entry {
    deadline until;
    job work;
  };
  void run(unsigned number);
  bool next(entry& out);

  const settings how_;
  const postgres::session_factory connect_;
  mutable std::mutex guard_;
  std::condition_variable changed_;
  std::deque<entry> urgent_, ordinary_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace mailherd::store
