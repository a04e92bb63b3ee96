// storage/handovers: who is there, and channels on their way from node to node: wished, answered, passed on. Every time is the database's.
#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "queries.hpp"
#include "storage/mail_store.hpp"

namespace mailherd::store {

namespace {

constexpr std::string_view reasons[] = {"drain", "move", "rebalance"};  // by mail_store::move_reason

mail_store::move_reason reason_of(const pqxx::field& f) {
  const auto name = text(f);
  for (std::size_t i = 0; i < std::size(reasons); ++i)
    if (reasons[i] == name) return static_cast<mail_store::move_reason>(i);
  return mail_store::move_reason::move;  // of a newer version
}

/// Guards as array parameters.
struct columns {
  explicit columns(const std::vector<lease_guard>& guards) {
    for (const auto& g : guards) add(g);
  }
  columns() = default;
  void add(const lease_guard& g) {
    tenants.push_back(g.tenant.value);
    channels.push_back(g.channel.value);
    epochs.push_back(g.epoch);
  }
  std::vector<std::int64_t> tenants, channels, epochs;
};

std::string flags(const std::vector<bool>& values) {
  std::string out = "{";
  for (const bool v : values) out += out.size() > 1 ? (v ? ",t" : ",f") : (v ? "t" : "f");
  return out + "}";
}

}  // namespace

result<mail_store::survey> pg_mail_store::look_around() {
  const auto rows = link_.once({}, sql::look_around);
  if (!rows) return fail(rows.error());
  survey s;
  for (const auto& row : *rows) {
    s.members.push_back({incarnation_id{row[0].as<std::int64_t>()}, text(row[1]), row[2].as<bool>(), row[3].as<std::int64_t>(),
                         row[4].as<std::int64_t>(), row[5].as<std::int64_t>(), row[6].as<std::int64_t>(), row[7].as<std::int64_t>()});
    s.free = row[8].as<std::int64_t>();
    s.settled_seconds = row[9].as<double>();
  }
  return s;
}

result<void> pg_mail_store::start_draining(const incarnation& self) {
  return link_.transact({}, [&]() -> result<void> {
    link_.run(sql::start_draining, self.id);
    link_.run(sql::wake_cluster);
    return {};
  });
}

result<std::size_t> pg_mail_store::make_offers(const incarnation& self, move_reason why, const std::vector<offer>& offers,
                                               std::size_t moves_at_most) {
  return link_.transact({}, [&]() -> result<std::size_t> {
    std::size_t room = moves_at_most;
    if (why == move_reason::rebalance) {
      if (!link_.run(sql::try_balance_lock)[0][0].as<bool>()) return 0;  // another node is at it
      const auto moving = link_.run(sql::count_moving)[0][0].as<std::size_t>();
      room = room > moving ? room - moving : 0;
    }
    std::size_t made = 0;
    for (const auto& o : offers) {
      const auto n = std::min(o.count, room - made);
      if (n > 0)
        made +=
            static_cast<std::size_t>(link_.run(sql::offer, self.id, o.node, std::string(reasons[static_cast<std::size_t>(why)]), n).affected_rows());
    }
    if (made > 0) link_.run(sql::wake_cluster);
    return made;
  });
}

result<std::vector<mail_store::handover>> pg_mail_store::handovers(const incarnation& self) {
  const auto rows = link_.once({}, sql::handovers, self.id, self.node);
  if (!rows) return fail(rows.error());
  std::vector<handover> out;
  for (const auto& row : *rows) {
    handover h;
    const auto part = text(row[0]);
    h.as = part == "going" ? handover::part::going : part == "coming" ? handover::part::coming : handover::part::came;
    h.guard = {tenant_id{row[1].as<std::int64_t>()}, channel_id{row[2].as<std::int64_t>()}, row[3].as<std::int64_t>()};
    h.node = text(row[4]);
    h.why = reason_of(row[5]);
    if (!row[6].is_null()) h.ready = incarnation_id{row[6].as<std::int64_t>()};
    h.alone = row[7].as<bool>();
    h.refused = row[8].as<bool>();
    h.age_seconds = row[9].as<double>();
    out.push_back(std::move(h));
  }
  return out;
}

result<void> pg_mail_store::answer_offers(const incarnation& self, const std::vector<std::pair<lease_guard, readiness>>& answers) {
  if (answers.empty()) return {};
  columns c;
  std::vector<bool> alone, refused;
  for (const auto& [guard, how] : answers) {
    c.add(guard);
    alone.push_back(how == readiness::alone);
    refused.push_back(how == readiness::refused);
  }
  return link_.transact({}, [&]() -> result<void> {
    link_.run(sql::answer_offer, self.id, self.node, array_of(c.tenants), array_of(c.channels), flags(alone), flags(refused));
    link_.run(sql::wake_cluster);
    return {};
  });
}

result<void> pg_mail_store::withdraw_offers(const incarnation& self, const std::vector<lease_guard>& channels) {
  if (channels.empty()) return {};
  const columns c(channels);
  return link_.transact({}, [&]() -> result<void> {
    link_.run(sql::withdraw_offer, self.id, array_of(c.tenants), array_of(c.channels), array_of(c.epochs));
    link_.run(sql::wake_cluster);
    return {};
  });
}

result<std::vector<channel_id>> pg_mail_store::pass_on(const incarnation& self, const std::vector<std::pair<lease_guard, incarnation_id>>& heirs) {
  if (heirs.empty()) return std::vector<channel_id>{};
  columns c;
  std::vector<std::int64_t> lives;
  for (const auto& [guard, heir] : heirs) {
    c.add(guard);
    lives.push_back(heir.value);
  }
  return link_.transact({}, [&]() -> result<std::vector<channel_id>> {
    link_.run(sql::pass_on, self.id, array_of(c.tenants), array_of(c.channels), array_of(c.epochs), array_of(lives));
    link_.run(sql::wake_cluster);
    // The answer of an earlier try may have been lost with its connection: what counts is what is ours now.
    std::unordered_set<std::int64_t> kept;
    for (const auto& row : link_.run(sql::still_owned, self.id, array_of(c.tenants), array_of(c.channels), array_of(c.epochs)))
      kept.insert(row[0].as<std::int64_t>());
    std::vector<channel_id> gone;
    for (const auto& [guard, heir] : heirs)
      if (!kept.contains(guard.channel.value)) gone.push_back(guard.channel);
    return gone;
  });
}

result<void> pg_mail_store::take_passed(const incarnation& self, const std::vector<lease_guard>& channels) {
  if (channels.empty()) return {};
  const columns c(channels);
  const auto done = link_.once({}, sql::take_passed, self.id, array_of(c.tenants), array_of(c.channels), array_of(c.epochs));
  if (!done) return fail(done.error());
  return {};
}

}  // namespace mailherd::store
