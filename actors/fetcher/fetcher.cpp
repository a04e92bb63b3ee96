// actors/fetcher/fetcher: the fetcher's life: loading, its one timer, stopping.
#include "actors/fetcher/fetcher.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include <algorithm>

#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
constexpr seconds load_deadline{30};
/// Logging out, and a refresh whose token must be durable, may take this long when the actor stops.
constexpr seconds stop_grace{8};
static_assert(stop_grace < limits::fetcher_stop_grace, "a fetcher ends by itself before it is killed");
/// Until a person acts; the change of the row wakes us.
constexpr std::chrono::hours for_ever{24 * 365};
}  // namespace

channel_fetcher_actor spawn_channel_fetcher(caf::actor_system& system, fetcher_parts parts) {
  return system.spawn<channel_fetcher>(std::move(parts));
}

channel_fetcher::channel_fetcher(caf::actor_config& cfg, fetcher_parts parts)
    : channel_fetcher_actor::base(cfg), parts_(std::move(parts)), env_(*parts_.env), window_size_(2'000) {
  set_down_handler([this](const caf::down_msg& down) { on_down(down); });
}

channel_fetcher::behavior_type channel_fetcher::make_behavior() {
  parts_.vitals->progress(now());
  load();
  return {
      [](const continuation& c) { c.run(); },
      [this](session_atom, const std::shared_ptr<session_report>& report) { on_session(*report); },
      [this](tick_atom, std::uint64_t generation) { on_tick(generation); },
      [this](changed_atom) { on_changed(); },
      [this](token_atom, const std::shared_ptr<token_request>& request) { give_token(request); },
      [this](claimed_atom, const store::lease_guard& guard) { on_claimed(guard); },
      [this](hand_atom, hand_step step) { on_hand(step); },
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

void channel_fetcher::on_load_failed(const error& reason) {
  if (reason.code == failure::not_found) return lose();
  if (standby()) return standby_failed(reason);
  if (reason.code == failure::seal_failed || reason.code == failure::invalid_input) {
    // Nothing but an operator's key mends this; the state says so, and a change of the row wakes us.
    store::mail_store::state_change c;
    c.state = channel_state::backoff;
    c.reason = to_string(reason.code);
    c.detail = reason.detail;
    set_state(std::move(c));
  }
  log(log_level::warning, "channel cannot be loaded", {{"error", describe(reason)}});
  reopen_after(backoff_delay({}, attempt_++, env_.random()));
}

void channel_fetcher::on_loaded(result<store::mail_store::channel_load> loaded) {
  if (stopping_) return maybe_stopped();
  if (!loaded) return on_load_failed(loaded.error());
  const bool first = !load_.has_value() || taking_over_;
  const bool news = std::exchange(changed_, false) || first || load_->record.generation != loaded->record.generation ||
                    load_->record.revision != loaded->record.revision;
  if (load_ && load_->record.observed_generation > loaded->record.observed_generation) {
    // Read before it was written which one serves.
    loaded->record.observed_generation = load_->record.observed_generation;
    loaded->serving = std::move(load_->serving);
  }
  load_ = std::move(*loaded);
  const auto& r = load_->record;
  served_before_ = r.messages_stored > 0 || r.observed_generation > 0;
  if (!r.spec.enabled) return tell_disabled();
  if (first) {
    told_.emplace(r.state, r.state_reason);
    if (r.switching == switch_state::failed) refused_generation_ = r.generation;
    // Whoever served before us was asked to wait: so are we.
    if (r.throttled_until && *r.throttled_until > wall())
      not_before_ = now() + std::min<duration>(*r.throttled_until - wall(), limits::retry_after_max);
  } else if (news) {
    // Whatever we waited for may be mended now.
    if (refresher_) caf::anon_send(refresher_, changed_atom::value);
    blocked_ = false;
    attempt_ = successor_attempt_ = 0;
    refused_generation_ = 0;
    refused_serial_ = 0;
  }
  if (standby()) return stand_by();
  if (std::exchange(taking_over_, false)) take_over();
  if (awaits_consent() && r.observed_generation == 0) {
    store::mail_store::state_change c;
    c.state = channel_state::consent_pending;
    set_state(std::move(c));
    successor_.reset();
    drop_serving();
    reopen_at_.reset();
    return parts_.vitals->wait(now() + for_ever);
  }
  if (!serving_) {
    reopen_at_.reset();
    return open_serving();
  }
  tell_again();
  if (wants_successor()) open_successor();
}

void channel_fetcher::on_changed() {
  if (stopping_) return;
  changed_ = true;
  load();
}

// ---- the timer --------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::arm() {
  std::optional<mono_time> next;
  for (const auto& t : {reopen_at_, renew_at_, successor_at_, resume_at_, state_at_, stop_at_, yield_at_})
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
  const auto due = [t](std::optional<mono_time>& at) {
    if (!at || *at > t) return false;
    at.reset();
    return true;
  };
  if (due(stop_at_)) return quit(caf::exit_reason::normal);
  if (due(yield_at_)) yielded_ ? go_on() : yield_if_quiet();
  // The row may have changed while we waited, and a lost notification must cost no more than this.
  if (due(reopen_at_)) load();
  if (due(state_at_)) write_state();
  if (due(renew_at_)) {
    renewal_due_ = true;
    open_successor();
  }
  if (due(successor_at_) && (renewal_due_ || wants_successor())) open_successor();
  if (due(resume_at_) && serving_ && serving_->opened && !serving_->closing && !stopping_) {
    if (work_ == work::resting) {
      list_next();
    } else {
      work_ = work::loading;
      begin();
    }
  }
  arm();
}

// ---- logs, tokens for others --------------------------------------------------------------------------------------------------------------

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

token_refresher_actor& channel_fetcher::refresher() {
  if (!refresher_) {
    auto guard = parts_.guard;
    if (standby()) guard.epoch = load_->record.lease_epoch;   // beside its owner's: whoever serves next needs a token
    refresher_ = spawn_token_refresher(system(), env_, guard);
    monitor(refresher_);
  }
  return refresher_;
}

void channel_fetcher::on_down(const caf::down_msg& down) {
  if (!refresher_ || refresher_.id() != down.source.id()) return;
  refresher_ = nullptr;
  if (stopping_) return maybe_stopped();
  // It broke: whoever waits for its token would wait for ever.
  for (auto* l : {serving_.get(), successor_.get()})
    if (l && l->awaits_token) with_token(l->epoch, fail(failure::token_unavailable, "the refresh broke off"));
}

void channel_fetcher::give_token(std::shared_ptr<token_request> request) {
  if (stopping_ || !load_ || (load_->credential.type != auth_type::oauth2 && load_->serving.type != auth_type::oauth2)) {
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
  for (auto* t : {&reopen_at_, &renew_at_, &successor_at_, &resume_at_, &yield_at_}) t->reset();
  successor_.reset();
  if (refresher_) caf::anon_send(refresher_, stop_atom::value);
  stop_at_ = now() + stop_grace;
  arm();
  maybe_stopped();
}

void channel_fetcher::maybe_stopped() {
  if (!stopping_) return;
  // What is with the gate is on its way to the disk; what is still arriving is fetched again by the next owner.
  if (commits_ > 0) return;
  if (serving_ && serving_->opened) {
    if (serving_->closing) return;
    serving_->closing = true;
    ++work_generation_;
    work_ = work::none;
    return serving_->session->close();   // its end leads back here
  }
  serving_.reset();
  // The lease is given back when this actor has ended: a refresh token that was replaced a moment ago must be durable before.
  if (refresher_) return;
  quit(caf::exit_reason::normal);
}

}  // namespace mailherd::actors
