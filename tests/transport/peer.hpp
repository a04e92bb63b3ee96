// tests/transport/peer: a small blocking server: one thread accepts, one thread per connection runs the test's script.
//
// Owns:   the listening socket, the threads and the sockets; its destructor ends them all, whatever the scripts wait for.
// Used by: the tests of this folder only.
#pragma once

#include <openssl/ssl.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace mailherd::net::test {

/// One accepted connection, in the hands of a script. Blocking.
class client {
 public:
  explicit client(int fd) : fd_(fd) {}
  ~client();

  /// False if the handshake fails.
  bool start_tls(SSL_CTX* ctx);
  void write(std::string_view bytes);
  /// "" at the end of the stream.
  std::string read_some(std::size_t most = 65536);
  /// Up to and with `end`; what was there at the end of the stream if it ends before.
  std::string read_until(std::string_view end);
  std::string read_exactly(std::size_t size);
  /// Waits for the end of the stream; true if TLS was closed by close_notify (or the stream was plain).
  bool wait_for_end();
  /// Ends with RST instead of FIN.
  void reset();
  void close_notify() { SSL_shutdown(ssl_); }
  [[nodiscard]] SSL* ssl() const { return ssl_; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
  SSL* ssl_ = nullptr;
};

class peer {
 public:
  using script = std::function<void(client&)>;

  explicit peer(script s, const std::string& address = "127.0.0.1", std::uint16_t port = 0);
  ~peer();
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::size_t accepted() const { return accepted_; }

 private:
  void accept_all();

  script script_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<std::size_t> accepted_{0};
  std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

/// A listening socket at 127.0.0.1 and its port, for a server of the test's own.
std::pair<int, std::uint16_t> listening();

/// A port on which nothing listens: connections are refused.
std::uint16_t dead_port(const std::string& address = "127.0.0.1");

/// Takes no connection any more: its queue of connections is full, so further ones get no answer at all.
class black_hole {
 public:
  black_hole();
  ~black_hole();
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  int listener_ = -1;
  std::vector<int> fillers_;
  std::uint16_t port_ = 0;
};

}  // namespace mailherd::net::test
