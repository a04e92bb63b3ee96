// tests/actors/memory_mail: the mail store with real semantics, in memory: epochs, ledger, gapless sequences, cursors, tries, states, leases.
//
// Owns:   channels as rows; what a test may ask of them afterwards. Faults on command.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/actors/fake_store.hpp"

namespace mailherd::test {

class memory_mail : public fake_mail {
 public:
  struct stored {
    std::int64_t sequence = 0;
    store::incoming_message message;
    std::string raw;   ///< also of a body that came in chunks
  };
  struct ledger_entry {
    std::int64_t origin = 0;
    message_source source;
    wall_time date{};
    std::uint64_t size = 0;
    sha256_digest digest{}, header_digest{};
    bool has_body = false, skipped = false;
    after_fetch after = after_fetch::keep;
  };
  struct row {
    channel_load load;
    std::int64_t epoch = 1;
    std::map<std::int64_t, credential> generations;   ///< all that are kept; empty: the test writes `load.credential` and `load.serving` itself
    std::map<std::pair<protocol_kind, std::string>, store::cursor> cursors;
    std::vector<ledger_entry> ledger;
    std::set<std::tuple<std::string, std::uint32_t, std::uint32_t, std::string>> identities;   ///< of the ledger
    std::vector<stored> messages;
    std::map<std::string, unsigned> tries;
    std::vector<state_change> states;
    std::int64_t suppressed = 0;

    [[nodiscard]] std::size_t copies_of(const std::string& raw) const;
    [[nodiscard]] const stored* subject(const std::string& text) const;
    [[nodiscard]] channel_state state() const { return load.record.state; }
  };

  std::map<channel_id, row> channels;
  std::map<blob_id, std::map<std::int32_t, std::string>> blobs;   ///< in chunks, or bodies written ahead
  /// Asked before every call: what fails, or nullopt.
  std::function<std::optional<failure>(std::string_view what)> fault;
  /// Asked before every commit: true refuses the whole group.
  std::function<bool(const std::vector<store::commit_unit>&)> refuse;
  /// Asked after every commit, of mail, a state or a refresh token: true loses its answer (the connection broke when it was given).
  std::function<bool()> lose_answer;
  std::size_t commits = 0;
  /// Who renews which grant, and until when; without a clock a hold lasts until it is given back.
  std::map<channel_id, std::pair<std::int64_t, mono_time>> grant_holds;
  std::function<mono_time()> clock;

  row& add(tenant_id tenant, channel_id channel);

  result<std::vector<store::commit_outcome>> commit(const std::vector<store::commit_unit>& units) override;
  result<blob_id> new_blob(const store::lease_guard& guard) override;
  result<void> put_chunk(const store::lease_guard& guard, blob_id blob, std::int32_t index, const std::string& bytes) override;
  result<blob_id> put_bodies(const store::lease_guard& guard, const std::vector<std::shared_ptr<const std::string>>& bodies) override;
  result<store::cursor> load_cursor(const store::lease_guard& guard, protocol_kind protocol, const std::string& folder) override;
  result<std::vector<std::string>> unknown_uidls(const store::lease_guard& guard, const std::vector<std::string>& uidls) override;
  result<store::listed_origins> listed_origins(const store::lease_guard& guard, const std::vector<std::string>& uidls) override;
  result<std::vector<mailherd::uid>> stored_uids(const store::lease_guard& guard, const std::string& folder, mailherd::uid_validity validity,
                                                 mailherd::uid after, mailherd::uid upto, after_fetch what, std::size_t limit) override;
  result<std::vector<store::stored_uidl>> stored_uidls(const store::lease_guard& guard, const std::vector<std::string>& uidls) override;
  result<std::vector<store::candidate>> find_candidates(const store::lease_guard& guard, const std::string& folder, mailherd::uid_validity validity,
                                                        const std::vector<std::pair<std::optional<wall_time>, std::uint64_t>>& keys,
                                                        store::identities here) override;
  result<unsigned> note_try(const store::lease_guard& guard, const message_source& source) override;
  result<void> set_state(const store::lease_guard& guard, const state_change& change) override;
  result<void> touch_success(const std::vector<std::pair<store::lease_guard, wall_time>>& signs) override;
  result<channel_load> load_channel(tenant_id tenant, channel_id channel) override;
  result<void> rotate_refresh_token(const store::lease_guard& guard, std::int64_t generation, const secret<>& used, const secret<>& fresh,
                                    const std::string& account) override;
  result<bool> hold_grant(const store::lease_guard& guard, std::int64_t holder, seconds hold) override;
  result<void> release_grant(const store::lease_guard& guard, std::int64_t holder) override;

 private:
  result<row*> holder(std::string_view what, const store::lease_guard& guard);
  store::commit_outcome commit_one(const store::commit_unit& unit);
  result<void> rotate_kept(row& r, std::int64_t generation, const secret<>& used, const secret<>& fresh, const std::string& account);
  std::int64_t origins_ = 0, blob_ids_ = 0;
};

}  // namespace mailherd::test
