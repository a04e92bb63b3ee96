// storage/embedded: see the header. Files and processes are next door (embedded_cluster, embedded_process); here is the server's life.
#include "storage/embedded.hpp"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <mutex>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "core/backoff.hpp"
#include "storage/embedded_cluster.hpp"

namespace mailherd::store {

namespace fs = std::filesystem;

namespace {

using embedded::cluster;
using embedded::process_handle;
using embedded::waited;

/// A server that begins is asked this often whether it answers.
constexpr milliseconds ask_interval{20};
/// A server that recovers from a crash says so. It gets this many times the deadline of a start before it counts as stuck.
constexpr int recovery_factor = 10;
/// Between two looks at the log's size and at the socket.
constexpr seconds look_interval{60};
/// A server that lived this long was healthy: its death is answered as the first one is.
constexpr seconds healthy_life{60};
constexpr backoff_policy restart_pause{.first = milliseconds(100), .cap = seconds(10)};
/// Processes of a killed server work on the files until they notice its death: a new one cannot start before.
constexpr milliseconds leftover_pause{100};
/// Fast shutdown writes a checkpoint; immediate shutdown only waits for processes to end.
constexpr seconds fast_stop{60};
constexpr seconds immediate_stop{15};

struct closes_connection {
  void operator()(PGconn* c) const noexcept { PQfinish(c); }
};
struct clears_result {
  void operator()(PGresult* r) const noexcept { PQclear(r); }
};
using connection = std::unique_ptr<PGconn, closes_connection>;
using answer = std::unique_ptr<PGresult, clears_result>;

std::string percent_encoded(const std::string& text) {
  std::string out;
  for (const unsigned char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    out += plain ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02X}", c);
  }
  return out;
}

/// libpq's parameters for the superuser over the socket. The program's environment (PGOPTIONS and friends) must not matter.
class superuser_login {
 public:
  explicit superuser_login(std::string sockets) : sockets_(std::move(sockets)), port_(std::to_string(embedded::port)) {}
  [[nodiscard]] PGPing ping() const { return PQpingParams(names.data(), values().data(), 0); }
  [[nodiscard]] connection open() const { return connection(PQconnectdbParams(names.data(), values().data(), 0)); }

 private:
  static constexpr std::array<const char*, 9> names{"host",    "port",    "user",       "dbname", "connect_timeout",
                                                    "options", "sslmode", "gssencmode", nullptr};
  [[nodiscard]] std::array<const char*, 9> values() const {
    return {sockets_.c_str(), port_.c_str(), embedded::superuser, "postgres", "10",
            "-c statement_timeout=60s", "disable", "disable", nullptr};
  }
  std::string sockets_, port_;
};

tl::unexpected<error> refused(PGconn* database, const char* what) {
  return fail(failure::store_unavailable, fmt::format("{}: {}", what, PQerrorMessage(database)));
}

/// Repeatable: a node may have been killed between any two of the statements, or the role may have been given rights by hand under which
/// row-level security does not hold.
result<void> ensure_database(const superuser_login& login) {
  const connection database = login.open();
  if (PQstatus(database.get()) != CONNECTION_OK) return refused(database.get(), "the embedded database refuses its superuser");
  const auto run = [&](const char* statement) { return answer(PQexec(database.get(), statement)); };
  const auto is_there = [&](const char* query) { return PQntuples(run(query).get()) == 1; };
  const auto done = [&](const char* statement) { return PQresultStatus(run(statement).get()) == PGRES_COMMAND_OK; };
  if (!is_there("SELECT 1 FROM pg_roles WHERE rolname = 'mailherd'") && !done("CREATE ROLE mailherd"))
    return refused(database.get(), "the role cannot be made");
  if (!done("ALTER ROLE mailherd LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"))
    return refused(database.get(), "the role cannot be set up");
  if (!is_there("SELECT 1 FROM pg_database WHERE datname = 'mailherd'") &&
      !done("CREATE DATABASE mailherd OWNER mailherd TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'"))
    return refused(database.get(), "the database cannot be made");
  return {};
}

class server final : public embedded_server {
 public:
  server(options how, cluster files)
      : how_(std::move(how)), files_(std::move(files)), login_(files_.socket_directory().string()), wake_(::eventfd(0, EFD_CLOEXEC)) {}
  ~server() override { stop(); }

  result<void> begin() {
    auto up = bring_up();
    if (!up) return fail(up.error());
    if (auto made = ensure_database(login_); !made) {
      if (*up == origin::adopted) process_ = process_handle();  // not ours to end
      return made;
    }
    running_ = true;
    say(fmt::format("PostgreSQL {} {} (process {})", files_.version(), *up == origin::adopted ? "found running and adopted" : "started",
                    process_.id()));
    watcher_ = std::thread([this] { watch(); });
    return {};
  }

  [[nodiscard]] std::string url() const override {
    return fmt::format("postgresql://{}@/{}?host={}&port={}", embedded::role, embedded::database,
                       percent_encoded(files_.socket_directory().string()), embedded::port);
  }

  [[nodiscard]] bool running() const override { return running_; }

  void stop() override {
    const std::lock_guard lock(stopping_);
    if (stopped_) return;
    stopped_ = true;
    ::eventfd_write(wake_.get(), 1);  // never read again: every wait from now on ends at once
    if (watcher_.joinable()) watcher_.join();
    running_ = false;
    if (process_.id() < 0) return;  // never came so far, or is left alone
    const bool lived = !process_.ended();
    if (!shut_down()) return;
    files_.forget_socket_directory();
    if (lived) say("PostgreSQL stopped");
  }

 private:
  enum class origin { started, adopted };
  enum class readiness { up, ended, woken, late };

  void say(const std::string& sentence) const {
    if (how_.on_event) how_.on_event(sentence);
  }

  [[nodiscard]] bool woken_within(duration pause) const {
    pollfd wake{wake_.get(), POLLIN, 0};
    return ::poll(&wake, 1, static_cast<int>(std::chrono::ceil<milliseconds>(pause).count())) > 0;
  }

  /// Takes the server that runs on the files, or starts one; returns when it answers.
  result<origin> bring_up() {
    const mono_time until = mono_clock::now() + how_.start_deadline;
    for (;;) {
      const auto from = take_or_launch();
      if (!from) return from;
      const readiness state = wait_until_ready(until);
      const std::string log = files_.log_tail();
      const bool leftovers = log.find("pre-existing shared memory block") != std::string::npos;
      if (state == readiness::up) return from;
      if (state == readiness::woken) return fail(failure::cancelled, "stopped");
      const bool again = state == readiness::ended && (*from == origin::adopted || leftovers);  // that one was about to end; those will
      if (again && mono_clock::now() < until) {
        if (woken_within(leftover_pause)) return fail(failure::cancelled, "stopped");
        continue;
      }
      const std::string what =
          state == readiness::ended ? process_.how() : fmt::format("no answer after {} s", how_.start_deadline.count());
      if (*from == origin::adopted) process_ = process_handle();
      return fail(failure::store_unavailable, fmt::format("PostgreSQL did not start: {}. Its log ends: {}", what, log));
    }
  }

  result<origin> take_or_launch() {
    if (auto found = files_.find_running()) {
      process_ = std::move(found->process);
      const bool reachable = !found->ready || (found->socket_directory == files_.socket_directory() && fs::exists(files_.socket()));
      if (reachable) return origin::adopted;
      say(fmt::format("PostgreSQL (process {}) runs on the files but has no socket in {}: it is started anew", process_.id(),
                      files_.socket_directory().string()));
      if (!shut_down())
        return fail(failure::store_unavailable, fmt::format("process {} runs on the database's files and does not end", process_.id()));
    }
    auto process = files_.launch();
    if (!process) return fail(process.error());
    process_ = std::move(*process);
    return origin::started;
  }

  readiness wait_until_ready(mono_time until) {
    const mono_time until_recovered = until + (recovery_factor - 1) * how_.start_deadline;
    bool told = false;
    for (;;) {
      const PGPing state = login_.ping();
      if (state == PQPING_OK && !process_.ended()) return readiness::up;
      const waited what = process_.wait(ask_interval, wake_.get());
      if (what != waited::timed_out) return what == waited::ended ? readiness::ended : readiness::woken;
      const mono_time now = mono_clock::now();
      if (now < until) continue;
      const bool recovers = state == PQPING_REJECT;
      if (!recovers || now >= until_recovered) return readiness::late;
      if (!told) say(fmt::format("PostgreSQL (process {}) still recovers from a crash", process_.id()));
      told = true;
    }
  }

  void watch() {
    mono_time since = mono_clock::now();
    unsigned deaths = 0;
    for (;;) {
      const waited what = process_.wait(look_interval, wake_.get());
      if (what == waited::woken) return;
      if (what == waited::timed_out) {
        look_after();
        continue;
      }
      running_ = false;
      if (mono_clock::now() - since > healthy_life) deaths = 0;
      say(fmt::format("PostgreSQL (process {}) {} and is brought back", process_.id(), process_.how()));
      if (!start_again(deaths)) return;
      since = mono_clock::now();
    }
  }

  void look_after() {
    files_.trim_log();
    if (fs::exists(files_.socket())) return;
    say(fmt::format("PostgreSQL (process {}) has lost its socket {}: it is started anew", process_.id(), files_.socket().string()));
    process_.signal(SIGINT);
  }

  /// False if the wait was ended by `stop`.
  bool start_again(unsigned& deaths) {
    for (;;) {
      std::random_device random;
      const std::uint64_t dice = std::uint64_t{random()} << 32 | random();
      if (woken_within(backoff_delay(restart_pause, deaths++, dice))) return false;
      const auto up = bring_up();
      if (up) {
        running_ = true;
        say(fmt::format("PostgreSQL started again (process {})", process_.id()));
        return true;
      }
      if (up.error().code == failure::cancelled) return false;
      say(up.error().detail);
    }
  }

  bool shut_down() {
    process_.signal(SIGINT);
    if (process_.wait(fast_stop, -1) == waited::ended) return true;
    say(fmt::format("PostgreSQL (process {}) does not end within {} s: it is stopped at once and will recover at its next start",
                    process_.id(), fast_stop.count()));
    process_.signal(SIGQUIT);
    if (process_.wait(immediate_stop, -1) == waited::ended) return true;
    say(fmt::format("PostgreSQL (process {}) does not end: it is left to the next start", process_.id()));
    return false;
  }

  options how_;
  cluster files_;
  superuser_login login_;
  embedded::descriptor wake_;
  process_handle process_;  // the watcher's while it runs
  std::atomic<bool> running_ = false;
  std::thread watcher_;
  std::mutex stopping_;
  bool stopped_ = false;
};

}  // namespace

result<std::unique_ptr<embedded_server>> embedded_server::start(options how) {
  auto files = cluster::prepare(how);
  if (!files) return fail(files.error());
  auto out = std::make_unique<server>(std::move(how), std::move(*files));
  if (auto begun = out->begin(); !begun) return fail(begun.error());
  return out;
}

}  // namespace mailherd::store
