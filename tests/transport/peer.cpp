// tests/transport/peer: blocking sockets.
#include "peer.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "transport/address.hpp"

namespace mailherd::net::test {

namespace {

std::pair<int, std::uint16_t> bound(const std::string& address, std::uint16_t wanted = 0) {
  const auto ip = *ip_address::parse(address);
  const int fd = ::socket(ip.v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage raw{};
  socklen_t size = ip.socket_address(wanted, raw);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&raw), size) != 0) return {fd, 0};
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);   // inherited by what is accepted; else a greeting waits 40 ms for an ACK
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&raw), &size);
  const auto port = ip.v6 ? reinterpret_cast<sockaddr_in6&>(raw).sin6_port : reinterpret_cast<sockaddr_in&>(raw).sin_port;
  return {fd, ntohs(port)};
}

}  // namespace

client::~client() {
  SSL_free(ssl_);
  ::close(fd_);
}

bool client::start_tls(SSL_CTX* ctx) {
  ssl_ = SSL_new(ctx);
  SSL_set_fd(ssl_, fd_);
  const bool ok = SSL_accept(ssl_) == 1;
  ERR_clear_error();
  return ok;
}

void client::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ssl_ != nullptr ? SSL_write(ssl_, bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 1 << 20)))
                                   : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::string client::read_some(std::size_t most) {
  std::string out(most, '\0');
  const auto n = ssl_ != nullptr ? SSL_read(ssl_, out.data(), static_cast<int>(most)) : ::recv(fd_, out.data(), most, 0);
  ERR_clear_error();
  out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return out;
}

std::string client::read_until(std::string_view end) {
  std::string out;
  while (!out.ends_with(end)) {
    const auto c = read_some(1);
    if (c.empty()) break;
    out += c;
  }
  return out;
}

std::string client::read_exactly(std::size_t size) {
  std::string out;
  while (out.size() < size) {
    const auto more = read_some(size - out.size());
    if (more.empty()) break;
    out += more;
  }
  return out;
}

bool client::wait_for_end() {
  while (!read_some().empty()) {
  }
  return ssl_ == nullptr || (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0;
}

void client::reset() {
  const linger now{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

peer::peer(script s, const std::string& address, std::uint16_t port) : script_(std::move(s)) {
  std::signal(SIGPIPE, SIG_IGN);   // SSL_write has no MSG_NOSIGNAL
  std::tie(listener_, port_) = bound(address, port);
  ::listen(listener_, 1024);
  acceptor_ = std::thread([this] { accept_all(); });
}

void peer::accept_all() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const std::lock_guard lock(mutex_);
    ++accepted_;
    open_.push_back(fd);
    threads_.emplace_back([this, fd] {
      client c(fd);
      script_(c);
      const std::lock_guard inner(mutex_);
      std::erase(open_, fd);   // before the number is given to another socket
    });
  }
}

peer::~peer() {
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
  {
    const std::lock_guard lock(mutex_);
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  for (auto& t : threads_) t.join();
}

std::pair<int, std::uint16_t> listening() {
  const auto made = bound("127.0.0.1");
  ::listen(made.first, 1024);
  return made;
}

std::uint16_t dead_port(const std::string& address) {
  const auto [fd, port] = bound(address);
  ::close(fd);
  return port;
}

black_hole::black_hole() {
  std::tie(listener_, port_) = bound("127.0.0.1");
  ::listen(listener_, 0);
  // Fill the queue until a connection is not answered any more.
  for (int i = 0; i < 64; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    fillers_.push_back(fd);
    sockaddr_storage raw{};
    const socklen_t size = ip_address::parse("127.0.0.1")->socket_address(port_, raw);
    ::connect(fd, reinterpret_cast<sockaddr*>(&raw), size);
    pollfd p{fd, POLLOUT, 0};
    if (::poll(&p, 1, 50) == 0) break;
  }
}

black_hole::~black_hole() {
  for (const int fd : fillers_) ::close(fd);
  ::close(listener_);
}

}  // namespace mailherd::net::test
