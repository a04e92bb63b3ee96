// tests/peers/process: a child process that never outlives its owner.
//
// Owns:   one child in its own process group; its log file; its end.
// Never:  a pipe to the child (a server that fills it would hang), a signal to anything but its own group.
// Threads: one `process` is used by one thread at a time. Children are forked by one lasting thread, since the kernel's
//          parent-death signal fires when the forking *thread* ends.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mailherd::peers {

struct process_options {
  std::vector<std::string> argv = {};                       ///< argv[0] is looked up in PATH, /usr/sbin and /sbin
  std::vector<std::pair<std::string, std::string>> env = {};  ///< added to the owner's environment
  std::filesystem::path cwd = {};                           ///< empty: the owner's
  std::filesystem::path log_file = {};                        ///< stdout and stderr, appended; empty: /dev/null
  std::string user = {};                                    ///< run as this user; only root may, empty: the owner's
  int death_signal = SIGKILL;                               ///< sent by the kernel when the owner dies; SIGTERM where children must be told
};

/// What a process (or a tree of them) has used so far, from /proc.
struct process_usage {
  std::size_t rss_bytes = 0;
  double cpu_seconds = 0;  ///< user + system
  unsigned processes = 0;
};

class process {
 public:
  /// Starts it. Throws peer_error if the program is missing or cannot be executed.
  explicit process(const process_options& options);
  /// Kills the whole group.
  ~process();
  process(process&& other) noexcept;
  process& operator=(process&& other) noexcept;
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  [[nodiscard]] pid_t id() const noexcept { return pid_; }
  [[nodiscard]] bool running();
  /// Waits until `ready()` is true. Throws peer_error (with the log's end) if the child ends first or `timeout` passes.
  void wait_ready(const std::function<bool()>& ready, std::chrono::milliseconds timeout);
  /// To the leader only.
  void signal(int number);
  /// To the whole group.
  void signal_all(int number);
  /// Name (as in /proc/<id>/comm) and id of every process of the group that still can do something.
  [[nodiscard]] std::vector<std::pair<std::string, pid_t>> members() const;
  /// SIGTERM to the leader; after `grace`, or when the whole group has ended, SIGKILL to the group. Returns the exit status as `wait` does.
  int terminate(std::chrono::milliseconds grace = std::chrono::seconds(10));
  /// SIGKILL to the whole group; none of it lives when this returns.
  void kill();
  /// SIGSTOP and SIGCONT to the whole group: a node that freezes and wakes.
  void stop();
  void cont();
  /// Exit code, or 128 + signal; nullopt if it still runs after `timeout`.
  std::optional<int> wait(std::chrono::milliseconds timeout);

  [[nodiscard]] process_usage usage() const;       ///< the child alone
  [[nodiscard]] process_usage tree_usage() const;  ///< the child and all its descendants

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
  std::string name_;
  std::filesystem::path log_file_;
};

/// Usage of any process, e.g. one's own.
process_usage usage_of(pid_t pid);

/// Runs a program to its end. Returns exit status and output (stdout and stderr, through a file). Throws peer_error on timeout.
std::pair<int, std::string> run(const process_options& options, std::chrono::milliseconds timeout = std::chrono::seconds(30));

/// Absolute path of a program in PATH, /usr/sbin, /sbin; nullopt if it is not installed.
std::optional<std::filesystem::path> find_program(const std::string& name);

}  // namespace mailherd::peers
