// storage/cluster: incarnations, leases, changes, housekeeping; handovers are in handovers.cpp. Every time is the database's.
#include <fmt/format.h>

#include "queries.hpp"
#include "storage/mail_store.hpp"
#include "storage/purge.hpp"

namespace mailherd::store {

namespace {

/// Rows of one statement of the sweep, so that it never holds locks for long.
constexpr std::int64_t sweep_rows = 1'000;

tl::unexpected<error> life_is_over() { return fail(failure::fenced, "this node's lease ran out and was given away"); }

}  // namespace

result<mail_store::incarnation> pg_mail_store::join(const std::string& name, const std::string& version, seconds ttl, std::size_t capacity) {
  return link_.transact({}, [&]() -> result<incarnation> {
    link_.run(sql::end_lives, name);
    link_.run(sql::free_ended_leases);
    const auto rows = link_.run(sql::new_life, name, version, static_cast<std::int64_t>(ttl.count()), capacity);
    return incarnation{incarnation_id{rows[0][0].as<std::int64_t>()}, name};
  });
}

result<void> pg_mail_store::renew(const incarnation& self, seconds ttl, std::size_t channels) {
  const auto rows = link_.once({}, sql::renew, self.id, static_cast<std::int64_t>(ttl.count()), channels);
  if (!rows) return fail(rows.error());
  if (rows->affected_rows() == 0) return life_is_over();
  return {};
}

result<std::vector<lease_guard>> pg_mail_store::claim(const incarnation& self, std::size_t limit) {
  return link_.transact({}, [&]() -> result<std::vector<lease_guard>> {
    link_.run(sql::end_expired);
    link_.run(sql::free_ended_leases);
    std::vector<lease_guard> out;
    for (const auto& row : link_.run(sql::claim, self.id, limit))
      out.push_back({tenant_id{row[0].as<std::int64_t>()}, channel_id{row[1].as<std::int64_t>()}, row[2].as<std::int64_t>()});
    return out;
  });
}

result<std::vector<lease_guard>> pg_mail_store::owned(const incarnation& self) {
  return link_.transact({}, [&]() -> result<std::vector<lease_guard>> {
    std::vector<lease_guard> out;
    for (const auto& row : link_.run(sql::owned, self.id))
      out.push_back({tenant_id{row[0].as<std::int64_t>()}, channel_id{row[1].as<std::int64_t>()}, row[2].as<std::int64_t>()});
    return out;
  });
}

result<void> pg_mail_store::release(const incarnation& self, const std::vector<lease_guard>& channels) {
  if (channels.empty()) return {};
  std::vector<std::int64_t> tenants, ids, epochs;
  for (const auto& g : channels) {
    tenants.push_back(g.tenant.value);
    ids.push_back(g.channel.value);
    epochs.push_back(g.epoch);
  }
  return link_.transact({}, [&]() -> result<void> {
    link_.run(sql::release, self.id, array_of(tenants), array_of(ids), array_of(epochs));
    link_.run(sql::wake_cluster);   // whoever has room takes them now
    link_.run(sql::drop_orphaned_leases, array_of(tenants), array_of(ids));
    return {};
  });
}

result<void> pg_mail_store::leave(const incarnation& self) {
  return link_.transact({}, [&]() -> result<void> {
    link_.run(sql::release_all, self.id);
    link_.run(sql::leave, self.id);
    link_.run(sql::wake_cluster);
    return {};
  });
}

result<std::vector<mail_store::change>> pg_mail_store::changes_since(const incarnation& self, std::int64_t revision) {
  return link_.transact({}, [&]() -> result<std::vector<change>> {
    // First the point to go on from, then the rows: what commits between the two is told twice rather than never.
    const auto next = link_.run(sql::safe_revision)[0][0].as<std::int64_t>();
    const auto rows = revision == 0 ? link_.run(sql::gone_channels, self.id) : link_.run(sql::changes_since, self.id, revision);
    std::vector<change> out;
    for (const auto& row : rows) {
      change c;
      c.guard = {tenant_id{row[0].as<std::int64_t>()}, channel_id{row[1].as<std::int64_t>()}, row[2].as<std::int64_t>()};
      c.gone = row[3].as<bool>();
      out.push_back(c);
    }
    change mark;
    mark.revision = next;
    out.push_back(mark);
    return out;
  });
}

result<void> pg_mail_store::drop_old_partitions(const std::string& parent, std::int64_t days) {
  if (days <= 0) return {};
  const auto old = link_.once({}, sql::old_partitions, parent, days);
  if (!old) return fail(old.error());
  for (const auto& row : *old) {
    // It needs the whole table for a moment. Behind a long read (a dump) every commit would wait behind it in turn: tried again with the next sweep.
    auto done = link_.execute(fmt::format("SET LOCAL lock_timeout = '1s'; DROP TABLE IF EXISTS {}", link_.quoted(text(row[0]))));
    if (!done && done.error().code != failure::timed_out) return done;
  }
  return {};
}

result<void> pg_mail_store::sweep() {
  const auto mine = link_.once({}, sql::try_sweep_lock);
  if (!mine) return fail(mine.error());
  if (!(*mine)[0][0].as<bool>()) return {};   // another node is at it
  auto done = sweep_alone();
  // Past an error too: the connection is used further. If it broke, the lock went with it.
  if (const auto over = link_.once({}, sql::end_sweep); !over && done) return fail(over.error());
  return done;
}

result<void> pg_mail_store::sweep_alone() {
  auto done = link_.transact({}, [&]() -> result<void> {
    link_.run(sql::sweep_partitions_ahead);
    link_.run(sql::sweep_keys);
    link_.run(sql::sweep_lives);
    link_.run(sql::sweep_tries);
    link_.run(sql::sweep_grant_holds);
    link_.run(sql::sweep_consents);
    link_.run(sql::sweep_credentials);
    link_.run(sql::sweep_deliveries, limits::webhook_sample_days, limits::channel_state_days);
    return {};
  });
  if (!done) return done;
  for (bool more = true; more;) {
    const auto rows = link_.once({}, sql::sweep_blobs, retention_days_, sweep_rows);
    if (!rows) return fail(rows.error());
    more = rows->affected_rows() == static_cast<std::size_t>(sweep_rows);
  }
  // A body is a moment older than its message; at the turn of a month it lies in the partition before.
  const auto bodies_days = retention_days_ > 0 ? retention_days_ + 1 : 0;
  for (const auto& [parent, days] : {std::pair{"messages", retention_days_}, {"bodies", bodies_days}, {"outbox", outbox_days_}, {"channel_events", retention_days_}})
    if (auto dropped = drop_old_partitions(parent, days); !dropped) return dropped;
  // Last: it may take long. The list of deleted channels must not go before their mail.
  const auto purged = purge_gone(link_, {}, purge_per_sweep);
  if (!purged) return fail(purged.error());
  if (*purged)
    if (const auto rows = link_.once({}, sql::sweep_changes); !rows) return fail(rows.error());
  return {};
}

}  // namespace mailherd::store
