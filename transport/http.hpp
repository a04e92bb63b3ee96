// transport/http: HTTP requests by libcurl's multi interface, one per reactor, on the reactor's own loop.
//
// Owns:   the curl handles, the queue of requests that wait, the trust in certificates of HTTPS peers.
// Never:  lets curl resolve a name (our resolver does, and the policy judges), read the environment's proxy or a netrc file; logs anything.
// Used by: network.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "transport/dialer.hpp"
#include "transport/io_reactor.hpp"

namespace mailherd::net {

class net_http_client final : public http_client {
 public:
  /// One engine per reactor. The environment and the reactors outlive the client. Fails with invalid_input if `ca_file` cannot be read.
  /// `active`: requests under way on one reactor.
  static result<std::unique_ptr<net_http_client>> create(const std::vector<io_reactor*>& reactors, dial_environment environment,
                                                         const std::string& ca_file, std::size_t active);
  ~net_http_client() override;

  void send(http_request request, deadline until, std::function<void(result<http_reply>)> on_done) override;

 private:
  net_http_client();
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace mailherd::net
