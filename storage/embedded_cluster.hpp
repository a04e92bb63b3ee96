// storage/embedded_cluster: the files of the embedded server, and how its program is called.
//
// Owns:   <data dir>/postgres: the lock, the configuration, the log, the socket directory, the making of the database files.
// Never:  leaves half a cluster (it is made aside and renamed); writes into a directory that the server's user owns (as root that would let
//         the server choose which file of the machine is overwritten); touches files without its own mark.
// Used by: storage/embedded.cpp only.
// Threads: one at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "core/result.hpp"
#include "storage/embedded.hpp"
#include "storage/embedded_process.hpp"

namespace mailherd::store::embedded {

/// In a Unix socket's address; what PostgreSQL calls the socket; its port exists only in this name.
constexpr std::size_t socket_path_bytes = 107;
constexpr unsigned port = 5432;
constexpr const char* superuser = "postgres";
constexpr const char* role = "mailherd";
constexpr const char* database = "mailherd";

/// Everything under <data dir>/postgres. The folder is the node's; `data` is the server's.
struct layout {
  explicit layout(const std::filesystem::path& data_dir)
      : root(data_dir / "postgres"),
        data(root / "data"),
        sockets(root / "socket"),
        mark(root / "mailherd-cluster"),
        lock(root / "lock"),
        settings(root / "postgresql.conf"),
        access(root / "pg_hba.conf"),
        names(root / "pg_ident.conf"),
        log(root / "server.log"),
        older_log(root / "server.log.1"),
        socket_record(root / "socket-directory") {}
  std::filesystem::path root, data, sockets, mark, lock, settings, access, names, log, older_log, socket_record;
};

/// A server that runs on the files.
struct running_server {
  process_handle process;
  std::filesystem::path socket_directory;
  bool ready = false;  ///< it has been up; false while it begins or ends
};

class cluster {
 public:
  /// Checks or makes everything up to the point where the server can be started, and takes the lock: failure::conflict if another process
  /// holds it.
  static result<cluster> prepare(const embedded_server::options& how);

  /// Where the server's socket is, from here on always there: inside the data directory, or where the path can be a socket's.
  [[nodiscard]] const std::filesystem::path& socket_directory() const noexcept { return socket_directory_; }
  [[nodiscard]] std::filesystem::path socket() const;
  [[nodiscard]] const std::string& version() const noexcept { return version_; }

  /// The server that the pid file names, if it is one of these files and lives.
  [[nodiscard]] std::optional<running_server> find_running() const;
  /// Starts the server's program; does not wait until it answers. REQUIRES that none runs.
  result<process_handle> launch();
  /// What the log says since the last `launch`, for error texts.
  [[nodiscard]] std::string log_tail() const;
  /// Keeps the log within its bounds. Cheap; now and then.
  void trim_log() const;
  /// After an orderly stop: takes away the socket directory if it is outside of the data directory.
  void forget_socket_directory();

 private:
  cluster(layout where, account who) : where_(std::move(where)), who_(std::move(who)) {}
  result<void> take_lock();
  result<void> choose_programs(const std::filesystem::path& wanted);
  result<void> make_files();
  result<void> write_settings(unsigned max_connections) const;
  result<void> choose_socket_directory();
  [[nodiscard]] std::optional<pid_t> pid_in_file() const;

  layout where_;
  account who_;
  descriptor lock_;
  std::filesystem::path programs_;
  std::string version_;
  std::filesystem::path socket_directory_;
  std::uintmax_t log_start_ = 0;
};

// ---- storage/embedded_directories.cpp -------------------------------------------------------------------------------------------------

/// Absolute and free of symbolic links. failure::invalid_input for a name that no configuration file can hold.
result<std::filesystem::path> resolved(const std::filesystem::path& data_dir);
/// Whom the server runs as: oneself, or (as root) the files' owner, else whom `run_as` names.
result<account> choose_account(const layout& where, const std::string& run_as);
/// Makes the data directory and the folder in it, with our mark; as root, sees to it that `who` can reach them.
result<void> make_folders(const std::filesystem::path& data_dir, const layout& where, const account& who,
                          const std::function<void(const std::string&)>& on_event);
/// A directory of `who` that nobody else can enter: made if missing, checked if there (in /tmp somebody else may have been first).
result<void> make_private(const std::filesystem::path& directory, const account& who);
/// Replaces a file of the node that `who` may read.
result<void> write_file(const std::filesystem::path& path, const std::string& text, const account& who);
std::string read_file(const std::filesystem::path& path);

// ---- storage/embedded_settings.cpp ----------------------------------------------------------------------------------------------------

/// Text of the configuration files.
std::string settings_text(unsigned max_connections);
std::string access_text();
std::string names_text(const std::string& system_user);
/// The server's command line and environment. `stale` is a process id in the pid file that is known to be somebody else's.
command server_command(const layout& where, const std::filesystem::path& programs, const std::filesystem::path& sockets,
                       std::optional<pid_t> stale);
/// Environment of PostgreSQL's programs: nothing of ours, which holds secrets.
std::vector<std::string> clean_environment();

}  // namespace mailherd::store::embedded
