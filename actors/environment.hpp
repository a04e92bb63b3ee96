// actors/environment: what every actor is given: the world outside the actor system, as interfaces.
//
// Owns:   nothing; it only names. All of it outlives the actor system.
// Never:  changes after the herd has started.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/budget.hpp"
#include "actors/roster.hpp"
#include "actors/telemetry.hpp"
#include "core/limits.hpp"
#include "storage/store.hpp"
#include "storage/webhook_store.hpp"
#include "transport/net.hpp"

namespace mailherd::actors {

/// How long sessions wait. The defaults are the limits; tests against real sockets shorten them.
struct session_times {
  seconds attempt = limits::attempt_deadline;
  seconds command = limits::command_deadline;
  seconds stall = limits::stall_deadline;
  seconds idle_restart = limits::idle_restart;
};

struct herd_options {
  std::string node_name;
  std::string version;
  seconds lease_ttl = limits::lease_ttl;
  seconds poll_interval = limits::poll_interval;   ///< POP3, and IMAP without IDLE
  session_times times;
  seconds deliverer_round = limits::deliverer_round;   ///< tests of days lengthen it
  seconds rebalance_after = limits::rebalance_settle;   ///< channels are moved only when no node has come or gone for so long
  bool allow_plaintext = false;                    ///< the operator allows tls "none"
  std::size_t max_channels = 100'000;              ///< this node claims no more
  unsigned logins_per_host = 32;                   ///< attempts to one mail host at once, of all nodes together
  unsigned logins_per_node = 128;                  ///< attempts at once
};

class discovery;

/// What webhooks say: bodies made by the API's own words. `message` and `state` are called on a storage worker, and only read there; what costs CPU is
/// left for the workshop. nullopt: it is no more, nothing is to be told.
struct event_words {
  using body = result<std::optional<store::event_body>>;
  std::function<body(store::session&, const store::webhook_spec&, const store::stored_message&)> message;
  std::function<body(store::session&, tenant_id, const store::state_event&)> state;
  std::function<std::string(const store::webhook_key&, const store::delivery_record&, wall_time)> test;
};

/// A thread for what costs CPU: neither a storage worker nor an actor may be held by it. Takes work, or says false when it is full or ending.
using workshop = std::function<bool(std::function<void()>)>;

struct environment {
  herd_options options;
  std::vector<net::reactor*> reactors;   ///< at least one
  net::dialer* dialer = nullptr;
  net::http_client* http = nullptr;
  net::http_client* webhooks = nullptr;   ///< for deliveries; null: this node delivers nothing
  event_words words;
  actors::workshop workshop = [](const std::function<void()>& work) { work(); return true; };   ///< unless told otherwise, at once
  store::executor* store = nullptr;
  telemetry* report = nullptr;
  std::shared_ptr<fetch_budget> budget;
  std::shared_ptr<actors::roster> roster = std::make_shared<actors::roster>();   ///< whoever spawns a child that outlives its maker's handle adds it
  std::shared_ptr<discovery> providers;   ///< what OpenID providers say of themselves; null: nobody is asked
  std::shared_ptr<std::atomic<unsigned>> nodes = std::make_shared<std::atomic<unsigned>>(1);   ///< that share the cluster's budgets, this one included
  std::function<wall_time()> wall_now;
  std::function<std::uint64_t()> random;   ///< uniform over 64 bits; any thread
};

}  // namespace mailherd::actors
