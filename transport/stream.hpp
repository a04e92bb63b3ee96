// transport/stream: a connected socket as a byte stream, plain or TLS: one granted read at a time, queued writes, an orderly end.
//
// Owns:   the socket, the TLS channel, the queue of writes, the handlers of its user.
// Never:  allocates a read buffer (the reactor's is shared), never runs a handler from within a call of its user.
// Used by: dialer (proxy dialogue and TLS before the connection is handed out) and, as `connection`, everybody.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "transport/io_reactor.hpp"
#include "transport/net.hpp"
#include "transport/tls.hpp"

namespace mailherd::net {

class stream final : public tracked, public std::enable_shared_from_this<stream> {
 public:
  /// What TLS needs to know of the peer.
  struct peer_name {
    std::string host;
    std::uint16_t port = 0;
    std::string path = {};   ///< the proxy between; empty: none
  };

  stream(io_reactor& where, std::unique_ptr<descriptor> socket, std::shared_ptr<tls_context> tls, peer_name name, connection_info info);
  ~stream() override;

  // As in `connection`:
  void read(std::size_t limit, connection::read_handler on_data);
  void write(std::string bytes, connection::done_handler on_written);
  void start_tls(deadline until, connection::done_handler on_done);
  void close();

  /// Closes at once; no handler runs any more.
  void abort();
  [[nodiscard]] connection_info& info() { return info_; }
  [[nodiscard]] bool encrypted() const { return secured_; }

 private:
  enum class want { nothing, readable, writable };
  enum class phase { open, closing, gone };
  struct chunk {
    std::string bytes;
    connection::done_handler on_written;
    std::size_t sent = 0;
  };

  void abandon() override;
  void arm();
  void ready(want w);
  void try_read();
  void read_turn();
  void try_write();
  void try_handshake();
  void finish_handshake(result<void> outcome);
  void later(void (stream::*step)());
  void deliver(connection::read_handler handler, result<std::string_view> what);
  void broken(error why);
  void maybe_closed();
  void drain();
  io_step receive(char* to, std::size_t size);
  io_step send(const char* from, std::size_t size);
  [[nodiscard]] std::string whom() const;

  io_reactor& reactor_;
  std::unique_ptr<descriptor> socket_;
  std::shared_ptr<tls_context> context_;
  std::unique_ptr<tls_channel> tls_;
  peer_name name_;
  connection_info info_;
  bool secured_ = false;
  phase phase_ = phase::open;
  bool draining_ = false;               ///< all is sent; the peer's end is awaited
  std::optional<error> broken_;         ///< why nothing works any more

  connection::read_handler on_data_;
  std::size_t read_limit_ = 0;
  want read_want_ = want::nothing;
  bool reading_ = false;                ///< read_turn is on the stack

  std::list<chunk> queue_;
  std::size_t queued_bytes_ = 0;
  want write_want_ = want::nothing;
  bool write_scheduled_ = false;

  connection::done_handler on_secured_;
  want handshake_want_ = want::nothing;
  mono_time handshake_began_{};

  std::unique_ptr<timer> timer_;        ///< of the handshake, later of the orderly end
  std::shared_ptr<stream> self_;        ///< while closing, nobody else holds it
};

/// Hands a stream out as a connection.
std::unique_ptr<connection> as_connection(std::shared_ptr<stream> s);

}  // namespace mailherd::net
