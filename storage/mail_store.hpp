// storage/mail_store: what the running herd writes and reads, over one connection.
//
//   commit.cpp       the group commit: invariants 1 and 2
//   mail_store.cpp   bodies in chunks, cursors, the ledger, channel state, credentials
//   cluster.cpp      incarnations, leases, changes, housekeeping
//
// Owns:   nothing but references. Never:  writes for a channel without its lease epoch.
// Threads: as store.hpp: one at a time, blocking.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "storage/connection.hpp"
#include "storage/keyring.hpp"
#include "storage/store.hpp"

namespace mailherd::store {

class pg_mail_store final : public mail_store {
 public:
  pg_mail_store(connection& link, const keyring& keys, std::int64_t retention_days, std::int64_t outbox_days)
      : link_(link), keys_(keys), retention_days_(retention_days), outbox_days_(outbox_days) {}

  result<std::vector<commit_outcome>> commit(const std::vector<commit_unit>& units) override;
  result<blob_id> new_blob(const lease_guard& guard) override;
  result<void> put_chunk(const lease_guard& guard, blob_id blob, std::int32_t index, const std::string& bytes) override;
  result<blob_id> put_bodies(const lease_guard& guard, const std::vector<std::shared_ptr<const std::string>>& bodies) override;
  result<store::cursor> load_cursor(const lease_guard& guard, protocol_kind protocol, const std::string& folder) override;
  result<std::vector<std::string>> unknown_uidls(const lease_guard& guard, const std::vector<std::string>& uidls) override;
  result<store::listed_origins> listed_origins(const lease_guard& guard, const std::vector<std::string>& uidls) override;
  result<std::vector<mailherd::uid>> stored_uids(const lease_guard& guard, const std::string& folder, mailherd::uid_validity validity,
                                                 mailherd::uid after, mailherd::uid upto, after_fetch what, std::size_t limit) override;
  result<std::vector<stored_uidl>> stored_uidls(const lease_guard& guard, const std::vector<std::string>& uidls) override;
  result<std::vector<candidate>> find_candidates(const lease_guard& guard, const std::string& folder, mailherd::uid_validity validity,
                                                 const std::vector<std::pair<std::optional<wall_time>, std::uint64_t>>& keys,
                                                 identities here) override;
  result<unsigned> note_try(const lease_guard& guard, const message_source& source) override;
  result<void> set_state(const lease_guard& guard, const state_change& change) override;
  result<void> touch_success(const std::vector<std::pair<lease_guard, wall_time>>& channels) override;
  result<channel_load> load_channel(tenant_id tenant, channel_id channel) override;
  result<void> block_app(tenant_id tenant, app_id app, std::int64_t revision, const std::string& why, seconds hold) override;
  result<bool> try_blocked_app(tenant_id tenant, app_id app, seconds hold) override;
  result<void> unblock_app(tenant_id tenant, app_id app) override;
  result<void> rotate_refresh_token(const lease_guard& guard, std::int64_t generation, const secret<>& used, const secret<>& fresh,
                                    const std::string& account) override;
  result<bool> hold_grant(const lease_guard& guard, std::int64_t holder, seconds hold) override;
  result<void> release_grant(const lease_guard& guard, std::int64_t holder) override;
  result<incarnation> join(const std::string& name, const std::string& version, seconds ttl, std::size_t capacity) override;
  result<void> renew(const incarnation& self, seconds ttl, std::size_t channels) override;
  result<std::vector<lease_guard>> claim(const incarnation& self, std::size_t limit) override;
  result<std::vector<lease_guard>> owned(const incarnation& self) override;
  result<void> release(const incarnation& self, const std::vector<lease_guard>& channels) override;
  result<void> leave(const incarnation& self) override;
  result<std::vector<change>> changes_since(const incarnation& self, std::int64_t revision) override;
  result<survey> look_around() override;
  result<void> start_draining(const incarnation& self) override;
  result<std::size_t> make_offers(const incarnation& self, move_reason why, const std::vector<offer>& offers, std::size_t moves_at_most) override;
  result<std::vector<handover>> handovers(const incarnation& self) override;
  result<void> answer_offers(const incarnation& self, const std::vector<std::pair<lease_guard, readiness>>& answers) override;
  result<void> withdraw_offers(const incarnation& self, const std::vector<lease_guard>& channels) override;
  result<std::vector<channel_id>> pass_on(const incarnation& self, const std::vector<std::pair<lease_guard, incarnation_id>>& heirs) override;
  result<void> take_passed(const incarnation& self, const std::vector<lease_guard>& channels) override;
  result<void> sweep() override;

 private:
  result<void> sweep_alone();
  result<void> drop_old_partitions(const std::string& parent, std::int64_t days);

  connection& link_;
  const keyring& keys_;
  std::int64_t retention_days_;   ///< of messages; 0: for ever
  std::int64_t outbox_days_;      ///< of a table that only older versions write
};

}  // namespace mailherd::store
