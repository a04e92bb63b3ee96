// actors/fetcher/links: sessions from wish to service, and succession.
#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include <algorithm>

#include "actors/fetcher/fetcher.hpp"
#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::actors {

namespace {
/// Renewals are spread over so long, so that channels that began together do not renew together.
constexpr std::int64_t renewal_jitter_seconds = 120;
/// A server that always says that something changed is looked at no more often than this.
constexpr unsigned empty_looks_at_most = 3;
constexpr seconds look_pause{5};
/// Sessions that are logging out end by themselves; more than these are a server that does not answer LOGOUT.
constexpr std::size_t leaving_at_most = 2;

std::string server_key(const incoming_settings& s) { return s.host + ':' + std::to_string(s.port); }
}  // namespace

// ---- what is wanted -----------------------------------------------------------------------------------------------------------------------

/// The newest credential is a grant that nobody has given yet.
bool channel_fetcher::awaits_consent() const {
  const auto& r = load_->record;
  return r.auth == auth_type::oauth2 && !r.has_grant && load_->credential.grant != grant_kind::client_credentials;
}

/// The generation to sign in with: the newest, unless it cannot work now and an older one has served.
std::int64_t channel_fetcher::target_generation() const {
  const auto& r = load_->record;
  if (r.observed_generation == 0 || r.observed_generation == r.generation) return r.generation;
  // A standby takes over what serves now; the switch goes on when it owns the channel, and is judged as ever: against a session that serves.
  if (standby()) return r.observed_generation;
  return awaits_consent() || refused_generation_ == r.generation ? r.observed_generation : r.generation;
}

bool channel_fetcher::wants_successor() const {
  if (!serving_ || stopping_ || !load_) return false;
  const auto& spec = load_->record.spec;
  return serving_->generation != target_generation() || !(serving_->incoming == spec.incoming) ||
         (spec.incoming.protocol == protocol_kind::imap && serving_->writable != (spec.after != after_fetch::keep));
}

/// A POP3 maildrop is locked by its session (RFC 1939, 4).
bool channel_fetcher::must_close_first() const {
  return std::any_of(leaving_.begin(), leaving_.end(),
                     [this](const link_ptr& l) { return one_session_only_ || l->incoming.protocol == protocol_kind::pop3; });
}

/// The name at the mail server.
std::string channel_fetcher::name_of(const credential& c, const std::string& account_of_token) const {
  auto name = c.type == auth_type::basic ? c.username : !c.mailbox.empty() ? c.mailbox : !account_of_token.empty() ? account_of_token : c.account;
  return name.empty() ? load_->record.spec.address : name;
}

/// Than the credential that served last: it may be the same mailbox by a longer name, or somebody else's. A new secret of the same name opens what it ever
/// opened.
bool channel_fetcher::signs_in_by_another_name() const {
  const auto observed = load_->record.observed_generation;
  return observed != 0 && serving_->generation != observed && !equal_text(name_of(serving_->who, serving_->account), name_of(load_->serving, {}));
}

/// The older credential serves, or tries to, until somebody enters another one.
void channel_fetcher::refuse_mailbox(const std::string& why) {
  if (serving_->generation == load_->record.generation)
    refuse_generation({failure::wrong_mailbox,
                       "the new credential opens another mailbox (" + why + "); if it is the channel's all the same, made anew, sign in by the name that served "
                       "before, or make a new channel", {}});
  maildrop_.clear();
  drop_serving();
  open_serving();   // as soon as this session has left, where only one may be there
}

// ---- opening ------------------------------------------------------------------------------------------------------------------------------

void channel_fetcher::open_serving() {
  if (stopping_ || yielding_ || serving_ || blocked_ || !load_->record.spec.enabled) return;
  if (awaits_consent() && load_->record.observed_generation == 0) return;
  if (not_before_ && *not_before_ > now()) return reopen_after(*not_before_ - now());
  if (must_close_first()) return;   // on_left() comes back here
  serving_ = std::make_unique<link>();
  if (!told_ || told_->first == channel_state::disabled || told_->first == channel_state::consent_pending) {
    store::mail_store::state_change c;
    c.state = channel_state::connecting;
    set_state(std::move(c));
  }
  open(*serving_);
}

void channel_fetcher::open_successor() {
  if (stopping_ || yielding_ || standby() || successor_ || !serving_ || !serving_->opened || serving_->closing) return;
  if (serving_->incoming.protocol == protocol_kind::pop3) {
    if (work_ == work::fetching) proceed();   // the poll ends at the next commit boundary
    return;
  }
  ending_serial_ = renewal_due_ ? serving_->token_serial : 0;
  if (one_session_only_) {
    // Break before make: the gap is measured.
    gap_since_ = now();
    drop_serving();
    return open_serving();
  }
  crowded_ = !leaving_.empty();
  successor_ = std::make_unique<link>();
  open(*successor_);
}

void channel_fetcher::open(link& l) {
  const auto& r = load_->record;
  l.epoch = ++last_epoch_;
  l.generation = older_meanwhile_ && &l == serving_.get() ? r.observed_generation : target_generation();
  l.incoming = r.spec.incoming;
  l.server = r.server;
  l.writable = r.spec.after != after_fetch::keep;
  l.who = l.generation == r.generation ? load_->credential : load_->serving;
  l.auth = l.who.type;
  auto ask = std::make_shared<login_request>();
  ask->host = server_key(l.incoming);
  ask->last_success = r.last_success_at.value_or(wall_time{});
  ask->then = {me(), [this, epoch = l.epoch](login_ticket ticket) { with_ticket(epoch, std::move(ticket)); }};
  caf::anon_send(parts_.pacer, login_atom::value, std::move(ask));
  if (&l == serving_.get()) parts_.vitals->wait(now() + ticket_patience);
}

void channel_fetcher::with_ticket(std::uint64_t epoch, login_ticket ticket) {
  auto* l = link_of(epoch);
  if (!l) return;
  parts_.vitals->progress(now());
  l->ticket = std::move(ticket);
  if (l->auth == auth_type::basic) return dial(*l, {});
  l->awaits_token = true;
  auto request = std::make_shared<token_request>();
  request->generation = l->generation;
  // A renewal wants another token than the one that ends soon, even if that one would do for a little while.
  request->refused = refused_serial_ != 0 ? refused_serial_ : ending_serial_;
  request->then = {me(), [this, epoch](result<access_token> token) { with_token(epoch, std::move(token)); }};
  caf::anon_send(refresher(), token_atom::value, std::move(request));
}

void channel_fetcher::with_token(std::uint64_t epoch, result<access_token> token) {
  auto* l = link_of(epoch);
  if (!l || !std::exchange(l->awaits_token, false)) return;
  if (!token) return on_open_failed(*l, token.error());
  l->token_serial = token->serial;
  l->token_expires_at = token->expires_at;
  l->account = token->account;
  dial(*l, std::move(token->value));
}

void channel_fetcher::dial(link& l, secret<> access_token) {
  auto c = l.who;
  session_plan plan;
  plan.epoch = l.epoch;
  plan.guard = parts_.guard;
  plan.incoming = l.incoming;
  plan.auth = c.type;
  plan.username = name_of(c, l.account);
  if (l.account.empty()) l.account = c.type == auth_type::basic ? c.username : c.account;
  plan.password = std::move(c.password);
  plan.access_token = std::move(access_token);
  plan.writable = l.writable;
  plan.allow_plaintext = env_.options.allow_plaintext;
  plan.poll_interval = env_.options.poll_interval;
  l.session = open_session(env_, *parts_.reactor, std::move(plan), [who = me()](std::shared_ptr<session_report> report) {
    if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(who))
      caf::anon_send(caf::actor_cast<caf::actor>(strong), session_atom::value, std::move(report));
  });
}

// ---- what a session says ------------------------------------------------------------------------------------------------------------------

channel_fetcher::link* channel_fetcher::link_of(std::uint64_t epoch) {
  if (serving_ && serving_->epoch == epoch) return serving_.get();
  if (successor_ && successor_->epoch == epoch) return successor_.get();
  return nullptr;
}

void channel_fetcher::on_session(session_report& report) {
  auto& any = report.event;
  auto* l = link_of(report.epoch);
  if (auto* ended = std::get_if<session_event::ended>(&any)) return l ? on_ended(*l, *ended) : on_left(report.epoch);
  if (!l) return;
  if (yielded_) return parts_.vitals->progress(now());   // what it still tells is the heir's to find
  if (const auto* opened = std::get_if<session_event::opened>(&any)) return on_opened(*l, *opened);
  if (l != serving_.get()) return;
  if (standby()) return;   // what is new is for the owner to find
  if (std::holds_alternative<session_event::progressed>(any)) return parts_.vitals->progress(now());
  if (auto* e = std::get_if<session_event::listed>(&any)) return on_listed(*e);
  if (auto* e = std::get_if<session_event::fetched>(&any)) return on_fetched(*e);
  if (auto* e = std::get_if<session_event::fetch_done>(&any)) return on_fetch_done(*e);
  if (auto* e = std::get_if<session_event::marked>(&any)) return on_marked(*e);
  if (const auto* e = std::get_if<session_event::woken>(&any)) return on_woken(*e);
}

/// Looked at even when the server says that nothing changed: some never say anything else.
void channel_fetcher::on_woken(const session_event::woken& e) {
  if (work_ != work::watching) return;
  report_success();
  if (!e.changed) empty_looks_ = 0;
  if (empty_looks_ >= empty_looks_at_most && now() - looked_at_ < look_pause) {
    work_ = work::resting;
    resume_at_ = looked_at_ + look_pause;
    return arm();
  }
  list_next();
}

void channel_fetcher::on_opened(link& l, const session_event::opened& e) {
  l.opened = e;
  l.ticket.reset();
  refused_serial_ = 0;
  parts_.vitals->progress(now());
  static char something = 0;
  env_.report->sessions(l.incoming.protocol, l.incoming.tls, +1);
  l.counted = std::shared_ptr<void>(&something, [to = env_.report, protocol = l.incoming.protocol, tls = l.incoming.tls](void*) {
    to->sessions(protocol, tls, -1);
  });
  if (e.login_delay) not_before_ = now() + *e.login_delay;
  if (standby()) {
    l.session->watch();   // kept alive until something happens in the mailbox, and then for as long as a handover may take
    parts_.vitals->wait(now() + ticket_patience);
    return tell(hand_step::ready);
  }
  if (&l == successor_.get()) return on_successor_opened();
  begin_serving();
}

void channel_fetcher::on_successor_opened() {
  const auto here = serving_->opened->uid_validity, there = successor_->opened->uid_validity;
  const bool same_server = successor_->incoming == serving_->incoming && successor_->incoming.protocol == protocol_kind::imap;
  if (same_server && here != there) {
    if (successor_->generation != serving_->generation) {
      // Another account signs in, and what it sees is not this channel's mailbox.
      const auto generation = successor_->generation;
      leave(std::move(successor_));
      return successor_failed({failure::wrong_mailbox, "the new credential opens another mailbox (its UIDVALIDITY differs)", {}}, generation);
    }
    log(log_level::warning, "successor found another UIDVALIDITY", {{"serving", std::to_string(here.value)}, {"successor", std::to_string(there.value)}});
  }
  successor_->compared = same_server;
  if (quiet()) cut_over();   // otherwise at the next commit boundary: fetch_more() begins nothing new
}

/// A session with the mailbox selected serves from now on.
void channel_fetcher::begin_serving() {
  successor_attempt_ = 0;
  successor_at_.reset();
  older_meanwhile_ = false;
  resume_at_.reset();
  renewal_due_ = false;
  ending_serial_ = 0;
  poll_end_ = ending::broken;
  if (took_over_at_) env_.report->handover_gap(std::chrono::duration<double>(now() - *std::exchange(took_over_at_, std::nullopt)).count());
  serving_->unproven = maildrop_to_prove() || (!serving_->compared && signs_in_by_another_name());
  if (!serving_->unproven) tell_serving();   // otherwise UIDVALIDITY or UIDLs show first whose mailbox it is: on_cursor(), on_known()
  schedule_renewal();
  served_since_ = now();
  work_ = work::loading;
  begin();
  // The row may have changed while this one was on its way.
  if (wants_successor()) open_successor();
}

/// Commits of an earlier session may still be under way: the cursor is read behind them.
void channel_fetcher::begin() {
  if (yielding_) return yield_if_quiet();
  if (quiet()) serving_->incoming.protocol == protocol_kind::imap ? begin_imap() : begin_pop3();
}

void channel_fetcher::cut_over() {
  auto old = std::move(serving_);
  serving_ = std::move(successor_);
  leave(std::move(old));
  ++work_generation_;
  clear_window();
  log(log_level::info, "successor serves", {{"generation", std::to_string(serving_->generation)}});
  begin_serving();
}

/// Logged out in order; nothing of it counts any more.
void channel_fetcher::leave(link_ptr l) {
  l->counted.reset();
  if (!l->session || !l->opened || l->closing) return;
  l->closing = true;
  l->session->close();
  leaving_.push_back(std::move(l));
  if (leaving_.size() > leaving_at_most) leaving_.erase(leaving_.begin());
}

void channel_fetcher::on_left(std::uint64_t epoch) {
  if (std::erase_if(leaving_, [&](const link_ptr& l) { return l->epoch == epoch; }) == 0) return;
  if (!serving_ && !reopen_at_ && load_ && !loading_) open_serving();
}

void channel_fetcher::schedule_renewal() {
  renew_at_.reset();
  if (!serving_->token_expires_at || serving_->incoming.protocol == protocol_kind::pop3) return;
  const auto left = std::chrono::duration_cast<duration>(*serving_->token_expires_at - wall());
  const auto ahead = duration(limits::token_renew_ahead) + seconds(env_.random() % renewal_jitter_seconds);
  renew_at_ = now() + std::max(left - ahead, std::min(left / 2, duration(limits::token_renew_ahead)));
  arm();
}

}  // namespace mailherd::actors
