#include "storage/listener.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <pqxx/pqxx>

#include <charconv>
#include <utility>

#include "storage/connection.hpp"
#include "storage/postgres.hpp"

namespace mailherd::store {

namespace {

/// Between two attempts to connect, and two looks whether a silent connection still lives.
constexpr int reconnect_ms = 1'000;
constexpr int check_ms = 10'000;

std::int64_t number(std::string_view text) {
  std::int64_t n = 0;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

class receiver final : public pqxx::notification_receiver {
 public:
  receiver(pqxx::connection_base& link, std::string_view channel, std::function<void(std::string_view)> on)
      : pqxx::notification_receiver(link, std::string(channel)), on_(std::move(on)) {}
  void operator()(const std::string& payload, int) override { on_(payload); }

 private:
  std::function<void(std::string_view)> on_;
};

}  // namespace

listener::listener(std::string url, callbacks what)
    : url_(with_limits(std::move(url))), what_(std::move(what)), wake_(eventfd(0, EFD_CLOEXEC)), thread_([this] { run(); }) {}

listener::~listener() {
  ending_ = true;
  const std::uint64_t one = 1;
  if (wake_ >= 0) static_cast<void>(!write(wake_, &one, sizeof one));
  thread_.join();
  if (wake_ >= 0) close(wake_);
}

bool listener::wait(int socket, int timeout_ms) const {
  pollfd fds[] = {{wake_, POLLIN, 0}, {socket, POLLIN, 0}};
  poll(fds, socket < 0 ? 1 : 2, timeout_ms);
  return !ending_;
}

void listener::run() {
  while (!ending_) {
    try {
      listen_once();
    } catch (const std::exception&) {
      // Workers report that the database is away; here is nothing to do but to try again.
    }
    if (!wait(-1, reconnect_ms)) return;
  }
}

void listener::listen_once() {
  pqxx::connection link(url_);
  never_reconnect(link);
  const receiver feed(link, postgres::feed_notification, [this](std::string_view payload) {
    if (what_.on_feed) what_.on_feed(tenant_id{number(payload)});
  });
  const auto tell = [](const auto& whom, std::string_view payload) {
    const auto blank = payload.find(' ');
    if (whom && blank != std::string_view::npos) whom(tenant_id{number(payload.substr(0, blank))}, channel_id{number(payload.substr(blank + 1))});
  };
  const receiver channels(link, postgres::channel_notification, [&](std::string_view payload) { tell(what_.on_channel_changed, payload); });
  const receiver states(link, postgres::state_notification, [&](std::string_view payload) { tell(what_.on_state, payload); });
  // What was sent before is lost: everybody looks once.
  if (what_.on_feed) what_.on_feed({});
  if (what_.on_channel_changed) what_.on_channel_changed({}, {});
  if (what_.on_state) what_.on_state({}, {});
  while (wait(link.sock(), check_ms)) {
    if (link.get_notifs() > 0) continue;
    // Nothing came: is anybody there? An error ends this connection.
    pqxx::nontransaction(link).exec("SELECT 1");
  }
}

}  // namespace mailherd::store
