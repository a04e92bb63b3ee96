// actors/login_queue: who may sign in next, as a plain class without actor or clock.
//
// Owns:   how many attempts run per mail host and in all; those who wait, the stalest channel first among those whose host has room.
// Never:  lets a host that is full hold up the channels of another; starves (a channel that waits only gets staler).
// Used by: pacer.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "actors/interfaces.hpp"

namespace mailherd::actors {

class login_queue {
 public:
  using request_ptr = std::shared_ptr<login_request>;

  login_queue(unsigned per_host, unsigned in_all) : per_host_(per_host), in_all_(in_all) {}

  void add(request_ptr request);

  /// From now on so many attempts per host; those that run go on.
  void limit_hosts(unsigned per_host);

  /// The next that may go, counted as running from now on; null: nobody can go now.
  request_ptr next();

  /// An attempt at `host` is over.
  void finished(const std::string& host);

  [[nodiscard]] std::size_t waiting() const { return waiting_; }
  [[nodiscard]] unsigned running() const { return running_; }

 private:
  using key = std::pair<wall_time, std::uint64_t>;   ///< last success, then arrival
  struct lane {
    unsigned running = 0;
    std::map<key, request_ptr> waiting;
  };
  using hosts = std::map<std::string, lane>;
  void enter(hosts::iterator host);   ///< into ready_ if it may go
  void leave(hosts::iterator host);

  unsigned per_host_, in_all_;
  unsigned running_ = 0;
  std::size_t waiting_ = 0;
  std::uint64_t arrivals_ = 0;
  hosts hosts_;                                            ///< only hosts where somebody runs or waits
  std::map<key, hosts::iterator> ready_;                   ///< the stalest of every host that has room
};

}  // namespace mailherd::actors
