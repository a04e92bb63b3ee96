#include "actors/token_refresher.hpp"

#include <caf/actor_cast.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "actors/grants.hpp"
#include "actors/timers.hpp"
#include "actors/token_exchange.hpp"
#include "core/backoff.hpp"

namespace mailherd::actors {

namespace {

using request_ptr = std::shared_ptr<token_request>;

constexpr seconds load_deadline{15};
/// Between reading the refresh token and using it: a node that slept longer reads again, it may have been fenced meanwhile.
constexpr seconds loaded_is_fresh{5};
/// Those who wait for a token whose rotation cannot be written are told so after this long; the writing goes on.
constexpr seconds rotation_patience{60};
constexpr seconds stop_patience{10};
/// Another node renews the same grant: how often is looked, and for how long altogether.
constexpr seconds hold_look{1};
constexpr seconds hold_patience = limits::token_hold + seconds(10);
/// Rounds of one refresh: the credential changed under it, or somebody else rotated.
constexpr unsigned rounds_at_most = 4;
/// Generations that matter: the serving one, its successor, and what they superseded a moment ago.
constexpr std::size_t slots_at_most = 4;
constexpr backoff_policy endpoint_backoff{seconds(1), seconds(300), 2.0, 0.5};
constexpr backoff_policy rotation_backoff{milliseconds(500), seconds(10), 2.0, 0.5};

struct token_refresher_state {
  static inline const char* name = "token_refresher";

  /// One generation of the credential.
  struct slot {
    std::optional<access_token> token;
    wall_time fresh_until{};
    std::optional<error> verdict;                ///< the last answer was no
    std::optional<mono_time> verdict_until;      ///< nullopt: until the credential changes
    unsigned failures = 0;                       ///< passing ones in a row
    std::vector<request_ptr> waiting;
  };

  /// The one refresh under way.
  struct run {
    std::int64_t generation = 0;
    unsigned rounds = 0;
    bool changed = false;                        ///< the credential changed under it: its answer may be about the old one
    bool asked = false;                          ///< the endpoint knows: a rotated token may be on its way
    bool held = false;                           ///< nobody else renews this grant
    mono_time began{}, first_began{};            ///< this round, the first one
    loaded_grant grant;
    std::optional<error> refusal;                ///< of `grant.who.refresh_token`, before it is believed
    std::optional<oauth2::token_reply> reply;    ///< whose refresh token is not durable yet
    unsigned writes = 0;
    mono_time writing_since{};
  };

  explicit token_refresher_state(token_refresher_actor::pointer me) : self(me) {}

  void ask(const request_ptr& request);
  void changed();
  void stop();

  token_refresher_actor::pointer self;
  const environment* env = nullptr;
  store::lease_guard guard;
  actors::timers timers;
  std::map<std::int64_t, slot> slots;
  std::optional<run> current;
  std::uint64_t serial = 0;
  client_proof proof;                          ///< what the provider accepted last
  std::int64_t holder = 0;                     ///< this actor's name towards other nodes
  bool releasing = false;
  bool stopping = false;

 private:
  void resolve(const request_ptr& request);
  void pump();
  void begin_round();
  void on_loaded(result<loaded_grant> loaded);
  void ask_for_app();
  void send();
  void on_answer(token_answer answer, mono_time sent);
  void rotate();
  void on_rotated(result<void> written);
  void after_conflict(const loaded_grant& now);
  void give();
  void refuse(error why);
  void done();
  [[nodiscard]] caf::strong_actor_ptr keep() const { return caf::strong_actor_ptr{self->ctrl()}; }
};

void token_refresher_state::ask(const request_ptr& request) {
  if (stopping) return request->then(fail(failure::cancelled, "the channel ends"));
  if (request->generation == 0) return resolve(request);
  while (slots.size() >= slots_at_most && !slots.contains(request->generation)) {
    const auto oldest = std::find_if(slots.begin(), slots.end(), [this](const auto& s) {
      return s.second.waiting.empty() && !(current && current->generation == s.first);
    });
    if (oldest == slots.end()) return request->then(fail(failure::token_unavailable, "too many credentials ask for tokens"));
    slots.erase(oldest);
  }
  auto& s = slots[request->generation];
  if (s.token && s.token->serial != request->refused && s.fresh_until > env->wall_now()) return request->then(*s.token);
  if (s.verdict && (!s.verdict_until || *s.verdict_until > self->clock().now())) return request->then(fail(*s.verdict));
  if (s.waiting.size() >= limits::token_waiting) return request->then(fail(failure::token_unavailable, "too many wait for a token"));
  s.waiting.push_back(request);
  pump();
}

/// Whoever does not know the generation wants the newest.
void token_refresher_state::resolve(const request_ptr& request) {
  ask_store<std::int64_t>(
      self, *env->store, deadline::after(self->clock().now(), load_deadline),
      [g = guard](store::session& s) -> result<std::int64_t> {
        auto loaded = s.mail.load_channel(g.tenant, g.channel);
        if (!loaded) return fail(loaded.error());
        return loaded->record.generation;
      },
      [this, request](result<std::int64_t> generation) {
        if (!generation) return request->then(fail(generation.error()));
        auto named = std::make_shared<token_request>(*request);
        named->generation = *generation;
        ask(named);
      },
      true);
}

void token_refresher_state::pump() {
  if (current || releasing) return;
  for (auto& [generation, s] : slots) {
    if (s.waiting.empty()) continue;
    current.emplace();
    current->generation = generation;
    current->first_began = self->clock().now();
    return begin_round();
  }
  if (stopping) self->quit();
}

/// Always from the row: another node, a consent or an administrator may have written since. And held before it is read: what is read and then used is
/// the newest, and used once.
void token_refresher_state::begin_round() {
  current->began = self->clock().now();
  current->changed = false;
  ++current->rounds;
  ask_store<loaded_grant>(
      self, *env->store, deadline::after(current->began, load_deadline),
      [g = guard, generation = current->generation, holder = holder, spent = current->reply.has_value()](store::session& s) -> result<loaded_grant> {
        const auto mine = spent ? result<bool>(true) : s.mail.hold_grant(g, holder, limits::token_hold);
        if (!mine) return fail(mine.error());
        if (!*mine) return fail(failure::store_busy, "the grant is being renewed on another node");
        return load_grant(s, g, generation);
      },
      [this](result<loaded_grant> loaded) { on_loaded(std::move(loaded)); }, true);
}

void token_refresher_state::on_loaded(result<loaded_grant> loaded) {
  const bool taken = !loaded && loaded.error().code == failure::store_busy;
  if (taken && !stopping && self->clock().now() - current->first_began < hold_patience) {
    --current->rounds;
    timers.after(self, hold_look, [this] { begin_round(); });
    return;
  }
  current->held = current->held || !taken;   // also after an error: it may have been done
  if (!loaded) return refuse(loaded.error());
  if (stopping && !current->reply) return refuse({failure::cancelled, "the channel ends", {}});
  if (current->reply) return after_conflict(*loaded);
  // Before anything is spent: a node that lost the lease must not rotate the new owner's token away.
  if (loaded->lease_epoch != guard.epoch) return refuse({failure::fenced, "another node serves this channel", {}});
  if (current->refusal && loaded->who.refresh_token == current->grant.who.refresh_token && !current->changed) return refuse(*current->refusal);
  if (current->rounds >= rounds_at_most) {
    return refuse(current->refusal.value_or(error{failure::token_unavailable, "the credential keeps changing", {}}));
  }
  if (self->clock().now() - current->began > loaded_is_fresh) return begin_round();
  current->refusal.reset();
  current->grant = std::move(*loaded);
  ask_for_app();
}

/// An app that its provider refuses is one incident: of all channels that sign in with it one asks again, and seldom.
void token_refresher_state::ask_for_app() {
  const auto& app = *current->grant.app;
  if (!app.blocked_since) return send();
  const auto blocked = [&](wall_time until) { return error{failure::app_misconfigured, app.blocked_detail, until}; };
  if (app.blocked_until) return refuse(blocked(*app.blocked_until));
  ask_store<bool>(
      self, *env->store, deadline::after(self->clock().now(), load_deadline),
      [tenant = app.tenant, id = app.id](store::session& s) { return s.mail.try_blocked_app(tenant, id, limits::token_blocked_retry); },
      [this, later = blocked(env->wall_now() + limits::token_blocked_retry)](result<bool> mine) {
        if (!mine || stopping) return refuse(mine ? error{failure::cancelled, "the channel ends", {}} : mine.error());
        *mine ? send() : refuse(later);
      },
      true);
}

void token_refresher_state::send() {
  current->asked = true;
  const auto sent = self->clock().now();
  // The answer holds the actor: a rotated token must not be lost because its channel ended.
  ask_token_endpoint(*env, *current->grant.app, current->grant.who, current->grant.protocol, deadline::after(sent, limits::token_deadline), proof,
                     [this, me = keep(), sent](token_answer answer) {
                       resume(caf::actor_cast<caf::weak_actor_ptr>(me), [this, sent, answer = std::move(answer)]() mutable { on_answer(std::move(answer), sent); });
                     });
}

void token_refresher_state::on_answer(token_answer answer, mono_time sent) {
  const auto& grant = current->grant;
  env->report->token_refresh(grant.app->provider, answer.reply.has_value(), std::chrono::duration<double>(self->clock().now() - sent).count());
  note_answer(*env, *grant.app, answer.reply ? std::nullopt : std::optional(answer.reply.error()), deadline::after(self->clock().now(), load_deadline));
  if (!answer.reply) {
    const bool about_grant = answer.reply.error().code == failure::consent_required && !grant.who.refresh_token.empty();
    if (!about_grant) {
      current->asked = false;
      return refuse(answer.reply.error());
    }
    // Believed only if the token that was refused still is the newest: somebody may have rotated or consented meanwhile.
    current->asked = false;
    current->refusal = answer.reply.error();
    return begin_round();
  }
  proof = answer.used;
  current->reply = std::move(*answer.reply);
  const auto& fresh = current->reply->refresh_token;
  if (grant.who.grant == grant_kind::client_credentials || !fresh || fresh->empty() || *fresh == grant.who.refresh_token) return give();
  current->writing_since = self->clock().now();
  rotate();
}

void token_refresher_state::rotate() {
  const auto& grant = current->grant;
  const auto account = grant.who.account.empty() ? current->reply->account_hint : grant.who.account;
  ask_store<void>(
      self, *env->store, deadline::after(self->clock().now(), load_deadline),
      [g = guard, generation = current->generation, used = grant.who.refresh_token, fresh = *current->reply->refresh_token,
       account](store::session& s) { return s.mail.rotate_refresh_token(g, generation, used, fresh, account); },
      [this, me = keep()](result<void> written) { on_rotated(std::move(written)); }, true);
}

void token_refresher_state::on_rotated(result<void> written) {
  if (written) return give();
  const auto& why = written.error();
  switch (why.code) {
    case failure::conflict: return begin_round();
    case failure::fenced:
    case failure::not_found:
      env->report->log(log_level::warning, "refresher lost a rotated token: the channel is served elsewhere or is gone",
                       {{"channel", to_string(guard.channel)}, {"reason", std::string(to_string(why.code))}});
      return refuse(why);
    default: break;
  }
  // Not durable: the access token is not used, the refresh token stays here until it can be written (invariant 3).
  const auto now = self->clock().now();
  if (current->writes == 0) {
    env->report->log(log_level::error, "refresher cannot make a rotated token durable and tries again",
                     {{"channel", to_string(guard.channel)}, {"reason", describe(why)}});
  }
  if (now - current->writing_since >= rotation_patience) {
    auto waiting = std::exchange(slots[current->generation].waiting, {});
    for (const auto& r : waiting) r->then(fail(failure::store_unavailable, "the renewed grant cannot be stored"));
  }
  timers.after(self, backoff_delay(rotation_backoff, current->writes++, env->random()), [this] { rotate(); });
}

/// Somebody else wrote first; or we did, and the answer was lost with its connection.
void token_refresher_state::after_conflict(const loaded_grant& now) {
  if (now.who.refresh_token == *current->reply->refresh_token) return give();
  env->report->log(log_level::info, "refresher found a newer grant than its own and uses that", {{"channel", to_string(guard.channel)}});
  current->reply.reset();
  if (current->rounds >= rounds_at_most || stopping) return refuse({failure::token_unavailable, "the credential keeps changing", {}});
  begin_round();
}

void token_refresher_state::give() {
  const auto& grant = current->grant;
  const auto& reply = *current->reply;
  if (current->changed && current->rounds < rounds_at_most && !stopping) {
    current->reply.reset();
    return begin_round();
  }
  if (auto granted = oauth2::check_granted(*grant.app, grant.protocol, grant.who.grant, reply); !granted) return refuse(granted.error());
  auto& s = slots[current->generation];
  const auto now = env->wall_now();
  access_token token;
  token.value = reply.access_token;
  token.serial = ++serial;
  token.expires_at = reply.expires_at;
  token.scopes = reply.scopes;
  token.account = grant.who.account.empty() ? reply.account_hint : grant.who.account;
  const duration life = reply.expires_at - now;
  s.fresh_until = reply.expires_at - std::chrono::duration_cast<std::chrono::microseconds>(std::min<duration>(limits::token_renew_ahead, life / 2));
  s.verdict.reset();
  s.failures = 0;
  s.token = token;
  auto waiting = std::exchange(s.waiting, {});
  for (const auto& r : waiting) r->then(token);
  done();
}

void token_refresher_state::refuse(error why) {
  // The answer may be about a credential that is no longer there.
  if (current->changed && current->rounds < rounds_at_most && !stopping && why.code != failure::fenced) return begin_round();
  auto& s = slots[current->generation];
  const auto hold = [&](duration wait) {
    s.verdict_until = self->clock().now() + wait;
    if (!why.retry_at) why.retry_at = env->wall_now() + std::chrono::duration_cast<std::chrono::microseconds>(wait);
    s.verdict = why;
  };
  switch (why.code) {
    case failure::consent_required:
    case failure::request_loop:
    case failure::fenced:
      s.verdict = why;
      s.verdict_until.reset();
      s.token.reset();
      break;
    case failure::app_misconfigured:
      // Held for all channels of the app alike, by its row.
      hold(why.retry_at ? std::max<duration>(seconds(1), *why.retry_at - env->wall_now()) : duration(limits::token_blocked_retry));
      break;
    case failure::admin_required:
    case failure::account_blocked: hold(limits::token_blocked_retry); break;
    case failure::token_unavailable:
      hold(why.retry_at ? std::max<duration>(duration::zero(), *why.retry_at - env->wall_now())
                        : backoff_delay(endpoint_backoff, s.failures, env->random()));
      ++s.failures;
      break;
    default: break;   // this side's trouble: nothing was learnt about the grant
  }
  auto waiting = std::exchange(s.waiting, {});
  for (const auto& r : waiting) r->then(fail(why));
  done();
}

void token_refresher_state::done() {
  const bool held = current->held;
  current.reset();
  if (!held) return pump();
  releasing = true;
  ask_store<void>(
      self, *env->store, deadline::after(self->clock().now(), load_deadline),
      [g = guard, holder = holder](store::session& s) { return s.mail.release_grant(g, holder); },
      [this, me = keep()](const result<void>&) {   // a lost one runs out by itself
        releasing = false;
        pump();
      },
      true);
}

void token_refresher_state::changed() {
  for (auto& [generation, s] : slots) {
    s.token.reset();
    s.verdict.reset();
    s.failures = 0;
  }
  if (current) current->changed = true;
}

void token_refresher_state::stop() {
  if (std::exchange(stopping, true)) return;
  for (auto& [generation, s] : slots) {
    for (const auto& r : std::exchange(s.waiting, {})) r->then(fail(failure::cancelled, "the channel ends"));
  }
  if (!current && !releasing) return self->quit();
  timers.after(self, limits::token_deadline + stop_patience, [this] {
    env->report->log(log_level::error, "refresher ends before a rotated token could be stored", {{"channel", to_string(guard.channel)}});
    self->quit();
  });
}

token_refresher_actor::behavior_type token_refresher(token_refresher_actor::stateful_pointer<token_refresher_state> self, const environment* env,
                                                     store::lease_guard guard) {
  auto& state = self->state;
  state.env = env;
  state.guard = guard;
  state.holder = static_cast<std::int64_t>(env->random() >> 1U);
  self->set_exit_handler([&state](const caf::exit_msg&) { state.stop(); });
  return {
      [](const continuation& rest) { rest.run(); },
      [&state](token_atom, const request_ptr& request) { state.ask(request); },
      [&state](changed_atom) { state.changed(); },
      [&state](tick_atom, std::uint64_t timer) { state.timers.fire(timer); },
      [&state](stop_atom) { state.stop(); },
  };
}

}  // namespace

token_refresher_actor spawn_token_refresher(caf::actor_system& system, const environment& env, store::lease_guard guard) {
  auto made = system.spawn(token_refresher, &env, guard);
  env.roster->add("token_refresher " + to_string(guard.channel), caf::actor_cast<caf::weak_actor_ptr>(made));
  return made;
}

}  // namespace mailherd::actors
