// actors/fetcher/fetcher: the actor that serves one mailbox under one lease epoch.
//
//   fetcher.cpp   life: loads the channel, its one timer, states and signs of life, stopping
//   links.cpp     sessions: opening, ending, succession (invariant 4), what follows from each failure
//   window.cpp    the messages in hand: slices under the node's budget, commits, tries, what is set aside
//   imap.cpp      cursor, windows of UIDs, UIDVALIDITY, after_fetch
//   pop3.cpp      listing against the ledger, polls, deletions
//
// Owns:   the serving session and its successor, the cursor in memory, the messages between server and store.
// Never:  writes except through the storage gate under its lease epoch; blocks; decides anything from a late event (every session has an
//         epoch of its own, and what belongs to another epoch is dropped).
// Exactly once: the cursor travels in the same commit as the messages it passes over; after any loss of a session or a commit the
//         work begins again at the durable cursor, and the ledger suppresses what is stored already.
#pragma once

#include <caf/typed_event_based_actor.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "actors/channel_fetcher.hpp"
#include "actors/token_refresher.hpp"
#include "core/advice.hpp"
#include "core/backoff.hpp"

namespace mailherd::actors {

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
  std::vector<store::candidate> candidates;
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
    std::int64_t revision = 0;              ///< of the channel's settings it was opened with
    auth_type auth = auth_type::basic;
    incoming_settings incoming;
    std::unique_ptr<mail_session> session;
    login_ticket ticket;                    ///< while it opens
    std::uint64_t token_serial = 0;
    std::optional<wall_time> token_expires_at;
    std::string account;
    std::optional<session_event::opened> opened;
    bool closing = false;
  };
  using link_ptr = std::unique_ptr<link>;

  enum class work : std::uint8_t { none, loading, baseline, listing, comparing, fetching, marking, watching };

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
  void on_changed();
  void on_tick(std::uint64_t generation);
  void arm();
  void set_state(store::mail_store::state_change change);
  void report_success();
  void log(log_level level, std::string_view sentence, std::initializer_list<log_field> fields = {});
  void begin_stop();
  void maybe_stopped();
  void lose();
  [[nodiscard]] bool wants_successor() const;
  void give_token(std::shared_ptr<token_request> request);
  token_refresher_actor& refresher();

  // links.cpp
  void open_serving();
  void open_successor();
  void open(link& l);
  void with_token(std::uint64_t epoch, result<access_token> token);
  void dial(link& l, secret<> access_token);
  link* link_of(std::uint64_t epoch);
  void on_session(const session_report& report);
  void on_opened(link& l, const session_event::opened& e);
  void on_ended(link& l, session_event::ended& e);
  void on_open_failed(link& l, const error& reason);
  void successor_failed(const error& reason);
  void cut_over();
  void drop_serving();
  void wait_and_reopen(const error& reason);
  void schedule_renewal();
  [[nodiscard]] const credential& credential_for(std::int64_t generation) const;

  // window.cpp
  void fetch_more();
  bool send_slice();
  void ask_budget(std::vector<std::size_t> items, window_item::want want, std::uint64_t bytes);
  void on_fetched(session_event::fetched& e);
  void on_fetch_done(session_event::fetch_done& e);
  void refuse(std::vector<std::size_t> items, const error& reason);
  void note_try(std::size_t item, const error& reason);
  void set_aside(std::size_t item, const std::string& why);
  bool compare(std::size_t item, const store::incoming_message& headers);
  void hand(std::size_t item) { window_[item].handed = true; }
  void flush(store::commit_unit unit, std::shared_ptr<fetch_budget::share> share);
  void on_committed(const store::commit_outcome& outcome, std::size_t messages);
  void clear_window();
  [[nodiscard]] bool quiet() const { return commits_ == 0 && requests_.empty() && asking_budget_ == 0 && noting_ == 0; }
  [[nodiscard]] std::optional<std::size_t> item_of(const message_source& source) const;
  [[nodiscard]] std::optional<std::size_t> item_of(const listing_entry& entry) const;
  [[nodiscard]] bool all_handed();
  [[nodiscard]] std::uint64_t largest_allowed() const;
  [[nodiscard]] message_source source_of(const window_item& item) const;
  store::commit_unit new_unit();
  void window_done();
  void proceed();

  // imap.cpp
  void begin_imap();
  void on_cursor(result<store::cursor> loaded);
  void start_from_beginning();
  void on_listed(session_event::listed& e);
  void on_baseline(const session_event::listed& e);
  void list_next();
  void take_window(std::vector<listing_entry> entries);
  void find_candidates();
  void on_candidates(result<std::vector<store::candidate>> found);
  void move_cursor(store::commit_unit& unit);
  void imap_window_done();
  void mark_stored();
  void on_marked(const session_event::marked& e);
  void begin_watch();

  // pop3.cpp
  void begin_pop3();
  void on_maildrop(session_event::listed& e);
  void on_unknown(result<std::vector<std::string>> unknown);
  void pop3_window_done();
  void delete_stored();
  void end_poll();

  fetcher_parts parts_;
  const environment& env_;
  std::optional<store::mail_store::channel_load> load_;
  token_refresher_actor refresher_;

  link_ptr serving_, successor_;
  std::vector<link_ptr> leaving_;                 ///< logged out, not ended yet
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
  unsigned commits_ = 0, asking_budget_ = 0, noting_ = 0;
  std::uint64_t work_generation_ = 0;             ///< what was asked under another one is void
  std::map<std::string, std::string> aside_;      ///< messages to be recorded without body, and why (key of identity)
  std::vector<listing_entry> maildrop_;           ///< POP3: the listing of this session
  std::vector<std::string> skipped_;              ///< POP3: not wanted, to be remembered with the next commit
  bool reconcile_ = false;                        ///< POP3: compare with the ledger before fetching
  bool caught_up_ = false;                        ///< this session has reached the end of the mailbox once
  std::int64_t backfill_done_ = 0;
  std::optional<std::int64_t> backfill_total_;

  // waiting
  unsigned attempt_ = 0, successor_attempt_ = 0;
  unsigned token_refusals_ = 0;
  std::optional<mono_time> reopen_at_, renew_at_, successor_at_, stop_at_;
  std::uint64_t timer_ = 0;
  std::optional<mono_time> armed_for_;
  bool loading_ = false, reload_ = false, stopping_ = false, one_session_only_ = false, blocked_ = false;
  std::optional<mono_time> gap_since_;            ///< break-before-make: since when nobody serves
  std::optional<std::pair<channel_state, std::string>> told_;   ///< state and reason written last
  std::optional<mono_time> success_told_;
};

}  // namespace mailherd::actors
