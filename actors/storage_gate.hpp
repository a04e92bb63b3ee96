// actors/storage_gate: the bounded gate before the storage workers. Many channels' mail goes into few transactions (group commit).
//
// Owns:   the queue of units (commit_queue), at most limits::gate_flights transactions under way, their repetition while the database is away, the
//         bodies of large units on their way into the database ahead of their commit (at most limits::write_ahead_flights),
//         the separation of a unit the database refuses from its group, the healthy channels' signs of life.
// Never:  delays a lone unit (a group forms while transactions are under way, not by waiting); stores a unit whose predecessor on the same
//         stream was not stored; keeps a request past its deadline without an answer; blocks.
// Used by: channel_fetcher (commit_atom, served_atom), terminator (stop_atom).
// Answers (commit_request::then): the outcome of the store; store_busy: full, try again; store_unavailable, timed_out: not stored before the
//         deadline; cancelled: an earlier unit of its stream was not stored, or the gate has ended. Only success means stored; after any
//         error the unit may still have been stored (a lost connection at the moment of commit): fetch from the cursor as stored.
#pragma once

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "actors/commit_queue.hpp"
#include "actors/environment.hpp"
#include "actors/interfaces.hpp"
#include "actors/timers.hpp"

namespace mailherd::actors {

struct storage_gate_state {
  static inline const char* name = "storage_gate";

  /// Units that travel to the database together, and who waits for each.
  struct part {
    std::vector<commit_request_ptr> requests;
    std::vector<store::commit_unit> units;   ///< of `requests`, moved out of them
  };
  /// A transaction under way. A group that the database refuses is halved until the culprit stands alone.
  struct flight {
    commit_queue::requests group;    ///< all of it: their channels stay in flight until the whole group is dealt with
    std::vector<part> todo;          ///< last first
    unsigned attempt = 0;            ///< of the present part, while the database is away
  };

  explicit storage_gate_state(storage_gate_actor::pointer me) : self(me) {}

  void add(const commit_request_ptr& request);
  void note(const sign_of_life& sign);
  void stop();

  storage_gate_actor::pointer self;
  const environment* env = nullptr;
  actors::timers timers;
  commit_queue queue;
  unsigned flights = 0;
  std::deque<commit_request_ptr> large;                 ///< in the queue too, held there: their bodies go ahead
  unsigned ahead = 0;                                   ///< units whose bodies are under way
  bool stopping = false;
  std::unordered_map<channel_id, sign_of_life> signs;   ///< the latest per channel, not yet written
  unsigned sign_writes = 0;                             ///< statements under way
  bool signs_armed = false;

 private:
  using flight_ptr = std::shared_ptr<flight>;
  void pump();
  void write_ahead();
  void on_written_ahead(const commit_request_ptr& request, const std::vector<std::size_t>& which, result<blob_id> blob);
  void expire();
  void send(const flight_ptr& f);
  void on_committed(const flight_ptr& f, const std::shared_ptr<part>& p, mono_time sent, result<std::vector<store::commit_outcome>> outcome);
  void retry(const flight_ptr& f, part p, const error& why);
  void report_stored(const store::commit_unit& unit, const store::commit_outcome& outcome);
  void settle(const commit_request_ptr& request, store::commit_outcome outcome);
  void refuse(const commit_request_ptr& request, const error& why);
  void write_signs();
  void end_if_done();
};

storage_gate_actor::behavior_type storage_gate(storage_gate_actor::stateful_pointer<storage_gate_state> self, const environment* env);

/// `env` outlives the actor.
storage_gate_actor spawn_storage_gate(caf::actor_system& system, const environment& env);

}  // namespace mailherd::actors
