// tests/peers/process: implementation.
#include "tests/peers/process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include <fmt/format.h>

#include "tests/peers/files.hpp"

extern char** environ;

namespace mailherd::peers {

namespace fs = std::filesystem;

namespace {

/// Everything the child needs, ready before fork: between fork and exec only async-signal-safe calls are allowed.
struct prepared {
  fs::path program;
  std::vector<char*> argv, envp;
  std::vector<std::string> storage;
  std::string cwd, log;
  int death_signal = 0;
  bool change_user = false;
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t owner = 0;
};

prepared prepare(const process_options& options) {
  prepared out;
  if (options.argv.empty()) throw peer_error("process without a program");
  const auto program = find_program(options.argv[0]);
  if (!program) throw peer_error(fmt::format("{} is not installed", options.argv[0]));
  out.program = *program;
  std::map<std::string, std::string> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto split = text.find('=');
    if (split != std::string_view::npos) variables[std::string(text.substr(0, split))] = text.substr(split + 1);
  }
  for (const auto& [name, value] : options.env) variables[name] = value;
  out.storage.reserve(options.argv.size() + variables.size());
  for (const auto& argument : options.argv) out.argv.push_back(out.storage.emplace_back(argument).data());
  for (const auto& [name, value] : variables) out.envp.push_back(out.storage.emplace_back(name + "=" + value).data());
  out.argv.push_back(nullptr);
  out.envp.push_back(nullptr);
  out.cwd = options.cwd.string();
  out.log = options.log_file.empty() ? "/dev/null" : options.log_file.string();
  out.death_signal = options.death_signal;
  out.owner = ::getpid();
  if (!options.user.empty() && ::geteuid() == 0) {
    const passwd* entry = ::getpwnam(options.user.c_str());
    if (entry == nullptr) throw peer_error(fmt::format("no user {}", options.user));
    out.change_user = true;
    out.uid = entry->pw_uid;
    out.gid = entry->pw_gid;
  }
  return out;
}

[[noreturn]] void become(const prepared& plan, int failed_fd) {
  ::setpgid(0, 0);
  const int input = ::open("/dev/null", O_RDONLY);
  const int log = ::open(plan.log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (input >= 0) ::dup2(input, 0);
  if (log >= 0) {
    ::dup2(log, 1);
    ::dup2(log, 2);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  bool ok = log >= 0 && (plan.cwd.empty() || ::chdir(plan.cwd.c_str()) == 0);
  if (plan.change_user) ok = ok && ::setgroups(0, nullptr) == 0 && ::setgid(plan.gid) == 0 && ::setuid(plan.uid) == 0;
  // After the change of user, which clears it; and the owner may have died before it was set.
  ::prctl(PR_SET_PDEATHSIG, plan.death_signal);
  if (::getppid() != plan.owner) ::_exit(127);
  if (ok) {
    ::close_range(3, static_cast<unsigned>(failed_fd) - 1, 0);
    ::close_range(static_cast<unsigned>(failed_fd) + 1, ~0U, 0);
    ::execve(plan.program.c_str(), plan.argv.data(), plan.envp.data());
  }
  const int reason = errno;
  [[maybe_unused]] const ssize_t told = ::write(failed_fd, &reason, sizeof reason);
  ::_exit(127);
}

pid_t fork_and_become(const prepared& plan) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw peer_error(fmt::format("pipe: {}", std::strerror(errno)));
  const pid_t pid = ::fork();
  if (pid == 0) become(plan, ends[1]);
  ::close(ends[1]);
  int reason = 0;
  const bool failed = pid < 0 || ::read(ends[0], &reason, sizeof reason) > 0;
  ::close(ends[0]);
  if (!failed) return pid;
  if (pid > 0) ::waitpid(pid, nullptr, 0);
  throw peer_error(fmt::format("cannot start {}: {}", plan.program.string(), std::strerror(reason != 0 ? reason : errno)));
}

/// The one thread that forks: it lasts as long as this process, and so does the parent that children are bound to.
class spawner {
 public:
  static pid_t spawn(const prepared& plan) {
    static spawner* const instance = new spawner;  // never destroyed: its thread must not end before the process does
    std::packaged_task<pid_t()> task([&plan] { return fork_and_become(plan); });
    auto done = task.get_future();
    {
      const std::lock_guard lock(instance->mutex_);
      instance->tasks_.push_back(&task);
    }
    instance->wake_.notify_one();
    return done.get();
  }

 private:
  spawner() {
    std::thread([this] { run(); }).detach();
  }

  [[noreturn]] void run() {
    for (;;) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return !tasks_.empty(); });
      auto* task = tasks_.front();
      tasks_.pop_front();
      lock.unlock();
      (*task)();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::packaged_task<pid_t()>*> tasks_;
};

constexpr std::chrono::seconds kill_limit{10};

struct proc_entry {
  pid_t pid = 0, parent = 0, group = 0;
  char state = 0;
  std::string name;
};

std::vector<proc_entry> all_processes() {
  std::vector<proc_entry> out;
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return out;
  while (const dirent* entry = ::readdir(proc)) {
    const pid_t pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (pid <= 0) continue;
    std::string stat;
    try {
      stat = read_file(fmt::format("/proc/{}/stat", pid));
    } catch (const peer_error&) {
      continue;  // it has just ended
    }
    const auto open = stat.find('('), paren = stat.rfind(')');
    if (open == std::string::npos || paren == std::string::npos) continue;
    std::istringstream rest(stat.substr(paren + 1));
    proc_entry one{.pid = pid, .name = stat.substr(open + 1, paren - open - 1)};
    rest >> one.state >> one.parent >> one.group;
    out.push_back(one);
  }
  ::closedir(proc);
  return out;
}

/// Those that still can do something: one that only waits to be collected by its parent cannot.
std::vector<proc_entry> group_members(pid_t group) {
  if (::kill(-group, 0) != 0 && errno == ESRCH) return {};
  std::vector<proc_entry> out = all_processes();
  out.erase(std::remove_if(out.begin(), out.end(),
                           [&](const proc_entry& one) { return one.group != group || one.state == 'Z' || one.state == 'X'; }),
            out.end());
  return out;
}

}  // namespace

process_usage usage_of(pid_t pid) {
  process_usage out;
  try {
    const std::string stat = read_file(fmt::format("/proc/{}/stat", pid));
    const auto paren = stat.rfind(')');
    if (paren == std::string::npos) return out;
    std::istringstream rest(stat.substr(paren + 1));
    std::vector<std::string> fields;  // fields[0] is field 3 of proc(5), the state
    for (std::string field; rest >> field;) fields.push_back(field);
    if (fields.size() < 22) return out;
    const double ticks = static_cast<double>(std::stoull(fields[11]) + std::stoull(fields[12]));
    out.cpu_seconds = ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
    out.rss_bytes = std::stoull(fields[21]) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    out.processes = 1;
  } catch (const peer_error&) {
  }
  return out;
}

process::process(const process_options& options) : name_(options.argv.empty() ? "" : options.argv[0]), log_file_(options.log_file) {
  const prepared plan = prepare(options);
  pid_ = spawner::spawn(plan);
}

process::~process() {
  if (pid_ > 0) kill();
}

process::process(process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), status_(other.status_), name_(std::move(other.name_)), log_file_(std::move(other.log_file_)) {}

process& process::operator=(process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(status_, other.status_);
  std::swap(name_, other.name_);
  std::swap(log_file_, other.log_file_);
  return *this;
}

bool process::running() { return !wait(std::chrono::milliseconds(0)).has_value(); }

void process::wait_ready(const std::function<bool()>& ready, std::chrono::milliseconds timeout) {
  bool ended = false;
  const bool done = wait_until([&] { return ready() || (ended = !running()); }, timeout);
  if (done && !ended) return;
  throw peer_error(fmt::format("{} {}; its log ends:\n{}", name_,
                               ended ? fmt::format("ended with status {} before it was ready", *status_)
                                     : fmt::format("is not ready after {} ms", timeout.count()),
                               tail(log_file_)));
}

void process::signal(int number) {
  if (pid_ > 0 && !status_) ::kill(pid_, number);
}

void process::signal_all(int number) {
  if (pid_ > 0) ::kill(-pid_, number);
}

std::vector<std::pair<std::string, pid_t>> process::members() const {
  std::vector<std::pair<std::string, pid_t>> out;
  for (const proc_entry& one : group_members(pid_)) out.emplace_back(one.name, one.pid);
  return out;
}

int process::terminate(std::chrono::milliseconds grace) {
  const auto end = std::chrono::steady_clock::now() + grace;
  signal(SIGTERM);
  // The leader of a server may be gone before its children have said goodbye to their clients.
  if (wait(grace))
    wait_until([this] { return group_members(pid_).empty(); },
               std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()));
  // Children that outlived their leader would keep ports and files.
  kill();
  return status_.value_or(-1);
}

void process::kill() {
  signal_all(SIGKILL);
  if (!wait(kill_limit)) status_ = 128 + SIGKILL;
  wait_until([this] { return group_members(pid_).empty(); }, kill_limit);
}

void process::stop() { signal_all(SIGSTOP); }
void process::cont() { signal_all(SIGCONT); }

std::optional<int> process::wait(std::chrono::milliseconds timeout) {
  if (pid_ <= 0) return status_;
  wait_until(
      [this] {
        if (status_) return true;
        int raw = 0;
        if (::waitpid(pid_, &raw, WNOHANG) != pid_) return false;
        status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
        return true;
      },
      timeout);
  return status_;
}

process_usage process::usage() const { return usage_of(pid_); }

process_usage process::tree_usage() const {
  process_usage total;
  std::map<pid_t, std::vector<pid_t>> children;
  for (const proc_entry& one : all_processes()) children[one.parent].push_back(one.pid);
  std::vector<pid_t> todo{pid_};
  while (!todo.empty()) {
    const pid_t pid = todo.back();
    todo.pop_back();
    const process_usage one = usage_of(pid);
    total.rss_bytes += one.rss_bytes;
    total.cpu_seconds += one.cpu_seconds;
    total.processes += one.processes;
    if (const auto found = children.find(pid); found != children.end()) todo.insert(todo.end(), found->second.begin(), found->second.end());
  }
  return total;
}

std::pair<int, std::string> run(const process_options& options, std::chrono::milliseconds timeout) {
  const temp_dir dir("run");
  process_options with_log = options;
  with_log.log_file = dir / "log";
  process child(with_log);
  const auto status = child.wait(timeout);
  if (!status) throw peer_error(fmt::format("{} did not end within {} ms:\n{}", options.argv[0], timeout.count(), tail(with_log.log_file)));
  return {*status, read_file(with_log.log_file)};
}

std::optional<fs::path> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? std::optional<fs::path>(name) : std::nullopt;
  const char* path = std::getenv("PATH");
  std::istringstream folders(std::string(path != nullptr ? path : "/usr/bin:/bin") + ":/usr/sbin:/sbin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const fs::path candidate = fs::path(folder) / name;
    if (!folder.empty() && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return std::nullopt;
}

}  // namespace mailherd::peers
