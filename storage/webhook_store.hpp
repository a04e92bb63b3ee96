// storage/webhook_store: endpoints that events are delivered to, and how far each of them is.
//
// Owns:   the values and the abstract store of webhooks: what the API asks for, and what deliverers read and write.
// Never:  sends anything; gives a secret to anybody but the deliverer that owns the endpoint.
// Used by: api (handlers), actors/delivery, tests. Implemented by pg_webhook_store.
// Threads and errors: as store.hpp. Everything a deliverer writes is guarded by (owner, epoch, revision): what an older owner, or one that was not
//         told of a replay, still has in mind changes nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/limits.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "storage/store.hpp"

namespace mailherd::store {

/// What an endpoint can be told. A test event is told to nobody but who asks for it.
enum class event_kind { message, state, test };
/// In the database: "message"; towards receivers: "message.received".
std::string_view to_string(event_kind k) noexcept;
std::string_view event_type(event_kind k) noexcept;
std::optional<event_kind> event_kind_from(std::string_view name) noexcept;   ///< of either form

/// How much of a message travels in the webhook.
enum class webhook_body { envelope, text, raw };
std::string_view to_string(webhook_body b) noexcept;
std::optional<webhook_body> webhook_body_from(std::string_view name) noexcept;

struct webhook_spec {
  std::string url;
  std::vector<event_kind> events{event_kind::message};
  std::vector<channel_id> channels;   ///< empty: all
  webhook_body body = webhook_body::envelope;
  std::int64_t raw_bytes = limits::webhook_raw_bytes;
  std::int64_t max_in_flight = limits::webhook_in_flight;
  std::int64_t max_per_second = 0;    ///< 0: no limit
  bool enabled = true;

  friend bool operator==(const webhook_spec&, const webhook_spec&) = default;
};

/// What is sent of an event: made while it was read, or, where that costs CPU, yet to be made on another thread.
struct event_body {
  std::string text;                    ///< unless there is `rest`
  std::function<std::string()> rest;   ///< makes the text; any thread, without a session
  std::size_t holds = 0;               ///< bytes in memory until then
};

struct webhook_record {
  webhook_id id;
  tenant_id tenant;
  webhook_spec spec;
  std::string disabled_reason;
  std::optional<wall_time> old_secret_until;
  std::int64_t revision = 1;
  wall_time created_at{};
  std::int64_t position = 0, head = 0;   ///< dealt with up to here, of so many
  std::int64_t failures = 0;             ///< in a row
  std::optional<wall_time> failing_since, open_until;
  std::int64_t stalled = 0;              ///< channels that wait for their next attempt
  std::int64_t dead = 0;                 ///< events given up
};

/// An entry of the list of deliveries: an attempt that was noted, an event given up, one that was asked for.
struct delivery_record {
  delivery_id id;
  std::string state;   ///< delivered | failed | dead | pending
  event_kind kind = event_kind::message;
  std::string event;   ///< the webhook-id
  channel_id channel;
  std::int64_t position = 0, sequence = 0;
  std::int64_t attempts = 0;
  wall_time at{};
  milliseconds took{0};
  int status = 0;      ///< 0: no answer
  std::string error, request, response;
};

/// A channel that is behind.
struct stall_record {
  event_kind kind = event_kind::message;
  channel_id channel;
  std::int64_t position = 0;   ///< of the event that is tried next
  std::int64_t attempts = 0;   ///< of that event
  std::optional<wall_time> first_failed_at;
  wall_time next_attempt_at{};
  int status = 0;
  std::string error;
};

// ---- for deliverers --------------------------------------------------------------------------------------------------------------------

struct webhook_key {
  tenant_id tenant;
  webhook_id webhook;
  friend auto operator<=>(const webhook_key&, const webhook_key&) = default;
};

/// An endpoint of this deliverer, as the database sees it now.
struct owned_webhook {
  webhook_key key;
  std::int64_t epoch = 0, revision = 0;
  std::int64_t message_head = 0, state_head = 0;
  bool asked = false;   ///< a test or a repetition waits
};

/// All a deliverer needs of an endpoint.
struct webhook_load {
  webhook_key key;
  webhook_spec spec;
  secret<> signing, old_signing;   ///< "whsec_..."; the second is empty unless it still signs too
  std::optional<wall_time> old_signing_until;
  std::int64_t epoch = 0, revision = 0;
  std::int64_t message_position = 0, state_position = 0;
  wall_time due_since{};
  std::int64_t failures = 0;
  std::optional<wall_time> failing_since, open_until;
  std::vector<stall_record> stalls;
};

struct state_event {
  std::int64_t position = 0;
  channel_id channel;
  wall_time at{};
  std::string state, reason, detail;
};

struct events_read {
  std::vector<stored_message> messages;
  std::vector<state_event> states;
  std::int64_t upto = 0;      ///< everything up to here is in it, or is not for this endpoint
  std::int64_t head = 0;      ///< the end of the feed at that time
};

/// What a deliverer has found out about one endpoint.
struct webhook_progress {
  webhook_key key;
  std::int64_t epoch = 0, revision = 0;
  std::int64_t message_position = 0, state_position = 0;
  std::int64_t failures = 0;
  std::optional<wall_time> failing_since, open_until;
  std::vector<stall_record> stalls;                             ///< new or changed
  std::vector<std::pair<event_kind, channel_id>> caught_up;     ///< stalls that are over
  std::vector<delivery_record> notes;                           ///< with an id: what became of something asked for
  std::string disable;                                          ///< not empty: disable it, and say why
};

class webhook_store {
 public:
  virtual ~webhook_store() = default;

  // -- the API
  /// Tells events from now on. failure::conflict if the tenant has too many endpoints.
  virtual result<webhook_record> create(const caller& who, tenant_id tenant, const webhook_spec& spec, const secret<>& signing) = 0;
  virtual result<webhook_record> get(const caller& who, tenant_id tenant, webhook_id webhook) = 0;
  virtual result<page<webhook_record>> list(const caller& who, tenant_id tenant, std::size_t limit, const std::string& after) = 0;
  virtual result<webhook_record> update(const caller& who, tenant_id tenant, webhook_id webhook, const webhook_spec& spec) = 0;
  virtual result<void> remove(const caller& who, tenant_id tenant, webhook_id webhook) = 0;
  /// `signing` signs from now on; the one before signs too until then.
  virtual result<webhook_record> rotate(const caller& who, tenant_id tenant, webhook_id webhook, const secret<>& signing, wall_time old_until) = 0;
  /// Messages after `position`, or received at or after `since`, are due again. Answers the position it begins after.
  virtual result<std::int64_t> replay(const caller& who, tenant_id tenant, webhook_id webhook, std::optional<std::int64_t> position,
                                      std::optional<wall_time> since) = 0;
  /// The position after which every message lies that was received at or after `since` (perhaps a few before it as well).
  virtual result<std::int64_t> position_at(const caller& who, tenant_id tenant, wall_time since) = 0;
  virtual result<delivery_id> ask_test(const caller& who, tenant_id tenant, webhook_id webhook) = 0;
  /// failure::conflict if it is not dead.
  virtual result<void> ask_again(const caller& who, tenant_id tenant, webhook_id webhook, delivery_id delivery) = 0;
  virtual result<page<delivery_record>> deliveries(const caller& who, tenant_id tenant, webhook_id webhook, const std::string& state, std::size_t limit,
                                                   const std::string& after) = 0;
  virtual result<std::vector<stall_record>> stalls(const caller& who, tenant_id tenant, webhook_id webhook) = 0;

  // -- deliverers
  virtual result<deliverer_id> join(const std::string& node, seconds ttl) = 0;
  struct round_report {
    std::vector<owned_webhook> owned;
    std::int64_t share = 0;   ///< how many it should have
  };
  /// Renews (failure::fenced if its life has ended), claims what is free up to its share, reads what it owns.
  virtual result<round_report> round(deliverer_id self, seconds ttl) = 0;
  virtual result<void> release(deliverer_id self, const std::vector<webhook_key>& webhooks) = 0;
  virtual result<void> leave(deliverer_id self) = 0;
  /// failure::fenced if it is not this deliverer's (any more).
  virtual result<webhook_load> load(deliverer_id self, const webhook_key& webhook) = 0;
  /// Events after `after` up to the head of the feed: of `channels` if any are named, of one channel with `lane`. failure::fenced as above,
  /// conflict if the revision is another one.
  struct reading {
    webhook_key webhook;
    std::int64_t epoch = 0, revision = 0;
    event_kind kind = event_kind::message;
    std::int64_t after = 0;
    std::optional<channel_id> lane;
    std::vector<channel_id> channels;
    std::size_t limit = 0;
  };
  virtual result<events_read> read(deliverer_id self, const reading& what) = 0;
  virtual result<std::vector<delivery_record>> asked(const webhook_key& webhook, std::size_t limit) = 0;
  /// One transaction. The answer says per entry whether it was still this deliverer's.
  virtual result<std::vector<bool>> save(deliverer_id self, const std::vector<webhook_progress>& all) = 0;
};

}  // namespace mailherd::store
