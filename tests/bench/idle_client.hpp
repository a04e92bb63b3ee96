// tests/bench/idle_client: imapflow with a session in IDLE for every mailbox, in a process of its own.
//
// Owns:   the process, and the thread that reads what it prints and tells the board.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <thread>

#include "arrivals.hpp"
#include "mail.hpp"
#include "report.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/process.hpp"

namespace mailherd::bench {

class idle_client {
 public:
  /// Returns when every session is in IDLE. Throws peers::peer_error with the client's output.
  idle_client(mail& server, arrival_board& board);
  ~idle_client();
  idle_client(const idle_client&) = delete;
  idle_client& operator=(const idle_client&) = delete;

  /// Ends it. More: "sessions", "kb_per_session", "open_cpu_ms" (per session), "open_seconds", "idle_cpu_seconds" (after opening).
  measurement finish();

 private:
  void follow();

  peers::temp_dir dir_{"idle"};
  arrival_board& board_;
  std::atomic<bool> ending_{false};
  peers::process process_;
  std::thread reader_;
};

}  // namespace mailherd::bench
