// node/ctl/client: the API over HTTP.
//
// Owns:   one curl handle; where the API is and with which token.
// Never:  prints; sends the token anywhere but to the configured address (no redirects are followed).
// Used by: the commands. Blocks.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"

namespace mailherd::ctl {

using json = nlohmann::ordered_json;

struct endpoint {
  std::string url;  ///< without a slash at the end
  secret<> token;
};

/// From the flags if given, else from the environment (see contract: MAILHERD_PUBLIC_URL, MAILHERD_LISTEN, MAILHERD_ADMIN_TOKEN,
/// ..._FILE, MAILHERD_DATA_DIR). Error: invalid_input with the line to show.
result<endpoint> find_endpoint(const std::string& url_flag, const std::string& token_flag);

struct reply {
  int status = 0;
  std::string body;
};

class client {
 public:
  explicit client(endpoint where);
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  /// Any status is a reply; errors are those of the network (connect_failed, timed_out ...), in words. `sink`: takes the body of a 200
  /// piece by piece instead of `reply::body`; false stops.
  result<reply> send(const std::string& method, const std::string& path, const std::optional<json>& body, seconds timeout,
                     const std::function<bool(std::string_view)>& sink = {});

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// For one segment of a path or one query value.
std::string escape(std::string_view text);

}  // namespace mailherd::ctl
