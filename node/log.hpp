// node/log: log lines on their way out: text for people, one JSON object a line for machines.
//
// Owns:   the form of a line, the queue, the thread that writes.
// Never:  lets its caller wait for a disk or a terminal: when the queue is full the oldest line is dropped and counted. Lets a value
//         break a line or forge a field. Is given a secret (nothing here could recognise one).
// Used by: telemetry.
// Threads: `write` and `lost` any; `close` once, at the end.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>

#include "actors/telemetry.hpp"
#include "core/clock.hpp"

namespace mailherd::node {

/// {"ts":"2026-01-31T12:00:00.123Z","level":"info","msg":"…","key":"value"}, without a line end. A field that is called ts, level or msg
/// gets an underscore before it.
std::string json_line(wall_time at, actors::log_level level, std::string_view sentence, std::initializer_list<actors::log_field> fields);
/// "2026-01-31T12:00:00.123Z info    sentence key=value key="a value with blanks"", likewise.
std::string text_line(wall_time at, actors::log_level level, std::string_view sentence, std::initializer_list<actors::log_field> fields);

class log {
 public:
  struct options {
    bool json = false;
    actors::log_level least = actors::log_level::info;
    std::ostream* to = nullptr;   ///< none: standard output. Used by the writing thread alone until `close`
  };
  explicit log(options how);
  ~log();
  log(const log&) = delete;
  log& operator=(const log&) = delete;

  void write(actors::log_level level, std::string_view sentence, std::initializer_list<actors::log_field> fields);

  /// Lines dropped so far.
  [[nodiscard]] std::size_t lost() const;

  /// Everything written so far is out when this returns; later lines are dropped.
  void close();

 private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

}  // namespace mailherd::node
