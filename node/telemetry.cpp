// node/telemetry: counters made once, with every label known beforehand, so that counting needs no lookup; see the header.
#include "node/telemetry.hpp"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <sstream>
#include <unordered_map>

#include "core/limits.hpp"
#include "node/process_metrics.hpp"

namespace mailherd::node {

namespace {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;
using labels = std::map<std::string, std::string>;
template <class T>
using family = prometheus::Family<T>;

constexpr std::array protocols{protocol_kind::imap, protocol_kind::pop3};
constexpr std::array tls_modes{tls_mode::implicit, tls_mode::starttls, tls_mode::none};
constexpr std::array auth_types{auth_type::basic, auth_type::oauth2};
constexpr std::array providers{provider_kind::microsoft, provider_kind::google, provider_kind::custom};
constexpr std::array results{"failed", "ok"};   // by bool
constexpr auto reasons = static_cast<std::size_t>(failure::internal) + 1;
/// What the engines call their mechanisms; "password" and "token" where a login failed before one was chosen.
constexpr std::array<std::string_view, 9> mechanisms{"PLAIN", "LOGIN", "XOAUTH2",  "OAUTHBEARER", "SCRAM-SHA-256",
                                                     "APOP",  "USER",  "password", "token"};

constexpr std::array<std::string_view, 3> handover_reasons{"drain", "move", "rebalance"};

/// From a millisecond to an hour.
const Histogram::BucketBoundaries short_times{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
const Histogram::BucketBoundaries long_times{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3'600};

template <class Enum>
std::size_t index(Enum e) {
  return static_cast<std::size_t>(e);
}

template <class Enum>
std::string name(Enum e) {
  return std::string(to_string(e));
}

double now() { return std::chrono::duration<double>(mono_clock::now().time_since_epoch()).count(); }

}  // namespace

struct telemetry::parts {
  parts(std::string version, log::options how);

  family<Counter>& counters(const char* what, const char* help) {
    return prometheus::BuildCounter().Name(std::string("mailherd_") + what).Help(help).Register(registry);
  }
  family<Gauge>& gauges(const char* what, const char* help) {
    return prometheus::BuildGauge().Name(std::string("mailherd_") + what).Help(help).Register(registry);
  }
  Histogram& histogram(const char* what, const char* help, const Histogram::BucketBoundaries& buckets) {
    return prometheus::BuildHistogram().Name(std::string("mailherd_") + what).Help(help).Register(registry).Add({}, buckets);
  }
  void add_by_session();
  void add_by_login();

  struct of_tenant {
    Counter* messages;
    Counter* bytes;
  };
  of_tenant& tenant(tenant_id id, protocol_kind protocol);

  prometheus::Registry registry;
  node::log lines;

  family<Counter>& messages_stored = counters("messages_stored_total", "Messages stored");
  family<Counter>& message_bytes = counters("message_bytes_total", "Bytes of messages stored");
  Histogram& lag = histogram("fetch_lag_seconds", "From the server's internal date to stored, without first backfills", long_times);
  Counter& duplicates = counters("duplicates_suppressed_total", "Messages offered again and not stored again").Add({});
  Histogram& refresh_seconds = histogram("token_refresh_seconds", "One request to a token endpoint", short_times);
  Histogram& switch_gap =
      histogram("auth_switch_gap_seconds", "Time without a session while credentials, token or connection changed", long_times);
  Gauge& leases_owned = gauges("leases_owned", "Channels of this node").Add({});
  Gauge& lease_age = gauges("lease_renew_age_seconds", "Since this node's lease was last renewed").Add({});
  Counter& fenced = counters("fenced_writes_total", "Writes refused because their lease was over").Add({});
  Histogram& commit_seconds = histogram("store_commit_seconds", "One transaction of the storage gate", short_times);
  Gauge& queue_depth = gauges("store_queue_depth", "Commit units waiting in the storage gate").Add({});
  Counter& watchdog = counters("watchdog_restarts_total", "Channels restarted because they made no progress").Add({});
  Counter& log_lost = counters("log_lines_lost_total", "Log lines dropped because the log could not be written fast enough").Add({});

  Gauge& webhook_backlog = gauges("webhook_backlog", "Events that this node's webhook endpoints have before them").Add({});

  Counter* delivery_of[2];
  Histogram& handover_gap = histogram("handover_gap_seconds", "Time without a session while a channel changed its node", long_times);

  Counter* handover_of[handover_reasons.size()][2];
  Counter* login_of[mechanisms.size() + 1][2];
  Gauge* session_of[protocols.size()][tls_modes.size()];
  Counter* failure_of[protocols.size()][reasons];
  Counter* refresh_of[providers.size()][2];
  Counter* switch_of[auth_types.size()][auth_types.size()][2];

  mutable std::mutex guard;   // of what follows
  std::unordered_map<tenant_id, std::array<of_tenant, protocols.size()>> tenants;
  std::vector<prometheus::MetricFamily> from_database;
  double renewed_at = 0;      // on `now`'s clock; 0: never
};

telemetry::parts::parts(std::string version, log::options how) : lines(how) {
  add_by_session();
  add_by_login();
  gauges("build_info", "1; the version is the label").Add({{"version", std::move(version)}}).Set(1);
  auto& handovers = counters("handovers_total", "Channels handed from node to node");
  for (std::size_t r = 0; r < handover_reasons.size(); ++r)
    for (const std::size_t ok : {0u, 1u})
      handover_of[r][ok] = &handovers.Add({{"reason", std::string(handover_reasons[r])}, {"result", results[ok]}});
  auto& deliveries = counters("webhook_deliveries_total", "Attempts to deliver an event");
  for (const std::size_t ok : {0u, 1u}) delivery_of[ok] = &deliveries.Add({{"result", results[ok]}});
}

void telemetry::parts::add_by_session() {
  auto& open = gauges("sessions", "Sessions with their mailbox selected");
  auto& failed = counters("session_failures_total", "Sessions and attempts that ended with an error");
  for (const auto p : protocols) {
    for (const auto t : tls_modes) session_of[index(p)][index(t)] = &open.Add({{"protocol", name(p)}, {"tls", name(t)}});
    for (std::size_t r = 0; r < reasons; ++r)
      failure_of[index(p)][r] = &failed.Add({{"protocol", name(p)}, {"reason", name(static_cast<failure>(r))}});
  }
}

void telemetry::parts::add_by_login() {
  auto& logins = counters("logins_total", "Logins at mail servers");
  auto& refreshes = counters("token_refreshes_total", "Requests to token endpoints");
  auto& switches = counters("auth_switches_total", "Changes of the serving session");
  for (const std::size_t ok : {0u, 1u}) {
    for (std::size_t m = 0; m <= mechanisms.size(); ++m)
      login_of[m][ok] =
          &logins.Add({{"mechanism", std::string(m < mechanisms.size() ? mechanisms[m] : "other")}, {"result", results[ok]}});
    for (const auto p : providers) refresh_of[index(p)][ok] = &refreshes.Add({{"provider", name(p)}, {"result", results[ok]}});
    for (const auto from : auth_types)
      for (const auto to : auth_types)
        switch_of[index(from)][index(to)][ok] = &switches.Add({{"from", name(from)}, {"to", name(to)}, {"result", results[ok]}});
  }
}

// Tenants come and go: the only labels that are not known beforehand.
telemetry::parts::of_tenant& telemetry::parts::tenant(tenant_id id, protocol_kind protocol) {
  if (tenants.size() >= limits::metric_tenants && !tenants.contains(id)) id = tenant_id{};
  auto [at, fresh] = tenants.try_emplace(id);
  if (fresh) {
    for (const auto p : protocols) {
      const labels l{{"tenant", id ? to_string(id) : "other"}, {"protocol", name(p)}};
      at->second[index(p)] = {&messages_stored.Add(l), &message_bytes.Add(l)};
    }
  }
  return at->second[index(protocol)];
}

telemetry::telemetry(std::string version, log::options lines) : parts_(std::make_unique<parts>(std::move(version), lines)) {}
telemetry::~telemetry() = default;

void telemetry::log(actors::log_level level, std::string_view sentence, std::initializer_list<actors::log_field> fields) {
  parts_->lines.write(level, sentence, fields);
}

void telemetry::stored(tenant_id tenant, protocol_kind protocol, std::int64_t messages, std::uint64_t bytes) {
  const std::lock_guard lock(parts_->guard);
  auto& of = parts_->tenant(tenant, protocol);
  of.messages->Increment(static_cast<double>(messages));
  of.bytes->Increment(static_cast<double>(bytes));
}

void telemetry::fetch_lag(double seconds) { parts_->lag.Observe(seconds); }
void telemetry::duplicates_suppressed(std::int64_t messages) { parts_->duplicates.Increment(static_cast<double>(messages)); }
void telemetry::sessions(protocol_kind protocol, tls_mode tls, int change) {
  parts_->session_of[index(protocol)][index(tls)]->Increment(change);
}
void telemetry::session_failed(protocol_kind protocol, failure reason) { parts_->failure_of[index(protocol)][index(reason)]->Increment(); }

void telemetry::login(std::string_view mechanism, bool ok) {
  const auto at = std::find(mechanisms.begin(), mechanisms.end(), mechanism);
  parts_->login_of[at - mechanisms.begin()][ok ? 1 : 0]->Increment();
}

void telemetry::token_refresh(provider_kind provider, bool ok, double seconds) {
  parts_->refresh_of[index(provider)][ok ? 1 : 0]->Increment();
  parts_->refresh_seconds.Observe(seconds);
}

void telemetry::auth_switch(auth_type from, auth_type to, bool ok, double gap_seconds) {
  parts_->switch_of[index(from)][index(to)][ok ? 1 : 0]->Increment();
  if (ok) parts_->switch_gap.Observe(gap_seconds);
}

void telemetry::leases(std::size_t owned, double seconds_since_renewal) {
  parts_->leases_owned.Set(static_cast<double>(owned));
  const std::lock_guard lock(parts_->guard);
  parts_->renewed_at = now() - seconds_since_renewal;
}

void telemetry::handover(std::string_view reason, bool ok) {
  const auto at = std::find(handover_reasons.begin(), handover_reasons.end(), reason);
  if (at != handover_reasons.end()) parts_->handover_of[at - handover_reasons.begin()][ok ? 1 : 0]->Increment();
}

void telemetry::handover_gap(double seconds) { parts_->handover_gap.Observe(seconds); }
void telemetry::fenced_write() { parts_->fenced.Increment(); }

void telemetry::commit(double seconds, std::size_t queued) {
  parts_->commit_seconds.Observe(seconds);
  parts_->queue_depth.Set(static_cast<double>(queued));
}

void telemetry::watchdog_restart() { parts_->watchdog.Increment(); }

/// Nothing that the herd does changes these: they would hide what it ought to.
constexpr bool waits_for_a_person(channel_state s) {
  return s == channel_state::disabled || s == channel_state::consent_pending || s == channel_state::needs_reauth ||
         s == channel_state::needs_admin || s == channel_state::app_blocked;
}
void telemetry::webhook_delivery(bool taken) { parts_->delivery_of[taken ? 1 : 0]->Increment(); }
void telemetry::webhook_backlog(std::int64_t events) { parts_->webhook_backlog.Set(static_cast<double>(events)); }

/// Bounded like all that is by tenant: of those beyond the bound the most urgent stands for all.
prometheus::MetricFamily secrets_of(const std::vector<store::app_gauge>& apps) {
  prometheus::MetricFamily out{"mailherd_app_secret_expires_seconds",
                               "Until the first secret or certificate of the tenant's OAuth apps expires, where the registration says when",
                               prometheus::MetricType::Gauge,
                               {}};
  std::map<std::string, double> first;
  for (const auto& a : apps) {
    const auto name = first.size() < limits::metric_tenants ? to_string(a.tenant) : std::string("other");
    const auto [at, fresh] = first.emplace(name, a.secret_expires_seconds);
    if (!fresh) at->second = std::min(at->second, a.secret_expires_seconds);
  }
  for (const auto& [tenant, seconds] : first) {
    prometheus::ClientMetric m;
    m.label = {{"tenant", tenant}};
    m.gauge.value = seconds;
    out.metric.push_back(std::move(m));
  }
  return out;
}

void telemetry::set_gauges(const std::vector<store::channel_gauge>& read, const std::vector<store::app_gauge>& apps) {
  const auto entry = [](std::vector<prometheus::ClientMetric::Label> l, double value) {
    prometheus::ClientMetric m;
    m.label = std::move(l);
    m.gauge.value = value;
    return m;
  };
  prometheus::MetricFamily channels{"mailherd_channels", "Channels by state, in the whole cluster", prometheus::MetricType::Gauge, {}};
  prometheus::MetricFamily age{"mailherd_oldest_success_age_seconds",
                               "Since the least lucky enabled channel of the tenant was last in order",
                               prometheus::MetricType::Gauge,
                               {}};
  prometheus::MetricFamily overdue{"mailherd_overdue_seconds",
                                   "Since the least lucky channel of the tenant that waits for no person was last in order",
                                   prometheus::MetricType::Gauge,
                                   {}};
  prometheus::MetricFamily throttled{"mailherd_throttled_channels", "Channels that wait because their server told them to",
                                     prometheus::MetricType::Gauge, {}};
  std::map<std::pair<std::int64_t, channel_state>, double> by_state;
  std::map<std::string, double> by_provider{{"none", 0}};
  for (const auto p : providers) by_provider[name(p)] = 0;
  std::map<std::int64_t, double> oldest, ours;
  for (const auto& g : read) {
    // The same bound as for counters; the least tenants are kept so that the choice does not change from reading to reading.
    const bool own = oldest.contains(g.tenant.value) || oldest.size() < limits::metric_tenants;
    const auto tenant = own ? g.tenant.value : 0;
    by_state[{tenant, g.state}] += static_cast<double>(g.channels);
    auto& worst = oldest[tenant];
    worst = std::max(worst, g.oldest_success_age_seconds);
    auto& served = ours[tenant];
    if (!waits_for_a_person(g.state)) served = std::max(served, g.oldest_success_age_seconds);
    if (g.state == channel_state::throttled) by_provider[g.provider ? name(*g.provider) : "none"] += static_cast<double>(g.channels);
  }
  const auto label = [](std::int64_t tenant) { return tenant != 0 ? to_string(tenant_id{tenant}) : std::string("other"); };
  for (const auto& [key, count] : by_state)
    channels.metric.push_back(entry({{"tenant", label(key.first)}, {"state", name(key.second)}}, count));
  for (const auto& [tenant, seconds] : oldest) age.metric.push_back(entry({{"tenant", label(tenant)}}, seconds));
  for (const auto& [tenant, seconds] : ours) overdue.metric.push_back(entry({{"tenant", label(tenant)}}, seconds));
  for (const auto& [provider, count] : by_provider) throttled.metric.push_back(entry({{"provider", provider}}, count));
  const std::lock_guard lock(parts_->guard);
  parts_->from_database = {std::move(channels), std::move(age), std::move(overdue), std::move(throttled), secrets_of(apps)};
}

std::string telemetry::text() const {
  auto& p = *parts_;
  const auto lost = static_cast<double>(p.lines.lost());
  std::vector<prometheus::MetricFamily> all;
  {
    const std::lock_guard lock(p.guard);
    p.lease_age.Set(p.renewed_at > 0 ? now() - p.renewed_at : 0);
    p.log_lost.Increment(lost - p.log_lost.Value());
    all = p.from_database;
  }
  for (auto& f : p.registry.Collect()) all.push_back(std::move(f));
  for (auto& f : process_metrics()) all.push_back(std::move(f));
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, all);
  return std::move(out).str();
}

void telemetry::close_log() { parts_->lines.close(); }

}  // namespace mailherd::node
