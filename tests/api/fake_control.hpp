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
  result<void> drain(const std::string& node) override {
    if (node != "here") return fail(failure::not_found);
    drained = true;
    return {};
  }
  [[nodiscard]] bool serving() const override { return !drained; }

  std::mutex guard;
  std::vector<actors::test_subject> tested;
  std::vector<channel_id> changes;
  std::atomic<bool> busy{false}, drained{false};
};

}  // namespace mailherd::test
