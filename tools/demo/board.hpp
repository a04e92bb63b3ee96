// tools/demo/board: what the demo does at the node's API: makes tenants and channels, and shows the mail that comes out of the feeds.
//
// Owns:   the readers of the feeds, one thread per tenant; the lines on the terminal.
// Never:  looks into the node's database or its logs: it sees what any client of the API sees.
// Used by: main.
// Threads: `sent`, `arrivals` any; the rest one.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/secret.hpp"
#include "node/ctl/client.hpp"
#include "tools/demo/servers.hpp"

namespace mailherd::demo {

class board {
 public:
  board(std::string url, secret<> token);
  ~board();
  board(const board&) = delete;
  board& operator=(const board&) = delete;

  [[nodiscard]] bool ready();
  /// Tenants, apps and channels for all mailboxes. Throws peers::peer_error with the API's answer.
  void set_up(servers& from);
  /// Begins to read the feeds and to print.
  void watch();
  /// The readers end when the node does.
  void stop() { stopping_ = true; }

  /// A message is delivered now: its line will say how long it took.
  void sent(const std::string& message_id);
  /// Of those, how many have come out of the feed, in the mailbox that got fewest.
  std::size_t arrivals();

 private:
  struct channel {
    const mailbox* box = nullptr;
    std::size_t arrived = 0;
  };
  ctl::json ask(ctl::client& api, const char* method, const std::string& path, const std::optional<ctl::json>& body = {});
  ctl::json channel_of(const mailbox& m, servers& from, const std::string& app);
  void read(const std::string& tenant);
  void show(const ctl::json& items);

  const std::string url_;
  const secret<> token_;
  ctl::client api_;
  std::map<std::string, std::string> tenants_;   // name → id
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;                             // of what follows, and of the terminal
  std::map<std::string, channel> channels_;      // by id
  std::map<std::string, std::chrono::steady_clock::time_point> sent_;
  std::vector<std::thread> readers_;
};

}  // namespace mailherd::demo
