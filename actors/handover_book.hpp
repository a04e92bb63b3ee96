// actors/handover_book: what this node hands to others and takes from them, as a plain class without actor, clock or database.
//
//   owner:   wished ── the wanted node is ready ──▶ yielding ── the fetcher has nothing in hand ──▶ passing ── rows say so ──▶ gone
//   target:  standby prepared ── its fetcher is ready ──▶ answered ── rows name this node as the owner ──▶ taken
//
// Owns:   a record per handover, its deadlines, what follows from what the rows and the fetchers say.
// Never:  trusts its memory: rows decide, read again and again; whatever is in doubt ends with the owner serving on.
// Used by: lease_keeper, which carries the orders out.
#pragma once

#include <unordered_map>
#include <utility>
#include <vector>

#include "actors/interfaces.hpp"
#include "storage/store.hpp"

namespace mailherd::actors {

class handover_book {
 public:
  using guards = std::vector<store::lease_guard>;
  using readiness = store::mail_store::readiness;
  using row = store::mail_store::handover;
  using reason = store::mail_store::move_reason;

  struct orders {
    guards prepare;                                                 ///< standbys to begin, with epoch 0
    guards dismiss;                                                 ///< standbys to end, with epoch 0
    std::vector<std::pair<store::lease_guard, hand_step>> steps;    ///< for own fetchers
    guards withdraw;                                                ///< wishes to take back
    std::vector<std::pair<store::lease_guard, readiness>> answers;  ///< to the wishes of others
    guards came;                                                    ///< ours from now on
    std::vector<std::pair<reason, bool>> ended;                     ///< for the metric: done, or given up
  };

  /// `held`: this node's channels. `room`: how many standbys may be begun.
  orders read(const std::vector<row>& rows, const std::unordered_map<channel_id, store::lease_guard>& held, incarnation_id self, std::size_t room,
              mono_time now);

  /// What a fetcher says.
  orders heard(const store::lease_guard& guard, hand_step step, mono_time now);

  /// What may be passed on now; each is given out once, until `passed` or `not_passed`.
  std::vector<std::pair<store::lease_guard, incarnation_id>> take_passing();
  /// The store has answered for `batch`: those in `gone` are ours no longer.
  orders passed(const std::vector<std::pair<store::lease_guard, incarnation_id>>& batch, const std::vector<channel_id>& gone);
  /// It has not: perhaps it was done. Asked again.
  void not_passed(const std::vector<std::pair<store::lease_guard, incarnation_id>>& batch);

  /// The lease is lost, or everything is given back: all standbys end, nothing is passed on.
  orders clear();
  /// A channel is held no longer, or its standby has ended by itself.
  void forget(channel_id channel);

  [[nodiscard]] std::size_t going() const { return going_.size(); }
  [[nodiscard]] std::size_t coming() const { return coming_.size(); }
  [[nodiscard]] bool idle() const { return going_.empty() && coming_.empty(); }

 private:
  enum class stage : std::uint8_t { wished, yielding, passing };
  struct outgoing {
    store::lease_guard guard;
    std::string node;
    reason why = reason::move;
    stage at = stage::wished;
    mono_time since{};  ///< of this stage
    incarnation_id heir;
    bool given_out = false;  ///< passing: the store was asked
    std::uint64_t read = 0;
  };
  struct standby {
    store::lease_guard guard;  ///< epoch 0
    std::optional<readiness> said;
    mono_time said_at{};
    std::uint64_t read = 0;
  };
  void read_going(const row& r, mono_time now, orders& out);
  void read_coming(const row& r, incarnation_id self, std::size_t& room, mono_time now, orders& out);
  void give_up(channel_id channel, orders& out);

  std::unordered_map<channel_id, outgoing> going_;
  std::unordered_map<channel_id, standby> coming_;
  std::uint64_t reads_ = 0;
};

}  // namespace mailherd::actors
