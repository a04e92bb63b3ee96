// storage/listener: the connection that hears NOTIFY.
//
// Owns:   one connection with LISTEN and its thread; connects anew when it is lost, and then says that anything may have happened.
// Never:  decides: notifications only wake those who read rows.
// Threads: the callbacks run on the listener's thread. The destructor blocks until the thread has ended (at most a connection attempt).
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "core/ids.hpp"

namespace mailherd::store {

class listener {
 public:
  struct callbacks {
    std::function<void(tenant_id)> on_feed;
    std::function<void(tenant_id, channel_id)> on_channel_changed, on_state;
  };
  listener(std::string url, callbacks what);
  ~listener();
  listener(const listener&) = delete;
  listener& operator=(const listener&) = delete;

 private:
  void run();
  void listen_once();
  [[nodiscard]] bool wait(int socket, int timeout_ms) const;   ///< false: the end

  const std::string url_;
  const callbacks what_;
  int wake_ = -1;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace mailherd::store
