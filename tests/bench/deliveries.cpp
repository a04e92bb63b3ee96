#include "deliveries.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pqxx/pqxx>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "mail.hpp"
#include "tests/real_node/real_node.hpp"

namespace mailherd::bench {

namespace {

using clock = std::chrono::steady_clock;
using json = ctl::json;
using test::real_node;

/// Answers 204 to everything on kept connections, a thread each; or accepts and never answers.
class receiver {
 public:
  explicit receiver(bool hangs) : hangs_(hangs), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(listener_, 512) != 0) throw peers::peer_error("no receiver");
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
    threads_.emplace_back([this] { accept(); });
  }
  ~receiver() {
    ending_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    threads_.front().join();
    for (const int fd : connections_) ::shutdown(fd, SHUT_RDWR);
    for (std::size_t i = 1; i < threads_.size(); ++i) threads_[i].join();
    for (const int fd : connections_) ::close(fd);
    ::close(listener_);
  }
  [[nodiscard]] std::string url() const { return fmt::format("http://127.0.0.1:{}/", port_); }
  [[nodiscard]] std::size_t taken() const { return taken_; }
  [[nodiscard]] std::size_t open() {
    const std::lock_guard lock(guard_);
    return connections_.size() - dropped_;
  }
  /// Whoever hangs is let go.
  void drop() {
    const std::lock_guard lock(guard_);
    for (; dropped_ < connections_.size(); ++dropped_) ::shutdown(connections_[dropped_], SHUT_RDWR);
  }
  /// When the event with this position came first.
  [[nodiscard]] std::map<int, clock::time_point> arrivals() {
    const std::lock_guard lock(guard_);
    return at_;
  }

 private:
  void accept() {
    while (!ending_) {
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      {
        const std::lock_guard lock(guard_);
        connections_.push_back(fd);
      }
      threads_.emplace_back([this, fd] { serve(fd); });
    }
  }
  void serve(int fd) {
    std::string buffer;
    char bytes[65536];
    for (ssize_t n; (n = ::recv(fd, bytes, sizeof bytes, 0)) > 0;) {
      if (hangs_) continue;
      buffer.append(bytes, static_cast<std::size_t>(n));
      for (std::size_t end; (end = buffer.find("\r\n\r\n")) != std::string::npos;) {
        const auto number = [&](const char* name) {
          const auto found = buffer.find(name);
          return found == std::string::npos || found > end ? std::string() : buffer.substr(found + std::char_traits<char>::length(name), 24);
        };
        const auto length = static_cast<std::size_t>(std::stoul("0" + number("Content-Length: ")));
        if (buffer.size() < end + 4 + length) break;
        const auto id = number("webhook-id: ");
        {
          const std::lock_guard lock(guard_);
          at_.try_emplace(std::stoi(id.substr(id.find('-') + 1)), clock::now());
        }
        ++taken_;
        buffer.erase(0, end + 4 + length);
        constexpr std::string_view answer = "HTTP/1.1 204 No Content\r\n\r\n";
        if (::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
      }
    }
  }

  const bool hangs_;
  int listener_;
  std::uint16_t port_ = 0;
  std::atomic<bool> ending_{false};
  std::atomic<std::size_t> taken_{0};
  std::mutex guard_;
  std::map<int, clock::time_point> at_;
  std::vector<int> connections_;
  std::size_t dropped_ = 0;
  std::vector<std::thread> threads_;
};

/// A tenant with channels that fetch nothing (they do not fetch at all, or stand in IDLE at a real server), and a way to store mail in them.
class mailroom {
 public:
  explicit mailroom(std::size_t channels, mail* idle_at = nullptr)
      : node(idle_at != nullptr ? settings{{"MAILHERD_CA_FILE", idle_at->server().ca_file().string()}} : settings{}), channels_(channels) {
    node.start();
    tenant = node.ask("POST", "/v1/tenants", json{{"name", "bench"}, {"limits", {{"max_channels", 100'000}}}})["id"];
    for (std::size_t i = 0; i < channels; ++i) {
      json incoming{{"protocol", "imap"}, {"host", "127.0.0.1"}};
      if (idle_at != nullptr) incoming["port"] = idle_at->server().imaps_port();
      node.ask("POST", "/v1/tenants/" + tenant + "/channels",
               json{{"name", "x"}, {"enabled", idle_at != nullptr}, {"incoming", incoming}, {"auth", {{"type", "basic"}, {"username", mail::user(i)}, {"password", mail::password}}}});
    }
    if (idle_at != nullptr) {
      const auto active = [&] { return node.query("SELECT count(*) FROM channel_status WHERE state = 'active'") == std::to_string(channels); };
      if (!peers::wait_until(active, std::chrono::minutes(10)) || !idle_at->wait_hibernated(std::chrono::minutes(3))) throw peers::peer_error("the channels do not serve");
    }
    link_ = std::make_unique<pqxx::connection>(node.database_url());
  }
  /// `n` messages with bodies of 2 KB, one transaction; returns when it is durable and the node was told.
  void store(std::size_t n) {
    pqxx::nontransaction db(*link_);
    db.exec("SET mailherd.tenant = '*'");
    const auto t = tenant.substr(1);
    db.exec(fmt::format(
        "BEGIN; SELECT position FROM feed_heads WHERE tenant_id = {0} FOR UPDATE;"
        "INSERT INTO messages (tenant_id, position, channel_id, sequence, internal_date, size, uid_validity, uid, has_body, protocol, folder, uidl, problem, digest, envelope, body) "
        "SELECT {0}, {1} + i, 1 + ({1} + i - 1) % {2}, 1 + ({1} + i - 1) / {2}, now(), 2000, 1, {1} + i, true, 'imap', 'INBOX', '', '', decode(repeat('ab', 32), 'hex'), "
        "json_build_object('from', json_build_array(json_build_object('name', 'Ann', 'address', 'ann@example.test')), 'subject', 'A question about order ' || i, "
        "'message_id', i || '@example.test'), convert_to(repeat('x', 2000), 'UTF8') FROM generate_series(1, {3}) AS i;"
        "UPDATE feed_heads SET position = position + {3} WHERE tenant_id = {0}; COMMIT",
        t, stored, channels_, n));
    stored += n;
    db.exec("SELECT pg_notify('mailherd_feed', '" + t + "')");
  }

  real_node node;
  std::string tenant;
  std::size_t stored = 0;

 private:
  using settings = std::vector<std::pair<std::string, std::string>>;
  std::size_t channels_;
  std::unique_ptr<pqxx::connection> link_;
};

double percentile(std::vector<double> all, double share) {
  if (all.empty()) return 0;
  std::sort(all.begin(), all.end());
  return all[std::min(all.size() - 1, static_cast<std::size_t>(share * static_cast<double>(all.size())))];
}

/// Stored to delivered, one after the other.
std::vector<double> latencies(mailroom& room, receiver& to, std::size_t n) {
  std::map<int, clock::time_point> stored;
  for (std::size_t i = 0; i < n; ++i) {
    room.store(1);
    stored[static_cast<int>(room.stored)] = clock::now();
    const auto before = to.taken();
    // The next one comes when this one has arrived, or after the gap: an endpoint that hangs must not look like a slow one.
    peers::wait_until([&] { return to.taken() > before || to.arrivals().contains(static_cast<int>(room.stored)); }, std::chrono::milliseconds(2'000));
  }
  std::vector<double> ms;
  const auto arrived = to.arrivals();
  for (const auto& [position, at] : stored)
    ms.push_back(arrived.contains(position) ? std::max(0.0, std::chrono::duration<double, std::milli>(arrived.at(position) - at).count()) : 1e6);
  return ms;
}

}  // namespace

void webhooks(double scale, const judge_function& judge) {
  const auto channels = static_cast<std::size_t>(1'000 * scale) + 1;
  const auto messages = static_cast<std::size_t>(20'000 * scale) + 1'000;
  fmt::print("webhooks: {} messages of {} channels, all of them idle IMAP sessions, to a receiver that answers at once\n", messages, channels);
  mail server({.mailboxes = channels, .messages = 0, .hibernate = true, .sessions_per_mailbox = 3});
  mailroom room(channels, &server);
  receiver quick(false), hanging(true);
  const auto path = "/v1/tenants/" + room.tenant + "/webhooks";
  room.node.ask("POST", path, json{{"url", quick.url()}, {"max_in_flight", 64}});
  room.store(1);
  peers::wait_until([&] { return quick.taken() == 1; }, std::chrono::seconds(30));
  const auto cpu = room.node.process().usage().cpu_seconds;
  const auto begin = clock::now();
  room.store(messages);
  const auto wanted = room.stored;
  if (!peers::wait_until([&] { return quick.arrivals().size() >= wanted; }, std::chrono::minutes(5))) throw peers::peer_error("deliveries did not end in time");
  const auto took = std::chrono::duration<double>(clock::now() - begin).count();
  fmt::print("  {} deliveries for {} messages, {:.0f} µs of node CPU each\n", quick.taken(), wanted, (room.node.process().usage().cpu_seconds - cpu) * 1e6 / static_cast<double>(messages));
  judge("webhooks: deliveries to a fast receiver", static_cast<double>(messages) / took, "/s", 2'000, true);
  // In turn, so that what else the machine does is the same for both.
  std::vector<double> alone, beside;
  for (int round = 0; round < 5; ++round)
    for (const bool on : {false, true}) {
      std::string id;
      if (on) id = room.node.ask("POST", path, json{{"url", hanging.url()}, {"max_in_flight", 64}})["id"];
      latencies(room, quick, 100);
      // A new endpoint each time: its circuit is closed, and all its places hang.
      if (on && !peers::wait_until([&] { return hanging.open() >= 64; }, std::chrono::seconds(30))) throw peers::peer_error("nothing hangs");
      const auto some = latencies(room, quick, 500);
      (on ? beside : alone).insert((on ? beside : alone).end(), some.begin(), some.end());
      if (on) room.node.ask("DELETE", path + "/" + id);
      hanging.drop();
    }
  judge("webhooks: stored to delivered, p99", percentile(alone, 0.99), "ms", 100, false);
  fmt::print("  p50 {:.1f} ms alone, {:.1f} ms beside an endpoint that hangs; p99 {:.1f} and {:.1f}\n", percentile(alone, 0.5), percentile(beside, 0.5), percentile(alone, 0.99),
             percentile(beside, 0.99));
  judge("webhooks: p99 beside an endpoint that hangs / alone", percentile(beside, 0.99) / percentile(alone, 0.99), "x", 1.1, false);
}

void feed(double scale, const judge_function& judge) {
  const auto messages = static_cast<std::size_t>(100'000 * scale) + 1'000;
  fmt::print("feed: {} messages read through the API, 1,000 a page\n", messages);
  mailroom room(10);
  for (std::size_t left = messages; left > 0; left -= std::min<std::size_t>(left, 20'000)) room.store(std::min<std::size_t>(left, 20'000));
  auto token = peers::read_file(room.node.data() / "admin-token");
  token.erase(token.find_last_not_of("\r\n ") + 1);
  ctl::client reader({room.node.url(), secret<>(std::move(token))});
  const auto cpu = room.node.process().usage().cpu_seconds, all_cpu = room.node.process().tree_usage().cpu_seconds;
  const auto begin = clock::now();
  std::size_t read = 0;
  for (std::string after = "0";;) {
    const auto page = reader.send("GET", "/v1/tenants/" + room.tenant + "/messages?limit=1000&after=" + after, {}, std::chrono::seconds(60));
    if (!page || page->status != 200) throw peers::peer_error("the feed cannot be read");
    // Not taken apart: that would measure the reader's JSON. Every message has one sequence, and the cursor stands at the end.
    const auto before = read;
    for (std::size_t at = 0; (at = page->body.find("\"sequence\":", at)) != std::string::npos; ++at) ++read;
    if (read == before) break;
    const auto next = page->body.rfind("\"next\":\"") + 8;
    after = page->body.substr(next, page->body.find('"', next) - next);
  }
  const auto took = std::chrono::duration<double>(clock::now() - begin).count();
  const auto node_cpu = room.node.process().usage().cpu_seconds - cpu;
  fmt::print("  {:.0f} µs of node CPU and {:.0f} µs of database CPU per message\n", node_cpu * 1e6 / static_cast<double>(read),
             (room.node.process().tree_usage().cpu_seconds - all_cpu - node_cpu) * 1e6 / static_cast<double>(read));
  if (read != messages) throw peers::peer_error(fmt::format("the feed gave {} of {} messages", read, messages));
  judge("feed: messages read", static_cast<double>(read) / took, "/s", 20'000, true);
}

}  // namespace mailherd::bench
