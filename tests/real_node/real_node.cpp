#include "tests/real_node/real_node.hpp"

#include <fmt/format.h>
#include <pqxx/pqxx>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <map>

#include "storage/keyring.hpp"
#include "storage/postgres.hpp"

namespace mailherd::test {

using peers::peer_error;

namespace {

/// "http://127.0.0.1:8080" of "api=http://127.0.0.1:8080", in what the log has after `from`; empty while it is not there.
std::string told(const std::filesystem::path& log, std::size_t from, const std::string& what) {
  const auto text = peers::read_file(log).substr(from);
  const auto at = text.find(what + "=http://");
  if (at == std::string::npos) return {};
  const auto begin = at + what.size() + 1;
  const auto end = text.find_first_of(" \n", begin);
  return end == std::string::npos ? "" : text.substr(begin, end - begin);
}

std::string hex(const sha256_digest& d) {
  std::string out;
  for (const auto b : d) out += fmt::format("{:02x}", b);
  return out;
}

}  // namespace

real_node::real_node(std::vector<std::pair<std::string, std::string>> env, std::vector<std::string> launcher)
    : env_(std::move(env)), launcher_(std::move(launcher)) {}

real_node::~real_node() {
  if (!process_) return;
  try {
    if (process_->running()) process_->terminate(patience);
    process_.reset();
    // A node that was killed by the test leaves its database: it is ended here by its own pid file.
    const auto pid_file = data() / "postgres" / "data" / "postmaster.pid";
    if (std::filesystem::exists(pid_file)) ::kill(static_cast<pid_t>(std::stol(peers::read_file(pid_file))), SIGQUIT);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "the node's end: %s\n", e.what());
  }
}

void real_node::start() {
  const auto from = std::filesystem::exists(log_file()) ? peers::read_file(log_file()).size() : 0;
  peers::process_options o;
  o.argv = launcher_;
  o.argv.insert(o.argv.end(), {std::string(MAILHERD_BINARY_DIR) + "/mailherd", "node"});
  o.env = {{"MAILHERD_DATA_DIR", data().string()},   {"MAILHERD_LISTEN", "127.0.0.1:0"},      {"MAILHERD_METRICS_LISTEN", "127.0.0.1:0"},
           {"MAILHERD_NODE_NAME", "real"},           {"MAILHERD_PRIVATE_TARGETS", "127.0.0.0/8,::1"}, {"MAILHERD_LOG_FORMAT", "text"}};
  o.env.insert(o.env.end(), env_.begin(), env_.end());
  o.cwd = dir_.path();
  o.log_file = log_file();
  o.death_signal = SIGTERM;
  process_ = std::make_unique<peers::process>(o);
  const auto given = setting("MAILHERD_ADMIN_TOKEN");
  process_->wait_ready([&] { return !told(log_file(), from, "api").empty() && (!given.empty() || std::filesystem::exists(data() / "admin-token")); }, patience);
  url_ = told(log_file(), from, "api");
  metrics_url_ = told(log_file(), from, "metrics");
  auto token = given.empty() ? peers::read_file(data() / "admin-token") : given;
  token.erase(token.find_last_not_of("\r\n ") + 1);
  token_ = secret<>(std::move(token));
  client_ = another_client();
  process_->wait_ready(
      [&] {
        const auto answer = client_->send("GET", "/readyz", {}, seconds(10));
        return answer && answer->status == 200;
      },
      patience);
}

void real_node::kill() { process_->signal(SIGKILL), process_->wait(patience); }
int real_node::terminate() { return process_->terminate(patience); }
void real_node::freeze() { process_->signal(SIGSTOP); }
void real_node::thaw() { process_->signal(SIGCONT); }
bool real_node::running() { return process_ && process_->running(); }

void real_node::database_kill() {
  const auto pid = static_cast<pid_t>(std::stol(peers::read_file(data() / "postgres" / "data" / "postmaster.pid")));
  if (pid > 1) ::kill(pid, SIGKILL);
}

ctl::json real_node::ask(const std::string& method, const std::string& path, const std::optional<ctl::json>& body) {
  const auto answer = client_->send(method, path, body, seconds(60));
  if (!answer) throw peer_error(fmt::format("{} {}: {}", method, path, answer.error().detail));
  if (answer->status / 100 != 2) throw peer_error(fmt::format("{} {}: {} {}", method, path, answer->status, answer->body));
  return answer->body.empty() ? ctl::json() : ctl::json::parse(answer->body);
}

std::unique_ptr<ctl::client> real_node::another_client() const { return std::make_unique<ctl::client>(ctl::endpoint{url_, token_}); }

std::string real_node::metrics() {
  ctl::client scraper({metrics_url_, {}});
  const auto answer = scraper.send("GET", "/metrics", {}, seconds(20));
  return answer ? answer->body : "";
}

std::string real_node::setting(const std::string& name) const {
  for (const auto& [key, value] : env_)
    if (key == name) return value;
  return {};
}

std::string real_node::database_url() const {
  if (auto given = setting("MAILHERD_DATABASE_URL"); !given.empty()) return given;
  return fmt::format("host={} user=mailherd dbname=mailherd", (data() / "postgres" / "socket").string());
}

std::optional<std::string> real_node::query(const std::string& sql) const {
  try {
    pqxx::connection link(database_url());
    pqxx::nontransaction work(link);
    work.exec("SET mailherd.tenant = '*'");
    const auto rows = work.exec(sql);
    return rows.empty() || rows[0][0].is_null() ? std::string() : std::string(rows[0][0].c_str());
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

std::int64_t real_node::stored() const {
  const auto n = query("SELECT coalesce(sum(messages_stored), 0) FROM channel_status");
  return n ? std::stoll(*n) : 0;
}

std::vector<real_node::stored_body> real_node::bodies(tenant_id tenant) const {
  store::postgres::options how;
  how.url = database_url();
  how.keys = *store::keyring::parse(store::keyring::generate());   // nothing sealed is read
  auto session = store::postgres::connect(how);
  if (!session) throw peer_error(describe(session.error()));
  auto& admin = (*session)->stores().admin;
  std::vector<stored_body> out;
  std::map<std::int64_t, std::int64_t> last;
  for (std::int64_t after = 0;;) {
    const auto page = admin.feed({}, tenant, {}, after, 500);
    if (!page) throw peer_error(describe(page.error()));
    if (page->empty()) return out;
    for (const auto& m : *page) {
      if (m.id.position != after + 1) throw peer_error(fmt::format("position {} follows {}", m.id.position, after));
      if (m.sequence != last[m.channel.value] + 1) throw peer_error(fmt::format("sequence {} follows {}", m.sequence, last[m.channel.value]));
      after = m.id.position;
      last[m.channel.value] = m.sequence;
      stored_body b{m.channel.value, m.sequence, {}};
      if (m.has_body) {
        std::string body;
        const auto read = admin.read_body({}, m.id, [&](std::string_view bytes) {
          body += bytes;
          return true;
        });
        if (!read) throw peer_error(describe(read.error()));
        b.sha256 = peers::sha256_hex(body);
        if (b.sha256 != hex(m.digest)) throw peer_error(fmt::format("message {} is not what its digest says", to_string(m.id)));
      }
      out.push_back(std::move(b));
    }
  }
}

std::vector<std::string> real_node::digests(tenant_id tenant) const {
  std::vector<std::string> out;
  for (auto& b : bodies(tenant)) out.push_back(std::move(b.sha256));
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace mailherd::test
