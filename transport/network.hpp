// transport/network: the real network of a node: reactor threads with resolver, dialer and HTTP client.
//
// Owns:   the threads, the DNS cache, the TLS context and the policy of which addresses tenants may reach.
// Never:  read by actors (they get the interfaces of net.hpp); made once by node/ and by tests against real peers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "transport/net.hpp"

namespace mailherd::net {

/// Which private, loopback, link-local and otherwise special addresses may be reached (MAILHERD_PRIVATE_TARGETS). Public ones always may.
class target_policy {
 public:
  /// Comma-separated networks ("10.0.0.0/8", "::1"), host names ("mail.internal", exact), or "all". Empty: none.
  /// Fails with failure::invalid_input naming the entry that is wrong.
  static result<target_policy> parse(std::string_view text);

  /// `host` as configured, `address` as resolved (text form; IPv4-mapped and NAT64/6to4-embedded IPv4 are unwrapped).
  [[nodiscard]] bool allows(std::string_view host, std::string_view address) const;

 private:
  struct network {
    bool v6;
    unsigned char bytes[16];
    unsigned prefix;
  };
  bool all_ = false;
  std::vector<network> networks_;
  std::vector<std::string> names_;
};

/// Replaces the system's resolver: addresses of a name in text form, or failure::dns_failed. Called on resolver threads, may block.
using lookup_function = std::function<result<std::vector<std::string>>(const std::string& host)>;

struct network_options {
  unsigned reactors = 1;
  target_policy policy;
  std::string ca_file;        ///< further trusted authorities (PEM), besides the system's; empty: none
  std::string bind_address;   ///< source address for outgoing connections; empty: the system's choice
  lookup_function lookup;     ///< empty: getaddrinfo. Tests name their peers with it
  std::function<mono_time()> lookup_clock;   ///< by which the cache of names ages; empty: the steady clock
};

class network {
 public:
  virtual ~network() = default;   ///< stops and joins the threads; every outstanding handler is destroyed unrun

  /// Fails with failure::invalid_input if the CA file cannot be read.
  static result<std::unique_ptr<network>> create(network_options options);

  [[nodiscard]] virtual std::size_t reactors() const = 0;
  /// Reactor `i % reactors()`; lives as long as the network.
  [[nodiscard]] virtual reactor& at(std::size_t i) = 0;
  [[nodiscard]] virtual dialer& dial() = 0;
  [[nodiscard]] virtual http_client& http() = 0;
  /// The same with places of its own, for webhooks: receivers that hang must not hold those of token endpoints.
  [[nodiscard]] virtual http_client& webhooks() = 0;
};

}  // namespace mailherd::net
