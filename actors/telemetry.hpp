// actors/telemetry: what the running herd reports about itself, without knowing how it is counted or printed.
//
// Owns:   the abstract `telemetry`: one function per metric of the contract, and structured log lines.
// Never:  receives a secret; log lines read subject-verb-object. Labels are bounded: never a channel, an address or a message in a metric.
// Used by: every actor and session; implemented by node/telemetry (prometheus-cpp, spdlog) and by tests.
// Threads: any; implementations are thread-safe and do not block.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "core/model.hpp"

namespace mailherd::actors {

enum class log_level { debug, info, warning, error };

struct log_field {
  std::string_view key;
  std::string value;
};

class telemetry {
 public:
  virtual ~telemetry() = default;

  virtual void log(log_level, std::string_view /*sentence*/, std::initializer_list<log_field> /*fields*/) {}

  virtual void stored(tenant_id, protocol_kind, std::int64_t /*messages*/, std::uint64_t /*bytes*/) {}
  /// Server's internal date to stored.
  virtual void fetch_lag(double /*seconds*/) {}
  virtual void duplicates_suppressed(std::int64_t /*messages*/) {}
  /// +1 when a session has its mailbox selected, -1 when it is over.
  virtual void sessions(protocol_kind, tls_mode, int /*change*/) {}
  virtual void session_failed(protocol_kind, failure) {}
  virtual void login(std::string_view /*mechanism*/, bool /*ok*/) {}
  virtual void token_refresh(provider_kind, bool /*ok*/, double /*seconds*/) {}
  virtual void auth_switch(auth_type /*from*/, auth_type /*to*/, bool /*ok*/, double /*gap_seconds*/) {}
  virtual void leases(std::size_t /*owned*/, double /*seconds since the last renewal*/) {}
  /// A channel that went to another node, or did not ("drain", "move", "rebalance").
  virtual void handover(std::string_view /*reason*/, bool /*ok*/) {}
  /// How long a channel that came from another node had no session.
  virtual void handover_gap(double /*seconds*/) {}
  virtual void fenced_write() {}
  virtual void commit(double /*seconds*/, std::size_t /*queued*/) {}
  virtual void watchdog_restart() {}
  virtual void webhook_delivery(bool /*taken*/) {}
  /// Events that this node's endpoints have before them.
  virtual void webhook_backlog(std::int64_t /*events*/) {}
};

}  // namespace mailherd::actors
