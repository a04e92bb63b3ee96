// api/server: the HTTP API and the metrics listener of one node, as one object.
//
// Owns:   two listeners, one thread that runs them, one background thread for work that costs CPU (MIME, metrics text).
// Never:  blocks its HTTP thread; touches the database but through store::executor; shows a secret; decides what happens to a channel.
// Used by: node/ (starts it, wakes it, stops it) and the tests of this room.
// Threads: every function may be called on any thread. `start` and `stop` block; `wake` never does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/control.hpp"
#include "core/limits.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "storage/store.hpp"

namespace mailherd::api {

struct options {
  std::string listen = "127.0.0.1:8080";          ///< "host:port", "[v6]:port"; port 0: any free one, see `server::port`
  std::string metrics_listen = "127.0.0.1:9464";  ///< likewise; empty: no metrics listener
  std::vector<secret<>> operator_tokens;          ///< at least one; the first also keys the digests of Idempotency-Key requests
  std::string public_url;                         ///< base of addresses shown to people; empty: http:// + listen
  std::string version;
  bool kafka = false;            ///< endpoints "kafka:<topic>" are possible
  bool allow_plaintext = false;  ///< the operator allows `tls: none` and http:// endpoints
  std::size_t connections = limits::api_connections;
  seconds header_timeout = limits::api_header_timeout;  ///< from the first byte awaited to the last byte of the header
  seconds idle_timeout = limits::api_idle_timeout;      ///< between two requests of one connection
  seconds stall_timeout = limits::api_stall_timeout;    ///< one piece of a body, in either direction
  seconds stop_grace = limits::api_stop_grace;          ///< requests under way may end within this when stopping
  std::function<void(const std::string&)> log;          ///< one line per defect (500); any thread; never a secret; may be empty
};

class server {
 public:
  /// Binds both listeners and begins to serve. Errors: invalid_input (an address that cannot be read, no operator token), conflict (the
  /// address is in use; the detail names it), internal. `store` and `control` outlive the server and the jobs it has left in `store`;
  /// `metrics_text` is called on a background thread and may take a while.
  static result<std::unique_ptr<server>> start(options wanted, store::executor& store, actors::control& control,
                                               std::function<std::string()> metrics_text);

  /// As `stop`.
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// New messages of this tenant may be in the feed: those who wait for them look again. A hint; waiters also look by themselves.
  void wake(tenant_id tenant);

  /// Something about this channel changed: those who follow GET /v1/live are told. No tenant: anything may have.
  void changed(tenant_id tenant, channel_id channel);

  /// Takes no new connection, answers waiting readers of the feed at once, lets requests under way end within `stop_grace`, then closes.
  /// Blocks until the threads have ended. Twice is fine.
  void stop();

  /// The port really bound (for port 0). 0 for the metrics listener if there is none.
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::uint16_t metrics_port() const;

 private:
  server();
  struct parts;
  std::unique_ptr<parts> parts_;
};

}  // namespace mailherd::api
