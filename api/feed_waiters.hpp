// api/feed_waiters: readers of the feed who wait for mail that is not there yet.
//
// Owns:   who waits for which tenant, and until when. A wake between a reader's look and his waiting is not lost: wakes are counted.
// Never:  looks into the store: it calls `look` again.
// Used by: the feed's handler. All on the HTTP thread.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>

#include "api/http.hpp"
#include "core/ids.hpp"

namespace mailherd::api {

class feed_waiters {
 public:
  explicit feed_waiters(std::shared_ptr<loop> loop) : loop_(std::move(loop)) {}

  /// Wakes so far; a look remembers it before it begins.
  [[nodiscard]] std::uint64_t wakes(tenant_id tenant) const;

  /// Calls `look` once: at once if there was a wake since `seen`, else at the next wake, at `recheck`, or when the node stops.
  void wait(tenant_id tenant, std::uint64_t seen, milliseconds recheck, std::function<void()> look);

  void wake(tenant_id tenant);
  void stop();
  [[nodiscard]] bool stopping() const { return stopping_; }

 private:
  using waiter = std::shared_ptr<std::function<void()>>;  // emptied when called
  static void call_once(const waiter& w);

  std::shared_ptr<loop> loop_;
  std::unordered_map<tenant_id, std::uint64_t> wakes_;
  std::unordered_map<tenant_id, std::list<waiter>> waiting_;
  bool stopping_ = false;
};

}  // namespace mailherd::api
