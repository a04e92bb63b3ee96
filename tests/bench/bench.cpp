// tests/bench/bench: `./dev bench`: the node and those it is compared with, one after the other, against the same servers and the same mail.
//
//   bench [--only drain,many,pop3,pop3-far,huge,idle,arrivals,start,webhooks,feed,cluster,cluster-idle] [--scale 1.0]
// Prints a line per measurement as it comes, and at the end a table: what was measured, what is to be reached, and whether it was. Exits 0 however the
// figures turn out: they are for people to judge, on a machine that may be busy.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <poll.h>
#include <pqxx/pqxx>

#include <atomic>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <thread>

#include "arrivals.hpp"
#include "cluster.hpp"
#include "deliveries.hpp"
#include "idle_client.hpp"
#include "mail.hpp"
#include "report.hpp"
#include "tests/peers/fault_proxy.hpp"
#include "tests/real_node/real_node.hpp"

namespace {

using namespace mailherd;
using namespace mailherd::bench;
using mailherd::test::real_node;
using clock_type = std::chrono::steady_clock;

struct row {
  std::string what;
  double measured;
  std::string unit;
  double target;
  bool at_least;   ///< false: at most
};
std::vector<row> table;

void judge(std::string what, double measured, std::string unit, double target, bool at_least) {
  fmt::print("  {}: {:.2f} {} ({} {:.2f})\n", what, measured, unit, at_least ? "to reach, at least" : "at most", target);
  std::fflush(stdout);
  table.push_back({std::move(what), measured, std::move(unit), target, at_least});
}

void say(const measurement& m) {
  fmt::print("  {:34} {:7.0f} msgs/s  {:7.2f} s  {:6.2f} CPU s  {:6.1f} MB{}\n", m.name, static_cast<double>(m.messages) / m.seconds, m.seconds, m.cpu_seconds,
             m.peak_rss_mb, m.more.contains("database_cpu_seconds") ? fmt::format("  (database {:.2f} CPU s)", m.more.at("database_cpu_seconds")) : "");
  std::fflush(stdout);
}

/// Highest memory of a process in its life so far, in MB of 1,000,000 bytes; `now`: at present.
double memory_mb(pid_t pid, bool now = false) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(now ? "VmRSS:" : "VmHWM:")) return static_cast<double>(std::stol(line.substr(6))) * 1024 / 1e6;
  return 0;
}

double seconds_since(clock_type::time_point start) { return std::chrono::duration<double>(clock_type::now() - start).count(); }

/// A node with a channel for each mailbox of a server.
class herd {
 public:
  explicit herd(mail& from) : mail_(from), node_({{"MAILHERD_CA_FILE", from.server().ca_file().string()}}) {
    node_.start();
    tenant_ = node_.ask("POST", "/v1/tenants", ctl::json{{"name", "bench"}, {"limits", {{"max_channels", 100000}}}})["id"];
  }

  /// Reach POP3 here instead of at the server itself.
  void pop3_through(std::uint16_t port) { pop3_port_ = port; }

  void add(std::size_t mailbox, bool imap = true, bool enabled = true) {
    const auto made = node_.ask(
        "POST", "/v1/tenants/" + tenant_ + "/channels",
        ctl::json{{"name", fmt::format("channel {}", mailbox)},
                  {"address", mail::user(mailbox)},
                  {"incoming",
                   {{"protocol", imap ? "imap" : "pop3"}, {"host", "127.0.0.1"}, {"port", imap ? mail_.server().imaps_port() : pop3_port_}}},
                  {"auth", {{"type", "basic"}, {"username", mail::user(mailbox)}, {"password", mail::password}}},
                  {"start_from", "all"},
                  {"enabled", enabled}});
    users_[std::stoll(made["id"].get<std::string>().substr(1))] = mail::user(mailbox);
  }

  /// Four at a time: a channel is switched on when its row is durable, and those that nobody asked for yet fetch nothing.
  void enable_all() {
    std::vector<std::int64_t> ids;
    for (const auto& [id, user] : users_) ids.push_back(id);
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::vector<std::thread> hands;
    for (std::size_t hand = 0; hand < std::min<std::size_t>(4, ids.size()); ++hand)
      hands.emplace_back([&] {
        const auto client = node_.another_client();
        for (std::size_t i = 0; (i = next.fetch_add(1)) < ids.size();) {
          const auto answer = client->send("PATCH", fmt::format("/v1/tenants/{}/channels/c{}", tenant_, ids[i]), ctl::json{{"enabled", true}}, std::chrono::seconds(60));
          if (!answer || answer->status != 200) failed = true;
        }
      });
    for (auto& h : hands) h.join();
    if (failed) throw peers::peer_error("a channel could not be enabled");
  }

  /// All mailboxes into the database: from the first channel's being switched on until the last message is durable.
  measurement drain(const std::string& name, std::size_t messages, bool imap = true) {
    for (std::size_t m = 0; m < mail_.mailboxes(); ++m) add(m, imap, false);
    const auto before = node_.process().usage().cpu_seconds;
    const auto tree_before = node_.process().tree_usage().cpu_seconds;
    const auto start = clock_type::now();
    enable_all();
    wait([&] { return stored() >= static_cast<std::int64_t>(messages); }, "the drain", std::chrono::minutes(15));
    measurement out;
    out.name = name;
    out.messages = messages;
    out.seconds = seconds_since(start);
    out.cpu_seconds = node_.process().usage().cpu_seconds - before;
    out.peak_rss_mb = memory_mb(node_.process().id());
    out.more["database_cpu_seconds"] = node_.process().tree_usage().cpu_seconds - tree_before - out.cpu_seconds;
    say(out);
    const auto metrics = node_.metrics();
    const auto number = [&](const std::string& name) {
      const auto at = metrics.find("\n" + name + " ");
      return at == std::string::npos ? 0.0 : std::stod(metrics.substr(at + name.size() + 2));
    };
    const auto commits = number("mailherd_store_commit_seconds_count");
    if (commits > 0)
      fmt::print("    {:.0f} commits of {:.0f} messages and {:.1f} ms\n", commits, static_cast<double>(messages) / commits,
                 number("mailherd_store_commit_seconds_sum") / commits * 1000);
    return out;
  }

  void wait_active(std::size_t channels) {
    wait([&] { return number("SELECT count(*) FROM channel_status WHERE state = 'active'") == static_cast<std::int64_t>(channels); }, "channels to serve",
         std::chrono::minutes(10));
  }
  /// All have their mailbox selected, by the node's own gauge. Asked once a second: each answer costs the node milliseconds.
  void wait_sessions(std::size_t channels) {
    const auto wanted = fmt::format("mailherd_sessions{{protocol=\"imap\",tls=\"implicit\"}} {}\n", channels);
    auto next = clock_type::now();
    const auto all = [&] {
      if (clock_type::now() < next) return false;
      next = clock_type::now() + std::chrono::seconds(1);
      return node_.metrics().find(wanted) != std::string::npos;
    };
    wait(all, "sessions", std::chrono::minutes(5));
  }
  void wait(const std::function<bool()>& ready, const char* what, std::chrono::seconds timeout) {
    if (!peers::wait_until(ready, timeout)) throw peers::peer_error(fmt::format("{} did not end in time; the node's log ends:\n{}", what, peers::tail(node_.log_file())));
  }
  [[nodiscard]] double cpu() { return node_.process().usage().cpu_seconds; }
  [[nodiscard]] double memory(bool now) { return memory_mb(node_.process().id(), now); }
  [[nodiscard]] real_node& node() { return node_; }
  [[nodiscard]] const std::map<std::int64_t, std::string>& users() const { return users_; }

 private:
  std::int64_t stored() { return number("SELECT coalesce(sum(messages_stored), 0) FROM channel_status"); }
  /// Over one connection: one anew for each look would cost the database more than what is measured.
  std::int64_t number(const std::string& sql) {
    if (!look_) {
      look_.emplace(node_.database_url());
      pqxx::nontransaction(*look_).exec("SET mailherd.tenant = '*'");
    }
    pqxx::nontransaction work(*look_);
    return work.exec(sql)[0][0].as<std::int64_t>();
  }

  mail& mail_;
  std::uint16_t pop3_port_ = mail_.server().pop3s_port();
  real_node node_;
  std::optional<pqxx::connection> look_;
  std::string tenant_;
  std::map<std::int64_t, std::string> users_;
};

struct settings {
  double scale = 1;
  bool alone = false;
  std::string drivers;   ///< folder of the drivers

  [[nodiscard]] std::size_t times(std::size_t n) const { return std::max<std::size_t>(1, static_cast<std::size_t>(static_cast<double>(n) * scale)); }
  [[nodiscard]] measurement driver(const std::string& name, mail& server, std::uint16_t port, std::vector<std::string> more = {}) const {
    std::vector<std::string> argv = {drivers + "/" + name, "--port", std::to_string(port), "--ca", server.server().ca_file().string(),
                                     "--mailboxes", std::to_string(server.mailboxes())};
    argv.insert(argv.end(), more.begin(), more.end());
    auto m = run_driver(argv);
    say(m);
    return m;
  }
  [[nodiscard]] static measurement flow(mail& server) {
    auto m = run_driver(imapflow({"drain", "--port", std::to_string(server.server().imaps_port()), "--ca", server.server().ca_file().string(),
                                  "--mailboxes", std::to_string(server.mailboxes())}));
    say(m);
    return m;
  }
};

double rate(const measurement& m) { return static_cast<double>(m.messages) / m.seconds; }

void drain(const settings& s) {
  mail server({.messages = s.times(20'000)});
  fmt::print("one IMAPS mailbox, {} messages, {:.0f} MB\n", server.messages(), static_cast<double>(server.bytes()) / 1e6);
  const auto port = server.server().imaps_port();
  if (s.alone) {
    herd node(server);
    static_cast<void>(node.drain("mailherd, durable in PostgreSQL", server.messages()));
    return;
  }
  const auto floor = s.driver("floor_client", server, port);
  const auto synced = s.driver("mbsync_run", server, port, {"--fsync"});
  const auto unsynced = s.driver("mbsync_run", server, port);
  const auto flow = settings::flow(server);
  herd node(server);
  const auto ours = node.drain("mailherd, durable in PostgreSQL", server.messages());
  judge("drain: rate / mbsync with its default FSync", rate(ours) / rate(synced), "x", 3, true);
  judge("drain: rate / mbsync without FSync", rate(ours) / rate(unsynced), "x", 1, true);
  judge("drain: node CPU per message / C client that discards", ours.cpu_seconds / floor.cpu_seconds, "x", 2, false);
  judge("drain: peak memory of the node", ours.peak_rss_mb, "MB", 96, false);
}

void many(const settings& s) {
  mail server({.mailboxes = s.times(200), .messages = 100});
  fmt::print("{} IMAPS mailboxes of 100 messages\n", server.mailboxes());
  const auto port = server.server().imaps_port();
  if (s.alone) {
    herd node(server);
    static_cast<void>(node.drain("mailherd, durable in PostgreSQL", server.messages()));
    return;
  }
  static_cast<void>(s.driver("floor_client", server, port));
  const auto flow = settings::flow(server);
  const auto unsynced = s.driver("mbsync_run", server, port);
  herd node(server);
  const auto ours = node.drain("mailherd, durable in PostgreSQL", server.messages());
  judge("200 mailboxes: rate / imapflow, which discards", rate(ours) / rate(flow), "x", 1, true);
  judge("200 mailboxes: rate / mbsync without FSync", rate(ours) / rate(unsynced), "x", 3, true);
}

void pop3(const settings& s) {
  mail server({.messages = s.times(20'000)});
  fmt::print("one POP3S maildrop, {} messages\n", server.messages());
  const auto one = s.driver("pop3_floor", server, server.server().pop3s_port());
  static_cast<void>(s.driver("pop3_floor", server, server.server().pop3s_port(), {"--pipeline", "16"}));
  herd node(server);
  const auto ours = node.drain("mailherd, durable in PostgreSQL", server.messages(), false);
  judge("POP3 drain: rate / one RETR at a time", rate(ours) / rate(one), "x", 3, true);
  judge("POP3 drain: peak memory of the node", ours.peak_rss_mb, "MB", 96, false);
}

/// The same from afar: a provider is not on this machine, and a round trip is what pipelining saves.
void pop3_far(const settings& s) {
  mail server({.messages = s.times(2'000)});
  constexpr std::chrono::milliseconds each_way{5};
  fmt::print("one POP3S maildrop, {} messages, {} ms away each way\n", server.messages(), each_way.count());
  peers::fault_proxy distance(server.server().pop3s_port(), {.to_server = {.delay = each_way}, .to_client = {.delay = each_way}});
  const auto one = s.driver("pop3_floor", server, distance.port());
  herd node(server);
  node.pop3_through(distance.port());
  const auto ours = node.drain("mailherd, durable in PostgreSQL", server.messages(), false);
  judge(fmt::format("POP3 drain, {} ms away: rate / one RETR at a time", each_way.count()), rate(ours) / rate(one), "x", 3, true);
}

void huge(const settings& s) {
  const auto bytes = s.times(150'000'000);
  fmt::print("one message of {} MB\n", bytes / 1'000'000);
  mail server({.messages = 1});
  server.server().clear(mail::user(0));
  std::string raw = "From: a@example.test\r\nSubject: huge\r\n\r\n";
  raw.reserve(bytes + 80);
  while (raw.size() < bytes) raw += "TWFpbGhlcmQga2VlcHMgd2F0Y2ggb3ZlciB2ZXJ5IG1hbnkgbWFpbGJveGVzIG9mIHZlcnkgbWFu\r\n";
  server.server().deliver(mail::user(0), "INBOX", raw);
  herd node(server);
  const auto ours = node.drain("mailherd, durable in PostgreSQL", 1);
  judge("one message of 150 MB: peak memory of the node", ours.peak_rss_mb, "MB", 96, false);
}

/// Idle channels: memory and CPU; and what it costs to begin to serve them.
void idle(const settings& s) {
  const auto channels = s.times(5'000);
  fmt::print("{} idle IMAPS channels\n", channels);
  mail server({.mailboxes = channels, .messages = 0, .hibernate = true, .sessions_per_mailbox = 3});
  herd node(server);
  const auto empty = node.memory(true);
  for (std::size_t i = 0; i < channels; ++i) node.add(i);
  node.wait_active(channels);
  if (!server.wait_hibernated(std::chrono::minutes(3))) throw peers::peer_error("Dovecot's sessions do not hibernate");
  const auto full = node.memory(true);
  const auto cpu = node.cpu();
  const auto start = clock_type::now();
  // A minute in which nothing happens: measured by the clock, there is no event to wait for.
  static_cast<void>(peers::wait_until([&] { return seconds_since(start) >= 60; }, std::chrono::seconds(70)));
  const auto used = (node.cpu() - cpu) / seconds_since(start);
  judge("idle: memory per channel, all included", (full - empty) * 1e6 / 1024 / static_cast<double>(channels), "KiB", 40, false);
  judge(fmt::format("idle: CPU of a node with {} channels", channels), used * 100, "% of a core", 2, false);
}

void start_up(const settings& s) {
  const auto channels = s.times(1'000);
  fmt::print("{} channels from start to serving\n", channels);
  mail server({.mailboxes = channels, .messages = 0, .hibernate = true, .sessions_per_mailbox = 3});
  if (!s.alone) {
    const auto plain = s.driver("floor_client", server, server.server().imaps_port());
    fmt::print("  a client that signs in, selects and logs out: {:.2f} ms of CPU per mailbox\n", plain.cpu_seconds * 1000 / static_cast<double>(channels));
  }
  herd node(server);
  for (std::size_t i = 0; i < channels; ++i) node.add(i);
  node.wait_active(channels);
  node.node().terminate();
  node.node().start();
  const auto begin = clock_type::now();
  const auto cpu = node.cpu();
  node.wait_sessions(channels);
  const auto took = seconds_since(begin);
  fmt::print("  {:.0f} channels/s\n", static_cast<double>(channels) / took);
  judge("start: node CPU per channel", (node.cpu() - cpu) * 1000 / static_cast<double>(channels), "ms", 1.5, false);
}

/// Hears of every commit through NOTIFY and tells the board whose mail it was: durable, and a reader could have it.
class durable_listener {
 public:
  durable_listener(herd& node, arrival_board& board) : node_(node), board_(board), thread_([this] { run(); }) {}
  ~durable_listener() {
    ending_ = true;
    thread_.join();
  }

 private:
  struct hear final : pqxx::notification_receiver {
    hear(pqxx::connection_base& link, durable_listener& to) : pqxx::notification_receiver(link, "mailherd_feed"), to_(to) {}
    void operator()(const std::string&, int) override { to_.news_ = true; }
    durable_listener& to_;
  };
  void run() {
    pqxx::connection link(node_.node().database_url());
    const hear listener(link, *this);
    std::int64_t last = 0;
    while (!ending_) {
      link.await_notification(0, 100'000);
      if (!std::exchange(news_, false)) continue;
      const auto at = arrival_board::clock::now();
      pqxx::nontransaction work(link);
      work.exec("SET mailherd.tenant = '*'");
      for (const auto& r : work.exec(fmt::format("SELECT position, channel_id FROM messages WHERE tenant_id = 1 AND position > {} ORDER BY 1", last))) {
        last = r[0].as<std::int64_t>();
        board_.heard(node_.users().at(r[1].as<std::int64_t>()), at);
      }
    }
  }
  herd& node_;
  arrival_board& board_;
  bool news_ = false;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

void arrivals(const settings& s) {
  arrival_options how;
  how.mailboxes = s.times(1'000);
  how.arrivals = std::min<std::size_t>(300, how.mailboxes);
  fmt::print("{} arrivals at {} idle channels\n", how.arrivals, how.mailboxes);
  // A server for each: some sessions of a mailbox that was filled and emptied a moment ago never hibernate.
  const mail_options each{.mailboxes = how.mailboxes, .messages = 0, .hibernate = true, .sessions_per_mailbox = 3};
  const auto tell = [&](const char* who, const arrival_times& t) {
    fmt::print("  {:34} p50 {:.1f} ms  p99 {:.1f} ms  max {:.1f} ms  lost {}\n", who, t.percentile(0.5), t.percentile(0.99), t.percentile(1), t.lost);
    std::fflush(stdout);
  };
  arrival_times flow, ours;
  {
    mail server(each);
    arrival_board board;
    idle_client client(server, board);
    if (!server.wait_hibernated()) throw peers::peer_error("Dovecot's sessions do not hibernate");
    flow = deliver_and_wait(server.server(), board, how);
    static_cast<void>(client.finish());
    tell("imapflow: arrival to event", flow);
  }
  {
    mail server(each);
    arrival_board board;
    herd node(server);
    for (std::size_t m = 0; m < how.mailboxes; ++m) node.add(m);
    node.wait_active(how.mailboxes);
    if (!server.wait_hibernated(std::chrono::minutes(3))) throw peers::peer_error("Dovecot's sessions do not hibernate");
    const durable_listener listener(node, board);
    ours = deliver_and_wait(server.server(), board, how);
    tell("mailherd: arrival to durable", ours);
  }
  judge("arrival to durable, p99", ours.percentile(0.99), "ms", 60, false);
  judge("arrival to durable, p99 / imapflow's event", ours.percentile(0.99) / flow.percentile(0.99), "x", 1, false);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"The node and those it is compared with"};
  std::vector<std::string> only;
  settings s;
  app.add_option("--only", only, "drain, many, pop3, pop3-far, huge, idle, arrivals, start, webhooks, feed, cluster, cluster-idle")->delimiter(',');
  app.add_flag("--alone", s.alone, "only the node: for profiles; nothing is compared")->group("");
  app.add_option("--scale", s.scale, "share of the full sizes")->check(CLI::Range(0.001, 10.0));
  CLI11_PARSE(app, argc, argv);
  s.drivers = std::filesystem::path(argv[0]).parent_path().string();
  const std::pair<const char*, void (*)(const settings&)> all[] = {
      {"drain", drain},
      {"many", many},
      {"pop3", pop3},
      {"pop3-far", pop3_far},
      {"huge", huge},
      {"idle", idle},
      {"arrivals", arrivals},
      {"start", start_up},
      {"webhooks", [](const settings& how) { webhooks(how.scale, judge); }},
      {"feed", [](const settings& how) { feed(how.scale, judge); }},
      {"cluster", [](const settings& how) { cluster(how.scale, judge); }},
      {"cluster-idle", [](const settings& how) { cluster_idle(how.scale, judge); }},
  };
  const std::set<std::string> wanted(only.begin(), only.end());
  bool failed = false;
  for (const auto& [name, run] : all) {
    if (!wanted.empty() && !wanted.contains(name)) continue;
    try {
      run(s);
    } catch (const std::exception& e) {
      fmt::print("  {} could not be measured: {}\n", name, e.what());
      std::fflush(stdout);
      failed = true;
    }
  }
  fmt::print("\n{:86} {:>12} {:>12}\n", "", "measured", "to reach");
  for (const auto& r : table) {
    const bool reached = r.at_least ? r.measured >= r.target : r.measured <= r.target;
    fmt::print("{:86} {:>12.2f} {:>2} {:>9.2f}  {} {}\n", r.what, r.measured, r.at_least ? ">=" : "<=", r.target, r.unit, reached ? "" : "NOT REACHED");
  }
  return failed ? 1 : 0;
}
