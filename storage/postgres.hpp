// storage/postgres: the database behind `store.hpp`.
//
// Owns:   how a store is opened; `connection_session`'s public face, of which each worker of the executor has one.
// Never:  lets a pqxx or libpq type, an exception or a bound parameter out. Only storage/ knows the library.
// Used by: node (open, migrate), storage/executor (session_factory), tests.
// Threads: `open` and `migrate` block. A `worker_session` belongs to one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/ids.hpp"
#include "core/result.hpp"
#include "storage/store.hpp"

namespace mailherd::store {
class keyring;
}

namespace mailherd::store::postgres {

/// Channels of LISTEN/NOTIFY. They only wake: every decision is read from rows.
inline constexpr std::string_view feed_notification = "mailherd_feed";        ///< payload: "<tenant>"; new messages are visible
inline constexpr std::string_view channel_notification = "mailherd_channel";  ///< payload: "<tenant> <channel>"; configuration or credential changed
inline constexpr std::string_view state_notification = "mailherd_state";      ///< payload: "<tenant> <channel>"; its state changed: for people who watch

struct options {
  std::string url;                             ///< postgresql://… or a libpq keyword string; may hold a password: never logged
  unsigned workers = 4;                        ///< threads, each with its connection
  std::shared_ptr<const keyring> keys;         ///< seals credentials and client secrets
  milliseconds reconnect_min{100};             ///< pause after a failed connection, doubled up to reconnect_max
  milliseconds reconnect_max{5'000};
  std::size_t queue_limit = limits::store_jobs;
  std::int64_t retention_days = 0;             ///< messages older than this are dropped by `sweep`, a month at a time; 0: kept for ever
  std::int64_t outbox_days = 14;               ///< likewise of the table `outbox`, which only older versions write (docs/decisions/0014)

  /// Called on the listener's thread, must not block. After the listener has reconnected all are called once with a zero tenant ("anything
  /// may have happened: look").
  std::function<void(tenant_id)> on_feed;
  std::function<void(tenant_id, channel_id)> on_channel_changed;
  std::function<void(tenant_id, channel_id)> on_state;
};

/// Starts the workers and the listener. Succeeds also while the database is away (jobs then end with store_unavailable): who needs it at the
/// start asks `admin_store::ping`. failure::invalid_input for a URL that cannot be parsed.
result<std::unique_ptr<executor>> open(options how);

/// Brings the database to this binary's version. failure::conflict if the database is newer than this binary.
result<void> migrate(const std::string& url);

/// Are these the keys that the database's secrets were sealed with? The first call on a new database makes them so. After `migrate`. Blocks.
/// failure::seal_failed if not.
result<void> check_keys(const std::string& url, const keyring& keys);

/// Seals anew with the first key whatever another key of the ring sealed, in small transactions beside a running cluster; returns how many values.
/// Blocks. Afterwards the older keys may be taken out of the ring.
result<std::size_t> reseal(const std::string& url, const keyring& keys);

/// One worker's connection and the stores on it.
class worker_session {
 public:
  virtual ~worker_session() = default;
  virtual session& stores() = 0;
  /// The connection is lost or not to be trusted: throw this object away and make another one.
  [[nodiscard]] virtual bool broken() const = 0;
};

/// Connects (blocking). Called on the worker's thread, again after every loss. failure::store_unavailable or store_failed.
using session_factory = std::function<result<std::unique_ptr<worker_session>>()>;

/// Connects, gives up superuser rights (row-level security must hold for us too), sets time limits.
result<std::unique_ptr<worker_session>> connect(const options& how);

}  // namespace mailherd::store::postgres
