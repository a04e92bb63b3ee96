// transport/dialer: one attempt to reach a server: look up, judge the addresses, connect, pass the proxy, encrypt; one deadline over all.
//
// Owns:   the order of the phases and the words of their failures. The phases are resolver, policy, race, proxy and stream.
// Never:  retries: who calls decides by the failure's advice.
// Used by: network.
#pragma once

#include <memory>
#include <optional>

#include "transport/address.hpp"
#include "transport/io_reactor.hpp"
#include "transport/network.hpp"
#include "transport/resolver.hpp"
#include "transport/tls.hpp"

namespace mailherd::net {

/// What attempts share. Lives longer than every attempt.
struct dial_environment {
  resolver& names;
  const target_policy& policy;
  std::shared_ptr<tls_context> tls;
  std::optional<ip_address> source;
};

class net_dialer final : public dialer {
 public:
  explicit net_dialer(dial_environment environment) : environment_(std::move(environment)) {}

  /// `where` must be a reactor of the same network.
  [[nodiscard]] std::unique_ptr<attempt> dial(reactor& where, target to, deadline until, connect_handler on_done,
                                              progress_handler on_progress) override;

 private:
  dial_environment environment_;
};

/// The words for an address that tenants may not reach.
error refused_target(std::string_view host, const ip_address& address);

}  // namespace mailherd::net
