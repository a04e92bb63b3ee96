// transport/stream: reading, writing, TLS and the end of one socket.
#include "transport/stream.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/limits.hpp"
#include "core/secret.hpp"

namespace mailherd::net {

namespace {

/// The most one TLS record carries: a read that filled it probably has a successor in the kernel.
constexpr std::size_t tls_record_bytes = 16 * limits::kib;

io_step plain_step(ssize_t rc, bool reading) {
  using kind = io_step::kind;
  if (rc > 0) return {kind::moved, static_cast<std::size_t>(rc), {}};
  if (rc == 0) return {kind::closed, 0, {}};
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {reading ? kind::want_read : kind::want_write, 0, {}};
  return {kind::failed, 0, std::strerror(errno)};
}

}  // namespace

stream::stream(io_reactor& where, std::unique_ptr<descriptor> socket, std::shared_ptr<tls_context> tls, peer_name name,
               connection_info info)
    : tracked(where),
      reactor_(where),
      socket_(std::move(socket)),
      context_(std::move(tls)),
      name_(std::move(name)),
      info_(std::move(info)) {}

stream::~stream() {
  for (auto& c : queue_) wipe(c.bytes.data(), c.bytes.size());
}

std::string stream::whom() const { return fmt::format("{}:{}", name_.host, name_.port); }

io_step stream::receive(char* to, std::size_t size) {
  if (tls_) return tls_->read(to, size);
  return plain_step(::recv(socket_->fd(), to, size, 0), true);
}

io_step stream::send(const char* from, std::size_t size) {
  if (tls_) return tls_->write(from, size);
  return plain_step(::send(socket_->fd(), from, size, MSG_NOSIGNAL), false);
}

void stream::later(void (stream::*step)()) {
  reactor_.post([weak = weak_from_this(), step] {
    if (const auto self = weak.lock(); self && self->phase_ != phase::gone) (*self.*step)();
  });
}

void stream::arm() {
  if (phase_ == phase::gone || !socket_) return;
  const auto wanted = [this](want w) { return read_want_ == w || write_want_ == w || handshake_want_ == w; };
  // `this` is safe: the descriptor runs no handler once it is destroyed, and it is destroyed with the stream.
  if (wanted(want::readable)) socket_->wait_readable([this] { ready(want::readable); });
  if (wanted(want::writable)) socket_->wait_writable([this] { ready(want::writable); });
}

void stream::ready(want w) {
  const auto keep = shared_from_this();
  if (handshake_want_ == w) return try_handshake();
  const bool reads = read_want_ == w;
  if (write_want_ == w) try_write();
  if (reads && phase_ == phase::open && on_data_) try_read();
  arm();
}

// ---- reading --------------------------------------------------------------------------------------------------------------------

void stream::read(std::size_t limit, connection::read_handler on_data) {
  on_data_ = std::move(on_data);
  read_limit_ = std::clamp<std::size_t>(limit, 1, limits::read_buffer_bytes);
  read_want_ = want::nothing;
  if (phase_ != phase::open) return;
  if (broken_ || (tls_ && tls_->has_pending())) return later(&stream::try_read);
  read_want_ = want::readable;
  if (!reading_) arm();   // a grant from within `on_data` is served by the loop in try_read, without a system call
}

void stream::deliver(connection::read_handler handler, result<std::string_view> what) {
  if (phase_ == phase::open && handler) handler(std::move(what));
}

/// Reads for as long as the user goes on granting reads and bytes are there, within one turn.
void stream::try_read() {
  if (reading_) return;
  const auto keep = shared_from_this();
  reading_ = true;
  read_turn();
  reading_ = false;
}

void stream::read_turn() {
  std::size_t turn = 0;
  while (phase_ == phase::open && on_data_ && handshake_want_ == want::nothing) {
    if (broken_) {
      deliver(std::exchange(on_data_, {}), fail(*broken_));
      return later(&stream::try_read);   // who reads on after an error gets the error again, but not in a circle here
    }
    if (turn >= limits::read_turn_bytes) return later(&stream::try_read);
    char* buffer = reactor_.buffer().data();
    std::size_t got = 0;
    io_step last;
    do {
      last = receive(buffer + got, read_limit_ - got);
      if (last.what != io_step::kind::moved) break;
      got += last.bytes;
    } while (got < read_limit_ && tls_ && (tls_->has_pending() || last.bytes == tls_record_bytes));

    read_want_ = last.what == io_step::kind::want_write ? want::writable : want::readable;
    if (last.what == io_step::kind::closed) broken_ = error{failure::connection_lost, "closed by the server", {}};
    if (last.what == io_step::kind::failed)
      broken_ = error{failure::connection_lost, fmt::format("connection to {} lost: {}", whom(), last.why), {}};
    if (got > 0) {
      turn += got;
      read_want_ = want::nothing;
      deliver(std::exchange(on_data_, {}), std::string_view(buffer, got));
      continue;
    }
    if (!broken_) return arm();
    read_want_ = want::nothing;
  }
}

// ---- writing --------------------------------------------------------------------------------------------------------------------

void stream::write(std::string bytes, connection::done_handler on_written) {
  if (phase_ != phase::open) return;
  queued_bytes_ += bytes.size();
  queue_.push_back({std::move(bytes), std::move(on_written)});
  if (queued_bytes_ > limits::write_queue_bytes && !broken_)
    broken_ = error{failure::limit_exceeded, fmt::format("{} does not take what is sent to it", whom()), {}};
  if (std::exchange(write_scheduled_, true)) return;
  later(&stream::try_write);
}

void stream::try_write() {
  const auto keep = shared_from_this();
  write_scheduled_ = false;
  write_want_ = want::nothing;
  while (phase_ != phase::gone && !queue_.empty()) {
    if (broken_ && phase_ == phase::open) return broken(*broken_);
    chunk& c = queue_.front();
    if (c.sent < c.bytes.size()) {
      const io_step s = send(c.bytes.data() + c.sent, c.bytes.size() - c.sent);
      if (s.what == io_step::kind::moved) {
        c.sent += s.bytes;
        continue;
      }
      if (s.what == io_step::kind::want_read || s.what == io_step::kind::want_write) {
        write_want_ = s.what == io_step::kind::want_read ? want::readable : want::writable;
        return arm();
      }
      if (phase_ == phase::closing) return abort();
      return broken({failure::connection_lost,
                     s.why.empty() ? "closed by the server" : fmt::format("connection to {} lost: {}", whom(), s.why), {}});
    }
    queued_bytes_ -= c.bytes.size();
    wipe(c.bytes.data(), c.bytes.size());   // commands carry passwords and tokens
    const auto done = std::move(c.on_written);
    queue_.pop_front();
    if (done && phase_ == phase::open) done({});
  }
  maybe_closed();
}

/// Every outstanding handler hears of it, and so does every later call.
void stream::broken(error why) {
  broken_ = std::move(why);
  const error shared = *broken_;
  read_want_ = write_want_ = want::nothing;
  auto writes = std::exchange(queue_, {});
  queued_bytes_ = 0;
  for (auto& c : writes) wipe(c.bytes.data(), c.bytes.size());
  for (auto& c : writes)
    if (phase_ == phase::open && c.on_written) c.on_written(fail(shared));
  if (on_data_) deliver(std::exchange(on_data_, {}), fail(shared));
}

// ---- TLS ------------------------------------------------------------------------------------------------------------------------

void stream::start_tls(deadline until, connection::done_handler on_done) {
  if (phase_ != phase::open) return;
  on_secured_ = std::move(on_done);
  handshake_began_ = reactor_.now();
  const bool misused = tls_ != nullptr || on_data_ || !queue_.empty();
  if (misused && !broken_) broken_ = error{failure::internal, "TLS may begin only once, with nothing being read or written", {}};
  timer_ = reactor_.at(until.at, [this] {
    finish_handshake(fail(failure::timed_out, fmt::format("no end of the TLS handshake with {} within the deadline", whom())));
  });
  if (!broken_) tls_ = std::make_unique<tls_channel>(context_, socket_->fd(), name_.host, name_.port, name_.path);
  handshake_want_ = want::writable;
  later(&stream::try_handshake);
}

void stream::try_handshake() {
  const auto keep = shared_from_this();
  if (!on_secured_) return;
  if (broken_) return finish_handshake(fail(*broken_));
  const io_step s = tls_->handshake();
  switch (s.what) {
    case io_step::kind::want_read: handshake_want_ = want::readable; return arm();
    case io_step::kind::want_write: handshake_want_ = want::writable; return arm();
    case io_step::kind::moved:
      secured_ = true;
      tls_->describe(info_);
      return finish_handshake({});
    case io_step::kind::closed:
    case io_step::kind::failed: return finish_handshake(fail(tls_->problem()));
  }
}

void stream::finish_handshake(result<void> outcome) {
  const auto keep = shared_from_this();
  timer_.reset();
  handshake_want_ = want::nothing;
  info_.tls_time = std::chrono::duration_cast<milliseconds>(reactor_.now() - handshake_began_);
  if (!outcome) broken_ = outcome.error();
  const auto done = std::exchange(on_secured_, {});
  if (done && phase_ == phase::open) done(std::move(outcome));
}

// ---- the end --------------------------------------------------------------------------------------------------------------------

void stream::close() {
  if (phase_ != phase::open) return;
  const auto keep = shared_from_this();
  phase_ = phase::closing;
  read_want_ = want::nothing;
  const auto dropped_reader = std::exchange(on_data_, {});
  const auto dropped_handshake = std::exchange(on_secured_, {});
  std::list<connection::done_handler> dropped_writers;
  for (auto& c : queue_) dropped_writers.push_back(std::exchange(c.on_written, {}));
  timer_.reset();
  if (abandoned() || broken_ || handshake_want_ != want::nothing) return abort();
  self_ = keep;
  timer_ = reactor_.at(reactor_.now() + limits::close_deadline, [this] { abort(); });
  later(&stream::try_write);
}

void stream::maybe_closed() {
  if (phase_ != phase::closing || draining_) return;
  if (tls_) tls_->shutdown();
  ::shutdown(socket_->fd(), SHUT_WR);
  draining_ = true;
  drain();
}

/// Reads on until the peer has ended too: to close a socket with unread bytes sends RST, which destroys what is still on its way to the
/// peer.
void stream::drain() {
  char* buffer = reactor_.buffer().data();
  for (std::size_t turn = 0; turn < limits::read_turn_bytes;) {
    const io_step s = plain_step(::recv(socket_->fd(), buffer, limits::read_buffer_bytes, 0), true);
    if (s.what == io_step::kind::want_read) break;
    if (s.what != io_step::kind::moved) return abort();
    turn += s.bytes;
  }
  socket_->wait_readable([this] {
    const auto keep = shared_from_this();
    drain();
  });
}

void stream::abort() {
  phase_ = phase::gone;
  const auto keep = std::exchange(self_, {});
  const auto dropped_timer = std::exchange(timer_, {});
  const auto dropped_reader = std::exchange(on_data_, {});
  const auto dropped_handshake = std::exchange(on_secured_, {});
  auto dropped_writes = std::exchange(queue_, {});
  for (auto& c : dropped_writes) wipe(c.bytes.data(), c.bytes.size());
  tls_.reset();      // before the socket whose descriptor it uses
  socket_.reset();
}

void stream::abandon() { abort(); }

// ---- as a connection ------------------------------------------------------------------------------------------------------------

namespace {

class stream_connection final : public connection {
 public:
  explicit stream_connection(std::shared_ptr<stream> s) : stream_(std::move(s)) {}
  ~stream_connection() override {
    if (!closed_) stream_->abort();
  }
  void read(std::size_t limit, read_handler on_data) override { stream_->read(limit, std::move(on_data)); }
  void write(std::string bytes, done_handler on_written) override { stream_->write(std::move(bytes), std::move(on_written)); }
  void start_tls(deadline until, done_handler on_done) override { stream_->start_tls(until, std::move(on_done)); }
  const connection_info& info() const override { return stream_->info(); }
  bool encrypted() const override { return stream_->encrypted(); }
  void close() override {
    closed_ = true;
    stream_->close();
  }

 private:
  std::shared_ptr<stream> stream_;
  bool closed_ = false;
};

}  // namespace

std::unique_ptr<connection> as_connection(std::shared_ptr<stream> s) { return std::make_unique<stream_connection>(std::move(s)); }

}  // namespace mailherd::net
