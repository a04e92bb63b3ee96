// actors/delivery/verdict: what a receiver's answer means, and the Standard Webhooks signature.
//
// Owns:   the reading of status and Retry-After; the three headers that every webhook carries.
// Never:  reads a clock; sends anything; lets a secret out of what it returns but as a signature.
// Used by: deliverer.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "transport/net.hpp"

namespace mailherd::actors {

struct verdict {
  enum class kind { taken, failed, gone } what = kind::failed;
  int status = 0;                        ///< 0: no answer
  std::string error;                     ///< for people; empty if taken
  std::string response;                  ///< its beginning
  std::optional<wall_time> not_before;   ///< the receiver named a time
};

/// 2xx is taken, 410 is gone (the endpoint is disabled), everything else is tried again. Redirects are not followed: a receiver that moved says so
/// to people, and a redirect to another host would carry mail where nobody asked for it to go.
verdict judge(const result<net::http_reply>& answer, wall_time now);

/// webhook-id, webhook-timestamp and webhook-signature: "v1," and the base64 HMAC-SHA256 of "id.timestamp.body" by each secret ("whsec_<base64>").
std::vector<std::pair<std::string, std::string>> signed_headers(const std::string& id, wall_time at, std::string_view body,
                                                                const std::vector<const secret<>*>& secrets);

}  // namespace mailherd::actors
