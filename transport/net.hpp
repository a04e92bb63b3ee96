// transport/net: what the rest of the house may know of the network: reactors, timers, connections, a dialer, an HTTP client.
//
// Owns:   the abstract interfaces. The implementation (Asio, OpenSSL, libcurl) is behind them and in no public header.
// Never:  mentions a mail protocol. Never blocks a reactor. Tests and simulations implement the same interfaces in memory.
// Threads: a reactor is one thread. A connection, its handlers and its timers belong to the reactor they were made on; everything is
//          called on that thread unless a function says "any thread".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"

namespace mailherd::net {

/// A timer that is owned: destroying or resetting it guarantees that its handler does not run any more.
class timer {
 public:
  virtual ~timer() = default;
};

/// One network thread.
class reactor {
 public:
  virtual ~reactor() = default;

  /// Runs `work` on the reactor's thread, later, in order. Any thread. After the reactor has stopped the work is destroyed unrun.
  virtual void post(std::function<void()> work) = 0;

  /// Runs `work` once at `when` on the reactor's thread. Reactor thread only.
  [[nodiscard]] virtual std::unique_ptr<timer> at(mono_time when, std::function<void()> work) = 0;

  /// The reactor's idea of time: real in production, virtual in tests. Any thread.
  [[nodiscard]] virtual mono_time now() const = 0;
  [[nodiscard]] virtual wall_time wall_now() const = 0;
};

/// What is known about the peer once connected; each part is what "Test connection" shows.
struct connection_info {
  std::string peer;                 ///< "192.0.2.1:993" as connected (through a proxy: the proxy's address)
  std::string tls_version;          ///< "TLSv1.3"; empty while unencrypted
  std::string tls_cipher;
  bool tls_resumed = false;
  std::string certificate_subject;
  std::optional<wall_time> certificate_expires_at;
  milliseconds dns_time{0}, tcp_time{0}, tls_time{0};
};

/// A connected byte stream, perhaps encrypted. Destroying it closes the socket at once and runs no handler any more.
class connection {
 public:
  virtual ~connection() = default;

  /// Grants ONE read: `on_data` is called once with 1..`limit` bytes that are valid only during the call (they lie in the reactor's shared
  /// buffer: an idle connection owns none), or with an error; EOF is failure::connection_lost with detail "closed by the server".
  /// At most one read is outstanding; a read not granted is how back-pressure reaches the server.
  using read_handler = std::function<void(result<std::string_view>)>;
  virtual void read(std::size_t limit, read_handler on_data) = 0;

  /// Queues bytes in order. `on_written` (may be empty) when all of them are with the kernel, or with an error (which also ends a read).
  using done_handler = std::function<void(result<void>)>;
  virtual void write(std::string bytes, done_handler on_written = {}) = 0;

  /// Begins TLS on this connection (STARTTLS/STLS), verifying the certificate against `host`. No read may be outstanding.
  virtual void start_tls(deadline until, done_handler on_done) = 0;

  [[nodiscard]] virtual const connection_info& info() const = 0;
  [[nodiscard]] virtual bool encrypted() const = 0;

  /// Orderly end: flushes queued writes for a short while, sends close_notify, awaits the peer's end (all within
  /// limits::close_deadline), closes. Outstanding handlers are dropped. The object may be
  /// destroyed at once: the flush goes on without it.
  virtual void close() = 0;
};

/// Where and how to connect. `host` is a name or an address literal; it is checked after resolution (MAILHERD_PRIVATE_TARGETS). TLS resumes
/// sessions of earlier connections to the same server through the same proxy.
struct target {
  std::string host;
  std::uint16_t port = 0;
  bool implicit_tls = true;
  std::optional<proxy_settings> proxy;
};

/// An attempt in progress: destroying it withdraws the attempt; its handler does not run any more. Reactor thread only.
class attempt {
 public:
  virtual ~attempt() = default;
};

/// Opens connections: resolver (cached, never blocking a reactor), happy eyeballs (RFC 8305), proxies, TLS.
class dialer {
 public:
  virtual ~dialer() = default;

  /// Progress of an attempt for "Test connection": "dns", "tcp", "proxy", "tls" as each step is done.
  using progress_handler = std::function<void(std::string_view step, const connection_info&)>;
  using connect_handler = std::function<void(result<std::unique_ptr<connection>>)>;

  /// One attempt with one deadline over all phases. `on_done` runs on `where` exactly once unless the attempt is destroyed first,
  /// and never before `dial` has returned.
  [[nodiscard]] virtual std::unique_ptr<attempt> dial(reactor& where, target to, deadline until, connect_handler on_done,
                                                      progress_handler on_progress = {}) = 0;
};

struct http_request {
  std::string method = "GET";
  std::string url;                                            ///< http or https; checked after resolution like any target
  std::vector<std::pair<std::string, std::string>> headers;   ///< values may be secrets: never logged
  secret<> body;
  std::size_t max_reply_bytes = 256 * 1024;
  /// A longer answer is cut there and counts (a webhook's receiver says all that matters with its status) instead of failing.
  bool cut_reply = false;
  bool follow_redirects = false;
  /// A POST may reach the server twice (a webhook: its id lets the receiver drop the second). See http_job::set_method.
  bool repeatable = false;
};

struct http_reply {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;   ///< names in lower case
  std::string body;
};

/// libcurl multi on the reactors' loops. Any thread.
class http_client {
 public:
  virtual ~http_client() = default;

  /// `on_done` runs exactly once on a reactor thread, also at shutdown (failure::cancelled; on the caller's thread if the network has
  /// already stopped). Any status is a reply; failures are those of reaching the server, of TLS, limit_exceeded and invalid_input.
  virtual void send(http_request request, deadline until, std::function<void(result<http_reply>)> on_done) = 0;
};

}  // namespace mailherd::net
