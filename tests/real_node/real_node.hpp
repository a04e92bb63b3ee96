// tests/real_node/real_node: the program itself as a process, on its own embedded PostgreSQL, or (with MAILHERD_DATABASE_URL and what goes with
// it among its settings) as one node of several on another one.
//
// Owns:   the process, its data directory (a temporary one), and after `database_kill` nothing of the database: the node mends that.
// Never:  looks into the program but through its API and the database's socket.
// Threads: one at a time. Everything that waits, waits for something to be so, and for at most `patience`.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/model.hpp"
#include "node/ctl/client.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/process.hpp"

namespace mailherd::test {

class real_node {
 public:
  static constexpr std::chrono::seconds patience{120};

  /// `env`: further settings, e.g. {"MAILHERD_CA_FILE", …}. `launcher`: a program and its arguments that become the node (nsenter). Does not start yet.
  explicit real_node(std::vector<std::pair<std::string, std::string>> env = {}, std::vector<std::string> launcher = {});
  ~real_node();
  real_node(const real_node&) = delete;
  real_node& operator=(const real_node&) = delete;

  void start();                       ///< returns when /readyz says 200
  void kill();                        ///< SIGKILL: its database lives on and is adopted by the next start
  int terminate();                    ///< SIGTERM; its exit code
  void freeze();
  void thaw();
  void database_kill();               ///< SIGKILL of the postmaster
  [[nodiscard]] bool running();
  [[nodiscard]] peers::process& process() { return *process_; }
  [[nodiscard]] std::filesystem::path data() const { return dir_ / "data"; }
  [[nodiscard]] std::filesystem::path log_file() const { return dir_ / "node.log"; }

  // ---- the API ----
  /// The answer's JSON; throws if the status is not 2xx.
  ctl::json ask(const std::string& method, const std::string& path, const std::optional<ctl::json>& body = {});
  /// For a thread of its own.
  [[nodiscard]] std::unique_ptr<ctl::client> another_client() const;
  std::string metrics();
  [[nodiscard]] const std::string& url() const noexcept { return url_; }

  // ---- the database, behind the API's back ----
  [[nodiscard]] std::string database_url() const;
  /// First column of the first row; nullopt while the database does not answer.
  [[nodiscard]] std::optional<std::string> query(const std::string& sql) const;
  /// Messages stored so far; 0 while the database does not answer.
  [[nodiscard]] std::int64_t stored() const;

  struct stored_body {
    std::int64_t channel = 0, sequence = 0;
    std::string sha256;   ///< of the body read back; empty without one
  };
  /// Every message of the tenant, in the order of the feed; throws if positions or sequences have gaps.
  [[nodiscard]] std::vector<stored_body> bodies(tenant_id tenant) const;
  /// Their digests, sorted.
  [[nodiscard]] std::vector<std::string> digests(tenant_id tenant) const;

 private:
  [[nodiscard]] std::string setting(const std::string& name) const;   ///< of those given; empty: not given

  peers::temp_dir dir_{"node"};
  std::vector<std::pair<std::string, std::string>> env_;
  std::vector<std::string> launcher_;
  std::unique_ptr<peers::process> process_;
  secret<> token_;
  std::unique_ptr<ctl::client> client_;
  std::string url_, metrics_url_;
};

}  // namespace mailherd::test
