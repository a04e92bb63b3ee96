// tests/actors/memory_webhooks: endpoints, their cursors and a feed in memory, with the guards of the real store.
//
// Owns:   what is durable: it outlives deliverers, which is what tests of crashes look at.
// Never:  checks tenants: storage's tests do.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "storage/webhook_store.hpp"

namespace mailherd::test {

class memory_webhooks : public store::webhook_store {
 public:
  struct place {
    store::webhook_load load;
    deliverer_id owner;
    bool active = true;
    std::map<std::pair<store::event_kind, channel_id>, store::stall_record> stalls;
    std::vector<store::delivery_record> deliveries;
    std::string disabled;
  };
  std::map<store::webhook_key, place> places;
  std::map<tenant_id, std::vector<store::stored_message>> feed;
  std::map<tenant_id, std::vector<store::state_event>> states;
  std::set<deliverer_id> alive;
  std::function<wall_time()> now;
  std::size_t saves = 0, reads = 0;

  store::webhook_key add(tenant_id t, std::int64_t id, const std::string& url) {
    const store::webhook_key key{t, {id}};
    auto& p = places[key];
    p.load.key = key;
    p.load.spec.url = url;
    p.load.signing = secret<>(std::string("whsec_c2VjcmV0"));
    p.load.epoch = p.load.revision = 1;
    p.load.due_since = now();
    return key;
  }
  void message(tenant_id t, std::int64_t channel) {
    auto& all = feed[t];
    store::stored_message m;
    m.id = {t, static_cast<std::int64_t>(all.size()) + 1};
    m.channel = {channel};
    m.sequence = std::count_if(all.begin(), all.end(), [&](const auto& o) { return o.channel == m.channel; }) + 1;
    m.received_at = now();
    all.push_back(m);
  }
  /// What people do: a new revision.
  void replay(const store::webhook_key& key, std::int64_t after) {
    auto& p = places.at(key);
    p.load.message_position = std::min(p.load.message_position, after);
    std::erase_if(p.stalls, [&](const auto& s) { return s.second.position >= after; });
    p.load.due_since = now();
    ++p.load.revision;
  }
  std::size_t count(const store::webhook_key& key, const std::string& state) {
    const auto& all = places.at(key).deliveries;
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const auto& d) { return d.state == state; }));
  }

  result<deliverer_id> join(const std::string&, seconds) override {
    const deliverer_id id{++last_};
    alive = {id};   // one node: an earlier life is over
    return id;
  }
  result<round_report> round(deliverer_id self, seconds) override {
    if (!alive.contains(self)) return fail(failure::fenced);
    round_report r;
    r.share = static_cast<std::int64_t>(places.size());
    for (auto& [key, p] : places) {
      if (!p.active) continue;
      if (!alive.contains(p.owner)) p.owner = self, ++p.load.epoch;
      const bool asked = std::any_of(p.deliveries.begin(), p.deliveries.end(), [](const auto& d) { return d.state == "pending"; });
      r.owned.push_back({key, p.load.epoch, p.load.revision, static_cast<std::int64_t>(feed[key.tenant].size()),
                         static_cast<std::int64_t>(states[key.tenant].size()), asked});
    }
    return r;
  }
  result<void> release(deliverer_id, const std::vector<store::webhook_key>& keys) override {
    for (const auto& k : keys) places.at(k).owner = {};
    return {};
  }
  result<void> leave(deliverer_id self) override {
    alive.erase(self);
    return {};
  }
  result<store::webhook_load> load(deliverer_id self, const store::webhook_key& key) override {
    auto& p = places.at(key);
    if (p.owner != self) return fail(failure::fenced);
    auto out = p.load;
    for (const auto& [lane, s] : p.stalls) out.stalls.push_back(s);
    return out;
  }
  result<store::events_read> read(deliverer_id self, const reading& w) override {
    ++reads;
    auto& p = places.at(w.webhook);
    if (p.owner != self || p.load.epoch != w.epoch) return fail(failure::fenced);
    if (p.load.revision != w.revision) return fail(failure::conflict);
    store::events_read out;
    const auto& all = feed[w.webhook.tenant];
    out.head = out.upto = static_cast<std::int64_t>(all.size());
    for (const auto& m : all) {
      if (m.id.position <= w.after || (w.lane && m.channel != *w.lane)) continue;
      out.messages.push_back(m);
      if (out.messages.size() < w.limit) continue;
      out.upto = m.id.position;
      break;
    }
    return out;
  }
  result<std::vector<store::delivery_record>> asked(const store::webhook_key& key, std::size_t) override {
    std::vector<store::delivery_record> out;
    for (const auto& d : places.at(key).deliveries)
      if (d.state == "pending") out.push_back(d);
    return out;
  }
  result<std::vector<bool>> save(deliverer_id self, const std::vector<store::webhook_progress>& all) override {
    ++saves;
    std::vector<bool> out;
    for (const auto& g : all) {
      auto& p = places.at(g.key);
      out.push_back(p.owner == self && p.load.epoch == g.epoch && p.load.revision == g.revision);
      if (!out.back()) continue;
      p.load.message_position = g.message_position;
      p.load.failures = g.failures;
      p.load.failing_since = g.failing_since;
      p.load.open_until = g.open_until;
      for (const auto& [kind, channel] : g.caught_up) p.stalls.erase({kind, channel});
      for (const auto& s : g.stalls) p.stalls[{s.kind, s.channel}] = s;
      for (auto d : g.notes) {
        std::erase_if(p.deliveries, [&](const auto& o) { return d.id && o.id == d.id; });
        if (!d.id) d.id = {++last_};
        p.deliveries.push_back(d);
      }
      if (!g.disable.empty()) p.active = false, p.owner = {}, p.disabled = g.disable;
    }
    return out;
  }

  result<store::webhook_record> create(const store::caller&, tenant_id, const store::webhook_spec&, const secret<>&) override { return fail(failure::not_found); }
  result<store::webhook_record> get(const store::caller&, tenant_id, webhook_id) override { return fail(failure::not_found); }
  result<store::page<store::webhook_record>> list(const store::caller&, tenant_id, std::size_t, const std::string&) override { return fail(failure::not_found); }
  result<store::webhook_record> update(const store::caller&, tenant_id, webhook_id, const store::webhook_spec&) override { return fail(failure::not_found); }
  result<void> remove(const store::caller&, tenant_id, webhook_id) override { return fail(failure::not_found); }
  result<store::webhook_record> rotate(const store::caller&, tenant_id, webhook_id, const secret<>&, wall_time) override { return fail(failure::not_found); }
  result<std::int64_t> replay(const store::caller&, tenant_id, webhook_id, std::optional<std::int64_t>, std::optional<wall_time>) override { return fail(failure::not_found); }
  result<std::int64_t> position_at(const store::caller&, tenant_id, wall_time) override { return fail(failure::not_found); }
  result<delivery_id> ask_test(const store::caller&, tenant_id, webhook_id) override { return fail(failure::not_found); }
  result<void> ask_again(const store::caller&, tenant_id, webhook_id, delivery_id) override { return fail(failure::not_found); }
  result<store::page<store::delivery_record>> deliveries(const store::caller&, tenant_id, webhook_id, const std::string&, std::size_t, const std::string&) override { return fail(failure::not_found); }
  result<std::vector<store::stall_record>> stalls(const store::caller&, tenant_id, webhook_id) override { return fail(failure::not_found); }

 private:
  std::int64_t last_ = 0;
};

}  // namespace mailherd::test
