// actors/deliverer: brings events to endpoints: claims them in the database, reads the feed for them, sends, saves how far each is.
//
// Owns:   this deliverer's life in the database, the endpoints it has claimed (actors/delivery/endpoint), the requests under way.
// Never:  decides about a single delivery (endpoint does); sends more than webhook_requests at once, or holds more than webhook_window_bytes; reads the
//         feed with more than webhook_loads workers. One endpoint's hanging receiver holds at most its own places.
// Used by: terminator.
#pragma once

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "actors/delivery/endpoint.hpp"
#include "actors/delivery/telling.hpp"
#include "actors/environment.hpp"
#include "actors/interfaces.hpp"
#include "actors/timers.hpp"

namespace mailherd::actors {

struct deliverer_state {
  static inline const char* name = "deliverer";

  struct place {
    std::unique_ptr<endpoint> at;        ///< null while it is being read
    std::int64_t epoch = 0, revision = 0;
    std::uint64_t serial = 0;            ///< answers to an earlier endpoint of this key are dropped
    std::uint64_t timer = 0;
    std::optional<wall_time> timer_at;
    bool waits_for_load = false;         ///< in `to_read`
    bool waits_for_turn = false;         ///< in `starved`
  };

  /// A request that has no answer yet.
  struct sent {
    store::webhook_key key;
    std::uint64_t serial = 0;   ///< of the endpoint that sent it
    told_event event;
    mono_time began{};
  };

  explicit deliverer_state(deliverer_actor::pointer me) : self(me) {}

  void start();
  void fed(tenant_id tenant);
  void look_now();
  void stop();

  deliverer_actor::pointer self;
  const environment* env = nullptr;
  actors::timers timers;
  deliverer_id life;
  std::map<store::webhook_key, place> places;
  std::set<store::webhook_key> unsaved;
  std::deque<store::webhook_key> starved;     ///< had something to send when the node had no place left
  std::deque<store::webhook_key> to_read;     ///< want to read when another one has
  std::map<std::uint64_t, sent> under_way;
  std::size_t bytes = 0;
  unsigned loads = 0;
  std::uint64_t serials = 0, requests = 0;
  std::uint64_t round_timer = 0;
  bool in_round = false, round_again = false, saving = false, save_due = false, stopping = false, leaving = false;

 private:
  void join();
  void round();
  void on_round(const store::webhook_store::round_report& report);
  void plan_round(duration wait);
  void forget_life();
  void load_settings(const store::webhook_key& key);
  void serve(const store::webhook_key& key);
  void read_for(const store::webhook_key& key, place& p);
  void load_ended(const store::webhook_key& key, std::uint64_t serial, const endpoint::wish& wish, events_told told);
  void on_read(const store::webhook_key& key, std::uint64_t serial, const endpoint::wish& wish, events_told told);
  void send(const store::webhook_key& key, place& p, told_event event);
  void on_answer(std::uint64_t number, const result<net::http_reply>& answer);
  void interrupt(mono_time began_until);
  void arm(const store::webhook_key& key, place& p);
  void touched(const store::webhook_key& key, place& p);
  void plan_save();
  void save();
  void on_saved(std::vector<store::webhook_progress> all, const result<std::vector<bool>>& held);
  void drop(const store::webhook_key& key);
  void next_reader();
  void end_if_done();
  [[nodiscard]] place* find(const store::webhook_key& key, std::uint64_t serial);
};

deliverer_actor::behavior_type deliverer(deliverer_actor::stateful_pointer<deliverer_state> self, const environment* env);

deliverer_actor spawn_deliverer(caf::actor_system& system, const environment& env);

}  // namespace mailherd::actors
