// actors/consent/discovery: what OpenID providers say of themselves: endpoints and keys, fetched when needed and remembered for a while.
//
// Owns:   the memory of both, bounded. Never:  judges a token; asks a provider for its keys more often than limits::provider_keys_pause.
// Used by: token_exchange (endpoints of apps known by their issuer), who_consented (issuer and keys), connector.
// Threads: any; answers come on a reactor's thread, or at once from memory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "protocol/oauth2/identity.hpp"
#include "protocol/oauth2/metadata.hpp"
#include "transport/net.hpp"

namespace mailherd::actors {

class discovery : public std::enable_shared_from_this<discovery> {
 public:
  discovery(net::http_client& http, net::reactor& clock) : http_(http), clock_(clock) {}

  using keys = std::shared_ptr<const std::vector<oauth2::signing_key>>;

  /// What the app's provider says at `url`. Errors: not_found (there is no document), token_unavailable (not
  /// reachable, not readable), app_misconfigured.
  void find(const oauth_app& app, const std::string& url, deadline until, std::function<void(result<oauth2::metadata>)> then);
  /// The provider's keys; `newer`: one was not among those that are known.
  void find_keys(const std::string& url, bool newer, deadline until, std::function<void(result<keys>)> then);
  /// The app with all its endpoints: asks its issuer if it names fewer.
  void complete(const oauth_app& app, deadline until, std::function<void(result<oauth_app>)> then);

 private:
  struct document {
    mono_time asked{};
    std::string body;
    discovery::keys keys;
  };
  void fetch(const std::string& url, deadline until, std::function<void(result<document>)> then);

  net::http_client& http_;
  net::reactor& clock_;
  std::mutex mutex_;
  std::map<std::string, document> known_;  ///< by address
};

}  // namespace mailherd::actors
