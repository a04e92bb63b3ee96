// tests/actors/memory_cluster: the cluster's rows in memory, with the semantics of storage/queries/cluster: lives, leases, shares, handovers.
//
// Owns:   who holds which channel until when. Epochs are those of the memory_mail it is installed on, so that writes are fenced by them.
// Never:  tells a node anything but through the functions of mail_store; `on_notify` stands for NOTIFY, and may be lost.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "tests/actors/memory_mail.hpp"

namespace mailherd::test {

class memory_cluster {
 public:
  using incarnation = store::mail_store::incarnation;
  struct life {
    std::string node;
    mono_time since{}, until{};
    bool ended = false, draining = false;
    std::int64_t capacity = 0, channels = 0;
  };
  struct lease {
    tenant_id tenant;
    std::optional<incarnation_id> owner;
    std::string wanted;
    store::mail_store::move_reason why = store::mail_store::move_reason::move;
    mono_time wanted_at{};
    incarnation_id ready;
    bool alone = false, refused = false, passed = false, enabled = true;
  };

  memory_cluster(memory_mail& mail, std::function<mono_time()> now);

  void add(tenant_id tenant, channel_id channel) { leases[channel].tenant = tenant; }
  /// As POST .../move: true if there was anything to wish.
  bool move(channel_id channel, const std::string& node);
  /// Its rows were edited.
  void changed(channel_id channel);
  /// As POST .../drain, asked of any node.
  void drain(const std::string& node);

  [[nodiscard]] std::size_t held_by(const std::string& node) const;
  [[nodiscard]] std::string owner_of(channel_id channel) const;  ///< a node that lives; empty: nobody
  [[nodiscard]] bool alive(incarnation_id life) const;

  std::map<channel_id, lease> leases;
  std::map<incarnation_id, life> lives;
  std::function<void()> on_notify;
  std::size_t passed = 0, claimed = 0;

 private:
  void install();
  void end(incarnation_id life);
  void free_ended();
  void notify() {
    if (on_notify) on_notify();
  }
  store::mail_store::survey survey() const;
  std::vector<store::lease_guard> claim(const incarnation& self, std::size_t limit);
  std::vector<store::mail_store::handover> handovers(const incarnation& self) const;
  std::int64_t& epoch(channel_id channel) { return mail_.channels.at(channel).epoch; }
  [[nodiscard]] std::int64_t epoch(channel_id channel) const { return mail_.channels.at(channel).epoch; }
  bool owns(const incarnation& self, const store::lease_guard& g);

  memory_mail& mail_;
  std::function<mono_time()> now_;
  std::int64_t last_life_ = 0;
  std::vector<channel_id> changes_{channel_id{}};   ///< the first stands for what was before
};

}  // namespace mailherd::test
