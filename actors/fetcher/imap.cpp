// actors/fetcher/imap: the cursor of a folder, windows of UIDs, a changed UIDVALIDITY, what is done with fetched mail.
#include <caf/send.hpp>

#include <algorithm>

#include "actors/fetcher/fetcher.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
constexpr std::uint32_t window_least = 500, window_most = 1u << 24;
constexpr std::size_t window_sparse = 200, window_dense = 4'000;
constexpr std::size_t mark_batch = 500;
/// A first listing with more than this is a backfill that people want to watch.
constexpr std::uint32_t backfill_messages = 100;
}  // namespace

// ---- where we are -------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::begin_imap() {
  work_ = work::loading;
  ++work_generation_;
  clear_window();
  caught_up_ = false;
  ask_store<store::cursor>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = parts_.guard, folder = serving_->incoming.folder](store::session& s) { return s.mail.load_cursor(guard, protocol_kind::imap, folder); },
      [this, generation = work_generation_](result<store::cursor> loaded) {
        if (generation != work_generation_ || !serving_ || !serving_->opened) return;
        on_cursor(std::move(loaded));
      });
}

void channel_fetcher::on_cursor(result<store::cursor> loaded) {
  if (!loaded) {
    if (loaded.error().code == failure::fenced) return lose();
    drop_serving();
    return wait_and_reopen(loaded.error());
  }
  cursor_ = *loaded;
  const auto& opened = *serving_->opened;
  if (!cursor_.initialised) return start_from_beginning();
  if (cursor_.uid_validity != opened.uid_validity) {
    // Every UID means something else now. What is known is found again by date, size and header; the rest is new or unwanted.
    log(log_level::warning, "UIDVALIDITY changed; the mailbox is reconciled",
        {{"from", std::to_string(cursor_.uid_validity.value)}, {"to", std::to_string(opened.uid_validity.value)}});
    cursor_.uid_validity = opened.uid_validity;
    cursor_.last_uid = {};
    cursor_.after_uid = {};
    cursor_.highest_modseq = 0;
    cursor_.reconcile_upto = {opened.uid_next.value != 0 ? opened.uid_next.value - 1 : 0xFFFFFFFFu};
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
  if (r.messages_stored > 0 || r.observed_generation > 0) {
    // Another source of a channel that has served before (host, protocol or folder changed): its mail may be here too.
    cursor_.reconcile_upto = {opened.uid_next.value != 0 ? opened.uid_next.value - 1 : 0xFFFFFFFFu};
    return list_next();
  }
  switch (r.spec.start.from) {
    case start_point::kind::all: return list_next();
    case start_point::kind::now:
      cursor_.baseline.reset();   // from here on the cursor says it better: clocks differ
      if (opened.uid_next.value != 0) {
        cursor_.last_uid = {opened.uid_next.value - 1};
        auto unit = new_unit();
        unit.move_cursor = cursor_;
        unit.move_cursor->baseline = r.created_at;   // kept for a later change of UIDVALIDITY
        cursor_ = *unit.move_cursor;
        work_ = work::fetching;
        window_upto_ = {};
        return flush(std::move(unit), nullptr);      // then fetch_more() finds nothing to do and goes on
      }
      cursor_.baseline = r.created_at;
      return list_next();
    case start_point::kind::at:
      work_ = work::baseline;
      list_request_ = ++last_request_;
      serving_->session->list_since(list_request_, r.spec.start.at);
      return;
  }
}

void channel_fetcher::on_baseline(const session_event::listed& e) {
  // By the server's calendar and to the day: the dates in the listing decide exactly.
  std::uint32_t first = 0;
  for (const auto& entry : e.entries)
    if (first == 0 || entry.uid.value < first) first = entry.uid.value;
  if (first > 0) {
    cursor_.last_uid = {first - 1};
  } else if (serving_->opened->uid_next.value > 0) {
    cursor_.last_uid = {serving_->opened->uid_next.value - 1};
  }
  list_next();
}

// ---- windows ------------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::list_next() {
  if (stopping_) return maybe_stopped();
  if (successor_ && successor_->opened && quiet()) return cut_over();
  if (serving_->incoming.protocol == protocol_kind::pop3) return;
  clear_window();
  work_ = work::listing;
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
  attempt_ = 0;
  if (serving_->incoming.protocol == protocol_kind::pop3) return on_maildrop(e);
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
  if (!caught_up_ && !backfill_total_ && serving_->opened->messages > backfill_messages && entries.size() > backfill_messages) {
    backfill_total_ = std::max<std::int64_t>(serving_->opened->messages, static_cast<std::int64_t>(entries.size()));
    store::mail_store::state_change c;
    c.state = channel_state::backfilling;
    c.observed_generation = serving_->generation;
    c.account = serving_->account;
    c.token_expires_at = serving_->token_expires_at;
    set_state(std::move(c));
  }
  window_.clear();
  window_.reserve(entries.size());
  for (auto& entry : entries) {
    window_item w;
    const bool old = cursor_.baseline && entry.internal_date != wall_time{} && entry.internal_date < *cursor_.baseline;
    if (entry.uid <= cursor_.reconcile_upto) {
      w.next = window_item::want::compare;
    } else if (old) {
      w.handed = true;
    }
    w.entry = std::move(entry);
    window_.push_back(std::move(w));
  }
  work_ = work::fetching;
  if (!window_.empty() && window_.front().entry.uid <= cursor_.reconcile_upto) return find_candidates();
  fetch_more();
}

void channel_fetcher::find_candidates() {
  work_ = work::comparing;
  std::vector<std::pair<std::optional<wall_time>, std::uint64_t>> keys;
  for (const auto& w : window_) {
    if (w.next != window_item::want::compare) continue;
    keys.emplace_back(std::nullopt, w.entry.size);
  }
  ask_store<std::vector<store::candidate>>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = parts_.guard, folder = serving_->incoming.protocol == protocol_kind::imap ? serving_->incoming.folder : std::string(),
       validity = cursor_.uid_validity, keys = std::move(keys)](store::session& s) { return s.mail.find_candidates(guard, folder, validity, keys); },
      [this, generation = work_generation_](result<std::vector<store::candidate>> found) {
        if (generation != work_generation_ || !serving_ || !serving_->opened) return;
        on_candidates(std::move(found));
      });
}

void channel_fetcher::on_candidates(result<std::vector<store::candidate>> found) {
  if (!found) {
    if (found.error().code == failure::fenced) return lose();
    drop_serving();
    return wait_and_reopen(found.error());
  }
  std::unordered_map<std::uint64_t, std::vector<store::candidate>> by_size;
  for (auto& c : *found) by_size[c.size].push_back(c);
  for (std::size_t i = 0; i < window_.size(); ++i) {
    auto& w = window_[i];
    if (w.next != window_item::want::compare) continue;
    if (const auto it = by_size.find(w.entry.size); it != by_size.end()) {
      w.candidates = it->second;
      continue;
    }
    // Nothing of this size is known: no header needs to be compared.
    const bool dated = w.entry.internal_date != wall_time{};
    if (cursor_.baseline && dated && w.entry.internal_date < *cursor_.baseline) {
      hand(i);
    } else if (!cursor_.baseline || dated) {
      w.next = window_item::want::body;
    }
    // POP3 with a baseline: the header tells the date.
  }
  work_ = work::fetching;
  fetch_more();
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
  if (load_->record.spec.after == after_fetch::keep || cursor_.after_uid >= cursor_.last_uid) return begin_watch();
  work_ = work::marking;
  ask_store<std::vector<mailherd::uid>>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = parts_.guard, folder = serving_->incoming.folder, c = cursor_](store::session& s) {
        return s.mail.stored_uids(guard, folder, c.uid_validity, c.after_uid, c.last_uid, mark_batch);
      },
      [this, generation = work_generation_](result<std::vector<mailherd::uid>> uids) {
        if (generation != work_generation_ || !serving_ || !serving_->opened) return;
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
  if (serving_->incoming.protocol == protocol_kind::pop3) return end_poll();
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
