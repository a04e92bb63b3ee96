// storage/embedded_process: see the header.
#include "storage/embedded_process.hpp"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <system_error>

#include <fmt/format.h>

namespace mailherd::store::embedded {

namespace fs = std::filesystem;

namespace {

/// Where the kernel has no pidfd the process is looked at this often.
constexpr milliseconds look_interval{100};
/// Output of a program that is run to its end, as far as it is kept.
constexpr std::size_t output_bytes = 16 * 1024;

// ---- between fork and exec: async-signal-safe calls only, nothing allocated, nothing looked up --------------------------------------

/// The raw system calls: glibc's wrappers would want to tell the other threads, which this process does not have.
bool become_user(const account& who) noexcept {
  if (::geteuid() != 0) return who.uid == ::geteuid();
  return ::syscall(SYS_setgroups, who.groups.size(), who.groups.data()) == 0 && ::syscall(SYS_setresgid, who.gid, who.gid, who.gid) == 0 &&
         ::syscall(SYS_setresuid, who.uid, who.uid, who.uid) == 0;
}

void reset_signals() noexcept {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void become(const account& who, char* const* argv, char* const* envp, int output, int failed) noexcept {
  // Neither may be 0-2, which are about to be replaced (a daemon may have been started with them closed).
  failed = ::fcntl(failed, F_DUPFD_CLOEXEC, 3);
  output = ::fcntl(output, F_DUPFD_CLOEXEC, 3);
  const int input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  bool ok = failed >= 0 && ::dup2(output, 1) == 1 && ::dup2(output, 2) == 2 && (input == 0 || ::dup2(input, 0) == 0);
  reset_signals();
  ::setsid();
  ::umask(077);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ok = ok && ::chdir("/") == 0 && become_user(who);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (ok) {
    ::close_range(3, static_cast<unsigned>(failed) - 1, 0);
    ::close_range(static_cast<unsigned>(failed) + 1, ~0U, 0);
    ::execve(argv[0], argv, envp);
  }
  const int reason = errno;
  [[maybe_unused]] const ssize_t told = ::write(failed, &reason, sizeof reason);
  ::_exit(127);
}

// ---------------------------------------------------------------------------------------------------------------------------------------

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

/// No handler of this program may run in the child, where its threads and locks do not exist.
class all_signals_blocked {
 public:
  all_signals_blocked() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~all_signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  all_signals_blocked(const all_signals_blocked&) = delete;
  all_signals_blocked& operator=(const all_signals_blocked&) = delete;

 private:
  sigset_t before_{};
};

result<account> account_from(const passwd* entry, const std::string& who) {
  if (entry == nullptr)
    return fail(failure::invalid_input, fmt::format("{} has no entry in the user database, without which PostgreSQL does not run", who));
  account out{entry->pw_name, entry->pw_uid, entry->pw_gid, std::vector<gid_t>(32)};
  int count = static_cast<int>(out.groups.size());
  if (::getgrouplist(entry->pw_name, entry->pw_gid, out.groups.data(), &count) < 0) {
    out.groups.resize(static_cast<std::size_t>(std::max(count, 0)));
    ::getgrouplist(entry->pw_name, entry->pw_gid, out.groups.data(), &count);
  }
  out.groups.resize(static_cast<std::size_t>(std::max(count, 0)));
  return out;
}

/// A zombie that its parent does not collect has ended all the same. For kernels without pidfd.
bool is_gone(pid_t pid) {
  if (::kill(pid, 0) != 0 && errno == ESRCH) return true;
  std::ifstream stat(fmt::format("/proc/{}/stat", pid));
  std::string line;
  std::getline(stat, line);
  const auto name_end = line.rfind(") ");
  return name_end != std::string::npos && line.substr(name_end + 2, 1) == "Z";
}

std::string contents_of(int fd) {
  std::string out(output_bytes, '\0');
  const ssize_t got = ::pread(fd, out.data(), out.size(), 0);
  out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return out;
}

}  // namespace

descriptor::~descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

std::string system_text(int code) { return std::generic_category().message(code); }

result<account> account_of(uid_t uid) {
  std::array<char, 16 * 1024> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  return account_from(found, fmt::format("user {}", uid));
}

result<account> account_named(const std::string& name) {
  std::array<char, 16 * 1024> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  return account_from(found, fmt::format("user \"{}\"", name));
}

std::optional<fs::path> first_not_entered(const account& who, const std::vector<fs::path>& directories) {
  std::vector<std::string> names;
  for (const auto& directory : directories) names.push_back(directory.string());
  const auto list = pointers(names);
  // The answer comes through a pipe: an exit status could not hold the number of a long path's part.
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
  descriptor reading(ends[0]);
  descriptor writing(ends[1]);
  pid_t pid = -1;
  {
    const all_signals_blocked quiet;
    pid = ::fork();
    if (pid == 0) {
      std::size_t at = 0;
      if (!become_user(who)) ::_exit(1);  // starting the program will fail with the reason
      while (list[at] != nullptr && ::access(list[at], X_OK) == 0) ++at;
      [[maybe_unused]] const ssize_t told = ::write(writing.get(), &at, sizeof at);
      ::_exit(0);
    }
  }
  writing = descriptor();
  std::size_t at = names.size();
  const bool answered = pid > 0 && ::read(reading.get(), &at, sizeof at) == static_cast<ssize_t>(sizeof at);
  if (pid > 0) ::waitpid(pid, nullptr, 0);
  if (!answered || at >= directories.size()) return std::nullopt;
  return directories[at];
}

result<pid_t> spawn(const account& who, const command& what) {
  const auto argv = pointers(what.argv);
  const auto envp = pointers(what.env);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(failure::store_unavailable, fmt::format("pipe: {}", system_text(errno)));
  const descriptor reading(ends[0]);
  descriptor writing(ends[1]);
  pid_t pid = -1;
  int reason = 0;
  {
    const all_signals_blocked quiet;
    pid = ::fork();
    if (pid == 0) become(who, argv.data(), envp.data(), what.output, writing.get());
    if (pid < 0) reason = errno;
  }
  writing = descriptor();
  // Exec closes the pipe; anything that can be read is the reason why there was none.
  const bool failed = pid < 0 || ::read(reading.get(), &reason, sizeof reason) > 0;
  if (!failed) return pid;
  if (pid > 0) ::waitpid(pid, nullptr, 0);
  return fail(failure::store_unavailable, fmt::format("cannot run {} as {}: {}", what.argv.front(), who.name, system_text(reason)));
}

process_handle::process_handle(pid_t pid) : pid_(pid), ended_(false), pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {
  if (!pidfd_.valid() && errno == ESRCH) ended_ = true;
}

void process_handle::collect() {
  ended_ = true;
  int raw = 0;
  if (::waitpid(pid_, &raw, WNOHANG) == pid_) status_ = raw;  // an error if it is not a child
}

waited process_handle::wait(milliseconds timeout, int wake) {
  const mono_time end = mono_clock::now() + timeout;
  while (!ended_) {
    std::array<pollfd, 2> watched{{{pidfd_.get(), POLLIN, 0}, {wake, POLLIN, 0}}};  // poll ignores negative descriptors
    const auto left = std::max(std::chrono::ceil<milliseconds>(end - mono_clock::now()), milliseconds(0));
    const auto slice = pidfd_.valid() ? left : std::min(left, look_interval);
    const bool answered = ::poll(watched.data(), watched.size(), static_cast<int>(slice.count())) > 0;
    if (pidfd_.valid() ? answered && watched[0].revents != 0 : is_gone(pid_))
      collect();
    else if (answered && watched[1].revents != 0)
      return waited::woken;
    else if (mono_clock::now() >= end)
      return waited::timed_out;
  }
  return waited::ended;
}

void process_handle::signal(int number) {
  if (pid_ <= 0 || ended()) return;
  if (pidfd_.valid())
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
  else
    ::kill(pid_, number);
}

std::string process_handle::how() const {
  if (!status_) return "ended";
  if (WIFSIGNALED(*status_)) return fmt::format("ended by signal {}", WTERMSIG(*status_));
  return fmt::format("ended with status {}", WEXITSTATUS(*status_));
}

bool process_handle::succeeded() const noexcept { return status_ && WIFEXITED(*status_) && WEXITSTATUS(*status_) == 0; }

result<std::string> run(const account& who, command what, seconds timeout) {
  const descriptor output(::memfd_create("output", MFD_CLOEXEC));
  if (!output.valid()) return fail(failure::store_unavailable, fmt::format("memfd_create: {}", system_text(errno)));
  what.output = output.get();
  const auto pid = spawn(who, what);
  if (!pid) return fail(pid.error());
  auto process = process_handle(*pid);
  const bool in_time = process.wait(timeout, -1) == waited::ended;
  if (!in_time) {
    process.signal(SIGKILL);
    process.wait(timeout, -1);
  }
  if (process.succeeded()) return contents_of(output.get());
  return fail(failure::store_unavailable, fmt::format("{} {}: {}", what.argv.front(), in_time ? process.how() : "took too long",
                                                      contents_of(output.get())));
}

}  // namespace mailherd::store::embedded
