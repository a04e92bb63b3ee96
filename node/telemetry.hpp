// node/telemetry: what the herd reports, counted for Prometheus and written as log lines.
//
// Owns:   every metric of the contract (names, labels, buckets), the process's own, and the log.
// Never:  asks the database (what comes from it is handed in by `set_gauges`); makes a label of a channel, an address or a message;
//         holds an actor: counting is an atomic, a line goes into a queue.
// Used by: node (makes it, feeds the gauges), the API's metrics listener (`text`), every actor (`actors::telemetry`).
// Threads: any.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "actors/telemetry.hpp"
#include "node/log.hpp"
#include "storage/store.hpp"

namespace mailherd::node {

class telemetry final : public actors::telemetry {
 public:
  telemetry(std::string version, log::options lines);
  ~telemetry() override;

  void log(actors::log_level level, std::string_view sentence, std::initializer_list<actors::log_field> fields) override;

  void stored(tenant_id tenant, protocol_kind protocol, std::int64_t messages, std::uint64_t bytes) override;
  void fetch_lag(double seconds) override;
  void duplicates_suppressed(std::int64_t messages) override;
  void sessions(protocol_kind protocol, tls_mode tls, int change) override;
  void session_failed(protocol_kind protocol, failure reason) override;
  void login(std::string_view mechanism, bool ok) override;
  void token_refresh(provider_kind provider, bool ok, double seconds) override;
  void auth_switch(auth_type from, auth_type to, bool ok, double gap_seconds) override;
  void leases(std::size_t owned, double seconds_since_renewal) override;
  void handover(std::string_view reason, bool ok) override;
  void handover_gap(double seconds) override;
  void fenced_write() override;
  void commit(double seconds, std::size_t queued) override;
  void watchdog_restart() override;
  void webhook_delivery(bool taken) override;
  void webhook_backlog(std::int64_t events) override;

  /// The newest readings of admin_store::gauges and app_gauges; they replace those before.
  void set_gauges(const std::vector<store::channel_gauge>& read, const std::vector<store::app_gauge>& apps = {});

  /// Everything, in Prometheus' text form. Reads /proc; asks nobody.
  [[nodiscard]] std::string text() const;

  /// As log::close.
  void close_log();

 private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

}  // namespace mailherd::node
