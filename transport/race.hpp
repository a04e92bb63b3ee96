// transport/race: TCP connections to the addresses of one host, the first that succeeds wins (happy eyeballs, RFC 8305).
//
// Owns:   the sockets under way and their options. Destroying it closes them; its handler does not run any more.
// Never:  resolves, judges addresses (both are done before) or has a deadline (the attempt's covers it).
// Used by: dialer.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/address.hpp"
#include "transport/io_reactor.hpp"

namespace mailherd::net {

/// Addresses in the order in which they are tried: families take turns, beginning with the first's (RFC 8305, 4).
std::vector<ip_address> interleaved(const std::vector<ip_address>& addresses);

/// Sets what every outgoing TCP socket of the house has: no delay, keepalive, a bound on unacknowledged data. Best effort.
void set_socket_options(int fd);

class connect_race {
 public:
  struct winner {
    std::unique_ptr<descriptor> socket;
    ip_address address;
  };
  using handler = std::function<void(result<winner>)>;

  /// `host` is for error texts; `source` (if given) is bound to, and addresses of the other family are left out. REQUIRED: addresses not
  /// empty. `on_done` runs once, never before the constructor has returned; it may destroy the race.
  connect_race(io_reactor& where, std::string host, std::uint16_t port, const std::vector<ip_address>& addresses,
               std::optional<ip_address> source, handler on_done);

 private:
  struct runner {
    ip_address address;
    std::unique_ptr<descriptor> socket;
  };
  void start_next();
  void connected(std::list<runner>::iterator r);
  void failed(const ip_address& address, int error_number);
  void give_up();

  io_reactor& reactor_;
  std::string host_;
  std::uint16_t port_;
  std::vector<ip_address> addresses_;
  std::size_t next_ = 0;
  std::optional<ip_address> source_;
  handler on_done_;
  std::list<runner> running_;
  std::unique_ptr<timer> stagger_;
  std::optional<failure> why_;
  std::string texts_;
};

}  // namespace mailherd::net
