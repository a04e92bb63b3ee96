// tests/peers/fault_proxy: implementation. One thread, one poll loop; each connection is two flows with a queue of timed pieces.
#include "tests/peers/fault_proxy.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <list>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tests/peers/files.hpp"

namespace mailherd::peers {

using std::chrono::milliseconds;
using clock_type = std::chrono::steady_clock;
using time_type = clock_type::time_point;

namespace {

constexpr std::size_t queue_bytes = 256 * 1024;  ///< past it the sender is not read: TCP's own back-pressure
constexpr milliseconds fin_linger{1000};

struct piece {
  time_type due;
  std::string bytes;
  std::size_t done = 0;
};

struct flow {
  std::deque<piece> queue;
  std::size_t queued = 0;
  std::uint64_t taken = 0;      ///< bytes read from the sender
  std::uint64_t forwarded = 0;
  time_type not_before{};       ///< throttling
  bool ended = false;           ///< the sender sent FIN
  bool end_told = false;        ///< ... and the receiver got it
};

struct pair_of_sockets {
  int client = -1, server = -1;
  flow up, down;                ///< client → server, server → client
  bool finishing = false;
  time_type finish_at{};
  bool dead = false;
};

void close_socket(int& fd, bool with_reset) {
  if (fd < 0) return;
  if (with_reset) {
    const ::linger none{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  }
  ::close(fd);
  fd = -1;
}

int loopback_socket(std::uint16_t port, bool connecting) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connecting) {
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);  // refusal shows at the first read
    return fd;
  }
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    throw peer_error(fmt::format("fault proxy: {}", std::strerror(errno)));
  return fd;
}

}  // namespace

struct fault_proxy::state {
  // The holder is bound and never listens: while the listener is closed, connections are refused and nobody else gets the port.
  int holder = -1, listener = -1, wake = -1;
  std::uint16_t port = 0;
  mutable std::mutex mutex;
  std::condition_variable settled;
  proxy_faults faults;
  std::uint16_t target = 0;
  std::uint64_t version = 1, seen = 0;
  bool stopping = false;
  std::optional<cut_kind> drop;
  std::size_t accepted = 0, open = 0;
  std::uint64_t to_client = 0, to_server = 0;
  std::list<pair_of_sockets> pairs;  ///< the thread's own
  std::minstd_rand random{42};
  std::thread thread;

  void run();
  void settle(const proxy_faults& now);
  void accept_new(const proxy_faults& now);
  void end(pair_of_sockets& pair, cut_kind how);
  void take(pair_of_sockets& pair, int from, flow& way, const direction_faults& faults_of);
  void give(pair_of_sockets& pair, int to, flow& way, const direction_faults& faults_of, std::uint64_t& counter);
  void pump(pair_of_sockets& pair, const proxy_faults& now);

  /// Tells the thread, and waits until it has acted on it.
  template <class Change>
  void change(Change what) {
    std::unique_lock lock(mutex);
    what();
    const std::uint64_t mine = ++version;
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = ::write(wake, &one, sizeof one);
    settled.wait(lock, [&] { return seen >= mine || stopping; });
  }
};

namespace {

bool stalled(const flow& way, const direction_faults& faults) {
  return faults.cut_after && faults.cut == cut_kind::stall && way.forwarded >= *faults.cut_after;
}

bool wants_read(const flow& way) { return !way.ended && way.queued < queue_bytes; }

/// When the flow's first piece may go; nullopt if there is none.
std::optional<time_type> next_due(const flow& way, const direction_faults& faults) {
  if (way.queue.empty() || stalled(way, faults)) return std::nullopt;
  return std::max(way.queue.front().due, way.not_before);
}

}  // namespace

void fault_proxy::state::end(pair_of_sockets& pair, cut_kind how) {
  if (how == cut_kind::fin) {
    ::shutdown(pair.client, SHUT_WR);
    ::shutdown(pair.server, SHUT_WR);
    pair.finishing = true;
    pair.finish_at = clock_type::now() + fin_linger;
    return;
  }
  close_socket(pair.client, true);
  close_socket(pair.server, true);
  pair.dead = true;
}

void fault_proxy::state::take(pair_of_sockets& pair, int from, flow& way, const direction_faults& faults_of) {
  std::array<char, 32768> buffer;
  const ssize_t got = ::recv(from, buffer.data(), buffer.size(), 0);
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR && errno != ENOTCONN) end(pair, cut_kind::rst);
    return;
  }
  if (got == 0) {
    way.ended = true;
    return;
  }
  if (pair.finishing) return;
  std::string bytes(buffer.data(), static_cast<std::size_t>(got));
  if (faults_of.flip_at && *faults_of.flip_at >= way.taken && *faults_of.flip_at < way.taken + bytes.size())
    bytes[*faults_of.flip_at - way.taken] ^= 1;
  way.taken += bytes.size();
  way.queued += bytes.size();
  time_type due = clock_type::now() + faults_of.delay;
  if (faults_of.jitter.count() > 0) due += milliseconds(std::uniform_int_distribution<std::int64_t>(0, faults_of.jitter.count())(random));
  if (!way.queue.empty()) due = std::max(due, way.queue.back().due);  // TCP keeps the order
  way.queue.push_back({due, std::move(bytes)});
}

void fault_proxy::state::give(pair_of_sockets& pair, int to, flow& way, const direction_faults& faults_of, std::uint64_t& counter) {
  const time_type now = clock_type::now();
  const auto due = next_due(way, faults_of);
  if (due && *due <= now) {
    piece& first = way.queue.front();
    std::size_t size = first.bytes.size() - first.done;
    if (faults_of.chunk > 0) size = std::min(size, faults_of.chunk);
    if (faults_of.bytes_per_second > 0) size = std::min(size, std::max<std::size_t>(1, faults_of.bytes_per_second / 20));
    if (faults_of.cut_after)
      size = static_cast<std::size_t>(std::min<std::uint64_t>(size, *faults_of.cut_after - std::min(*faults_of.cut_after, way.forwarded)));
    const ssize_t put = size == 0 ? 0 : ::send(to, first.bytes.data() + first.done, size, MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN && errno != EINTR && errno != ENOTCONN) return end(pair, cut_kind::rst);
    if (put > 0) {
      const auto count = static_cast<std::size_t>(put);
      first.done += count;
      way.queued -= count;
      way.forwarded += count;
      {
        const std::lock_guard lock(mutex);
        counter += count;
      }
      if (faults_of.bytes_per_second > 0) way.not_before = now + std::chrono::microseconds(1'000'000 * count / faults_of.bytes_per_second);
      if (first.done == first.bytes.size()) way.queue.pop_front();
    }
  }
  if (faults_of.cut_after && faults_of.cut != cut_kind::stall && way.forwarded >= *faults_of.cut_after) return end(pair, faults_of.cut);
  if (way.ended && way.queue.empty() && !way.end_told) {
    ::shutdown(to, SHUT_WR);
    way.end_told = true;
  }
}

void fault_proxy::state::pump(pair_of_sockets& pair, const proxy_faults& now) {
  if (!pair.dead && wants_read(pair.up) && (!now.black_hole || pair.finishing)) take(pair, pair.client, pair.up, now.to_server);
  if (!pair.dead && wants_read(pair.down) && (!now.black_hole || pair.finishing)) take(pair, pair.server, pair.down, now.to_client);
  if (!pair.dead && !pair.finishing && !now.black_hole) give(pair, pair.server, pair.up, now.to_server, to_server);
  if (!pair.dead && !pair.finishing && !now.black_hole) give(pair, pair.client, pair.down, now.to_client, to_client);
  const bool both_ended = pair.finishing ? (pair.up.ended && pair.down.ended) || clock_type::now() >= pair.finish_at
                                         : pair.up.end_told && pair.down.end_told;
  if (pair.dead || !both_ended) return;
  close_socket(pair.client, false);
  close_socket(pair.server, false);
  pair.dead = true;
}

void fault_proxy::state::accept_new(const proxy_faults& now) {
  for (;;) {
    int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    std::uint16_t to = 0;
    {
      const std::lock_guard lock(mutex);
      ++accepted;
      to = target;
    }
    if (now.reset_new) {
      close_socket(fd, true);
      continue;
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    pair_of_sockets& pair = pairs.emplace_back();
    pair.client = fd;
    pair.server = loopback_socket(to, true);
  }
}

void fault_proxy::state::settle(const proxy_faults& now) {
  if (now.refuse) {
    close_socket(listener, false);
  } else if (listener < 0) {
    listener = loopback_socket(port, false);
    ::listen(listener, 1024);
  }
}

void fault_proxy::state::run() {
  std::vector<pollfd> watched;
  for (;;) {
    proxy_faults now;
    std::optional<cut_kind> dropping;
    {
      const std::lock_guard lock(mutex);
      if (stopping) break;
      now = faults;
      dropping = std::exchange(drop, std::nullopt);
      settle(now);
      if (dropping) {
        for (auto& pair : pairs) end(pair, *dropping);
      }
      pairs.remove_if([](const pair_of_sockets& pair) { return pair.dead; });
      open = pairs.size();
      seen = version;
      settled.notify_all();
    }
    watched.assign({pollfd{wake, POLLIN, 0}, pollfd{now.hang_at_accept ? -1 : listener, POLLIN, 0}});
    auto sleep_until = clock_type::now() + std::chrono::seconds(60);
    for (const auto& pair : pairs) {
      const auto watch = [&](int fd, const flow& in, const flow& out, const direction_faults& out_faults) {
        short events = 0;
        if (wants_read(in) && (!now.black_hole || pair.finishing)) events |= POLLIN;
        const auto due = next_due(out, out_faults);
        if (due && !now.black_hole && !pair.finishing) {
          if (*due <= clock_type::now()) events |= POLLOUT;
          else sleep_until = std::min(sleep_until, *due);
        }
        // Without events wanted, a hang-up would be reported again and again.
        watched.push_back({events != 0 ? fd : -1, events, 0});
      };
      watch(pair.client, pair.up, pair.down, now.to_client);
      watch(pair.server, pair.down, pair.up, now.to_server);
      if (pair.finishing) sleep_until = std::min(sleep_until, pair.finish_at);
    }
    const auto left = std::chrono::ceil<milliseconds>(sleep_until - clock_type::now()).count();
    ::poll(watched.data(), watched.size(), static_cast<int>(std::max<std::int64_t>(0, left)));
    if (watched[0].revents != 0) {
      std::uint64_t value = 0;
      [[maybe_unused]] const ssize_t ignored = ::read(wake, &value, sizeof value);
      continue;  // what has changed comes before any byte that waits
    }
    if (watched[1].revents != 0) accept_new(now);
    for (auto& pair : pairs) pump(pair, now);
  }
  for (auto& pair : pairs) end(pair, cut_kind::rst);
  pairs.clear();
}

fault_proxy::fault_proxy(std::uint16_t target_port, proxy_faults faults) : state_(std::make_unique<state>()) {
  state_->faults = faults;
  state_->target = target_port;
  state_->wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  state_->holder = loopback_socket(0, false);
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ::getsockname(state_->holder, reinterpret_cast<sockaddr*>(&address), &size);
  state_->port = ntohs(address.sin_port);
  state_->settle(faults);
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

fault_proxy::~fault_proxy() {
  stop();
  ::close(state_->wake);
}

std::uint16_t fault_proxy::port() const noexcept { return state_->port; }

void fault_proxy::set(const proxy_faults& faults) {
  state_->change([&] { state_->faults = faults; });
}

void fault_proxy::heal() { set({}); }

void fault_proxy::set_target(std::uint16_t target_port) {
  state_->change([&] { state_->target = target_port; });
}

void fault_proxy::drop_all(cut_kind how) {
  state_->change([&] { state_->drop = how; });
}

std::size_t fault_proxy::accepted() const {
  const std::lock_guard lock(state_->mutex);
  return state_->accepted;
}

std::size_t fault_proxy::open() const {
  const std::lock_guard lock(state_->mutex);
  return state_->open;
}

std::uint64_t fault_proxy::bytes_to_client() const {
  const std::lock_guard lock(state_->mutex);
  return state_->to_client;
}

std::uint64_t fault_proxy::bytes_to_server() const {
  const std::lock_guard lock(state_->mutex);
  return state_->to_server;
}

void fault_proxy::stop() {
  if (!state_->thread.joinable()) return;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = ::write(state_->wake, &one, sizeof one);
  }
  state_->settled.notify_all();
  state_->thread.join();
  close_socket(state_->listener, false);
  close_socket(state_->holder, false);
}

}  // namespace mailherd::peers
