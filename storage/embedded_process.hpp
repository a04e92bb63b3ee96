// storage/embedded_process: starting programs as another user, and holding on to a process without ever meaning another one.
//
// Owns:   accounts, fork and exec into a session of its own, waiting for the end of a child or of an adopted process.
// Never:  gives a child this program's environment or open files (both hold secrets); signals a process id that was reused.
// Used by: storage/embedded*.cpp only.
// Threads: `spawn` and `run` may be called on any thread; a `process_handle` is used by one thread at a time.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"

namespace mailherd::store::embedded {

/// A file descriptor that is closed at the end of its scope.
class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor();
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// "no such file or directory" for an errno, on any thread.
std::string system_text(int code);

/// Who a program runs as. Its groups are looked up beforehand: nothing may be looked up between fork and exec.
struct account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

/// failure::invalid_input if the user database has no such user (PostgreSQL refuses to run as a number without a name).
result<account> account_of(uid_t uid);
result<account> account_named(const std::string& name);

/// The first of `directories` that `who` may not enter, found out by becoming that user (modes, ACLs and security modules included).
std::optional<std::filesystem::path> first_not_entered(const account& who, const std::vector<std::filesystem::path>& directories);

struct command {
  std::vector<std::string> argv;  ///< argv[0] is an absolute path
  std::vector<std::string> env;   ///< the whole environment
  int output = -1;                ///< stdout and stderr
};

/// A child in its own session (a terminal's Ctrl-C does not reach it), without core dumps, without a way to gain privileges.
result<pid_t> spawn(const account& who, const command& what);

enum class waited { ended, woken, timed_out };

/// One process, a child or not. Not the owner of its life: destroying the handle leaves the process alone.
class process_handle {
 public:
  process_handle() = default;
  explicit process_handle(pid_t pid);

  [[nodiscard]] pid_t id() const noexcept { return pid_; }
  /// Until the process has ended, `wake` is readable, or the time is over. `wake` negative: none.
  waited wait(milliseconds timeout, int wake);
  [[nodiscard]] bool ended() { return wait(milliseconds(0), -1) == waited::ended; }
  void signal(int number);
  /// "ended by signal 9", "ended with status 1", "ended" (not a child: nobody tells us). Only after it has ended.
  [[nodiscard]] std::string how() const;
  [[nodiscard]] bool succeeded() const noexcept;

 private:
  void collect();

  pid_t pid_ = -1;
  bool ended_ = true;
  std::optional<int> status_;
  descriptor pidfd_;  ///< refers to this process only, also after its number is used again; invalid where the kernel has no pidfd
};

/// Runs a program to its end and gives its output. failure::store_unavailable (with the output's end) if it fails or takes longer.
result<std::string> run(const account& who, command what, seconds timeout);

}  // namespace mailherd::store::embedded
