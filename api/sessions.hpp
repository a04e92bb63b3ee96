// api/sessions: how a browser stays signed in, and what keeps other sites from using that.
//
// Owns:   the cookie's name and form, the check that a request comes from the console itself, the count of wrong tokens.
// Never:  stores a cookie: the store knows its digest.
// Used by: the service, the handlers of /v1/session. HTTP thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "api/http.hpp"
#include "core/clock.hpp"

namespace mailherd::api::sessions {

/// What the console sends with every request that changes something: no form and no image of another site can.
inline constexpr std::string_view header = "x-mailherd-console";

/// The session's cookie, if the request brings one. `secure`: the public address is https.
std::optional<std::string> cookie_of(const request& r, bool secure);
std::string set_cookie(std::string_view value, bool secure, seconds life);
std::string clear_cookie(bool secure);

/// True if a page of this node (its public address, or the host the request was sent to) made the request.
bool from_console(const request& r, std::string_view public_url);

/// Wrong tokens by address. Old ones are forgotten; the number of addresses is bounded.
class attempts {
 public:
  /// Seconds to wait before the next try; 0: go on.
  unsigned wait(const std::string& peer, mono_time now);
  void failed(const std::string& peer, mono_time now);

 private:
  struct window {
    mono_time began{};
    unsigned count = 0;
  };
  std::unordered_map<std::string, window> of_;
  window all_;
};

}  // namespace mailherd::api::sessions
