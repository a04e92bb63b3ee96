#include "actors/consent/who_consented.hpp"

#include <memory>
#include <utility>

#include "actors/consent/discovery.hpp"

namespace mailherd::actors {

namespace {

using answer = std::function<void(result<std::optional<oauth2::id_claims>>)>;

struct question {
  std::shared_ptr<discovery> providers;
  oauth_app app;
  secret<> id_token;
  oauth2::id_expectation want;
  deadline until;
  answer then;
  bool by_token = false;  ///< the app does not name its issuer: the token does
};

void check(const std::shared_ptr<question>& q, const std::string& keys_url, bool newer) {
  q->providers->find_keys(keys_url, newer, q->until, [q, keys_url, newer](result<discovery::keys> keys) {
    if (!keys) return q->then(fail(std::move(keys.error())));
    auto claims = oauth2::check_id_token(q->id_token, **keys, q->want);
    if (claims) return q->then(std::optional(std::move(*claims)));
    if (claims.error().code == failure::not_found && !newer) return check(q, keys_url, true);  // providers change their keys
    claims.error().code = failure::invalid_input;
    q->then(fail(std::move(claims.error())));
  });
}

}  // namespace

void who_consented(const environment& env, const oauth_app& app, const secret<>& id_token, const std::string& nonce, deadline until, answer then) {
  const bool plain_oauth = app.provider == provider_kind::custom && app.issuer.empty();
  if (id_token.empty()) {
    if (plain_oauth) return then(std::optional<oauth2::id_claims>{});
    return then(fail(failure::app_misconfigured, "the provider did not say who signed in (no id_token): the app's scopes must allow openid"));
  }
  if (!env.providers) return then(fail(failure::internal, "nobody can ask providers for their keys"));
  auto q = std::make_shared<question>(question{env.providers, app, id_token, {{}, app.client_id, nonce, env.wall_now()}, until, std::move(then)});
  auto url = oauth2::metadata_url(app);
  if (!url) return q->then(fail(url.error()));
  oauth_app asked = app;
  if (url->empty()) {
    // Known by its endpoints only. The token says who made it; that is believed if the issuer says that its tokens come from this endpoint.
    asked.issuer = oauth2::claimed_issuer(id_token);
    if (oauth2::origin_of(asked.issuer).empty()) return q->then(fail(failure::invalid_input, "the id_token names no issuer"));
    asked.provider = provider_kind::custom;
    *url = oauth2::metadata_url_of(asked.issuer);
    q->by_token = true;
  }
  q->providers->find(asked, *url, until, [q](result<oauth2::metadata> facts) {
    if (!facts && facts.error().code == failure::not_found) {
      // Nobody can check what the token says: it is as if there were none. The mail server will say whether it was the right account.
      if (q->by_token) return q->then(std::optional<oauth2::id_claims>{});
      facts.error().code = failure::app_misconfigured;
    }
    if (!facts) return q->then(fail(std::move(facts.error())));
    if (q->by_token && !oauth2::speaks_for(*facts, q->app.token_url))
      return q->then(fail(failure::invalid_input, "the id_token's issuer does not know the app's token endpoint"));
    q->want.issuer = facts->issuer;
    check(q, facts->keys_url, false);
  });
}

}  // namespace mailherd::actors
