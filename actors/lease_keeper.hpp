// actors/lease_keeper: this node's life in the cluster.
//
//   lease_keeper.cpp     membership, the channels held, the end
//   lease_handover.cpp   who else is there: shares, draining, channels on their way from and to other nodes
//
// Owns:   the incarnation, its renewal on a fixed grid, the channels held, claims within this node's share, handovers, the newest revision seen.
// Never:  serves on hope: when no renewal has succeeded for so long that the lease could end elsewhere before the fetchers have ended, it
//         revokes everything and joins anew. Never releases a channel before its fetcher has ended.
// Used by: node_guardian (which it tells `claimed`, `revoked`, `changed`, and which answers `revoked` per channel), terminator.
// Time:   counted on this node's monotonic clock from the moment a successful renewal was sent: the database began the lease later than that.
#pragma once

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "actors/environment.hpp"
#include "actors/handover_book.hpp"
#include "actors/interfaces.hpp"
#include "actors/timers.hpp"
#include "core/backoff.hpp"

namespace mailherd::actors {

/// The times of a lease that lives `ttl`.
struct lease_plan {
  explicit lease_plan(seconds ttl);

  duration renew;        ///< from one renewal to the next
  duration lost_grace;   ///< what is left to the fetchers when the lease may end
  duration serve;        ///< after the last renewal that succeeded was sent: no longer than this
};

struct lease_keeper_state {
  static inline const char* name = "lease_keeper";

  explicit lease_keeper_state(lease_keeper_actor::pointer me) : self(me) {}

  void start();
  void look();                                                  ///< a hint: claim and look for changes now
  void forget(channel_id channel, std::int64_t epoch);
  void release(const store::lease_guard& guard);
  void hand(const store::lease_guard& guard, hand_step step);   ///< a fetcher says something of its handover
  void drain();
  void stop();
  void guardian_ended();

  lease_keeper_actor::pointer self;
  const environment* env = nullptr;
  node_guardian_actor guardian;
  std::shared_ptr<std::atomic<bool>> serving;   ///< what /readyz is told
  lease_plan plan{limits::lease_ttl};
  actors::timers timers;

  std::optional<store::mail_store::incarnation> life;   ///< nullopt: not a member now
  std::uint64_t lives = 0;                              ///< answers of an earlier life are dropped
  unsigned join_attempts = 0;
  mono_time grid{};                                     ///< the last tick of the renewal's grid
  mono_time renewed{};                                  ///< when the last renewal that succeeded was sent
  unsigned renewals = 0;                                ///< under way
  std::uint64_t loss_timer = 0;
  std::unordered_map<channel_id, store::lease_guard> held;
  std::int64_t revision = 0;                            ///< newest seen
  bool primed = false;                                  ///< `revision` is a true starting point
  std::vector<store::lease_guard> unannounced;          ///< claimed before that
  bool claiming = false, claim_again = false;
  bool claim_lost = false;                              ///< a claim's answer was an error: what it brought may be ours all the same
  mono_time searched{};                                 ///< when the rows were last asked for such
  std::uint64_t given_back = 0;                         ///< counts releases begun: an older list of what is ours is void
  bool looking = false, look_again = false;
  unsigned ticks = 0;
  std::vector<store::lease_guard> to_release;
  unsigned releases = 0;                                ///< under way
  unsigned release_attempts = 0;
  bool draining = false, stopping = false, leaving = false, guardian_gone = false;
  std::function<void()> on_drained;                     ///< nothing more can be handed over
  bool told_drained = false;                            ///< since the drain was last asked for

  // who else is there
  handover_book book;
  bool surveying = false, survey_again = false;
  bool offering = false, passing = false;
  std::optional<mono_time> free_since;                  ///< there were free channels at every look since
  mono_time drain_since{}, drain_asked{}, stop_since{};
  bool telling_draining = false;

 private:
  void join();
  void tick();
  void renew();
  void watch_loss();
  void on_renewed(mono_time sent, const result<void>& answer);
  void lose(std::string_view why);
  void claim(std::size_t allowed);
  void find_lost();
  void on_claimed(std::vector<store::lease_guard> fresh);
  void announce(std::vector<store::lease_guard> fresh);
  void look_for_changes();
  void on_changes(const std::vector<store::mail_store::change>& changes);
  void revoke(std::vector<store::lease_guard> what, duration grace);
  void flush_releases();
  void end_if_done();
  void gauge();
  [[nodiscard]] std::vector<store::lease_guard> all_held() const;

  // lease_handover.cpp
  void survey();
  void on_survey(const store::mail_store::survey& s);
  void read_handovers();
  void follow(handover_book::orders orders);
  void pass_on();
  void offer(store::mail_store::move_reason why, std::vector<store::mail_store::offer> to);
  void tell_draining();
  void hand_over_all(const store::mail_store::survey& s);
  void give_back();
  void tell_drained();
  template <class Job>
  void write(Job job);   ///< a statement whose loss the next look makes good
};

lease_keeper_actor::behavior_type lease_keeper(lease_keeper_actor::stateful_pointer<lease_keeper_state> self, const environment* env,
                                               const node_guardian_actor& guardian, std::shared_ptr<std::atomic<bool>> serving,
                                               std::function<void()> on_drained);

/// `on_drained`: called on the keeper's thread when a draining node holds nothing any more (or is no member), or its database does not hear it; anew for
/// each time it is told to drain.
/// `serving`: true while this node holds a lease that is surely valid and takes channels.
lease_keeper_actor spawn_lease_keeper(caf::actor_system& system, const environment& env, const node_guardian_actor& guardian,
                                      std::shared_ptr<std::atomic<bool>> serving, std::function<void()> on_drained = {});

}  // namespace mailherd::actors
