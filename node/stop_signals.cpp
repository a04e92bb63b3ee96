// node/stop_signals: a signalfd and one thread; see the header.
#include "node/stop_signals.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>

#include "core/limits.hpp"

namespace mailherd::node {

stop_signals::stop_signals(duration longest) {
  sigset_t ours;
  sigemptyset(&ours);
  sigaddset(&ours, SIGTERM);
  sigaddset(&ours, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ours, nullptr);
  std::signal(SIGHUP, SIG_IGN);    // a terminal that is closed is no reason to stop; nothing is reread
  std::signal(SIGPIPE, SIG_IGN);   // a peer that is gone is an error of the write
  signals_ = signalfd(-1, &ours, SFD_CLOEXEC);
  over_ = eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this, longest] { watch(longest); });
}

stop_signals::~stop_signals() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto told = ::write(over_, &one, sizeof one);
  thread_.join();
  ::close(signals_);
  ::close(over_);
}

void stop_signals::watch(duration longest) {
  bool stopping = false;
  mono_time end{};
  for (;;) {
    pollfd from[] = {{signals_, POLLIN, 0}, {over_, POLLIN, 0}};
    const auto left = std::chrono::duration_cast<milliseconds>(end - mono_clock::now()).count();
    const int ready = ::poll(from, 2, stopping ? static_cast<int>(left > 0 ? left : 0) : -1);
    if (from[1].revents != 0) return;
    if (ready == 0) end_at_once();
    signalfd_siginfo what{};
    if (ready < 0 || ::read(signals_, &what, sizeof what) != static_cast<ssize_t>(sizeof what)) continue;
    if (stopping) end_at_once();
    stopping = true;
    end = mono_clock::now() + longest;
    const std::lock_guard lock(mutex_);
    asked_ = true;
    changed_.notify_all();
  }
}

void stop_signals::end_at_once() {
  // Should the last work hang, the kernel ends the program.
  std::signal(SIGALRM, SIG_DFL);
  ::alarm(static_cast<unsigned>(limits::stop_at_once.count()));
  const std::lock_guard lock(last_mutex_);
  if (last_) last_();
  ::_exit(1);
}

bool stop_signals::wait_until(mono_time when) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, when, [this] { return asked_; });
}

bool stop_signals::asked() {
  const std::lock_guard lock(mutex_);
  return asked_;
}

void stop_signals::at_once(std::function<void()> last) {
  const std::lock_guard lock(last_mutex_);
  last_ = std::move(last);
}

}  // namespace mailherd::node
