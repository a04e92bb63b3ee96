// actors/fetcher/states: what people are told of a channel: its state, which credential serves, that it is well.
//
// States are written one after the other (two at once could arrive in the wrong order), and again until they are written: which generation
// serves is not told twice by itself.
#include <caf/send.hpp>

#include <utility>

#include "actors/fetcher/fetcher.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
constexpr seconds state_deadline{60};
constexpr backoff_policy state_retry{seconds(1), seconds(60), 2.0, 0.5};
/// A healthy channel says so at most this often.
constexpr seconds success_interval{30};

using change = store::mail_store::state_change;

/// What the older one said and the newer one does not replace.
change merged(const change& older, change newer) {
  if (!newer.last_success_at) newer.last_success_at = older.last_success_at;
  if (!newer.observed_generation) {
    newer.observed_generation = older.observed_generation;
    newer.account = older.account;
  }
  if (!newer.token_expires_at) newer.token_expires_at = older.token_expires_at;
  if (!newer.switching) {
    newer.switching = older.switching;
    newer.switching_to = older.switching_to;
    newer.switch_error = older.switch_error;
  }
  return newer;
}

/// The states in which no mail is fetched and somebody may have to do something: operators see them come and go in the log, too.
bool in_trouble(channel_state s) {
  switch (s) {
    case channel_state::throttled:
    case channel_state::backoff:
    case channel_state::needs_reauth:
    case channel_state::needs_admin:
    case channel_state::app_blocked: return true;
    case channel_state::disabled:
    case channel_state::consent_pending:
    case channel_state::connecting:
    case channel_state::backfilling:
    case channel_state::active: return false;
  }
  return false;
}
}  // namespace

void channel_fetcher::set_state(change c) {
  if (standby()) return;
  if (in_trouble(c.state)) {
    if (!told_ || *told_ != std::pair{c.state, c.reason})
      log(log_level::info, "channel has trouble", {{"state", std::string(to_string(c.state))}, {"error", c.reason + ": " + c.detail}});
    troubled_ = true;
  } else if (c.state == channel_state::active && std::exchange(troubled_, false)) {
    log(log_level::info, "channel is well again", {});
  }
  told_.emplace(c.state, c.reason);
  state_next_ = state_next_ ? merged(*state_next_, std::move(c)) : std::move(c);
  write_state();
}

void channel_fetcher::write_state() {
  if (state_writing_ || !state_next_ || state_at_) return;
  state_writing_ = true;
  auto c = std::move(*state_next_);
  state_next_.reset();
  ask_store<void>(
      this, *env_.store, deadline::after(now(), state_deadline), [guard = parts_.guard, c](store::session& s) { return s.mail.set_state(guard, c); },
      [this, c](const result<void>& done) { on_state_written(c, done); });
}

void channel_fetcher::on_state_written(change c, const result<void>& done) {
  state_writing_ = false;
  if (done) {
    state_attempt_ = 0;
    return write_state();
  }
  if (done.error().code == failure::fenced) {
    env_.report->fenced_write();
    return lose();
  }
  if (done.error().code == failure::not_found) load();   // deleted or disabled: the row says which, and whether it is enabled again meanwhile
  state_next_ = state_next_ ? merged(c, std::move(*state_next_)) : std::move(c);
  state_at_ = now() + backoff_delay(state_retry, state_attempt_++, env_.random());
  arm();
}

/// People set a state back, too: one who disables a channel and enables it again before anybody looked finds a session that never ended.
void channel_fetcher::tell_again() {
  const auto& r = load_->record;
  if (!serving_ || !serving_->opened || !told_ || state_writing_ || state_next_ || *told_ == std::pair{r.state, r.state_reason}) return;
  if ((told_->first != channel_state::active && told_->first != channel_state::backfilling) || !told_->second.empty()) return;
  change c;
  c.state = told_->first;
  set_state(std::move(c));
}

/// Which credential the serving session uses, as soon as its mailbox is selected.
void channel_fetcher::tell_serving() {
  auto& r = load_->record;
  const bool newest = serving_->generation == r.generation;
  const bool switched = newest && r.observed_generation != r.generation && r.observed_generation != 0;
  const bool well = told_ && (told_->first == channel_state::active || told_->first == channel_state::backfilling) && told_->second.empty();
  if (well && told_serving_ == std::pair{serving_->generation, serving_->token_expires_at} && !switched) return;
  change c;
  c.state = backfill_total_ ? channel_state::backfilling : well ? told_->first : channel_state::connecting;
  c.observed_generation = serving_->generation;
  c.token_expires_at = serving_->token_expires_at;
  c.account = serving_->account;
  if (newest && (switched || r.switching == switch_state::running || r.switching == switch_state::failed)) {
    const double gap = gap_since_ ? std::chrono::duration<double>(now() - *gap_since_).count() : 0.0;
    if (switched) env_.report->auth_switch(load_->serving.type, serving_->auth, true, gap);
    c.switching = r.switching = switch_state::done;
    c.switching_to = r.generation;
  }
  gap_since_.reset();
  // Not the newest: what was loaded as serving is what served when it was read, and that may be an older one still.
  if (newest) {
    load_->serving = load_->credential;
  } else if (r.observed_generation != serving_->generation) {
    load_->serving = serving_->who;
  }
  serving_->who = {};
  r.observed_generation = serving_->generation;
  told_serving_.emplace(serving_->generation, serving_->token_expires_at);
  set_state(std::move(c));
}

/// Durable before the lease is given back: afterwards nobody writes it any more.
void channel_fetcher::tell_disabled() {
  if (standby()) return lose();
  successor_.reset();   // one that is on its way succeeds nobody
  drop_serving();
  change c;
  c.state = channel_state::disabled;
  ask_store<void>(
      this, *env_.store, deadline::after(now(), state_deadline), [guard = parts_.guard, c](store::session& s) { return s.mail.set_state(guard, c); },
      [this](const result<void>&) { lose(); });
}

void channel_fetcher::report_success() {
  const auto t = now();
  parts_.vitals->progress(t);
  attempt_ = store_attempt_ = 0;
  const bool active_told = told_ && told_->first == channel_state::active && told_->second.empty();
  if (!active_told) {
    change c;
    c.state = channel_state::active;
    c.last_success_at = wall();
    set_state(std::move(c));
    success_told_ = t;
    return;
  }
  if (success_told_ && t - *success_told_ < success_interval) return;
  success_told_ = t;
  caf::anon_send(parts_.gate, served_atom::value, sign_of_life{parts_.guard, wall()});
}

}  // namespace mailherd::actors
