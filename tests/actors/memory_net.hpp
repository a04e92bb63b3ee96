// tests/actors/memory_net: a network in memory: reactor, dialer and connections on virtual time, with servers that are objects.
//
// Owns:   what is on its way between both ends; timers. Never: a socket, a thread, real time.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "transport/net.hpp"

namespace mailherd::test {

class memory_reactor : public net::reactor {
 public:
  std::function<mono_time()> clock;
  std::function<wall_time()> wall;

  void post(std::function<void()> work) override { queue_.push_back(std::move(work)); }
  [[nodiscard]] std::unique_ptr<net::timer> at(mono_time when, std::function<void()> work) override;
  [[nodiscard]] mono_time now() const override { return clock(); }
  [[nodiscard]] wall_time wall_now() const override { return wall(); }

  /// Everything that can be done at this moment. True if there was anything.
  bool run();
  [[nodiscard]] std::optional<mono_time> next() const;

 private:
  struct entry {
    std::function<void()> work;
  };
  struct handle;
  std::deque<std::function<void()>> queue_;
  std::multimap<mono_time, std::weak_ptr<entry>> timers_;
};

/// One connection, as both ends see it.
struct wire_state;

/// The server's end. Outlives the connection.
class wire {
 public:
  explicit wire(std::shared_ptr<wire_state> s) : state_(std::move(s)) {}
  void send(std::string_view bytes);
  void close();   ///< orderly: the client reads what is there, then the end
  void reset();   ///< what the client has not read is lost
  [[nodiscard]] bool open() const;

 private:
  std::shared_ptr<wire_state> state_;
};

/// What answers at an address; one per connection.
class peer {
 public:
  virtual ~peer() = default;
  virtual void connected() = 0;
  virtual void received(std::string_view bytes) = 0;
  virtual void gone() {}   ///< the client has closed or dropped the connection
};

class memory_net : public net::dialer {
 public:
  using maker = std::function<std::unique_ptr<peer>(wire)>;

  void listen(const std::string& address, maker make) { servers_[address] = std::move(make); }
  /// Asked for every attempt: a failure, or nullopt to let it through.
  std::function<std::optional<error>(const net::target&)> refuse;
  /// How long bytes take in each direction; and in how many at once they arrive (0: all that there are).
  std::function<duration()> latency = [] { return duration::zero(); };
  std::function<std::size_t()> piece = [] { return std::size_t{0}; };
  std::size_t dialed = 0;

  [[nodiscard]] std::unique_ptr<net::attempt> dial(net::reactor& where, net::target to, deadline until, connect_handler on_done,
                                                   progress_handler on_progress) override;
  /// Connections that are open now.
  [[nodiscard]] std::size_t connections() const;
  /// Breaks all of them.
  void break_all();

 private:
  friend struct wire_state;
  std::map<std::string, maker> servers_;
  std::list<std::weak_ptr<wire_state>> wires_;
};

}  // namespace mailherd::test
