// storage/commit: the group commit of many channels' mail. Order of locks: leases (tenant, channel), then feed heads (tenant).
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "queries.hpp"
#include "storage/mail_store.hpp"
#include "storage/rows.hpp"

namespace mailherd::store {

namespace {

constexpr sha256_digest no_digest{};

/// Parameters of one statement over many rows: a column is an array.
template <class T>
using column = std::vector<T>;

void append(std::string& out, const sha256_digest& d) { out.append(reinterpret_cast<const char*>(d.data()), d.size()); }

/// A message of a unit whose epoch holds.
struct item {
  std::size_t unit;
  const incoming_message* message;
  bool fresh = false;   ///< its identity was not in the ledger
  std::int64_t sequence = 0, position = 0;
};

using identity = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::string, std::string, std::int64_t>;

identity identity_of(const commit_unit& unit, const incoming_message& m) {
  return {unit.guard.channel.value, m.source.uid_validity.value, m.source.uid.value, m.source.folder, m.source.uidl, unit.guard.server};
}

std::string_view word_of(named_by names) {
  switch (names) {
    case named_by::unknown: return "";
    case named_by::uidl: return "uidl";
    case named_by::digest: return "digest";
    case named_by::renewed: return "renewed";
  }
  return "";
}

bool has_body(const incoming_message& m) { return m.body != nullptr || bool(m.blob); }

/// One group on its way through its transaction.
class group {
 public:
  group(connection& link, const std::vector<commit_unit>& units) : link_(link), units_(units), outcomes_(units.size()) {}

  result<std::vector<commit_outcome>> run() {
    lock_leases();
    insert_identities();
    insert_other_identities();
    number_channels();
    if (auto numbered = number_feed(); !numbered) return fail(numbered.error());
    insert_messages();
    if (auto claimed = claim_blobs(); !claimed) return fail(claimed.error());
    put_cursors();
    return std::move(outcomes_);
  }

  /// Tenants whose feed grew.
  [[nodiscard]] const std::map<tenant_id, std::int64_t>& grown() const { return grown_; }

 private:
  [[nodiscard]] bool holds(std::size_t unit) const { return outcomes_[unit].status.has_value(); }

  void lock_leases() {
    column<std::int64_t> tenants, channels, epochs;
    for (auto& o : outcomes_) o.status = fail(failure::fenced, "another owner holds the lease");
    for (const auto& u : units_) {
      tenants.push_back(u.guard.tenant.value);
      channels.push_back(u.guard.channel.value);
      epochs.push_back(u.guard.epoch);
    }
    for (const auto& row : link_.run(sql::lock_leases, array_of(tenants), array_of(channels), array_of(epochs)))
      outcomes_[row[0].as<std::size_t>() - 1].status = {};
    for (std::size_t i = 0; i < units_.size(); ++i) {
      if (!holds(i)) continue;
      for (const auto& m : units_[i].messages) items_.push_back({i, &m});
    }
  }

  void insert_identities() {
    if (items_.empty()) return;
    column<std::int64_t> tenants, channels, servers, validities, uids, sizes, dates;
    column<std::string> with_body, with_headers, folders, uidls, afters;
    std::string digests, header_digests;
    for (const auto& it : items_) {
      const auto& m = *it.message;
      tenants.push_back(units_[it.unit].guard.tenant.value);
      channels.push_back(units_[it.unit].guard.channel.value);
      servers.push_back(units_[it.unit].guard.server);
      validities.push_back(m.source.uid_validity.value);
      uids.push_back(m.source.uid.value);
      sizes.push_back(static_cast<std::int64_t>(m.size));
      dates.push_back(micros(m.internal_date));
      with_body.emplace_back(has_body(m) ? "t" : "f");
      with_headers.emplace_back(m.header_digest == no_digest ? "f" : "t");
      afters.emplace_back(to_string(units_[it.unit].after));
      folders.push_back(m.source.folder);
      uidls.push_back(m.source.uidl);
      append(digests, m.digest);
      append(header_digests, m.header_digest);
    }
    const auto added = link_.run(sql::insert_identities, array_of(tenants), array_of(channels), array_of(validities), array_of(uids), array_of(sizes),
                                 array_of(dates), array_of(with_body), array_of(folders), array_of(uidls), binary(digests), binary(header_digests),
                                 array_of(with_headers), array_of(servers), array_of(afters));
    if (static_cast<std::size_t>(added.size()) == items_.size()) {
      for (auto& it : items_) it.fresh = true;
      return;
    }
    std::set<identity> fresh;
    for (const auto& row : added)
      fresh.emplace(row[0].as<std::int64_t>(), row[1].as<std::int64_t>(), row[2].as<std::int64_t>(), text(row[3]), text(row[4]), row[5].as<std::int64_t>());
    for (auto& it : items_) it.fresh = fresh.erase(identity_of(units_[it.unit], *it.message)) > 0;
  }

  void insert_other_identities() {
    for (std::size_t i = 0; i < units_.size(); ++i) {
      const auto& u = units_[i];
      if (!holds(i)) continue;
      if (!u.skipped_uidls.empty()) link_.run(sql::insert_skipped, u.guard.tenant, u.guard.channel, array_of(u.skipped_uidls), u.guard.server);
      if (u.known.empty()) continue;
      column<std::int64_t> origins, sizes, validities, uids;
      column<std::string> uidls;
      for (const auto& k : u.known) {
        origins.push_back(k.ledger_id);
        sizes.push_back(static_cast<std::int64_t>(k.size));
        validities.push_back(k.source.uid_validity.value);
        uids.push_back(k.source.uid.value);
        uidls.push_back(k.source.uidl);
      }
      link_.run(sql::insert_known, u.guard.tenant, u.guard.channel, u.known.front().source.folder, array_of(origins), array_of(sizes),
                array_of(validities), array_of(uids), array_of(uidls), u.guard.server);
    }
  }

  /// Gapless per channel: the channel's row is ours while its lease is locked.
  void number_channels() {
    struct growth {
      std::int64_t fresh = 0;
      std::optional<std::int64_t> done, total;
    };
    std::map<std::pair<std::int64_t, std::int64_t>, growth> channels;
    const auto key = [&](std::size_t unit) { return std::pair{units_[unit].guard.tenant.value, units_[unit].guard.channel.value}; };
    for (std::size_t i = 0; i < units_.size(); ++i) {
      if (!holds(i)) continue;
      auto& g = channels[key(i)];
      if (units_[i].backfill_done) g.done = units_[i].backfill_done;
      if (units_[i].backfill_total) g.total = units_[i].backfill_total;
    }
    for (const auto& it : items_) channels[key(it.unit)].fresh += it.fresh ? 1 : 0;
    if (channels.empty()) return;
    column<std::int64_t> tenants, ids, counts;
    column<std::optional<std::int64_t>> done, total;
    for (const auto& [k, g] : channels) {
      tenants.push_back(k.first);
      ids.push_back(k.second);
      counts.push_back(g.fresh);
      done.push_back(g.done);
      total.push_back(g.total);
    }
    std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> next;
    for (const auto& row : link_.run(sql::number_channels, array_of(tenants), array_of(ids), array_of(counts), array_of(done), array_of(total))) {
      const std::pair k{row[0].as<std::int64_t>(), row[1].as<std::int64_t>()};
      next[k] = row[2].as<std::int64_t>() - channels[k].fresh;
    }
    for (auto& it : items_) {
      auto& o = outcomes_[it.unit];
      if (!it.fresh) {
        if (it.message->body_index != incoming_message::no_index) repeated_.push_back(it);
        ++o.suppressed;
        continue;
      }
      it.sequence = ++next[key(it.unit)];
      ++o.stored;
    }
    for (std::size_t i = 0; i < units_.size(); ++i)
      if (holds(i)) outcomes_[i].last_sequence = next[key(i)];
    std::erase_if(items_, [](const item& it) { return !it.fresh; });
  }

  /// Gapless per tenant. From here on other groups with mail of the same tenants wait for our commit: this comes as late as it can.
  result<void> number_feed() {
    if (items_.empty()) return {};
    for (const auto& it : items_) ++grown_[units_[it.unit].guard.tenant];
    column<std::int64_t> tenants, counts;
    for (const auto& [tenant, n] : grown_) {
      tenants.push_back(tenant.value);
      counts.push_back(n);
    }
    std::map<std::int64_t, std::int64_t> next;
    for (const auto& row : link_.run(sql::lock_feed_heads, array_of(tenants))) next[row[0].as<std::int64_t>()] = row[1].as<std::int64_t>();
    if (next.size() != grown_.size()) return fail(failure::not_found, "the tenant was deleted");
    for (auto& it : items_) it.position = ++next[units_[it.unit].guard.tenant.value];
    link_.run(sql::advance_feed_heads, array_of(tenants), array_of(counts));
    return {};
  }

  void insert_messages() {
    if (items_.empty()) return;
    column<std::int64_t> tenants, positions, channels, sequences, dates, sizes, validities, uids, firsts, lengths;
    column<std::optional<std::int64_t>> blob_ids, indexes;
    column<std::string> with_body, protocols, folders, uidls, problems, envelopes;
    std::string digests, bodies;
    std::size_t total = 0;
    for (const auto& it : items_) total += it.message->body ? it.message->body->size() : 0;
    bodies.reserve(total);
    for (const auto& it : items_) {
      const auto& m = *it.message;
      const auto& u = units_[it.unit];
      tenants.push_back(u.guard.tenant.value);
      positions.push_back(it.position);
      channels.push_back(u.guard.channel.value);
      sequences.push_back(it.sequence);
      dates.push_back(micros(m.internal_date));
      sizes.push_back(static_cast<std::int64_t>(m.size));
      validities.push_back(m.source.uid_validity.value);
      uids.push_back(m.source.uid.value);
      blob_ids.push_back(m.blob ? std::optional(m.blob.value) : std::nullopt);
      indexes.push_back(m.body_index != incoming_message::no_index ? std::optional<std::int64_t>(m.body_index) : std::nullopt);
      with_body.emplace_back(has_body(m) ? "t" : "f");
      protocols.emplace_back(to_string(m.source.protocol));
      folders.push_back(m.source.folder);
      uidls.push_back(m.source.uidl);
      problems.push_back(m.problem);
      envelopes.push_back(envelope_json(m.envelope));
      append(digests, m.digest);
      firsts.push_back(static_cast<std::int64_t>(bodies.size()));
      lengths.push_back(m.body ? static_cast<std::int64_t>(m.body->size()) : -1);
      if (m.body) bodies += *m.body;
    }
    const auto all_bodies = binary(bodies);
    std::string().swap(bodies);   // megabytes that would otherwise lie here while the database works
    link_.run(sql::insert_messages, array_of(tenants), array_of(positions), array_of(channels), array_of(sequences), array_of(dates), array_of(sizes),
              array_of(validities), array_of(uids), array_of(blob_ids), array_of(with_body), array_of(protocols), array_of(folders), array_of(uidls),
              array_of(problems), array_of(envelopes), array_of(firsts), array_of(lengths), all_bodies, binary(digests), array_of(indexes));
  }

  /// What was written ahead belongs to the messages of the first commit that names it. One that is repeated after a lost answer names bodies that
  /// belong to its messages already: none of those is fresh, and nothing here may touch them.
  result<void> claim_blobs() {
    std::map<std::int64_t, tenant_id> named;
    for (const auto& it : items_)
      if (it.message->blob) named.emplace(it.message->blob.value, units_[it.unit].guard.tenant);
    if (named.empty()) return {};
    column<std::int64_t> tenants, blobs;
    for (const auto& [blob, tenant] : named) {
      tenants.push_back(tenant.value);
      blobs.push_back(blob);
    }
    if (static_cast<std::size_t>(link_.run(sql::claim_blobs, array_of(tenants), array_of(blobs)).size()) != named.size())
      return fail(failure::store_failed, "a body that was written ahead is gone, or belongs to another message");
    column<std::int64_t> drop_tenants, drop_blobs, drop_indexes;
    for (const auto& it : repeated_) {
      if (!named.contains(it.message->blob.value)) continue;
      drop_tenants.push_back(units_[it.unit].guard.tenant.value);
      drop_blobs.push_back(it.message->blob.value);
      drop_indexes.push_back(it.message->body_index);
    }
    if (!drop_blobs.empty()) link_.run(sql::drop_bodies, array_of(drop_tenants), array_of(drop_blobs), array_of(drop_indexes));
    return {};
  }

  /// In the order of the units: of two for the same source the later one stands.
  void put_cursors() {
    for (std::size_t i = 0; i < units_.size(); ++i) {
      const auto& u = units_[i];
      if (!holds(i) || !u.move_cursor) continue;
      const auto& c = *u.move_cursor;
      link_.run(sql::put_cursor, u.guard.tenant, u.guard.channel, to_string(u.protocol), u.folder, c.uid_validity.value, c.last_uid.value, c.after_uid.value,
                c.reconcile_upto.value, static_cast<std::int64_t>(c.highest_modseq), c.baseline, c.initialised, u.guard.server, word_of(c.names));
    }
  }

  connection& link_;
  const std::vector<commit_unit>& units_;
  std::vector<commit_outcome> outcomes_;
  std::vector<item> items_;
  std::vector<item> repeated_;   ///< stored before, although their bodies were written ahead again
  std::map<tenant_id, std::int64_t> grown_;
};

}  // namespace

result<std::vector<commit_outcome>> pg_mail_store::commit(const std::vector<commit_unit>& units) {
  if (units.empty()) return std::vector<commit_outcome>{};
  group work(link_, units);
  auto outcomes = link_.transact({}, [&] { return work.run(); });
  if (outcomes && !work.grown().empty()) {
    column<std::int64_t> tenants;
    for (const auto& [tenant, n] : work.grown()) tenants.push_back(tenant.value);
    // A hint only: lost, it costs those who wait for mail a moment.
    static_cast<void>(link_.once({}, sql::notify_feed, array_of(tenants)));
  }
  return outcomes;
}

}  // namespace mailherd::store
