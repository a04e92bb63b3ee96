// actors/session/pop3_session: see the header.
#include "actors/session/pop3_session.hpp"

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

pop3::engine_options engine_options_for(const session_plan& plan) {
  pop3::engine_options o;
  o.encrypted = plan.incoming.tls == tls_mode::implicit;
  o.allow_unencrypted = plan.allow_plaintext && plan.incoming.tls == tls_mode::none;
  return o;
}
}  // namespace

pop3_session::pop3_session(const environment& env, net::reactor& where, session_plan plan, session_listener on_event)
    : session_base(env, where, std::move(plan), std::move(on_event)), engine_(engine_options_for(plan_)) {}

// ---- the opening ------------------------------------------------------------------------------------------------------------------------

void pop3_session::on_connected() { enter("greeting", times().attempt); }

void pop3_session::on_tls() {
  if (auto ok = engine_.tls_started(); !ok) return finish(ok.error());
  step_ = step::capa;
  enter("greeting", times().attempt);
  expect(engine_.capa(), purpose::opening);
  pump();
}

void pop3_session::next_step(bool) {
  switch (step_) {
    case step::greeting:
      report(session_event::progressed{"greeting", {}});
      step_ = plan_.incoming.tls == tls_mode::starttls ? step::capa_clear : step::capa;
      expect(engine_.capa(), purpose::opening);
      return;
    case step::capa_clear:
      step_ = step::stls;
      expect(engine_.stls(), purpose::opening);
      return;
    case step::capa:
      return log_in();
    case step::login:
      report(session_event::progressed{"authentication", mechanism_});
      env_.report->login(mechanism_, true);
      plan_.password = {};
      plan_.access_token = {};
      step_ = step::capa_in;
      enter("mailbox", times().attempt);
      expect(engine_.capa(), purpose::opening);
      return;
    case step::capa_in:
      login_delay_ = engine_.capabilities().login_delay;
      step_ = step::stat;
      expect(engine_.stat(), purpose::opening);
      return;
    case step::stls:
    case step::stat:
    case step::serving:
    case step::closing:
      return;
  }
}

sasl::credentials pop3_session::who() const {
  return {plan_.auth, plan_.username, plan_.password, plan_.access_token, plan_.incoming.host, plan_.incoming.port};
}

void pop3_session::log_in() {
  step_ = step::login;
  enter("authentication", times().attempt);
  expect(engine_.login(who()), purpose::opening);
}

void pop3_session::opened(std::uint32_t messages) {
  step_ = step::serving;
  messages_ = messages;
  report(session_event::progressed{"mailbox", fmt::format("{} messages", messages)});
  session_event::opened o;
  o.messages = messages;
  o.mechanism = mechanism_;
  o.login_delay = login_delay_;
  report(std::move(o));
  enter("waiting", times().command);
}

bool pop3_session::expect(result<pop3::command_id> id, purpose what, listing_entry entry, std::uint64_t request) {
  if (!id) {
    finish(id.error());
    return false;
  }
  sent_.push_back({*id, what, std::move(entry), request});
  return true;
}

// ---- the pump -----------------------------------------------------------------------------------------------------------------------------

void pop3_session::on_bytes(std::string_view bytes) {
  progressed();
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

void pop3_session::pump() {
  if (!over()) send(engine_.take_output());
}

void pop3_session::handle(pop3::any_event& any) {
  // A refusal carries its own place in the order; everything else that ends a command takes it off the front.
  std::visit(
      overloaded{
          [&](pop3::event::greeted&) { next_step(true); },
          [&](pop3::event::capabilities& e) {
            sent_.pop_front();
            next_step(e.supported);
          },
          [&](pop3::event::start_tls&) {
            sent_.pop_front();
            start_tls();
          },
          [&](pop3::event::logged_in& e) {
            sent_.pop_front();
            mechanism_ = std::string(e.mechanism);
            next_step(true);
          },
          [&](pop3::event::status& e) {
            const auto what = sent_.front().what;
            sent_.pop_front();
            if (what == purpose::opening) return opened(e.messages);
            report(session_event::counted{e.messages, std::nullopt});
          },
          [&](pop3::event::uidl_entry& e) {
            if (!listing_) return;
            listing_entry entry;
            entry.number = e.number;
            entry.uidl = std::string(e.uidl);
            listing_->entries.push_back(std::move(entry));
          },
          [&](pop3::event::list_entry& e) {
            if (listing_) listing_->sizes.emplace_back(e.number, e.octets);
          },
          [&](pop3::event::listing_end&) {
            const auto what = sent_.front().what;
            sent_.pop_front();
            if (what != purpose::sizes || !listing_) return;
            put_sizes();
            identify_by_head();
          },
          [&](pop3::event::body_begin& e) {
            if (sent_.front().what == purpose::identity) {
              if (listing_) listing_->head.clear();
              return;
            }
            if (auto* f = fetch_at_hand()) f->in->begin(e.announced.value_or(sent_.front().entry.size));
          },
          [&](pop3::event::body_chunk& e) { on_chunk(e.bytes); },
          [&](pop3::event::body_end& e) { on_body_end(e.number); },
          [&](pop3::event::done& e) {
            if (sent_.empty()) return;
            const auto what = sent_.front().what;
            sent_.pop_front();
            if (what == purpose::dele && !marks_.empty() && --marks_.front().outstanding == 0) settle();
            if (e.kind == pop3::command_kind::quit) finish(error{failure::cancelled, "signed out", {}}, true);
          },
          [&](pop3::event::refused& e) { on_refused(e); },
          [&](pop3::event::failed& e) { finish(e.reason); },
      },
      any);
}

fetch_request* pop3_session::fetch_at_hand() {
  if (sent_.empty() || sent_.front().what != purpose::message) return nullptr;
  const auto at = std::find_if(fetches_.begin(), fetches_.end(), [&](const fetch_request& f) { return f.id == sent_.front().request; });
  return at == fetches_.end() ? nullptr : &*at;
}

void pop3_session::on_chunk(std::string_view bytes) {
  if (sent_.front().what == purpose::identity) {
    if (listing_ && listing_->head.size() < limits::header_parse_bytes) listing_->head.append(bytes);
    return;
  }
  auto* f = fetch_at_hand();
  if (!f) return;
  f->in->append(bytes);
  report_bytes(bytes.size());
  if (f->in->current_size() > f->max_bytes)
    finish(error{failure::limit_exceeded, fmt::format("message is larger than {} bytes and than the server announced", f->max_bytes), {}});
}

void pop3_session::on_body_end(std::uint32_t number) {
  auto* f = fetch_at_hand();
  auto done = std::move(sent_.front());
  sent_.pop_front();
  if (done.what == purpose::identity) {
    if (!listing_) return;
    if (auto* entry = entry_of(number)) entry->uidl = pop3::digest_uidl(listing_->head);
    if (--listing_->unidentified == 0) finish_listing();
    return;
  }
  if (!f) return;
  f->in->end();
  message_source source;
  source.protocol = protocol_kind::pop3;
  source.uidl = done.entry.uidl;
  f->in->complete(std::move(source), wall_time{});
  f->in->flush(false);
  --f->outstanding;
  settle();
}

void pop3_session::on_refused(const pop3::event::refused& e) {
  if (sent_.empty()) return finish(e.reason);
  auto* f = fetch_at_hand();
  auto refused = std::move(sent_.front());
  sent_.pop_front();
  switch (refused.what) {
    case purpose::opening:
      if (step_ == step::login) env_.report->login(plan_.auth == auth_type::oauth2 ? "token" : "password", false);
      return finish(e.reason);
    case purpose::stat:
    case purpose::sizes:
      return finish(e.reason);
    case purpose::uidl:
      // Only a server that never offered UIDL and says no more than no has none: sizes make the list then, heads the identities. One that is busy, or in
      // trouble, will name the messages as ever the next time. (An empty maildrop has nothing to name: some say no to that.)
      if ((engine_.capabilities().uidl && messages_ > 0) || e.reason.code != failure::command_refused) return finish(e.reason);
      if (listing_) listing_->has_identities = false;
      return;
    case purpose::identity:
      // One that the server cannot read is told without an identity. Servers that stumble over one message say so in the words of a server in trouble.
      if (e.reason.code != failure::command_refused && e.reason.code != failure::server_unavailable) return finish(e.reason);
      if (!listing_) return;
      listing_->refusal = e.reason;
      if (--listing_->unidentified == 0) finish_listing();
      return;
    case purpose::message: {
      if (!f) return;
      f->outcome.refused.push_back(std::move(refused.entry));
      f->outcome.refusal = e.reason;
      --f->outstanding;
      return settle();
    }
    case purpose::dele: {
      if (marks_.empty()) return;
      marks_.front().refusal = e.reason;
      --marks_.front().outstanding;
      return settle();
    }
    case purpose::quit:
      return finish(e.reason, false);
  }
}

error pop3_session::why_ended(error transport) {
  if (step_ == step::closing) return error{failure::connection_lost, "the server closed without confirming the end of the session", {}};
  auto known = engine_.ended(env_.wall_now());
  // The engine knows what the server said last; the transport knows how the connection died.
  return known.code == failure::connection_lost ? transport : known;
}

bool pop3_session::on_deadline() {
  const bool waits_for_store = std::any_of(fetches_.begin(), fetches_.end(), [](const auto& f) { return f.in->must_wait(); });
  if (step_ != step::serving || (!sent_.empty() && !waits_for_store)) return false;
  // Nothing is asked of the server, or its bytes are not wanted yet: its silence means nothing.
  progressed();
  return true;
}

void pop3_session::describe_loss(session_event::ended& e) {
  for (auto& f : fetches_) {
    f.in->flush(true);
  }
  const auto* f = fetch_at_hand();
  if (f && f->in->in_message()) {
    message_source source;
    source.protocol = protocol_kind::pop3;
    source.uidl = sent_.front().entry.uidl;
    e.during = std::move(source);
    e.during_entry = sent_.front().entry;
  }
}

void pop3_session::on_finished() {
  fetches_.clear();
  listing_.reset();
}

// ---- requests ------------------------------------------------------------------------------------------------------------------------------

void pop3_session::fetch(std::uint64_t request, std::vector<listing_entry> entries, fetch_mode mode, std::uint64_t max_bytes,
                         std::shared_ptr<fetch_budget::share> share) {
  enter("fetch", times().stall);
  auto& f = fetches_.emplace_back();
  f.id = request;
  f.max_bytes = max_bytes;
  f.mode = mode;
  f.share = std::move(share);
  f.outcome.request = request;
  f.outstanding = entries.size();
  f.in = std::make_unique<arrivals>(
      reactor_, *env_.store, plan_.guard, mode,
      [weak = weak_from_this()] {
        auto self = std::static_pointer_cast<pop3_session>(weak.lock());
        if (!self || self->over()) return;
        self->settle();
        self->pump();
      },
      [this, request, s = f.share](std::vector<store::incoming_message> messages) {
        report(session_event::fetched{request, std::move(messages), s});
      });
  for (auto& entry : entries) {
    const auto number = entry.number;
    auto id = mode == fetch_mode::headers ? engine_.top(number, 0) : engine_.retr(number);
    if (!expect(std::move(id), purpose::message, std::move(entry), request)) return;
  }
  settle();
  pump();
}

void pop3_session::settle() {
  if (over()) return;
  while (!marks_.empty() && marks_.front().outstanding == 0) {
    report(session_event::marked{marks_.front().request, std::move(marks_.front().refusal)});
    marks_.pop_front();
  }
  bool wait = false;
  for (auto& f : fetches_) {
    if (const auto* e = f.in->failed()) return finish(*e);
    f.in->flush(f.outstanding == 0);
    wait = wait || f.in->must_wait();
  }
  while (!fetches_.empty() && fetches_.front().done()) {
    report(std::move(fetches_.front().outcome));
    fetches_.pop_front();
    if (fetches_.empty()) enter("waiting", times().command);
  }
  if (wait) {
    pause();
  } else {
    unpause();
  }
}

void pop3_session::apply(std::uint64_t request, std::vector<listing_entry> entries, mark what) {
  // POP3 has no flags: "seen" has nothing to do here, and asking for it is no error.
  if (what != mark::remove) entries.clear();
  enter("mark", times().command);
  marks_.push_back({request, entries.size(), std::nullopt});
  for (auto& entry : entries)
    if (!expect(engine_.dele(entry.number), purpose::dele, entry)) return;
  settle();
  pump();
}

void pop3_session::count() {
  enter("mailbox", times().command);
  if (expect(engine_.stat(), purpose::stat)) pump();
}

void pop3_session::close() {
  step_ = step::closing;
  enter("logout", limits::close_deadline * 4);
  if (expect(engine_.quit(), purpose::quit)) pump();
}

}  // namespace mailherd::actors
