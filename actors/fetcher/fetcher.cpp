// actors/fetcher/fetcher: the fetcher's life: loading, its one timer, states, stopping.
#include "actors/fetcher/fetcher.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include <algorithm>

#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
constexpr seconds load_deadline{30};
constexpr seconds state_deadline{60};
/// A healthy channel says so at most this often.
constexpr seconds success_interval{30};
/// Logging out may take this long when the actor stops.
constexpr seconds stop_grace{5};
}  // namespace

channel_fetcher_actor spawn_channel_fetcher(caf::actor_system& system, fetcher_parts parts) {
  return system.spawn<channel_fetcher>(std::move(parts));
}

channel_fetcher::channel_fetcher(caf::actor_config& cfg, fetcher_parts parts)
    : channel_fetcher_actor::base(cfg), parts_(std::move(parts)), env_(*parts_.env), window_size_(2'000) {}

channel_fetcher::behavior_type channel_fetcher::make_behavior() {
  parts_.vitals->progress(now());
  load();
  return {
      [this](const continuation& c) { c.run(); },
      [this](session_atom, const std::shared_ptr<session_report>& report) { on_session(*report); },
      [this](tick_atom, std::uint64_t generation) { on_tick(generation); },
      [this](changed_atom) { on_changed(); },
      [this](token_atom, const std::shared_ptr<token_request>& request) { give_token(request); },
      [this](stop_atom) { begin_stop(); },
  };
}

void channel_fetcher::on_exit() {
  // Handles abort their sessions on their reactors; requests still with the storage gate are harmless: they are guarded and idempotent.
  serving_.reset();
  successor_.reset();
  leaving_.clear();
  window_.clear();
  if (refresher_) caf::anon_send_exit(refresher_, caf::exit_reason::user_shutdown);
  refresher_ = nullptr;
}

// ---- loading ----------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::load() {
  if (loading_) {
    reload_ = true;
    return;
  }
  loading_ = true;
  const auto tenant = parts_.guard.tenant;
  const auto channel = parts_.guard.channel;
  ask_store<store::mail_store::channel_load>(
      this, *env_.store, deadline::after(now(), load_deadline),
      [tenant, channel](store::session& s) { return s.mail.load_channel(tenant, channel); },
      [this](result<store::mail_store::channel_load> loaded) {
        loading_ = false;
        if (std::exchange(reload_, false)) return load();
        on_loaded(std::move(loaded));
      });
}

void channel_fetcher::on_loaded(result<store::mail_store::channel_load> loaded) {
  if (stopping_) return maybe_stopped();
  if (!loaded) {
    if (loaded.error().code == failure::not_found) return lose();
    if (loaded.error().code == failure::seal_failed || loaded.error().code == failure::invalid_input) {
      // Nothing but an operator's key mends this; the state says so, and a change of the row wakes us.
      store::mail_store::state_change c;
      c.state = channel_state::backoff;
      c.reason = to_string(loaded.error().code);
      c.detail = loaded.error().detail;
      set_state(std::move(c));
    }
    log(log_level::warning, "channel cannot be loaded", {{"error", describe(loaded.error())}});
    reopen_at_ = now() + backoff_delay({}, attempt_++, env_.random());
    parts_.vitals->wait(*reopen_at_);
    return arm();
  }
  const bool first = !load_.has_value();
  const auto before = first ? std::int64_t{0} : load_->record.generation;
  load_ = std::move(*loaded);
  const auto& r = load_->record;
  if (!r.spec.enabled) {
    store::mail_store::state_change c;
    c.state = channel_state::disabled;
    set_state(std::move(c));
    drop_serving();
    return lose();
  }
  if (first) told_.emplace(r.state, r.state_reason);
  if (!first && refresher_) caf::anon_send(refresher_, changed_atom::value);
  if (r.auth == auth_type::oauth2 && !r.has_grant && load_->credential.grant != grant_kind::client_credentials && r.observed_generation == 0) {
    store::mail_store::state_change c;
    c.state = channel_state::consent_pending;
    set_state(std::move(c));
    drop_serving();
    reopen_at_.reset();
    // A person has to act; the change of the row wakes us.
    parts_.vitals->wait(now() + std::chrono::hours(24 * 365));
    return;
  }
  if (!first || before != r.generation) {
    // Whatever we waited for may be mended now.
    blocked_ = false;
    attempt_ = successor_attempt_ = 0;
    token_refusals_ = 0;
  }
  if (!serving_) {
    reopen_at_.reset();
    return open_serving();
  }
  if (wants_successor()) open_successor();
}

void channel_fetcher::on_changed() {
  if (!stopping_) load();
}

bool channel_fetcher::wants_successor() const {
  if (!serving_ || stopping_) return false;
  const auto& r = load_->record;
  return serving_->generation != r.generation || !(serving_->incoming == r.spec.incoming) || serving_->revision != r.revision;
}

// ---- the timer --------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::arm() {
  std::optional<mono_time> next;
  for (const auto& t : {reopen_at_, renew_at_, successor_at_, stop_at_})
    if (t && (!next || *t < *next)) next = t;
  if (!next || (armed_for_ && *armed_for_ == *next)) return;
  armed_for_ = next;
  ++timer_;
  const auto wait = std::max(*next - now(), mono_time::duration::zero());
  delayed_send(this, wait, tick_atom::value, timer_);
}

void channel_fetcher::on_tick(std::uint64_t generation) {
  if (generation != timer_) return;
  armed_for_.reset();
  const auto t = now();
  if (stop_at_ && *stop_at_ <= t) return quit(caf::exit_reason::normal);
  if (reopen_at_ && *reopen_at_ <= t) {
    reopen_at_.reset();
    // The row may have changed while we waited, and a lost notification must cost no more than this.
    load();
  }
  if (successor_at_ && *successor_at_ <= t) {
    successor_at_.reset();
    if (serving_ && !successor_ && wants_successor()) open_successor();
  }
  if (renew_at_ && *renew_at_ <= t) {
    renew_at_.reset();
    if (serving_ && !successor_ && !stopping_) open_successor();
  }
  arm();
}

// ---- telling ----------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::log(log_level level, std::string_view sentence, std::initializer_list<log_field> fields) {
  std::vector<log_field> all(fields);
  all.push_back({"tenant", to_string(parts_.guard.tenant)});
  all.push_back({"channel", to_string(parts_.guard.channel)});
  switch (all.size()) {
    case 2: return env_.report->log(level, sentence, {all[0], all[1]});
    case 3: return env_.report->log(level, sentence, {all[0], all[1], all[2]});
    default: return env_.report->log(level, sentence, {all[0], all[1], all[2], all[3]});
  }
}

void channel_fetcher::set_state(store::mail_store::state_change change) {
  told_.emplace(change.state, change.reason);
  ask_store<void>(
      this, *env_.store, deadline::after(now(), state_deadline),
      [guard = parts_.guard, change = std::move(change)](store::session& s) { return s.mail.set_state(guard, change); },
      [this](result<void> done) {
        if (done) return;
        if (done.error().code == failure::fenced) return lose();
        // A state is news, not truth: the next one will be written again.
        told_.reset();
      });
}

void channel_fetcher::report_success() {
  const auto t = now();
  parts_.vitals->progress(t);
  const bool active_told = told_ && told_->first == channel_state::active && told_->second.empty();
  if (!active_told) {
    store::mail_store::state_change c;
    c.state = channel_state::active;
    c.last_success_at = wall();
    if (serving_) {
      c.observed_generation = serving_->generation;
      c.token_expires_at = serving_->token_expires_at;
      c.account = serving_->account;
    }
    set_state(std::move(c));
    success_told_ = t;
    return;
  }
  if (success_told_ && t - *success_told_ < success_interval) return;
  success_told_ = t;
  caf::anon_send(parts_.gate, served_atom::value, sign_of_life{parts_.guard, wall()});
}

// ---- tokens for others -----------------------------------------------------------------------------------------------------------------

token_refresher_actor& channel_fetcher::refresher() {
  if (!refresher_) refresher_ = spawn_token_refresher(system(), env_, parts_.guard);
  return refresher_;
}

void channel_fetcher::give_token(std::shared_ptr<token_request> request) {
  if (!load_ || load_->record.auth != auth_type::oauth2) {
    request->then(fail(failure::not_found, "this channel does not sign in with OAuth2"));
    return;
  }
  if (request->generation == 0) request->generation = load_->record.generation;
  caf::anon_send(refresher(), token_atom::value, std::move(request));
}

// ---- the end ------------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::lose() {
  // Fenced, deleted or disabled: nothing we hold may be written any more.
  if (auto s = caf::actor_cast<caf::strong_actor_ptr>(parts_.supervisor)) {
    caf::anon_send(caf::actor_cast<caf::actor>(s), lost_atom::value, parts_.guard.channel, parts_.guard.epoch);
  }
  quit(caf::exit_reason::normal);
}

void channel_fetcher::begin_stop() {
  if (stopping_) return;
  stopping_ = true;
  reopen_at_.reset();
  renew_at_.reset();
  successor_at_.reset();
  successor_.reset();
  stop_at_ = now() + stop_grace;
  arm();
  maybe_stopped();
}

void channel_fetcher::maybe_stopped() {
  if (!stopping_) return;
  // What is with the gate is on its way to the disk; what is still arriving is fetched again by the next owner.
  if (commits_ > 0) return;
  if (!serving_ || !serving_->opened) return quit(caf::exit_reason::normal);
  if (!serving_->closing) {
    serving_->closing = true;
    ++work_generation_;
    work_ = work::none;
    serving_->session->close();
  }
}

}  // namespace mailherd::actors
