// tests/api/fake_control: a running node in a few lines. Remembers what it was asked.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "actors/control.hpp"

namespace mailherd::test {

class fake_control final : public actors::control {
 public:
  void test(actors::test_subject subject, deadline, std::function<void(result<actors::test_report>)> on_done) override {
    {
      const std::lock_guard lock(guard);
      tested.push_back(subject);
    }
    if (busy) return on_done(fail(failure::store_busy));
    actors::test_report report;
    report.ok = false;
    report.account = subject.auth.username;
    report.steps = {{"dns", true, milliseconds(3), "192.0.2.1", "", {}},
                    {"tcp", false, milliseconds(20), "refused", "Check the port.", failure::connect_refused}};
    on_done(report);
  }
  void changed(tenant_id, channel_id channel) override {
    const std::lock_guard lock(guard);
    changes.push_back(channel);
  }
  void connect(actors::connect_request wanted, deadline, std::function<void(result<actors::connect_answer>)> on_done) override {
    {
      const std::lock_guard lock(guard);
      connects.push_back(wanted);
    }
    on_done(fail(failure::cancelled, "nobody is there"));
  }
  void come_back(actors::browser_return, deadline, std::function<void(result<actors::consent_outcome>)> on_done) override { on_done(outcome); }
  void look_at_link(secret<>, std::function<void(result<actors::link_view>)> on_done) override { on_done(actors::link_view{}); }
  void follow_link(secret<>, const std::string&, std::optional<sha256_digest>, deadline, std::function<void(result<actors::connect_answer>)> on_done) override {
    on_done(fail(failure::not_found));
  }
  [[nodiscard]] actors::app_setup setup_of(const oauth_app&, const std::string& base_url, const std::string&) const override { return {base_url, {}, {}, {}}; }
  result<void> drain(const std::string& node) override {
    if (node != "here") return fail(failure::not_found);
    drained = true;
    return {};
  }
  [[nodiscard]] bool serving() const override { return !drained; }

  std::mutex guard;
  std::vector<actors::test_subject> tested;
  std::vector<channel_id> changes;
  std::vector<actors::connect_request> connects;
  actors::consent_outcome outcome;
  std::atomic<bool> busy{false}, drained{false};
};

}  // namespace mailherd::test
