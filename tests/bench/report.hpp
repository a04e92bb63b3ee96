// tests/bench/report: the one line that every driver prints, and how a runner gets it.
//
// Owns:   the measurement and its JSON; what this process has used so far; starting a driver.
// Never:  a judgement: ratios and targets are the runner's.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mailherd::bench {

struct measurement {
  std::string name;
  std::size_t messages = 0;
  double seconds = 0;
  double cpu_seconds = 0;   ///< user + system, of all threads, of the driver's own processes
  double peak_rss_mb = 0;   ///< 1 MB = 1,000,000 bytes
  std::map<std::string, double> more = {};  ///< further numbers of this driver ("bytes", "p99_ms")
};

/// One line.
std::string to_json(const measurement& what);
/// The last line of `output` that is a measurement. Throws peers::peer_error if there is none.
measurement parse(std::string_view output);

/// From its construction on: wall time, and CPU time and peak memory of this process.
class stopwatch {
 public:
  stopwatch();
  [[nodiscard]] measurement stop(std::string name, std::size_t messages) const;

 private:
  std::chrono::steady_clock::time_point start_;
  double cpu_ = 0;
};

/// Runs a program to its end and reads its measurement. Throws peers::peer_error with its output if it fails or does not end in time.
measurement run_driver(const std::vector<std::string>& argv, std::chrono::seconds timeout = std::chrono::minutes(15));

/// The line of `node bench.mjs …` for run_driver: arguments go after it. Throws if `npm ci` was not done.
std::vector<std::string> imapflow(const std::vector<std::string>& arguments);

}  // namespace mailherd::bench
