#include "actors/consent/discovery.hpp"

#include <fmt/format.h>

#include <utility>

#include "core/limits.hpp"

namespace mailherd::actors {

void discovery::fetch(const std::string& url, deadline until, std::function<void(result<document>)> then) {
  net::http_request request;
  request.url = url;
  request.headers = {{"Accept", "application/json"}};
  request.max_reply_bytes = limits::token_reply_bytes;
  http_.send(std::move(request), until, [me = shared_from_this(), url, then = std::move(then)](result<net::http_reply> answer) {
    if (!answer) {
      if (answer.error().code == failure::cancelled) return then(fail(std::move(answer.error())));
      const bool ours = answer.error().code == failure::target_refused || answer.error().code == failure::invalid_input;
      return then(fail(ours ? failure::app_misconfigured : failure::token_unavailable,
                       fmt::format("the identity provider's description of itself cannot be read: {}", describe(answer.error()))));
    }
    if (answer->status != 200)
      return then(fail(answer->status == 404 ? failure::not_found : failure::token_unavailable,
                       fmt::format("the identity provider's description of itself cannot be read: HTTP {}", answer->status)));
    document d{me->clock_.now(), std::move(answer->body), nullptr};
    {
      const std::lock_guard lock(me->mutex_);
      if (me->known_.size() >= limits::providers_remembered) me->known_.clear();
      me->known_[url] = d;
    }
    then(std::move(d));
  });
}

void discovery::find(const oauth_app& app, const std::string& url, deadline until, std::function<void(result<oauth2::metadata>)> then) {
  std::string body;
  {
    const std::lock_guard lock(mutex_);
    const auto at = known_.find(url);
    if (at != known_.end() && clock_.now() - at->second.asked < limits::provider_facts_life) body = at->second.body;
  }
  if (!body.empty()) return then(oauth2::parse_metadata(app, url, body));
  fetch(url, until, [app, url, then = std::move(then)](result<document> d) {
    if (!d) return then(fail(std::move(d.error())));
    then(oauth2::parse_metadata(app, url, d->body));
  });
}

void discovery::find_keys(const std::string& url, bool newer, deadline until, std::function<void(result<keys>)> then) {
  keys known;
  {
    const std::lock_guard lock(mutex_);
    const auto at = known_.find(url);
    const auto life = newer ? limits::provider_keys_pause : limits::provider_facts_life;
    if (at != known_.end() && clock_.now() - at->second.asked < life) known = at->second.keys;
  }
  if (known) return then(known);
  fetch(url, until, [me = shared_from_this(), url, then = std::move(then)](result<document> d) {
    if (!d) return then(fail(std::move(d.error())));
    auto read = oauth2::parse_keys(d->body);
    if (!read) return then(fail(std::move(read.error())));
    auto kept = std::make_shared<const std::vector<oauth2::signing_key>>(std::move(*read));
    {
      const std::lock_guard lock(me->mutex_);
      me->known_[url] = {d->asked, {}, kept};
    }
    then(std::move(kept));
  });
}

void discovery::complete(const oauth_app& app, deadline until, std::function<void(result<oauth_app>)> then) {
  const bool complete_already = app.provider != provider_kind::custom || app.issuer.empty() ||
                                (!app.token_url.empty() && !app.authorize_url.empty() && !app.device_url.empty());
  if (complete_already) return then(app);
  const auto url = oauth2::metadata_url(app);
  if (!url) return then(fail(url.error()));
  find(app, *url, until, [app, then = std::move(then)](result<oauth2::metadata> facts) {
    if (!facts && facts.error().code == failure::not_found) facts.error().code = failure::app_misconfigured;  // the issuer is not one
    if (!facts) return then(fail(std::move(facts.error())));
    then(oauth2::completed(app, *facts));
  });
}

}  // namespace mailherd::actors
