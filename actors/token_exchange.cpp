#include "actors/token_exchange.hpp"

#include <fmt/format.h>

#include <memory>
#include <string_view>
#include <utility>

namespace mailherd::actors {

namespace {

/// What must live until the answer.
struct exchange {
  const environment* env;
  oauth_app app;
  credential who;
  protocol_kind protocol;
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

std::string_view header(const net::http_reply& reply, std::string_view name) {
  for (const auto& [key, value] : reply.headers)
    if (key == name) return value;
  return {};
}

void ask(const std::shared_ptr<exchange>& x, oauth2::client_auth how) {
  auto built = oauth2::build_token_request(x->app, x->who, x->protocol, x->env->wall_now(), how);
  if (!built) return x->on_done({fail(std::move(built.error())), how});
  net::http_request request;
  request.method = "POST";
  request.url = std::move(built->url);
  request.headers = {{"Content-Type", std::move(built->content_type)}, {"Accept", "application/json"}};
  if (!built->authorization.empty()) request.headers.emplace_back("Authorization", built->authorization.reveal());
  request.body = std::move(built->body);
  request.max_reply_bytes = limits::token_reply_bytes;
  x->env->http->send(std::move(request), x->until, [x, how](result<net::http_reply> answer) {
    if (!answer) return x->on_done({fail(unreachable(answer.error())), how});
    auto reply = oauth2::parse_token_reply(x->app.provider, answer->status, header(*answer, "retry-after"), answer->body, x->env->wall_now(),
                                           x->who.grant);
    wipe(answer->body.data(), answer->body.size());   // it held tokens
    if (!reply && oauth2::wants_basic(x->app, how, answer->status, reply.error())) return ask(x, oauth2::client_auth::basic);
    x->on_done({std::move(reply), how});
  });
}

}  // namespace

void ask_token_endpoint(const environment& env, const oauth_app& app, const credential& who, protocol_kind protocol, deadline until,
                        oauth2::client_auth how, std::function<void(token_answer)> on_done) {
  ask(std::make_shared<exchange>(exchange{&env, app, who, protocol, until, std::move(on_done)}), how);
}

}  // namespace mailherd::actors
