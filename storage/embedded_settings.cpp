// storage/embedded_settings: what the embedded server is told. Configuration for one small node; the reasons stand beside the settings.
#include <fmt/format.h>

#include "storage/embedded_cluster.hpp"

namespace mailherd::store::embedded {

namespace fs = std::filesystem;

namespace {

constexpr const char* made =
    "# Written by Mailherd at every start: changes are lost. To change a setting for good: ALTER SYSTEM SET ... as the superuser.\n";

/// One element of a list of directories, whatever is in its name.
std::string quoted(const fs::path& path) {
  std::string out = "\"";
  for (const char c : path.string()) out.append(c == '"' ? 2 : 1, c);
  return out + "\"";
}

}  // namespace

std::string settings_text(unsigned max_connections) {
  return made + fmt::format(R"(
max_connections = {}

# Memory: a small share of a small machine; the operating system's cache does the rest.
shared_buffers = 64MB
# In files, not in /dev/shm: containers give that 64 MB, and a desktop's session manager empties it when its user logs out.
dynamic_shared_memory_type = mmap
# Queries of a mail store read few rows by an index. Helpers and compilers of queries only add latency.
max_parallel_workers_per_gather = 0
jit = off

# What was committed survives a power cut. Not to be traded for speed: a cursor that outlives its messages is mail lost.
fsync = on
synchronous_commit = on
full_page_writes = on
# After a crash: one call instead of a thousand, seconds of an outage on a slow disk.
recovery_init_sync_method = syncfs

# A backfill writes gigabytes: few checkpoints, spread out, compressed.
max_wal_size = 2GB
min_wal_size = 512MB
wal_buffers = 16MB
checkpoint_completion_target = 0.9
wal_compression = lz4
default_toast_compression = lz4
autovacuum = on

# Errors only, without the statement and the row they are about: no mail and no address in a log.
log_destination = stderr
logging_collector = off
log_line_prefix = '%m [%p] '
log_min_messages = warning
log_min_error_statement = panic
log_error_verbosity = terse
log_checkpoints = off
log_autovacuum_min_duration = -1
log_timezone = 'UTC'
timezone = 'UTC'
cluster_name = 'mailherd'
)",
                            max_connections);
}

std::string access_text() {
  // Only the server's user and root pass the socket's directory (0700). The kernel says which of the two asks, and the map says as whom
  // each may log in: `trust` would do the same until somebody opens the directory. There is no line for TCP or replication.
  return std::string(made) + "local all all peer map=mailherd\n";
}

std::string names_text(const std::string& system_user) {
  std::string out = made;
  for (const std::string& user : {std::string("root"), system_user})
    for (const char* as : {role, superuser}) out += fmt::format("mailherd \"{}\" {}\n", user, as);
  return out;
}

std::vector<std::string> clean_environment() { return {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}; }

command server_command(const layout& where, const fs::path& programs, const fs::path& sockets, std::optional<pid_t> stale) {
  command out;
  out.argv = {(programs / "postgres").string(), "-D", where.data.string()};
  // On the command line, where not even ALTER SYSTEM can change them.
  for (const std::string& setting : {
           "config_file=" + where.settings.string(),
           "hba_file=" + where.access.string(),
           "ident_file=" + where.names.string(),
           std::string("listen_addresses="),
           fmt::format("port={}", port),
           "unix_socket_directories=" + quoted(sockets),
           std::string("unix_socket_permissions=0700"),
           std::string("lc_messages=C"),
       })
    out.argv.insert(out.argv.end(), {"-c", setting});
  out.env = clean_environment();
  // A pid file left behind may name a process that now is another program (likely in a container, where numbers are small), and PostgreSQL
  // would refuse to start. It ignores the number of its grandparent, which pg_ctl passes in this variable. Deleting the file instead would
  // also delete the shared memory's id, by which it sees that processes of a dead server still work on the files.
  if (stale) out.env.push_back(fmt::format("PG_GRANDPARENT_PID={}", *stale));
  return out;
}

}  // namespace mailherd::store::embedded
