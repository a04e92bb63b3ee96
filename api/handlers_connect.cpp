// api/handlers_connect: connecting a channel: beginning it, the browser's return, links, an app's setup, the way back to earlier credentials.
//
// Threads: as handlers.hpp. What the control answers may come on any thread.
#include <fmt/format.h>

#include <algorithm>

#include "api/handlers.hpp"
#include "api/model_json.hpp"
#include "api/pages.hpp"
#include "api/rules.hpp"
#include "api/service.hpp"
#include "api/tokens.hpp"
#include "core/advice.hpp"
#include "core/limits.hpp"

namespace mailherd::api::handle {

namespace {

/// Binds a consent to the browser in which it began. Not a session: it opens nothing.
constexpr std::string_view cookie_name = "mailherd_connect";
constexpr std::size_t cookie_characters = 43;  // 32 bytes in base64url

std::string present_cookie(const request& r) {
  auto rest = r.header("cookie");
  while (!rest.empty()) {
    auto pair = rest.substr(0, rest.find(';'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    while (!pair.empty() && pair.front() == ' ') pair.remove_prefix(1);
    if (!pair.starts_with(cookie_name) || pair.substr(cookie_name.size(), 1) != "=") continue;
    const auto value = pair.substr(cookie_name.size() + 1);
    const bool ours = value.size() == cookie_characters && std::all_of(value.begin(), value.end(), [](char c) {
                        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
                      });
    if (ours) return std::string(value);
  }
  return {};
}

std::optional<sha256_digest> browser_of(const request& r) {
  const auto cookie = present_cookie(r);
  return cookie.empty() ? std::nullopt : std::optional(digest_of(cookie));
}

/// The same browser may have several consents open: its cookie stays.
std::string cookie_for(const request& r) {
  auto value = present_cookie(r);
  return value.empty() ? random_nonce() : value;
}

std::string set_cookie(const service& s, const std::string& value) {
  const bool secure = s.base_url.starts_with("https://");
  // Lax: the browser comes back from another site, by a link.
  return fmt::format("{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{}", cookie_name, value, limits::consent_life.count(),
                     secure ? "; Secure" : "");
}

/// What the provider, or the app's registration there, said to us: not a defect of ours.
response connect_failed(service& s, const error& why) {
  switch (why.code) {
    case failure::app_misconfigured:
    case failure::admin_required:
    case failure::consent_required:
    case failure::account_blocked: {
      const auto words = explain(why.code);
      return problem(422, "app-misconfigured", "The OAuth app does not work", fmt::format("{} ({}) {}", words.cause, why.detail, words.next_step));
    }
    case failure::token_unavailable:
      return unavailable(fmt::format("The identity provider did not answer as it should: {}", why.detail), 5);
    case failure::store_busy:
      return unavailable(why.detail.empty() ? "Busy." : why.detail, 2);
    default:
      return s.failed(why);
  }
}

struct connect_input {
  actors::connect_request wanted;
  bool flow_named = false, bind_browser = false;
};

std::optional<std::string> own_path(const std::string& s) {
  const bool path = s.starts_with('/') && !s.starts_with("//") && s.size() <= 500 &&
                    std::all_of(s.begin(), s.end(), [](char c) { return c > 0x20 && c < 0x7F && c != '\\' && c != '"' && c != '<' && c != '>'; });
  return path ? std::nullopt : std::optional<std::string>("must be a path of this server, like /console/channels");
}

connect_input read_connect(const json& body, field_errors& errors) {
  object_reader in(body, "", errors);
  connect_input out;
  const auto flow_form = [](const std::string& s) -> std::optional<std::string> {
    return s == "browser" || s == "device" ? std::nullopt : std::optional<std::string>("must be one of: browser, device");
  };
  if (auto v = in.text("flow", flow_form)) {
    out.flow_named = true;
    out.wanted.flow = *v == "device" ? store::consent_flow::device : store::consent_flow::browser;
  }
  if (in.boolean("link").value_or(false)) {
    if (out.wanted.flow == store::consent_flow::device) in.wrong("link", "cannot be had with flow device");
    out.flow_named = true;
    out.wanted.flow = store::consent_flow::link;
  }
  if (auto v = in.integer("expires_in", limits::consent_link_life_min.count(), limits::consent_link_life_max.count())) {
    out.wanted.life = seconds(*v);
    if (out.wanted.flow != store::consent_flow::link) in.wrong("expires_in", "is for links only");
  }
  if (auto v = in.text("login_hint", rules::mail_address)) out.wanted.login_hint = *v;
  out.wanted.any_account = in.boolean("allow_other_account").value_or(false);
  out.bind_browser = in.boolean("bind_browser").value_or(false);
  if (out.bind_browser && out.wanted.flow != store::consent_flow::browser) in.wrong("bind_browser", "is for flow browser only");
  if (auto v = in.text("return_to", own_path)) out.wanted.return_to = *v;
  in.finish();
  return out;
}

std::string answer_of(const actors::connect_answer& a) {
  out_json j;
  switch (a.flow) {
    case store::consent_flow::device:
      j = {{"flow", "device"}, {"user_code", a.user_code}, {"verification_uri", a.verification_uri}};
      j["verification_uri_complete"] = a.verification_uri_complete.empty() ? out_json(nullptr) : out_json(a.verification_uri_complete);
      j["interval"] = a.interval.count();
      break;
    case store::consent_flow::link:
      j = {{"flow", "link"}, {"url", a.url}};
      break;
    case store::consent_flow::browser:
    case store::consent_flow::again:
      j = {{"flow", "browser"}, {"authorize_url", a.url}};
      break;
  }
  j["expires_at"] = rules::format_time(a.expires_at);
  return dump(j);
}

deadline soon() { return deadline::after(mono_clock::now(), limits::consent_deadline); }

}  // namespace

void connect_channel(service& s, const call& c) {
  const auto id = parse_id<channel_id>(c->args[1]);
  if (!id) return s.finish(c, not_found());
  field_errors errors;
  auto in = read_connect(c->body, errors);
  if (!errors.empty()) return s.finish(c, invalid_fields(errors.all()));
  std::string cookie;
  if (in.bind_browser) {
    cookie = cookie_for(c->req);
    in.wanted.browser = digest_of(cookie);
  }
  in.wanted.tenant = c->tenant;
  in.wanted.channel = *id;
  in.wanted.base_url = s.base_url;
  in.wanted.actor = c->actor;
  s.in_store_then(c, [&s, c, in, cookie](store::session& db) mutable -> std::optional<response> {
    const auto mine = db.admin.get_channel(c->who, c->tenant, in.wanted.channel);
    if (!mine) return s.failed(mine.error());
    if (!in.flow_named && mine->grant == grant_kind::device_code) in.wanted.flow = store::consent_flow::device;
    auto self = s.shared_from_this();
    s.control.connect(std::move(in.wanted), soon(), [self, c, cookie](result<actors::connect_answer> answer) {
      if (!answer) return self->finish(c, connect_failed(*self, answer.error()));
      auto r = json_answer(200, answer_of(*answer));
      if (!cookie.empty()) r.headers.emplace_back("Set-Cookie", set_cookie(*self, cookie));
      self->finish(c, std::move(r));
    });
    return std::nullopt;
  });
}

void get_connect(service& s, const call& c) {
  const auto id = parse_id<channel_id>(c->args[1]);
  if (!id) return s.finish(c, not_found());
  s.in_store(c, [&s, c, id = *id](store::session& db) -> response {
    auto last = db.admin.last_consent(c->who, c->tenant, id);
    if (!last) return s.failed(last.error());
    if (!*last) return not_found("Nobody has begun to connect this channel lately.");
    return json_answer(200, dump(to_json(**last)));
  });
}

void roll_back_auth(service& s, const call& c) {
  const auto id = parse_id<channel_id>(c->args[1]);
  if (!id) return s.finish(c, not_found());
  s.in_store(c, [&s, c, id = *id](store::session& db) -> response {
    auto generation = db.admin.roll_back(c->who, c->tenant, id, c->actor);
    if (!generation) return s.failed(generation.error());
    s.control.changed(c->tenant, id);
    return json_answer(202, dump({{"generation", *generation}}));
  });
}

void app_setup(service& s, const call& c) {
  const auto app = parse_id<app_id>(c->args[1]);
  if (!app) return s.finish(c, not_found());
  std::string mailbox;
  if (const auto given = c->query.find("mailbox"); given != c->query.end()) {
    mailbox = given->second;
    if (auto bad = rules::mail_address(mailbox)) return s.finish(c, invalid_request({{"mailbox", *bad}}));
  }
  s.in_store(c, [&s, c, app = *app, mailbox](store::session& db) -> response {
    const auto found = db.admin.get_app(c->who, c->tenant, app);
    if (!found) return s.failed(found.error());
    return json_answer(200, dump(to_json(s.control.setup_of(*found, s.base_url, mailbox))));
  });
}

// ---- browsers -----------------------------------------------------------------------------------------------------------------------------

void oauth_callback(service& s, const call& c) {
  const auto text = [&](const char* name) {
    const auto at = c->query.find(name);
    return at == c->query.end() ? std::string() : at->second;
  };
  actors::browser_return what;
  what.state = secret<>(text("state"));
  what.code = secret<>(text("code"));
  what.error = text("error");
  what.error_description = text("error_description");
  what.issuer = text("iss");
  what.browser = browser_of(c->req);
  // HEAD is somebody who looks: the one return is not his to take.
  if (what.state.empty() || c->req.method == verb::head) return s.finish(c, outcome_page({}));
  auto self = s.shared_from_this();
  s.control.come_back(std::move(what), soon(), [self, c](result<actors::consent_outcome> out) {
    if (out) return self->finish(c, outcome_page(*out));
    static_cast<void>(self->failed(out.error()));  // for the log
    self->finish(c, sorry_page(503, "Begin the sign-in again."));
  });
}

void look_at_link(service& s, const call& c) {
  auto self = s.shared_from_this();
  s.control.look_at_link(secret<>(c->args[0]),
                         [self, c](result<actors::link_view> view) { self->finish(c, view ? link_page(*view, c->args[0]) : sorry_page(503, "")); });
}

void follow_link(service& s, const call& c) {
  const auto cookie = cookie_for(c->req);
  auto self = s.shared_from_this();
  s.control.follow_link(secret<>(c->args[0]), s.base_url, digest_of(cookie), soon(), [self, c, cookie](result<actors::connect_answer> answer) {
    if (answer) {
      auto r = onward_page(answer->url);
      r.headers.emplace_back("Set-Cookie", set_cookie(*self, cookie));
      return self->finish(c, std::move(r));
    }
    actors::link_view view;
    if (answer.error().code == failure::not_found) return self->finish(c, link_page(view, ""));
    view.end = actors::consent_end::expired;
    if (answer.error().code == failure::conflict) return self->finish(c, link_page(view, ""));
    self->finish(c, sorry_page(503, explain(answer.error().code).cause));
  });
}

}  // namespace mailherd::api::handle
