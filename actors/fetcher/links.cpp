// actors/fetcher/links: sessions from wish to end, succession, and what follows from each failure.
#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include <algorithm>

#include "actors/fetcher/fetcher.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
constexpr backoff_policy lost_connection{seconds(1), seconds(300), 2.0, 0.5};
/// What only a person can mend is tried again now and then all the same: passwords are unlocked, rights are granted, without a word to us.
constexpr backoff_policy wants_a_person{seconds(15 * 60), seconds(3600), 2.0, 0.75};
constexpr backoff_policy successor_retry{seconds(5), seconds(300), 2.0, 0.5};

std::string server_key(const incoming_settings& s) { return s.host + ':' + std::to_string(s.port); }
}  // namespace

const credential& channel_fetcher::credential_for(std::int64_t generation) const {
  return generation == load_->record.generation ? load_->credential : load_->serving;
}

channel_fetcher::link* channel_fetcher::link_of(std::uint64_t epoch) {
  if (serving_ && serving_->epoch == epoch) return serving_.get();
  if (successor_ && successor_->epoch == epoch) return successor_.get();
  return nullptr;
}

// ---- opening ------------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::open_serving() {
  if (stopping_ || serving_ || blocked_) return;
  serving_ = std::make_unique<link>();
  if (!told_ || told_->first == channel_state::disabled || told_->first == channel_state::consent_pending) {
    store::mail_store::state_change c;
    c.state = channel_state::connecting;
    set_state(std::move(c));
  }
  open(*serving_);
}

void channel_fetcher::open_successor() {
  if (stopping_ || successor_ || !serving_ || !serving_->opened) return;
  if (one_session_only_ || serving_->incoming.protocol == protocol_kind::pop3) {
    // The server allows one session (a POP3 maildrop is locked by its session, RFC 1939, 4): break before make, and the gap is measured.
    gap_since_ = now();
    drop_serving();
    return open_serving();
  }
  successor_ = std::make_unique<link>();
  open(*successor_);
}

void channel_fetcher::open(link& l) {
  const auto& r = load_->record;
  l.epoch = ++last_epoch_;
  l.generation = r.generation;
  l.revision = r.revision;
  l.incoming = r.spec.incoming;
  l.auth = load_->credential.type;
  auto ask = std::make_shared<login_request>();
  ask->host = server_key(l.incoming);
  ask->last_success = r.last_success_at.value_or(wall_time{});
  ask->then = {me(), [this, epoch = l.epoch](login_ticket ticket) {
                 auto* mine = link_of(epoch);
                 if (!mine) return;
                 mine->ticket = std::move(ticket);
                 if (mine->auth == auth_type::basic) return dial(*mine, {});
                 auto request = std::make_shared<token_request>();
                 request->generation = mine->generation;
                 request->refused = token_refusals_ > 0 ? mine->token_serial : 0;
                 request->then = {me(), [this, epoch](result<access_token> token) { with_token(epoch, std::move(token)); }};
                 caf::anon_send(refresher(), token_atom::value, std::move(request));
               }};
  caf::anon_send(parts_.pacer, login_atom::value, std::move(ask));
}

void channel_fetcher::with_token(std::uint64_t epoch, result<access_token> token) {
  auto* l = link_of(epoch);
  if (!l) return;
  if (!token) return on_open_failed(*l, token.error());
  l->token_serial = token->serial;
  l->token_expires_at = token->expires_at;
  l->account = token->account;
  dial(*l, std::move(token->value));
}

void channel_fetcher::dial(link& l, secret<> access_token) {
  const auto& c = credential_for(l.generation);
  session_plan plan;
  plan.epoch = l.epoch;
  plan.guard = parts_.guard;
  plan.incoming = l.incoming;
  plan.auth = c.type;
  plan.username = c.type == auth_type::basic ? c.username : !c.mailbox.empty() ? c.mailbox : !l.account.empty() ? l.account : c.account;
  if (plan.username.empty()) plan.username = load_->record.spec.address;
  if (l.account.empty()) l.account = c.type == auth_type::basic ? c.username : c.account;
  plan.password = c.password;
  plan.access_token = std::move(access_token);
  plan.writable = load_->record.spec.after != after_fetch::keep;
  plan.allow_plaintext = env_.options.allow_plaintext;
  plan.poll_interval = env_.options.poll_interval;
  l.session = open_session(env_, *parts_.reactor, std::move(plan), [who = me()](std::shared_ptr<session_report> report) {
    if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(who))
      caf::anon_send(caf::actor_cast<caf::actor>(strong), session_atom::value, std::move(report));
  });
}

// ---- what a session says ----------------------------------------------------------------------------------------------------------------

void channel_fetcher::on_session(const session_report& report) {
  auto& any = const_cast<session_report&>(report).event;   // the message is ours alone: nobody else holds it
  if (auto* ended = std::get_if<session_event::ended>(&any)) {
    std::erase_if(leaving_, [&](const link_ptr& l) { return l->epoch == report.epoch; });
    if (auto* l = link_of(report.epoch)) on_ended(*l, *ended);
    return;
  }
  auto* l = link_of(report.epoch);
  if (!l) return;
  if (const auto* opened = std::get_if<session_event::opened>(&any)) return on_opened(*l, *opened);
  if (l != serving_.get()) return;
  if (auto* e = std::get_if<session_event::listed>(&any)) return on_listed(*e);
  if (auto* e = std::get_if<session_event::fetched>(&any)) return on_fetched(*e);
  if (auto* e = std::get_if<session_event::fetch_done>(&any)) return on_fetch_done(*e);
  if (auto* e = std::get_if<session_event::marked>(&any)) return on_marked(*e);
  if (std::holds_alternative<session_event::woken>(any)) {
    if (work_ != work::watching) return;
    report_success();
    // Looked at even when the server says that nothing changed: some never say anything else.
    list_next();
  }
}

void channel_fetcher::on_opened(link& l, const session_event::opened& e) {
  l.opened = e;
  l.ticket.reset();
  token_refusals_ = 0;
  parts_.vitals->progress(now());
  env_.report->sessions(l.incoming.protocol, l.incoming.tls, +1);
  if (&l == successor_.get()) {
    if (serving_ && l.incoming == serving_->incoming && serving_->opened && l.incoming.protocol == protocol_kind::imap &&
        serving_->opened->uid_validity != e.uid_validity) {
      log(log_level::warning, "successor found another UIDVALIDITY", {{"serving", std::to_string(serving_->opened->uid_validity.value)},
                                                                      {"successor", std::to_string(e.uid_validity.value)}});
    }
    if (quiet()) cut_over();
    return;   // otherwise at the next commit boundary: fetch_more() stops asking, on_committed() comes back here
  }
  if (gap_since_) {
    const auto gap = std::chrono::duration<double>(now() - *gap_since_).count();
    gap_since_.reset();
    env_.report->auth_switch(l.auth, l.auth, true, gap);
  }
  schedule_renewal();
  // Commits of an earlier session may still be under way: the cursor is read behind them.
  work_ = work::loading;
  if (quiet()) l.incoming.protocol == protocol_kind::imap ? begin_imap() : begin_pop3();
}

void channel_fetcher::cut_over() {
  const auto from = serving_->auth;
  const bool same_credential = serving_->generation == successor_->generation;
  auto old = std::move(serving_);
  serving_ = std::move(successor_);
  if (old->session) {
    old->closing = true;
    env_.report->sessions(old->incoming.protocol, old->incoming.tls, -1);
    old->session->close();
    leaving_.push_back(std::move(old));
    // The few sessions that are logging out end by themselves; more than two is a server that does not answer LOGOUT.
    if (leaving_.size() > 2) leaving_.erase(leaving_.begin());
  }
  ++work_generation_;
  clear_window();
  successor_attempt_ = 0;
  log(log_level::info, "successor serves", {{"generation", std::to_string(serving_->generation)}});
  store::mail_store::state_change c;
  c.state = told_ ? told_->first : channel_state::active;
  c.observed_generation = serving_->generation;
  c.token_expires_at = serving_->token_expires_at;
  c.account = serving_->account;
  if (!same_credential) {
    c.switching = switch_state::done;
    env_.report->auth_switch(from, serving_->auth, true, 0.0);
  }
  set_state(std::move(c));
  schedule_renewal();
  work_ = work::loading;
  serving_->incoming.protocol == protocol_kind::imap ? begin_imap() : begin_pop3();
}

void channel_fetcher::schedule_renewal() {
  renew_at_.reset();
  if (!serving_ || !serving_->token_expires_at || serving_->incoming.protocol == protocol_kind::pop3) return;
  const auto left = std::chrono::duration_cast<duration>(*serving_->token_expires_at - wall());
  // Five minutes ahead, and up to two more so that channels that began together do not renew together.
  const auto ahead = std::chrono::duration_cast<duration>(limits::token_renew_ahead) + seconds(env_.random() % 120);
  renew_at_ = now() + std::max(left - ahead, std::min(left / 2, duration(limits::token_renew_ahead)));
  arm();
}

// ---- ends -----------------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::drop_serving() {
  if (serving_ && serving_->opened) env_.report->sessions(serving_->incoming.protocol, serving_->incoming.tls, -1);
  if (serving_ && serving_->session && serving_->opened && !serving_->closing) {
    serving_->closing = true;
    serving_->session->close();
    leaving_.push_back(std::move(serving_));
    if (leaving_.size() > 2) leaving_.erase(leaving_.begin());
  }
  serving_.reset();
  renew_at_.reset();
  ++work_generation_;
  work_ = work::none;
  clear_window();
}

void channel_fetcher::on_ended(link& l, session_event::ended& e) {
  const bool was_open = l.opened.has_value();
  if (was_open) env_.report->sessions(l.incoming.protocol, l.incoming.tls, -1);
  if (stopping_) {
    serving_.reset();
    return maybe_stopped();
  }
  if (!was_open) return on_open_failed(l, e.reason);
  if (&l == successor_.get()) {
    successor_.reset();
    successor_failed(e.reason);
    return;
  }
  env_.report->session_failed(l.incoming.protocol, e.reason.code);
  const bool planned = l.closing && e.orderly;
  // The message whose bytes were arriving may be what kills the session.
  std::optional<std::size_t> guilty;
  if (e.during) guilty = item_of(*e.during);
  auto reason = e.reason;
  if (guilty && !planned) {
    const auto key_source = source_of(window_[*guilty]);
    const bool connection_only = reason.code == failure::connection_lost || reason.code == failure::server_bye;
    ask_store<unsigned>(
        this, *env_.store, deadline::after(now(), limits::command_deadline),
        [guard = parts_.guard, key_source](store::session& s) { return s.mail.note_try(guard, key_source); },
        [this, key_source, reason, connection_only](result<unsigned> tries) {
          // A lost connection is rarely the message's fault; twenty in a row at the same message are.
          const unsigned allowed = reason.code == failure::limit_exceeded ? 1 : connection_only ? 20 : limits::message_tries;
          if (!tries || *tries < allowed) return;
          const auto key = key_source.protocol == protocol_kind::pop3 ? key_source.uidl
                                                                      : std::to_string(key_source.uid_validity.value) + '/' + std::to_string(key_source.uid.value);
          aside_[key] = describe(reason);
        });
  }
  serving_.reset();
  renew_at_.reset();
  ++work_generation_;
  work_ = work::none;
  clear_window();
  if (successor_ && successor_->opened) {
    // It was ready and waited for a commit boundary: nothing is in hand now.
    serving_ = std::move(successor_);
    work_ = work::loading;
    schedule_renewal();
    if (quiet()) serving_->incoming.protocol == protocol_kind::imap ? begin_imap() : begin_pop3();
    return;
  }
  if (successor_) {
    serving_ = std::move(successor_);   // on its way already
    return;
  }
  if (planned) return wait_and_reopen(reason);
  log(log_level::info, "session ended", {{"error", describe(reason)}, {"phase", e.phase}});
  wait_and_reopen(reason);
}

void channel_fetcher::on_open_failed(link& l, const error& reason) {
  env_.report->session_failed(l.incoming.protocol, reason.code);
  if (&l == successor_.get()) {
    successor_.reset();
    return successor_failed(reason);
  }
  // A new credential that does not work while an older one did: that one goes on serving (invariant 4).
  const auto& r = load_->record;
  const bool fall_back = r.observed_generation > 0 && r.observed_generation != r.generation && l.generation == r.generation &&
                         action_for(reason.code) != action::retry_later && action_for(reason.code) != action::retry_now;
  const auto serial = l.token_serial;
  const auto auth = l.auth;
  serving_.reset();
  if (reason.code == failure::token_rejected && auth == auth_type::oauth2 && token_refusals_ == 0) {
    // The mail server gives no reason: one fresh token, one more try, then the token endpoint is the judge (invariant 5).
    token_refusals_ = 1;
    open_serving();
    if (serving_) serving_->token_serial = serial;
    return;
  }
  if (fall_back) {
    store::mail_store::state_change c;
    c.state = told_ ? told_->first : channel_state::connecting;
    c.switching = switch_state::failed;
    c.switch_error = describe(reason);
    set_state(std::move(c));
    env_.report->auth_switch(load_->serving.type, auth, false, 0.0);
    load_->record.generation = r.observed_generation;
    load_->credential = load_->serving;
    return open_serving();
  }
  wait_and_reopen(reason);
}

void channel_fetcher::successor_failed(const error& reason) {
  log(log_level::warning, "successor failed; the serving session stays", {{"error", describe(reason)}});
  if (reason.code == failure::too_many_connections) {
    one_session_only_ = true;
    open_successor();
    return;
  }
  const auto act = action_for(reason.code);
  const bool passing = act == action::retry_later || act == action::retry_now || act == action::refresh_token;
  if (serving_ && serving_->generation != load_->record.generation && !passing) {
    store::mail_store::state_change c;
    c.state = told_ ? told_->first : channel_state::active;
    c.switching = switch_state::failed;
    c.switch_error = describe(reason);
    set_state(std::move(c));
    env_.report->auth_switch(serving_->auth, load_->credential.type, false, 0.0);
    return;   // until somebody changes it again
  }
  successor_at_ = now() + backoff_delay(successor_retry, successor_attempt_++, env_.random());
  if (serving_ && serving_->generation == load_->record.generation) renew_at_ = successor_at_;
  arm();
}

void channel_fetcher::wait_and_reopen(const error& reason) {
  if (stopping_) return maybe_stopped();
  store::mail_store::state_change c;
  c.state = channel_state::backoff;
  c.reason = to_string(reason.code);
  c.detail = reason.detail;
  duration wait = backoff_delay(lost_connection, attempt_, env_.random());
  const bool caught_up_pop3 = reason.code == failure::cancelled;
  switch (action_for(reason.code)) {
    case action::retry_now:
    case action::retry_later:
    case action::refresh_token:
    case action::skip_message:
      if (attempt_ == 0 && told_ && told_->first == channel_state::active) {
        // A single lost connection of a healthy channel is no news; it becomes a state when the next attempt fails too.
        c.state = channel_state::active;
        c.reason.clear();
        c.detail.clear();
      }
      break;
    case action::reconsent:
      c.state = channel_state::needs_reauth;
      blocked_ = true;
      break;
    case action::admin_action:
      c.state = channel_state::needs_admin;
      wait = backoff_delay(wants_a_person, attempt_, env_.random());
      break;
    case action::app_blocked:
      c.state = channel_state::app_blocked;
      wait = backoff_delay(wants_a_person, attempt_, env_.random());
      break;
    case action::fix_config:
      if (reason.code == failure::login_rejected) c.state = channel_state::needs_reauth;
      wait = backoff_delay(wants_a_person, attempt_ > 2 ? attempt_ - 2 : 0, env_.random());
      // The first tries come soon: servers refuse good passwords now and then.
      if (attempt_ < 2) wait = backoff_delay({seconds(20), seconds(120)}, attempt_, env_.random());
      break;
    case action::stop:
      if (reason.code == failure::request_loop) {
        // The provider says that we repeat ourselves: nothing is asked again before somebody looked at it.
        c.state = channel_state::app_blocked;
        blocked_ = true;
        break;
      }
      // A POP3 session that did its work ends orderly (cancelled); the next poll is due after the interval.
      if (!caught_up_pop3) return lose();
      c.state = channel_state::active;
      c.reason.clear();
      c.detail.clear();
      wait = env_.options.poll_interval;
      break;
  }
  if (reason.retry_at) {
    c.state = channel_state::throttled;
    c.throttled_until = reason.retry_at;
    wait = std::max(wait, std::chrono::duration_cast<duration>(*reason.retry_at - wall()));
  }
  if (!caught_up_pop3) ++attempt_;
  if (blocked_) {
    reopen_at_.reset();
    parts_.vitals->wait(now() + std::chrono::hours(24 * 365));
  } else {
    reopen_at_ = now() + wait;
    c.next_attempt_at = wall() + std::chrono::duration_cast<wall_time::duration>(wait);
    parts_.vitals->wait(*reopen_at_);
  }
  const bool news = !told_ || told_->first != c.state || told_->second != c.reason || c.state != channel_state::active;
  if (news) set_state(std::move(c));
  arm();
}

}  // namespace mailherd::actors
