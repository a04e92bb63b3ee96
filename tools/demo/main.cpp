// tools/demo: `./dev demo`. One node on its own PostgreSQL, real servers on the other side, mail that keeps arriving and is shown as it
// comes out of the API. Everything lies in one temporary directory and ends with Ctrl-C.
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "node/stop_signals.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/process.hpp"
#include "tools/demo/board.hpp"
#include "tools/demo/servers.hpp"

extern char** environ;   // NOLINT: environ(7)

namespace {

using namespace mailherd;
using namespace std::chrono_literals;

constexpr std::size_t backlog = 25;
constexpr auto between_messages = 700ms;
constexpr auto start_patience = 120s;

void say(const char* what) {
  fmt::print("{}\n", what);
  std::fflush(stdout);
}

/// A node of the demo must not be told where the real one's database is.
void forget_configuration() {
  std::vector<std::string> names;
  for (char** at = environ; *at != nullptr; ++at)
    if (std::strncmp(*at, "MAILHERD_", 9) == 0) names.emplace_back(*at, std::strcspn(*at, "="));
  for (const auto& name : names) unsetenv(name.c_str());
}

/// The usual port if nobody has it; else the system's choice.
std::string address(std::uint16_t usual) { return fmt::format("127.0.0.1:{}", peers::port_open(usual) ? 0 : usual); }

/// "127.0.0.1:8080" of "api=http://127.0.0.1:8080" in the node's log; empty while it is not there.
std::string told(const std::string& log, const std::string& what) {
  const auto line = log.find("node listens");
  const auto at = line == std::string::npos ? line : log.find(what + "=http://", line);
  const auto begin = at + what.size() + std::strlen("=http://");
  return at == std::string::npos ? "" : log.substr(begin, log.find_first_of(" \n", begin) - begin);
}

peers::process start_node(const std::filesystem::path& program, const std::filesystem::path& directory, bool any_port,
                          const demo::servers& others) {
  peers::process_options o;
  o.argv = {program.string(), "node"};
  o.env = {{"MAILHERD_DATA_DIR", (directory / "data").string()},
           {"MAILHERD_LISTEN", any_port ? "127.0.0.1:0" : address(8080)},
           {"MAILHERD_METRICS_LISTEN", any_port ? "127.0.0.1:0" : address(9464)},
           {"MAILHERD_NODE_NAME", "demo"},
           {"MAILHERD_POLL_INTERVAL", "3s"},
           {"MAILHERD_PRIVATE_TARGETS", "127.0.0.0/8,::1"},
           {"MAILHERD_CA_FILE", others.ca_file().string()}};
  o.cwd = directory;
  o.log_file = directory / "node.log";
  o.death_signal = SIGTERM;   // so that it ends its database also when the demo is killed
  return peers::process(o);
}

void explain(const std::string& program, const std::string& api, const std::string& metrics, const std::filesystem::path& directory,
             const std::string& token) {
  fmt::print(
      "\n  console  http://{0}/   (sign in with the token)\n"
      "  API      http://{0}   (described at /openapi.yaml, ready at /readyz)\n"
      "  metrics  http://{1}/metrics\n"
      "  token    {2}\n"
      "  logs     {3}/node.log\n\n"
      "In another terminal:\n"
      "  export MAILHERD_PUBLIC_URL=http://{0} MAILHERD_DATA_DIR={3}/data\n"
      "  {4} ctl tenants list\n"
      "  {4} ctl channels list t1\n"
      "  {4} ctl channels test t1 c1\n"
      "  {4} ctl messages list t1 --follow\n"
      "  {4} ctl channels connect t1 c3 --wait     (billing@acme.test waits for its owner's consent: open the address it prints)\n"
      "  {4} ctl cluster\n\n"
      "In brackets: from delivery at the mail server until the feed shows it. Dovecot tells of new mail half a second late; POP3 is asked\n"
      "every 3 s. Ctrl-C stops all of it.\n\n",
      api, metrics, token, directory.string(), program);
  std::fflush(stdout);
}

/// What a second Ctrl-C still does while this scope lasts.
class last_work {
 public:
  last_work(node::stop_signals& signals, std::function<void()> work) : signals_(signals) { signals_.at_once(std::move(work)); }
  ~last_work() { signals_.at_once({}); }
  last_work(const last_work&) = delete;
  last_work& operator=(const last_work&) = delete;

 private:
  node::stop_signals& signals_;
};

/// Delivers and shows until somebody wants it to stop, or every mailbox got `enough` messages through (0: for ever).
void serve(peers::process& node, const std::filesystem::path& log, demo::servers& others, demo::board& board, std::size_t enough,
           node::stop_signals& signals) {
  const auto& boxes = demo::servers::mailboxes();
  for (std::size_t i = 0; !signals.wait_until(mono_clock::now() + between_messages); ++i) {
    if (!node.running()) throw peers::peer_error("the node has ended:\n" + peers::tail(log));
    if (enough > 0 && board.arrivals() >= enough) return;
    board.sent(others.next_id());
    others.deliver(boxes[i % boxes.size()]);
  }
}

void run(const std::filesystem::path& program, std::size_t enough, node::stop_signals& signals) {
  const peers::temp_dir directory("mailherd-demo");
  const auto leave_nothing = [&] {
    std::error_code ignored;
    std::filesystem::remove_all(directory.path(), ignored);
  };
  const last_work before(signals, leave_nothing);
  say("starting Dovecot and the identity provider");
  demo::servers others(directory.path(), backlog);
  say("starting a node with a PostgreSQL of its own");
  const auto log = directory / "node.log";
  auto node = start_node(program, directory.path(), enough > 0, others);
  // The second signal it gets, after which it has a few seconds; then the ends of its process and ours come by themselves.
  const last_work then(signals, [&, id = node.id()] {
    ::kill(id, SIGTERM);
    peers::wait_until([id] { return ::kill(id, 0) != 0; }, 2s);
    leave_nothing();
  });
  std::string api, metrics;
  const auto listens = [&] {
    const auto said = peers::read_file(log);
    api = told(said, "api");
    metrics = told(said, "metrics");
    return !metrics.empty();
  };
  node.wait_ready([&] { return signals.asked() || listens(); }, start_patience);
  if (!signals.asked()) {
    auto token = peers::read_file(directory / "data" / "admin-token");
    token.erase(token.find_last_not_of("\r\n") + 1);
    demo::board board("http://" + api, secret<>(token));
    node.wait_ready([&] { return signals.asked() || board.ready(); }, start_patience);
    if (!signals.asked()) {
      board.set_up(others);
      explain(program.lexically_proximate(std::filesystem::current_path()).string(), api, metrics, directory.path(), token);
      board.watch();
    }
    serve(node, log, others, board, enough, signals);
    say("\nstopping");
    board.stop();
    node.signal(SIGTERM);   // its end is what the board's readers wait for
  } else {
    node.signal(SIGTERM);
  }
  if (const auto status = node.wait(45s); status != 0)
    throw peers::peer_error(fmt::format("the node did not end in order (status {}):\n{}", status.value_or(-1), peers::tail(log)));
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t enough = 0;
  if (argc == 3 && std::strcmp(argv[1], "--messages") == 0) enough = std::strtoul(argv[2], nullptr, 10);
  if (argc != 1 && enough == 0) {
    fmt::print(stderr, "demo: usage: {} [--messages N: end by itself when every mailbox got N messages through]\n", argv[0]);
    return 2;
  }
  node::stop_signals signals(90s);
  forget_configuration();
  try {
    run(std::filesystem::read_symlink("/proc/self/exe").parent_path() / "mailherd", enough, signals);
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "demo: {}\n", e.what());
    return 1;
  }
}
