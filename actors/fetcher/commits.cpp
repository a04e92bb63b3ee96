// actors/fetcher/commits: units on their way to the store, and what follows when they do not get there.
#include <caf/send.hpp>

#include <algorithm>
#include <utility>

#include "actors/fetcher/fetcher.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
/// The store has trouble: the session stays, the work begins again at the durable cursor.
constexpr backoff_policy store_retry{milliseconds(500), seconds(60), 2.0, 0.5};
}  // namespace

store::lease_guard channel_fetcher::guard() const {
  auto g = parts_.guard;
  g.server = serving_ ? serving_->server : load_->record.server;
  return g;
}

store::commit_unit channel_fetcher::new_unit() {
  store::commit_unit u;
  u.guard = guard();
  u.protocol = serving_->incoming.protocol;
  u.folder = source_folder();
  u.after = load_->record.spec.after;
  return u;
}

void channel_fetcher::flush(store::commit_unit unit, std::shared_ptr<fetch_budget::share> share) {
  unit.skipped_uidls = std::exchange(skipped_, {});
  if (backfill_total_) {
    backfill_done_ += static_cast<std::int64_t>(unit.messages.size() + unit.known.size());
    unit.backfill_done = std::min(backfill_done_, *backfill_total_);
    unit.backfill_total = backfill_total_;
  }
  ++commits_;
  if (!stream_) stream_ = std::make_shared<commit_stream>();
  std::vector<message_source> what;
  for (const auto& m : unit.messages) what.push_back(m.source);
  auto r = std::make_shared<commit_request>();
  r->unit = std::move(unit);
  r->until = deadline::after(now(), limits::commit_deadline);
  r->share = std::move(share);
  r->stream = stream_;
  r->then = {me(), [this, stream = stream_, what = std::move(what)](const store::commit_outcome& outcome) { on_committed(outcome, stream, what); }};
  caf::anon_send(parts_.gate, commit_atom::value, std::move(r));
}

void channel_fetcher::on_committed(const store::commit_outcome& outcome, const std::shared_ptr<commit_stream>& stream,
                                   const std::vector<message_source>& what) {
  --commits_;
  if (outcome.status) {
    parts_.vitals->progress(now());
    store_attempt_ = 0;
  } else if (outcome.status.error().code == failure::fenced) {
    return lose();
  } else if (stream == stream_) {
    // What follows on this stream is refused by the gate: one answer says it all.
    on_unit_refused(outcome.status.error(), what);
  }
  if (stopping_) return maybe_stopped();
  if (yielding_) return yield_if_quiet();
  proceed();
}

void channel_fetcher::on_unit_refused(const error& reason, const std::vector<message_source>& what) {
  log(log_level::warning, "commit failed; the work begins again at the durable cursor", {{"error", describe(reason)}});
  if (reason.code == failure::store_failed) {
    // The database judged and said no: one of these messages is more than it can take. Each comes alone from now on.
    for (const auto& source : what) suspects_.insert(key_of(source));
    if (what.size() == 1) {
      ask_store<unsigned>(
          this, *env_.store, deadline::after(now(), limits::command_deadline),
          [guard = parts_.guard, source = what.front()](store::session& s) { return s.mail.note_try(guard, source); },
          [this, key = key_of(what.front()), reason](result<unsigned> tries) {
            if (tries && *tries >= limits::message_tries) aside_[key] = describe(reason);
          });
    }
  }
  store_trouble(reason);
}

void channel_fetcher::store_trouble(const error& reason) {
  if (reason.code == failure::fenced) return lose();
  stream_.reset();
  ++work_generation_;
  work_ = work::none;
  clear_window();
  skipped_.clear();
  if (yielding_) return yield_if_quiet();
  if (!serving_ || stopping_) return;
  resume_at_ = now() + backoff_delay(store_retry, store_attempt_++, env_.random());
  parts_.vitals->wait(*resume_at_);
  arm();
}

/// A commit boundary may have been reached.
void channel_fetcher::proceed() {
  if (!serving_ || !serving_->opened || serving_->closing) return;
  if (work_ == work::loading) return begin();
  if (work_ == work::fetching) return fetch_more();
  if (successor_ && successor_->opened && quiet()) cut_over();
}

}  // namespace mailherd::actors
