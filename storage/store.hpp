// storage/store: what the rest of the house may know of the database.
//
// Owns:   the abstract stores and the values that cross them. Implementation (libpqxx) is behind `store::postgres`.
// Never:  knows an actor, a socket or a mail protocol's engine.
// Threads and blocking: EVERY function of `mail_store` and `admin_store` blocks and is called on a storage worker only (a job given to
//          `executor::submit`). Functions are not thread-safe per object: a job uses the stores it is given and keeps no reference.
// Durable on return: every writing function has committed (synchronous_commit = on) when it returns success.
// Errors: failure::store_unavailable (connection lost, restarting: the caller may repeat: all writes are idempotent or guarded),
//         failure::store_failed (statement refused), failure::fenced (lease epoch is old), not_found, conflict, seal_failed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/limits.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "storage/cluster_store.hpp"
#include "storage/consent_store.hpp"

namespace mailherd::store {

// ---- the write path of the fetchers ------------------------------------------------------------------------------------------------

/// What tells the messages of a maildrop apart: UIDL, or the digest of their heads where the server has no UIDL ("sha256:..."). `renewed`: UIDL, every one
/// of which was new at once; the maildrop is being reconciled.
enum class named_by : std::uint8_t { unknown, uidl, digest, renewed };

/// Progress of one source (an IMAP folder, or a POP3 maildrop) of a channel.
struct cursor {
  mailherd::uid_validity uid_validity;   ///< IMAP; 0 before the first select
  mailherd::uid last_uid;                ///< every UID up to this one is dealt with
  mailherd::uid after_uid;               ///< `after_fetch` is done for stored messages up to this UID
  mailherd::uid reconcile_upto;          ///< UIDs up to this one may be messages known under an earlier UIDVALIDITY or source: compare first
  std::uint64_t highest_modseq = 0;
  std::optional<wall_time> baseline;     ///< mail with an older internal date is not wanted (start_from); fixed at the first session
  bool initialised = false;              ///< the first session has fixed the baseline
  named_by names = named_by::unknown;    ///< POP3: in the last listing that was dealt with; of a cursor that does not say: in the ledger

  friend bool operator==(const cursor&, const cursor&) = default;
};

/// A message as fetched. `body` is shared with the session that read it and immutable.
struct incoming_message {
  static constexpr std::int32_t no_index = -1;
  message_source source;
  wall_time internal_date{};
  std::uint64_t size = 0;                          ///< bytes as received; for a missing body: as announced by the server
  sha256_digest digest{};                          ///< of the raw bytes; all zero for a missing body
  sha256_digest header_digest{};                   ///< of the header block including the blank line
  mailherd::envelope envelope;
  std::shared_ptr<const std::string> body;         ///< raw bytes as received; null if in `blob` or missing
  blob_id blob;                                    ///< chunks written before with `put_chunk`, or bodies with `put_bodies`
  std::int32_t body_index = no_index;              ///< of the bodies in `blob`; no_index: the blob is this body in chunks
  std::string problem;                             ///< why there is no body (too large, set aside after three tries), for people; else empty
};

/// A message of an earlier identity found again (UIDVALIDITY reset, POP3 → IMAP, other host): it only gets a further identity.
struct known_message {
  message_source source;
  std::int64_t ledger_id = 0;   ///< from `candidate`
  std::uint64_t size = 0;       ///< likewise: finds its row
};

/// One channel's part of a group commit. Messages are in the order of their arrival (IMAP: ascending UID).
struct commit_unit {
  lease_guard guard;
  protocol_kind protocol = protocol_kind::imap;
  std::string folder;                              ///< source of the cursor; empty for POP3
  after_fetch after = after_fetch::keep;           ///< what is to be done at the server with the messages: kept with their identities
  std::optional<store::cursor> move_cursor;        ///< new cursor, written with the messages
  std::vector<incoming_message> messages;
  std::vector<known_message> known;
  std::vector<std::string> skipped_uidls;          ///< POP3: seen and not wanted (start_from now)
  std::optional<std::int64_t> backfill_done, backfill_total;
};

struct commit_outcome {
  result<void> status;                 ///< failure::fenced for an old epoch; other units of the group are not affected
  std::int64_t stored = 0;             ///< new messages
  std::int64_t suppressed = 0;         ///< messages whose identity was in the ledger already: not stored again
  std::int64_t last_sequence = 0;      ///< the channel's newest sequence number
};

/// Which identities in a source show that a message is known there already, and therefore none that is looked for. `uidls`, `digests`: of a maildrop whose
/// server changed from one to the other; those of the other kind show nothing. `none`: what is known there is looked for, too.
enum class identities : std::uint8_t { all, uidls, digests, none };

/// Whom a listing of a maildrop stands for, by `candidate::ledger_id`.
struct listed_origins {
  std::vector<std::int64_t> known;   ///< of the listed UIDLs that are in the ledger
  std::int64_t newest = 0;           ///< of all of the channel; what is stored later has a higher one
};

/// A message of a maildrop that is stored with its body, to be deleted there.
struct stored_uidl {
  std::string uidl;
  std::uint64_t size = 0;   ///< bytes of the body
};

/// A ledger entry that may be the same message as one listed under a new UIDVALIDITY.
struct candidate {
  std::int64_t ledger_id = 0;
  wall_time internal_date{};
  std::uint64_t size = 0;
  sha256_digest digest{};
  sha256_digest header_digest{};
  bool has_body = true;
};

class mail_store : public cluster_store {
 public:

  /// Group commit: one transaction over many channels. Per unit: lease epoch checked (rows locked in a fixed order), ledger, messages,
  /// per-channel gapless sequence, per-tenant gapless feed position (what receivers are told from), cursor. Invariants 1 and 2.
  /// Returns one outcome per unit; an error for the whole group only if nothing was committed.
  virtual result<std::vector<commit_outcome>> commit(const std::vector<commit_unit>& units) = 0;

  /// Writes chunk `index` (0, 1, 2 ...) of a large body, guarded by the lease. The blob belongs to no message until a commit names it;
  /// blobs without a message are removed by `sweep`.
  virtual result<blob_id> new_blob(const lease_guard& guard) = 0;
  virtual result<void> put_chunk(const lease_guard& guard, blob_id blob, std::int32_t index, const std::string& bytes) = 0;

  /// Writes bodies ahead of the commit that names them: a blob, in which they have the indexes 0, 1, 2 ... Guarded; belongs to no message as above.
  /// Not durable on return, unlike all else: a commit that comes after it and names it is durable together with it (PostgreSQL's log is written in
  /// order: its manual, "Asynchronous Commit").
  virtual result<blob_id> put_bodies(const lease_guard& guard, const std::vector<std::shared_ptr<const std::string>>& bodies) = 0;

  virtual result<store::cursor> load_cursor(const lease_guard& guard, protocol_kind protocol, const std::string& folder) = 0;

  /// Of `uidls` (POP3), those not in the ledger, in the given order.
  virtual result<std::vector<std::string>> unknown_uidls(const lease_guard& guard, const std::vector<std::string>& uidls) = 0;
  virtual result<store::listed_origins> listed_origins(const lease_guard& guard, const std::vector<std::string>& uidls) = 0;

  /// UIDs in (after, upto] under this UIDVALIDITY whose messages were stored with a body while the channel was set to `what`, which may be applied to
  /// them. At most `limit`.
  virtual result<std::vector<mailherd::uid>> stored_uids(const lease_guard& guard, const std::string& folder, mailherd::uid_validity validity,
                                                         mailherd::uid after, mailherd::uid upto, after_fetch what, std::size_t limit) = 0;
  /// POP3: of `uidls`, those stored with a body while the channel was set to delete.
  virtual result<std::vector<stored_uidl>> stored_uidls(const lease_guard& guard, const std::vector<std::string>& uidls) = 0;

  /// Ledger entries of the channel that have no identity (of the kind `here`) under `validity` in `folder` and match one of (internal date, size) pairs;
  /// for a change of source between protocols pass pairs with size only (date = nullopt).
  virtual result<std::vector<candidate>> find_candidates(const lease_guard& guard, const std::string& folder, mailherd::uid_validity validity,
                                                         const std::vector<std::pair<std::optional<wall_time>, std::uint64_t>>& keys,
                                                         identities here) = 0;

  /// Failed tries of the message at `source`, kept over restarts. `note_try` returns the number of tries including this one.
  virtual result<unsigned> note_try(const lease_guard& guard, const message_source& source) = 0;

  // -- channel state, events ---------------------------------------------------------------------------------------------------------

  struct state_change {
    channel_state state = channel_state::connecting;
    std::string reason;    ///< failure name or empty
    std::string detail;    ///< for people, cleaned
    std::optional<wall_time> next_attempt_at, throttled_until;
    std::optional<wall_time> last_success_at;         ///< set when a session served or a poll ended well
    std::optional<std::int64_t> observed_generation;  ///< the generation that serves from now on
    std::optional<switch_state> switching;
    std::int64_t switching_to = 0;                    ///< the generation that is about: not written if a newer one has come; 0: the newest, whichever
    std::string switch_error;
    std::optional<wall_time> token_expires_at;
    std::string account;                              ///< account that the serving credential belongs to, if known
  };
  /// Writes the state; if state or reason changed, an event row too, in the same transaction. Guarded.
  virtual result<void> set_state(const lease_guard& guard, const state_change& change) = 0;

  /// `last_success_at` of many channels at once (healthy idle channels report in groups).
  virtual result<void> touch_success(const std::vector<std::pair<lease_guard, wall_time>>& channels) = 0;

  // -- credentials --------------------------------------------------------------------------------------------------------------------

  struct channel_load {
    channel_record record;
    mailherd::credential credential;        ///< of `record.generation`, unsealed
    mailherd::credential serving;           ///< of `record.observed_generation` if that is another one and still kept; else as above
    std::optional<oauth_app> app;
    tenant_limits limits;
  };
  virtual result<channel_load> load_channel(tenant_id tenant, channel_id channel) = 0;

  /// Makes a rotated refresh token durable (invariant 3): replaces the refresh token of generation `generation` if it still is `used`;
  /// failure::conflict if somebody else rotated it meanwhile (load again). Takes a row lock on the grant. Not refused for an old epoch: the newest
  /// token is what counts, whoever got it.
  virtual result<void> rotate_refresh_token(const lease_guard& guard, std::int64_t generation, const secret<>& used, const secret<>& fresh,
                                            const std::string& account) = 0;

  /// Before a refresh token is read in order to be used: nobody else on any node renews this channel's grant within `hold`, unless `release_grant` comes
  /// first. False: somebody else does. Who holds it already holds it on. (Default: a store of one node.)
  virtual result<bool> hold_grant(const lease_guard& /*guard*/, std::int64_t /*holder*/, seconds /*hold*/) { return true; }
  virtual result<void> release_grant(const lease_guard& /*guard*/, std::int64_t /*holder*/) { return {}; }

  // -- apps that a provider refuses: one incident for all channels that sign in with one (defaults: a store without incidents) --------------

  /// The app, as of `revision`, is refused (why: for people). Nobody asks again within `hold`. Nothing happens if it was changed meanwhile.
  virtual result<void> block_app(tenant_id, app_id, std::int64_t /*revision*/, const std::string& /*why*/, seconds /*hold*/) { return {}; }
  /// Of all who would ask for a blocked app again when its hold is over one may: true for him, and the hold begins anew for the others.
  virtual result<bool> try_blocked_app(tenant_id, app_id, seconds /*hold*/) { return true; }
  /// It works again: the incident is over, and all channels that use it are told.
  virtual result<void> unblock_app(tenant_id, app_id) { return {}; }

  /// Housekeeping under an advisory lock: partitions made ahead, old ones dropped per retention, orphaned blobs and idempotency keys removed.
  virtual result<void> sweep() = 0;
};

// ---- what the API does ------------------------------------------------------------------------------------------------------------

/// Who asks: an operator (all tenants) or a tenant's API key. Row-level security is set from this for the transaction (the second wall).
struct caller {
  std::optional<tenant_id> only;   ///< nullopt: operator
};

template <class T>
struct page {
  std::vector<T> items;
  std::string next;   ///< empty: no more
};

struct api_key_record {
  api_key_id id;
  std::string name;
  wall_time created_at{};
  std::optional<wall_time> last_used_at;
};

struct channel_event {
  event_id id;
  wall_time at{};
  std::string kind;     ///< created, edited, state, switch, credential, test ...
  std::string state, reason, detail;
  std::string actor;    ///< "operator", "key k3", "node mailherd-0"
};

struct stored_message {
  message_id id;
  channel_id channel;
  std::int64_t sequence = 0;
  wall_time received_at{};
  wall_time internal_date{};
  std::uint64_t size = 0;
  sha256_digest digest{};
  mailherd::envelope envelope;
  message_source source;
  std::string problem;
  bool has_body = true;
};

struct channel_filter {
  std::optional<channel_state> state;
  std::string node;
  std::string text;   ///< part of name, address or account
};

struct node_record {
  std::string name, version, state;   ///< state: active | draining | lost
  std::int64_t channels = 0;
  double lease_age_seconds = 0;
};

/// Channels of one tenant in one state; throttled ones by the kind of provider they sign in at.
struct channel_gauge {
  tenant_id tenant;
  channel_state state;
  std::int64_t channels = 0;
  double oldest_success_age_seconds = 0;
  std::optional<provider_kind> provider = {};   ///< of throttled OAuth2 channels; nullopt: by password, or in another state
};

/// The first secret or certificate of a tenant's OAuth apps to expire, as far as their registrations say.
struct app_gauge {
  tenant_id tenant;
  double secret_expires_seconds = 0;   ///< from now; negative: it has expired
};

/// Somebody signed in to the console. A tenant's key opens it for that tenant only, and its end is the session's.
struct console_session {
  caller who;
  api_key_id key;                  ///< none for operators
  sha256_digest operator_token{};  ///< keyed digest of the token that opened it; a token that is withdrawn ends its sessions
  wall_time expires_at{};
};

/// Part of a channel's recent past.
struct activity_slice {
  wall_time at{};
  std::int64_t messages = 0;
  double lag_seconds = 0;          ///< median of internal date -> stored; what was older than a day counts for nothing
};

class admin_store : public consent_store {
 public:

  virtual result<void> ping() = 0;   ///< reachable and migrations current

  virtual result<tenant_record> create_tenant(const std::string& name, const tenant_limits& limits) = 0;
  virtual result<tenant_record> get_tenant(const caller& who, tenant_id tenant) = 0;
  virtual result<page<tenant_record>> list_tenants(const caller& who, std::size_t limit, const std::string& after) = 0;
  virtual result<tenant_record> update_tenant(tenant_id tenant, const std::optional<std::string>& name, const std::optional<tenant_limits>& limits) = 0;
  virtual result<void> delete_tenant(tenant_id tenant) = 0;

  /// The key itself is never stored, only its SHA-256.
  virtual result<api_key_record> create_api_key(const caller& who, tenant_id tenant, const std::string& name, const sha256_digest& key_digest) = 0;
  virtual result<std::vector<api_key_record>> list_api_keys(const caller& who, tenant_id tenant) = 0;
  virtual result<void> delete_api_key(const caller& who, tenant_id tenant, api_key_id key) = 0;
  virtual result<std::optional<std::pair<tenant_id, api_key_id>>> find_api_key(const sha256_digest& key_digest) = 0;

  virtual result<oauth_app> create_app(const caller& who, const oauth_app& app) = 0;
  virtual result<oauth_app> get_app(const caller& who, tenant_id tenant, app_id app) = 0;   ///< with secrets unsealed
  virtual result<page<oauth_app>> list_apps(const caller& who, tenant_id tenant, std::size_t limit, const std::string& after) = 0;  ///< without secrets
  virtual result<oauth_app> update_app(const caller& who, const oauth_app& app) = 0;        ///< empty secrets: keep
  virtual result<void> delete_app(const caller& who, tenant_id tenant, app_id app) = 0;     ///< conflict while a channel uses it

  virtual result<channel_record> create_channel(const caller& who, tenant_id tenant, const channel_spec& spec, const credential& auth, const std::string& actor) = 0;
  virtual result<channel_record> get_channel(const caller& who, tenant_id tenant, channel_id channel) = 0;
  virtual result<page<channel_record>> list_channels(const caller& who, tenant_id tenant, const channel_filter& filter, std::size_t limit, const std::string& after) = 0;
  /// Replaces the spec if `revision` is still current (0: whatever it is); failure::conflict otherwise.
  virtual result<channel_record> update_channel(const caller& who, tenant_id tenant, channel_id channel, const channel_spec& spec, std::int64_t revision, const std::string& actor) = 0;
  virtual result<void> delete_channel(const caller& who, tenant_id tenant, channel_id channel) = 0;
  /// Persists a new credential generation (sealed) and marks the switch as running; returns it.
  virtual result<std::int64_t> put_credential(const caller& who, tenant_id tenant, channel_id channel, const credential& auth, const std::string& actor) = 0;

  virtual result<page<channel_event>> list_events(const caller& who, tenant_id tenant, channel_id channel, std::size_t limit, const std::string& after) = 0;

  /// The feed: messages with position > `after` in ascending position, at most `limit`.
  virtual result<std::vector<stored_message>> feed(const caller& who, tenant_id tenant, std::optional<channel_id> channel, std::int64_t after, std::size_t limit) = 0;
  virtual result<stored_message> get_message(const caller& who, message_id message) = 0;
  /// Streams the raw bytes in order to `sink` (which returns false to stop). failure::not_found if the body is missing.
  virtual result<void> read_body(const caller& who, message_id message, const std::function<bool(std::string_view)>& sink) = 0;

  /// As `read_body`, beginning at byte `offset`: large bodies are read in windows, so that a slow client holds no worker. This default reads
  /// and drops what is before; an implementation that can seek (chunks) should.
  virtual result<void> read_body_from(const caller& who, message_id message, std::uint64_t offset, const std::function<bool(std::string_view)>& sink) {
    return read_body(who, message, [&](std::string_view bytes) {
      const auto drop = offset < bytes.size() ? static_cast<std::size_t>(offset) : bytes.size();
      offset -= drop;
      return drop == bytes.size() || sink(bytes.substr(drop));
    });
  }

  // -- the console -------------------------------------------------------------------------------------------------------------------

  /// The cookie itself is never stored, only its SHA-256. Returns when it ends; how long it may stay unused is limits::console_session_idle.
  virtual result<wall_time> create_session(const sha256_digest& cookie, const console_session& session, seconds life) = 0;
  /// nullopt: there is none, it has ended, was unused too long, or its API key is gone.
  virtual result<std::optional<console_session>> find_session(const sha256_digest& cookie) = 0;
  virtual result<void> delete_session(const sha256_digest& cookie) = 0;
  /// Newest messages first, those before position `before` (0: from the newest on).
  virtual result<std::vector<stored_message>> newest(const caller& who, tenant_id tenant, std::optional<channel_id> channel, std::int64_t before, std::size_t limit) = 0;
  /// The last `slices` pieces of `slice` each; pieces without messages are left out.
  virtual result<std::vector<activity_slice>> activity(const caller& who, tenant_id tenant, channel_id channel, seconds slice, std::size_t slices) = 0;
  /// Channels that need a person, longest first, of all tenants the caller may see. At most `limit`.
  virtual result<std::vector<channel_record>> attention(const caller& who, std::size_t limit) = 0;

  virtual result<std::vector<node_record>> list_nodes() = 0;
  /// The node hands over everything, wherever this is asked. not_found: no such node; conflict: it is lost.
  virtual result<void> drain_node(const std::string& node) = 0;
  /// The channel is to be served by `node`. not_found: no such channel; invalid_input: no such node; conflict: the node is draining or lost, or
  /// nobody holds the channel now.
  virtual result<void> move_channel(const caller& who, tenant_id tenant, channel_id channel, const std::string& node, const std::string& actor) = 0;
  virtual result<std::vector<channel_gauge>> gauges() = 0;
  /// For `node`'s metrics; empty unless it is the one that counts for all: of the nodes that live, the one that came first.
  struct gauge_reading {
    std::vector<channel_gauge> channels;
    std::vector<app_gauge> apps;
  };
  virtual result<gauge_reading> gauges_of(const std::string& /*node*/) { return gauge_reading{}; }

  /// Idempotency-Key: the stored answer for (scope, key), or nullopt and the key is taken for this request (failure::conflict if another
  /// request with it is still running or had another body).
  struct remembered {
    int status = 0;
    std::string body;
  };
  virtual result<std::optional<remembered>> begin_idempotent(const std::string& scope, const std::string& key, const sha256_digest& request) = 0;
  virtual result<void> finish_idempotent(const std::string& scope, const std::string& key, const remembered& answer) = 0;
  /// The request failed for a reason that may pass (5xx): the key is free again. The default leaves it to `sweep`.
  virtual result<void> forget_idempotent(const std::string&, const std::string&) { return {}; }
};

// ---- storage workers ----------------------------------------------------------------------------------------------------------------

class webhook_store;   // storage/webhook_store.hpp

/// What a job may use. All live until the job returns.
struct session {
  mail_store& mail;
  admin_store& admin;
  webhook_store* webhooks = nullptr;   ///< null only in tests that have none
};

/// A fixed set of threads, each with one database connection. Any thread may submit.
class executor {
 public:
  virtual ~executor() = default;

  /// Queues `job`; never blocks. The job runs once on a worker with a session, or, without touching the database, with an error:
  /// store_unavailable (no connection), timed_out (deadline passed while queued), cancelled (shutdown). If the queue is full the job is
  /// not taken and `false` is returned (the job is destroyed unrun).
  /// `urgent` jobs (leases, refresh tokens) overtake others.
  using job = std::function<void(result<session*>)>;
  virtual bool submit(deadline until, job work, bool urgent = false) = 0;

  [[nodiscard]] virtual std::size_t queued() const = 0;
};

}  // namespace mailherd::store
