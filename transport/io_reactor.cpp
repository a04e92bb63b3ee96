// transport/io_reactor: the only file that includes Asio.
#include "transport/io_reactor.hpp"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/limits.hpp"

namespace mailherd::net {

namespace asio = boost::asio;
using boost::system::error_code;

struct io_reactor::core {
  asio::io_context io{1};   // one thread runs it: Asio leaves out its internal wake-ups of other threads
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> busy;
  std::vector<char> buffer = std::vector<char>(limits::read_buffer_bytes);
  tracked* first = nullptr;   ///< reactor thread only

  std::mutex mutex;
  std::deque<std::function<void()>> posted;   ///< under mutex
  bool scheduled = false;                     ///< under mutex: run_posted is on its way
  bool stopped = false;                       ///< under mutex
  std::atomic<bool> ending{false};            ///< no more work is run
  std::thread thread;

  /// Runs what is posted now; what that posts in turn has to wait until sockets had their turn.
  void run_posted() {
    std::deque<std::function<void()>> batch;
    {
      const std::lock_guard lock(mutex);
      batch.swap(posted);
      scheduled = false;
    }
    while (!batch.empty()) {
      auto work = std::move(batch.front());
      batch.pop_front();
      if (!ending) work();
    }
  }

  void end() {
    ending = true;
    while (first != nullptr) {
      tracked* t = first;
      t->untrack();
      t->abandon();
    }
  }
};

// ---- tracked --------------------------------------------------------------------------------------------------------------------

tracked::tracked(io_reactor& where) : owner_(&where), next_(where.core_->first) {
  if (next_ != nullptr) next_->previous_ = this;
  where.core_->first = this;
}

tracked::~tracked() { untrack(); }

void tracked::untrack() {
  if (owner_ == nullptr) return;
  (previous_ != nullptr ? previous_->next_ : owner_->core_->first) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  previous_ = next_ = nullptr;
  owner_ = nullptr;
}

// ---- timers ---------------------------------------------------------------------------------------------------------------------

namespace {

/// Shared by the owner and by Asio's queued completion: the completion may already be queued when the owner goes away, so it asks `work`,
/// which the owner clears, and never the owner.
struct timer_state final : tracked, std::enable_shared_from_this<timer_state> {
  timer_state(io_reactor& where, asio::io_context& io) : tracked(where), clock(std::in_place, io) {}

  void start(mono_time when, std::function<void()> what) {
    work = std::move(what);
    clock->expires_at(when);
    clock->async_wait([self = shared_from_this()](const error_code& ec) {
      if (ec || !self->work) return;
      const auto run = std::exchange(self->work, {});
      self->clock.reset();
      self->untrack();
      run();
    });
  }
  void abandon() override {
    const auto self = shared_from_this();
    clock.reset();
    const auto dropped = std::exchange(work, {});
  }

  std::optional<asio::steady_timer> clock;
  std::function<void()> work;
};

struct owned_timer final : timer {
  explicit owned_timer(std::shared_ptr<timer_state> s) : state(std::move(s)) {}
  ~owned_timer() override { state->abandon(); }
  std::shared_ptr<timer_state> state;
};

// ---- descriptors ----------------------------------------------------------------------------------------------------------------

struct descriptor_state final : tracked, std::enable_shared_from_this<descriptor_state> {
  struct direction {
    std::function<void()> ready;
    bool armed = false;   ///< Asio waits; a handler set meanwhile is found by that wait
  };

  descriptor_state(io_reactor& where, asio::io_context& io, int fd) : tracked(where), stream(std::in_place, io) {
    error_code ec;
    stream->assign(fd, ec);
    if (!ec) return;
    stream.reset();   // the kernel's limit of watched descriptors
    ::close(fd);
  }

  void wait(direction descriptor_state::*which, asio::posix::descriptor_base::wait_type type, std::function<void()> handler) {
    if (!stream) return;
    (this->*which).ready = std::move(handler);
    if ((this->*which).armed) return;
    (this->*which).armed = true;
    stream->async_wait(type, [self = shared_from_this(), which](const error_code&) {
      auto& d = (*self).*which;
      d.armed = false;
      // An error is news as well: the read or write that follows meets it. Only a closed descriptor is nobody's news.
      if (!self->stream || !d.ready) return;
      const auto run = std::exchange(d.ready, {});
      run();
    });
  }
  void abandon() override {
    const auto self = shared_from_this();
    stream.reset();
    const auto dropped_reader = std::exchange(reading.ready, {});
    const auto dropped_writer = std::exchange(writing.ready, {});
  }

  std::optional<asio::posix::stream_descriptor> stream;
  direction reading, writing;
};

struct owned_descriptor final : descriptor {
  explicit owned_descriptor(std::shared_ptr<descriptor_state> s) : state(std::move(s)) {}
  ~owned_descriptor() override { state->abandon(); }
  int fd() const override { return state->stream ? state->stream->native_handle() : -1; }
  void wait_readable(handler ready) override {
    state->wait(&descriptor_state::reading, asio::posix::descriptor_base::wait_read, std::move(ready));
  }
  void wait_writable(handler ready) override {
    state->wait(&descriptor_state::writing, asio::posix::descriptor_base::wait_write, std::move(ready));
  }
  void cancel() override {
    const auto dropped_reader = std::exchange(state->reading.ready, {});
    const auto dropped_writer = std::exchange(state->writing.ready, {});
  }
  std::shared_ptr<descriptor_state> state;
};

}  // namespace

// ---- the reactor ----------------------------------------------------------------------------------------------------------------

io_reactor::io_reactor(const std::string& name) : core_(std::make_unique<core>()) {
  core_->busy.emplace(core_->io.get_executor());
  // Signals belong to the main thread; SIGPIPE of a write to a dead socket becomes EPIPE because it stays blocked here.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  core_->thread = std::thread([this, name] {
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    core_->io.run();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

io_reactor::~io_reactor() { stop(); }

void io_reactor::post(std::function<void()> work) {
  const std::lock_guard lock(core_->mutex);
  if (core_->stopped) return;
  core_->posted.push_back(std::move(work));
  if (std::exchange(core_->scheduled, true)) return;
  asio::post(core_->io, [c = core_.get()] { c->run_posted(); });
}

std::unique_ptr<timer> io_reactor::at(mono_time when, std::function<void()> work) {
  auto state = std::make_shared<timer_state>(*this, core_->io);
  state->start(when, std::move(work));
  return std::make_unique<owned_timer>(std::move(state));
}

mono_time io_reactor::now() const { return mono_clock::now(); }

wall_time io_reactor::wall_now() const {
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

std::unique_ptr<descriptor> io_reactor::watch(int fd) {
  return std::make_unique<owned_descriptor>(std::make_shared<descriptor_state>(*this, core_->io, fd));
}

std::span<char> io_reactor::buffer() { return core_->buffer; }

void io_reactor::stop() {
  if (!core_->thread.joinable()) return;
  core_->ending = true;
  asio::post(core_->io, [this] {
    core_->end();
    core_->io.stop();
  });
  core_->thread.join();
  // Work is destroyed outside the lock: a destructor may post again, which is refused by then.
  std::deque<std::function<void()>> dropped;
  {
    const std::lock_guard lock(core_->mutex);
    core_->stopped = true;
    dropped.swap(core_->posted);
  }
  dropped.clear();
  // Completions that Asio still holds own states whose descriptors and clocks are gone: running them does nothing and frees them.
  core_->io.restart();
  core_->busy.reset();
  core_->io.poll();
}

}  // namespace mailherd::net
