// actors/session/pop3_listing: a maildrop as it is listed: what names each message, and its size.
//
// UIDL and LIST are asked for at once. Where there is no UIDL the heads are read (TOP n 0) and their digests name the messages.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "actors/session/pop3_session.hpp"

namespace mailherd::actors {

void pop3_session::list(std::uint64_t request, mailherd::uid, mailherd::uid) {
  enter("list", times().stall);
  listing_ = std::make_unique<listing>();
  listing_->request = request;
  if (expect(engine_.uidl(), purpose::uidl) && expect(engine_.list(), purpose::sizes)) pump();
}

listing_entry* pop3_session::entry_of(std::uint32_t number) {
  auto& all = listing_->entries;
  const auto it = std::lower_bound(all.begin(), all.end(), number, [](const listing_entry& entry, std::uint32_t n) { return entry.number < n; });
  return it == all.end() || it->number != number ? nullptr : &*it;
}

/// Both answers list in ascending order, nearly always; a server may list in any, repeat itself, and leave out in UIDL what LIST has: that is a message all the
/// same, and named by its head.
void pop3_session::put_sizes() {
  auto& entries = listing_->entries;
  auto sizes = std::exchange(listing_->sizes, {});
  const auto by_number = [](const listing_entry& a, const listing_entry& b) { return a.number < b.number; };
  std::stable_sort(entries.begin(), entries.end(), by_number);
  entries.erase(std::unique(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.number == b.number; }), entries.end());
  std::stable_sort(sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  sizes.erase(std::unique(sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.first == b.first; }), sizes.end());
  const auto named = static_cast<std::ptrdiff_t>(entries.size());
  std::ptrdiff_t at = 0;
  for (const auto& [number, octets] : sizes) {
    while (at < named && entries[static_cast<std::size_t>(at)].number < number) ++at;
    if (at < named && entries[static_cast<std::size_t>(at)].number == number) {
      entries[static_cast<std::size_t>(at)].size = octets;
      continue;
    }
    listing_entry entry;
    entry.number = number;
    entry.size = octets;
    entries.push_back(std::move(entry));
  }
  std::inplace_merge(entries.begin(), entries.begin() + named, entries.end(), by_number);
}

void pop3_session::identify_by_head() {
  const auto missing = [](const listing_entry& entry) { return entry.uidl.empty(); };
  listing_->unidentified = static_cast<std::size_t>(std::count_if(listing_->entries.begin(), listing_->entries.end(), missing));
  if (listing_->unidentified == 0) return finish_listing();
  for (const auto& entry : listing_->entries)
    if (missing(entry) && !expect(engine_.top(entry.number, 0), purpose::identity, entry)) return;
}

/// Not one message of the maildrop has an identity: what is new cannot be told from what was fetched. (One that is alone, at a server that offers TOP, may be
/// no more than a message that cannot be read.)
std::optional<error> pop3_session::nameless(const listing& l) const {
  const bool any = std::any_of(l.entries.begin(), l.entries.end(), [](const auto& entry) { return !entry.uidl.empty(); });
  if (any || l.entries.empty() || !l.refusal || (l.entries.size() == 1 && engine_.capabilities().top)) return std::nullopt;
  if (l.refusal->code != failure::command_refused) return l.refusal;
  return error{failure::protocol_violation,
               fmt::format("the server gives the messages of this mailbox no lasting identities (it has no UIDL and refuses TOP: {}); fetch it by IMAP, or have the "
                           "server mended", l.refusal->detail),
               {}};
}

void pop3_session::finish_listing() {
  auto l = std::move(listing_);
  if (const auto reason = nameless(*l)) return finish(*reason);
  for (auto& entry : l->entries) {
    if (!entry.uidl.empty()) continue;
    entry.uidl = pop3::unnamed_uidl(entry.size);
    entry.unnamed = true;
  }
  report(session_event::listed{l->request, std::move(l->entries), l->has_identities ? store::named_by::uidl : store::named_by::digest, std::move(l->refusal)});
  enter("waiting", times().command);
}

}  // namespace mailherd::actors
