// actors/fetcher/pop3: one poll of a maildrop: what is listed and not in the ledger is fetched; what is stored may be deleted.
#include <caf/send.hpp>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "actors/fetcher/fetcher.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

void channel_fetcher::begin_pop3() {
  work_ = work::loading;
  ++work_generation_;
  clear_window();
  stream_.reset();
  skipped_.clear();
  ask_store<store::cursor>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = guard()](store::session& s) { return s.mail.load_cursor(guard, protocol_kind::pop3, std::string()); },
      [this, generation = work_generation_](result<store::cursor> loaded) {
        if (generation != work_generation_) return;
        if (!loaded) return store_trouble(loaded.error());
        cursor_ = *loaded;
        work_ = work::listing;
        list_request_ = ++last_request_;
        serving_->session->list(list_request_, {}, {});
      });
}

void channel_fetcher::on_maildrop(session_event::listed& e) {
  if (work_ != work::listing) return;
  maildrop_ = std::move(e.entries);
  names_ = e.names;
  if (maildrop_to_prove()) {
    if (is_another_maildrop()) return refuse_maildrop();
    tell_serving();
  }
  remember_maildrop();
  std::vector<std::string> uidls;
  uidls.reserve(maildrop_.size());
  for (const auto& entry : maildrop_) uidls.push_back(entry.uidl);
  ask_store<std::vector<std::string>>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = guard(), uidls = std::move(uidls)](store::session& s) { return s.mail.unknown_uidls(guard, uidls); },
      [this, generation = work_generation_](result<std::vector<std::string>> unknown) {
        if (generation == work_generation_) on_unknown(std::move(unknown));
      });
}

// ---- the same maildrop? -------------------------------------------------------------------------------------------------------------------

/// A credential that served no poll yet, while another one's poll saw what is there.
bool channel_fetcher::maildrop_to_prove() const {
  return serving_->incoming.protocol == protocol_kind::pop3 && !seen_uidls_.empty() && seen_server_ == serving_->server &&
         seen_generation_ != serving_->generation && load_->record.observed_generation != serving_->generation;
}

/// Nothing of what was there a moment ago, and other mail instead.
bool channel_fetcher::is_another_maildrop() const {
  return !maildrop_.empty() && std::none_of(maildrop_.begin(), maildrop_.end(), [this](const listing_entry& e) {
    return std::find(seen_uidls_.begin(), seen_uidls_.end(), e.uidl) != seen_uidls_.end();
  });
}

void channel_fetcher::refuse_maildrop() {
  refuse_generation({failure::wrong_mailbox, "the new credential opens another mailbox (it holds none of the messages that are in this channel's)", {}});
  maildrop_.clear();
  drop_serving();
  open_serving();   // with the credential that served, as soon as this session has left
}

void channel_fetcher::remember_maildrop() {
  seen_uidls_.clear();
  if (load_->record.spec.after == after_fetch::remove) return;   // what was seen is to be gone
  // Some of the oldest and some of the newest: people delete at either end.
  constexpr std::size_t some = 8;
  for (std::size_t i = 0; i < maildrop_.size(); ++i)
    if (i < some || i + some >= maildrop_.size()) seen_uidls_.push_back(maildrop_[i].uidl);
  seen_generation_ = serving_->generation;
  seen_server_ = serving_->server;
}

void channel_fetcher::on_unknown(result<std::vector<std::string>> unknown) {
  if (!unknown) return store_trouble(unknown.error());
  const auto& r = load_->record;
  const bool first = !cursor_.initialised;
  if (first) {
    cursor_ = {};
    cursor_.initialised = true;
    if (r.spec.start.from == start_point::kind::now) cursor_.baseline = r.created_at;
    if (r.spec.start.from == start_point::kind::at) cursor_.baseline = r.spec.start.at;
  }
  // A server that begins to know UIDL, or knows it no longer, gives every message another identity. An empty maildrop shows nothing: some servers refuse
  // UIDL for one.
  const bool renamed = cursor_.names != store::named_by::unknown && cursor_.names != names_;
  cursor_due_ = first || (!maildrop_.empty() && cursor_.names != names_);
  reconcile_ = first ? served_before_ || cursor_.baseline.has_value() : renamed && !maildrop_.empty();
  if (reconcile_ && !first) {
    log(log_level::warning, "server names its messages in another way; the maildrop is reconciled", {});
    // Whoever goes on with it must know that it was begun: a ledger that was asked because the cursor did not say is about to hold names of both kinds.
    auto unit = new_unit();
    unit.move_cursor = cursor_;
    flush(std::move(unit), nullptr);
  }
  if (!maildrop_.empty()) cursor_.names = names_;
  work_ = work::fetching;
  if (first && !served_before_ && r.spec.start.from == start_point::kind::now) {
    // All that is here now is old; it is remembered, and never fetched.
    skipped_ = std::move(*unknown);
    cursor_due_ = false;
    auto unit = new_unit();
    unit.move_cursor = cursor_;
    return flush(std::move(unit), nullptr);
  }
  std::unordered_set<std::string_view> wanted(unknown->begin(), unknown->end());
  for (const auto& entry : maildrop_) {
    // A server that names two messages alike has one message as far as anybody can tell (RFC 1939, 7).
    if (!wanted.contains(entry.uidl) || by_uidl_.contains(entry.uidl)) continue;
    window_item w;
    w.entry = entry;
    if (reconcile_) w.next = window_item::want::compare;
    by_uidl_.emplace(entry.uidl, window_.size());
    window_.push_back(std::move(w));
  }
  if (window_.size() > 100 && !caught_up_) {
    backfill_total_ = static_cast<std::int64_t>(window_.size());
    store::mail_store::state_change c;
    c.state = channel_state::backfilling;
    set_state(std::move(c));
  }
  if (reconcile_ && !window_.empty()) return find_candidates();
  fetch_more();
}

void channel_fetcher::pop3_window_done() {
  if (!cursor_.initialised || !skipped_.empty()) {
    auto unit = new_unit();
    return flush(std::move(unit), nullptr);
  }
  if (std::exchange(cursor_due_, false) || !caught_up_) {
    // Only now is the maildrop compared as a whole: before, a lost session must compare again.
    reconcile_ = false;
    caught_up_ = true;
    backfill_total_.reset();
    backfill_done_ = 0;
    auto unit = new_unit();
    unit.move_cursor = cursor_;
    return flush(std::move(unit), nullptr);
  }
  backfill_total_.reset();
  backfill_done_ = 0;
  report_success();
  if (load_->record.spec.after == after_fetch::remove && !maildrop_.empty()) return delete_stored();
  end_poll(ending::polled);
}

void channel_fetcher::delete_stored() {
  work_ = work::marking;
  std::vector<std::string> uidls;
  for (const auto& entry : maildrop_) uidls.push_back(entry.uidl);
  ask_store<std::vector<std::string>>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = guard(), uidls = std::move(uidls)](store::session& s) { return s.mail.stored_uidls(guard, uidls); },
      [this, generation = work_generation_](result<std::vector<std::string>> stored) {
        if (generation != work_generation_) return;
        std::vector<listing_entry> entries;
        if (stored) {
          const std::unordered_set<std::string_view> names(stored->begin(), stored->end());
          for (const auto& entry : maildrop_)
            if (names.contains(entry.uidl)) entries.push_back(entry);
        }
        if (entries.empty()) return end_poll(ending::polled);
        mark_request_ = ++last_request_;
        serving_->session->apply(mark_request_, std::move(entries), mark::remove);
      });
}

void channel_fetcher::end_poll(ending how) {
  poll_end_ = how;
  work_ = work::none;
  maildrop_.clear();
  clear_window();
  serving_->closing = true;
  // What was deleted becomes so with the answer to QUIT; then the next poll is planned (see wait_and_reopen).
  serving_->session->close();
}

}  // namespace mailherd::actors
