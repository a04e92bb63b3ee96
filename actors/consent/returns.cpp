// A browser comes back from the provider; or a device's person has finished. What was consented to, by whom, and what follows.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "actors/consent/connector.hpp"
#include "actors/consent/discovery.hpp"
#include "actors/consent/parts.hpp"
#include "actors/consent/who_consented.hpp"
#include "core/advice.hpp"
#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::actors {

namespace {

constexpr std::size_t token_bytes = 32;

bool may_lead_on(consent_end e) {
  switch (e) {
    case consent_end::wrong_account:
    case consent_end::declined:
    case consent_end::refused:
    case consent_end::failed:
    case consent_end::expired:
      return true;
    case consent_end::connected:
    case consent_end::used:
    case consent_end::unknown:
    case consent_end::other_browser:
    case consent_end::superseded:
      return false;
  }
  return false;
}

std::string_view without_slash(std::string_view url) {
  while (url.ends_with('/')) url.remove_suffix(1);
  return url;
}

}  // namespace

std::optional<std::string> right_account(const store::consent& c, const store::consent_subject& subject,
                                         const std::optional<oauth2::id_claims>& who) {
  auto names = who ? who->names : std::vector<std::string>{};
  // Some providers name people by nothing but their subject, and some of these by an address.
  if (names.empty() && who && who->subject.find('@') != std::string::npos) names.push_back(clean_server_text(who->subject));
  if (names.empty()) return std::string();
  if (c.any_account) return names.front();
  std::vector<std::string> right{c.other_account};
  if (subject.newest.mailbox.empty()) {
    right.push_back(subject.channel.spec.address);
    right.push_back(subject.newest.account);  // meant before, perhaps by an override
    if (subject.channel.spec.address.empty() && subject.newest.account.empty()) right.push_back(c.login_hint.empty() ? names.front() : c.login_hint);
  } else if (c.login_hint.empty() && c.other_account.empty()) {
    return names.front();  // a shared mailbox: who its delegate is nobody has said
  } else {
    right.push_back(c.login_hint);
  }
  for (const auto& name : names)
    if (std::any_of(right.begin(), right.end(), [&](const std::string& r) { return !r.empty() && equal_text(r, name); })) return name;
  return std::nullopt;
}

// ---- the return -------------------------------------------------------------------------------------------------------------------------

void connector::come_back(browser_return what, deadline until, std::function<void(result<consent_outcome>)> on_done) {
  auto l = std::make_shared<landing>();
  l->until = until;
  l->on_done = std::move(on_done);
  const auto digest = digest_of(what.state);
  in_store<store::consent>(
      until,
      [l, digest, browser = what.browser](store::session& s) -> result<store::consent> {
        auto found = s.admin.find_consent(digest);
        if (!found || found->flow != store::consent_flow::browser) return found ? fail(failure::not_found) : fail(found.error());
        auto c = std::move(*found);
        if (c.browser && c.browser != browser) {
          l->out.end = consent_end::other_browser;  // and the right one may still come
          return c;
        }
        l->out.end = c.state == store::consent_state::expired ? consent_end::expired : consent_end::used;
        if (c.taken || c.state != store::consent_state::pending || !s.admin.take_consent(c)) return c;
        auto subject = s.admin.consent_subject_of({}, c.tenant, c.channel);
        const bool same = subject && subject->channel.generation == c.generation && subject->app.id == c.app;
        l->out.end = same ? consent_end::connected : consent_end::superseded;
        if (same) l->subject = std::move(*subject);
        return c;
      },
      [me = shared_from_this(), l, what = std::move(what)](result<store::consent> c) {
        if (!c && c.error().code == failure::not_found) return l->on_done(l->out);
        if (!c) return l->on_done(fail(std::move(c.error())));
        l->c = std::move(*c);
        me->check_return(l, what);
      });
}

void connector::check_return(const std::shared_ptr<landing>& l, const browser_return& what) {
  l->out.tenant = l->c.tenant;
  l->out.channel = l->c.channel;
  if (l->out.end == consent_end::superseded) return end(l, consent_end::superseded, "the channel's sign-in was changed meanwhile");
  if (l->out.end != consent_end::connected) return end(l, l->out.end, "");
  const auto& spec = l->subject.channel.spec;
  l->out.channel_name = spec.name;
  l->out.address = spec.address;
  l->out.mailbox = l->subject.newest.mailbox;
  l->out.return_to = l->c.return_to;
  // RFC 9207: another provider's answer must not be taken to this one.
  const auto& issuer = l->subject.app.issuer;
  if (!what.issuer.empty() && !issuer.empty() && !issuer.ends_with("/.well-known/openid-configuration") &&
      without_slash(issuer) != without_slash(what.issuer))
    return end(l, consent_end::failed, "the answer is of another identity provider");
  if (!what.error.empty()) return read_provider_error(l, what);
  if (what.code.empty()) return end(l, consent_end::failed, "the identity provider sent no code");
  exchange_code(l, what.code);
}

void connector::read_provider_error(const std::shared_ptr<landing>& l, const browser_return& what) {
  const auto& e = what.error;
  if (e == "access_denied" || e == "consent_required" || e == "authorization_declined") return end(l, consent_end::declined, "consent was declined");
  // The provider's words came through the browser: anybody could have written them.
  end(l, consent_end::refused,
      fmt::format("the identity provider refused: {}", oauth2::words_for_error(l->subject.app.provider, e, what.error_description)));
}

void connector::exchange_code(const std::shared_ptr<landing>& l, const secret<>& code) {
  const auto build = [me = shared_from_this(), l, code](const oauth_app& app, oauth2::client_auth how) {
    l->subject.app.token_url = app.token_url;  // as its issuer names it
    return oauth2::build_code_request(app, l->subject.channel.spec.incoming.protocol, code, l->c.redirect_uri, l->c.hidden, me->env_.wall_now(), how);
  };
  ask_token_endpoint(env_, token_question{l->subject.app, build, grant_kind::authorization_code, {}}, l->until,
                     [me = shared_from_this(), l](token_answer answer) {
                       if (!answer.reply) return me->end_by(l, answer.reply.error());
                       me->take_grant(l, std::move(*answer.reply));
                     });
}

// ---- the grant --------------------------------------------------------------------------------------------------------------------------

void connector::take_grant(const std::shared_ptr<landing>& l, oauth2::token_reply reply) {
  const auto& subject = l->subject;
  if (auto granted = oauth2::check_granted(subject.app, subject.channel.spec.incoming.protocol, grant_kind::authorization_code, reply); !granted)
    return end(l, consent_end::failed, granted.error().detail + ": the person must tick all that is asked for");
  if (!reply.refresh_token || reply.refresh_token->empty())
    return end(l, consent_end::failed, "the provider gave no lasting access (refresh token): the app's scopes must allow offline_access");
  l->refresh_token = std::move(*reply.refresh_token);
  who_consented(env_, subject.app, reply.id_token, l->c.nonce, l->until, [me = shared_from_this(), l](result<std::optional<oauth2::id_claims>> who) {
    if (!who) return me->end_by(l, who.error());
    me->judge(l, *who);
  });
}

void connector::judge(const std::shared_ptr<landing>& l, const std::optional<oauth2::id_claims>& who) {
  const auto right = right_account(l->c, l->subject, who);
  if (right) return store_grant(l, *right);
  l->out.account = who->names.empty() ? clean_server_text(who->subject) : who->names.front();
  l->refresh_token = {};  // nothing of another account's grant is kept
  const auto& meant = l->subject.newest.mailbox.empty() ? l->subject.channel.spec.address : l->c.login_hint;
  end(l, consent_end::wrong_account, fmt::format("{} consented instead of {}; nothing was stored", l->out.account, meant));
}

void connector::store_grant(const std::shared_ptr<landing>& l, const std::string& account) {
  l->out.account = account;
  in_store<std::int64_t>(
      l->until, [l, account](store::session& s) { return s.admin.complete_consent(l->c, account, l->refresh_token); },
      [me = shared_from_this(), l](result<std::int64_t> generation) {
        l->refresh_token = {};
        if (!generation && generation.error().code == failure::conflict) return me->end(l, consent_end::superseded, generation.error().detail);
        if (!generation) return l->on_done(fail(std::move(generation.error())));
        me->env_.report->log(log_level::info, "connector stored a consent",
                             {{"channel", to_string(l->c.channel)}, {"generation", std::to_string(*generation)}});
        me->changed_(l->c.tenant, l->c.channel);
        l->out.end = consent_end::connected;
        l->on_done(l->out);
      });
}

// ---- other ends -------------------------------------------------------------------------------------------------------------------------

void connector::end_by(const std::shared_ptr<landing>& l, const error& why) {
  if (why.code == failure::cancelled) return l->on_done(fail(why));
  const auto words = explain(why.code);
  const bool ours = why.code == failure::invalid_input || why.code == failure::internal;
  end(l, consent_end::failed, ours || words.cause.empty() ? why.detail : fmt::format("{} ({})", words.cause, why.detail));
}

/// Noted in the channel's history; and what the person may do next is made ready.
void connector::end(const std::shared_ptr<landing>& l, consent_end how, std::string detail) {
  l->out.end = how;
  l->out.detail = detail;
  if (how == consent_end::used || how == consent_end::other_browser) return l->on_done(l->out);
  // Taken for one's own account by another person's link: that is for whoever sent the link to decide.
  const bool may_override = how == consent_end::wrong_account && !l->c.link;
  struct offer {
    std::string consent_outcome::*token;
    bool pick;
    std::string account;
  };
  std::vector<offer> offers;
  if (may_lead_on(how) && l->c.flow == store::consent_flow::browser) {
    if (how == consent_end::wrong_account) offers.push_back({&consent_outcome::pick, true, l->c.other_account});
    if (how != consent_end::wrong_account) offers.push_back({&consent_outcome::again, l->c.pick_account, l->c.other_account});
    if (may_override) offers.push_back({&consent_outcome::accept, false, l->out.account});
  }
  in_store<consent_outcome>(
      l->until,
      [l, offers, detail, until = env_.wall_now() + limits::consent_life](store::session& s) -> result<consent_outcome> {
        auto out = l->out;
        static_cast<void>(s.admin.fail_consent(l->c, out.account, detail.empty() ? "the time for it was over" : detail));
        for (const auto& o : offers) {
          auto token = oauth2::unguessable(token_bytes);
          store::consent c = l->c;
          c.flow = store::consent_flow::again;
          c.hidden = {};
          c.pick_account = o.pick;
          c.other_account = o.account;
          c.expires_at = until;
          if (token && s.admin.add_consent(c, digest_of(secret<>(*token)))) out.*o.token = *token;
        }
        return out;
      },
      [l](result<consent_outcome> out) { l->on_done(out ? std::move(*out) : l->out); });
}

}  // namespace mailherd::actors
