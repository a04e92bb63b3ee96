#include "actors/share_plan.hpp"

#include <algorithm>
#include <numeric>

namespace mailherd::actors {

namespace {

using member = store::mail_store::member;

/// A difference this small (a twentieth of the share, and at least two channels) is left alone.
constexpr std::int64_t tolerated_part = 20;
constexpr std::int64_t tolerated_least = 2;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// The part of `total` that `of` is to have among those who take channels.
std::int64_t share_of(const survey& s, const member& of, std::int64_t total) {
  std::int64_t capacity = 0;
  for (const auto& m : s.members) capacity += m.draining ? 0 : m.capacity;
  return capacity > 0 ? std::min(of.capacity, divide_up(total * of.capacity, capacity)) : 0;
}

std::int64_t all_channels(const survey& s, incarnation_id self, std::int64_t held) {
  std::int64_t total = s.free;
  for (const auto& m : s.members) total += m.id == self ? held : m.channels;
  return total;
}

struct place {
  const member* to = nullptr;
  std::int64_t room = 0;
};

/// `count` channels onto `places`, each as many as it has room for, in proportion if there is not room enough.
offers spread(std::vector<place> places, std::int64_t count) {
  offers out;
  std::int64_t room = 0;
  for (const auto& p : places) room += p.room;
  for (const auto& p : places) {
    if (count <= 0 || p.room <= 0) continue;
    const auto n = room <= count ? p.room : std::min(count, divide_up(count * p.room, room));
    room -= p.room;
    count -= n;
    out.push_back({p.to->node, static_cast<std::size_t>(n)});
  }
  return out;
}

}  // namespace

std::size_t claim_allowance(const survey& s, incarnation_id self, std::size_t held, std::size_t max_channels, bool overdue) {
  if (s.free <= 0 || held >= max_channels) return 0;
  const auto most = static_cast<std::int64_t>(std::min(max_channels - held, static_cast<std::size_t>(s.free)));
  const auto me = std::find_if(s.members.begin(), s.members.end(), [&](const member& m) { return m.id == self; });
  if (overdue || me == s.members.end()) return static_cast<std::size_t>(most);
  const auto mine = static_cast<std::int64_t>(held);
  const auto allowed = share_of(s, *me, all_channels(s, self, mine)) - mine - me->coming;
  return static_cast<std::size_t>(std::clamp<std::int64_t>(allowed, 0, most));
}

bool others_could_serve(const survey& s, incarnation_id self) {
  return std::any_of(s.members.begin(), s.members.end(),
                     [&](const member& m) { return m.id != self && !m.draining && m.channels + m.coming < m.capacity; });
}

offers drain_plan(const survey& s, incarnation_id self, std::size_t count) {
  const auto total = all_channels(s, self, static_cast<std::int64_t>(count));
  std::vector<place> wanted, possible;
  std::int64_t room = 0;
  for (const auto& m : s.members) {
    if (m.id == self || m.draining) continue;
    const auto has = m.channels + m.coming;
    // Ours is no place: shares are those of the others.
    wanted.push_back({&m, std::max<std::int64_t>(0, share_of(s, m, total) - has)});
    possible.push_back({&m, std::max<std::int64_t>(0, m.capacity - has)});
    room += wanted.back().room;
  }
  const auto n = static_cast<std::int64_t>(count);
  return spread(room >= n ? std::move(wanted) : std::move(possible), n);
}

offers balance_plan(const survey& s, incarnation_id self, std::size_t held, std::size_t going) {
  const auto me = std::find_if(s.members.begin(), s.members.end(), [&](const member& m) { return m.id == self; });
  if (me == s.members.end() || me->draining || s.free > 0) return {};
  const auto mine = static_cast<std::int64_t>(held);
  const auto total = all_channels(s, self, mine);
  const auto share = share_of(s, *me, total);
  const auto surplus = mine - static_cast<std::int64_t>(going) - share;
  if (surplus < std::max(tolerated_least, share / tolerated_part)) return {};
  std::vector<place> places;
  for (const auto& m : s.members)
    if (m.id != self && !m.draining) places.push_back({&m, std::max<std::int64_t>(0, share_of(s, m, total) - m.channels - m.coming)});
  return spread(std::move(places), surplus);
}

}  // namespace mailherd::actors
