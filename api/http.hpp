// api/http: requests and responses as the handlers see them, and the loop that runs them.
//
// Owns:   plain values; `responder`, which makes sure that every request is answered exactly once.
// Never:  names Beast: only http_server.cpp knows it (its include costs half a minute of compilation).
// Used by: every file of this room.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"

namespace mailherd::api {

enum class verb { get, head, post, put, patch, del, other };

std::string_view to_string(verb v) noexcept;

struct request {
  verb method = verb::get;
  std::string target;                                       ///< as received: "/v1/tenants?limit=3"
  std::map<std::string, std::string, std::less<>> headers;  ///< names in lower case; repeated ones joined by ", "
  std::string body;
  std::string peer;  ///< the client's address, without its port; behind a proxy the proxy's

  [[nodiscard]] std::string_view header(std::string_view name) const;
};

/// A body that is produced while it is sent. One piece at a time: the next one is asked for when the last is with the client.
class body_source {
 public:
  virtual ~body_source() = default;
  /// Calls `on_piece` exactly once, on any thread: the next bytes, an empty string at the end, or an error (the connection is cut then,
  /// for a status line cannot be taken back). Never blocks.
  virtual void next(std::function<void(result<std::string>)> on_piece) = 0;
};

struct response {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;  ///< Content-Length, Date and Connection are the server's
  std::string body;
  std::shared_ptr<body_source> stream;  ///< instead of `body`
  std::uint64_t stream_bytes = 0;       ///< what `stream` will give in all
  bool endless = false;                 ///< `stream` has no length: an empty piece ends it, and the connection with it
};

/// Status line and header of an answer whose body has so many bytes.
std::string response_head(const response& r, std::uint64_t body_bytes, bool keep_alive);

/// Answers one request, once, from any thread. Destroyed unanswered (a job was dropped), it answers 503.
class responder {
 public:
  explicit responder(std::function<void(response)> send) : send_(std::move(send)) {}
  ~responder();
  responder(const responder&) = delete;
  responder& operator=(const responder&) = delete;

  void operator()(response answer);

 private:
  std::function<void(response)> send_;
  std::atomic<bool> done_{false};
};

using respond = std::shared_ptr<responder>;

/// What answers requests: called on the HTTP thread, must not block; `answer` may be used later and from any thread.
using request_handler = std::function<void(request, respond answer)>;

/// The HTTP thread. `post` and `after` may be called on any thread; after the loop has ended they do nothing.
class loop {
 public:
  virtual ~loop() = default;
  virtual void post(std::function<void()> work) = 0;
  virtual void after(milliseconds wait, std::function<void()> work) = 0;
};

}  // namespace mailherd::api
