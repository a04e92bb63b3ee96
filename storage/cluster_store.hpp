// storage/cluster_store: what a node may know and change of the cluster: lives, leases, handovers. The part of mail_store that no mail passes through.
//
// Owns:   the abstract store and the values that cross it. Implementation: cluster.cpp, handovers.cpp.
// Never:  takes a time from a node: every time is the database's. Threads, durability and errors as store.hpp says.
// Used by: lease_keeper and what it decides with.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/ids.hpp"
#include "core/result.hpp"

namespace mailherd::store {

/// Right to write for one channel: checked inside the writing transaction (invariant 1).
struct lease_guard {
  tenant_id tenant;
  channel_id channel;
  std::int64_t epoch = 0;
  /// Not part of the right: which of the channel's servers what is read or written here belongs to (channel_record::server of the session). Cursors and
  /// identities of different servers never meet, however alike their numbers are.
  std::int64_t server = 1;
};

class cluster_store {
 public:
  virtual ~cluster_store() = default;

  // -- cluster: incarnations and leases ------------------------------------------------------------------------------------------------

  struct incarnation {
    incarnation_id id;
    std::string node;
  };
  /// Registers a new life of the node `name`, which takes at most `capacity` channels. Leases held by an earlier life of the same name are free
  /// at once.
  virtual result<incarnation> join(const std::string& name, const std::string& version, seconds ttl, std::size_t capacity = 100'000) = 0;
  /// Renews, and tells how many channels this life holds; failure::fenced if its lease has expired and was given away. Database time.
  virtual result<void> renew(const incarnation& self, seconds ttl, std::size_t channels = 0) = 0;
  /// Claims up to `limit` enabled channels that nobody holds (no owner, or the owner's lease expired), raising their epoch. Tenants in turn, of
  /// each the stalest first.
  virtual result<std::vector<lease_guard>> claim(const incarnation& self, std::size_t limit) = 0;
  /// Everything the rows say is this incarnation's: finds what a claim brought whose answer was lost on the way.
  virtual result<std::vector<lease_guard>> owned(const incarnation& self) = 0;
  /// Gives channels back (graceful stop); the cursor is durable already.
  virtual result<void> release(const incarnation& self, const std::vector<lease_guard>& channels) = 0;
  virtual result<void> leave(const incarnation& self) = 0;

  /// Channels owned by this incarnation whose configuration, credential or enabled flag changed after `revision` (0: all), with the newest revision:
  /// what LISTEN/NOTIFY only hints at. Revision 0: only what is gone. The last entry names no channel and carries the revision to go on from;
  /// a change may be told twice.
  struct change {
    lease_guard guard;
    std::int64_t revision = 0;
    bool gone = false;   ///< deleted or disabled
  };
  virtual result<std::vector<change>> changes_since(const incarnation& self, std::int64_t revision) = 0;

  // -- cluster: shares, and handovers from node to node ---------------------------------------------------------------------------------

  /// A life that is not over.
  struct member {
    incarnation_id id;
    std::string node;
    bool draining = false;
    std::int64_t capacity = 0;
    std::int64_t channels = 0;   ///< that it told with its last renewal
    std::int64_t coming = 0;     ///< that are wanted by it and not there yet
    std::int64_t going = 0;      ///< its own that are wanted elsewhere
    std::int64_t came = 0;       ///< passed on to it, and not taken yet
  };
  struct survey {
    std::vector<member> members;
    std::int64_t free = 0;          ///< channels that nobody holds, or only a life that is over
    double settled_seconds = 0;     ///< since a node came or went
  };
  virtual result<survey> look_around() = 0;
  /// This life gives everything away from now on: told to all by its row.
  virtual result<void> start_draining(const incarnation& self) = 0;

  enum class move_reason { drain, move, rebalance };
  /// Wishes up to `count` of this life's channels onto `node`. With move_reason::rebalance under an advisory lock (0 if another node is at it)
  /// and only while fewer than `moves_at_most` are under way in the whole cluster. Answer: how many.
  struct offer {
    std::string node;
    std::size_t count = 0;

    friend bool operator==(const offer&, const offer&) = default;
  };
  virtual result<std::size_t> make_offers(const incarnation& self, move_reason why, const std::vector<offer>& offers, std::size_t moves_at_most) = 0;

  struct handover {
    enum class part { going, coming, came };
    part as = part::going;
    lease_guard guard;           ///< of the owner
    std::string node;            ///< that is wanted
    move_reason why = move_reason::move;
    incarnation_id ready;        ///< its life that can serve the channel at once; none: not yet
    bool alone = false;          ///< but only when the owner has logged out
    bool refused = false;        ///< it cannot
    double age_seconds = 0;      ///< since the wish; of what came: since it was passed on
  };
  /// Own channels that are wanted elsewhere, others' that are wanted here, and those passed on to this life that it has not taken yet.
  virtual result<std::vector<handover>> handovers(const incarnation& self) = 0;
  enum class readiness { ready, alone, refused };
  virtual result<void> answer_offers(const incarnation& self, const std::vector<std::pair<lease_guard, readiness>>& answers) = 0;
  virtual result<void> withdraw_offers(const incarnation& self, const std::vector<lease_guard>& channels) = 0;
  /// Owner and epoch change together, for those whose heir is still wanted, ready and alive. Answer: those of `heirs` that the caller holds no
  /// longer, whatever became of them. May be repeated.
  virtual result<std::vector<channel_id>> pass_on(const incarnation& self, const std::vector<std::pair<lease_guard, incarnation_id>>& heirs) = 0;
  /// What came has been taken.
  virtual result<void> take_passed(const incarnation& self, const std::vector<lease_guard>& channels) = 0;
};

}  // namespace mailherd::store
