// tests/bench/idle_client: implementation. The client writes into a file: a pipe that nobody empties would stop it.
#include "idle_client.hpp"

#include <csignal>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace mailherd::bench {

using nlohmann::json;

namespace {

constexpr std::chrono::minutes open_limit{15};  ///< also the longest silence
constexpr std::chrono::seconds end_limit{30};

peers::process_options options_of(mail& server, const std::filesystem::path& log) {
  peers::dovecot_server& dovecot = server.server();
  return {.argv = imapflow({"idle", "--port", std::to_string(dovecot.imaps_port()), "--ca", dovecot.ca_file().string(), "--mailboxes",
                            std::to_string(server.mailboxes())}),
          .log_file = log};
}

}  // namespace

idle_client::idle_client(mail& server, arrival_board& board) : board_(board), process_(options_of(server, dir_ / "log")) {
  process_.wait_ready([this] { return peers::tail(dir_ / "log", 100'000).find("{\"ready\":") != std::string::npos; }, open_limit);
  reader_ = std::thread([this] { follow(); });
}

idle_client::~idle_client() {
  ending_ = true;
  if (reader_.joinable()) reader_.join();
}

void idle_client::follow() {
  std::ifstream log(dir_ / "log");
  std::string line;
  // The times are in the lines: looking a few milliseconds late distorts nothing.
  const auto next_line = [&] {
    std::string part;
    log.clear();
    std::getline(log, part);
    line += part;
    return ending_ || (!log.eof() && !log.fail());  // at the end of the file: nothing, or the beginning of a line
  };
  while (peers::wait_until(next_line, open_limit) && !ending_) {
    const json event = json::parse(line, nullptr, false);
    line.clear();
    if (!event.is_object() || !event.contains("user")) continue;
    const std::chrono::duration<double, std::milli> at(event.at("at").get<double>());
    board_.heard(event.at("user"), arrival_board::clock::time_point(std::chrono::duration_cast<arrival_board::clock::duration>(at)));
  }
}

measurement idle_client::finish() {
  process_.signal(SIGTERM);
  if (process_.wait(end_limit) != 0) throw peers::peer_error("imapflow did not end well: " + peers::tail(dir_ / "log"));
  return parse(peers::read_file(dir_ / "log"));
}

}  // namespace mailherd::bench
