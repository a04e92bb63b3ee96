// tests/storage/embedded_world: a database client, what a server tells, and nodes that are killed.
//
// Owns:   what the tests of the embedded server share. Never sleeps.
#pragma once

#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <sstream>
#include <vector>

#include "storage/embedded.hpp"
#include "tests/peers/files.hpp"

namespace mailherd::store::embedded_world {

namespace fs = std::filesystem;
inline constexpr seconds patience{60};

/// What `on_event` said, and waiting for a sentence.
class events {
 public:
  void add(const std::string& sentence) {
    const std::lock_guard lock(mutex_);
    said_.push_back(sentence);
    changed_.notify_all();
  }
  /// The next sentence that holds `part`, after those that were waited for before.
  bool next(const std::string& part) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] {
      while (seen_ < said_.size())
        if (said_[seen_++].find(part) != std::string::npos) return true;
      return false;
    });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> said_;
  std::size_t seen_ = 0;
};

class client {
 public:
  explicit client(const std::string& url) : connection_(PQconnectdb(url.c_str())) {}
  ~client() { PQfinish(connection_); }
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  [[nodiscard]] bool connected() const { return PQstatus(connection_) == CONNECTION_OK; }
  /// First value of the answer, "done" if there is none, "error: ..." if it was refused.
  std::string ask(const std::string& statement) {
    PGresult* answer = PQexec(connection_, statement.c_str());
    const auto status = PQresultStatus(answer);
    std::string out = status == PGRES_COMMAND_OK  ? "done"
                      : status != PGRES_TUPLES_OK ? std::string("error: ") + PQerrorMessage(connection_)
                      : PQntuples(answer) == 0    ? ""
                                                  : PQgetvalue(answer, 0, 0);
    PQclear(answer);
    return out;
  }
  /// The server's main process: the parent of the one that serves us.
  [[nodiscard]] pid_t server() const {
    std::istringstream stat(peers::read_file("/proc/" + std::to_string(PQbackendPID(connection_)) + "/stat"));
    std::string text, state;
    std::getline(stat, text, ')');
    pid_t parent = -1;
    stat >> state >> parent;
    return parent;
  }

 private:
  PGconn* connection_;
};

inline std::string ask(const embedded_server& server, const std::string& statement) { return client(server.url()).ask(statement); }
inline pid_t process_of(const embedded_server& server) { return client(server.url()).server(); }
inline bool lives(pid_t pid) { return ::kill(pid, 0) == 0; }

inline std::unique_ptr<embedded_server> start(const fs::path& data_dir, events* said = nullptr) {
  embedded_server::options how;
  how.data_dir = data_dir;
  if (said != nullptr) how.on_event = [said](const std::string& sentence) { said->add(sentence); };
  auto out = embedded_server::start(std::move(how));
  if (!out) throw std::runtime_error(describe(out.error()));
  return std::move(*out);
}

inline error refusal(const fs::path& data_dir, const fs::path& binaries = {}) {
  auto out = embedded_server::start({.data_dir = data_dir, .binaries = binaries, .run_as = {}, .on_event = {}});
  if (!out) return out.error();
  return {failure::internal, "it started"};
}

/// Runs `life` in a node that is then killed: nothing is stopped, nothing destroyed.
template <class Life>
void in_a_node_that_is_killed(Life life) {
  const pid_t node = ::fork();
  if (node == 0) {
    try {
      life();
    } catch (const std::exception& e) {
      fprintf(stderr, "%s\n", e.what());
      ::_exit(1);
    }
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(node, &status, 0), node);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/// Into a file of the server, which stays the server's.
inline void overwrite(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::trunc | std::ios::binary);
  if (!(out << text).flush()) throw std::runtime_error(path.string() + " cannot be written");
}

}  // namespace mailherd::store::embedded_world
