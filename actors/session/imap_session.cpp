// actors/session/imap_session: see the header.
#include "actors/session/imap_session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
template <class... Fs>
struct overloaded : Fs... {
  using Fs::operator()...;
};

/// A server that ends an IDLE by itself sooner than this would have us begin it again and again.
constexpr seconds shortest_idle{10};

imap::engine_options engine_options_for(const session_plan& plan) {
  imap::engine_options o;
  o.encrypted = plan.incoming.tls == tls_mode::implicit;
  o.allow_unencrypted = plan.allow_plaintext && plan.incoming.tls == tls_mode::none;
  return o;
}
}  // namespace

imap_session::imap_session(const environment& env, net::reactor& where, session_plan plan, session_listener on_event)
    : session_base(env, where, std::move(plan), std::move(on_event)), engine_(engine_options_for(plan_)) {}

// ---- the opening ------------------------------------------------------------------------------------------------------------------------

void imap_session::on_connected() { enter("greeting", times().attempt); }

void imap_session::on_tls() {
  if (auto ok = engine_.tls_started(); !ok) return finish(ok.error());
  step_ = step::capa;
  enter("greeting", times().attempt);
  expect(engine_.capability());
  pump();
}

bool imap_session::expect(const result<imap::command_id>& id) {
  if (!id) finish(id.error());
  return id.has_value();
}

/// The present step is answered; what comes next.
void imap_session::next_step() {
  const auto& can = engine_.capabilities();
  switch (step_) {
    case step::greeting:
      report(session_event::progressed{"greeting", {}});
      if (engine_.authenticated()) return after_login();
      step_ = plan_.incoming.tls == tls_mode::starttls ? step::capa_clear : step::capa;
      if (!can.known()) {
        expect(engine_.capability());
        return;
      }
      return next_step();
    case step::capa_clear:
      step_ = step::starttls;
      expect(engine_.starttls());
      return;
    case step::capa:
      return log_in();
    case step::login:
      report(session_event::progressed{"authentication", mechanism_});
      env_.report->login(mechanism_, true);
      plan_.password = {};
      plan_.access_token = {};
      return after_login();
    case step::capa_in:
      if (can.has(imap::capability::id)) {
        // Some providers refuse SELECT to clients that do not introduce themselves.
        step_ = step::id;
        expect(engine_.identify("Mailherd", env_.options.version));
        return;
      }
      return select();
    case step::id: return select();
    case step::starttls:
    case step::select:
    case step::serving:
    case step::closing: return;
  }
}

void imap_session::log_in() {
  step_ = step::login;
  enter("authentication", times().attempt);
  expect(engine_.login({plan_.auth, plan_.username, plan_.password, plan_.access_token, plan_.incoming.host, plan_.incoming.port}));
}

void imap_session::after_login() {
  enter("mailbox", times().attempt);
  step_ = step::capa_in;
  if (engine_.capabilities().known()) return next_step();
  expect(engine_.capability());
}

void imap_session::select() {
  step_ = step::select;
  expect(engine_.select(plan_.incoming.folder, !plan_.writable));
}

void imap_session::on_opened(const imap::event::selected& e) {
  // RFC 3501, 2.3.1.1: without a UIDVALIDITY, or with UIDs that end with the session, what is new cannot be told from what was fetched. To guess
  // would be to lose mail or to store it again and again.
  if (e.uid_validity.value == 0 || !e.sticky_uids) {
    return finish(error{failure::protocol_violation,
                        fmt::format("the server gives the messages of {} no lasting numbers ({}); fetch this mailbox by POP3, or have the server mended",
                                    plan_.incoming.folder, e.uid_validity.value == 0 ? "no UIDVALIDITY" : "UIDNOTSTICKY"),
                        {}});
  }
  step_ = step::serving;
  report(session_event::progressed{"mailbox", fmt::format("{}: {} messages", plan_.incoming.folder, e.exists)});
  session_event::opened o;
  o.messages = e.exists;
  o.uid_validity = e.uid_validity;
  o.uid_next = e.uid_next;
  o.highest_modseq = e.highest_modseq;
  o.can_expunge_by_uid = engine_.capabilities().has(imap::capability::uidplus);
  o.can_watch = true;
  o.mechanism = mechanism_;
  report(std::move(o));
  enter("waiting", times().command);
}

// ---- the pump -----------------------------------------------------------------------------------------------------------------------------

void imap_session::on_bytes(std::string_view bytes) {
  // The rhythm of a watch is its own: a server that only says it is still there must not put off the look at the mailbox.
  if (watching_ == watching::no) progressed();
  engine_.receive(bytes, env_.wall_now());
  while (!over()) {
    auto event = engine_.next_event();
    if (!event) break;
    handle(*event);
  }
  if (over()) return;
  settle();
  pump();
}

void imap_session::pump() {
  if (!over()) send(engine_.take_output());
}

void imap_session::handle(imap::any_event& any) {
  std::visit(overloaded{
                 [&](imap::event::greeted&) { next_step(); },
                 [&](imap::event::capabilities&) { next_step(); },
                 [&](imap::event::start_tls&) { start_tls(); },
                 [&](imap::event::logged_in& e) {
                   mechanism_ = std::string(e.mechanism);
                   next_step();
                 },
                 [&](imap::event::mailbox&) {},
                 [&](imap::event::selected& e) { on_opened(e); },
                 [&](imap::event::status& e) {
                   if (e.command == count_ && count_ != 0) report(session_event::counted{e.messages.value_or(0), e.unseen});
                 },
                 [&](imap::event::found& e) {
                   if (!listing_ || listing_->command != e.command) return;
                   for (const auto& r : e.uids->ranges()) {
                     for (std::uint64_t u = r.first; u <= r.last; ++u) {
                       if (listing_->entries.size() >= limits::listing_entries)
                         return finish(error{failure::limit_exceeded, "the search finds more messages than a mailbox can hold", {}});
                       listing_entry entry;
                       entry.uid.value = static_cast<std::uint32_t>(u);
                       listing_->entries.push_back(std::move(entry));
                     }
                   }
                 },
                 [&](imap::event::body_begin& e) { on_body_begin(e); },
                 [&](imap::event::body_chunk& e) {
                   auto* f = request_of(arriving_);
                   if (!f) return;
                   f->in->append(e.bytes);
                   report_bytes(e.bytes.size());
                 },
                 [&](imap::event::body_end&) {
                   if (auto* f = request_of(arriving_)) f->in->end();
                 },
                 [&](imap::event::fetched& e) { on_fetched(e); },
                 [&](imap::event::exists&) {
                   changed_ = true;
                   if (watching_ == watching::idle) {
                     watching_ = watching::no;   // the actor asks what is new, and that ends the IDLE
                     enter("waiting", times().command);
                     report(session_event::woken{true});
                   }
                 },
                 [&](imap::event::expunged&) {},
                 [&](imap::event::idling&) {
                   if (watching_ == watching::idle) enter("watch", times().idle_restart);
                 },
                 [&](imap::event::done& e) { on_done(e.command, e.kind, std::nullopt); },
                 [&](imap::event::refused& e) { on_done(e.command, e.kind, std::move(e.reason)); },
                 [&](imap::event::alert& e) {
                   env_.report->log(log_level::warning, "server sends an alert", {{"host", plan_.incoming.host}, {"text", e.text}});
                 },
                 [&](imap::event::bye& e) {
                   if (step_ != step::closing) finish(e.reason);
                 },
                 [&](imap::event::failed& e) { finish(e.reason); },
             },
             any);
}

void imap_session::on_done(imap::command_id id, imap::command_kind kind, std::optional<error> refusal) {
  using imap::command_kind;
  switch (kind) {
    case command_kind::capability:
    case command_kind::id:
      // Nobody needs ID to work, and a server without CAPABILITY still has the basics.
      if (refusal) next_step();
      else if (kind == command_kind::id) next_step();
      return;
    case command_kind::starttls:
    case command_kind::login:
    case command_kind::select:
      if (!refusal) return;
      if (kind == command_kind::login) env_.report->login(plan_.auth == auth_type::oauth2 ? "token" : "password", false);
      return finish(std::move(*refusal));
    case command_kind::fetch: return on_fetch_done(id, std::move(refusal));
    case command_kind::search:
      if (!listing_ || listing_->command != id) return;
      if (refusal) return finish(std::move(*refusal));
      return finish_listing();
    case command_kind::store:
    case command_kind::expunge: return on_mark_done(id, std::move(refusal));
    case command_kind::idle:
      // Offered and refused, or ended again by the server at once: looks by NOOP serve as well.
      if (refusal || (watching_ == watching::idle && reactor_.now() - idle_since_ < shortest_idle)) idle_works_ = false;
      if (watching_ == watching::idle) begin_watching();
      return;
    case command_kind::noop:
      if (watching_ != watching::look) return;
      watching_ = watching::no;
      report(session_event::woken{changed_});
      // The actor answers with a listing or with watch(); until then silence means nothing.
      enter("waiting", times().command);
      return;
    case command_kind::status:
      if (refusal) return finish(std::move(*refusal));
      return;
    case command_kind::logout: return finish(error{failure::cancelled, "signed out", {}}, true);
    case command_kind::enable:
    case command_kind::compress:
    case command_kind::list: return;
  }
}

void imap_session::on_fetch_done(imap::command_id id, std::optional<error> refusal) {
  if (listing_ && listing_->command == id) {
    if (refusal) return finish(std::move(*refusal));
    return finish_listing();
  }
  const auto c = std::find_if(fetch_commands_.begin(), fetch_commands_.end(), [&](const auto& p) { return p.first == id; });
  if (c == fetch_commands_.end()) return;
  auto* f = request_of(c->second);
  fetch_commands_.erase(c);
  std::erase_if(*awaited_, [&](const auto& item) {
    if (item.second.command != id) return false;
    if (f) (refusal ? f->outcome.refused : f->outcome.missing).push_back(item.second.entry);
    return true;
  });
  if (f) {
    if (refusal) f->outcome.refusal = std::move(refusal);
    --f->outstanding;
  }
  return settle();
}

void imap_session::on_mark_done(imap::command_id id, std::optional<error> refusal) {
  const auto m = std::find_if(marks_.begin(), marks_.end(), [&](const marking& x) {
    return std::find(x.commands.begin(), x.commands.end(), id) != x.commands.end();
  });
  if (m == marks_.end()) return;
  std::erase(m->commands, id);
  if (refusal && !m->refusal) m->refusal = std::move(refusal);
  if (!m->commands.empty()) return;
  report(session_event::marked{m->request, std::move(m->refusal)});
  marks_.erase(m);
}

error imap_session::why_ended(error transport) {
  if (step_ == step::closing) return error{failure::connection_lost, "the server closed without confirming the end of the session", {}};
  auto known = engine_.ended(env_.wall_now());
  return known.code == failure::connection_lost ? error{failure::connection_lost, fmt::format("{} ({})", known.detail, transport.detail), {}} : known;
}

bool imap_session::on_deadline() {
  if (step_ != step::serving) return false;
  if (watching_ == watching::idle && phase() == "watch") {
    // Time to show NAT boxes and the server that we live, and to look even if it never speaks.
    watching_ = watching::look;
    enter("look", times().command);
    if (expect(engine_.noop())) pump();   // ends the IDLE by itself
    return true;
  }
  if (watching_ == watching::poll) {
    watching_ = watching::look;
    enter("look", times().command);
    if (expect(engine_.noop())) pump();
    return true;
  }
  const bool waits_for_store = std::any_of(fetches_.begin(), fetches_.end(), [](const auto& f) { return f->in->must_wait(); });
  if (engine_.pending() > 0 && !waits_for_store) return false;
  progressed();
  return true;
}

void imap_session::describe_loss(session_event::ended& e) {
  const auto* f = request_of(arriving_);
  const bool arriving = f && f->in->in_message();
  // A response that cannot be read, or is too large, names no message either.
  const bool unreadable = e.reason.code == failure::protocol_violation || e.reason.code == failure::limit_exceeded;
  if (awaited_ && !fetch_commands_.empty() && (arriving || unreadable)) {
    auto it = arriving ? awaited_->find(arriving_uid_.value) : awaited_->end();
    if (it == awaited_->end()) {
      // The UID had not come yet: servers answer commands in order, and messages in ascending order.
      for (auto at = awaited_->begin(); at != awaited_->end(); ++at) {
        if (at->second.command != fetch_commands_.front().first) continue;
        if (it == awaited_->end() || at->first < it->first) it = at;
      }
    }
    if (it != awaited_->end()) {
      message_source source;
      source.folder = plan_.incoming.folder;
      source.uid = it->second.entry.uid;
      e.during = std::move(source);
      e.during_entry = it->second.entry;
    }
  }
  for (auto& request : fetches_) request->in->flush(true);
}

void imap_session::on_finished() {
  fetches_.clear();
  awaited_.reset();
  listing_.reset();
}

}  // namespace mailherd::actors
