// tests/webhooks/receiver: a receiver that is a process (receiver.mjs), and what it has noted.
//
// Owns:   the process and its log.
// Used by: tests of deliveries by real nodes. One thread.
#pragma once

#include <fmt/format.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "node/ctl/client.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/process.hpp"

namespace mailherd::test {

class receiver {
 public:
  explicit receiver(const peers::temp_dir& dir, const std::string& name = "receiver") : log_(dir / (name + ".log")) {}

  void start() {
    const auto lines = read().size();
    peers::process_options o;
    o.argv = {"node", std::string(MAILHERD_SOURCE_DIR) + "/tests/webhooks/receiver.mjs", log_.string(), std::to_string(port)};
    o.log_file = log_.string() + ".out";
    process = std::make_unique<peers::process>(o);
    process->wait_ready([&] { return read().size() > lines; }, std::chrono::seconds(30));
    port = read().back()["listening"].get<int>();
  }
  void mode(const ctl::json& wanted) const {
    ctl::client c({url(), {}});
    const auto answer = c.send("POST", "/_mode", wanted, std::chrono::seconds(10));
    if (!answer || answer->status != 204) throw peers::peer_error("the receiver does not take its mode");
  }
  [[nodiscard]] std::string url() const { return fmt::format("http://127.0.0.1:{}", port); }
  [[nodiscard]] std::vector<ctl::json> read() const {
    std::vector<ctl::json> all;
    if (!std::filesystem::exists(log_)) return all;
    const auto text = peers::read_file(log_);
    for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
      all.push_back(ctl::json::parse(text.substr(at, end - at)));
    return all;
  }
  /// Sequences per channel in the order in which they came first.
  [[nodiscard]] std::map<std::string, std::vector<int>> first_taken() const {
    std::map<std::string, std::vector<int>> out;
    std::set<std::string> seen;
    for (const auto& e : read())
      if (e.contains("taken") && e["type"] == "message.received" && seen.insert(e["id"].get<std::string>()).second)
        out[e["channel"].get<std::string>()].push_back(e["sequence"].get<int>());
    return out;
  }
  [[nodiscard]] std::size_t problems() const {
    std::size_t n = 0;
    for (const auto& e : read()) n += e.contains("problem") ? 1 : 0;
    return n;
  }

  std::unique_ptr<peers::process> process;
  int port = 0;

 private:
  std::filesystem::path log_;
};

}  // namespace mailherd::test
