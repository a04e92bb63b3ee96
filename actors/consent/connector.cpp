#include "actors/consent/connector.hpp"

#include <utility>

#include "actors/consent/discovery.hpp"
#include "actors/consent/parts.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

namespace {

constexpr std::size_t token_bytes = 32;
constexpr std::size_t nonce_bytes = 16;

const char* const callback_path = "/oauth2/callback";
const char* const link_path = "/oauth2/link/";

}  // namespace

// ---- from the API -----------------------------------------------------------------------------------------------------------------------

void connector::connect(connect_request wanted, deadline until, std::function<void(result<connect_answer>)> on_done) {
  auto b = std::make_shared<beginning>();
  b->want = std::move(wanted);
  b->until = until;
  b->on_done = std::move(on_done);
  in_store<store::consent_subject>(
      until, [tenant = b->want.tenant, channel = b->want.channel](store::session& s) { return s.admin.consent_subject_of({}, tenant, channel); },
      [me = shared_from_this(), b](result<store::consent_subject> subject) {
        if (!subject) return b->on_done(fail(std::move(subject.error())));
        b->subject = std::move(*subject);
        me->begin(b);
      });
}

void connector::follow_link(secret<> token, const std::string& base_url, std::optional<sha256_digest> browser, deadline until,
                            std::function<void(result<connect_answer>)> on_done) {
  auto b = std::make_shared<beginning>();
  b->want.base_url = base_url;
  b->want.browser = browser;
  b->until = until;
  b->on_done = std::move(on_done);
  in_store<store::consent_subject>(
      until,
      [b, digest = digest_of(token)](store::session& s) -> result<store::consent_subject> {
        auto link = s.admin.find_consent(digest);
        if (!link) return fail(link.error());
        const bool is_link = link->flow == store::consent_flow::link || link->flow == store::consent_flow::again;
        if (!is_link) return fail(failure::not_found, "There is no such link.");
        if (auto followed = s.admin.follow_link(*link); !followed) return fail(followed.error());
        b->want.tenant = link->tenant;
        b->want.channel = link->channel;
        b->want.login_hint = link->login_hint;
        b->want.any_account = link->any_account;
        b->want.return_to = link->return_to;
        b->want.actor = link->actor;
        b->parent = std::move(*link);
        return s.admin.consent_subject_of({}, b->want.tenant, b->want.channel);
      },
      [me = shared_from_this(), b](result<store::consent_subject> subject) {
        if (!subject) return b->on_done(fail(std::move(subject.error())));
        b->subject = std::move(*subject);
        me->begin(b);
      });
}

// ---- the three ways ---------------------------------------------------------------------------------------------------------------------

void connector::begin(const std::shared_ptr<beginning>& b) {
  if (!env_.providers) return b->on_done(fail(failure::internal, "nobody can ask providers"));
  env_.providers->complete(b->subject.app, b->until, [me = shared_from_this(), b](result<oauth_app> app) {
    if (!app) return b->on_done(fail(std::move(app.error())));
    b->subject.app = std::move(*app);
    switch (b->want.flow) {
      case store::consent_flow::browser:
      case store::consent_flow::again:
        return me->begin_browser(b);
      case store::consent_flow::link:
        return me->begin_link(b);
      case store::consent_flow::device:
        return me->begin_device(b);
    }
  });
}

void connector::begin_browser(const std::shared_ptr<beginning>& b) {
  const auto& subject = b->subject;
  auto state = oauth2::unguessable(token_bytes), nonce = oauth2::unguessable(nonce_bytes);
  auto proof = oauth2::make_pkce();
  if (!state || !nonce || !proof) return b->on_done(fail(failure::internal, "no randomness"));
  store::consent c;
  c.flow = store::consent_flow::browser;
  c.redirect_uri = b->want.base_url + callback_path;
  c.nonce = *nonce;
  c.hidden = proof->verifier;
  c.expires_at = env_.wall_now() + limits::consent_life;
  if (b->parent) {
    c.other_account = b->parent->other_account;
    c.pick_account = b->parent->pick_account;
    c.link = b->parent->flow == store::consent_flow::link ? std::optional(b->parent->id) : b->parent->link;
  }
  oauth2::consent_request ask{c.redirect_uri, *state, proof->challenge, b->want.login_hint, c.nonce, c.pick_account};
  // A delegate's name is not the shared mailbox's: only what the caller names is a hint there.
  if (ask.login_hint.empty() && subject.newest.mailbox.empty())
    ask.login_hint = c.other_account.empty() ? subject.channel.spec.address : c.other_account;
  auto url = oauth2::consent_url(subject.app, subject.channel.spec.incoming.protocol, ask);
  if (!url) return b->on_done(fail(std::move(url.error())));
  connect_answer answer;
  answer.flow = c.flow;
  answer.url = std::move(*url);
  keep(b, std::move(c), secret<>(std::move(*state)), std::move(answer));
}

void connector::begin_link(const std::shared_ptr<beginning>& b) {
  // What would fail for its receiver fails here.
  if (auto tried = oauth2::consent_url(b->subject.app, b->subject.channel.spec.incoming.protocol, {"https://try.invalid", "s", "c", "", "n", false});
      !tried)
    return b->on_done(fail(std::move(tried.error())));
  auto token = oauth2::unguessable(token_bytes);
  if (!token) return b->on_done(fail(std::move(token.error())));
  store::consent c;
  c.flow = store::consent_flow::link;
  c.expires_at = env_.wall_now() + (b->want.life > seconds(0) ? b->want.life : limits::consent_link_life);
  connect_answer answer;
  answer.flow = c.flow;
  answer.url = b->want.base_url + link_path + *token;
  keep(b, std::move(c), secret<>(std::move(*token)), std::move(answer));
}

void connector::begin_device(const std::shared_ptr<beginning>& b) {
  if (devices_ >= limits::device_flows) return b->on_done(fail(failure::store_busy, "too many device codes are being waited for"));
  auto built = oauth2::build_device_request(b->subject.app, b->subject.channel.spec.incoming.protocol, env_.wall_now());
  if (!built) return b->on_done(fail(std::move(built.error())));
  post_form(env_, std::move(*built), b->until, [me = shared_from_this(), b](result<net::http_reply> reply) {
    if (!reply) return b->on_done(fail(std::move(reply.error())));
    auto code = oauth2::parse_device_reply(b->subject.app.provider, reply->status, retry_after_of(*reply), reply->body, me->env_.wall_now());
    wipe(reply->body.data(), reply->body.size());
    if (!code) return b->on_done(fail(std::move(code.error())));
    store::consent c;
    c.flow = store::consent_flow::device;
    c.hidden = code->device_code;
    c.user_code = code->user_code;
    c.verification_uri = code->verification_uri;
    c.interval = code->interval;
    c.expires_at = code->expires_at;
    connect_answer answer;
    answer.flow = c.flow;
    answer.user_code = code->user_code;
    answer.verification_uri = code->verification_uri;
    answer.verification_uri_complete = code->verification_uri_complete;
    answer.interval = code->interval;
    me->keep(b, std::move(c), {}, std::move(answer));
  });
}

/// Nothing is told to anybody before it is stored.
void connector::keep(const std::shared_ptr<beginning>& b, store::consent c, const secret<>& token, connect_answer answer) {
  c.tenant = b->want.tenant;
  c.channel = b->want.channel;
  // What was followed was offered for that credential.
  c.generation = b->parent ? b->parent->generation : b->subject.channel.generation;
  c.app = b->subject.app.id;
  c.browser = b->want.browser;
  c.login_hint = b->want.login_hint;
  c.any_account = b->want.any_account;
  c.return_to = b->want.return_to;
  c.actor = b->want.actor;
  answer.expires_at = c.expires_at;
  const auto digest = token.empty() ? std::nullopt : std::optional(digest_of(token));
  in_store<store::consent>(
      b->until, [c = std::move(c), digest](store::session& s) { return s.admin.add_consent(c, digest); },
      [me = shared_from_this(), b, answer = std::move(answer)](result<store::consent> kept) {
        if (!kept) return b->on_done(fail(std::move(kept.error())));
        if (kept->flow == store::consent_flow::device) me->watch(std::move(*kept), b->subject);
        b->on_done(answer);
      });
}

// ---- what is only looked at ---------------------------------------------------------------------------------------------------------------

void connector::look_at_link(secret<> token, std::function<void(result<link_view>)> on_done) {
  in_store<link_view>(
      deadline::after(now(), limits::api_job_deadline),
      [digest = digest_of(token)](store::session& s) -> result<link_view> {
        link_view v;
        auto link = s.admin.find_consent(digest);
        if (!link && link.error().code == failure::not_found) return v;
        if (!link) return fail(link.error());
        if (link->flow != store::consent_flow::link && link->flow != store::consent_flow::again) return v;
        auto subject = s.admin.consent_subject_of({}, link->tenant, link->channel);
        if (!subject) {
          v.end = consent_end::superseded;
          return v;
        }
        v.channel_name = subject->channel.spec.name;
        v.address = subject->channel.spec.address;
        v.mailbox = subject->newest.mailbox;
        v.app_name = subject->app.name;
        v.provider = subject->app.provider;
        const bool over = link->state == store::consent_state::expired, used = link->state == store::consent_state::done;
        v.end = over ? consent_end::expired : used ? consent_end::connected : consent_end::failed;
        if (!over && !used && (subject->channel.generation != link->generation)) v.end = consent_end::superseded;
        return v;
      },
      std::move(on_done));
}

app_setup connector::setup_of(const oauth_app& app, const std::string& base_url, const std::string& mailbox) const {
  app_setup out;
  out.redirect_uri = base_url + callback_path;
  auto steps = oauth2::setup_for(app, out.redirect_uri, mailbox);
  out.admin_consent_url = std::move(steps.consent_url);
  out.powershell = std::move(steps.powershell);
  out.notes = std::move(steps.notes);
  return out;
}

}  // namespace mailherd::actors
