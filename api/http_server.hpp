// api/http_server: HTTP/1.1 on TCP, bounded in every direction. The only file pair that knows Beast (in its .cpp).
//
// Owns:   the HTTP thread and its io_context; listeners, connections and their deadlines.
// Never:  looks into a request beyond HTTP itself; lets one client hold memory or a connection without limit.
// Used by: server.cpp, and this room's tests.
// Threads: one thread runs everything; `start`, `stop_accepting`, `close` are called by the owner, on its own thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "api/http.hpp"
#include "core/result.hpp"

namespace mailherd::api {

struct http_limits {
  std::size_t connections;   ///< per listener; past it a new one is answered 503 and closed
  std::size_t header_bytes;  ///< request line and header together: 431
  std::size_t body_bytes;    ///< 413
  seconds header_timeout, idle_timeout, stall_timeout;
};

class http_server final : public loop, public std::enable_shared_from_this<http_server> {
 public:
  static std::shared_ptr<http_server> create();
  ~http_server() override;

  /// Binds "host:port" and serves it with `handler` once `run` is called. Returns the bound port. Errors: invalid_input (address cannot be
  /// read), conflict (in use), internal. Call before `run`.
  result<std::uint16_t> listen(const std::string& address, const http_limits& limits, request_handler handler);

  /// Starts the thread.
  void run();

  /// Closes the listeners and idle connections; those with a request under way are closed after their answer. Blocks at most `grace`
  /// until none is left, then ends the thread and destroys everything that waits in the loop. Twice is fine.
  void stop(milliseconds grace);

  void post(std::function<void()> work) override;
  void after(milliseconds wait, std::function<void()> work) override;

  struct engine;  // known to the .cpp only

 private:
  http_server();
  std::unique_ptr<engine> engine_;
};

}  // namespace mailherd::api
