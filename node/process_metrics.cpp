// node/process_metrics: what /proc and getrusage tell; see the header.
#include "node/process_metrics.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>

namespace mailherd::node {

namespace {

prometheus::MetricFamily single(const char* name, const char* help, prometheus::MetricType type, double value) {
  prometheus::ClientMetric m;
  (type == prometheus::MetricType::Counter ? m.counter.value : m.gauge.value) = value;
  return {name, help, type, {std::move(m)}};
}

/// Fields of /proc/self/stat from the third on (the second, the name, may hold anything, also blanks and brackets).
std::vector<double> stat_fields() {
  std::ifstream in("/proc/self/stat");
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto close = text.rfind(')');
  if (close == std::string::npos) return {};
  std::istringstream rest(text.substr(close + 1));
  std::string state;
  rest >> state;
  std::vector<double> fields;
  for (double value = 0; rest >> value;) fields.push_back(value);
  return fields;
}

std::optional<double> boot_time() {
  std::ifstream in("/proc/stat");
  for (std::string word; in >> word;) {
    double at = 0;
    if (word == "btime" && in >> at) return at;
  }
  return std::nullopt;
}

}  // namespace

std::vector<prometheus::MetricFamily> process_metrics() {
  using prometheus::MetricType;
  std::vector<prometheus::MetricFamily> out;
  rusage used{};
  if (getrusage(RUSAGE_SELF, &used) == 0) {
    const auto of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
    out.push_back(single("process_cpu_seconds_total", "User and system time", MetricType::Counter, of(used.ru_utime) + of(used.ru_stime)));
  }
  // proc(5) counts from 1 and the state is field 3: field n is at n - 4.
  if (const auto f = stat_fields(); f.size() > 20) {
    out.push_back(single("process_threads", "Threads", MetricType::Gauge, f[20 - 4]));
    out.push_back(single("process_virtual_memory_bytes", "Address space", MetricType::Gauge, f[23 - 4]));
    out.push_back(
        single("process_resident_memory_bytes", "Memory", MetricType::Gauge, f[24 - 4] * static_cast<double>(sysconf(_SC_PAGESIZE))));
    if (const auto boot = boot_time())
      out.push_back(single("process_start_time_seconds", "Since the epoch", MetricType::Gauge,
                           *boot + f[22 - 4] / static_cast<double>(sysconf(_SC_CLK_TCK))));
  }
  std::error_code none;
  const std::filesystem::directory_iterator fds("/proc/self/fd", none);
  if (!none)
    out.push_back(
        single("process_open_fds", "Open file descriptors", MetricType::Gauge, static_cast<double>(std::distance(begin(fds), end(fds)))));
  rlimit most{};
  if (getrlimit(RLIMIT_NOFILE, &most) == 0)
    out.push_back(single("process_max_fds", "Limit of file descriptors", MetricType::Gauge, static_cast<double>(most.rlim_cur)));
  return out;
}

}  // namespace mailherd::node
