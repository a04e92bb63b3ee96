// transport/race: happy eyeballs over non-blocking sockets.
#include "transport/race.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/limits.hpp"

namespace mailherd::net {

namespace {

/// Probes after 60 s of silence, 15 s apart, 4 of them: NAT boxes keep the flow, and a dead peer is found within two minutes.
constexpr int keepalive_idle_s = 60, keepalive_interval_s = 15, keepalive_probes = 4;
/// Sent data that is not acknowledged for this long ends the connection: an IDLE renewal into a black hole must not wait for 15 minutes.
constexpr unsigned unacknowledged_ms = 120'000;

template <class Value>
void set_option(int fd, int level, int name, Value value) {
  ::setsockopt(fd, level, name, &value, sizeof value);
}

failure reason_of(int error_number) {
  if (error_number == ECONNREFUSED || error_number == ECONNRESET) return failure::connect_refused;
  if (error_number == ETIMEDOUT) return failure::timed_out;
  return failure::connect_failed;
}

}  // namespace

std::vector<ip_address> interleaved(const std::vector<ip_address>& addresses) {
  std::vector<ip_address> out, other;
  for (const auto& a : addresses) (a.v6 == addresses.front().v6 ? out : other).push_back(a);
  for (std::size_t i = 0; i < other.size(); ++i)
    out.insert(out.begin() + static_cast<std::ptrdiff_t>(std::min(2 * i + 1, out.size())), other[i]);
  return out;
}

void set_socket_options(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_idle_s);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive_interval_s);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, keepalive_probes);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, unacknowledged_ms);
}

connect_race::connect_race(io_reactor& where, std::string host, std::uint16_t port, const std::vector<ip_address>& addresses,
                           std::optional<ip_address> source, handler on_done)
    : reactor_(where),
      host_(std::move(host)),
      port_(port),
      addresses_(interleaved(addresses)),
      source_(source),
      on_done_(std::move(on_done)) {
  if (source_) std::erase_if(addresses_, [this](const ip_address& a) { return a.v6 != source_->v6; });
  stagger_ = reactor_.at(reactor_.now(), [this] { start_next(); });
}

/// Starts addresses until one is under way; the next gets its turn when that fails or after a while.
void connect_race::start_next() {
  stagger_.reset();
  while (next_ < addresses_.size()) {
    const ip_address address = addresses_[next_++];
    const int fd = ::socket(address.v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) {
      failed(address, errno);
      continue;
    }
    set_socket_options(fd);
    sockaddr_storage raw{};
    if (source_) {
      set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);   // the port is chosen at connect: more connections than ports
      const socklen_t size = source_->socket_address(0, raw);
      if (::bind(fd, reinterpret_cast<sockaddr*>(&raw), size) != 0) {
        failed(address, errno);
        ::close(fd);
        continue;
      }
    }
    const socklen_t size = address.socket_address(port_, raw);
    const int rc = ::connect(fd, reinterpret_cast<sockaddr*>(&raw), size);
    if (rc != 0 && errno != EINPROGRESS) {
      failed(address, errno);
      ::close(fd);
      continue;
    }
    auto socket = reactor_.watch(fd);
    if (socket->fd() < 0) {
      failed(address, ENOSPC);
      continue;
    }
    const auto r = running_.insert(running_.end(), {address, std::move(socket)});
    r->socket->wait_writable([this, r] { connected(r); });
    if (next_ < addresses_.size()) stagger_ = reactor_.at(reactor_.now() + limits::next_address_delay, [this] { start_next(); });
    return;
  }
  if (running_.empty()) give_up();
}

void connect_race::connected(std::list<runner>::iterator r) {
  int error_number = 0;
  socklen_t size = sizeof error_number;
  if (::getsockopt(r->socket->fd(), SOL_SOCKET, SO_ERROR, &error_number, &size) != 0) error_number = errno;
  if (error_number != 0) {
    failed(r->address, error_number);
    running_.erase(r);
    return start_next();
  }
  winner w{std::move(r->socket), r->address};
  running_.clear();
  stagger_.reset();
  const auto done = std::exchange(on_done_, {});
  done(std::move(w));
}

void connect_race::failed(const ip_address& address, int error_number) {
  const failure reason = reason_of(error_number);
  // Of several reasons the one that says most about the server is named: somebody refused.
  if (!why_ || reason == failure::connect_refused) why_ = reason;
  if (!texts_.empty()) texts_ += "; ";
  texts_ += fmt::format("{}: {}", address.text(), std::strerror(error_number));
}

void connect_race::give_up() {
  const auto done = std::exchange(on_done_, {});
  if (addresses_.empty())
    return done(
        fail(failure::connect_failed, fmt::format("{} has no address of the family of the source address {}", host_, source_->text())));
  done(fail(*why_, fmt::format("cannot connect to {} port {}: {}", host_, port_, texts_)));
}

}  // namespace mailherd::net
