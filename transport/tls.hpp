// transport/tls: OpenSSL: one context for the node, one channel per connection, the cache of sessions for resumption.
//
// Owns:   SSL_CTX, SSL objects, the newest sessions of each server. Verification is always on; there is no switch.
// Never:  waits: every call returns at once and says which readiness it needs. Never owns the socket.
// Used by: stream; HTTP client for the trusted authorities.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "transport/net.hpp"

namespace mailherd::net {

/// What one attempt to move bytes (or to shake hands) came to.
struct io_step {
  enum class kind { moved, want_read, want_write, closed, failed } what = kind::failed;
  std::size_t bytes = 0;
  std::string why = {};   ///< for `failed`
};

/// The trusted authorities: the system's and those of `ca_file` (may be empty). The caller frees the store (X509_STORE_free).
result<X509_STORE*> make_trust_store(const std::string& ca_file);

/// Any thread.
class tls_context {
 public:
  /// Fails with invalid_input if `ca_file` cannot be read.
  static result<std::shared_ptr<tls_context>> create(const std::string& ca_file);
  ~tls_context();

  [[nodiscard]] SSL_CTX* native() const;
  /// Sessions in the cache, for tests and metrics.
  [[nodiscard]] std::size_t sessions() const;

 private:
  friend class tls_channel;
  struct state;
  tls_context();
  std::unique_ptr<state> state_;
};

/// TLS over a connected non-blocking socket. One thread.
class tls_channel {
 public:
  /// Resumes a session that an earlier connection to the same server was given, whosever mailbox that was for: a session vouches for the
  /// host it was made with and says nothing of who signs in. `path`: what stands between (a proxy), for one name may mean another server
  /// behind it.
  tls_channel(std::shared_ptr<tls_context> context, int fd, std::string host, std::uint16_t port, std::string_view path = {});
  ~tls_channel();
  tls_channel(const tls_channel&) = delete;
  tls_channel& operator=(const tls_channel&) = delete;

  /// moved: the peer is verified. failed: see problem().
  io_step handshake();
  /// Why the handshake failed. REQUIRED: it failed.
  [[nodiscard]] error problem() const;

  io_step read(char* to, std::size_t size);
  io_step write(const char* from, std::size_t size);
  /// Bytes were taken from the socket and not yet handed on, decrypted or not, perhaps not a whole record: the socket may never become readable
  /// for them.
  [[nodiscard]] bool has_pending() const;
  /// Sends close_notify, best effort.
  void shutdown();

  /// Fills the TLS part of `info`. REQUIRED: handshake done.
  void describe(connection_info& info) const;

 private:
  friend class tls_context;
  static int verified(int ok, X509_STORE_CTX* verification);
  static int new_session(SSL* ssl, SSL_SESSION* session);
  io_step step(int rc, std::size_t moved, bool handshaking);
  error handshake_error(unsigned long queued, bool eof) const;

  std::shared_ptr<tls_context> context_;
  SSL* ssl_ = nullptr;
  std::string host_;
  std::string server_;    ///< the cache's key: host, port, path
  std::optional<error> problem_;
  bool offered_ = false;  ///< a session of the cache
  bool kept_ = false;     ///< this connection gave the cache its session
  bool ticket_came_ = false;
  bool broken_ = false;   ///< after a fatal error OpenSSL forbids every call, also shutdown
};

}  // namespace mailherd::net
