// actors/fetcher/window: the messages in hand, from the listing to the unit that takes them to the store.
#include <caf/send.hpp>

#include <fmt/format.h>

#include <algorithm>

#include "actors/fetcher/fetcher.hpp"
#include "core/limits.hpp"
#include "protocol/pop3/classify.hpp"

namespace mailherd::actors {

namespace {
/// Asked of the node's budget at once. Two of these may be under way: one arrives while the other is stored.
constexpr std::uint64_t slice_bytes = 4 * limits::mib;
constexpr std::size_t slice_messages = 500;
constexpr unsigned slices_in_flight = 2;
/// Units on their way to the store: past them nothing more is fetched, or one fast server before a slow database would hold the node's budget.
constexpr unsigned units_in_flight = 16;
/// A header block in memory, as counted against the budget.
constexpr std::uint64_t header_bytes = 8 * limits::kib;
}  // namespace

std::uint64_t channel_fetcher::largest_allowed() const {
  const auto of_tenant = static_cast<std::uint64_t>(std::max<std::int64_t>(load_->limits.max_message_bytes, 1));
  return std::min(of_tenant, limits::imap_body_literal_bytes);
}

message_source channel_fetcher::source_of(const window_item& item) const {
  message_source s;
  s.protocol = serving_ ? serving_->incoming.protocol : load_->record.spec.incoming.protocol;
  if (s.protocol == protocol_kind::imap) {
    s.folder = serving_ ? serving_->incoming.folder : load_->record.spec.incoming.folder;
    s.uid_validity = cursor_.uid_validity;
    s.uid = item.entry.uid;
  } else {
    s.uidl = item.entry.uidl;
  }
  return s;
}

std::optional<std::size_t> channel_fetcher::item_of(const message_source& source) const {
  listing_entry e;
  e.uid = source.uid;
  e.uidl = source.uidl;
  return item_of(e);
}

std::optional<std::size_t> channel_fetcher::item_of(const listing_entry& entry) const {
  if (!entry.uidl.empty()) {
    const auto it = by_uidl_.find(entry.uidl);
    return it == by_uidl_.end() ? std::nullopt : std::optional(it->second);
  }
  const auto it = std::lower_bound(window_.begin(), window_.end(), entry.uid, [](const window_item& w, mailherd::uid u) { return w.entry.uid < u; });
  if (it == window_.end() || it->entry.uid != entry.uid) return std::nullopt;
  return static_cast<std::size_t>(it - window_.begin());
}

void channel_fetcher::clear_window() {
  std::vector<window_item>().swap(window_);
  std::unordered_map<std::string, std::size_t>().swap(by_uidl_);
  decltype(candidates_)().swap(candidates_);
  taken_.clear();
  requests_.clear();
  asking_budget_ = noting_ = checking_ = 0;
  prefix_ = next_item_ = 0;
  doubtful_ = 0;
  verifying_ = false;
  list_request_ = mark_request_ = 0;
}

bool channel_fetcher::all_handed() {
  while (prefix_ < window_.size() && window_[prefix_].handed) ++prefix_;
  return prefix_ == window_.size();
}

// ---- asking -------------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::fetch_more() {
  if (stopping_) return maybe_stopped();
  if (yielding_) return yield_if_quiet();
  // A successor that is ready takes over at the next commit boundary, a POP3 session makes room for its own: nothing new is begun here.
  if (successor_ && successor_->opened) {
    if (quiet()) cut_over();
    return;
  }
  if (serving_->incoming.protocol == protocol_kind::pop3 && wants_successor()) {
    if (quiet()) end_poll(ending::yielded);
    return;
  }
  while (requests_.size() + asking_budget_ < slices_in_flight && commits_ < units_in_flight && send_slice()) {
  }
  if (verifying_ || !requests_.empty() || asking_budget_ > 0) return;
  if (doubtful_ > 0) return verify_doubtful();
  if (all_handed() && quiet()) window_done();
}

bool channel_fetcher::send_slice() {
  const auto dealt_with = [](const window_item& w) { return w.handed || w.asked || w.held || w.doubtful; };
  while (next_item_ < window_.size() && dealt_with(window_[next_item_])) ++next_item_;
  std::vector<std::size_t> items;
  std::uint64_t bytes = 0;
  auto want = window_item::want::body;
  for (auto i = next_item_; i < window_.size(); ++i) {
    auto& w = window_[i];
    if (dealt_with(w)) continue;
    if (w.entry.unnamed) {
      note_try(i, head_refusal_.value_or(error{failure::command_refused, "refused without a reason", {}}));
      continue;
    }
    if (!aside_.empty() || !suspects_.empty()) {
      const auto key = key_of(source_of(w));
      if (const auto aside = aside_.extract(key); !aside.empty()) {
        set_aside(i, aside.mapped());
        continue;
      }
      w.alone = w.alone || suspects_.contains(key);
    }
    if (w.next == window_item::want::body && w.entry.size > largest_allowed()) w.next = window_item::want::record;
    const auto size = w.next == window_item::want::body ? std::max<std::uint64_t>(w.entry.size, 1) : header_bytes;
    // A large body goes to the store in chunks: what it holds of memory is bounded however large it is.
    const auto cost = std::min<std::uint64_t>(size, limits::inline_message_bytes + 2 * limits::chunk_bytes);
    if (items.empty()) {
      want = w.next;
    } else if (w.next != want || w.alone || bytes + cost > slice_bytes || items.size() >= slice_messages) {
      break;
    }
    w.asked = true;
    items.push_back(i);
    bytes += cost;
    if (w.alone) break;
  }
  if (items.empty()) return false;
  ask_budget(std::move(items), want, bytes);
  return true;
}

void channel_fetcher::ask_budget(std::vector<std::size_t> items, window_item::want want, std::uint64_t bytes) {
  ++asking_budget_;
  const auto who = me();
  const auto generation = work_generation_;
  env_.budget->ask(static_cast<std::size_t>(bytes), [this, who, generation, want, items = std::move(items)](std::shared_ptr<fetch_budget::share> share) {
    actors::resume(who, [this, generation, want, items, share = std::move(share)] {
      if (generation != work_generation_ || !serving_ || !serving_->opened) return;   // the share goes back by itself
      --asking_budget_;
      request r;
      r.items = items;
      r.want = want;
      std::vector<listing_entry> entries;
      entries.reserve(items.size());
      for (const auto i : items) entries.push_back(window_[i].entry);
      const auto id = ++last_request_;
      requests_.emplace(id, std::move(r));
      serving_->session->fetch(id, std::move(entries), want == window_item::want::body ? fetch_mode::body : fetch_mode::headers,
                               largest_allowed(), share);
    });
  });
}

// ---- arriving ------------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::on_fetched(session_event::fetched& e) {
  const auto r = requests_.find(e.request);
  if (r == requests_.end()) return;
  parts_.vitals->progress(now());
  const auto want = r->second.want;
  messages batch;
  bool compare = false;
  for (auto& m : e.messages) {
    const auto i = item_of(m.source);
    if (!i || window_[*i].handed || window_[*i].held) continue;
    const auto& w = window_[*i];
    m.source = source_of(w);
    if (m.internal_date == wall_time{}) m.internal_date = w.entry.internal_date;
    compare = compare || (want == window_item::want::body && reconciles(w));
    batch.push_back(std::move(m));
  }
  if (compare) return check_bodies(std::move(batch), e.share);
  take_messages(want, std::move(batch), e.share);
}

void channel_fetcher::take_messages(window_item::want want, messages batch, std::shared_ptr<fetch_budget::share> share) {
  auto unit = new_unit();
  for (auto& m : batch) {
    const auto i = *item_of(m.source);
    auto& w = window_[i];
    w.held = false;
    if (reconciles(w)) {
      if (const auto known = known_as(w, m, want == window_item::want::body)) {
        if (w.again) {
          doubted_.erase(w.entry.number);
          proven_.insert_or_assign(w.entry.uidl, w.entry.size);
        } else {
          unit.known.push_back({m.source, known->ledger_id, known->size});
        }
        hand(i);
        continue;
      }
    }
    if (want == window_item::want::compare) {
      if (too_old(w, m)) {
        if (!w.entry.uidl.empty()) skipped_.push_back(w.entry.uidl);
        hand(i);
      } else {
        w.next = window_item::want::body;
        w.asked = false;
        next_item_ = std::min(next_item_, i);
      }
      continue;
    }
    if (want == window_item::want::record) {
      m.size = w.entry.size;
      m.digest = {};
      m.body.reset();
      m.problem = fmt::format("The message has {} bytes, more than the {} this tenant allows; it stays on the server.", w.entry.size, largest_allowed());
    }
    if (w.again) {
      m.source.uidl = pop3::twin_uidl(w.entry.uidl, m.digest);
      doubted_.erase(w.entry.number);
    }
    // POP3 knows no internal date: the arrival here is what there is.
    if (m.internal_date == wall_time{}) m.internal_date = wall();
    unit.messages.push_back(std::move(m));
    hand(i);
    if (want == window_item::want::body) sound_ = true, attempt_ = 0;
  }
  move_cursor(unit);
  if (!unit.messages.empty() || !unit.known.empty()) flush(std::move(unit), std::move(share));
}

void channel_fetcher::on_fetch_done(session_event::fetch_done& e) {
  const auto r = requests_.find(e.request);
  if (r == requests_.end()) return;
  for (const auto i : r->second.items) window_[i].asked = false;
  for (const auto& entry : e.missing) {
    const auto i = item_of(entry);
    if (!i || window_[*i].handed || window_[*i].held) continue;
    // OK without it: expunged meanwhile, or withheld. Asked for once more, alone; then a listing tells which.
    auto& w = window_[*i];
    if (!std::exchange(w.missed, true)) {
      w.alone = true;
      next_item_ = std::min(next_item_, *i);
    } else if (!std::exchange(w.doubtful, true)) {
      ++doubtful_;
    }
  }
  std::vector<std::size_t> refused;
  for (const auto& entry : e.refused)
    if (const auto i = item_of(entry); i && !window_[*i].handed && !window_[*i].held) refused.push_back(*i);
  requests_.erase(r);
  if (!refused.empty()) {
    refuse(std::move(refused), e.refusal.value_or(error{failure::command_refused, "refused without a reason", {}}));
    if (work_ == work::none) return;
  }
  pass_over_handed();
  fetch_more();
}

/// Nothing new was stored since, but the cursor may pass over what is gone or unwanted.
void channel_fetcher::pass_over_handed() {
  if (!requests_.empty() || !all_handed()) return;
  auto unit = new_unit();
  move_cursor(unit);
  if (unit.move_cursor || !skipped_.empty()) flush(std::move(unit), nullptr);
}

void channel_fetcher::refuse(std::vector<std::size_t> items, const error& reason) {
  // Servers that stumble over one message say so in the words of a server in trouble ("Internal error"), every time.
  const bool may_be_the_message =
      reason.code == failure::command_refused || reason.code == failure::limit_exceeded || reason.code == failure::server_unavailable;
  if (!may_be_the_message) {
    // Busy, throttled, no rights: the messages are not to blame.
    drop_serving();
    return wait_and_reopen(reason);
  }
  for (const auto i : items) {
    auto& w = window_[i];
    if (w.again) {   // what it was taken for is stored: it only stays where it is
      hand(i);
      continue;
    }
    next_item_ = std::min(next_item_, i);
    if (!w.alone) {
      w.alone = true;   // which one of them is it?
      continue;
    }
    note_try(i, reason);
  }
}

void channel_fetcher::note_try(std::size_t item, const error& reason) {
  ++noting_;
  window_[item].asked = true;
  ask_store<unsigned>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = parts_.guard, source = source_of(window_[item])](store::session& s) { return s.mail.note_try(guard, source); },
      [this, item, reason, generation = work_generation_](result<unsigned> tries) {
        if (generation != work_generation_) return;
        --noting_;
        window_[item].asked = false;
        next_item_ = std::min(next_item_, item);
        if (!tries) return store_trouble(tries.error());
        if (*tries >= limits::message_tries) {
          // A server that delivers nothing at all is in trouble itself: its mail is not to be given up one by one.
          if (!window_[item].entry.unnamed && !std::exchange(sound_, false)) {
            drop_serving();
            return wait_and_reopen(reason);
          }
          set_aside(item, describe(reason));
        } else if (window_[item].entry.unnamed) {
          log(log_level::warning, "server refuses the head of a message that has no UIDL", {{"error", describe(reason)}, {"tries", std::to_string(*tries)}});
          hand(item);   // the next poll asks for it again
        } else if (reason.code == failure::server_unavailable) {
          // It may really be the server: the next try comes after a while, and the others of its command are not to suffer for it.
          suspects_.insert(key_of(source_of(window_[item])));
          drop_serving();
          return wait_and_reopen(reason);
        }
        fetch_more();
      });
}

void channel_fetcher::set_aside(std::size_t item, const std::string& why) {
  auto& w = window_[item];
  store::incoming_message m;
  m.source = source_of(w);
  m.header_digest = unread_digest(w.entry.internal_date);
  m.internal_date = w.entry.internal_date == wall_time{} ? wall() : w.entry.internal_date;
  m.size = w.entry.size;
  m.problem = fmt::format("The server does not deliver this message: {}. It stays on the server.", why);
  log(log_level::warning, "message is set aside", {{"reason", why}});
  hand(item);
  auto unit = new_unit();
  unit.messages.push_back(std::move(m));
  move_cursor(unit);
  flush(std::move(unit), nullptr);
}

/// Messages that were listed and are not delivered: are they still there?
void channel_fetcher::verify_doubtful() {
  const auto is_doubtful = [](const window_item& w) { return w.doubtful; };
  const auto first = std::find_if(window_.begin(), window_.end(), is_doubtful);
  const auto last = std::find_if(window_.rbegin(), window_.rend(), is_doubtful);
  verifying_ = true;
  list_request_ = ++last_request_;
  serving_->session->list(list_request_, {first->entry.uid.value - 1}, last->entry.uid);
}

void channel_fetcher::on_verified(const session_event::listed& e) {
  verifying_ = false;
  doubtful_ = 0;
  for (std::size_t i = 0; i < window_.size(); ++i) {
    if (!std::exchange(window_[i].doubtful, false)) continue;
    const auto uid = window_[i].entry.uid;
    const bool there = std::any_of(e.entries.begin(), e.entries.end(), [&](const listing_entry& x) { return x.uid == uid; });
    if (there) {
      note_try(i, {failure::command_refused, "it is listed and answered with nothing", {}});
    } else {
      hand(i);
    }
  }
  pass_over_handed();
  fetch_more();
}

void channel_fetcher::window_done() {
  if (serving_->incoming.protocol == protocol_kind::imap) return imap_window_done();
  pop3_window_done();
}

}  // namespace mailherd::actors
