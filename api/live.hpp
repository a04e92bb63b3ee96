// api/live: what happens to channels, told to those who watch, as server-sent events.
//
// Owns:   the followers and what each of them has still to be told; gathers news, so that a storm costs a follower a few lines a second.
// Never:  looks into the store: an event names what changed, the follower reads it with his own rights.
// Used by: the handler of GET /v1/live, server (tells news). All on the HTTP thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "api/http.hpp"
#include "core/ids.hpp"

namespace mailherd::api {

class live_news {
 public:
  explicit live_news(std::shared_ptr<loop> loop) : loop_(std::move(loop)) {}

  /// A body for one follower; `only`: the tenant he may hear of. nullptr: there are too many.
  std::shared_ptr<body_source> follow(std::optional<tenant_id> only);

  /// No tenant: anything may have happened.
  void channel(tenant_id tenant, channel_id channel);
  void mail(tenant_id tenant);
  /// Everybody's answer ends now, and nobody new is taken.
  void stop();

  class follower;  // known to the .cpp only

 private:
  template <class Tell>
  void each(tenant_id tenant, Tell tell);

  std::shared_ptr<loop> loop_;
  std::vector<std::weak_ptr<follower>> followers_;
  bool stopping_ = false;
};

}  // namespace mailherd::api
