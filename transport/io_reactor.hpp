// transport/io_reactor: one network thread: posted work, timers, readiness of descriptors, the shared read buffer.
//
// Owns:   the thread, its Asio io_context (hidden in the .cpp: Asio is included nowhere else) and the list of what must be told at its end.
// Never:  reads or writes a socket itself; knows TLS or HTTP.
// Used by: stream, dialer, HTTP client, network. Everything is called on the reactor's thread unless it says "any thread".
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "transport/net.hpp"

namespace mailherd::net {

class io_reactor;

/// Something alive on a reactor that may outlive it: told once, on the reactor's thread, that nothing will ever happen again.
class tracked {
 public:
  tracked(const tracked&) = delete;
  tracked& operator=(const tracked&) = delete;

 protected:
  explicit tracked(io_reactor& where);
  virtual ~tracked();
  /// Drops every handler and whatever belongs to the reactor. `*this` may be destroyed by that.
  virtual void abandon() = 0;
  /// The reactor has ended: it must not be used any more.
  [[nodiscard]] bool abandoned() const { return owner_ == nullptr; }
  /// From now on the end of the reactor is no matter of this object.
  void untrack();

 private:
  friend class io_reactor;
  io_reactor* owner_;
  tracked* previous_ = nullptr;
  tracked* next_ = nullptr;
};

/// Owns a file descriptor and waits for its readiness. Destroying it closes the descriptor; no handler runs any more.
class descriptor {
 public:
  using handler = std::function<void()>;

  virtual ~descriptor() = default;
  [[nodiscard]] virtual int fd() const = 0;   ///< -1 after the reactor has ended, or if the kernel watches no more descriptors
  /// Runs `ready` once when there is something to read (or an error or EOF); replaces a handler not yet run.
  virtual void wait_readable(handler ready) = 0;
  /// Runs `ready` once when writing would not block (or fails); replaces a handler not yet run.
  virtual void wait_writable(handler ready) = 0;
  /// Withdraws both handlers.
  virtual void cancel() = 0;
};

class io_reactor final : public reactor {
 public:
  /// Starts the thread; it is called `name` (at most 15 characters).
  explicit io_reactor(const std::string& name);
  ~io_reactor() override;   ///< stop()

  void post(std::function<void()> work) override;
  [[nodiscard]] std::unique_ptr<timer> at(mono_time when, std::function<void()> work) override;
  [[nodiscard]] mono_time now() const override;
  [[nodiscard]] wall_time wall_now() const override;

  /// Takes `fd`, which must be non-blocking.
  [[nodiscard]] std::unique_ptr<descriptor> watch(int fd);

  /// Scratch space for one read: limits::read_buffer_bytes, valid until the reactor's next piece of work.
  [[nodiscard]] std::span<char> buffer();

  /// Runs no more work, abandons what is tracked, destroys what is posted, ends the thread. Any thread but the reactor's own; idempotent.
  void stop();

 private:
  friend class tracked;
  struct core;
  std::unique_ptr<core> core_;
};

}  // namespace mailherd::net
