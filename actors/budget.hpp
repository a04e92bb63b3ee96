// actors/budget: how many bytes of mail the whole node may have fetched and not yet stored.
//
// Owns:   the count, and the queue of those who wait for a share (first come, first served, so that nobody starves).
// Never:  blocks; never hands out more than its total, except one single message larger than the total when nothing else is out.
// Threads: any. `on_granted` runs on the thread that released the bytes (or at once on the caller's): it must only post.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace mailherd::actors {

class fetch_budget : public std::enable_shared_from_this<fetch_budget> {
 public:
  explicit fetch_budget(std::size_t bytes) : total_(bytes) {}

  /// A share. It returns to the budget when the last owner lets go: no path can leak it.
  class share {
   public:
    share(std::shared_ptr<fetch_budget> from, std::size_t bytes) : from_(std::move(from)), bytes_(bytes) {}
    ~share() { from_->give_back(bytes_); }
    share(const share&) = delete;
    share& operator=(const share&) = delete;

   private:
    std::shared_ptr<fetch_budget> from_;
    std::size_t bytes_;
  };

  using handler = std::function<void(std::shared_ptr<share>)>;
  void ask(std::size_t bytes, handler on_granted);

  [[nodiscard]] std::size_t in_use() const;

 private:
  struct waiter {
    std::size_t bytes;
    handler on_granted;
  };
  void give_back(std::size_t bytes);
  bool fits(std::size_t bytes) const { return used_ == 0 || used_ + bytes <= total_; }

  mutable std::mutex mutex_;
  std::size_t total_;
  std::size_t used_ = 0;
  std::deque<waiter> waiting_;
};

}  // namespace mailherd::actors
