// actors/fetcher/endings: what follows when a session ends, or could not be opened.
#include <algorithm>

#include "actors/fetcher/fetcher.hpp"
#include "actors/fetcher/retry_plan.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
constexpr backoff_policy successor_retry{seconds(5), seconds(300), 2.0, 0.5};
/// A server that counts sessions is asked again so soon, while one of ours is logging out.
constexpr seconds leaving_look{1};
/// A session that ended sooner proves nothing: a server that always hangs up is not to be asked again at once for ever.
constexpr seconds short_life{60};
/// A lost connection is rarely the message's fault; so many at the same message are.
constexpr unsigned losses_at_most = 10;

/// The server, or the way to it; not this side.
bool about_the_server(failure f) {
  switch (f) {
    case failure::connection_lost:
    case failure::server_bye:
    case failure::timed_out:
    case failure::protocol_violation:
    case failure::limit_exceeded:
    case failure::command_refused: return true;
    default: return false;
  }
}

}  // namespace

std::string key_of(const message_source& source) {
  return source.protocol == protocol_kind::pop3 ? source.uidl
                                                : source.folder + '/' + std::to_string(source.uid_validity.value) + '/' + std::to_string(source.uid.value);
}

// ---- the serving session ------------------------------------------------------------------------------------------------------------------

void channel_fetcher::forget_serving() {
  serving_.reset();
  renew_at_.reset();
  resume_at_.reset();
  ++work_generation_;
  work_ = work::none;
  clear_window();
}

void channel_fetcher::drop_serving() {
  if (serving_) leave(std::move(serving_));
  forget_serving();
}

void channel_fetcher::on_ended(link& l, session_event::ended& e) {
  l.counted.reset();
  if (stopping_) {
    serving_.reset();
    return maybe_stopped();
  }
  if (yielding_) {
    if (&l == serving_.get()) forget_serving();
    return yield_if_quiet();
  }
  if (!l.opened) return on_open_failed(l, e.reason);
  if (standby()) {
    forget_serving();
    return standby_failed(e.reason);
  }
  const auto generation = l.generation;
  if (&l == successor_.get()) {
    successor_.reset();
    return successor_failed(e.reason, generation);
  }
  // Closed by us after a poll: whether the server confirmed it makes no difference, the next poll sees what became of it.
  const auto how = l.closing ? poll_end_ : ending::broken;
  if (how == ending::broken) {
    env_.report->session_failed(l.incoming.protocol, e.reason.code);
    log(log_level::info, "session ended", {{"error", describe(e.reason)}, {"phase", e.phase}});
    note_guilt(e);
    short_lives_ = now() - served_since_ < short_life ? short_lives_ + 1 : 0;
    if (short_lives_ > 1) attempt_ = std::max(attempt_, short_lives_ - 1);
  }
  forget_serving();
  if (!successor_) return wait_and_reopen(e.reason, how);
  serving_ = std::move(successor_);
  if (serving_->opened) {
    begin_serving();   // it was ready and waited for a commit boundary: nothing is in hand now
  } else if (serving_->ticket) {
    parts_.vitals->progress(now());
  } else {
    parts_.vitals->wait(now() + ticket_patience);
  }
}

/// The message whose bytes were arriving may be what breaks the session.
void channel_fetcher::note_guilt(const session_event::ended& e) {
  if (!e.during || !about_the_server(e.reason.code)) return;
  const auto item = item_of(*e.during);
  if (!item || window_[*item].handed) return;
  const auto source = source_of(window_[*item]);
  suspects_.insert(key_of(source));
  const bool connection_only = e.reason.code == failure::connection_lost || e.reason.code == failure::server_bye;
  ask_store<unsigned>(
      this, *env_.store, deadline::after(now(), limits::command_deadline),
      [guard = parts_.guard, source](store::session& s) { return s.mail.note_try(guard, source); },
      [this, source, reason = e.reason, connection_only](result<unsigned> tries) {
        if (tries && *tries >= (connection_only ? losses_at_most : limits::message_tries)) aside_[key_of(source)] = describe(reason);
      });
}

// ---- an attempt that failed ---------------------------------------------------------------------------------------------------------------

void channel_fetcher::on_open_failed(link& l, error reason) {
  env_.report->session_failed(l.incoming.protocol, reason.code);
  const bool successor = &l == successor_.get();
  const auto generation = l.generation;
  const auto serial = l.token_serial;
  (successor ? successor_ : serving_).reset();
  if (reason.code == failure::token_rejected && serial != 0 && refused_serial_ == 0) {
    // The mail server gives no reason: one fresh token, one more try, then the token endpoint is the judge (invariant 5).
    refused_serial_ = serial;
    return successor ? open_successor() : open_serving();
  }
  if (standby()) return standby_failed(reason);
  if (successor) return successor_failed(reason, generation);
  // A new credential that does not work while an older one did: that one goes on serving (invariant 4).
  const auto& r = load_->record;
  // A newer one came while this one was tried: that it failed says nothing any more.
  if (!older_meanwhile_ && generation != target_generation()) return open_serving();
  if (generation == r.generation && r.observed_generation != 0 && r.observed_generation != r.generation && !passing(reason.code)) {
    refuse_generation(reason);
    return open_serving();
  }
  // Nor is mail to wait for a token endpoint that is down: the older one serves, and the newest is its successor as soon as there is a token.
  const bool older_helps = reason.code == failure::token_unavailable && generation == r.generation && r.observed_generation != 0 &&
                           r.observed_generation != r.generation;
  const bool tried_older = std::exchange(older_meanwhile_, older_helps);
  if (!tried_older && older_helps) return open_serving();
  // That the older one is over is no reason to give up the newest, which was only waiting for its token endpoint.
  if (tried_older && !passing(reason.code)) reason = {failure::token_unavailable, "and the earlier sign-in works no longer: " + describe(reason), {}};
  wait_and_reopen(reason);
}

void channel_fetcher::successor_failed(const error& reason, std::int64_t generation) {
  log(log_level::warning, "successor failed; the serving session stays", {{"error", describe(reason)}});
  if (reason.code == failure::fenced) return lose();
  if (reason.code == failure::too_many_connections) {
    if (crowded_) {   // one that is logging out is counted until it has gone: two may be allowed all the same
      successor_at_ = now() + leaving_look;
      return arm();
    }
    one_session_only_ = true;
    return open_successor();
  }
  if (reason.code == failure::cancelled) return load();   // its credential was replaced meanwhile
  if (generation != serving_->generation && generation != target_generation()) return open_successor();   // overtaken by a newer one
  if (serving_ && serving_->generation != generation && !passing(reason.code)) {
    refuse_generation(reason);
    if (wants_successor()) open_successor();   // what else was edited is for the older credential to do
    return;
  }
  duration wait = backoff_delay(successor_retry, successor_attempt_++, env_.random());
  if (reason.retry_at) wait = std::max<duration>(wait, *reason.retry_at - wall());
  successor_at_ = now() + wait;
  arm();
}

/// Until somebody changes it the older credential serves.
void channel_fetcher::refuse_generation(const error& reason) {
  auto& r = load_->record;
  refused_generation_ = r.generation;
  // A change may be told twice, and the credential is tried twice then: it is one switch that failed.
  const bool known = r.switching == switch_state::failed;
  r.switching = switch_state::failed;
  store::mail_store::state_change c;
  c.state = told_ ? told_->first : channel_state::connecting;
  if (told_) c.reason = told_->second;
  c.switching = switch_state::failed;
  c.switching_to = r.generation;
  c.switch_error = describe(reason);
  set_state(std::move(c));
  if (!known) env_.report->auth_switch(load_->serving.type, load_->credential.type, false, 0.0);
}

// ---- waiting ------------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::reopen_after(duration wait) {
  reopen_at_ = now() + std::max(wait, duration::zero());
  parts_.vitals->wait(*reopen_at_);
  arm();
}

void channel_fetcher::wait_and_reopen(const error& reason, ending how) {
  if (stopping_) return maybe_stopped();
  if (yielding_) return yield_if_quiet();
  if (reason.code == failure::fenced) return lose();
  const duration held = not_before_ ? std::max<duration>(*not_before_ - now(), duration::zero()) : duration::zero();
  if (how != ending::broken) return reopen_after(std::max<duration>(how == ending::polled ? env_.options.poll_interval : seconds(0), held));
  const bool well = told_ && (told_->first == channel_state::active || told_->first == channel_state::backfilling);
  auto plan = plan_retry(reason, attempt_++, well, wall(), env_.random());
  plan.wait = std::max(plan.wait, held);
  blocked_ = plan.until_changed;
  if (plan.hold) not_before_ = now() + plan.wait;
  store::mail_store::state_change c;
  c.state = plan.state;
  c.reason = to_string(reason.code);
  c.detail = reason.detail;
  const auto then = wall() + std::chrono::duration_cast<wall_time::duration>(plan.wait);
  if (plan.state == channel_state::throttled) c.throttled_until = then;
  if (blocked_) {
    reopen_at_.reset();
    parts_.vitals->wait(now() + std::chrono::hours(24 * 365));
  } else {
    c.next_attempt_at = then;
    reopen_after(plan.wait);
  }
  if (!plan.no_news) set_state(std::move(c));
}

}  // namespace mailherd::actors
