#include "tests/storage/postgres_fixture.hpp"

#include <fmt/format.h>
#include <pqxx/pqxx>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <stdexcept>

#include "storage/migrate.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/process.hpp"

namespace mailherd::test {

namespace fs = std::filesystem;

namespace {

constexpr const char* owner = "herd";
constexpr const char* superuser = "postgres";

server_settings& settings() {
  static server_settings one;
  return one;
}

const char* role_of(login who) { return who == login::owner ? owner : superuser; }

/// The newest version's programs: Debian keeps them out of PATH.
fs::path programs() {
  fs::path newest;
  int version = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", none)) {
    const int v = std::atoi(entry.path().filename().c_str());
    if (v > version && fs::exists(entry.path() / "bin" / "initdb")) {
      version = v;
      newest = entry.path() / "bin";
    }
  }
  if (newest.empty()) throw std::runtime_error("no PostgreSQL server is installed under /usr/lib/postgresql");
  return newest;
}

class server {
 public:
  server() : dir_("mh-pg") {
    // initdb and postgres refuse to run as root.
    const std::string user = ::geteuid() == 0 ? "postgres" : "";
    const auto data = dir_ / "data";
    fs::create_directories(data);
    if (!user.empty()) peers::run({.argv = {"chown", user, data.string(), dir_.path().string()}});
    const auto [status, output] = peers::run({.argv = {(programs() / "initdb").string(), "--no-sync", "--auth=trust", "--encoding=UTF8",
                                                       "--locale=C.UTF-8", fmt::format("--username={}", superuser), data.string()},
                                              .cwd = "/",
                                              .user = user},
                                             std::chrono::seconds(120));
    if (status != 0) throw std::runtime_error("initdb failed: " + output);
    user_ = user;
    if (!settings().listen.empty()) {
      port_ = peers::free_port();
      peers::write_file(data / "pg_hba.conf", "local all all trust\nhost all all all trust\n");
    }
    start();
    exec("postgres", fmt::format("CREATE ROLE {} LOGIN", owner));
    for (const auto who : {login::owner, login::superuser}) {
      make_database(template_of(who), "template0", who);
      if (auto done = store::run_migrations(url(template_of(who), role_of(who))); !done)
        throw std::runtime_error("the migrations fail: " + describe(done.error()));
    }
  }

  ~server() {
    process_->signal(SIGQUIT);
    process_->wait(std::chrono::seconds(20));
  }

  void restart() {
    process_->signal(SIGINT);   // fast: clients are cut off, what is committed is kept
    process_->wait(std::chrono::seconds(30));
    start();
  }

  static const char* template_of(login who) { return who == login::owner ? "template_owner" : "template_superuser"; }

  std::string url(const std::string& database, const char* role) const {
    return fmt::format("host='{}'{} dbname={} user={}", dir_.path().string(), port_ == 0 ? "" : fmt::format(" port={}", port_), database, role);
  }

  std::uint16_t port() const { return port_; }
  std::string tcp_url(const std::string& database, const char* role, const std::string& host, std::uint16_t at) const {
    return fmt::format("host={} port={} dbname={} user={}", host, at, database, role);
  }

  std::string exec(const std::string& database, const std::string& sql) const {
    pqxx::connection link(url(database, superuser));
    pqxx::nontransaction db(link);
    const auto rows = db.exec(sql);
    return rows.empty() || rows[0][0].is_null() ? std::string() : rows[0][0].c_str();
  }

  void make_database(const std::string& name, const std::string& from, login who) const {
    exec("postgres", fmt::format("CREATE DATABASE {} TEMPLATE {} OWNER {}", name, from, role_of(who)));
  }

  std::string next_name() { return fmt::format("test_{}", ++made_); }

 private:
  void start() {
    const auto data = dir_ / "data";
    peers::process_options how;
    how.argv = {(programs() / "postgres").string(), "-D", data.string()};
    for (const std::string setting : {"shared_buffers=48MB", "max_wal_size=512MB", "shared_preload_libraries=pg_stat_statements",
                                      "track_commit_timestamp=on", "log_min_messages=warning", "timezone=UTC"})
      how.argv.insert(how.argv.end(), {"-c", setting});
    const auto& s = settings();
    for (const std::string& setting : {fmt::format("listen_addresses={}", s.listen), fmt::format("max_connections={}", s.connections)})
      how.argv.insert(how.argv.end(), {"-c", setting});
    if (port_ != 0) how.argv.insert(how.argv.end(), {"-c", fmt::format("port={}", port_)});
    if (!s.durable)
      for (const char* setting : {"fsync=off", "full_page_writes=off", "autovacuum=off"}) how.argv.insert(how.argv.end(), {"-c", setting});
    how.argv.insert(how.argv.end(), {"-c", "unix_socket_directories=" + dir_.path().string()});
    how.cwd = "/";
    how.user = user_;
    how.log_file = dir_ / "server.log";
    how.death_signal = SIGQUIT;   // SIGKILL would leave its shared memory behind
    process_ = std::make_unique<peers::process>(how);
    process_->wait_ready([this] { return answers(); }, std::chrono::seconds(60));
  }

  bool answers() const {
    try {
      return exec("postgres", "SELECT 1") == "1";
    } catch (const std::exception&) {
      return false;
    }
  }

  peers::temp_dir dir_;
  std::string user_;
  std::uint16_t port_ = 0;   ///< 0: no TCP
  std::unique_ptr<peers::process> process_;
  std::atomic<int> made_{0};
};

server& the_server() {
  static server one;
  return one;
}

}  // namespace

test_database::test_database(login who) : test_database(who, server::template_of(who)) {}

test_database test_database::empty(login who) { return {who, "template0"}; }

test_database::test_database(login who, const char* from) : name_(the_server().next_name()) {
  the_server().make_database(name_, from, who);
  role_ = role_of(who);
  url_ = the_server().url(name_, role_);
  superuser_url_ = the_server().url(name_, superuser);
}

test_database::~test_database() {
  try {
    the_server().exec("postgres", fmt::format("DROP DATABASE {} WITH (FORCE)", name_));
  } catch (const std::exception&) {
    // The server takes it along at its end.
  }
}

void test_database::configure_server(server_settings how) { settings() = std::move(how); }
std::uint16_t test_database::tcp_port() { return the_server().port(); }
std::string test_database::tcp_url(const std::string& host, std::uint16_t port) const {
  return the_server().tcp_url(name_, role_, host, port);
}

void test_database::restart_server() { the_server().restart(); }

std::unique_ptr<store::connection> test_database::connect() const {
  auto made = store::connection::open(url_);
  if (!made) throw std::runtime_error("cannot connect: " + describe(made.error()));
  return std::move(*made);
}

std::string test_database::query(const std::string& sql) const { return the_server().exec(name_, sql); }

namespace {

std::shared_ptr<const store::keyring> ring(const std::string& lines) {
  auto made = store::keyring::parse(secret<>(lines));
  if (!made) throw std::runtime_error(describe(made.error()));
  return *made;
}

const std::string old_key = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const std::string new_key = "new:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";

}  // namespace

std::shared_ptr<const store::keyring> test_keys() { return ring(old_key); }
std::shared_ptr<const store::keyring> rotated_test_keys() { return ring(new_key + old_key); }

}  // namespace mailherd::test
