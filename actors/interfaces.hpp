// actors/interfaces: the architecture in one page: every actor of a node, every message it takes.
//
//   terminator ── starts the parts, starts all of them anew if one breaks, stops them in order: a grace period, then a kill that is reported
//   prober                             connection tests
//   deliverer                          webhooks: claims endpoints, reads the feed for them, sends
//   node_guardian                      one per node: turns leases into supervisors
//     ├── lease_keeper                 this node's life in the cluster: joins, renews, claims, releases
//     ├── storage_gate                 bounded queue before the storage workers: group commits over many channels
//     ├── pacer                        how many sign-ins may run at once, per mail host and in all; stalest channel first
//     └── tenant_supervisor            one per tenant: restarts what dies, watches progress
//           └── channel_fetcher        one per mailbox: the serving session, its successor, the cursor
//                 └── token_refresher  one per OAuth2 grant: access tokens, one refresh at a time
//
// Rules: no handler blocks; no message carries a secret except inside secret<T>; what runs outside the actor system (network sessions,
//        storage jobs, timers of the budget) comes back as `continuation` or `session_atom`, guarded by an epoch.
#pragma once

#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/async.hpp"
#include "actors/atoms.hpp"
#include "actors/control.hpp"
#include "actors/session/session.hpp"
#include "core/clock.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "storage/store.hpp"

namespace mailherd::actors {

// ---- values that travel -------------------------------------------------------------------------------------------------------------

/// Units that depend on each other: each moves the cursor on from where the one before left it. When one of them was not stored, the gate marks
/// the stream and refuses all that follow, however late they come: otherwise they would move the cursor over mail that is nowhere. Whoever
/// is refused begins a new stream (from the cursor as stored).
struct commit_stream {
  std::atomic<bool> broken{false};
};

/// One channel's part of a group commit, and who wants to know.
struct commit_request {
  store::commit_unit unit;
  deadline until;
  callback<store::commit_outcome> then;
  std::shared_ptr<fetch_budget::share> share;   ///< of the node's budget; held until the bytes are stored or dropped
  std::shared_ptr<commit_stream> stream;        ///< null: the sender has never more than one unit under way
  bool held = false;                            ///< the gate's: its bodies are on their way into the database, ahead of it
};
using commit_request_ptr = std::shared_ptr<commit_request>;

/// A healthy idle channel's sign of life; many are written with one statement.
struct sign_of_life {
  store::lease_guard guard;
  wall_time at{};
};

/// An access token, and which one was refused if this is the second try.
struct token_request {
  std::int64_t generation = 0;             ///< credential generation
  std::uint64_t refused = 0;               ///< serial of a token the mail server refused: do not give that one again
  callback<result<struct access_token>> then;
};
struct access_token {
  secret<> value;
  std::uint64_t serial = 0;                ///< 1, 2, 3 ... per refresher
  wall_time expires_at{};
  std::string account;
  std::vector<std::string> scopes = {};    ///< as granted; empty if the provider names none
};

/// A permission to sign in. It returns when the last owner lets go.
using login_ticket = std::shared_ptr<void>;
struct login_request {
  std::string host;                        ///< "imap.gmail.com:993"
  wall_time last_success{};                ///< the stalest goes first
  callback<login_ticket> then;
};

/// Steps of a handover between nodes, as one channel's fetcher hears and tells them. A standby is a fetcher whose guard has epoch 0: it brings a
/// session to the selected mailbox and may write nothing; claimed under a true epoch it goes on with that session.
enum class hand_step : std::uint8_t {
  // to the owner's fetcher
  yield,         ///< come to a commit boundary, begin nothing more, keep the session
  yield_alone,   ///< likewise, and log out: the server takes one session at a time
  go_on,         ///< it came to nothing: serve again
  // from the owner's fetcher
  yielded,       ///< nothing is in hand, nothing is begun
  // from a standby
  ready,         ///< its session has the mailbox selected
  ready_alone,   ///< it can open one as soon as the owner has logged out; or the channel is served by nobody anyway
  refused,       ///< it cannot
};

/// A connection test, and who wants its report.
struct probe_request {
  test_subject subject;
  deadline until;
  std::function<void(result<test_report>)> on_done;   ///< any thread, exactly once
};

/// What a fetcher's supervisor may read without asking it.
struct vitals;

// ---- actors ---------------------------------------------------------------------------------------------------------------------------

/// Serves one mailbox of one lease epoch.
using channel_fetcher_actor = caf::typed_actor<
    caf::reacts_to<continuation>,                                              // storage, budget or pacer answered
    caf::reacts_to<session_atom, std::shared_ptr<session_report>>,            // the network says what happened
    caf::reacts_to<tick_atom, std::uint64_t>,                                  // its one timer fired (generation)
    caf::reacts_to<changed_atom>,                                              // its rows changed: load them, prepare a successor if needed
    caf::reacts_to<token_atom, std::shared_ptr<token_request>>,               // a connection test asks for a token of this channel
    caf::reacts_to<claimed_atom, store::lease_guard>,                          // a standby owns its channel from now on, under this epoch
    caf::reacts_to<hand_atom, hand_step>,                                      // yield, yield_alone, go_on
    caf::reacts_to<stop_atom>>;                                                // commit what is in hand, log out, end

/// Keeps the access tokens of one grant.
using token_refresher_actor = caf::typed_actor<
    caf::reacts_to<continuation>,                                              // storage or the token endpoint answered
    caf::reacts_to<token_atom, std::shared_ptr<token_request>>,               // a token, from memory or refreshed
    caf::reacts_to<changed_atom>,                                              // the credential changed: forget everything
    caf::reacts_to<tick_atom, std::uint64_t>,                                  // a timer of its own
    caf::reacts_to<stop_atom>>;                                                // finish the refresh under way (its token must be durable), then end

/// Writes many channels' mail in few transactions.
using storage_gate_actor = caf::typed_actor<
    caf::reacts_to<continuation>,                                              // a transaction ended
    caf::reacts_to<commit_atom, commit_request_ptr>,                           // a unit; answered through its callback
    caf::reacts_to<served_atom, sign_of_life>,                                 // written with others within seconds
    caf::reacts_to<tick_atom, std::uint64_t>,                                  // write the collected signs of life; try a group again
    caf::reacts_to<stop_atom>>;                                                // finish what is queued, then end

/// Spreads sign-ins.
using pacer_actor = caf::typed_actor<
    caf::reacts_to<continuation>,                                              // a ticket came back
    caf::reacts_to<login_atom, std::shared_ptr<login_request>>>;              // may I? answered with a ticket

/// This node's membership.
using lease_keeper_actor = caf::typed_actor<
    caf::reacts_to<continuation>,                                              // storage answered
    caf::reacts_to<tick_atom, std::uint64_t>,                                  // time to renew, to claim, to look for changes
    caf::reacts_to<changed_atom>,                                              // a hint: something changed, look now
    caf::reacts_to<lost_atom, channel_id, std::int64_t>,                       // a fetcher was fenced (its epoch): the channel is not ours
    caf::reacts_to<drain_atom>,                                                // claim nothing more, hand everything over
    caf::reacts_to<revoked_atom, store::lease_guard>,                          // the guardian: this channel's fetcher has ended, release it
    caf::reacts_to<hand_atom, store::lease_guard, hand_step>,                  // the guardian: what a fetcher tells of its handover
    caf::reacts_to<stop_atom>>;                                                // release, leave, end

/// All channels of one tenant on this node.
using tenant_supervisor_actor = caf::typed_actor<
    caf::reacts_to<continuation>,
    caf::reacts_to<claimed_atom, store::lease_guard>,                          // ours now: spawn, or make the standby the owner; epoch 0: a standby
    caf::reacts_to<hand_atom, store::lease_guard, hand_step>,                  // a step, down to the fetcher or up to the guardian
    caf::reacts_to<revoked_atom, channel_id, caf::timespan>,                  // ours no longer: end the fetcher, kill it after this grace
    caf::reacts_to<changed_atom, channel_id>,                                  // pass on
    caf::reacts_to<lost_atom, channel_id, std::int64_t>,                       // from a fetcher: fenced
    caf::reacts_to<token_atom, channel_id, std::shared_ptr<token_request>>,   // pass on to the fetcher; answered not_found if it is not here
    caf::reacts_to<tick_atom, std::uint64_t>,                                  // watchdog, and restarts that are due
    caf::reacts_to<stop_atom>>;                                                // end all fetchers, then end

/// The root.
using node_guardian_actor = caf::typed_actor<
    caf::reacts_to<continuation>,
    caf::reacts_to<claimed_atom, std::vector<store::lease_guard>>,             // from the lease keeper
    caf::reacts_to<revoked_atom, std::vector<store::lease_guard>, caf::timespan>,   // from the lease keeper: end these within the grace;
                                                                               // answered per channel when ended
    caf::reacts_to<ended_atom, store::lease_guard>,                            // from a supervisor: a revoked channel's fetcher has ended
    caf::reacts_to<hand_atom, store::lease_guard, hand_step>,                  // a step, down to the supervisor or up to the lease keeper
    caf::reacts_to<tick_atom, std::uint64_t>,                                  // a broken supervisor's restart is due
    caf::reacts_to<changed_atom, tenant_id, channel_id>,                       // rows of a channel changed
    caf::reacts_to<token_atom, tenant_id, channel_id, std::shared_ptr<token_request>>,
    caf::reacts_to<lost_atom, channel_id, std::int64_t>,                       // from a supervisor, to the lease keeper
    caf::reacts_to<stop_atom>>;                                                // end all supervisors, then end

/// Tests connections.
using prober_actor = caf::typed_actor<
    caf::reacts_to<continuation>,                                              // a session or a token endpoint said something
    caf::reacts_to<test_atom, std::shared_ptr<probe_request>>,                // run this test
    caf::reacts_to<tick_atom, std::uint64_t>,                                  // a test's deadline
    caf::reacts_to<stop_atom>>;                                                // answer all tests with cancelled, then end

/// Delivers events to endpoints.
using deliverer_actor = caf::typed_actor<
    caf::reacts_to<continuation>,                                              // storage or a receiver answered
    caf::reacts_to<tick_atom, std::uint64_t>,                                  // its round; progress to be saved; an endpoint's time has come
    caf::reacts_to<fed_atom, tenant_id>,                                       // this tenant's feed has grown (none: look everywhere)
    caf::reacts_to<changed_atom>,                                              // endpoints changed: look now
    caf::reacts_to<stop_atom>>;                                                // send nothing more, save, give the endpoints back, end

/// Starts and ends the others; the one address that the outside knows.
using terminator_actor = caf::typed_actor<
    caf::reacts_to<continuation>,
    caf::reacts_to<tick_atom, std::uint64_t>,                                  // the grace is over; a restart is due
    caf::reacts_to<changed_atom>,                                              // to the lease keeper: look for changes now
    caf::reacts_to<fed_atom, tenant_id>,                                       // to the deliverer
    caf::reacts_to<hooks_atom>,                                                // to the deliverer: endpoints changed
    caf::reacts_to<drain_atom>,                                                // to the lease keeper
    caf::reacts_to<ended_atom>,                                                // from the lease keeper: it drained, and holds nothing any more
    caf::reacts_to<test_atom, std::shared_ptr<probe_request>>,                // to the prober
    caf::reacts_to<token_atom, tenant_id, channel_id, std::shared_ptr<token_request>>,   // from the prober to the guardian
    caf::reacts_to<stop_atom, caf::timespan>>;                                 // end everything in order; what is left after the grace is killed

}  // namespace mailherd::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::shared_ptr<mailherd::actors::session_report>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::shared_ptr<mailherd::actors::token_request>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::shared_ptr<mailherd::actors::login_request>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::shared_ptr<mailherd::actors::probe_request>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(mailherd::actors::commit_request_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(mailherd::actors::sign_of_life)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(mailherd::store::lease_guard)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<mailherd::store::lease_guard>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(mailherd::actors::hand_step)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(mailherd::tenant_id)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(mailherd::channel_id)
