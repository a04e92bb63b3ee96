// tests/actors/world: everything outside the actors, in memory and on virtual time.
//
// Owns:   an actor system on CAF's deterministic scheduler, a clock that jumps from timer to timer, a store executor whose jobs run when the test
//         says so, an HTTP client that answers from a script, a telemetry that remembers.
// Never:  sleeps; runs a thread.
#pragma once

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/send.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "actors/environment.hpp"
#include "actors/interfaces.hpp"
#include "tests/actors/fake_store.hpp"

namespace mailherd::test {

/// Storage workers without threads.
class hand_executor : public store::executor {
 public:
  fake_mail mail;
  fake_admin admin;
  store::mail_store* stores = &mail;   ///< what jobs are given
  store::webhook_store* webhooks = nullptr;
  bool up = true;          ///< the database answers
  bool held = false;       ///< jobs wait
  bool full = false;
  std::function<mono_time()> now;
  std::function<std::size_t(std::size_t)> pick;   ///< which of so many jobs is done first; none: the first
  std::size_t jobs = 0, urgent_jobs = 0;

  bool submit(deadline until, job work, bool urgent) override {
    if (full) return false;
    ++jobs;
    if (urgent) ++urgent_jobs;
    waiting_.push_back({until, std::move(work)});
    return true;
  }
  [[nodiscard]] std::size_t queued() const override { return waiting_.size(); }

  /// Runs what waits, also while held if `forced`. True if there was anything.
  bool run(bool forced = false) {
    if ((held && !forced) || waiting_.empty()) return false;
    auto all = std::exchange(waiting_, {});
    while (!all.empty()) do_one(all);
    return true;
  }
  /// One job of those that wait, also while held.
  bool run_one() {
    if (waiting_.empty()) return false;
    do_one(waiting_);
    return true;
  }

 private:
  void do_one(std::deque<std::pair<deadline, job>>& all) {
    const auto at = all.begin() + static_cast<std::ptrdiff_t>(pick ? pick(all.size()) : 0);
    auto [until, work] = std::move(*at);
    all.erase(at);
    store::session s{*stores, admin, webhooks};
    if (until.expired(now())) {
      work(fail(failure::timed_out, "queued too long"));
    } else if (!up) {
      work(fail(failure::store_unavailable, "the database is away"));
    } else {
      work(&s);
    }
  }

  std::deque<std::pair<deadline, job>> waiting_;
};

/// An HTTP server without a network.
class scripted_http : public net::http_client {
 public:
  struct call {
    net::http_request request;
    deadline until;
    std::function<void(result<net::http_reply>)> on_done;
  };
  std::vector<call> calls;                                                         ///< not answered yet
  std::function<std::optional<result<net::http_reply>>(const net::http_request&)> answer;   ///< nullopt: left in `calls`
  std::size_t sent = 0;
  std::vector<std::string> bodies;

  void send(net::http_request request, deadline until, std::function<void(result<net::http_reply>)> on_done) override {
    ++sent;
    bodies.push_back(request.body.reveal());
    if (answer) {
      if (auto a = answer(request)) return on_done(std::move(*a));
    }
    calls.push_back({std::move(request), until, std::move(on_done)});
  }

  void reply(int status, std::string body, std::vector<std::pair<std::string, std::string>> headers = {}) {
    ASSERT_FALSE(calls.empty());
    auto c = std::move(calls.front());
    calls.erase(calls.begin());
    c.on_done(net::http_reply{status, std::move(headers), std::move(body)});
  }
};

class noted_telemetry : public actors::telemetry {
 public:
  std::map<std::string, double> count;
  std::vector<std::string> lines;

  void log(actors::log_level, std::string_view sentence, std::initializer_list<actors::log_field> fields) override {
    std::string line(sentence);
    for (const auto& f : fields) line += " " + std::string(f.key) + "=" + f.value;
    lines.push_back(std::move(line));
  }
  void stored(tenant_id, protocol_kind, std::int64_t n, std::uint64_t bytes) override {
    count["stored"] += static_cast<double>(n);
    count["bytes"] += static_cast<double>(bytes);
  }
  void fetch_lag(double seconds) override {
    ++count["lags"];
    count["lag"] += seconds;
  }
  void duplicates_suppressed(std::int64_t n) override { count["suppressed"] += static_cast<double>(n); }
  void sessions(protocol_kind, tls_mode, int change) override { count["sessions"] += change; }
  void session_failed(protocol_kind, failure f) override { ++count["failed " + std::string(to_string(f))]; }
  void auth_switch(auth_type, auth_type, bool ok, double) override { ++count[ok ? "switched" : "not switched"]; }
  void token_refresh(provider_kind, bool ok, double) override { ++count[ok ? "refresh_ok" : "refresh_failed"]; }
  void leases(std::size_t owned, double age) override {
    count["leases"] = static_cast<double>(owned);
    count["lease_age"] = age;
  }
  void handover(std::string_view why, bool ok) override { ++count[std::string(why) + (ok ? " ok" : " failed")]; }
  void handover_gap(double seconds) override {
    ++count["gaps"];
    count["longest gap"] = std::max(count["longest gap"], seconds);
  }
  void fenced_write() override { ++count["fenced"]; }
  void commit(double, std::size_t) override { ++count["commits"]; }
  void watchdog_restart() override { ++count["watchdog"]; }

  [[nodiscard]] bool said(std::string_view part) const {
    for (const auto& l : lines)
      if (l.find(part) != std::string::npos) return true;
    return false;
  }
};

struct testing_config : caf::actor_system_config {
  testing_config() { set("scheduler.policy", caf::atom("testing")); }
};

class world : public ::testing::Test {
 public:
  world() : system(config), scheduler(dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler())) {
    store.now = [this] { return now(); };
    env.store = &store;
    env.http = &http;
    env.report = &report;
    env.budget = std::make_shared<actors::fetch_budget>(limits::fetch_budget_bytes);
    env.wall_now = [this] { return wall(); };
    env.random = [this] { return random = random * 6364136223846793005ULL + 1442695040888963407ULL; };
    env.options.node_name = "node-a";
    env.options.version = "test";
    inbox = system.spawn([](caf::event_based_actor*) -> caf::behavior {
      return {[](const actors::continuation& c) { c.run(); }};
    });
    settle();
  }

  ~world() override {
    for (auto& kill : at_end) kill();
    caf::anon_send_exit(inbox, caf::exit_reason::kill);
    env.roster->kill();
    settle();
  }

  [[nodiscard]] mono_time now() { return scheduler.clock().now(); }
  [[nodiscard]] wall_time wall() {
    return wall_time{std::chrono::hours(24 * 365 * 50) + std::chrono::duration_cast<std::chrono::microseconds>(now().time_since_epoch())};
  }

  /// Until nobody has anything to do at this moment.
  void settle() {
    for (bool more = true; more;) {
      more = scheduler.run() > 0;
      more = store.run() || more;
      for (auto& step : steps) more = step() || more;
    }
  }

  /// Time passes, timer by timer, of the actors and of what else has a clock.
  void advance(duration by) {
    const auto until = now() + by;
    settle();
    while (const auto next = next_timer()) {
      if (*next > until) break;
      auto& clock = scheduler.clock();
      if (*next > clock.current_time) clock.current_time = *next;
      while (clock.has_pending_timeout() && clock.schedule().begin()->first <= clock.current_time) clock.trigger_timeout();
      settle();
    }
    scheduler.clock().current_time = until;
    settle();
  }

  [[nodiscard]] std::optional<mono_time> next_timer() {
    std::optional<mono_time> next;
    if (scheduler.clock().has_pending_timeout()) next = scheduler.clock().schedule().begin()->first;
    for (const auto& c : clocks)
      if (const auto t = c(); t && (!next || *t < *next)) next = t;
    return next;
  }

  /// The address of the test itself for callbacks.
  [[nodiscard]] caf::weak_actor_ptr me() const { return caf::actor_cast<caf::weak_actor_ptr>(inbox); }

  /// Ends `who` with the test.
  template <class Handle>
  Handle owned(Handle who) {
    at_end.push_back([who]() mutable {
      caf::anon_send_exit(who, caf::exit_reason::kill);
      who = nullptr;
    });
    return who;
  }

  template <class Handle>
  [[nodiscard]] static bool ended(const Handle& who) {
    return caf::actor_cast<caf::abstract_actor*>(who)->getf(caf::abstract_actor::is_terminated_flag);
  }

  testing_config config;
  caf::actor_system system;
  caf::scheduler::test_coordinator& scheduler;
  hand_executor store;
  scripted_http http;
  noted_telemetry report;
  actors::environment env;
  caf::actor inbox;
  std::uint64_t random = 42;
  std::vector<std::function<void()>> at_end;
  std::vector<std::function<bool()>> steps;   ///< of further parts of the world: true if anything was done
  std::vector<std::function<std::optional<mono_time>()>> clocks;   ///< their next timers
};

}  // namespace mailherd::test
