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
  // Servers list in ascending order: the place is nearly always number - 1.
  auto& all = listing_->entries;
  if (number >= 1 && number <= all.size() && all[number - 1].number == number) return &all[number - 1];
  const auto it = std::find_if(all.begin(), all.end(), [&](const auto& entry) { return entry.number == number; });
  return it == all.end() ? nullptr : &*it;
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

void pop3_session::on_size(std::uint32_t number, std::uint64_t octets) {
  if (!listing_) return;
  if (!listing_->has_identities) {
    listing_entry entry;
    entry.number = number;
    entry.size = octets;
    listing_->entries.push_back(std::move(entry));
  } else if (auto* entry = entry_of(number)) {
    entry->size = octets;
  }
}

}  // namespace mailherd::actors
