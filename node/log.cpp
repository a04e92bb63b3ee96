// node/log: lines are formed on the caller's thread and written by one of our own; see the header.
#include "node/log.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>

#include "core/limits.hpp"

namespace mailherd::node {

namespace {

constexpr std::string_view names[] = {"debug", "info", "warning", "error"};

std::string_view name_of(actors::log_level level) { return names[static_cast<std::size_t>(level)]; }

std::string time_text(wall_time at) {
  const auto whole = std::chrono::floor<seconds>(at);
  const auto thousandths = std::chrono::duration_cast<milliseconds>(at - whole).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(whole)), thousandths);
}

/// Quoted, escaped, valid UTF-8 whatever the bytes are.
std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool is_plain(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text)
    if (c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\') return false;
  return true;
}

}  // namespace

std::string json_line(wall_time at, actors::log_level level, std::string_view sentence, std::initializer_list<actors::log_field> fields) {
  auto line = fmt::format(R"({{"ts":"{}","level":"{}","msg":{})", time_text(at), name_of(level), json_text(sentence));
  for (const auto& [key, value] : fields) {
    const bool taken = key == "ts" || key == "level" || key == "msg";
    line += fmt::format(",{}:{}", json_text(taken ? fmt::format("_{}", key) : std::string(key)), json_text(value));
  }
  return line + "}";
}

std::string text_line(wall_time at, actors::log_level level, std::string_view sentence, std::initializer_list<actors::log_field> fields) {
  auto line = fmt::format("{} {:7} {}", time_text(at), name_of(level), sentence);
  for (const auto& [key, value] : fields) line += fmt::format(" {}={}", key, is_plain(value) ? value : json_text(value));
  return line;
}

struct log::parts {
  options how;
  std::atomic<bool> closed{false};
  std::atomic<std::size_t> lost_before{0};        // counted by a pool that is gone
  mutable std::mutex guard;                       // of `pool`
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::async_logger> logger;
};

log::log(options how) : parts_(std::make_unique<parts>()) {
  auto& p = *parts_;
  p.how = how;
  spdlog::sink_ptr sink;
  if (how.to != nullptr)
    sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(*how.to, true);
  else
    sink = std::make_shared<spdlog::sinks::stdout_sink_mt>();
  sink->set_pattern("%v");
  p.pool = std::make_shared<spdlog::details::thread_pool>(limits::log_lines, 1);
  p.logger = std::make_shared<spdlog::async_logger>("mailherd", std::move(sink), p.pool, spdlog::async_overflow_policy::overrun_oldest);
  p.logger->set_level(spdlog::level::trace);      // ours has decided already
  p.logger->set_error_handler([](const std::string&) {});   // a log that cannot be written has nowhere to say so
}

log::~log() { close(); }

void log::write(actors::log_level level, std::string_view sentence, std::initializer_list<actors::log_field> fields) {
  auto& p = *parts_;
  if (level < p.how.least || p.closed) return;
  const auto now = std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
  const auto line = p.how.json ? json_line(now, level, sentence, fields) : text_line(now, level, sentence, fields);
  p.logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

std::size_t log::lost() const {
  const std::lock_guard lock(parts_->guard);
  return parts_->pool ? parts_->pool->overrun_counter() : parts_->lost_before.load();
}

void log::close() {
  auto& p = *parts_;
  if (p.closed.exchange(true)) return;
  std::shared_ptr<spdlog::details::thread_pool> last;
  {
    const std::lock_guard lock(p.guard);
    p.lost_before = p.pool->overrun_counter();
    last.swap(p.pool);
  }
  last.reset();   // writes what is queued, then ends its thread
}

}  // namespace mailherd::node
