// api/background: one thread for work that costs CPU (taking a message apart, writing the metrics text).
//
// Owns:   the thread and a bounded queue.
// Never:  touches the database or a socket.
// Used by: handlers, metrics; node, for the deliverer.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace mailherd::api {

class background {
 public:
  explicit background(std::size_t most);
  ~background();  ///< as stop
  background(const background&) = delete;
  background& operator=(const background&) = delete;

  /// False if the queue is full or the thread is ending; `work` is destroyed unrun then. Never blocks. `work` must not throw.
  bool submit(std::function<void()> work);
  /// Ends after the work under way; what waits is destroyed unrun.
  void stop();

 private:
  void run();

  const std::size_t most_;
  std::mutex guard_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace mailherd::api
