#include "tests/actors/memory_cluster.hpp"

#include <algorithm>

namespace mailherd::test {

using handover = store::mail_store::handover;
using readiness = store::mail_store::readiness;

memory_cluster::memory_cluster(memory_mail& mail, std::function<mono_time()> now) : mail_(mail), now_(std::move(now)) { install(); }

bool memory_cluster::alive(incarnation_id id) const {
  const auto at = lives.find(id);
  return at != lives.end() && !at->second.ended && at->second.until > now_();
}

void memory_cluster::end(incarnation_id id) {
  auto& l = lives[id];
  l.ended = true;
  l.until = std::min(l.until, now_());
}

void memory_cluster::free_ended() {
  for (auto& [id, l] : lives)
    if (!l.ended && l.until <= now_()) l.ended = true;
  for (auto& [channel, l] : leases)
    if (l.owner && lives[*l.owner].ended) l.owner.reset();
}

std::string memory_cluster::owner_of(channel_id channel) const {
  const auto& l = leases.at(channel);
  return l.owner && alive(*l.owner) ? lives.at(*l.owner).node : "";
}

std::size_t memory_cluster::held_by(const std::string& node) const {
  return static_cast<std::size_t>(std::count_if(leases.begin(), leases.end(), [&](const auto& l) { return owner_of(l.first) == node; }));
}

bool memory_cluster::move(channel_id channel, const std::string& node) {
  auto& l = leases.at(channel);
  if (!l.owner || lives[*l.owner].ended || !l.enabled) return false;
  l.wanted = lives[*l.owner].node == node ? "" : node;
  l.why = store::mail_store::move_reason::move;
  l.wanted_at = now_();
  l.ready = {};
  l.alone = l.refused = false;
  notify();
  return true;
}

void memory_cluster::changed(channel_id channel) {
  changes_.push_back(channel);
  notify();
}

void memory_cluster::drain(const std::string& node) {
  for (auto& [id, l] : lives)
    if (l.node == node && alive(id)) l.draining = true;
  notify();
}

bool memory_cluster::owns(const incarnation& self, const store::lease_guard& g) {
  return leases[g.channel].owner == self.id && epoch(g.channel) == g.epoch;
}

store::mail_store::survey memory_cluster::survey() const {
  store::mail_store::survey s;
  mono_time changed{};
  for (const auto& [channel, l] : leases) s.free += l.enabled && (!l.owner || !alive(*l.owner)) ? 1 : 0;
  for (const auto& [id, l] : lives) {
    changed = std::max({changed, l.since, alive(id) ? l.since : l.until});
    if (!alive(id)) continue;
    store::mail_store::member m{id, l.node, l.draining, l.capacity, l.channels, 0, 0, 0};
    for (const auto& [channel, lease] : leases) {
      if (!lease.owner) continue;
      m.coming += lease.wanted == l.node ? 1 : 0;
      m.going += lease.owner == id && !lease.wanted.empty() ? 1 : 0;
      m.came += lease.owner == id && lease.passed ? 1 : 0;
    }
    s.members.push_back(m);
  }
  s.settled_seconds = std::chrono::duration<double>(now_() - changed).count();
  return s;
}

std::vector<store::lease_guard> memory_cluster::claim(const incarnation& self, std::size_t limit) {
  free_ended();
  std::vector<store::lease_guard> mine;
  if (!lives.contains(self.id) || lives[self.id].ended) return mine;
  for (auto& [channel, l] : leases) {
    if (mine.size() >= limit || l.owner || !l.enabled) continue;
    l = {l.tenant, self.id, {}, {}, {}, {}, false, false, false, true};
    mine.push_back({l.tenant, channel, ++epoch(channel)});
    ++claimed;
  }
  return mine;
}

std::vector<handover> memory_cluster::handovers(const incarnation& self) const {
  std::vector<handover> out;
  for (const auto& [channel, l] : leases) {
    if (!l.owner) continue;
    handover h;
    h.guard = {l.tenant, channel, epoch(channel)};
    h.node = l.wanted;
    h.why = l.why;
    h.alone = l.alone;
    h.refused = l.refused;
    h.age_seconds = std::chrono::duration<double>(now_() - l.wanted_at).count();
    const bool heir = l.ready && alive(l.ready) && lives.at(l.ready).node == l.wanted;
    if (l.owner == self.id && !l.wanted.empty()) {
      h.as = handover::part::going;
      if (heir) h.ready = l.ready;
      out.push_back(h);
    } else if (l.owner != self.id && l.wanted == self.node && l.enabled && !lives.at(*l.owner).ended) {
      h.as = handover::part::coming;
      h.ready = l.ready;
      out.push_back(h);
    }
    if (l.owner == self.id && l.passed) {
      h.as = handover::part::came;
      out.push_back(h);
    }
  }
  return out;
}

void memory_cluster::install() {
  mail_.on_join = [this](const std::string& name, const auto&, seconds ttl) -> result<incarnation> {
    for (auto& [id, l] : lives)
      if (l.node == name && !l.ended) end(id);
    free_ended();
    const incarnation_id id{++last_life_};
    lives[id] = {name, now_(), now_() + ttl, false, false, 100'000, 0};
    return incarnation{id, name};
  };
  mail_.on_renew = [this](const incarnation& self, seconds ttl) -> result<void> {
    const auto at = lives.find(self.id);
    if (at == lives.end() || at->second.ended) return fail(failure::fenced);
    at->second.until = now_() + ttl;
    at->second.channels =
        static_cast<std::int64_t>(std::count_if(leases.begin(), leases.end(), [&](const auto& l) { return l.second.owner == self.id; }));
    return {};
  };
  mail_.on_claim = [this](const incarnation& self, std::size_t limit) -> result<std::vector<store::lease_guard>> { return claim(self, limit); };
  mail_.on_release = [this](const incarnation& self, const std::vector<store::lease_guard>& all) -> result<void> {
    for (const auto& g : all)
      if (owns(self, g)) leases[g.channel].owner.reset();
    notify();
    return {};
  };
  mail_.on_leave = [this](const incarnation& self) -> result<void> {
    end(self.id);
    free_ended();
    notify();
    return {};
  };
  mail_.on_changes_since = [this](const incarnation& self, std::int64_t revision) -> result<std::vector<store::mail_store::change>> {
    std::vector<store::mail_store::change> out;
    for (std::size_t i = static_cast<std::size_t>(revision); revision > 0 && i < changes_.size(); ++i) {
      const auto& l = leases.at(changes_[i]);
      if (l.owner == self.id) out.push_back({{l.tenant, changes_[i], epoch(changes_[i])}, 0, !l.enabled});
    }
    out.push_back({{}, static_cast<std::int64_t>(changes_.size()), false});
    return out;
  };
  mail_.on_look_around = [this]() -> result<store::mail_store::survey> { return survey(); };
  mail_.on_start_draining = [this](const incarnation& self) { lives[self.id].draining = true, notify(); };
  mail_.on_make_offers = [this](const incarnation& self, store::mail_store::move_reason why, const std::vector<store::mail_store::offer>& offers) {
    std::size_t made = 0;
    for (const auto& o : offers) {
      std::size_t left = o.count;
      for (auto& [channel, l] : leases) {
        if (left == 0 || l.owner != self.id || !l.wanted.empty() || !l.enabled) continue;
        l.wanted = o.node;
        l.why = why;
        l.wanted_at = now_();
        l.ready = {};
        l.alone = l.refused = false;
        --left;
        ++made;
      }
    }
    if (made > 0) notify();
    return result<std::size_t>(made);
  };
  mail_.on_handovers = [this](const incarnation& self) -> result<std::vector<handover>> { return handovers(self); };
  mail_.on_answer_offers = [this](const incarnation& self, const std::vector<std::pair<store::lease_guard, readiness>>& answers) {
    for (const auto& [g, how] : answers) {
      auto& l = leases[g.channel];
      if (l.wanted != self.node || !l.owner || l.owner == self.id) continue;
      l.ready = how == readiness::refused ? incarnation_id{} : self.id;
      l.alone = how == readiness::alone;
      l.refused = how == readiness::refused;
    }
    notify();
  };
  mail_.on_withdraw_offers = [this](const incarnation& self, const std::vector<store::lease_guard>& all) {
    for (const auto& g : all)
      if (owns(self, g)) leases[g.channel].wanted.clear(), leases[g.channel].ready = {};
    notify();
  };
  mail_.on_pass_on = [this](const incarnation& self, const std::vector<std::pair<store::lease_guard, incarnation_id>>& heirs) {
    std::vector<channel_id> gone;
    for (const auto& [g, heir] : heirs) {
      auto& l = leases[g.channel];
      if (owns(self, g) && l.ready == heir && alive(heir) && l.wanted == lives[heir].node) {
        l = {l.tenant, heir, {}, l.why, {}, {}, l.alone, false, true, true};
        ++epoch(g.channel);
        ++passed;
      }
      if (!owns(self, g)) gone.push_back(g.channel);
    }
    notify();
    return result<std::vector<channel_id>>(gone);
  };
  mail_.on_take_passed = [this](const incarnation& self, const std::vector<store::lease_guard>& all) {
    for (const auto& g : all)
      if (owns(self, g)) leases[g.channel].passed = false;
  };
}

}  // namespace mailherd::test
