// actors/fetcher/handing: from node to node. On the node that is to take over: a standby that brings a session to the selected mailbox and may
// write nothing, then owns the channel and goes on with that session. On the node that lets go: a commit boundary, and a session that stays
// until the rows name the heir.
#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include <utility>

#include "actors/fetcher/fetcher.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
/// What is arriving may arrive and be stored; what takes longer is fetched again by the heir.
constexpr seconds yield_soft{5};

/// Somebody serves it now, or is about to: a handover that spoils this is none.
bool in_service(channel_state s) { return s == channel_state::active || s == channel_state::backfilling; }
}  // namespace

void channel_fetcher::tell(hand_step step) {
  if (auto s = caf::actor_cast<caf::strong_actor_ptr>(parts_.supervisor))
    caf::anon_send(caf::actor_cast<caf::actor>(s), hand_atom::value, parts_.guard, step);
}

// ---- the node that is to take over --------------------------------------------------------------------------------------------------------

void channel_fetcher::stand_by() {
  const auto& r = load_->record;
  if (serving_) return;
  const bool tried = in_service(r.state) || r.state == channel_state::connecting;
  // A maildrop is locked by its session (RFC 1939, 4); and a channel that waits (throttled, for consent, for an administrator) is handed over as
  // it is: signing in for it now would be hammering.
  if (!tried || awaits_consent() || r.spec.incoming.protocol == protocol_kind::pop3 || (not_before_ && *not_before_ > now())) {
    parts_.vitals->wait(now() + ticket_patience);
    return tell(hand_step::ready_alone);
  }
  open_serving();
}

void channel_fetcher::standby_failed(const error& reason) {
  log(log_level::info, "standby could not open a session", {{"error", describe(reason)}});
  parts_.vitals->wait(now() + ticket_patience);
  const bool one_only = reason.code == failure::too_many_connections || reason.code == failure::server_busy;
  const bool spoils = load_ && in_service(load_->record.state);
  tell(one_only || !spoils ? hand_step::ready_alone : hand_step::refused);
}

void channel_fetcher::on_claimed(const store::lease_guard& guard) {
  if (!standby()) return;
  parts_.guard = guard;
  if (stopping_) return;
  // Its guard is the former owner's. What it has under way it makes durable by itself.
  if (refresher_) caf::anon_send(refresher_, stop_atom::value);
  refresher_ = nullptr;
  if (serving_ && serving_->opened) {
    serving_->session->write_as(guard);
  } else {
    forget_serving();  // it cannot be told any more whose it is
  }
  attempt_ = 0;
  taking_over_ = true;
  took_over_at_ = now();
  reopen_at_.reset();
  load();
}

/// The rows are as the former owner left them.
void channel_fetcher::take_over() {
  if (!serving_ || !serving_->opened) return;
  took_over_at_ = now();  // there was a session all the time
  begin_serving();
}

// ---- the node that lets go ----------------------------------------------------------------------------------------------------------------

void channel_fetcher::on_hand(hand_step step) {
  if (stopping_ || standby()) return;
  if (step == hand_step::go_on) return go_on();
  yield_alone_ = step == hand_step::yield_alone;
  if (yielded_ && yield_alone_ == (serving_ == nullptr)) return tell(hand_step::yielded);
  yielding_ = true;
  yielded_ = false;
  successor_.reset();
  successor_at_.reset();
  reopen_at_.reset();
  yield_at_ = now() + yield_soft;
  arm();
  yield_if_quiet();
}

void channel_fetcher::yield_if_quiet() {
  if (yielded_ || commits_ > 0) return;
  if (serving_ && serving_->opened) {
    if (serving_->closing || (!quiet() && yield_at_ && now() < *yield_at_)) return;
    ++work_generation_;
    stream_.reset();
    skipped_.clear();
    if (yield_alone_ || serving_->incoming.protocol == protocol_kind::pop3) return end_poll(ending::yielded);  // its end leads back here
    clear_window();
    work_ = work::none;
  } else if (serving_) {
    forget_serving();
  }
  resume_at_.reset();
  yielded_ = true;
  yield_at_ = now() + 2 * limits::yield_deadline;  // nobody said anything: writes are fenced in any case
  parts_.vitals->wait(*yield_at_);
  arm();
  tell(hand_step::yielded);
}

void channel_fetcher::go_on() {
  if (!yielding_) return;
  yielding_ = yielded_ = false;
  yield_at_.reset();
  parts_.vitals->progress(now());
  if (!serving_) return load();
  if (!serving_->opened || serving_->closing) return;
  work_ = work::loading;
  begin();
  if (renewal_due_ || wants_successor()) open_successor();
}

}  // namespace mailherd::actors
