// actors/delivery/endpoint: one endpoint's deliveries as decisions: what to read, what to send now, what an answer means for the rest.
//
// Owns:   the cursors, the events read ahead, the channels that are behind (stalls), the circuit, the endpoint's rate.
// Never:  reads a clock, sends, touches a database: time and answers are arguments, wishes and events are what it gives back.
// Used by: deliverer, which serves it; tests. One thread.
//
// How order and progress go together: a lane is one kind of event of one channel, and a lane has never more than one request under way. An event that
// fails turns its lane into a stall: the stall remembers where the lane goes on, everything after it waits in the database, and the cursor moves on
// over it, so that one channel's trouble holds up no other. Stall and cursor become durable together; what was sent after the last time comes
// again after a crash, with the same id.
#pragma once

#include <compare>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/delivery/verdict.hpp"
#include "core/clock.hpp"
#include "core/limits.hpp"
#include "storage/webhook_store.hpp"

namespace mailherd::actors {

struct lane_key {
  store::event_kind kind = store::event_kind::message;
  channel_id channel;
  friend auto operator<=>(const lane_key&, const lane_key&) = default;
};

/// An event ready to be sent.
struct told_event {
  lane_key lane;
  std::int64_t position = 0, sequence = 0;
  std::string id;                            ///< the webhook-id
  wall_time due_since{};                     ///< it was there from this time on
  std::shared_ptr<const std::string> body;   ///< null: it is no more, nothing is to be sent
  delivery_id asked;                         ///< a test, or the repetition of something given up
  std::int64_t attempts = 0;                 ///< before this one
};

class endpoint {
 public:
  endpoint(store::webhook_load load, wall_time now);

  [[nodiscard]] const store::webhook_load& settings() const { return load_; }

  // ---- reading
  struct wish {
    enum class what { events, lane, asked } is = what::events;
    lane_key lane;             ///< for events only its kind counts
    std::int64_t after = 0;
    std::size_t limit = 0;
  };
  /// What to read now, at most one thing at a time. `none` while `loading`.
  [[nodiscard]] std::optional<wish> next_wish(wall_time now);
  void loaded(const wish& w, std::vector<told_event> events, std::int64_t upto, std::int64_t head);
  void load_failed(const wish& w);
  [[nodiscard]] bool loading() const { return loading_; }
  /// The feed has grown, or somebody asked for something.
  void heads(std::int64_t messages, std::int64_t states, bool asked);
  void look();   ///< the feed may have grown: read on to find out

  // ---- sending
  std::optional<told_event> take(wall_time now);
  /// `random`: uniform over all 64-bit values.
  void settle(const told_event& event, const verdict& v, milliseconds took, wall_time now, std::uint64_t random);
  /// We did not wait for the answer. The event stays undone, and nobody is to blame.
  void interrupted(const told_event& event, milliseconds took, wall_time now);
  [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  /// When something may be possible although nothing happens before; nullopt: only an event changes anything.
  [[nodiscard]] std::optional<wall_time> next_time(wall_time now) const;
  [[nodiscard]] bool circuit_open() const { return open_until_.has_value(); }
  [[nodiscard]] std::int64_t backlog() const;

  // ---- saving
  [[nodiscard]] bool dirty() const { return dirty_; }
  store::webhook_progress take_progress();
  void not_saved(store::webhook_progress progress);

 private:
  struct stall {
    store::stall_record record;
    enum class phase { waiting, ready, in_flight } is = phase::waiting;
    std::deque<told_event> events;
    std::int64_t upto = 0;          ///< events of this lane up to here were passed over by the cursor: they are the stall's
    std::int64_t loaded_upto = 0;   ///< `events` hold everything up to here
  };

  [[nodiscard]] std::size_t allowed(wall_time now) const;
  [[nodiscard]] std::optional<wish> stall_wish(wall_time now, bool trial) const;
  [[nodiscard]] std::optional<wish> event_wish(std::size_t held, bool trial) const;
  std::optional<told_event> start(told_event event);
  std::optional<told_event> take_stalled();
  std::optional<told_event> take_asked();
  bool take_token(wall_time now);
  void enqueue(std::vector<told_event> events, store::event_kind kind, std::int64_t upto);
  void taken(const told_event& event, wall_time now);
  void failed(const told_event& event, const verdict& v, wall_time now, std::uint64_t random);
  void advance(stall& s, const lane_key& lane, wall_time now);
  void give_up_or_wait(stall& s, const told_event& event, const verdict& v, wall_time now, std::uint64_t random);
  void open(wall_time until);
  void close(wall_time now);
  stall& stall_of(const lane_key& lane, std::int64_t position, wall_time now);
  void forget(const told_event& event);
  void drop_events(stall& s);
  void note(const told_event& event, const verdict& v, milliseconds took, wall_time now, const char* state);
  [[nodiscard]] std::int64_t& read(store::event_kind k) { return k == store::event_kind::state ? state_read_ : message_read_; }
  [[nodiscard]] std::int64_t read(store::event_kind k) const { return k == store::event_kind::state ? state_read_ : message_read_; }
  [[nodiscard]] std::int64_t cursor(store::event_kind k) const;
  [[nodiscard]] bool wants(store::event_kind k) const;

  store::webhook_load load_;
  std::int64_t message_head_ = 0, state_head_ = 0;   ///< as far as known
  std::int64_t message_read_ = 0, state_read_ = 0;   ///< read up to here
  std::set<std::int64_t> undone_[2];                 ///< read, and neither delivered nor a stall's
  std::map<lane_key, std::deque<told_event>> lanes_;
  std::set<lane_key> busy_;                          ///< a request under way, of a lane that is no stall
  std::deque<lane_key> ready_;                       ///< lanes with events and none under way, in turn
  std::map<lane_key, stall> stalls_;
  std::deque<told_event> asked_;
  bool asked_waits_ = false, loading_ = false, asked_busy_ = false;
  std::size_t in_flight_ = 0, bytes_ = 0;

  std::int64_t failures_ = 0;
  std::optional<wall_time> failing_since_, open_until_, not_before_;
  double tokens_ = 0;
  wall_time tokens_at_{};

  bool dirty_ = false;
  std::set<lane_key> changed_stalls_, ended_stalls_;
  std::vector<store::delivery_record> notes_;
  std::string disable_;
};

}  // namespace mailherd::actors
