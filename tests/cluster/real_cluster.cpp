// tests/cluster/real_cluster: implementation.
#include "tests/cluster/real_cluster.hpp"

#include <fmt/format.h>
#include <pqxx/pqxx>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "tests/corpus/corpus.hpp"

namespace mailherd::test {

using peers::peer_error;
using std::chrono::milliseconds;
using std::chrono::system_clock;

namespace {

constexpr const char* living = "JOIN incarnations i ON i.incarnation_id = l.owner WHERE i.ended IS NULL AND i.expires_at > now()";

/// Adds what is in `text`, the answer of /metrics, of the series `name` to what `each` is told: the labels with the name, and the value.
template <class Each>
void series(const std::string& text, const std::string& name, Each each) {
  for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
    const auto line = text.substr(at, text.find('\n', at) - at);
    if ((at == 0 || text[at - 1] == '\n') && (line[name.size()] == '{' || line[name.size()] == ' '))
      each(line, std::stod(line.substr(line.rfind(' '))));
  }
}

double sum_of(const std::string& text, const std::string& name, const std::string& label) {
  double sum = 0;
  series(text, name, [&](const std::string& line, double value) { sum += line.find(label) != std::string::npos ? value : 0; });
  return sum;
}

}  // namespace

unsigned number_of_environment(const char* name, unsigned otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<unsigned>(std::stoul(text));
}

real_cluster::real_cluster(peers::dovecot_server& server, test_database& database, cluster_options how)
    : server_(server), database_(database), how_(std::move(how)) {
  for (const auto& name : how_.nodes) {
    cluster_options::variables env{
        {"MAILHERD_DATABASE_URL", database_.url()},
        {"MAILHERD_ADMIN_TOKEN", "an-operators-token-of-thirty-two-bytes"},
        {"MAILHERD_MASTER_KEY", "k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
        {"MAILHERD_NODE_NAME", name},
        {"MAILHERD_CA_FILE", (how_.ca_file.empty() ? server_.ca_file() : how_.ca_file).string()},
        {"MAILHERD_LEASE_TTL", fmt::format("{}s", how_.ttl)},
        {"MAILHERD_STOP_GRACE", how_.stop_grace},
    };
    if (const auto own = how_.own_env.find(name); own != how_.own_env.end()) env.insert(env.end(), own->second.begin(), own->second.end());
    const auto launcher = how_.launchers.find(name);
    nodes_[name] = std::make_unique<real_node>(std::move(env), launcher == how_.launchers.end() ? std::vector<std::string>{} : launcher->second);
  }
}

real_cluster::~real_cluster() { stop_mail(); }

bool real_cluster::answers(const std::string& name) { return name != silent_ && node(name).running(); }

real_node& real_cluster::any() {
  for (auto& [name, n] : nodes_)
    if (answers(name)) return *n;
  throw peer_error("no node runs");
}

void real_cluster::freeze(const std::string& name) {
  silent_ = name;
  node(name).freeze();
}

void real_cluster::thaw(const std::string& name) {
  node(name).thaw();
  silent_.clear();
}

void real_cluster::start() {
  for (auto& [name, n] : nodes_) n->start();
  tenant_ = any().ask("POST", "/v1/tenants", ctl::json{{"name", "Acme"}, {"limits", {{"max_channels", 100'000}}}})["id"].get<std::string>();
  for (unsigned n = 0; n < how_.channels; ++n) {
    const ctl::json incoming{{"protocol", "imap"}, {"host", how_.mail_host}, {"port", server_.imaps_port()}, {"tls", "implicit"}};
    const ctl::json channel{{"name", fmt::format("channel {}", n)},
                            {"address", how_.user(n)},
                            {"incoming", incoming},
                            {"auth", {{"type", "basic"}, {"username", how_.user(n)}, {"password", how_.password}}},
                            {"start_from", "all"}};
    ids_.push_back(any().ask("POST", "/v1/tenants/" + tenant_ + "/channels", channel)["id"].get<std::string>());
  }
  if (!wait([this] { return all_served(); })) throw peer_error("not all channels are served: " + states() + logs());
}

// ---- mail ---------------------------------------------------------------------------------------------------------------------------------

void real_cluster::send(unsigned i) {
  // Spread by a prime: neighbours tend to be one node's, and mail that came to them in turn would miss a node for as long as an event lasts.
  const auto mailbox = static_cast<unsigned>(i * 2'654'435'761ULL % how_.channels);
  const auto raw = i % 50 == 0 ? corpus::message(7, i) : corpus::simple(fmt::format("message {}", i));
  {
    const std::lock_guard lock(guard_);
    sent_[peers::sha256_hex(raw)] = {system_clock::now(), mailbox};
  }
  server_.deliver(how_.user(mailbox), "INBOX", raw);
  ++delivered_;
}

void real_cluster::start_mail() {
  delivering_ = true;
  sender_ = std::thread([this] {
    auto next = clock::now();
    while (delivering_) {
      send(next_message_++);
      next += milliseconds(1000) / how_.rate;
      std::unique_lock lock(guard_);
      ended_.wait_until(lock, next, [this] { return !delivering_.load(); });  // the rate at which mail arrives
    }
  });
}

void real_cluster::stop_mail() {
  {
    const std::lock_guard lock(guard_);
    delivering_ = false;
  }
  ended_.notify_all();
  if (sender_.joinable()) sender_.join();
}

std::int64_t real_cluster::stored() { return std::stoll(sql("SELECT coalesce(sum(messages_stored), 0) FROM channel_status")); }

void real_cluster::settle(const std::string& what) {
  const auto so_far = delivered_.load();
  if (!wait([&] { return stored() >= so_far; })) throw peer_error(fmt::format("{}: {} of {} stored; {}{}", what, stored(), so_far, states(), logs()));
}

// ---- looking ------------------------------------------------------------------------------------------------------------------------------

bool real_cluster::all_owned() {
  return sql(fmt::format("SELECT count(*) FROM channel_status s JOIN channel_leases l USING (channel_id) {} AND s.state = 'active'", living)) ==
         std::to_string(how_.channels);
}

bool real_cluster::all_served() { return all_owned() && metric("mailherd_sessions") >= how_.channels; }

unsigned real_cluster::held_by(const std::string& name) {
  return static_cast<unsigned>(std::stoul(sql(fmt::format(
      "SELECT count(*) FROM channel_leases l JOIN incarnations i ON i.incarnation_id = l.owner WHERE i.node = '{}' AND i.ended IS NULL", name))));
}

std::vector<bool> real_cluster::mailboxes_of(const std::string& name) {
  std::vector<bool> out(how_.channels, false);
  pqxx::connection link(database_.superuser_url());
  pqxx::nontransaction work(link);
  std::map<std::int64_t, bool> theirs;
  for (const auto& row : work.exec(fmt::format("SELECT l.channel_id FROM channel_leases l {} AND i.node = '{}'", living, name)))
    theirs[row[0].as<std::int64_t>()] = true;
  for (unsigned n = 0; n < how_.channels; ++n) out[n] = theirs.contains(parse_id<channel_id>(ids_[n])->value);
  return out;
}

std::string real_cluster::states() {
  return sql(
      "SELECT string_agg(format('%s %s %s', channel_id, state, reason), '; ') FROM (SELECT * FROM channel_status WHERE state <> 'active' LIMIT 20) "
      "AS s");
}

std::string real_cluster::logs() {
  std::string all;
  for (auto& [name, n] : nodes_) all += "\n---- " + name + "\n" + peers::tail(n->log_file(), 2500);
  return all;
}

bool real_cluster::wait(const condition& so) {
  auto next = clock::now();
  return peers::wait_until(
      [&] {
        if (clock::now() < next) return false;
        next = clock::now() + how_.look_every;
        try {
          return so();
        } catch (const std::exception&) {
          return false;  // the database is restarting
        }
      },
      how_.patience);
}

double real_cluster::metric_of(const std::string& name, const std::string& series_name, const std::string& label) {
  return sum_of(node(name).metrics(), series_name, label);
}

double real_cluster::metric(const std::string& name, const std::string& label) {
  double sum = 0;
  for (auto& [node_name, n] : nodes_)
    if (answers(node_name)) sum += sum_of(n->metrics(), name, label);
  return sum;
}

double real_cluster::quantile(const std::string& histogram, double part) {
  std::map<double, double> below;  // cumulative, by upper bound
  for (auto& [node_name, n] : nodes_) {
    if (!answers(node_name)) continue;
    series(n->metrics(), histogram + "_bucket", [&](const std::string& line, double value) {
      const auto le = line.find("le=\"") + 4;
      const auto bound = line.substr(le, line.find('"', le) - le);
      below[bound == "+Inf" ? std::numeric_limits<double>::infinity() : std::stod(bound)] += value;
    });
  }
  if (below.empty()) return 0;
  const auto wanted = part * below.rbegin()->second;
  for (const auto& [bound, count] : below)
    if (count >= wanted) return bound;
  return 0;
}

real_cluster::database_load real_cluster::load_of(double renewals) {
  const auto calls = [this](const std::string& which) {
    return std::stod(
        sql("SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.userid "
            "WHERE d.datname = current_database() AND r.rolname <> 'postgres' AND " +
            which));
  };
  const auto renewed = [&] { return calls("query LIKE 'UPDATE incarnations SET renewed_at%'"); };
  sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
  sql("SELECT pg_stat_statements_reset()");
  const auto t0 = clock::now();
  if (!wait([&] { return renewed() >= renewals; })) throw peer_error("the nodes do not renew their leases" + logs());
  database_load out{renewed(), calls("true"), std::chrono::duration<double>(clock::now() - t0).count(), {}};
  out.most =
      sql("SELECT string_agg(format('  %s x %s', calls, left(regexp_replace(query, '\\s+', ' ', 'g'), 110)), E'\\n' ORDER BY calls DESC) FROM "
          "(SELECT calls, query "
          "FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid WHERE r.rolname <> 'postgres' ORDER BY calls DESC LIMIT 16) AS m");
  return out;
}

// ---- one event and what it cost -------------------------------------------------------------------------------------------------------------

double real_cluster::outcome::delay(double q) const {
  return delays.empty() ? std::numeric_limits<double>::infinity() : delays[static_cast<std::size_t>(q * static_cast<double>(delays.size() - 1))];
}

real_cluster::outcome real_cluster::event(const std::string& what, const std::function<void()>& happen, const condition& over,
                                          const std::function<bool(unsigned)>& of) {
  const auto began = system_clock::now();
  const auto t0 = clock::now();
  happen();
  if (!wait(over)) throw peer_error(what + ": " + states() + logs());
  outcome out;
  out.seconds = std::chrono::duration<double>(clock::now() - t0).count();
  settle(what);
  out.delays = delays_since(began, of);
  std::sort(out.delays.begin(), out.delays.end());
  fmt::print("{:34} over in {:5.1f} s; {:5} messages meanwhile, arrival to stored: p50 {:6.3f} s, p99 {:6.3f} s, longest {:6.3f} s\n", what,
             out.seconds, out.delays.size(), out.delay(0.5), out.delay(0.99), out.delay(1.0));
  std::fflush(stdout);
  return out;
}

std::vector<double> real_cluster::delays_since(system_clock::time_point began, const std::function<bool(unsigned)>& of) {
  std::vector<double> out;
  pqxx::connection link(database_.superuser_url());
  pqxx::nontransaction work(link);
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(began.time_since_epoch()).count();
  const std::lock_guard lock(guard_);
  // When its commit was visible: received_at is when its transaction began, and does not know of what that waited for.
  for (const auto& row : work.exec(fmt::format(
           "SELECT encode(digest, 'hex'), mailherd_us(pg_xact_commit_timestamp(xmin)) FROM messages WHERE received_at >= mailherd_time({})", us))) {
    const auto sent = sent_.find(row[0].c_str());
    if (sent == sent_.end() || sent->second.at < began || (of && !of(sent->second.mailbox))) continue;
    out.push_back(static_cast<double>(row[1].as<std::int64_t>()) / 1e6 - std::chrono::duration<double>(sent->second.at.time_since_epoch()).count());
  }
  return out;
}

// ---- the end ------------------------------------------------------------------------------------------------------------------------------

real_cluster::comparison real_cluster::compare() {
  const bool more_to_come = delivering_;
  stop_mail();
  settle("the comparison");
  const auto out = compare_now();
  if (more_to_come) start_mail();
  return out;
}

real_cluster::comparison real_cluster::compare_now() {
  comparison out;
  std::map<std::int64_t, std::vector<std::string>> here;
  for (auto& b : any().bodies(*parse_id<tenant_id>(tenant_))) here[b.channel].push_back(std::move(b.sha256));  // throws if a sequence has a gap
  for (unsigned n = 0; n < how_.channels; ++n) {
    auto& mine = here[parse_id<channel_id>(ids_[n])->value];
    std::vector<std::string> theirs;
    for (auto& m : server_.messages(how_.user(n))) theirs.push_back(std::move(m.sha256));
    if (mine == theirs) continue;
    if (out.first.empty()) out.first = fmt::format("{}: {} stored, {} in the mailbox", how_.user(n), mine.size(), theirs.size());
    std::vector<std::string> missing, more;
    std::sort(mine.begin(), mine.end());
    std::sort(theirs.begin(), theirs.end());
    std::set_difference(theirs.begin(), theirs.end(), mine.begin(), mine.end(), std::back_inserter(missing));
    std::set_difference(mine.begin(), mine.end(), theirs.begin(), theirs.end(), std::back_inserter(more));
    out.lost += missing.size();
    out.doubled += more.size();
    if (missing.empty() && more.empty()) ++out.out_of_order;
  }
  return out;
}

}  // namespace mailherd::test
