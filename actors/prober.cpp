#include "actors/prober.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/advice.hpp"
#include "core/server_text.hpp"

namespace mailherd::actors {

namespace {

constexpr std::array<std::string_view, 9> steps{"dns", "tcp", "proxy", "tls", "token", "greeting", "authentication", "mailbox", "count"};

std::size_t position(std::string_view step) {
  return static_cast<std::size_t>(std::find(steps.begin(), steps.end(), step) - steps.begin());
}

milliseconds between(mono_time from, mono_time to) {
  return std::max(milliseconds(0), std::chrono::duration_cast<milliseconds>(to - from));
}

std::string token_detail(const access_token& token, wall_time now) {
  const auto left = std::chrono::duration_cast<std::chrono::minutes>(token.expires_at - now).count();
  auto out = token.account.empty() ? fmt::format("valid for {} more minutes", left)
                                   : fmt::format("for {}, valid for {} more minutes", token.account, left);
  if (!token.scopes.empty()) out += fmt::format("; allows {}", fmt::join(token.scopes, ", "));
  return clean_server_text(out);
}

/// Words for one answer of a server that are better than those for its kind.
explanation words_for(const error& why, protocol_kind protocol) {
  const bool off = contains_text(why.detail, "not enabled for") || contains_text(why.detail, "disabled") || contains_text(why.detail, "not allowed");
  if (why.code == failure::no_mailbox_rights && off)
    return protocol == protocol_kind::imap
               ? explanation{"IMAP is switched off for this mailbox.", "Ask the mail administrator to enable IMAP for it, or use POP3."}
               : explanation{"POP3 is switched off for this mailbox.", "Ask the mail administrator to enable POP3 for it, or use IMAP."};
  return explain(why.code);
}

/// What a person needs to know who reads only this step.
test_step failed_step(std::string_view step, const error& why, milliseconds took, protocol_kind protocol) {
  const auto words = words_for(why, protocol);
  test_step s;
  s.step = step;
  s.took = took;
  s.detail = why.detail.empty() ? std::string(words.cause) : fmt::format("{} ({})", words.cause, why.detail);
  if (why.retry_at && (why.code == failure::throttled || why.code == failure::token_unavailable))
    s.detail += fmt::format(" Asked to wait until {:%Y-%m-%d %H:%M:%S} UTC.", fmt::gmtime(std::chrono::system_clock::to_time_t(*why.retry_at)));
  s.advice = words.next_step;
  s.reason = why.code;
  return s;
}

}  // namespace

prober_state::probe* prober_state::find(std::uint64_t epoch) {
  const auto at = probes.find(epoch);
  return at == probes.end() ? nullptr : &at->second;
}

std::size_t prober_state::running() const {
  return static_cast<std::size_t>(std::count_if(probes.begin(), probes.end(), [](const auto& p) { return !p.second.answered; }));
}

void prober_state::begin_test(const std::shared_ptr<probe_request>& request) {
  if (stopping) return request->on_done(fail(failure::cancelled, "the node stops"));
  if (running() >= connection_tests_at_once) return request->on_done(fail(failure::store_busy, "too many connection tests are running"));
  const auto epoch = ++epochs;
  auto& p = probes[epoch];
  p.request = request;
  p.timer = timers.after(self, request->until.left(self->clock().now()), [this, epoch] {
    auto* late = find(epoch);
    if (!late) return;
    if (late->answered) {
      probes.erase(epoch);   // the server did not confirm the logout
    } else {
      failed(epoch, late->current, {failure::timed_out, "no answer within the test's time", {}}, late->began + (self->clock().now() - late->began));
    }
  });
  const auto& auth = request->subject.auth;
  if (auth.type == auth_type::basic) {
    p.report.account = auth.username;
    connect(epoch, nullptr);
  } else {
    p.report.account = auth.account;
    p.current = "token";
    p.began = self->clock().now();
    ask_for_token(epoch);
  }
}

// ---- the token ----------------------------------------------------------------------------------------------------------------------

void prober_state::ask_for_token(std::uint64_t epoch) {
  const auto& subject = find(epoch)->request->subject;
  if (!subject.channel) return ask_endpoint(epoch);
  auto request = std::make_shared<token_request>();
  request->generation = subject.generation;
  request->then = {caf::weak_actor_ptr{self->ctrl()}, [this, epoch](result<access_token> token) {
                     // Not served here: an application's own token costs no grant anything and can be fetched anywhere.
                     if (!token && token.error().code == failure::not_found) return ask_endpoint(epoch);
                     on_token(epoch, std::move(token));
                   }};
  ask_token(subject.tenant, subject.channel, std::move(request));
}

void prober_state::ask_endpoint(std::uint64_t epoch) {
  const auto* p = find(epoch);
  if (!p || p->answered) return;
  const auto& subject = p->request->subject;
  if (subject.auth.grant != grant_kind::client_credentials) {
    // A refresh token may be good for one use only: whoever uses it must be able to keep its successor.
    const error why = subject.channel
                          ? error{failure::token_unavailable, "the channel is not served by this node, and only the node that serves it may renew its access; "
                                                              "enable the channel, or test again in a moment", {}}
                          : error{failure::token_unavailable, "save the channel first: its grant can only be used once it is stored", {}};
    return failed(epoch, "token", why, self->clock().now());
  }
  if (!subject.app) return failed(epoch, "token", {failure::app_misconfigured, "the channel's OAuth app does not exist", {}}, self->clock().now());
  const auto sent = self->clock().now();
  const auto until = deadline{std::min(p->request->until.at, sent + limits::token_deadline)};
  ask_token_endpoint(*env, *subject.app, subject.auth, subject.incoming.protocol, until, {},
                     [this, me = caf::weak_actor_ptr{self->ctrl()}, epoch, sent](token_answer a) {
                       resume(me, [this, epoch, sent, a = std::move(a)]() mutable {
                         const auto* still = find(epoch);
                         if (!still) return;
                         const auto& s = still->request->subject;
                         env->report->token_refresh(s.app->provider, a.reply.has_value(),
                                                    std::chrono::duration<double>(self->clock().now() - sent).count());
                         if (!a.reply) return on_token(epoch, fail(a.reply.error()));
                         if (auto ok = oauth2::check_granted(*s.app, s.incoming.protocol, s.auth.grant, *a.reply); !ok)
                           return on_token(epoch, fail(ok.error()));
                         on_token(epoch, access_token{std::move(a.reply->access_token), 0, a.reply->expires_at, s.auth.account,
                                                           std::move(a.reply->scopes)});
                       });
                     });
}

void prober_state::on_token(std::uint64_t epoch, result<access_token> token) {
  auto* p = find(epoch);
  if (!p || p->answered) return;
  const auto now = self->clock().now();
  if (!token) return failed(epoch, "token", token.error(), now);
  if (!token->account.empty()) p->report.account = token->account;
  p->token = test_step{"token", true, between(p->began, now), token_detail(*token, env->wall_now()), {}, {}};
  connect(epoch, &*token);
}

// ---- the session --------------------------------------------------------------------------------------------------------------------

void prober_state::connect(std::uint64_t epoch, const access_token* token) {
  auto& p = *find(epoch);
  const auto& subject = p.request->subject;
  session_plan plan;
  plan.epoch = epoch;
  plan.incoming = subject.incoming;
  plan.auth = subject.auth.type;
  if (token) {
    plan.access_token = token->value;
    plan.username = !subject.auth.mailbox.empty() ? subject.auth.mailbox : !subject.auth.account.empty() ? subject.auth.account : token->account;
    if (plan.username.empty()) plan.username = subject.address;   // as the fetcher does
  } else {
    plan.username = subject.auth.username;
    plan.password = subject.auth.password;
  }
  plan.writable = false;
  plan.allow_plaintext = env->options.allow_plaintext;
  plan.poll_interval = env->options.poll_interval;
  auto& reactor = *env->reactors[epoch % env->reactors.size()];
  p.current = "dns";
  p.began = reactor.now();
  p.session = open(*env, reactor, std::move(plan),
                   [this, me = caf::weak_actor_ptr{self->ctrl()}, &reactor](std::shared_ptr<session_report> what) {
                     // Stamped where it happened: a busy actor must not look like a slow server.
                     resume(me, [this, what = std::move(what), at = reactor.now()] { on_event(*what, at); });
                   });
}

void prober_state::on_event(const session_report& what, mono_time at) {
  auto* p = find(what.epoch);
  if (!p) return;
  if (const auto* ended = std::get_if<session_event::ended>(&what.event)) {
    if (!p->answered) return failed(what.epoch, position(ended->phase) < steps.size() ? ended->phase : p->current, ended->reason, at);
    timers.cancel(p->timer);
    probes.erase(what.epoch);
    return;
  }
  if (p->answered) return;
  if (const auto* progressed = std::get_if<session_event::progressed>(&what.event)) return passed(*p, progressed->step, progressed->detail, at);
  if (const auto* opened = std::get_if<session_event::opened>(&what.event)) return on_opened(*p, *opened, at);
  if (const auto* counted = std::get_if<session_event::counted>(&what.event)) return on_counted(what.epoch, *p, *counted, at);
}

void prober_state::on_opened(probe& p, const session_event::opened& e, mono_time at) {
  const auto& incoming = p.request->subject.incoming;
  if (p.report.steps.empty() || p.report.steps.back().step != "mailbox")
    passed(p, "mailbox", incoming.protocol == protocol_kind::imap ? fmt::format("{} is open", incoming.folder) : "the maildrop is open", at);
  p.report.messages = e.messages;
  p.session->count();
}

void prober_state::on_counted(std::uint64_t epoch, probe& p, const session_event::counted& e, mono_time at) {
  p.report.messages = e.messages;
  if (e.unseen) p.report.unseen = *e.unseen;
  passed(p, "count", e.unseen ? fmt::format("{} messages, {} of them unread", e.messages, *e.unseen) : fmt::format("{} messages", e.messages), at);
  p.report.ok = true;
  answer(p);
  timers.cancel(p.timer);
  p.timer = timers.after(self, limits::close_deadline + seconds(1), [this, epoch] { probes.erase(epoch); });
  p.session->close();
}

void prober_state::passed(probe& p, const std::string& step, std::string detail, mono_time at) {
  if (p.token && position(step) > position("token")) p.report.steps.push_back(*std::exchange(p.token, std::nullopt));
  p.report.steps.push_back(test_step{step, true, between(p.began, at), std::move(detail), {}, {}});
  p.began = at;
  const auto next = position(step) + 1;
  p.current = next < steps.size() ? steps[next] : "count";
  // Steps that this connection does not have are not the ones under way.
  if (p.current == "proxy" && !p.request->subject.incoming.proxy) p.current = "tls";
  if (p.current == "tls" && p.request->subject.incoming.tls != tls_mode::implicit) p.current = "greeting";
  if (p.current == "token") p.current = "greeting";
}

void prober_state::failed(std::uint64_t epoch, std::string_view step, const error& why, mono_time at) {
  auto* p = find(epoch);
  if (!p || p->answered) return;
  const std::string name(step);   // may be a field of what is erased below
  if (p->token && position(name) > position("token")) p->report.steps.push_back(*std::exchange(p->token, std::nullopt));
  p->report.steps.push_back(failed_step(name, why, between(p->began, at), p->request->subject.incoming.protocol));
  p->report.ok = false;
  answer(*p);
  timers.cancel(p->timer);
  probes.erase(epoch);   // aborts the session
}

void prober_state::answer(probe& p) {
  p.answered = true;
  p.request->on_done(p.report);
}

void prober_state::stop() {
  stopping = true;
  for (auto& [epoch, p] : probes)
    if (!p.answered) p.request->on_done(fail(failure::cancelled, "the node stops"));
  probes.clear();
  self->quit();
}

prober_actor::behavior_type prober(prober_actor::stateful_pointer<prober_state> self, const environment* env, session_opener open,
                                   token_asker ask_token) {
  auto& state = self->state;
  state.env = env;
  state.open = std::move(open);
  state.ask_token = std::move(ask_token);
  return {
      [](const continuation& rest) { rest.run(); },
      [&state](test_atom, const std::shared_ptr<probe_request>& request) { state.begin_test(request); },
      [&state](tick_atom, std::uint64_t timer) { state.timers.fire(timer); },
      [&state](stop_atom) { state.stop(); },
  };
}

}  // namespace mailherd::actors
