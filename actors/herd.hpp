// actors/herd: the actor system of one node as an object: start it, ask it, stop it.
//
// Owns:   the CAF system, the root actors (guardian, lease keeper, gate, pacer), the connection tests under way.
// Never:  is seen by actors; reads configuration or signals (node/ does).
// Used by: node/ and scenario tests. Implements what the API may ask (`control`).
// Threads: any thread may call; only `stop` and the destructor block.
#pragma once

#include <memory>
#include <string>

#include "actors/control.hpp"
#include "actors/environment.hpp"

namespace mailherd::actors {

class herd : public control {
 public:
  /// Starts the actors; returns at once: joining the cluster, claiming and connecting go on behind it and are repeated until the database
  /// answers. Everything `env` points to must outlive the herd. `threads`: scheduler workers, at least 1.
  static std::unique_ptr<herd> start(environment env, unsigned threads);

  /// Commits what is in hand, logs sessions out, gives the leases back, leaves the cluster; what has not ended after `grace` is killed, and
  /// a log line says what. True if everything ended in order. Idempotent. Blocks up to `grace` and a second.
  virtual bool stop(seconds grace) = 0;

  /// A hint that this tenant's feed has grown (no tenant: look everywhere): webhooks go out sooner.
  virtual void fed(tenant_id tenant) = 0;
};

}  // namespace mailherd::actors
