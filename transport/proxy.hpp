// transport/proxy: asks a proxy for a way to the server: HTTP CONNECT (RFC 9110, 9.3.6) and SOCKS5 (RFC 1928, RFC 1929).
//
// Owns:   the dialogue until the proxy has said yes or no. Reads not one byte past the proxy's answer: what follows is the server's.
// Never:  puts the proxy's password in an error.
// Used by: dialer.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/model.hpp"
#include "transport/stream.hpp"

namespace mailherd::net {

/// Destroying it ends the dialogue without a word; the handler does not run any more.
class proxy_dialogue {
 public:
  using handler = std::function<void(result<void>)>;
  virtual ~proxy_dialogue() = default;

  /// Begins the dialogue on a stream connected to the proxy. `on_done` runs once, never before this returns; it may destroy the dialogue.
  /// Fails with proxy_failed. REQUIRED: host at most 255 bytes; for SOCKS5 user name and password too.
  static std::unique_ptr<proxy_dialogue> begin(std::shared_ptr<stream> through, const proxy_settings& proxy, std::string host,
                                               std::uint16_t port, handler on_done);
};

}  // namespace mailherd::net
