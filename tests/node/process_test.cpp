// The program itself, as a process: its words, its mistakes in one line each, its beginning and its end.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <optional>
#include <pqxx/pqxx>

#include "node/version.hpp"
#include "storage/embedded.hpp"
#include "storage/keyring.hpp"
#include "tests/api/http_client.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/process.hpp"

namespace mailherd {
namespace {

using namespace std::chrono_literals;
using strings = std::vector<std::string>;

const std::string program = MAILHERD_BINARY_DIR "/mailherd";

/// Sanitizers make every start several times slower; a hanging program is what this stops.
constexpr auto patience = 60s;

class program_test : public ::testing::Test {
 protected:
  struct outcome {
    int status = -1;
    std::string out, err;
  };

  /// Standard error has its own file: it must hold one line, or nothing.
  peers::process_options options(const strings& words, std::vector<std::pair<std::string, std::string>> environment) {
    peers::process_options o;
    o.argv = {"sh", "-c", "exec \"$0\" \"$@\" 2>\"" + (directory_ / "err").string() + "\"", program};
    o.argv.insert(o.argv.end(), words.begin(), words.end());
    o.env = std::move(environment);
    o.cwd = directory_.path();
    o.log_file = directory_ / "out";
    o.death_signal = SIGTERM;   // a node with a database of its own must end it
    return o;
  }
  outcome run(const strings& words, std::vector<std::pair<std::string, std::string>> environment = {}) {
    std::filesystem::remove(directory_ / "out");
    peers::process p(options(words, std::move(environment)));
    const auto status = p.wait(patience);
    EXPECT_TRUE(status) << "it does not end: " << peers::tail(directory_ / "out");
    return {status.value_or(-1), peers::read_file(directory_ / "out"), peers::read_file(directory_ / "err")};
  }
  /// Status 2 and this one line.
  void expect_mistake(const strings& words, const std::string& line, std::vector<std::pair<std::string, std::string>> environment = {}) {
    const auto ended = run(words, std::move(environment));
    EXPECT_EQ(ended.status, 2) << ended.out;
    EXPECT_EQ(ended.err, "mailherd: " + line + "\n");
  }

  peers::temp_dir directory_{"mh-node"};
};

TEST_F(program_test, wrong_usage_is_2_with_one_line) {
  for (const strings& words : std::vector<strings>{{},
                                                   {"nonsense"},
                                                   {"node", "extra"},
                                                   {"node", "--listn", "x"},
                                                   {"node", "--listen"},
                                                   {"db"},
                                                   {"keys"},
                                                   {"keys", "nonsense"},
                                                   {"version", "--x"},
                                                   {"node", "--allow-plaintext=maybe"}}) {
    const auto ended = run(words);
    EXPECT_EQ(ended.status, 2) << ::testing::PrintToString(words);
    EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
    EXPECT_EQ(ended.err.rfind("mailherd: ", 0), 0u) << ended.err;
  }
  EXPECT_NE(run({"node", "--listn", "x"}).err.find("did you mean --listen?"), std::string::npos);
  EXPECT_NE(run({"keys"}).err.find("mailherd keys --help"), std::string::npos);
}

TEST_F(program_test, mistakes_of_the_configuration_are_2_with_one_line) {
  std::ofstream(directory_ / "m.toml") << "node_name = 'a'\nlistne = '127.0.0.1:0'\n";
  expect_mistake({"node", "--config", "m.toml"}, "m.toml:2: unknown key \"listne\": did you mean listen?");
  expect_mistake({"node"}, "MAILHERD_LISTN: unknown variable: did you mean MAILHERD_LISTEN?", {{"MAILHERD_LISTN", "x"}});
  expect_mistake({"node", "--lease-ttl", "15"},
                 "lease_ttl (--lease-ttl): \"15\" is not a time from 3s to 10m: write a number and its unit, like 90s, 5m, 12h, 30d");
  expect_mistake({"node", "--config", "none.toml"}, "--config: none.toml cannot be read: No such file or directory");
  expect_mistake({"node"},
                 "admin_token is missing: with database_url set MAILHERD_ADMIN_TOKEN or MAILHERD_ADMIN_TOKEN_FILE as well (make one with: "
                 "openssl rand "
                 "-hex 32)",
                 {{"MAILHERD_DATABASE_URL", "postgresql://127.0.0.1:1/x"}});
  expect_mistake(
      {"node"},
      "master_key is missing: with database_url set MAILHERD_MASTER_KEY or MAILHERD_MASTER_KEY_FILE as well (make one with: mailherd keys "
      "generate)",
      {{"MAILHERD_DATABASE_URL", "postgresql://127.0.0.1:1/x"}, {"MAILHERD_ADMIN_TOKEN", "t"}});
  expect_mistake({"db", "migrate"}, "database_url is missing: set MAILHERD_DATABASE_URL (a node migrates its own database by itself)");
}

TEST_F(program_test, a_key_ring_that_cannot_be_read_is_2_and_shows_nothing_of_it) {
  const auto ended =
      run({"node"}, {{"MAILHERD_DATA_DIR", (directory_ / "data").string()}, {"MAILHERD_MASTER_KEY", "k1:canary-not-base64"}});
  EXPECT_EQ(ended.status, 2);
  EXPECT_EQ(ended.err.rfind("mailherd: master_key (MAILHERD_MASTER_KEY): ", 0), 0u) << ended.err;
  EXPECT_EQ((ended.err + ended.out).find("canary"), std::string::npos) << ended.err;
}

TEST_F(program_test, a_data_directory_that_cannot_be_written_is_2) {
  peers::write_file(directory_ / "file", "x");
  const auto path = (directory_ / "file" / "data").string();
  expect_mistake({"node", "--data-dir", path}, "data_dir (--data-dir): " + path + " cannot be made: Not a directory");
}

TEST_F(program_test, an_authority_file_that_cannot_be_read_is_2) {
  const auto ended = run({"node", "--data-dir", "data", "--ca-file", "none.pem"});
  EXPECT_EQ(ended.status, 2);
  EXPECT_EQ(ended.err.rfind("mailherd: ca_file (--ca-file): ", 0), 0u) << ended.err;
  EXPECT_NE(ended.err.find("none.pem"), std::string::npos) << ended.err;
}

TEST_F(program_test, version_and_keys_are_for_programs_to_read) {
  const auto version = run({"version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_EQ(version.out, "mailherd " + std::string(node::version()) + "\n");
  const auto key = run({"keys", "generate"}), other = run({"keys", "generate"});
  EXPECT_EQ(key.status, 0);
  EXPECT_EQ(key.err, "");
  EXPECT_TRUE(store::keyring::parse(secret<>(key.out)));
  EXPECT_TRUE(store::keyring::parse(secret<>(key.out + other.out))) << "two of them are a ring";
  EXPECT_NE(key.out, other.out);
}

TEST_F(program_test, ctl_is_part_of_it) {
  const auto ended = run({"ctl", "cluster", "--token", "x", "--url", "http://127.0.0.1:1"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_EQ(ended.err.rfind("mailherd ctl: ", 0), 0u) << ended.err;
}

TEST_F(program_test, help_shows_every_flag_and_no_secret) {
  const auto ended = run({"node", "--help"}, {{"MAILHERD_ADMIN_TOKEN", "canary-token"}, {"MAILHERD_MASTER_KEY", "canary-key"}});
  EXPECT_EQ(ended.status, 0);
  for (const char* flag : {"--database-url", "--data-dir", "--listen", "--metrics-listen", "--public-url", "--node-name", "--admin-token",
                           "--admin-token-file", "--master-key", "--master-key-file", "--ca-file", "--private-targets", "--log-format",
                           "--log-level", "--lease-ttl", "--config"})
    EXPECT_NE(ended.out.find(flag), std::string::npos) << flag;
  EXPECT_EQ(ended.out.find("canary"), std::string::npos);
}

// ---- a node ---------------------------------------------------------------------------------------------------------------------------

/// What a database's pid file says: its process and nothing else's.
std::optional<pid_t> postmaster_of(const std::filesystem::path& data_dir) {
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(data_dir, std::filesystem::directory_options::skip_permission_denied)) {
    if (entry.path().filename() != "postmaster.pid") continue;
    std::ifstream in(entry.path());
    pid_t pid = 0;
    if (in >> pid) return pid;
  }
  return std::nullopt;
}

bool alive(pid_t pid) { return ::kill(pid, 0) == 0; }

class node_test : public program_test {
 protected:
  using environment = std::vector<std::pair<std::string, std::string>>;

  /// Told rather than killed: a node that is killed leaves its database to the next one.
  void TearDown() override {
    if (process_ && process_->running()) process_->terminate(patience);
  }

  environment own_database() { return {{"MAILHERD_DATA_DIR", (directory_ / "data").string()}}; }

  /// Starts it on free ports and waits until it listens.
  peers::process& start(environment more, const strings& flags = {}) {
    std::filesystem::remove(directory_ / "out");
    more.emplace_back("MAILHERD_LISTEN", "127.0.0.1:0");
    more.emplace_back("MAILHERD_METRICS_LISTEN", "127.0.0.1:0");
    more.emplace_back("MAILHERD_LOG_FORMAT", "json");
    strings words{"node"};
    words.insert(words.end(), flags.begin(), flags.end());
    process_.emplace(options(words, std::move(more)));
    process_->wait_ready([this] { return find_ports(); }, patience);
    return *process_;
  }
  bool find_ports() {
    for (const auto& line : lines())
      if (line.value("msg", "") == "node listens") {
        api_ = port_of(line["api"]);
        metrics_ = port_of(line["metrics"]);
        return true;
      }
    return false;
  }
  static std::uint16_t port_of(const std::string& address) {
    return static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  }
  /// Whole log lines; each must be an object.
  std::vector<nlohmann::json> lines() {
    std::vector<nlohmann::json> out;
    std::istringstream in(std::filesystem::exists(directory_ / "out") ? peers::read_file(directory_ / "out") : "");
    for (std::string line; std::getline(in, line) && !in.eof();) out.push_back(nlohmann::json::parse(line));
    return out;
  }
  bool logged(const std::string& sentence) {
    const auto all = lines();
    return std::any_of(all.begin(), all.end(), [&](const nlohmann::json& l) { return l.value("msg", "") == sentence; });
  }
  test::http_reply get(const std::string& path, std::uint16_t port = 0) {
    test::http_connection c(port != 0 ? port : api_);
    c.write("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return c.read_reply();
  }
  test::http_reply ask(const std::string& method, const std::string& path, const std::string& token, const nlohmann::json& body) {
    test::http_connection c(api_);
    const auto text = body.dump();
    c.write(method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + token +
            "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(text.size()) + "\r\n\r\n" + text);
    return c.read_reply();
  }
  void wait_until_ready() {
    ASSERT_TRUE(peers::wait_until([this] { return get("/readyz").status == 200; }, patience)) << peers::tail(directory_ / "out");
  }
  std::string err() { return peers::read_file(directory_ / "err"); }

  std::optional<peers::process> process_;
  std::uint16_t api_ = 0, metrics_ = 0;
};

TEST_F(node_test, serves_and_leaves_nothing_behind_when_told_to_stop) {
  auto& node = start(own_database());
  wait_until_ready();
  const auto data = directory_ / "data";
  const auto database = postmaster_of(data);
  ASSERT_TRUE(database);
  EXPECT_TRUE(alive(*database));
  for (const char* file : {"admin-token", "master-key"})
    EXPECT_EQ(std::filesystem::status(data / file).permissions(), std::filesystem::perms(0600)) << file;
  EXPECT_EQ(get("/healthz").status, 200);
  EXPECT_EQ(get("/startupz").status, 200);
  EXPECT_EQ(get("/v1/tenants").status, 401);
  const auto metrics = get("/metrics", metrics_);
  EXPECT_EQ(metrics.status, 200);
  EXPECT_NE(metrics.body.find("mailherd_build_info{version=\"" + std::string(node::version()) + "\"} 1"), std::string::npos);
  node.signal(SIGTERM);
  EXPECT_EQ(node.wait(patience), 0);
  EXPECT_EQ(err(), "");
  EXPECT_TRUE(logged("node has stopped"));
  EXPECT_FALSE(alive(*database));
  EXPECT_FALSE(postmaster_of(data));
  EXPECT_FALSE(peers::port_open(api_));
}

TEST_F(node_test, finds_its_token_its_keys_and_its_mail_again) {
  start(own_database());
  wait_until_ready();
  auto token = peers::read_file(directory_ / "data" / "admin-token");
  token.pop_back();
  const auto made = ask("POST", "/v1/tenants", token, {{"name", "Acme"}});
  EXPECT_EQ(made.status, 201) << made.body;
  process_->signal(SIGINT);
  EXPECT_EQ(process_->wait(patience), 0) << "as SIGTERM";
  start(own_database());
  wait_until_ready();
  const auto found = ask("GET", "/v1/tenants/" + made.json().value("id", "none"), token, {});
  EXPECT_EQ(found.json().value("name", ""), "Acme") << found.body;
}

TEST_F(node_test, a_killed_node_s_successor_serves_the_same_mail) {
  auto more = own_database();
  more.emplace_back("MAILHERD_ADMIN_TOKEN", "t");
  start(more);
  wait_until_ready();
  const auto made = ask("POST", "/v1/tenants", "t", {{"name", "Acme"}}).json().value("id", "none");
  process_->signal(SIGKILL);
  EXPECT_EQ(process_->wait(patience), 128 + SIGKILL);
  start(more);
  wait_until_ready();
  EXPECT_EQ(ask("GET", "/v1/tenants/" + made, "t", {}).status, 200);
}

TEST_F(node_test, a_port_in_use_is_2_and_ends_what_had_begun) {
  start(own_database());
  const auto taken = "127.0.0.1:" + std::to_string(api_);
  const auto second = (directory_ / "second").string();
  expect_mistake({"node", "--data-dir", second, "--metrics-listen", "none"},
                 "listen (MAILHERD_LISTEN): address " + taken + " is in use by another program: end that program or choose another address",
                 {{"MAILHERD_LISTEN", taken}});
  EXPECT_FALSE(postmaster_of(second));
  expect_mistake(
      {"node", "--data-dir", second, "--listen", "127.0.0.1:0", "--metrics-listen", taken},
      "metrics_listen (--metrics-listen): address " + taken + " is in use by another program: end that program or choose another address");
  EXPECT_FALSE(postmaster_of(second));
}

TEST_F(node_test, two_nodes_do_not_share_a_data_directory) {
  start(own_database());
  expect_mistake(
      {"node", "--data-dir", (directory_ / "data").string()},
      "data_dir (--data-dir): " + (directory_ / "data").string() + " is in use by another node: stop it or choose another directory");
  EXPECT_EQ(get("/healthz").status, 200) << "the first one is not disturbed";
}

TEST_F(node_test, other_keys_than_the_database_s_are_2) {
  start(own_database());
  wait_until_ready();
  process_->signal(SIGTERM);
  ASSERT_EQ(process_->wait(patience), 0);
  const auto file = directory_ / "data" / "master-key";
  const auto right = peers::read_file(file);
  peers::write_file(file, store::keyring::generate().reveal() + "\n", 0600);
  const auto ended = run({"node", "--data-dir", "data", "--listen", "127.0.0.1:0", "--metrics-listen", "none"});
  EXPECT_EQ(ended.status, 2);
  EXPECT_EQ(ended.err.rfind("mailherd: " + file.string() + ": ", 0), 0u) << ended.err;
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  EXPECT_FALSE(postmaster_of(directory_ / "data"));
  // A new key before the old one is how keys are rotated.
  peers::write_file(file, store::keyring::generate().reveal() + "\n" + right, 0600);
  const auto rotated = run({"keys", "rotate", "--data-dir", "data"});
  EXPECT_EQ(rotated.status, 0) << rotated.err;
  EXPECT_NE(rotated.out.find("values sealed with the first key"), std::string::npos) << rotated.out;
  start(own_database());
  wait_until_ready();
}

TEST_F(node_test, waits_for_a_database_that_is_away_and_says_so) {
  const auto port = std::to_string(peers::free_port());
  auto& node = start({{"MAILHERD_DATABASE_URL", "postgresql://mailherd:canary-password@127.0.0.1:" + port + "/mailherd"},
                      {"MAILHERD_ADMIN_TOKEN", "canary-token"},
                      {"MAILHERD_MASTER_KEY", store::keyring::generate().reveal()}});
  ASSERT_TRUE(peers::wait_until([this] { return logged("node waits for its database and tries again"); }, patience));
  EXPECT_EQ(get("/healthz").status, 200) << "alive";
  EXPECT_EQ(get("/startupz").status, 503) << "has not begun";
  EXPECT_EQ(get("/readyz").status, 503) << "and not ready";
  EXPECT_FALSE(std::filesystem::exists(directory_ / "mailherd-data")) << "a node without a database of its own writes nothing";
  node.signal(SIGTERM);
  EXPECT_EQ(node.wait(patience), 0);
  EXPECT_EQ((err() + peers::read_file(directory_ / "out")).find("canary"), std::string::npos);
}

TEST_F(node_test, db_migrate_brings_a_database_up_and_refuses_a_newer_one) {
  store::embedded_server::options o;
  o.data_dir = directory_ / "other";
  const auto database = store::embedded_server::start(o);
  ASSERT_TRUE(database) << database.error().detail;
  const environment where{{"MAILHERD_DATABASE_URL", (*database)->url()}};
  for (int i = 0; i < 2; ++i) {
    const auto ended = run({"db", "migrate"}, where);
    EXPECT_EQ(ended.status, 0) << ended.err;
  }
  {
    pqxx::connection link((*database)->url());
    pqxx::nontransaction(link).exec("INSERT INTO schema_migrations (version, name) VALUES (9999, 'of the future')");
  }
  auto all = where;
  all.insert(
      all.end(),
      {{"MAILHERD_ADMIN_TOKEN", "t"}, {"MAILHERD_MASTER_KEY", store::keyring::generate().reveal()}, {"MAILHERD_LISTEN", "127.0.0.1:0"}});
  for (const auto& ended : {run({"db", "migrate"}, where), run({"node", "--metrics-listen", "none"}, all)}) {
    EXPECT_EQ(ended.status, 2);
    EXPECT_EQ(ended.err.rfind("mailherd: database_url (MAILHERD_DATABASE_URL): ", 0), 0u) << ended.err;
    EXPECT_NE(ended.err.find("9999"), std::string::npos) << ended.err;
    EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  }
}

/// A database that froze: everything that asks it waits.
class frozen_database {
 public:
  explicit frozen_database(pid_t postmaster) : all_{postmaster} {
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(postmaster) + "/task/" + std::to_string(postmaster)))
      if (entry.path().filename() == "children") {
        std::ifstream in(entry.path());
        for (pid_t child = 0; in >> child;) all_.push_back(child);
      }
    for (const auto pid : all_) ::kill(pid, SIGSTOP);
  }
  ~frozen_database() {
    for (const auto pid : all_) ::kill(pid, SIGCONT);
  }
  frozen_database(const frozen_database&) = delete;
  frozen_database& operator=(const frozen_database&) = delete;

 private:
  std::vector<pid_t> all_;
};

TEST_F(node_test, a_second_signal_stops_at_once) {
  store::embedded_server::options o;
  o.data_dir = directory_ / "other";
  auto database = store::embedded_server::start(o);
  ASSERT_TRUE(database) << database.error().detail;
  auto& node = start({{"MAILHERD_DATABASE_URL", (*database)->url()},
                      {"MAILHERD_ADMIN_TOKEN", "t"},
                      {"MAILHERD_STOP_GRACE", "1h"},
                      {"MAILHERD_MASTER_KEY", store::keyring::generate().reveal()}});
  wait_until_ready();
  const frozen_database frozen(*postmaster_of(directory_ / "other"));
  node.signal(SIGTERM);
  ASSERT_TRUE(peers::wait_until([this] { return logged("node stops"); }, patience));
  node.signal(SIGTERM);
  EXPECT_EQ(node.wait(10s), 1) << "the grace of an hour is cut short";
}

TEST_F(node_test, nothing_it_says_shows_a_secret) {
  const std::string key = store::keyring::generate().reveal();
  auto more = own_database();
  more.emplace_back("MAILHERD_MASTER_KEY", key);
  more.emplace_back("MAILHERD_ADMIN_TOKEN", "canary-operator");
  more.emplace_back("MAILHERD_LOG_LEVEL", "debug");
  more.emplace_back("MAILHERD_PRIVATE_TARGETS", "127.0.0.1");
  more.emplace_back("MAILHERD_ALLOW_PLAINTEXT", "true");
  start(std::move(more));
  wait_until_ready();
  const auto tenant = ask("POST", "/v1/tenants", "canary-operator", {{"name", "Acme"}}).json().value("id", "none");
  const auto app = ask("POST", "/v1/tenants/" + tenant + "/oauth-apps", "canary-operator",
                       {{"name", "a"}, {"provider", "custom"}, {"client_id", "id"}, {"client_secret", "canary-client"},
                        {"authorize_url", "http://127.0.0.1:1/a"}, {"token_url", "http://127.0.0.1:1/token"}});
  ASSERT_EQ(app.status, 201) << app.body;
  const auto incoming = nlohmann::json{{"protocol", "imap"}, {"host", "127.0.0.1"}, {"port", 1}, {"tls", "none"}, {"folder", "INBOX"}};
  const auto by_password = ask("POST", "/v1/tenants/" + tenant + "/channels", "canary-operator",
                               {{"name", "p"}, {"address", "a@acme.test"}, {"incoming", incoming},
                                {"auth", {{"type", "basic"}, {"username", "u"}, {"password", "canary-password"}}}});
  ASSERT_EQ(by_password.status, 201) << by_password.body;
  const auto by_token = ask(
      "POST", "/v1/tenants/" + tenant + "/channels", "canary-operator",
      {{"name", "o"},
       {"address", "b@acme.test"},
       {"incoming", incoming},
       {"auth", {{"type", "oauth2"}, {"app", app.json()["id"]}, {"grant", "authorization_code"}, {"refresh_token", "canary-refresh"}}}});
  ASSERT_EQ(by_token.status, 201) << by_token.body;
  // Both fail for want of a server; what they say then is what this test reads.
  for (const auto& channel : {by_password, by_token})
    ASSERT_TRUE(peers::wait_until(
        [&] {
          const auto now = ask("GET", "/v1/tenants/" + tenant + "/channels/" + channel.json().value("id", ""), "canary-operator", {});
          EXPECT_EQ(now.body.find("canary"), std::string::npos) << now.body;
          return now.json().value("state", "") == "backoff";
        },
        patience));
  const auto metrics = get("/metrics", metrics_).body;
  EXPECT_NE(metrics.find("mailherd_session_failures_total"), std::string::npos);
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(patience), 0);
  const auto said = peers::read_file(directory_ / "out") + err() + metrics;
  EXPECT_EQ(said.find("canary"), std::string::npos) << said.substr(said.find("canary") < 200 ? 0 : said.find("canary") - 200, 400);
  EXPECT_EQ(said.find(key.substr(key.find(':') + 1)), std::string::npos);
}

}  // namespace
}  // namespace mailherd
