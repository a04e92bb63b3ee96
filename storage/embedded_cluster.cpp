// storage/embedded_cluster: see the header.
#include "storage/embedded_cluster.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <thread>

#include <fmt/format.h>

namespace mailherd::store::embedded {

namespace fs = std::filesystem;

namespace {

/// wal_compression = lz4 came with it.
constexpr unsigned oldest_major = 15;
constexpr seconds version_timeout{20};
/// initdb writes 40 MB and waits for the disk.
constexpr seconds make_timeout{300};
/// Stops a server that repeats one complaint for months from filling the disk; one older file of this size is kept.
constexpr std::uintmax_t log_bytes = 16 * 1024 * 1024;
/// Of the log, in an error's text.
constexpr std::uintmax_t tail_bytes = 1'500;
constexpr const char* install_advice = "install the package postgresql-15, or give the node a database (MAILHERD_DATABASE_URL)";

constexpr const char* unfinished_prefix = "data.new-";
constexpr int remove_tries = 200;
constexpr milliseconds remove_pause{25};
constexpr const char* debian_folder = "/usr/lib/postgresql";

template <class... Ts>
tl::unexpected<error> unusable(fmt::format_string<Ts...> text, Ts&&... values) {
  return fail(failure::invalid_input, fmt::format(text, std::forward<Ts>(values)...));
}

std::optional<unsigned> leading_number(std::string_view text) {
  unsigned out = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (code != std::errc{}) return std::nullopt;
  return out;
}

bool holds_programs(const fs::path& folder) {
  return ::access((folder / "initdb").c_str(), X_OK) == 0 && ::access((folder / "postgres").c_str(), X_OK) == 0;
}

/// Among Debian's versions: that of the files, else the newest.
std::optional<fs::path> installed_programs(std::optional<unsigned> major) {
  std::optional<fs::path> best;
  unsigned best_major = 0;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(debian_folder, code)) {
    const unsigned number = leading_number(entry.path().filename().string()).value_or(0);
    if (!holds_programs(entry.path() / "bin")) continue;
    if (major == number) return entry.path() / "bin";
    if (number <= best_major) continue;
    best_major = number;
    best = entry.path() / "bin";
  }
  return best;
}

/// "postgres (PostgreSQL) 15.18 (Debian …)" → "15.18".
std::string version_in(const std::string& text) {
  const auto start = text.find_first_of("0123456789");
  if (start == std::string::npos) return {};
  return text.substr(start, text.find_first_of(" \n", start) - start);
}

std::string line_of(const std::string& text, unsigned number) {
  std::size_t start = 0;
  for (unsigned at = 1; at < number && start != std::string::npos; ++at) {
    start = text.find('\n', start);
    if (start != std::string::npos) ++start;
  }
  return start == std::string::npos ? std::string{} : text.substr(start, text.find('\n', start) - start);
}

/// Its command line says so; or it works in the files' folder and is not one of a server's helpers (which outlive a killed server shortly).
bool is_server_of(pid_t pid, const fs::path& data) {
  const std::string line = read_file(fmt::format("/proc/{}/cmdline", pid));
  if (line.empty() || line.starts_with("postgres:")) return false;
  if (line.find(std::string("\0-D\0", 4) + data.string() + '\0') != std::string::npos) return true;
  struct stat works_in {};
  struct stat files {};
  return ::stat(fmt::format("/proc/{}/cwd", pid).c_str(), &works_in) == 0 && ::stat(data.c_str(), &files) == 0 &&
         works_in.st_dev == files.st_dev && works_in.st_ino == files.st_ino && line.find("postgres") != std::string::npos;
}

/// Short enough; and without a comma, by which libpq's "host" separates several servers.
bool fits_a_socket(const fs::path& directory) {
  if (directory.string().find(',') != std::string::npos) return false;
  return directory.string().size() + fmt::format("/.s.PGSQL.{}", port).size() <= socket_path_bytes;
}

/// What a node left that was killed while it made the files. Its initdb may still write into what is deleted here: what is not gone after a
/// few tries is left to the next start.
void remove_unfinished(const fs::path& root) {
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(root, code)) {
    if (!entry.path().filename().string().starts_with(unfinished_prefix)) continue;
    for (int tries = 0; tries < remove_tries && fs::exists(entry.path(), code); ++tries) {
      if (tries > 0) std::this_thread::sleep_for(remove_pause);
      fs::remove_all(entry.path(), code);
    }
  }
}

/// Everything of the file system that `path` is on: a thousand files with one call.
result<void> sync_all(const fs::path& path) {
  const descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.valid() && ::syncfs(folder.get()) == 0) return {};
  return fail(failure::store_unavailable, fmt::format("{} cannot be written to its disk: {}", path.string(), system_text(errno)));
}

}  // namespace

result<cluster> cluster::prepare(const embedded_server::options& how) {
  const auto data_dir = resolved(how.data_dir);
  if (!data_dir) return fail(data_dir.error());
  const layout where(*data_dir);
  auto who = choose_account(where, how.run_as);
  if (!who) return fail(who.error());
  cluster out(where, std::move(*who));
  auto done = make_folders(*data_dir, where, out.who_, how.on_event);
  if (done) done = out.take_lock();
  if (done) done = out.choose_programs(how.binaries);
  if (done) done = out.make_files();
  if (done) done = out.choose_socket_directory();
  if (done) done = out.write_settings(how.max_connections);
  if (!done) return fail(done.error());
  return out;
}

result<void> cluster::take_lock() {
  lock_ = descriptor(::open(where_.lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_.valid()) return unusable("{}: {}", where_.lock.string(), system_text(errno));
  // Released by the kernel when this process dies, however it dies.
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(failure::conflict, fmt::format("another node (process {}) uses {}: stop it, or choose another data directory",
                                               leading_number(read_file(where_.lock)).value_or(0), where_.root.string()));
  const std::string own = fmt::format("{}\n", ::getpid());
  if (::ftruncate(lock_.get(), 0) != 0 || ::pwrite(lock_.get(), own.data(), own.size(), 0) < 0)
    return fail(failure::store_unavailable, fmt::format("cannot write {}: {}", where_.lock.string(), system_text(errno)));
  return {};
}

result<void> cluster::choose_programs(const fs::path& wanted) {
  std::error_code code;
  const bool exists = fs::exists(where_.data, code);
  const auto files = leading_number(read_file(where_.data / "PG_VERSION"));
  if (exists && !files)
    return unusable("{}: its PG_VERSION cannot be read; restore the folder from a backup, or move it away to begin with an empty database",
                    where_.data.string());
  const auto found = wanted.empty() ? installed_programs(files) : holds_programs(wanted) ? std::optional(wanted) : std::nullopt;
  if (!found) return unusable("no PostgreSQL in {}: {}", wanted.empty() ? debian_folder : wanted.string(), install_advice);
  programs_ = fs::absolute(*found, code);
  const auto said = run(who_, {{(programs_ / "postgres").string(), "--version"}, clean_environment()}, version_timeout);
  if (!said) return fail(failure::invalid_input, said.error().detail);
  version_ = version_in(*said);
  const unsigned major = leading_number(version_).value_or(0);
  if (major < oldest_major)
    return unusable("{} is of PostgreSQL {}, and {} or newer is needed: {}", programs_.string(), version_, oldest_major, install_advice);
  if (files && *files != major)
    return unusable("the files in {} are of PostgreSQL {}, the programs in {} of {}: install postgresql-{}, or use pg_upgrade",
                    where_.data.string(), *files, programs_.string(), version_, *files);
  return {};
}

result<void> cluster::make_files() {
  std::error_code code;
  remove_unfinished(where_.root);
  if (fs::exists(where_.data, code)) return {};
  // Aside, and under a name that was never used: the initdb of a killed node may still be at work.
  std::string aside = (where_.root / (std::string(unfinished_prefix) + "XXXXXX")).string();
  if (::mkdtemp(aside.data()) == nullptr || (who_.uid != ::geteuid() && ::lchown(aside.c_str(), who_.uid, who_.gid) != 0))
    return fail(failure::store_unavailable, fmt::format("{} cannot be made: {}", aside, system_text(errno)));
  const command initdb{{(programs_ / "initdb").string(), "--pgdata=" + aside, fmt::format("--username={}", superuser), "--locale=C.UTF-8",
                        "--encoding=UTF8", "--auth-local=peer", "--auth-host=reject", "--data-checksums", "--no-instructions",
                        "--no-sync"},
                       clean_environment()};
  if (const auto made = run(who_, initdb, make_timeout); !made) return fail(made.error());
  if (auto written = sync_all(where_.root); !written) return written;  // before they get their name
  fs::rename(aside, where_.data, code);
  if (code) return fail(failure::store_unavailable, fmt::format("{}: {}", where_.data.string(), code.message()));
  return sync_all(where_.root);
}

result<void> cluster::write_settings(unsigned max_connections) const {
  auto done = write_file(where_.settings, settings_text(max_connections), who_);
  if (done) done = write_file(where_.access, access_text(), who_);
  if (done) done = write_file(where_.names, names_text(who_.name), who_);
  return done;
}

result<void> cluster::choose_socket_directory() {
  if (fits_a_socket(where_.sockets)) {
    socket_directory_ = where_.sockets;
    return make_private(socket_directory_, who_);
  }
  // The same one as last time if it is still ours: a server that was left behind listens there.
  const auto left_behind = find_running();
  const fs::path known = left_behind ? left_behind->socket_directory : fs::path(line_of(read_file(where_.socket_record), 1));
  if (known.is_absolute() && make_private(known, who_)) {
    socket_directory_ = known;
    return {};
  }
  const char* session = who_.uid == ::geteuid() ? std::getenv("XDG_RUNTIME_DIR") : nullptr;  // root's own is closed for the server's user
  for (const fs::path& base : {fs::path(session != nullptr ? session : ""), fs::path("/tmp")}) {
    std::string name = (base / "mailherd-XXXXXX").string();
    if (!base.is_absolute() || !fits_a_socket(name) || ::mkdtemp(name.data()) == nullptr) continue;
    if (who_.uid != ::geteuid() && ::lchown(name.c_str(), who_.uid, who_.gid) != 0) continue;
    socket_directory_ = name;
    return write_file(where_.socket_record, name + "\n", who_);
  }
  return unusable("{} is too long for a Unix socket, or has a comma, and no private directory can be made in /tmp: choose another path",
                  where_.sockets.string());
}

fs::path cluster::socket() const { return socket_directory_ / fmt::format(".s.PGSQL.{}", port); }

std::optional<pid_t> cluster::pid_in_file() const {
  const auto pid = leading_number(read_file(where_.data / "postmaster.pid"));
  if (!pid || *pid < 2) return std::nullopt;
  return static_cast<pid_t>(*pid);
}

std::optional<running_server> cluster::find_running() const {
  const auto pid = pid_in_file();
  if (!pid) return std::nullopt;
  // Held first and looked at then: what was looked at is what is held, unless it has ended meanwhile.
  const std::string text = read_file(where_.data / "postmaster.pid");
  running_server out{process_handle(*pid), line_of(text, 5), line_of(text, 8).starts_with("ready")};
  if (!is_server_of(*pid, where_.data) || out.process.ended()) return std::nullopt;
  return out;
}

result<process_handle> cluster::launch() {
  // Somebody may have cleaned up /tmp.
  if (auto there = make_private(socket_directory_, who_); !there) return fail(there.error());
  // A dead server's, if there are any: their lock, too, may name a process that now is another program. The files' own lock stays.
  std::error_code code;
  fs::remove(socket(), code);
  fs::remove(socket().string() + ".lock", code);
  trim_log();
  const descriptor log(::open(where_.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!log.valid()) return fail(failure::store_unavailable, fmt::format("cannot write {}: {}", where_.log.string(), system_text(errno)));
  log_start_ = fs::file_size(where_.log, code);
  command server = server_command(where_, programs_, socket_directory_, pid_in_file());
  server.output = log.get();
  const auto pid = spawn(who_, server);
  if (!pid) return fail(pid.error());
  return process_handle(*pid);
}

std::string cluster::log_tail() const {
  std::ifstream in(where_.log, std::ios::binary | std::ios::ate);
  if (!in) return {};
  const auto size = static_cast<std::uintmax_t>(std::max<std::streamoff>(in.tellg(), 0));
  const std::uintmax_t start = std::max(std::min(log_start_, size), size - std::min(size, tail_bytes));
  std::string out(size - start, '\0');
  in.seekg(static_cast<std::streamoff>(start));
  in.read(out.data(), static_cast<std::streamsize>(out.size()));
  return out;
}

void cluster::trim_log() const {
  std::error_code code;
  const auto size = fs::file_size(where_.log, code);
  if (code || size < log_bytes) return;
  fs::remove(where_.older_log, code);
  fs::copy_file(where_.log, where_.older_log, code);
  fs::resize_file(where_.log, 0, code);  // the server appends: it goes on at the new end
}

void cluster::forget_socket_directory() {
  if (socket_directory_ == where_.sockets) return;
  std::error_code code;
  fs::remove(socket_directory_, code);  // only if it is empty
  fs::remove(where_.socket_record, code);
}

}  // namespace mailherd::store::embedded
