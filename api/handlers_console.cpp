// api/handlers_console: signing in and out, and what the console shows beside channels and the feed.
#include <fmt/format.h>

#include "api/handlers.hpp"
#include "api/json_input.hpp"
#include "api/model_json.hpp"
#include "api/rules.hpp"
#include "api/service.hpp"
#include "api/tokens.hpp"
#include "core/limits.hpp"

namespace mailherd::api::handle {

namespace {

response session_answer(const service& s, int status, const store::caller& who, wall_time expires_at) {
  out_json j{{"role", who.only ? "tenant" : "operator"}};
  j["tenant"] = who.only ? out_json(to_string(*who.only)) : out_json(nullptr);
  j["expires_at"] = rules::format_time(expires_at);
  j["public_url"] = s.base_url.empty() ? out_json(nullptr) : out_json(s.base_url);
  return json_answer(status, dump(j));
}

void open_session(service& s, const call& c, const store::console_session& session) {
  s.in_store(c, [&s, session](store::session& db) -> response {
    const auto cookie = random_nonce();
    auto until = db.admin.create_session(digest_of(cookie), session, limits::console_session_life);
    if (!until) return s.failed(until.error());
    auto r = session_answer(s, 201, session.who, *until);
    r.headers.emplace_back("Set-Cookie", sessions::set_cookie(cookie, s.is_secure(), limits::console_session_life));
    return r;
  });
}

response refused_sign_in() {
  return problem(401, "unauthorized", "Unauthorized", "This is neither an operator token nor an API key of this installation.");
}

struct slicing {
  seconds slice;
  std::size_t count;
};

std::optional<slicing> slicing_of(std::string_view span) {
  if (span == "hour") return slicing{seconds(60), 60};
  if (span.empty() || span == "day") return slicing{seconds(1'800), 48};
  if (span == "week") return slicing{seconds(3 * 3'600), 56};
  return std::nullopt;
}

}  // namespace

void sign_in(service& s, const call& c) {
  if (!sessions::from_console(c->req, s.base_url)) return s.finish(c, s.not_from_console());
  const auto now = mono_clock::now();
  if (const auto wait = s.attempts.wait(c->req.peer, now); wait > 0) {
    auto r = problem(429, "too-many-attempts", "Too many attempts", fmt::format("Too many wrong tokens; try again in {} minutes.", (wait + 59) / 60));
    r.headers.emplace_back("Retry-After", std::to_string(wait));
    return s.finish(c, std::move(r));
  }
  field_errors errors;
  object_reader in(c->body, "", errors);
  in.required("token");
  const auto token = in.hidden("token", rules::token);
  in.finish();
  if (!errors.empty() || !token) return s.finish(c, invalid_fields(errors.all()));
  if (const auto digest = s.operator_digest(*token)) return open_session(s, c, {{}, {}, *digest, {}});
  auto self = s.shared_from_this();
  s.in_store_then(c, [self, c, digest = digest_of(token->reveal()), now](store::session& db) -> std::optional<response> {
    auto owner = db.admin.find_api_key(digest);
    if (!owner) return self->failed(owner.error());
    self->loop->post([self, c, owner = *owner, now] {
      if (owner) return open_session(*self, c, {{owner->first}, owner->second, {}, {}});
      self->attempts.failed(c->req.peer, now);
      self->finish(c, refused_sign_in());
    });
    return std::nullopt;
  });
}

void get_session(service& s, const call& c) {
  if (!c->session) return s.finish(c, not_found("This request came with a token, not with a session."));
  s.finish(c, session_answer(s, 200, c->who, c->session->expires_at));
}

void sign_out(service& s, const call& c) {
  if (!c->session) return s.finish(c, not_found("This request came with a token, not with a session."));
  s.forget_keys();
  s.in_store(c, [&s, c](store::session& db) -> response {
    if (auto gone = db.admin.delete_session(c->session_digest); !gone) return s.failed(gone.error());
    s.forget_keys();  // who asked meanwhile
    auto r = no_content();
    r.headers.emplace_back("Set-Cookie", sessions::clear_cookie(s.is_secure()));
    return r;
  });
}

void live(service& s, const call& c) {
  auto body = s.news().follow(c->who.only);
  if (!body) return s.finish(c, unavailable("Too many clients follow this node's news.", 10));
  response r;
  r.headers = {
      {"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}, {"X-Accel-Buffering", "no"}};
  r.endless = true;
  r.stream = std::move(body);
  s.finish(c, std::move(r));
}

void overview(service& s, const call& c) {
  s.in_store(c, [&s, c](store::session& db) -> response {
    auto gauges = db.admin.gauges();
    if (!gauges) return s.failed(gauges.error());
    auto channels = db.admin.attention(c->who, limits::overview_channels);
    if (!channels) return s.failed(channels.error());
    out_json j;
    j["states"] = out_json::array();
    for (const auto& g : *gauges) {
      if (c->who.only && *c->who.only != g.tenant) continue;
      j["states"].push_back({{"tenant", to_string(g.tenant)},
                             {"state", to_string(g.state)},
                             {"channels", g.channels},
                             {"oldest_success_age_seconds", g.oldest_success_age_seconds}});
    }
    j["attention"] = out_json::array();
    for (const auto& channel : *channels) j["attention"].push_back(to_json(channel));
    return json_answer(200, dump(j));
  });
}

void activity(service& s, const call& c) {
  const auto id = parse_id<channel_id>(c->args[1]);
  if (!id) return s.finish(c, not_found());
  const auto span = c->query.find("span");
  const auto cut = slicing_of(span == c->query.end() ? std::string_view{} : std::string_view(span->second));
  if (!cut) return s.finish(c, invalid_request({{"span", "must be one of: hour, day, week"}}));
  s.in_store(c, [&s, c, id = *id, cut = *cut](store::session& db) -> response {
    auto found = db.admin.activity(c->who, c->tenant, id, cut.slice, cut.count);
    if (!found) return s.failed(found.error());
    out_json j{{"slice_seconds", cut.slice.count()}, {"slices", cut.count}};
    j["items"] = out_json::array();
    for (const auto& a : *found) j["items"].push_back({{"at", rules::format_time(a.at)}, {"messages", a.messages}, {"lag_seconds", a.lag_seconds}});
    return json_answer(200, dump(j));
  });
}

}  // namespace mailherd::api::handle
