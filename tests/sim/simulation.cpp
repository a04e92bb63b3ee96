#include "tests/sim/simulation.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace mailherd::sim {

namespace {
constexpr tenant_id the_tenant{1};
constexpr app_id the_app{3};
/// After the last fault: a lease, and the longest pause between two tries of a mail server that was away.
constexpr seconds bound{15 + 330};

std::string folder_of(channel_id c) { return "F" + std::to_string(c.value); }

oauth_app app() {
  oauth_app a;
  a.id = the_app;
  a.tenant = the_tenant;
  a.client_id = "client";
  a.client_secret = secret<>("app-secret");
  a.token_url = "https://idp.test/token";
  return a;
}
}  // namespace

simulation::simulation(std::uint64_t seed, faults odds) : seed_(seed), odds_(odds), rng_(seed), rows_(mail_, [this] { return now_; }) {
  world_.now = [this] { return now_; };
  mail_.clock = world_.now;
  world_.wall = [this] {
    return wall_time{std::chrono::hours(24 * 365 * 50) + std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch())};
  };
  world_.random = [this] { return rng_(); };
  world_.latency = [this] { return up_to(2) == 0 ? duration::zero() : duration(milliseconds(up_to(60))); };
  world_.imap = &imap_;
  world_.mail = &mail_;
  world_.idp = &idp_;
  world_.report = &report_;
  world_.app = [](const store::caller&, tenant_id, app_id) -> result<oauth_app> { return app(); };
  world_.speaks = [this](const std::string* node) { speaking_ = node; };
  // Tokens live for ten minutes; a refresh token is replaced with every use, and the former one stays good until then.
  idp_.answer = [this](const net::http_request&) -> std::optional<result<net::http_reply>> {
    const auto token = fmt::format("t{}", ++tokens_);
    imap_.tokens.insert(token);
    return net::http_reply{
        200, {}, fmt::format(R"({{"access_token":"{}","token_type":"Bearer","expires_in":600,"refresh_token":"r{}"}})", token, tokens_)};
  };
  if (up_to(4) == 0) imap_.sessions_at_most = odds_.channels;  // break before make
  make_channels();
  hook_store();
  rows_.on_notify = [this] { notify(); };
}

simulation::~simulation() {
  lossy_ = false;
  mail_.fault = {};
  mail_.refuse = {};
  mail_.lose_answer = {};
  rows_.on_notify = {};
  nodes_.clear();
}

void simulation::make_channels() {
  for (unsigned c = 1; c <= odds_.channels; ++c) {
    const id channel{static_cast<std::int64_t>(c)};
    auto& load = mail_.add(the_tenant, channel).load;
    load.record.created_at = world_.wall();
    load.record.spec.incoming.host = "mail.test";
    load.record.spec.incoming.folder = folder_of(channel);
    load.record.spec.address = "joe@acme.test";
    load.record.spec.start.from = start_point::kind::all;
    load.credential.username = "joe";
    load.credential.password = secret<>("secret");
    if (c % 3 == 0) {
      load.record.auth = auth_type::oauth2;
      load.record.has_grant = true;
      load.credential = {};
      load.credential.type = auth_type::oauth2;
      load.credential.app = the_app;
      load.credential.account = "joe@acme.test";
      load.credential.refresh_token = secret<>("r0");
      load.app = app();
    }
    load.serving = load.credential;
    mail_.channels.at(channel).epoch = 0;
    imap_.folders[folder_of(channel)] = {};
    rows_.add(the_tenant, channel);
  }
}

void simulation::hook_store() {
  mail_.fault = [this](std::string_view) -> std::optional<failure> {
    return lossy_ && likely(odds_.store_call_fails) ? std::optional(failure::store_unavailable) : std::nullopt;
  };
  mail_.refuse = [this](const std::vector<store::commit_unit>& units) {
    for (const auto& u : units) check_writer(u);
    return false;
  };
}

void simulation::note(const std::string& what) {
  story_.push_back(fmt::format("{:9.3f}  {}", std::chrono::duration<double>(now_.time_since_epoch()).count(), what));
  for (const char c : story_.back()) trace_ = (trace_ ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
}

std::string simulation::story() const {
  std::string all = fmt::format("SIM_SEED={}\n", seed_);
  for (const auto& l : story_) all += l + "\n";
  for (const auto& l : report_.lines) all += "  log: " + l + "\n";
  return all;
}

void simulation::wrong(std::string what) {
  note("WRONG: " + what);
  findings_.push_back(std::move(what));
}

// ---- time ---------------------------------------------------------------------------------------------------------------------------------

void simulation::settle() {
  for (bool more = true; more;) {
    more = false;
    for (std::size_t i = 0; i < nodes_.size(); ++i) more = nodes_[i]->run() || more;
  }
}

void simulation::advance(duration by) {
  const auto until = now_ + by;
  settle();
  while (true) {
    auto next = until;
    for (auto& n : nodes_)
      if (const auto t = n->next_timer()) next = std::min(next, *t);
    for (const auto& [at, what] : later_) next = std::min(next, at);
    now_ = std::max(now_, next);
    for (auto& n : nodes_) n->fire_timers();
    for (std::size_t i = 0; i < later_.size();) {
      if (later_[i].first > now_) {
        ++i;
        continue;
      }
      auto what = std::move(later_[i].second);
      later_.erase(later_.begin() + static_cast<std::ptrdiff_t>(i));
      what();
    }
    settle();
    if (now_ >= until) return;
  }
}

// ---- the world ----------------------------------------------------------------------------------------------------------------------------

/// As LISTEN/NOTIFY: it wakes, it may be lost, it may come twice; and a node that is cut off from the database hears nothing.
void simulation::notify() {
  for (auto& n : nodes_) {
    if (n->over() || !n->store.up || (lossy_ && likely(odds_.lost_notification))) continue;
    n->wake();
    if (lossy_ && likely(odds_.doubled_notification)) n->wake();
  }
}

void simulation::deliver(id channel, unsigned n) {
  for (unsigned i = 0; i < n; ++i) {
    const auto raw = test::mail(fmt::format("c{}-{}", channel.value, ++mails_), up_to(30) == 0 ? 1'100'000 + up_to(200'000) : up_to(600));
    delivered_[channel].push_back(raw);
    imap_.add(raw, world_.wall(), folder_of(channel));
  }
}

sim_node& simulation::start(const std::string& name) {
  note("start " + name);
  nodes_.push_back(std::make_unique<sim_node>(name, world_));
  settle();
  return *nodes_.back();
}

/// A StatefulSet: of each name there is one.
void simulation::revive(const std::string& name) {
  const bool there = std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& n) { return n->name == name && !n->over(); });
  if (!there) start(name);
}

sim_node* simulation::some_node() {
  std::vector<sim_node*> alive;
  for (auto& n : nodes_)
    if (!n->over() && !n->frozen) alive.push_back(n.get());
  return alive.empty() ? nullptr : alive[up_to(static_cast<unsigned>(alive.size()))];
}

// ---- faults -------------------------------------------------------------------------------------------------------------------------------

void simulation::run() {
  for (unsigned n = 0; n < odds_.nodes; ++n) {
    start(fmt::format("n{}", n));
    if (up_to(2) == 0) advance(milliseconds(up_to(3'000)));
  }
  for (unsigned step = 0; step < odds_.steps && findings_.empty(); ++step) {
    for (unsigned c = 1; c <= odds_.channels; ++c)
      if (up_to(3) == 0) deliver(id{static_cast<std::int64_t>(c)}, 1 + up_to(3));
    something();
    advance(milliseconds(up_to(5) == 0 ? up_to(20'000) : up_to(1'500)));
  }
  heal();
  check_served();
  check_mail();
}

void simulation::something() {
  auto roll = static_cast<unsigned>(rng_() % 1000);
  const auto is = [&](unsigned of_a_thousand) {
    if (roll < of_a_thousand) return true;
    roll -= of_a_thousand;
    return false;
  };
  auto* node = some_node();
  if (!node) return;
  const auto while_it_lasts = [&](unsigned most) { return duration(milliseconds(200 + up_to(most))); };
  if (is(odds_.crash)) return crash_one();
  if (is(odds_.freeze)) return freeze_one();
  if (is(odds_.graceful_restart)) return restart(node->name);
  if (is(odds_.drain)) return note("drain " + node->name), rows_.drain(node->name), restart(node->name);
  if (is(odds_.rolling_restart)) {
    for (unsigned n = 0; n < odds_.nodes; ++n) restart(fmt::format("n{}", n)), advance(seconds(8 + up_to(10)));
    return;
  }
  if (is(odds_.no_database))
    return note("no database for " + node->name), for_a_while(while_it_lasts(40'000), [node](bool on) { node->store.up = !on; });
  if (is(odds_.slow_database))
    return note("slow database for " + node->name), for_a_while(while_it_lasts(6'000), [node](bool on) { node->store.held = on; });
  if (is(odds_.lost_answer)) {
    mail_.lose_answer = [this] { return mail_.lose_answer = {}, true; };
    return note("an answer is lost");
  }
  if (is(odds_.database_restart))
    return note("database restarts"), for_a_while(while_it_lasts(8'000), [this](bool on) {
             for (auto& n : nodes_) n->store.up = !on && !n->over();
           });
  if (is(odds_.no_mail_server)) {
    note("no mail server for " + node->name);
    node->net.break_all();
    return for_a_while(while_it_lasts(30'000), [node](bool on) {
      node->net.refuse = {};
      if (on) node->net.refuse = [](const net::target&) { return std::optional(error{failure::connect_failed, "cut off", {}}); };
    });
  }
  if (is(odds_.broken_connections)) return note("connections break at " + node->name), node->net.break_all();
  if (is(odds_.move)) {
    const id channel{1 + static_cast<std::int64_t>(up_to(odds_.channels))};
    note(fmt::format("move c{} to {}", channel.value, node->name));
    rows_.move(channel, node->name);
    if (up_to(4) == 0) new_credential();
    return;
  }
  if (is(odds_.new_credential)) return new_credential();
  if (is(odds_.clock_jump)) {
    note("clock of " + node->name + " jumps");
    node->clock_error += milliseconds(static_cast<int>(up_to(240'000)) - 120'000);
  }
}

void simulation::for_a_while(duration how_long, const std::function<void(bool)>& what) {
  what(true);
  later_.emplace_back(now_ + how_long, [what] { what(false); });
}

void simulation::crash_one() {
  auto* node = some_node();
  note("crash " + node->name);
  node->crash(up_to(2) == 0);
  later_.emplace_back(now_ + milliseconds(up_to(40'000)), [this, name = node->name] { revive(name); });
}

/// SIGSTOP, and SIGCONT long after its lease is over, or soon.
void simulation::freeze_one() {
  auto* node = some_node();
  note("freeze " + node->name);
  node->frozen = true;
  later_.emplace_back(now_ + milliseconds(500 + up_to(60'000)), [this, node] {
    if (node->over()) return;
    note("thaw " + node->name);
    node->frozen = false;
  });
}

void simulation::restart(const std::string& name) {
  for (auto& n : nodes_) {
    if (n->name != name || n->over() || n->frozen) continue;
    note("stop " + name);
    n->stop(seconds(25));
    later_.emplace_back(now_ + seconds(27) + milliseconds(up_to(20'000)), [this, node = n.get()] {
      node->crash(true);  // whatever is left of it
      revive(node->name);
    });
    return;
  }
}

void simulation::new_credential() {
  const id channel{1 + static_cast<std::int64_t>(up_to(odds_.channels))};
  auto& load = mail_.channels.at(channel).load;
  note(fmt::format("new credential for c{}", channel.value));
  if (load.record.observed_generation != load.record.generation && load.record.observed_generation != 0) return;  // one at a time: rows keep two
  load.serving = load.credential;
  load.record.generation += 1;
  load.record.switching = switch_state::running;
  if (load.credential.type == auth_type::basic) {
    load.credential.username = load.credential.username == "joe" ? "joe2" : "joe";
    imap_.passwords[load.credential.username] = "secret";
  } else {
    load.credential.refresh_token = secret<>("r0");
  }
  rows_.changed(channel);
}

void simulation::heal() {
  note("all heals");
  lossy_ = false;
  mail_.lose_answer = {};
  advance(seconds(70));  // the faults under way end, nodes that are to come back are back
  for (auto& n : nodes_) {
    n->frozen = false;
    n->net.refuse = {};
    n->store.held = false;
    n->store.up = !n->over();
  }
  std::set<std::string> there;
  for (auto& n : nodes_)
    if (!n->over()) there.insert(n->name);
  for (unsigned n = 0; n < odds_.nodes; ++n)
    if (const auto name = fmt::format("n{}", n); !there.contains(name)) start(name);
  for (unsigned c = 1; c <= odds_.channels; ++c) deliver(id{static_cast<std::int64_t>(c)}, 1);
  advance(bound);
}

// ---- checkers -----------------------------------------------------------------------------------------------------------------------------

/// A write that will take effect: its epoch is the channel's, and nobody else ever wrote under that epoch.
void simulation::check_writer(const store::commit_unit& unit) {
  const auto& g = unit.guard;
  if (mail_.channels.at(g.channel).epoch != g.epoch) return;  // fenced
  const auto who = speaking_ ? *speaking_ : "nobody";
  const auto [at, fresh] = writers_.try_emplace({g.channel, g.epoch}, who);
  if (at->second != who) wrong(fmt::format("{} and {} both write for c{} under epoch {}", at->second, who, g.channel.value, g.epoch));
  const auto& lease = rows_.leases.at(g.channel);
  if (lease.owner && rows_.lives.at(*lease.owner).node != who) wrong(fmt::format("{} writes for c{}, which is not its own", who, g.channel.value));
}

void simulation::check_served() {
  for (const auto& [channel, lease] : rows_.leases) {
    if (rows_.owner_of(channel).empty()) wrong(fmt::format("c{} has no owner", channel.value));
    if (!lease.wanted.empty()) wrong(fmt::format("c{} is still wanted by {}", channel.value, lease.wanted));
    const auto& r = mail_.channels.at(channel).load.record;
    if (r.state != channel_state::active) wrong(fmt::format("c{} is {}: {}", channel.value, to_string(r.state), r.state_reason));
    if (r.observed_generation != r.generation)
      wrong(fmt::format("c{} serves with generation {} of {}", channel.value, r.observed_generation, r.generation));
  }
  if (imap_.selected() != rows_.leases.size()) wrong(fmt::format("{} mailboxes are open for {} channels", imap_.selected(), rows_.leases.size()));
}

void simulation::check_mail() {
  for (const auto& [channel, all] : delivered_) {
    std::map<std::string_view, unsigned> copies;
    std::int64_t sequence = 0;
    for (const auto& m : mail_.channels.at(channel).messages) {
      ++copies[m.raw];
      if (m.sequence != ++sequence) wrong(fmt::format("c{}: sequence {} where {} was due", channel.value, m.sequence, sequence));
    }
    for (const auto& raw : all)
      if (copies[raw] != 1) wrong(fmt::format("c{}: stored {} times: {}", channel.value, copies[raw], raw.substr(raw.find("Subject"), 24)));
    if (copies.size() != all.size()) wrong(fmt::format("c{}: {} messages stored of {}", channel.value, copies.size(), all.size()));
  }
}

}  // namespace mailherd::sim
