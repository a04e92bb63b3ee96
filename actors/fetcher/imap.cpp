// actors/fetcher/imap: the cursor of a folder, windows of UIDs, what is done with fetched mail.
#include <caf/send.hpp>

#include <algorithm>
#include <utility>

#include "actors/fetcher/fetcher.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
constexpr std::uint32_t window_least = 500, window_most = 1u << 24;
constexpr std::size_t window_sparse = 200, window_dense = 4'000;
constexpr std::size_t mark_batch = 500;
/// A listing with more than this is a backfill that people want to watch.
constexpr std::uint32_t backfill_messages = 100;

/// Everything that is in the mailbox now.
mailherd::uid newest_of(const session_event::opened& opened) { return {opened.uid_next.value != 0 ? opened.uid_next.value - 1 : 0xFFFFFFFFu}; }
}  // namespace

// ---- where we are -------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::begin_imap() {
  work_ = work::loading;
  ++work_generation_;
  clear_window();
  stream_.reset();
  caught_up_ = false;
  empty_looks_ = 0;
  ask_store<store::cursor>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = guard(), folder = serving_->incoming.folder](store::session& s) { return s.mail.load_cursor(guard, protocol_kind::imap, folder); },
      [this, generation = work_generation_](result<store::cursor> loaded) {
        if (generation == work_generation_) on_cursor(std::move(loaded));
      });
}

void channel_fetcher::on_cursor(result<store::cursor> loaded) {
  if (!loaded) return store_trouble(loaded.error());
  cursor_ = *loaded;
  const auto& opened = *serving_->opened;
  if (std::exchange(serving_->unproven, false)) {
    // Of a folder of this server that was never opened nothing is known.
    if (cursor_.initialised && cursor_.uid_validity != opened.uid_validity) return refuse_mailbox("its UIDVALIDITY is not the one that is known");
    tell_serving();
  }
  if (!cursor_.initialised) return start_from_beginning();
  if (cursor_.uid_validity != opened.uid_validity) {
    // Every UID means something else now. What is known is found again by date, size and header; the rest is new or unwanted.
    log(log_level::warning, "UIDVALIDITY changed; the mailbox is reconciled",
        {{"from", std::to_string(cursor_.uid_validity.value)}, {"to", std::to_string(opened.uid_validity.value)}});
    cursor_.uid_validity = opened.uid_validity;
    cursor_.last_uid = {};
    cursor_.after_uid = {};
    cursor_.highest_modseq = 0;
    cursor_.reconcile_upto = newest_of(opened);
  }
  list_next();
}

void channel_fetcher::start_from_beginning() {
  const auto& r = load_->record;
  const auto& opened = *serving_->opened;
  cursor_ = {};
  cursor_.uid_validity = opened.uid_validity;
  cursor_.initialised = true;
  if (r.spec.start.from == start_point::kind::now) cursor_.baseline = r.created_at;
  if (r.spec.start.from == start_point::kind::at) cursor_.baseline = r.spec.start.at;
  // Another source of a channel that has served before (host, protocol or folder changed) may hold mail that is known; and only what is here
  // now can be older than wanted.
  cursor_.reconcile_upto = newest_of(opened);
  if (!served_before_ && r.spec.start.from == start_point::kind::all) cursor_.reconcile_upto = {};
  if (!served_before_ && r.spec.start.from == start_point::kind::now && opened.uid_next.value != 0) {
    cursor_.last_uid = listed_upto_ = newest_of(opened);
    auto unit = new_unit();
    unit.move_cursor = cursor_;
    work_ = work::fetching;
    window_upto_ = {};
    return flush(std::move(unit), nullptr);   // then fetch_more() finds nothing to do and goes on
  }
  if (r.spec.start.from == start_point::kind::at && !served_before_) {
    work_ = work::baseline;
    list_request_ = ++last_request_;
    return serving_->session->list_since(list_request_, r.spec.start.at);
  }
  list_next();
}

void channel_fetcher::on_baseline(const session_event::listed& e) {
  // To the day, and some days more: the dates in the listing decide exactly. A server that finds nothing may only be unable to search.
  std::uint32_t first = 0;
  for (const auto& entry : e.entries)
    if (first == 0 || entry.uid.value < first) first = entry.uid.value;
  if (first > 0) cursor_.last_uid = {first - 1};
  list_next();
}

// ---- windows ------------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::list_next() {
  if (stopping_) return maybe_stopped();
  if (successor_ && successor_->opened && quiet()) return cut_over();
  clear_window();
  work_ = work::listing;
  looked_at_ = now();
  const std::uint64_t end = std::uint64_t{cursor_.last_uid.value} + window_size_;
  const auto next = serving_->opened->uid_next.value;
  // The last window is open: what arrived since belongs to it.
  window_upto_ = {!caught_up_ && next != 0 && end + 1 < next ? static_cast<std::uint32_t>(end) : 0};
  list_request_ = ++last_request_;
  serving_->session->list(list_request_, cursor_.last_uid, window_upto_);
}

void channel_fetcher::on_listed(session_event::listed& e) {
  if (e.request != list_request_) return;
  list_request_ = 0;
  parts_.vitals->progress(now());
  if (serving_->incoming.protocol == protocol_kind::pop3) return on_maildrop(e);
  if (verifying_) return on_verified(e);
  if (work_ == work::baseline) return on_baseline(e);
  if (work_ != work::listing) return;
  take_window(std::move(e.entries));
}

void channel_fetcher::take_window(std::vector<listing_entry> entries) {
  // What the server sends beside the question is dropped: the cursor must not be led astray.
  std::erase_if(entries, [&](const listing_entry& x) { return x.uid <= cursor_.last_uid || (window_upto_.value != 0 && x.uid > window_upto_); });
  if (entries.size() < window_sparse) {
    window_size_ = std::min(window_size_ * 4, window_most);
  } else if (entries.size() > window_dense) {
    window_size_ = std::max(window_size_ / 2, window_least);
  }
  listed_upto_ = window_upto_.value != 0 ? window_upto_ : entries.empty() ? cursor_.last_uid : entries.back().uid;
  empty_looks_ = entries.empty() ? empty_looks_ + 1 : 0;
  note_backfill(entries.size());
  window_.reserve(entries.size());
  bool compare = false;
  for (auto& entry : entries) {
    window_item w;
    w.entry = std::move(entry);
    if (reconciles(w)) {
      w.next = window_item::want::compare;
      compare = true;
    }
    window_.push_back(std::move(w));
  }
  work_ = work::fetching;
  if (compare) return find_candidates();
  fetch_more();
}

void channel_fetcher::note_backfill(std::size_t listed) {
  if (caught_up_ || backfill_total_ || listed <= backfill_messages) return;
  const auto& r = load_->record;
  // One that was interrupted goes on counting.
  backfill_done_ = r.backfill_total ? r.backfill_done.value_or(0) : 0;
  // The last window shows all that is left; of an earlier one the mailbox is the best guess.
  const auto left = static_cast<std::int64_t>(listed);
  backfill_total_ = backfill_done_ + (window_upto_.value == 0 ? left : std::max<std::int64_t>(serving_->opened->messages - backfill_done_, left));
  store::mail_store::state_change c;
  c.state = channel_state::backfilling;
  set_state(std::move(c));
}

/// The cursor may pass over every message from the front that is handed.
void channel_fetcher::move_cursor(store::commit_unit& unit) {
  if (unit.protocol == protocol_kind::pop3) return;
  const bool all = all_handed();
  auto upto = cursor_.last_uid;
  if (all) {
    upto = std::max(upto, listed_upto_);
  } else if (prefix_ > 0) {
    upto = std::max(upto, window_[prefix_ - 1].entry.uid);
  }
  if (upto == cursor_.last_uid) return;
  cursor_.last_uid = upto;
  // What is fetched under "keep" is dealt with: a later "delete" must not reach back for it.
  if (load_->record.spec.after == after_fetch::keep) cursor_.after_uid = upto;
  if (serving_->opened->highest_modseq != 0 && all) cursor_.highest_modseq = serving_->opened->highest_modseq;
  unit.move_cursor = cursor_;
}

void channel_fetcher::imap_window_done() {
  // A window without messages to store has moved nothing yet.
  if (listed_upto_ > cursor_.last_uid) {
    auto unit = new_unit();
    move_cursor(unit);
    if (unit.move_cursor) return flush(std::move(unit), nullptr);
  }
  if (window_upto_.value != 0) return list_next();
  if (cursor_.reconcile_upto > cursor_.last_uid) {
    // The server told no UIDNEXT, but the end of the mailbox is reached: what comes now is new.
    cursor_.reconcile_upto = cursor_.last_uid;
    auto unit = new_unit();
    unit.move_cursor = cursor_;
    return flush(std::move(unit), nullptr);
  }
  caught_up_ = true;
  if (backfill_total_) {
    backfill_total_.reset();
    backfill_done_ = 0;
  }
  report_success();
  mark_stored();
}

// ---- after_fetch ----------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::mark_stored() {
  if (load_->record.spec.after == after_fetch::keep || !serving_->writable || cursor_.after_uid >= cursor_.last_uid) return begin_watch();
  work_ = work::marking;
  ask_store<std::vector<mailherd::uid>>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = guard(), folder = serving_->incoming.folder, c = cursor_, what = load_->record.spec.after](store::session& s) {
        return s.mail.stored_uids(guard, folder, c.uid_validity, c.after_uid, c.last_uid, what, mark_batch);
      },
      [this, generation = work_generation_](result<std::vector<mailherd::uid>> uids) {
        if (generation != work_generation_) return;
        if (!uids) return begin_watch();   // nothing is lost: it is asked again after the next message
        marking_upto_ = uids->size() < mark_batch ? cursor_.last_uid : uids->back();
        std::vector<listing_entry> entries;
        for (const auto u : *uids) {
          listing_entry e;
          e.uid = u;
          entries.push_back(std::move(e));
        }
        mark_request_ = ++last_request_;
        if (entries.empty()) return on_marked({mark_request_, std::nullopt});
        serving_->session->apply(mark_request_, std::move(entries), load_->record.spec.after == after_fetch::seen ? mark::seen : mark::remove);
      });
}

void channel_fetcher::on_marked(const session_event::marked& e) {
  if (e.request != mark_request_) return;
  mark_request_ = 0;
  if (serving_->incoming.protocol == protocol_kind::pop3) return end_poll(ending::polled);
  if (e.refusal) {
    // A mailbox that cannot be written is still read; people are told in the log, and it is tried again with the next mail.
    log(log_level::warning, "server refuses to mark fetched mail", {{"error", describe(*e.refusal)}});
    return begin_watch();
  }
  cursor_.after_uid = marking_upto_;
  auto unit = new_unit();
  unit.move_cursor = cursor_;
  work_ = work::fetching;   // the commit's end leads through the empty window back to mark_stored()
  window_upto_ = {};
  listed_upto_ = cursor_.last_uid;
  clear_window();
  flush(std::move(unit), nullptr);
}

void channel_fetcher::begin_watch() {
  work_ = work::watching;
  clear_window();
  if (successor_ && successor_->opened && quiet()) return cut_over();
  parts_.vitals->progress(now());
  serving_->session->watch();
}

}  // namespace mailherd::actors
