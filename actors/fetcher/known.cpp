// actors/fetcher/known: messages that are known under an earlier identity, after a change of UIDVALIDITY or of source, and the ones that are
// older than wanted.
//
// What is listed is looked for by its announced size, and its header decides. Servers announce sizes that are not the bytes they send: what
// was fetched is looked for once more by its true size, and its digest decides. Every ledger entry is found again once: of two messages
// alike both are there, or one of them is new.
#include <fmt/format.h>

#include <algorithm>

#include "actors/fetcher/fetcher.hpp"
#include "actors/session/body_store.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

sha256_digest unread_digest(wall_time internal_date) {
  return digest_of(fmt::format("a message nobody could read, of {}", internal_date.time_since_epoch().count()));
}

std::string channel_fetcher::source_folder() const {
  return serving_->incoming.protocol == protocol_kind::imap ? serving_->incoming.folder : std::string();
}

/// Only what was there before this source was opened for the first time: mail that arrives has no earlier identity, and is wanted whatever its
/// date (people move old mail, and clocks differ).
bool channel_fetcher::reconciles(const window_item& item) const {
  return item.entry.uidl.empty() ? item.entry.uid <= cursor_.reconcile_upto : reconcile_ || item.again;
}

/// Every UIDL new at once may also be a maildrop that was emptied and filled up: then all of it is mail that arrived.
std::optional<wall_time> channel_fetcher::wanted_from() const { return renewed_ ? std::nullopt : cursor_.baseline; }

/// After a server began to know UIDL, or knows it no longer, every message of the maildrop has an identity there, of the other kind.
store::identities channel_fetcher::identities_here() const {
  if (serving_->incoming.protocol == protocol_kind::imap) return store::identities::all;
  if (!reconcile_ || renewed_) return store::identities::none;   // what is read again is known here; `known_as` tells new UIDLs from old ones
  return names_ == store::named_by::digest ? store::identities::digests : store::identities::uidls;
}

void channel_fetcher::find_candidates() {
  work_ = work::comparing;
  std::vector<std::pair<std::optional<wall_time>, std::uint64_t>> keys;
  for (const auto& w : window_)
    if (w.next == window_item::want::compare) keys.emplace_back(std::nullopt, w.entry.size);
  ask_store<std::vector<store::candidate>>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = guard(), folder = source_folder(), validity = cursor_.uid_validity, keys = std::move(keys), here = identities_here()](store::session& s) {
        return s.mail.find_candidates(guard, folder, validity, keys, here);
      },
      [this, generation = work_generation_](result<std::vector<store::candidate>> found) {
        if (generation == work_generation_) on_candidates(std::move(found));
      });
}

void channel_fetcher::on_candidates(result<std::vector<store::candidate>> found) {
  if (!found) return store_trouble(found.error());
  for (const auto& c : *found) candidates_[c.size].push_back(c);
  for (std::size_t i = 0; i < window_.size(); ++i) {
    auto& w = window_[i];
    if (w.next != window_item::want::compare || candidates_.contains(w.entry.size)) continue;
    // Nothing of this size is known: the header has nothing to say, unless it is to tell the date.
    const bool dated = w.entry.internal_date != wall_time{};
    const auto from = wanted_from();
    if (from && dated && w.entry.internal_date < *from) {
      hand(i);
    } else if (!from || dated) {
      w.next = window_item::want::body;
    }
  }
  work_ = work::fetching;
  fetch_more();
}

void channel_fetcher::check_bodies(messages batch, std::shared_ptr<fetch_budget::share> share) {
  std::vector<std::pair<std::optional<wall_time>, std::uint64_t>> keys;
  for (const auto& m : batch) {
    keys.emplace_back(std::nullopt, m.size);
    window_[*item_of(m.source)].held = true;
  }
  ++checking_;
  ask_store<std::vector<store::candidate>>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = guard(), folder = source_folder(), validity = cursor_.uid_validity, keys = std::move(keys), here = identities_here()](store::session& s) {
        return s.mail.find_candidates(guard, folder, validity, keys, here);
      },
      [this, generation = work_generation_, held = std::make_shared<messages>(std::move(batch)), share](result<std::vector<store::candidate>> found) {
        if (generation != work_generation_) return;
        --checking_;
        if (!found) return store_trouble(found.error());
        for (const auto& c : *found) candidates_[c.size].push_back(c);
        take_messages(window_item::want::body, std::move(*held), share);
        pass_over_handed();
        fetch_more();
      });
}

/// `whole`: the body is here, and its size is true.
std::optional<store::candidate> channel_fetcher::known_as(const window_item& item, const store::incoming_message& m, bool whole) {
  const auto at = candidates_.find(whole ? m.size : item.entry.size);
  if (at == candidates_.end()) return std::nullopt;
  const auto date = item.entry.internal_date;
  const auto unread = unread_digest(date);
  const store::candidate* found = nullptr;
  for (const auto& c : at->second) {
    if (taken_.contains(c.ledger_id) || (item.again && !c.has_body) || (renewed_ && c.ledger_id > newest_known_)) continue;
    const bool same_date = date != wall_time{} && c.internal_date == date;
    // A header alone decides only if it is one of its kind: many senders write the same one again and again.
    const bool same_header = c.header_digest == m.header_digest && (same_date || !m.envelope.message_id.empty());
    const bool same = (whole && c.has_body) ? c.digest == m.digest : same_header || (!c.has_body && date != wall_time{} && c.header_digest == unread);
    if (!same || (found && !same_date)) continue;
    found = &c;
    if (same_date) break;
  }
  if (!found) return std::nullopt;
  taken_.insert(found->ledger_id);
  return *found;
}

/// Of a message that is not known. IMAP told its date in the listing; POP3 has only what the sender wrote.
bool channel_fetcher::too_old(const window_item& item, const store::incoming_message& headers) const {
  const auto date = item.entry.internal_date != wall_time{} ? std::optional(item.entry.internal_date) : headers.envelope.date;
  const auto from = wanted_from();
  return from && date && *date < *from;
}

}  // namespace mailherd::actors
