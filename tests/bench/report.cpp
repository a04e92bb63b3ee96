// tests/bench/report: implementation.
#include "report.hpp"

#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tests/peers/files.hpp"
#include "tests/peers/process.hpp"

namespace mailherd::bench {

using nlohmann::json;
using peers::peer_error;

namespace {

double own_cpu() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double own_peak_mb() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_maxrss) * 1024 / 1e6;
}

}  // namespace

std::string to_json(const measurement& what) {
  json out = {{"name", what.name}, {"messages", what.messages}, {"seconds", what.seconds}, {"cpu_seconds", what.cpu_seconds},
              {"peak_rss_mb", what.peak_rss_mb}};
  for (const auto& [name, value] : what.more) out[name] = value;
  return out.dump();
}

measurement parse(std::string_view output) {
  while (!output.empty()) {
    while (!output.empty() && output.back() == '\n') output.remove_suffix(1);
    const auto before = output.rfind('\n');
    const std::string_view line = before == std::string_view::npos ? output : output.substr(before + 1);
    output.remove_suffix(output.size() - (before == std::string_view::npos ? 0 : before));
    const json parsed = json::parse(line, nullptr, false);
    if (!parsed.is_object() || !parsed.contains("cpu_seconds")) continue;
    measurement out{parsed.value("name", ""), parsed.value("messages", std::size_t{0}), parsed.value("seconds", 0.0),
                    parsed.value("cpu_seconds", 0.0), parsed.value("peak_rss_mb", 0.0)};
    for (const auto& [name, value] : parsed.items()) {
      if (value.is_number() && name != "messages" && name != "seconds" && name != "cpu_seconds" && name != "peak_rss_mb")
        out.more[name] = value;
    }
    return out;
  }
  throw peer_error("no measurement was printed");
}

stopwatch::stopwatch() : start_(std::chrono::steady_clock::now()), cpu_(own_cpu()) {}

measurement stopwatch::stop(std::string name, std::size_t messages) const {
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start_;
  return {std::move(name), messages, took.count(), own_cpu() - cpu_, own_peak_mb()};
}

measurement run_driver(const std::vector<std::string>& argv, std::chrono::seconds timeout) {
  const auto [status, output] = peers::run({.argv = argv}, timeout);
  if (status != 0) throw peer_error(fmt::format("{} ended with status {}:\n{}", fmt::join(argv, " "), status, output));
  return parse(output);
}

std::vector<std::string> imapflow(const std::vector<std::string>& arguments) {
  const char* told = std::getenv("MAILHERD_SOURCE_DIR");
  const auto dir = std::filesystem::path(told != nullptr ? told : MAILHERD_SOURCE_DIR) / "tests" / "bench" / "imapflow";
  if (!std::filesystem::exists(dir / "node_modules")) throw peer_error(fmt::format("run `npm ci` in {} first", dir.string()));
  std::vector<std::string> out{"node", "--expose-gc", (dir / "bench.mjs").string()};
  out.insert(out.end(), arguments.begin(), arguments.end());
  return out;
}

}  // namespace mailherd::bench
