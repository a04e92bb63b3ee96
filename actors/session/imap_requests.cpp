// actors/session/imap_requests: what the actor asks of an open IMAP session, and the messages that come of it.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "actors/session/imap_session.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
// UIDs named in one STORE: keeps the command line well under 8 KB.
constexpr std::size_t mark_batch = 500;
}  // namespace

void imap_session::list(std::uint64_t request, mailherd::uid after, mailherd::uid upto) {
  stop_watching();
  if (upto.value == 0) changed_ = false;
  enter("list", times().stall);
  listing_ = std::make_unique<listing>();
  listing_->request = request;
  listing_->after = after;
  listing_->upto = upto;
  if (after.value == 0xFFFFFFFFu) return finish_listing();   // there is no UID behind it
  auto id = engine_.fetch(imap::uid_set::span({after.value + 1}, upto), imap::fetch_what::sizes);
  if (!expect(id)) return;
  listing_->command = *id;
  pump();
}

void imap_session::list_since(std::uint64_t request, wall_time since) {
  stop_watching();
  enter("list", times().stall);
  listing_ = std::make_unique<listing>();
  listing_->request = request;
  listing_->by_search = true;
  auto id = engine_.search_since(since);
  if (!expect(id)) return;
  listing_->command = *id;
  pump();
}

void imap_session::finish_listing() {
  auto l = std::move(listing_);
  // A message whose flags change meanwhile is told twice: the line that knows its size stands.
  std::sort(l->entries.begin(), l->entries.end(), [](const auto& a, const auto& b) { return a.uid != b.uid ? a.uid < b.uid : a.size > b.size; });
  l->entries.erase(std::unique(l->entries.begin(), l->entries.end(), [](const auto& a, const auto& b) { return a.uid == b.uid; }), l->entries.end());
  report(session_event::listed{l->request, std::move(l->entries)});
  if (fetches_.empty()) enter("waiting", times().command);
}

void imap_session::fetch(std::uint64_t request, std::vector<listing_entry> entries, fetch_mode mode, std::uint64_t max_bytes,
                         std::shared_ptr<fetch_budget::share> share) {
  stop_watching();
  enter("fetch", times().stall);
  auto f = std::make_unique<fetch_request>();
  f->id = request;
  f->max_bytes = max_bytes;
  f->mode = mode;
  f->share = std::move(share);
  f->outcome.request = request;
  f->in = std::make_unique<arrivals>(
      reactor_, *env_.store, plan_.guard, mode,
      [weak = weak_from_this()] {
        auto self = std::static_pointer_cast<imap_session>(weak.lock());
        if (!self || self->over()) return;
        self->settle();
        self->pump();
      },
      [this, request, s = f->share](std::vector<store::incoming_message> messages) {
        report(session_event::fetched{request, std::move(messages), s});
      });
  auto& r = *fetches_.emplace_back(std::move(f));
  if (!awaited_) awaited_ = std::make_unique<std::unordered_map<std::uint32_t, awaited>>();

  const auto what = mode == fetch_mode::headers ? imap::fetch_what::headers : imap::fetch_what::body;
  for (std::size_t i = 0; i < entries.size();) {
    imap::uid_set uids;
    std::uint64_t bytes = 0;
    const auto from = i;
    while (i < entries.size() && (i == from || (i - from < limits::fetch_batch_messages && bytes + entries[i].size <= limits::fetch_batch_bytes))) {
      bytes += mode == fetch_mode::body ? entries[i].size : 0;
      uids.add(entries[i].uid);
      ++i;
    }
    auto id = engine_.fetch(uids, what);
    if (!expect(id)) return;
    ++r.outstanding;
    fetch_commands_.emplace_back(*id, request);
    for (auto k = from; k < i; ++k) (*awaited_)[entries[k].uid.value] = awaited{request, *id, entries[k]};
  }
  settle();
  pump();
}

fetch_request* imap_session::request_of(std::uint64_t id) {
  for (auto& f : fetches_)
    if (f->id == id) return f.get();
  return nullptr;
}

fetch_request* imap_session::request_with_command() { return fetch_commands_.empty() ? nullptr : request_of(fetch_commands_.front().second); }

void imap_session::on_body_begin(const imap::event::body_begin& e) {
  arriving_ = 0;
  arriving_uid_ = e.uid;
  fetch_request* f = nullptr;
  std::uint64_t expected = e.bytes;
  if (e.uid.value != 0) {
    // A body nobody asked for goes by unseen.
    const auto it = awaited_ ? awaited_->find(e.uid.value) : std::unordered_map<std::uint32_t, awaited>::iterator{};
    if (!awaited_ || it == awaited_->end()) return;
    f = request_of(it->second.request);
    expected = std::min<std::uint64_t>(expected, std::max<std::uint64_t>(it->second.entry.size, 1));
  } else {
    f = request_with_command();
  }
  if (!f) return;
  arriving_ = f->id;
  f->in->begin(expected);
  if (e.bytes > f->max_bytes)
    finish(error{failure::limit_exceeded, fmt::format("message {} has {} bytes, allowed are {}", e.uid.value, e.bytes, f->max_bytes), {}});
}

void imap_session::on_fetched(const imap::event::fetched& e) {
  auto* f = request_of(std::exchange(arriving_, 0));
  if (!e.has_body) {
    if (f) f->in->drop();
    // The listing under way. Lines without a size are flags of other clients, or of a server that left it out: either way the message is there, and to
    // leave it out would let the cursor pass over it.
    if (listing_ && !listing_->by_search && e.uid.value > listing_->after.value && (listing_->upto.value == 0 || e.uid <= listing_->upto)) {
      if (listing_->entries.size() >= limits::listing_entries)
        return finish(error{failure::limit_exceeded, "the listing never ends", {}});
      listing_entry entry;
      entry.uid = e.uid;
      entry.size = e.size.value_or(0);
      entry.internal_date = e.internal_date.value_or(wall_time{});
      listing_->entries.push_back(std::move(entry));
    }
    return;
  }
  if (!f || !f->in->in_message()) return;
  const auto it = awaited_->find(e.uid.value);
  if (it == awaited_->end()) return f->in->drop();
  message_source source;
  source.folder = plan_.incoming.folder;
  source.uid = e.uid;
  const auto date = e.internal_date.value_or(it->second.entry.internal_date);
  awaited_->erase(it);
  f->in->complete(std::move(source), date);
  f->in->flush(false);
}

void imap_session::settle() {
  if (over()) return;
  bool wait = false;
  for (auto& f : fetches_) {
    if (const auto* e = f->in->failed()) return finish(*e);
    f->in->flush(f->outstanding == 0);
    wait = wait || f->in->must_wait();
  }
  while (!fetches_.empty() && fetches_.front()->done()) {
    auto f = std::move(fetches_.front());
    fetches_.erase(fetches_.begin());
    report(std::move(f->outcome));
  }
  if (fetches_.empty() && awaited_) {
    awaited_.reset();
    if (phase() == "fetch") enter("waiting", times().command);
  }
  if (wait) {
    pause();
  } else {
    unpause();
  }
}

void imap_session::apply(std::uint64_t request, std::vector<listing_entry> entries, mark what) {
  stop_watching();
  enter("mark", times().command);
  auto& m = marks_.emplace_back();
  m.request = request;
  const bool expunge = what == mark::remove && engine_.capabilities().has(imap::capability::uidplus);
  for (std::size_t i = 0; i < entries.size(); i += mark_batch) {
    imap::uid_set uids;
    for (auto k = i; k < std::min(entries.size(), i + mark_batch); ++k) uids.add(entries[k].uid);
    auto id = engine_.store(uids, what == mark::seen ? imap::flag::seen : imap::flag::deleted);
    if (!expect(id)) return;
    m.commands.push_back(*id);
    if (!expunge) continue;
    id = engine_.expunge(uids);
    if (!expect(id)) return;
    m.commands.push_back(*id);
  }
  if (m.commands.empty()) {
    marks_.pop_back();
    report(session_event::marked{request, std::nullopt});
  }
  pump();
}

void imap_session::watch() {
  if (changed_) {
    // Something came while other work was done: there is nothing to wait for.
    report(session_event::woken{true});
    return;
  }
  begin_watching();
  pump();
}

void imap_session::begin_watching() {
  if (idle_works_ && engine_.capabilities().has(imap::capability::idle)) {
    watching_ = watching::idle;
    idle_since_ = reactor_.now();
    enter("idle", times().command);   // until the "+"
    expect(engine_.idle());
    return;
  }
  watching_ = watching::poll;
  enter("watch", plan_.poll_interval);
}

void imap_session::stop_watching() { watching_ = watching::no; }

void imap_session::count() {
  stop_watching();
  enter("count", times().command);
  auto id = engine_.status(plan_.incoming.folder);
  if (!expect(id)) return;
  count_ = *id;
  pump();
}

void imap_session::close() {
  stop_watching();
  step_ = step::closing;
  enter("logout", limits::close_deadline * 4);
  if (expect(engine_.logout())) pump();
}

}  // namespace mailherd::actors
