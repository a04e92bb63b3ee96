// node/ctl/tail: follows the feed by server-sent events, each message once, however often the connection is cut.
#include <fmt/format.h>

#include <cstdio>

#include "node/ctl/commands.hpp"
#include "node/ctl/output.hpp"

namespace mailherd::ctl {

namespace {

/// Beats come every 15 seconds: silence for this long is a dead connection.
constexpr seconds silence{60};
/// No mail can be as late as this: "since" then means the end of the feed.
constexpr const char* never = "9999-12-31T00:00:00Z";
constexpr std::size_t most_event_bytes = 4U << 20;   // a server that never ends an event is none of ours

std::string sender(const json& m) {
  if (!m.contains("from") || !m["from"].is_array() || m["from"].empty()) return "-";
  const auto name = text_of(m["from"][0], "name");
  return name.empty() || name == "-" ? text_of(m["from"][0], "address") : name;
}

/// Reads events out of a stream that may be cut anywhere.
class follower {
 public:
  follower(context& c, std::string after, std::int64_t limit) : c_(c), after_(std::move(after)), left_(limit), limited_(limit > 0) {}

  bool take(std::string_view bytes) {
    buffer_.append(bytes);
    std::size_t end = 0;
    while ((end = buffer_.find("\n\n")) != std::string::npos) {
      const auto event = buffer_.substr(0, end);
      buffer_.erase(0, end + 2);
      if (!print(event)) return false;
    }
    return buffer_.size() < most_event_bytes;
  }
  void cut() { buffer_.clear(); }
  [[nodiscard]] bool complete() const { return limited_ && left_ <= 0; }
  [[nodiscard]] const std::string& after() const { return after_; }

 private:
  bool print(std::string_view event) {
    std::string id, data;
    while (!event.empty()) {
      const auto line = event.substr(0, event.find('\n'));
      event.remove_prefix(std::min(event.size(), line.size() + 1));
      if (line.starts_with("id: ")) id = line.substr(4);
      if (line.starts_with("data: ")) data = line.substr(6);
    }
    if (id.empty() || data.empty()) return true;   // a beat
    const auto m = json::parse(data);
    if (c_.json_output) {
      std::printf("%s\n", m.dump(-1, ' ', false, json::error_handler_t::replace).c_str());
    } else {
      std::printf("%s\n", clean_for_terminal(fmt::format("{}  {}  #{}  {}  {}  {}", text_of(m, "received_at").substr(0, 19), text_of(m, "channel"), text_of(m, "sequence"),
                                                         text_of(m, "id"), sender(m), text_of(m, "subject"))).c_str());
    }
    std::fflush(stdout);
    after_ = id;
    --left_;
    return !complete();
  }

  context& c_;
  std::string after_, buffer_;
  std::int64_t left_;
  bool limited_;
};

}  // namespace

int tail(context& c, const std::string& tenant, const list_flags& f, const std::string& since) {
  const auto base = "/v1/tenants/" + escape(tenant) + "/messages";
  const auto filter = f.channel.empty() ? std::string() : "&channel=" + escape(f.channel);
  auto after = f.after;
  if (after.empty() && since.empty()) {
    // The place is fixed before the first connection: one that is cut before its first event must not move it.
    int exit = done;
    const auto head = call(c, "GET", base + "?limit=1&since=" + escape(never), std::nullopt, exit);
    if (!head) return exit;
    after = text_of(*head, "next");
  }
  follower reader(c, after, f.limit);
  bool told = false;
  while (true) {
    const auto from = reader.after().empty() ? "?since=" + escape(since) : "?after=" + escape(reader.after());
    const auto answer = c.api.send("GET", base + "/stream" + from + filter, std::nullopt, silence, [&](std::string_view bytes) { return reader.take(bytes); });
    if (reader.complete()) return done;
    if (answer && answer->status != 200 && answer->status != 503) return print_problem(c, *answer), answer->status == 401 ? wrong_usage : failed;
    reader.cut();
    // Cut off, or the server was restarted: asking for the feed waits until it answers, without a loop that hammers.
    int exit = done;
    if (!std::exchange(told, true) && !answer && c.progress) std::fprintf(stderr, "%s; connecting again\n", answer.error().detail.c_str());
    if (!call(c, "GET", base + "?limit=1&wait=1&since=" + escape(never), std::nullopt, exit)) return exit;
  }
}

}  // namespace mailherd::ctl
