// actors/fetcher/pop3: one poll of a maildrop: what is listed and not in the ledger is fetched; what is stored may be deleted.
#include <caf/send.hpp>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "actors/fetcher/fetcher.hpp"
#include "core/limits.hpp"
#include "protocol/pop3/classify.hpp"

namespace mailherd::actors {

namespace {
/// Messages without a name whose tries one poll counts: of more the next one does.
constexpr std::size_t unnamed_at_once = 20;

/// Two messages by one name (the server's UIDLs collide, or the digests of equal heads) are two messages. The first keeps the name: the ledger may know it by
/// that, and one that stands alone is called what it was ever called.
void tell_twins_apart(std::vector<listing_entry>& maildrop) {
  std::unordered_set<std::string_view> names;
  names.reserve(maildrop.size());
  std::unordered_map<std::string, std::uint32_t> twins;
  for (auto& entry : maildrop)
    if (!names.insert(entry.uidl).second) entry.uidl = pop3::twin_uidl(entry.uidl, entry.size, ++twins[pop3::twin_uidl(entry.uidl, entry.size, 1)]);
}
}  // namespace

void channel_fetcher::begin_pop3() {
  work_ = work::loading;
  ++work_generation_;
  clear_window();
  stream_.reset();
  skipped_.clear();
  doubted_.clear();
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
  head_refusal_ = std::move(e.refusal);
  tell_twins_apart(maildrop_);
  std::vector<std::string> uidls;
  uidls.reserve(maildrop_.size());
  for (const auto& entry : maildrop_) uidls.push_back(entry.uidl);
  ask_store<known_uidls>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = guard(), uidls = std::move(uidls), removes = load_->record.spec.after == after_fetch::remove, may = may_be_renewed(),
       was = cursor_.names == store::named_by::renewed](store::session& s) -> result<known_uidls> {
        known_uidls known;
        auto unknown = s.mail.unknown_uidls(guard, uidls);
        if (!unknown) return fail(unknown.error());
        known.unknown = std::move(*unknown);
        if (may && !uidls.empty() && (was || known.unknown.size() == uidls.size())) {
          auto listed = s.mail.listed_origins(guard, uidls);
          if (!listed) return fail(listed.error());
          known.listed = std::move(*listed);
        }
        if (!removes) return known;
        auto stored = s.mail.stored_uidls(guard, uidls);
        if (!stored) return fail(stored.error());
        known.stored = std::move(*stored);
        return known;
      },
      [this, generation = work_generation_](result<known_uidls> known) {
        if (generation == work_generation_) on_known(std::move(known));
      });
}

/// Where what is stored is deleted, every UIDL is new in every poll and says nothing, unless something was left.
bool channel_fetcher::may_be_renewed() const {
  if (names_ != store::named_by::uidl || !cursor_.initialised) return false;
  return cursor_.names == store::named_by::renewed || (cursor_.names == store::named_by::uidl && (load_->record.spec.after != after_fetch::remove || some_left_));
}

// ---- the same maildrop? -------------------------------------------------------------------------------------------------------------------

/// A credential that served no poll yet, while another one's poll saw what is there.
bool channel_fetcher::maildrop_to_prove() const {
  return serving_->incoming.protocol == protocol_kind::pop3 && !seen_uidls_.empty() && seen_server_ == serving_->server &&
         seen_generation_ != serving_->generation && load_->record.observed_generation != serving_->generation;
}

/// Nothing of what was there, and other mail instead. A person may have emptied the maildrop, and it may have filled up anew: therefore only somebody who signs in
/// by another name is judged by the ledger; and not where what is stored is deleted, since nothing of it is there in any case.
bool channel_fetcher::is_another_maildrop(const known_uidls& known) const {
  if (maildrop_.empty()) return false;
  const auto seen = [this](const listing_entry& e) { return std::find(seen_uidls_.begin(), seen_uidls_.end(), e.uidl) != seen_uidls_.end(); };
  if (maildrop_to_prove() && seen_names_ == names_) return std::none_of(maildrop_.begin(), maildrop_.end(), seen);
  return signs_in_by_another_name() && load_->record.spec.after != after_fetch::remove && cursor_.names == names_ &&
         known.unknown.size() == maildrop_.size();
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
  seen_names_ = names_;
}

void channel_fetcher::on_known(result<known_uidls> known) {
  if (!known) return store_trouble(known.error());
  if (std::exchange(serving_->unproven, false)) {
    if (is_another_maildrop(*known)) return refuse_mailbox("it holds none of the messages that are in this channel's");
    tell_serving();
  }
  remember_maildrop();
  const auto& r = load_->record;
  const bool first = !cursor_.initialised;
  if (first) {
    cursor_ = {};
    cursor_.initialised = true;
    if (r.spec.start.from == start_point::kind::now) cursor_.baseline = r.created_at;
    if (r.spec.start.from == start_point::kind::at) cursor_.baseline = r.spec.start.at;
  }
  renewed_ = known->listed && known->listed->newest > 0;
  if (renewed_) {
    // All is new at once: an emptied maildrop that filled up again; or a server that was moved, or set up anew, and names everything otherwise.
    cursor_.names = store::named_by::renewed;
    newest_known_ = known->listed->newest;
    taken_.insert(known->listed->known.begin(), known->listed->known.end());
  }
  // A server that begins to know UIDL, or knows it no longer, gives every message another identity. An empty maildrop shows nothing: some servers refuse
  // UIDL for one.
  const bool renamed = cursor_.names != store::named_by::unknown && cursor_.names != names_;
  cursor_due_ = first || (!maildrop_.empty() && cursor_.names != names_);
  reconcile_ = first ? served_before_ || cursor_.baseline.has_value() : renamed && !maildrop_.empty();
  if (reconcile_ && !first) {
    if (renewed_) log(log_level::info, "every message of the maildrop has a new UIDL; what is known is looked for", {});
    else log(log_level::warning, "server names its messages in another way; the maildrop is reconciled", {});
    // Whoever goes on with it must know that it was begun: a ledger that was asked because the cursor did not say is about to hold names of both kinds.
    auto unit = new_unit();
    unit.move_cursor = cursor_;
    flush(std::move(unit), nullptr);
  }
  if (!maildrop_.empty()) {
    cursor_.names = names_;
    some_left_ = known->unknown.size() < maildrop_.size();
  }
  work_ = work::fetching;
  if (first && !served_before_ && r.spec.start.from == start_point::kind::now) {
    // All that is here now is old; it is remembered, and never fetched.
    skipped_ = std::move(known->unknown);
    cursor_due_ = false;
    auto unit = new_unit();
    unit.move_cursor = cursor_;
    return flush(std::move(unit), nullptr);
  }
  fill_window(*known);
  if (window_.size() > 100 && !caught_up_) {
    backfill_total_ = static_cast<std::int64_t>(window_.size());
    store::mail_store::state_change c;
    c.state = channel_state::backfilling;
    set_state(std::move(c));
  }
  if (reconcile_ && !window_.empty()) return find_candidates();
  fetch_more();
}

void channel_fetcher::fill_window(const known_uidls& known) {
  const std::unordered_set<std::string_view> wanted(known.unknown.begin(), known.unknown.end());
  std::unordered_map<std::string_view, std::uint64_t> stored;
  for (const auto& s : known.stored) stored.emplace(s.uidl, s.size);
  if (proven_.size() > maildrop_.size()) proven_.clear();
  std::size_t unnamed = 0;
  for (const auto& entry : maildrop_) {
    if (by_uidl_.contains(entry.uidl)) continue;
    window_item w;
    if (const auto before = stored.find(entry.uidl); before != stored.end()) {
      // Stored before, and not deleted: or another message that came by the same name when that one was gone. UIDL and size are believed (there are servers
      // that never delete, and all of it is not to be read by every poll); otherwise it is read again before it is deleted.
      const auto proven = proven_.find(entry.uidl);
      const bool sized = entry.size == before->second || (proven != proven_.end() && proven->second == entry.size);
      if (names_ == store::named_by::uidl && !pop3::may_be_digest(entry.uidl) && sized) continue;
      doubted_.insert(entry.number);
      if (reconcile_ || entry.size > largest_allowed()) continue;   // in a later poll; never
      w.again = true;
    } else if (!wanted.contains(entry.uidl)) {
      continue;
    }
    if (entry.unnamed && ++unnamed > unnamed_at_once) continue;
    w.entry = entry;
    if (reconcile_ && !entry.unnamed) w.next = window_item::want::compare;
    by_uidl_.emplace(entry.uidl, window_.size());
    window_.push_back(std::move(w));
  }
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
  ask_store<std::vector<store::stored_uidl>>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = guard(), uidls = std::move(uidls)](store::session& s) { return s.mail.stored_uidls(guard, uidls); },
      [this, generation = work_generation_](result<std::vector<store::stored_uidl>> stored) {
        if (generation != work_generation_) return;
        std::vector<listing_entry> entries;
        if (stored) {
          std::unordered_set<std::string_view> names;
          for (const auto& s : *stored) names.insert(s.uidl);
          for (const auto& entry : maildrop_)
            if (!doubted_.contains(entry.number) && names.erase(entry.uidl) > 0) entries.push_back(entry);   // one message by one name
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
