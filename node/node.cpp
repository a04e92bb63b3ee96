// node/node: begins from below (directory, database, network) to above (API, herd) and ends the other way round; see the header.
#include "node/node.hpp"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <random>
#include <thread>

#include "actors/herd.hpp"
#include "api/background.hpp"
#include "api/server.hpp"
#include "api/webhook_words.hpp"
#include "core/limits.hpp"
#include "node/data_dir.hpp"
#include "node/hub.hpp"
#include "node/stop_signals.hpp"
#include "node/telemetry.hpp"
#include "node/version.hpp"
#include "storage/embedded.hpp"
#include "storage/keyring.hpp"
#include "storage/postgres.hpp"
#include "transport/kafka.hpp"
#include "transport/network.hpp"

namespace mailherd::node {

namespace {

using actors::log_level;

/// An error of a part, with the setting that is to blame before it and what to do behind it.
tl::unexpected<error> blame(const config& c, std::string_view setting, error e, std::string_view mend = {}) {
  e.detail = fmt::format("{}: {}{}{}", c.where(setting), e.detail, mend.empty() ? "" : ": ", mend);
  return fail(std::move(e));
}

std::uint64_t random_bits() {
  thread_local std::mt19937_64 engine{(std::uint64_t{std::random_device{}()} << 32) ^ std::random_device{}()};
  return engine();
}

unsigned threads(unsigned wanted) { return wanted > 0 ? wanted : std::max(1u, std::thread::hardware_concurrency() / 2); }

/// Ten thousand channels are ten thousand sockets; and what is in this program's memory must not end in a core file (invariant 6).
void prepare_process() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  prctl(PR_SET_DUMPABLE, 0);
}

result<data_dir> open_directory(const config& c) {
  auto opened = data_dir::open(c.data_dir);
  if (!opened)
    return blame(c, "data_dir", opened.error(), opened.error().code == failure::conflict ? "stop it or choose another directory" : "");
  return opened;
}

result<std::unique_ptr<store::embedded_server>> start_own_database(const config& c, const data_dir& directory,
                                                                   std::function<void(const std::string&)> on_event) {
  store::embedded_server::options o;
  o.data_dir = directory.path();
  o.max_connections = std::max(40u, c.storage_workers + 16);
  o.on_event = std::move(on_event);
  auto started = store::embedded_server::start(std::move(o));
  if (!started) return blame(c, "data_dir", started.error());
  return started;
}

class running_node {
 public:
  running_node(const config& c, telemetry& report, stop_signals& signals) : c_(c), report_(report), signals_(signals) {}
  ~running_node() { end(); }
  running_node(const running_node&) = delete;
  running_node& operator=(const running_node&) = delete;

  result<void> start();
  void serve();
  /// True if the herd ended in order.
  bool stop();

 private:
  result<void> take_tokens();
  result<void> take_keys();
  result<void> start_database();
  result<void> start_network();
  result<void> open_store();
  result<void> start_api();
  result<void> prepare_database();
  void start_herd();
  void read_gauges();
  void sweep();
  void end();

  const config& c_;
  telemetry& report_;
  stop_signals& signals_;
  // In the order of their beginning; `end` goes the other way.
  hub hub_;
  std::optional<data_dir> directory_;
  std::vector<secret<>> tokens_;
  std::shared_ptr<const store::keyring> keys_;
  std::string keys_from_;   // for error lines
  std::unique_ptr<net::network> network_;
  std::unique_ptr<net::sink_router> sinks_;   ///< webhooks and Kafka
  std::unique_ptr<store::embedded_server> database_;
  std::string url_;
  std::unique_ptr<store::executor> store_;
  std::unique_ptr<api::server> api_;
  std::unique_ptr<api::background> workshop_;   ///< takes mail apart for webhooks
  std::unique_ptr<actors::herd> herd_;
};

result<void> running_node::start() {
  report_.log(log_level::info, "node starts", {{"version", std::string(version())}, {"node", c_.node_name}});
  if (!c_.warning.empty()) report_.log(log_level::warning, c_.warning, {});
  for (const auto step : {&running_node::take_tokens, &running_node::take_keys, &running_node::start_network, &running_node::start_database,
                          &running_node::open_store, &running_node::start_api, &running_node::prepare_database}) {
    if (signals_.asked()) return {};
    if (auto done = (this->*step)(); !done) return done;
  }
  if (!signals_.asked()) start_herd();
  return {};
}

// With a database of its own the node is on its own and may make what it needs; in a cluster all nodes must be given the same.
result<void> running_node::take_tokens() {
  if (c_.database_url.empty()) {
    auto opened = open_directory(c_);
    if (!opened) return fail(opened.error());
    directory_.emplace(std::move(*opened));
  }
  tokens_ = c_.admin_tokens;
  if (!tokens_.empty()) return {};
  if (!directory_)
    return fail(failure::invalid_input,
                "admin_token is missing: with database_url set MAILHERD_ADMIN_TOKEN or MAILHERD_ADMIN_TOKEN_FILE as well "
                "(make one with: openssl rand -hex 32)");
  const auto file = (directory_->path() / data_dir::token_file).string();
  auto held = directory_->secret_in(data_dir::token_file, random_token);
  if (!held) return blame(c_, "data_dir", held.error());
  auto parsed = parse_tokens(held->value.reveal());
  if (!parsed) return fail(failure::invalid_input, fmt::format("{}: {}", file, parsed.error().detail));
  tokens_ = std::move(*parsed);
  report_.log(log_level::info, held->made ? "node made an operator token" : "node uses its operator token", {{"file", file}});
  return {};
}

result<void> running_node::take_keys() {
  auto text = c_.master_key;
  keys_from_ = c_.where("master_key");
  if (text.empty()) {
    if (!directory_)
      return fail(failure::invalid_input,
                  "master_key is missing: with database_url set MAILHERD_MASTER_KEY or MAILHERD_MASTER_KEY_FILE as well "
                  "(make one with: mailherd keys generate)");
    auto held = directory_->secret_in(data_dir::key_file, store::keyring::generate);
    if (!held) return blame(c_, "data_dir", held.error());
    keys_from_ = (directory_->path() / data_dir::key_file).string();
    if (held->made) report_.log(log_level::info, "node made a master key: keep a copy of it", {{"file", keys_from_}});
    text = std::move(held->value);
  }
  auto ring = store::keyring::parse(text);
  if (!ring) return fail(failure::invalid_input, fmt::format("{}: {}", keys_from_, ring.error().detail));
  keys_ = std::move(*ring);
  return {};
}

result<void> running_node::start_network() {
  net::network_options o;
  o.reactors = threads(c_.network_threads);
  o.policy = *net::target_policy::parse(c_.private_targets);   // tried by config
  o.ca_file = c_.ca_file;
  o.bind_address = c_.bind_address;
  auto made = net::network::create(std::move(o));
  if (!made) return blame(c_, c_.ca_file.empty() ? "bind_address" : "ca_file", made.error());
  network_ = std::move(*made);
  std::unique_ptr<net::http_client> kafka;
  if (!c_.kafka_config.empty()) {
    auto client = net::kafka_client::create(*net::kafka_client::parse(c_.kafka_config));   // its form was tried by config
    if (!client) return blame(c_, "kafka_config_file", client.error());
    kafka = std::move(*client);
  }
  sinks_ = std::make_unique<net::sink_router>(network_->webhooks(), std::move(kafka));
  return {};
}

result<void> running_node::start_database() {
  url_ = c_.database_url.reveal();
  if (!url_.empty()) return {};
  auto started = start_own_database(c_, *directory_, [&report = report_](const std::string& what) {
    report.log(log_level::info, "database reports", {{"event", what}});
  });
  if (!started) return fail(started.error());
  database_ = std::move(*started);
  url_ = database_->url();
  signals_.at_once([this] { database_->stop(); });
  return {};
}

result<void> running_node::open_store() {
  store::postgres::options o;
  o.url = url_;
  o.workers = c_.storage_workers;
  o.keys = keys_;
  o.retention_days = c_.retention_days;
  o.on_feed = [this](tenant_id tenant) { hub_.feed(tenant); };
  o.on_channel_changed = [this](tenant_id tenant, channel_id channel) {
    hub_.changed(tenant, channel);
    hub_.watched(tenant, channel);
  };
  o.on_state = [this](tenant_id tenant, channel_id channel) { hub_.watched(tenant, channel); };
  auto opened = store::postgres::open(std::move(o));
  if (!opened) return blame(c_, "database_url", opened.error());
  store_ = std::move(*opened);
  return {};
}

// Before the database is known to be there: a node that waits for it is alive, and says so at /healthz.
result<void> running_node::start_api() {
  api::options o;
  o.listen = c_.listen;
  o.metrics_listen = c_.metrics_listen;
  o.operator_tokens = tokens_;
  o.public_url = c_.public_url;
  o.version = std::string(version());
  o.kafka = !c_.kafka_config.empty();
  o.allow_plaintext = c_.allow_plaintext;
  o.log = [&report = report_](const std::string& what) { report.log(log_level::error, "API met a defect", {{"what", what}}); };
  auto started = api::server::start(std::move(o), *store_, hub_, [&report = report_] { return report.text(); });
  if (!started) {
    const bool metrics =
        c_.metrics_listen != c_.listen && started.error().detail.find(c_.metrics_listen) != std::string::npos && !c_.metrics_listen.empty();
    const bool taken = started.error().code == failure::conflict;
    return blame(c_, metrics ? "metrics_listen" : "listen", started.error(), taken ? "end that program or choose another address" : "");
  }
  api_ = std::move(*started);
  hub_.attach(api_.get());
  const auto at = [](const std::string& address, std::uint16_t port) {
    return fmt::format("http://{}:{}", address.substr(0, address.rfind(':')), port);
  };
  report_.log(log_level::info, "node listens",
              {{"api", at(c_.listen, api_->port())},
               {"metrics", api_->metrics_port() != 0 ? at(c_.metrics_listen, api_->metrics_port()) : "none"}});
  return {};
}

result<void> running_node::prepare_database() {
  for (bool told = false;; told = true) {
    auto done = store::postgres::migrate(url_);
    if (done) done = store::postgres::check_keys(url_, *keys_);
    if (done) return {};
    if (done.error().code == failure::seal_failed)
      return fail(failure::seal_failed,
                  fmt::format("{}: {}: give the keys that this database was first used with", keys_from_, done.error().detail));
    if (done.error().code != failure::store_unavailable) return blame(c_, "database_url", done.error());
    report_.log(told ? log_level::debug : log_level::warning, "node waits for its database and tries again",
                {{"reason", done.error().detail}, {"every", fmt::format("{}s", limits::database_retry.count())}});
    if (signals_.wait_until(mono_clock::now() + limits::database_retry)) return {};
  }
}

void running_node::start_herd() {
  actors::environment env;
  env.options.node_name = c_.node_name;
  env.options.version = std::string(version());
  env.options.lease_ttl = c_.lease_ttl;
  env.options.poll_interval = c_.poll_interval;
  env.options.allow_plaintext = c_.allow_plaintext;
  env.options.max_channels = c_.max_channels;
  env.options.logins_per_host = c_.logins_per_host;
  env.options.logins_per_node = c_.logins_per_node;
  for (std::size_t i = 0; i < network_->reactors(); ++i) env.reactors.push_back(&network_->at(i));
  env.dialer = &network_->dial();
  env.http = &network_->http();
  env.webhooks = sinks_.get();
  const auto base = c_.public_url.empty() ? fmt::format("http://{}:{}", c_.listen.substr(0, c_.listen.rfind(':')), api_->port()) : c_.public_url;
  const auto words = std::make_shared<const api::webhook_words>(base);
  env.words.message = [words](auto& db, const auto& spec, const auto& m) { return words->message(db, spec, m); };
  env.words.state = [words](auto& db, tenant_id tenant, const auto& e) { return words->state(db, tenant, e); };
  env.words.test = [words](const auto& key, const auto& d, wall_time now) { return words->test(key, d, now); };
  workshop_ = std::make_unique<api::background>(limits::webhook_loads);
  env.workshop = [shop = workshop_.get()](std::function<void()> work) { return shop->submit(std::move(work)); };
  env.store = store_.get();
  env.report = &report_;
  env.budget = std::make_shared<actors::fetch_budget>(limits::fetch_budget_bytes);
  env.wall_now = [] { return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()); };
  env.random = random_bits;
  herd_ = actors::herd::start(std::move(env), threads(c_.actor_threads));
  hub_.attach(herd_.get());
}

void running_node::serve() {
  auto next_gauges = mono_clock::now(), next_sweep = next_gauges;
  while (!signals_.wait_until(std::min(next_gauges, next_sweep))) {
    const auto now = mono_clock::now();
    if (now >= next_gauges) {
      read_gauges();
      next_gauges = now + limits::gauges_interval;
    }
    if (now >= next_sweep) {
      sweep();
      // Three quarters to five quarters of an hour: the nodes of a cluster do not all come at once.
      next_sweep = now + limits::sweep_interval * 3 / 4 + milliseconds(random_bits() % milliseconds(limits::sweep_interval / 2).count());
    }
  }
}

void running_node::read_gauges() {
  store_->submit(deadline::after(mono_clock::now(), limits::gauges_interval), [&report = report_, node = c_.node_name](result<store::session*> s) {
    if (!s) return;   // the database is away: what was read last stands
    if (const auto read = (*s)->admin.gauges_of(node)) report.set_gauges(read->channels, read->apps);
  });
}

void running_node::sweep() {
  store_->submit(deadline::after(mono_clock::now(), limits::commit_deadline), [&report = report_](result<store::session*> s) {
    const auto done = s ? (*s)->mail.sweep() : fail(s.error());
    if (!done)
      report.log(log_level::warning, "node could not sweep its database and tries again later", {{"reason", describe(done.error())}});
  });
}

bool running_node::stop() {
  report_.log(log_level::info, "node stops", {});
  const bool orderly =
      herd_ == nullptr || herd_->stop(c_.stop_grace);   // from here on /readyz says no; readers of the feed are still served
  report_.log(log_level::debug, "node has handed over its channels", {});
  end();
  return orderly;
}

void running_node::end() {
  if (api_) {
    api_->stop();
    report_.log(log_level::debug, "node has closed its API", {});
  }
  hub_.attach(static_cast<api::server*>(nullptr));
  hub_.attach(static_cast<actors::herd*>(nullptr));
  herd_.reset();
  workshop_.reset();   // ends after the message under way
  sinks_.reset();
  network_.reset();
  store_.reset();
  api_.reset();   // after the store: jobs of the API may be left in it until then
  if (database_) {
    database_->stop();
    signals_.at_once({});
    database_.reset();
  }
}

}  // namespace

result<void> run(const config& c) {
  prepare_process();
  stop_signals signals(c.stop_grace + limits::stop_rest);
  telemetry report(std::string(version()), {c.json_logs, c.log_level, nullptr});
  bool orderly = true;
  {
    running_node node(c, report, signals);
    if (auto started = node.start(); !started) return started;
    node.serve();
    orderly = node.stop();
  }
  report.log(log_level::info, "node has stopped", {});
  report.close_log();
  if (!orderly) return fail(failure::internal, "the node had to end some of its parts: the log names them");
  return {};
}

result<void> migrate(const config& c) {
  if (c.database_url.empty())
    return fail(failure::invalid_input, "database_url is missing: set MAILHERD_DATABASE_URL (a node migrates its own database by itself)");
  auto done = store::postgres::migrate(c.database_url.reveal());
  if (!done) return blame(c, "database_url", done.error());
  return {};
}

result<std::size_t> rotate_keys(const config& c) {
  std::optional<data_dir> directory;
  std::unique_ptr<store::embedded_server> own;
  auto url = c.database_url.reveal();
  auto text = c.master_key;
  if (url.empty()) {
    const auto file = c.data_dir / data_dir::key_file;
    if (!std::filesystem::exists(file))
      return fail(failure::invalid_input, fmt::format("database_url is missing, and {} does not exist: set MAILHERD_DATABASE_URL or "
                                                      "MAILHERD_DATA_DIR", file.string()));
    auto opened = open_directory(c);
    if (!opened) return fail(opened.error());
    directory.emplace(std::move(*opened));
    if (text.empty()) {
      auto held = directory->secret_in(data_dir::key_file, store::keyring::generate);
      if (!held) return blame(c, "data_dir", held.error());
      text = std::move(held->value);
    }
    auto started = start_own_database(c, *directory, {});
    if (!started) return fail(started.error());
    own = std::move(*started);
    url = own->url();
  }
  if (text.empty())
    return fail(failure::invalid_input,
                "master_key is missing: set MAILHERD_MASTER_KEY_FILE to the keys that the nodes have, the new one first");
  const auto keys = store::keyring::parse(text);
  if (!keys) return blame(c, "master_key", keys.error());
  auto sealed = store::postgres::reseal(url, **keys);
  if (!sealed) return blame(c, sealed.error().code == failure::seal_failed ? "master_key" : "database_url", sealed.error());
  return sealed;
}

}  // namespace mailherd::node
