// transport/resolver: names to addresses without blocking a network thread: a few threads, a cache, one lookup per name at a time.
//
// Owns:   its threads and the cache. getaddrinfo tells no TTL: answers live limits::dns_ttl, failures dns_negative_ttl; while the system's
//         resolver fails for a passing reason, an old answer stands in (dns_stale).
// Never:  judges an address (policy does), never runs a handler on its own threads: they are posted to the asker's reactor.
// Used by: dialer, HTTP client. Any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "transport/address.hpp"
#include "transport/net.hpp"
#include "transport/network.hpp"

namespace mailherd::net {

using address_list = std::vector<ip_address>;

class resolver {
 public:
  using handler = std::function<void(result<address_list>)>;
  using clock = std::function<mono_time()>;

  /// `lookup` empty: getaddrinfo. `now` empty: the steady clock.
  explicit resolver(lookup_function lookup = {}, clock now = {});
  ~resolver();   ///< asks that wait are dropped; a thread that hangs in the system's resolver is left to end by itself

  /// Addresses of `host` (a name or a literal), in the system's order, at most limits::addresses_per_name. `on_done` is posted to `where`,
  /// never run before this returns. Fails with dns_failed, limit_exceeded (too many lookups wait), invalid_input (not a host name).
  void resolve(reactor& where, const std::string& host, handler on_done);

  /// Lookups really made so far, for tests and metrics.
  [[nodiscard]] std::size_t lookups() const;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

/// True for what may stand in a host field: an address literal, or 1-253 characters of a host name.
bool valid_host(std::string_view host);

}  // namespace mailherd::net
