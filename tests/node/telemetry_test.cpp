// Metrics and log lines: the names, labels and forms that dashboards and log collectors are written against.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "core/limits.hpp"
#include "node/log.hpp"
#include "node/telemetry.hpp"

namespace mailherd::node {
namespace {

using actors::log_level;

/// name{labels} → value, of a text as Prometheus reads it.
std::map<std::string, double> series(const std::string& text) {
  std::map<std::string, double> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    const auto blank = line.rfind(' ');
    EXPECT_NE(blank, std::string::npos) << line;
    EXPECT_TRUE(out.emplace(line.substr(0, blank), std::stod(line.substr(blank + 1))).second) << "twice: " << line;
  }
  return out;
}

/// name → the names of its labels ("le" left out), over all its series.
std::map<std::string, std::set<std::string>> labels_by_name(const std::string& text) {
  std::map<std::string, std::set<std::string>> out;
  for (const auto& [key, value] : series(text)) {
    auto& labels = out[key.substr(0, key.find('{'))];
    static const std::regex label("([a-z_]+)=\"");
    for (std::sregex_iterator at(key.begin(), key.end(), label), end; at != end; ++at)
      if ((*at)[1] != "le") labels.insert((*at)[1]);
  }
  return out;
}

class telemetry_test : public ::testing::Test {
 protected:
  std::ostringstream lines_;
  telemetry report_{"1.2.3", {true, log_level::info, &lines_}};
  double value(const std::string& key) {
    const auto all = series(report_.text());
    const auto at = all.find(key);
    return at == all.end() ? -1 : at->second;
  }
};

TEST_F(telemetry_test, every_metric_of_the_contract_exists_with_its_labels) {
  report_.stored(tenant_id{3}, protocol_kind::imap, 1, 10);
  report_.set_gauges({{tenant_id{3}, channel_state::active, 2, 1.5}}, {{tenant_id{3}, 60}});
  const std::map<std::string, std::set<std::string>> contract{
      {"channels", {"tenant", "state"}},
      {"messages_stored_total", {"tenant", "protocol"}},
      {"message_bytes_total", {"tenant", "protocol"}},
      {"fetch_lag_seconds_bucket", {}},
      {"fetch_lag_seconds_sum", {}},
      {"fetch_lag_seconds_count", {}},
      {"duplicates_suppressed_total", {}},
      {"sessions", {"protocol", "tls"}},
      {"session_failures_total", {"protocol", "reason"}},
      {"logins_total", {"mechanism", "result"}},
      {"token_refreshes_total", {"provider", "result"}},
      {"token_refresh_seconds_bucket", {}},
      {"auth_switches_total", {"from", "to", "result"}},
      {"auth_switch_gap_seconds_bucket", {}},
      {"handovers_total", {"reason", "result"}},
      {"handover_gap_seconds_bucket", {}},
      {"leases_owned", {}},
      {"lease_renew_age_seconds", {}},
      {"fenced_writes_total", {}},
      {"throttled_channels", {"provider"}},
      {"oldest_success_age_seconds", {"tenant"}},
      {"overdue_seconds", {"tenant"}},
      {"app_secret_expires_seconds", {"tenant"}},
      {"store_commit_seconds_bucket", {}},
      {"store_queue_depth", {}},
      {"webhook_deliveries_total", {"result"}},
      {"webhook_backlog", {}},
      {"watchdog_restarts_total", {}},
      {"build_info", {"version"}},
  };
  const auto found = labels_by_name(report_.text());
  for (const auto& [name, labels] : contract) {
    const auto at = found.find("mailherd_" + name);
    ASSERT_NE(at, found.end()) << name;
    EXPECT_EQ(at->second, labels) << name;
  }
  for (const char* own : {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds",
                          "process_max_fds", "process_threads", "process_start_time_seconds"}) {
    ASSERT_TRUE(found.contains(own)) << own;
    EXPECT_GT(value(own), 0) << own;
  }
  EXPECT_LE(value("process_start_time_seconds"), static_cast<double>(std::time(nullptr)) + 2);
  EXPECT_GT(value("process_start_time_seconds"), static_cast<double>(std::time(nullptr)) - 3600);
}

TEST_F(telemetry_test, known_labels_are_there_before_anything_happens) {
  // A rate over a series that appears with its first failure misses that failure.
  EXPECT_EQ(value(R"(mailherd_session_failures_total{protocol="pop3",reason="login_rejected"})"), 0);
  EXPECT_EQ(value(R"(mailherd_session_failures_total{protocol="imap",reason="internal"})"), 0);
  EXPECT_EQ(value(R"(mailherd_logins_total{mechanism="XOAUTH2",result="failed"})"), 0);
  EXPECT_EQ(value(R"(mailherd_token_refreshes_total{provider="google",result="ok"})"), 0);
  EXPECT_EQ(value(R"(mailherd_sessions{protocol="imap",tls="implicit"})"), 0);
  EXPECT_EQ(value(R"(mailherd_build_info{version="1.2.3"})"), 1);
}

TEST_F(telemetry_test, what_is_reported_is_counted) {
  report_.stored(tenant_id{3}, protocol_kind::pop3, 2, 1'000);
  report_.stored(tenant_id{3}, protocol_kind::pop3, 1, 24);
  EXPECT_EQ(value(R"(mailherd_messages_stored_total{protocol="pop3",tenant="t3"})"), 3);
  EXPECT_EQ(value(R"(mailherd_message_bytes_total{protocol="pop3",tenant="t3"})"), 1'024);
  EXPECT_EQ(value(R"(mailherd_messages_stored_total{protocol="imap",tenant="t3"})"), 0);
  report_.sessions(protocol_kind::imap, tls_mode::starttls, +1);
  report_.sessions(protocol_kind::imap, tls_mode::starttls, +1);
  report_.sessions(protocol_kind::imap, tls_mode::starttls, -1);
  EXPECT_EQ(value(R"(mailherd_sessions{protocol="imap",tls="starttls"})"), 1);
  report_.session_failed(protocol_kind::imap, failure::server_bye);
  EXPECT_EQ(value(R"(mailherd_session_failures_total{protocol="imap",reason="server_bye"})"), 1);
  report_.login("OAUTHBEARER", true);
  report_.login("token", false);
  EXPECT_EQ(value(R"(mailherd_logins_total{mechanism="OAUTHBEARER",result="ok"})"), 1);
  EXPECT_EQ(value(R"(mailherd_logins_total{mechanism="token",result="failed"})"), 1);
  report_.token_refresh(provider_kind::microsoft, false, 0.3);
  EXPECT_EQ(value(R"(mailherd_token_refreshes_total{provider="microsoft",result="failed"})"), 1);
  EXPECT_EQ(value("mailherd_token_refresh_seconds_count"), 1);
  report_.auth_switch(auth_type::basic, auth_type::oauth2, true, 0.25);
  report_.auth_switch(auth_type::basic, auth_type::oauth2, false, 99);
  EXPECT_EQ(value(R"(mailherd_auth_switches_total{from="basic",result="ok",to="oauth2"})"), 1);
  EXPECT_EQ(value("mailherd_auth_switch_gap_seconds_sum"), 0.25) << "a switch that failed left no gap";
  report_.fetch_lag(0.7);
  EXPECT_EQ(value(R"(mailherd_fetch_lag_seconds_bucket{le="0.5"})"), 0);
  EXPECT_EQ(value(R"(mailherd_fetch_lag_seconds_bucket{le="1"})"), 1);
  report_.duplicates_suppressed(4);
  report_.fenced_write();
  report_.watchdog_restart();
  report_.commit(0.01, 17);
  EXPECT_EQ(value("mailherd_duplicates_suppressed_total"), 4);
  EXPECT_EQ(value("mailherd_fenced_writes_total"), 1);
  EXPECT_EQ(value("mailherd_watchdog_restarts_total"), 1);
  EXPECT_EQ(value("mailherd_store_queue_depth"), 17);
  EXPECT_EQ(value("mailherd_store_commit_seconds_count"), 1);
  report_.leases(5, 2);
  EXPECT_EQ(value("mailherd_leases_owned"), 5);
  EXPECT_GE(value("mailherd_lease_renew_age_seconds"), 2) << "it grows although nothing is reported any more";
  EXPECT_LT(value("mailherd_lease_renew_age_seconds"), 60);
}

TEST_F(telemetry_test, a_new_reading_of_the_database_replaces_the_one_before) {
  report_.set_gauges({{tenant_id{1}, channel_state::active, 3, 10},
                      {tenant_id{1}, channel_state::backoff, 1, 70},
                      {tenant_id{2}, channel_state::active, 5, 1}});
  EXPECT_EQ(value(R"(mailherd_channels{tenant="t1",state="active"})"), 3);
  EXPECT_EQ(value(R"(mailherd_channels{tenant="t1",state="backoff"})"), 1);
  EXPECT_EQ(value(R"(mailherd_oldest_success_age_seconds{tenant="t1"})"), 70);
  report_.set_gauges({{tenant_id{2}, channel_state::active, 6, 1}});
  EXPECT_EQ(value(R"(mailherd_channels{tenant="t1",state="active"})"), -1) << "the tenant is gone";
  EXPECT_EQ(value(R"(mailherd_channels{tenant="t2",state="active"})"), 6);
}

TEST_F(telemetry_test, what_waits_for_a_person_is_old_and_not_overdue) {
  report_.set_gauges({{tenant_id{1}, channel_state::active, 3, 10},
                      {tenant_id{1}, channel_state::needs_reauth, 1, 9'000},
                      {tenant_id{2}, channel_state::backoff, 1, 70},
                      {tenant_id{3}, channel_state::app_blocked, 1, 80}});
  EXPECT_EQ(value(R"(mailherd_oldest_success_age_seconds{tenant="t1"})"), 9'000);
  EXPECT_EQ(value(R"(mailherd_overdue_seconds{tenant="t1"})"), 10);
  EXPECT_EQ(value(R"(mailherd_overdue_seconds{tenant="t2"})"), 70);
  EXPECT_EQ(value(R"(mailherd_overdue_seconds{tenant="t3"})"), 0) << "there all the same";
}

TEST_F(telemetry_test, a_secret_that_ends_is_told_also_after_its_end) {
  report_.set_gauges({}, {{tenant_id{1}, 86'400}, {tenant_id{2}, -5}});
  EXPECT_EQ(value(R"(mailherd_app_secret_expires_seconds{tenant="t1"})"), 86'400);
  EXPECT_EQ(value(R"(mailherd_app_secret_expires_seconds{tenant="t2"})"), -5);
  report_.set_gauges({}, {});
  EXPECT_EQ(report_.text().find("mailherd_app_secret_expires_seconds{"), std::string::npos) << "replaced, or its app is gone";
}

TEST_F(telemetry_test, throttled_channels_are_counted_by_provider) {
  report_.set_gauges({{tenant_id{1}, channel_state::throttled, 3, 10, provider_kind::microsoft},
                      {tenant_id{2}, channel_state::throttled, 4, 10, provider_kind::microsoft},
                      {tenant_id{2}, channel_state::active, 9, 10, provider_kind::microsoft},
                      {tenant_id{1}, channel_state::throttled, 1, 70, std::nullopt}});
  EXPECT_EQ(value(R"(mailherd_throttled_channels{provider="microsoft"})"), 7);
  EXPECT_EQ(value(R"(mailherd_throttled_channels{provider="none"})"), 1) << "by password";
  EXPECT_EQ(value(R"(mailherd_throttled_channels{provider="google"})"), 0);
}

TEST_F(telemetry_test, labels_are_bounded_whatever_is_reported) {
  report_.login("X-EVIL\"}\n", false);
  EXPECT_EQ(value(R"(mailherd_logins_total{mechanism="other",result="failed"})"), 1);
  std::vector<store::channel_gauge> read;
  for (std::size_t t = 1; t <= limits::metric_tenants + 5; ++t) {
    report_.stored(tenant_id{static_cast<std::int64_t>(t)}, protocol_kind::imap, 1, 1);
    read.push_back({tenant_id{static_cast<std::int64_t>(t)}, channel_state::active, 1, 1});
  }
  report_.set_gauges(read);
  EXPECT_EQ(value(R"(mailherd_messages_stored_total{protocol="imap",tenant="other"})"), 5);
  EXPECT_EQ(value(R"(mailherd_channels{tenant="other",state="active"})"), 5);
}

TEST_F(telemetry_test, counting_on_many_threads_loses_nothing) {
  std::vector<std::thread> all;
  for (int t = 0; t < 4; ++t)
    all.emplace_back([this, t] {
      for (int i = 0; i < 500; ++i) {
        report_.stored(tenant_id{1 + t % 2}, protocol_kind::imap, 1, 1);
        report_.login("PLAIN", true);
        if (i % 100 == 0) {
          EXPECT_FALSE(report_.text().empty());
        }
      }
    });
  for (auto& t : all) t.join();
  EXPECT_EQ(value(R"(mailherd_messages_stored_total{protocol="imap",tenant="t1"})"), 1'000);
  EXPECT_EQ(value(R"(mailherd_logins_total{mechanism="PLAIN",result="ok"})"), 2'000);
}

// ---- lines ------------------------------------------------------------------------------------------------------------------------------

const wall_time noon{std::chrono::microseconds(1'769'860'800'123'456)};   // 2026-01-31T12:00:00.123456Z

TEST(log_line, is_one_json_object_for_machines) {
  const auto line = json_line(noon, log_level::warning, "server sends an alert", {{"host", "mail.acme.test"}, {"text", "a \"b\"\nc \xFF"}});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto j = nlohmann::json::parse(line);
  EXPECT_EQ(j["ts"], "2026-01-31T12:00:00.123Z");
  EXPECT_EQ(j["level"], "warning");
  EXPECT_EQ(j["msg"], "server sends an alert");
  EXPECT_EQ(j["host"], "mail.acme.test");
  EXPECT_EQ(j["text"], "a \"b\"\nc \xEF\xBF\xBD");
  EXPECT_EQ(line.substr(0, 7), "{\"ts\":\"") << "the time comes first";
}

TEST(log_line, has_fields_that_cannot_pass_for_its_own) {
  const auto j = nlohmann::json::parse(json_line(noon, log_level::info, "x", {{"msg", "forged"}, {"level", "error"}}));
  EXPECT_EQ(j["msg"], "x");
  EXPECT_EQ(j["level"], "info");
  EXPECT_EQ(j["_msg"], "forged");
}

TEST(log_line, is_one_line_of_text_for_people) {
  EXPECT_EQ(text_line(noon, log_level::info, "node listens",
                      {{"api", "http://127.0.0.1:8080"}, {"why", "two words"}, {"forged", "x\nerror y=z"}, {"e", ""}}),
            "2026-01-31T12:00:00.123Z info    node listens api=http://127.0.0.1:8080 why=\"two words\" forged=\"x\\nerror y=z\" e=\"\"");
}

TEST(log, writes_in_order_what_is_serious_enough) {
  std::ostringstream out;
  {
    node::log lines({false, log_level::warning, &out});
    lines.write(log_level::info, "not this", {});
    for (int i = 0; i < 100; ++i) lines.write(log_level::warning, "line", {{"n", std::to_string(i)}});
    lines.close();
    lines.write(log_level::error, "too late", {});
    EXPECT_EQ(lines.lost(), 0u);
  }
  std::istringstream in(out.str());
  int n = 0;
  for (std::string line; std::getline(in, line); ++n) EXPECT_TRUE(line.ends_with("warning line n=" + std::to_string(n))) << line;
  EXPECT_EQ(n, 100);
}

/// A stream whose reader is stuck until it is let go.
class stuck : public std::stringbuf {
 public:
  std::mutex gate;

 protected:
  std::streamsize xsputn(const char* s, std::streamsize n) override {
    const std::lock_guard wait(gate);
    return std::stringbuf::xsputn(s, n);
  }
};

TEST(log, never_makes_its_caller_wait_and_counts_what_it_drops) {
  stuck buffer;
  std::ostream out(&buffer);
  node::log lines({false, log_level::info, &out});
  {
    const std::lock_guard reader_hangs(buffer.gate);
    for (std::size_t i = 0; i < limits::log_lines + 100; ++i) lines.write(log_level::info, "line", {});
    EXPECT_GE(lines.lost(), 90u);
  }
  const auto lost = lines.lost();
  lines.close();
  const auto text = buffer.str();
  EXPECT_EQ(static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + lost, limits::log_lines + 100);
}

}  // namespace
}  // namespace mailherd::node
