// actors/fetcher/fetcher: the actor that serves one mailbox under one lease epoch.
//
//   fetcher.cpp   life: loads the channel, its one timer, stopping
//   states.cpp    what people are told: states, which credential serves, signs of life
//   links.cpp     sessions: opening, succession (invariant 4), cutting over
//   endings.cpp   sessions: what follows from each failure and each end
//   handing.cpp   from node to node: standing by, taking over, letting go
//   window.cpp    the messages in hand: slices under the node's budget, tries, what is set aside
//   commits.cpp   units on their way to the store, and what follows when they do not get there
//   known.cpp     messages known under an earlier identity: a changed UIDVALIDITY, another source
//   imap.cpp      cursor, windows of UIDs, after_fetch
//   pop3.cpp      listing against the ledger, polls, deletions
//
// Owns:   the serving session and its successor, the cursor in memory, the messages between server and store.
// Never:  writes except through the storage gate under its lease epoch; blocks; decides anything from a late event (every session has an
//         epoch of its own, and what belongs to another epoch is dropped).
// Exactly once: the cursor travels in the same commit as the messages it passes over, or in a later one of the same stream, which the gate
//         refuses if an earlier one was not stored; after any loss of a session or a commit the work begins again at the durable
//         cursor, and the ledger suppresses what is stored already.
#pragma once

#include <caf/typed_event_based_actor.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "actors/channel_fetcher.hpp"
#include "actors/token_refresher.hpp"
#include "core/advice.hpp"
#include "core/backoff.hpp"

namespace mailherd::actors {

/// The name of a message among those of one channel.
std::string key_of(const message_source& source);

/// Stands for the header of a message that nobody could read: found again by its date and size.
sha256_digest unread_digest(wall_time internal_date);

/// Waiting for the permission to sign in is no standstill, however many channels of a dead host are before this one.
constexpr std::chrono::hours ticket_patience{12};

/// One message between listing and commit.
struct window_item {
  enum class want : std::uint8_t {
    compare,   ///< its header first: it may be known under an earlier identity, or be older than wanted
    body,
    record,    ///< too large: header only, recorded without its body
  };
  listing_entry entry;
  want next = want::body;
  bool asked = false;      ///< in a request now
  bool handed = false;     ///< in a commit unit, or dealt with otherwise
  bool alone = false;      ///< asked for in a request of its own, since it was refused in company
  bool missed = false;     ///< the server answered OK without it once
  bool doubtful = false;   ///< and twice: a listing will tell whether it is gone
  bool held = false;       ///< it has arrived and is being compared with what the store knows
  bool again = false;      ///< POP3: known by its name, and read once more: only what it says proves that it is what was stored
};

/// POP3: what the ledger knows of a listing.
struct known_uidls {
  std::vector<std::string> unknown;
  std::vector<store::stored_uidl> stored;   ///< asked for if what is stored is to be deleted
  std::optional<store::listed_origins> listed;   ///< asked for if every UIDL is new, although some are known, or was
};

class channel_fetcher final : public channel_fetcher_actor::base {
 public:
  channel_fetcher(caf::actor_config& cfg, fetcher_parts parts);
  behavior_type make_behavior() override;
  void on_exit() override;
  const char* name() const override { return "channel_fetcher"; }

 private:
  /// One session, from the wish for it to its end.
  struct link {
    std::uint64_t epoch = 0;
    std::int64_t generation = 0;            ///< of the credential it signs in with
    auth_type auth = auth_type::basic;
    incoming_settings incoming;
    std::int64_t server = 1;                ///< of the channel's record: whose numbers these are
    bool writable = false;
    credential who;                         ///< until it is told that it serves: the row may change meanwhile
    std::unique_ptr<mail_session> session;
    login_ticket ticket;                    ///< while it opens
    bool awaits_token = false;
    std::uint64_t token_serial = 0;
    std::optional<wall_time> token_expires_at;
    std::string account;
    std::optional<session_event::opened> opened;
    std::shared_ptr<void> counted;          ///< in the metric of open sessions, for as long as this lives
    bool closing = false;
    bool compared = false;                  ///< with the session that served: it is the same mailbox
    bool unproven = false;                  ///< it is told that it serves when its mailbox was compared with what is known of the channel's
  };
  using link_ptr = std::unique_ptr<link>;

  enum class work : std::uint8_t { none, loading, baseline, listing, comparing, fetching, marking, watching, resting };
  enum class ending : std::uint8_t { broken, polled, yielded };   ///< polled: a POP3 session did its work; yielded: for a successor

  using messages = std::vector<store::incoming_message>;

  struct request {
    std::vector<std::size_t> items;         ///< indexes into window_
    window_item::want want = window_item::want::body;
  };

  // fetcher.cpp
  mono_time now() { return clock().now(); }
  wall_time wall() const { return env_.wall_now(); }
  caf::weak_actor_ptr me() { return caf::weak_actor_ptr{ctrl()}; }
  void load();
  void on_loaded(result<store::mail_store::channel_load> loaded);
  void on_load_failed(const error& reason);
  void on_changed();
  void on_tick(std::uint64_t generation);
  void arm();
  void log(log_level level, std::string_view sentence, std::initializer_list<log_field> fields = {});
  void begin_stop();
  void maybe_stopped();
  void lose();
  void give_token(std::shared_ptr<token_request> request);
  token_refresher_actor& refresher();
  void on_down(const caf::down_msg& down);

  // states.cpp
  void set_state(store::mail_store::state_change change);
  void write_state();
  void on_state_written(store::mail_store::state_change change, const result<void>& done);
  void tell_again();
  void tell_serving();
  void tell_disabled();
  void report_success();

  // links.cpp
  [[nodiscard]] bool awaits_consent() const;
  [[nodiscard]] std::int64_t target_generation() const;
  [[nodiscard]] bool wants_successor() const;
  [[nodiscard]] bool must_close_first() const;
  [[nodiscard]] std::string name_of(const credential& c, const std::string& account_of_token) const;
  [[nodiscard]] bool signs_in_by_another_name() const;
  void refuse_mailbox(const std::string& why);
  void open_serving();
  void open_successor();
  void open(link& l);
  void with_ticket(std::uint64_t epoch, login_ticket ticket);
  void with_token(std::uint64_t epoch, result<access_token> token);
  void dial(link& l, secret<> access_token);
  link* link_of(std::uint64_t epoch);
  void on_session(session_report& report);
  void on_woken(const session_event::woken& e);
  void on_opened(link& l, const session_event::opened& e);
  void on_successor_opened();
  void begin_serving();
  void begin();
  void cut_over();
  void leave(link_ptr l);
  void on_left(std::uint64_t epoch);
  void schedule_renewal();

  // endings.cpp
  void on_ended(link& l, session_event::ended& e);
  void note_guilt(const session_event::ended& e);
  void forget_serving();
  void drop_serving();
  void on_open_failed(link& l, error reason);
  void successor_failed(const error& reason, std::int64_t generation);
  void refuse_generation(const error& reason);
  void wait_and_reopen(const error& reason, ending how = ending::broken);
  void reopen_after(duration wait);

  // handing.cpp
  /// Another node owns the channel: a session is brought up, and nothing is written.
  [[nodiscard]] bool standby() const { return parts_.guard.epoch == 0; }
  void stand_by();
  void standby_failed(const error& reason);
  void on_claimed(const store::lease_guard& guard);
  void take_over();
  void on_hand(hand_step step);
  void yield_if_quiet();
  void go_on();
  void tell(hand_step step);

  // window.cpp
  void fetch_more();
  bool send_slice();
  void ask_budget(std::vector<std::size_t> items, window_item::want want, std::uint64_t bytes);
  void on_fetched(session_event::fetched& e);
  void take_messages(window_item::want want, messages batch, std::shared_ptr<fetch_budget::share> share);
  void on_fetch_done(session_event::fetch_done& e);
  void refuse(std::vector<std::size_t> items, const error& reason);
  void note_try(std::size_t item, const error& reason);
  void set_aside(std::size_t item, const std::string& why);
  void verify_doubtful();
  void on_verified(const session_event::listed& e);
  void hand(std::size_t item) { window_[item].handed = true; }
  void pass_over_handed();
  void clear_window();
  [[nodiscard]] std::optional<std::size_t> item_of(const message_source& source) const;
  [[nodiscard]] std::optional<std::size_t> item_of(const listing_entry& entry) const;
  [[nodiscard]] bool all_handed();
  [[nodiscard]] std::uint64_t largest_allowed() const;
  [[nodiscard]] message_source source_of(const window_item& item) const;
  void window_done();

  // commits.cpp
  /// The right to write, with the server whose numbers are written: that of the serving session, not of the newest settings.
  [[nodiscard]] store::lease_guard guard() const;
  store::commit_unit new_unit();
  void flush(store::commit_unit unit, std::shared_ptr<fetch_budget::share> share);
  void on_committed(const store::commit_outcome& outcome, const std::shared_ptr<commit_stream>& stream, const std::vector<message_source>& what);
  void on_unit_refused(const error& reason, const std::vector<message_source>& what);
  void store_trouble(const error& reason);
  void proceed();
  /// A commit boundary: nothing is on its way from the server or to the store.
  [[nodiscard]] bool quiet() const { return commits_ == 0 && requests_.empty() && asking_budget_ == 0 && noting_ == 0 && checking_ == 0; }

  // known.cpp
  [[nodiscard]] bool reconciles(const window_item& item) const;
  [[nodiscard]] std::optional<wall_time> wanted_from() const;
  void find_candidates();
  [[nodiscard]] store::identities identities_here() const;
  void on_candidates(result<std::vector<store::candidate>> found);
  void check_bodies(messages batch, std::shared_ptr<fetch_budget::share> share);
  std::optional<store::candidate> known_as(const window_item& item, const store::incoming_message& m, bool whole);
  [[nodiscard]] bool too_old(const window_item& item, const store::incoming_message& headers) const;
  [[nodiscard]] std::string source_folder() const;

  // imap.cpp
  void begin_imap();
  void on_cursor(result<store::cursor> loaded);
  void start_from_beginning();
  void on_listed(session_event::listed& e);
  void on_baseline(const session_event::listed& e);
  void list_next();
  void take_window(std::vector<listing_entry> entries);
  void note_backfill(std::size_t listed);
  void move_cursor(store::commit_unit& unit);
  void imap_window_done();
  void mark_stored();
  void on_marked(const session_event::marked& e);
  void begin_watch();

  // pop3.cpp
  void begin_pop3();
  void on_maildrop(session_event::listed& e);
  void on_known(result<known_uidls> known);
  [[nodiscard]] bool may_be_renewed() const;
  void fill_window(const known_uidls& known);
  [[nodiscard]] bool maildrop_to_prove() const;
  [[nodiscard]] bool is_another_maildrop(const known_uidls& known) const;
  void remember_maildrop();
  void pop3_window_done();
  void delete_stored();
  void end_poll(ending how);

  fetcher_parts parts_;
  const environment& env_;
  std::optional<store::mail_store::channel_load> load_;
  token_refresher_actor refresher_;

  link_ptr serving_, successor_;
  std::vector<link_ptr> leaving_;                 ///< logged out, not ended yet
  bool crowded_ = false;                          ///< there were some when the successor began
  std::uint64_t last_epoch_ = 0, last_request_ = 0;

  // the work in hand
  work work_ = work::none;
  store::cursor cursor_;
  std::vector<window_item> window_;
  std::unordered_map<std::string, std::size_t> by_uidl_;
  std::size_t prefix_ = 0;                        ///< items before this one are handed
  std::size_t next_item_ = 0;                     ///< items before this one were asked for at least once
  mailherd::uid window_upto_;                     ///< 0: the window reaches the end of the mailbox
  mailherd::uid listed_upto_;                     ///< the last UID the window's listing covers
  std::uint32_t window_size_;
  std::map<std::uint64_t, request> requests_;
  std::uint64_t list_request_ = 0, mark_request_ = 0;
  mailherd::uid marking_upto_;
  unsigned commits_ = 0, asking_budget_ = 0, noting_ = 0, checking_ = 0;
  std::size_t doubtful_ = 0;
  bool sound_ = false;                            ///< the server delivered a message since the last that was set aside
  bool verifying_ = false;                        ///< the listing under way is about the doubtful ones
  std::shared_ptr<commit_stream> stream_;         ///< of the units sent since the cursor was read; null: none was sent
  std::uint64_t work_generation_ = 0;             ///< what was asked under another one is void
  std::map<std::string, std::string> aside_;      ///< messages to be recorded without body, and why (key of identity)
  std::set<std::string> suspects_;                ///< messages at which a session or a commit broke: asked for alone
  std::unordered_map<std::uint64_t, std::vector<store::candidate>> candidates_;   ///< of the window, by size
  std::unordered_set<std::int64_t> taken_;        ///< ledger entries found again
  std::vector<listing_entry> maildrop_;           ///< POP3: the listing of this session
  std::unordered_set<std::uint32_t> doubted_;     ///< POP3: numbers of that listing that may be other messages than the ones stored by their names
  std::unordered_map<std::string, std::uint64_t> proven_;   ///< POP3: read again and found to be what was stored, by UIDL: size as listed
  std::vector<std::string> seen_uidls_;           ///< POP3: some of what the last poll saw: a new credential must open the same maildrop
  std::int64_t seen_generation_ = 0, seen_server_ = 0;   ///< of that poll
  store::named_by seen_names_{};
  std::vector<std::string> skipped_;              ///< POP3: not wanted, to be remembered with the next commit
  store::named_by names_{};                       ///< POP3: what the identities of that listing are
  std::optional<error> head_refusal_;             ///< POP3: why some of them have none
  bool reconcile_ = false;                        ///< POP3: what is not known by this identity is compared with the ledger first
  bool renewed_ = false;                          ///< POP3: … which knows it by a UIDL that is no more: all were new at once
  std::int64_t newest_known_ = 0;                 ///< POP3: then: the newest ledger entry when that was seen
  bool some_left_ = true;                         ///< POP3: the last poll that saw mail saw some that was known; true before the first one
  bool cursor_due_ = false;                       ///< POP3: to be written when the maildrop is dealt with as a whole
  bool served_before_ = false;                    ///< some session of this channel did, whatever its source was then
  bool caught_up_ = false;                        ///< this session has reached the end of the mailbox once
  std::int64_t backfill_done_ = 0;
  std::optional<std::int64_t> backfill_total_;

  unsigned empty_looks_ = 0;                      ///< in a row, although the server said that something changed
  mono_time looked_at_{};

  // which credential
  std::int64_t refused_generation_ = 0;           ///< does not work: not tried again until the row changes, while an older one does
  bool older_meanwhile_ = false;                  ///< nothing serves and the newest gets no token now: the next session is the older one's
  std::uint64_t refused_serial_ = 0;              ///< the access token the server refused: one fresh one was asked for since
  bool renewal_due_ = false;                      ///< a successor with a fresh token is wanted
  std::uint64_t ending_serial_ = 0;               ///< instead of this one

  // waiting
  unsigned attempt_ = 0, successor_attempt_ = 0, store_attempt_ = 0, state_attempt_ = 0;
  std::optional<mono_time> reopen_at_, renew_at_, successor_at_, resume_at_, state_at_, stop_at_;
  mono_time served_since_{};
  unsigned short_lives_ = 0;                      ///< sessions in a row that ended soon
  std::optional<mono_time> not_before_;           ///< no sign-in earlier: throttled, or the server's LOGIN-DELAY
  std::uint64_t timer_ = 0;
  std::optional<mono_time> armed_for_;
  bool loading_ = false, reload_ = false, changed_ = false, stopping_ = false, one_session_only_ = false, blocked_ = false;
  ending poll_end_ = ending::polled;              ///< why the POP3 session at hand was closed
  std::optional<mono_time> gap_since_;            ///< break-before-make: since when nobody serves

  // from node to node
  bool taking_over_ = false;                      ///< ours since a moment: the rows are being read again
  std::optional<mono_time> took_over_at_;         ///< until it serves
  bool yielding_ = false, yield_alone_ = false, yielded_ = false;
  std::optional<mono_time> yield_at_;             ///< what is still arriving then is left to the heir; later: it came to nothing

  // what was told
  std::optional<std::pair<channel_state, std::string>> told_;   ///< state and reason written last
  std::optional<store::mail_store::state_change> state_next_;   ///< to be written after the one under way
  bool state_writing_ = false;
  bool troubled_ = false;                                       ///< a state of trouble was told, and no active one since
  std::optional<std::pair<std::int64_t, std::optional<wall_time>>> told_serving_;   ///< generation, expiry of its token
  std::optional<mono_time> success_told_;
};

}  // namespace mailherd::actors
