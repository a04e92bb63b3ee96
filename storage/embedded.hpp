// storage/embedded: a private PostgreSQL under the data directory, for a node that was given no database.
//
// Owns:   the cluster's files (<data dir>/postgres), its server process, a watcher thread that starts the server again when it dies.
// Never:  listens on TCP; is reachable by another user (socket directory 0700, peer authentication); touches a cluster it did not make;
//         runs as root (started as root it runs the server as an unprivileged user); ends a process that is not the server of its files.
// Used by: node/ and tests.
// Threads: `start` and `stop` block (seconds); `url`, `running` may be called on any thread.
// Durable: fsync and synchronous_commit are on. A node that was killed leaves its server behind; the next start finds it by its pid file
//          and adopts it (the same files), so that nothing is lost and nothing runs twice. Two nodes at once are refused by a lock.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "core/clock.hpp"
#include "core/result.hpp"

namespace mailherd::store {

class embedded_server {
 public:
  struct options {
    std::filesystem::path data_dir;                        ///< made if missing, 0700 (as root 0710, for the server's group to pass)
    std::filesystem::path binaries;                        ///< folder of initdb and postgres; empty: /usr/lib/postgresql, the newest
    std::string run_as;                                    ///< when started as root: the user; empty: the files' owner, postgres, nobody
    unsigned max_connections = 40;
    seconds start_deadline{60};
    std::function<void(const std::string&)> on_event;      ///< one sentence per start, death, restart; any thread
  };

  /// Makes the cluster if there is none, starts or adopts its server and waits until it answers. failure::invalid_input (no binaries, files
  /// of another PostgreSQL version, a directory that the server's user may not enter: the detail says what to do), conflict (another node
  /// uses the data directory), store_unavailable (it does not start; the detail holds the last lines of its log).
  static result<std::unique_ptr<embedded_server>> start(options how);

  /// As `stop`.
  virtual ~embedded_server() = default;

  /// For libpq: Unix socket only. The role is the cluster's own unprivileged owner of the database "mailherd", not the superuser.
  [[nodiscard]] virtual std::string url() const = 0;
  [[nodiscard]] virtual bool running() const = 0;

  /// Fast shutdown, waits for it. Idempotent. Not from within `on_event`.
  virtual void stop() = 0;
};

}  // namespace mailherd::store
