#include "actors/token_exchange.hpp"

#include <fmt/format.h>

#include <memory>
#include <string_view>
#include <utility>

#include "actors/consent/discovery.hpp"

namespace mailherd::actors {

namespace {

/// What must live until the answer.
struct exchange {
  const environment* env;
  token_question what;
  deadline until;
  std::function<void(token_answer)> on_done;
};

/// Not reaching the endpoint says nothing about the grant (invariant 5).
error unreachable(const error& why) {
  if (why.code == failure::target_refused || why.code == failure::invalid_input)
    return {failure::app_misconfigured, fmt::format("the token endpoint cannot be used: {}", describe(why)), {}};
  if (why.code == failure::cancelled) return why;
  return {failure::token_unavailable, fmt::format("the identity provider cannot be reached: {}", describe(why)), {}};
}

void ask(const std::shared_ptr<exchange>& x, client_proof with, unsigned secrets_tried) {
  auto& app = x->what.app;
  oauth_app shown = app;
  if (with.second_secret) shown.client_secret = app.next_secret;
  auto built = x->what.build(shown, with.how);
  if (!built) return x->on_done({fail(std::move(built.error())), with});
  post_form(*x->env, std::move(*built), x->until, [x, with, secrets_tried](result<net::http_reply> answer) {
    if (!answer) return x->on_done({fail(std::move(answer.error())), with});
    const auto& app = x->what.app;
    auto reply = oauth2::parse_token_reply(app.provider, answer->status, retry_after_of(*answer), answer->body, x->env->wall_now(), x->what.grant);
    wipe(answer->body.data(), answer->body.size());   // it held tokens
    if (!reply && oauth2::wants_basic(app, with.how, answer->status, reply.error()))
      return ask(x, {oauth2::client_auth::basic, with.second_secret}, secrets_tried);
    // While a secret is being replaced two of them are good, or only the other one already.
    const bool other_one = !reply && reply.error().code == failure::app_misconfigured && !app.next_secret.empty() && app.private_key.empty();
    if (other_one && secrets_tried == 1) return ask(x, {x->what.first.how, !with.second_secret}, 2);
    x->on_done({std::move(reply), with});
  });
}

}  // namespace

std::string_view retry_after_of(const net::http_reply& reply) {
  for (const auto& [key, value] : reply.headers)
    if (key == "retry-after") return value;
  return {};
}

void post_form(const environment& env, oauth2::token_request what, deadline until, std::function<void(result<net::http_reply>)> on_done) {
  net::http_request request;
  request.method = "POST";
  request.url = std::move(what.url);
  request.headers = {{"Content-Type", std::move(what.content_type)}, {"Accept", "application/json"}};
  if (!what.authorization.empty()) request.headers.emplace_back("Authorization", what.authorization.reveal());
  request.body = std::move(what.body);
  request.max_reply_bytes = limits::token_reply_bytes;
  env.http->send(std::move(request), until, [on_done = std::move(on_done)](result<net::http_reply> answer) {
    if (!answer) return on_done(fail(unreachable(answer.error())));
    on_done(std::move(answer));
  });
}

void ask_token_endpoint(const environment& env, token_question what, deadline until, std::function<void(token_answer)> on_done) {
  auto x = std::make_shared<exchange>(exchange{&env, std::move(what), until, std::move(on_done)});
  auto first = x->what.first;
  first.second_secret = first.second_secret && !x->what.app.next_secret.empty();
  const bool known = x->what.app.provider != provider_kind::custom || !x->what.app.token_url.empty() || !env.providers;
  if (known) return ask(x, first, 1);
  const auto app = x->what.app;
  env.providers->complete(app, until, [x, first](result<oauth_app> app) {
    if (!app) return x->on_done({fail(std::move(app.error())), first});
    x->what.app = std::move(*app);
    ask(x, first, 1);
  });
}

void ask_token_endpoint(const environment& env, const oauth_app& app, const credential& who, protocol_kind protocol, deadline until, client_proof first,
                        std::function<void(token_answer)> on_done) {
  const auto build = [&env, who, protocol](const oauth_app& with, oauth2::client_auth how) {
    return oauth2::build_token_request(with, who, protocol, env.wall_now(), how);
  };
  ask_token_endpoint(env, token_question{app, build, who.grant, first}, until, std::move(on_done));
}

}  // namespace mailherd::actors
