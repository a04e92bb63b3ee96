// api/routes: the table and its matching; see the header.
#include "api/routes.hpp"

#include "api/handlers.hpp"
#include "core/server_text.hpp"

namespace mailherd::api {

namespace {

using enum access;
constexpr auto none = body_rule::none;
constexpr auto object = body_rule::object;
constexpr auto optional = body_rule::optional;

const std::vector<route> table = {
    {verb::get, "/healthz", open, none, {}, handle::healthz},
    {verb::get, "/startupz", open, none, {}, handle::startupz},
    {verb::get, "/readyz", open, none, {}, handle::readyz},
    {verb::get, "/openapi.yaml", open, none, {}, handle::openapi},

    {verb::post, "/v1/session", open, object, {}, handle::sign_in},
    {verb::get, "/v1/session", own, none, {}, handle::get_session},
    {verb::del, "/v1/session", own, none, {}, handle::sign_out},
    {verb::get, "/v1/live", own, none, {}, handle::live},
    {verb::get, "/v1/overview", own, none, {}, handle::overview},

    {verb::get, "/oauth2/callback", open, none, {"state", "code", "error", "error_description", "iss"}, handle::oauth_callback, true},
    {verb::get, "/oauth2/link/{token}", open, none, {}, handle::look_at_link, true},
    {verb::post, "/oauth2/link/{token}", open, none, {}, handle::follow_link, true, true},

    {verb::post, "/v1/tenants", operators, object, {}, handle::create_tenant},
    {verb::get, "/v1/tenants", own, none, {"limit", "after"}, handle::list_tenants},
    {verb::get, "/v1/tenants/{tenant}", tenant, none, {}, handle::get_tenant},
    {verb::patch, "/v1/tenants/{tenant}", operators, object, {}, handle::edit_tenant},
    {verb::del, "/v1/tenants/{tenant}", operators, none, {}, handle::delete_tenant},

    {verb::post, "/v1/tenants/{tenant}/api-keys", tenant, object, {}, handle::create_key},
    {verb::get, "/v1/tenants/{tenant}/api-keys", tenant, none, {"limit", "after"}, handle::list_keys},
    {verb::del, "/v1/tenants/{tenant}/api-keys/{key}", tenant, none, {}, handle::delete_key},

    {verb::post, "/v1/tenants/{tenant}/oauth-apps", tenant, object, {}, handle::create_app},
    {verb::get, "/v1/tenants/{tenant}/oauth-apps", tenant, none, {"limit", "after"}, handle::list_apps},
    {verb::get, "/v1/tenants/{tenant}/oauth-apps/{app}", tenant, none, {}, handle::get_app},
    {verb::get, "/v1/tenants/{tenant}/oauth-apps/{app}/setup", tenant, none, {"mailbox"}, handle::app_setup},
    {verb::patch, "/v1/tenants/{tenant}/oauth-apps/{app}", tenant, object, {}, handle::edit_app},
    {verb::del, "/v1/tenants/{tenant}/oauth-apps/{app}", tenant, none, {}, handle::delete_app},

    {verb::post, "/v1/tenants/{tenant}/channels", tenant, object, {}, handle::create_channel},
    {verb::get, "/v1/tenants/{tenant}/channels", tenant, none, {"limit", "after", "state", "node", "q"}, handle::list_channels},
    {verb::get, "/v1/tenants/{tenant}/channels/{channel}", tenant, none, {}, handle::get_channel},
    {verb::patch, "/v1/tenants/{tenant}/channels/{channel}", tenant, object, {}, handle::edit_channel},
    {verb::del, "/v1/tenants/{tenant}/channels/{channel}", tenant, none, {}, handle::delete_channel},
    {verb::put, "/v1/tenants/{tenant}/channels/{channel}/auth", tenant, object, {}, handle::put_auth},
    {verb::post, "/v1/tenants/{tenant}/channels/{channel}/auth/rollback", tenant, none, {}, handle::roll_back_auth},
    {verb::post, "/v1/tenants/{tenant}/channels/{channel}/connect", tenant, optional, {}, handle::connect_channel, false, true},
    {verb::get, "/v1/tenants/{tenant}/channels/{channel}/connect", tenant, none, {}, handle::get_connect},
    {verb::post, "/v1/tenants/{tenant}/channels/{channel}/test", tenant, none, {}, handle::test_channel},
    {verb::post, "/v1/tenants/{tenant}/channels/{channel}/move", tenant, object, {}, handle::move_channel},
    {verb::get, "/v1/tenants/{tenant}/channels/{channel}/events", tenant, none, {"limit", "after"}, handle::list_events},
    {verb::get, "/v1/tenants/{tenant}/channels/{channel}/activity", tenant, none, {"span"}, handle::activity},
    {verb::post, "/v1/tenants/{tenant}/test-connection", tenant, object, {}, handle::test_connection},

    {verb::get, "/v1/tenants/{tenant}/messages", tenant, none, {"channel", "after", "since", "limit", "wait"}, handle::feed},
    {verb::get, "/v1/tenants/{tenant}/messages/stream", tenant, none, {"channel", "after", "since"}, handle::stream_feed},
    {verb::get, "/v1/tenants/{tenant}/messages/newest", tenant, none, {"channel", "after", "limit"}, handle::newest},
    {verb::get, "/v1/tenants/{tenant}/messages/{message}", tenant, none, {}, handle::get_message},
    {verb::get, "/v1/tenants/{tenant}/messages/{message}/html", tenant, none, {}, handle::get_html},
    {verb::get, "/v1/tenants/{tenant}/messages/{message}/raw", tenant, none, {}, handle::get_raw},
    {verb::get, "/v1/tenants/{tenant}/messages/{message}/attachments/{index}", tenant, none, {}, handle::get_attachment},

    {verb::post, "/v1/tenants/{tenant}/webhooks", tenant, object, {}, handle::create_webhook},
    {verb::get, "/v1/tenants/{tenant}/webhooks", tenant, none, {"limit", "after"}, handle::list_webhooks},
    {verb::get, "/v1/tenants/{tenant}/webhooks/{webhook}", tenant, none, {}, handle::get_webhook},
    {verb::patch, "/v1/tenants/{tenant}/webhooks/{webhook}", tenant, object, {}, handle::edit_webhook},
    {verb::del, "/v1/tenants/{tenant}/webhooks/{webhook}", tenant, none, {}, handle::delete_webhook},
    {verb::post, "/v1/tenants/{tenant}/webhooks/{webhook}/rotate-secret", tenant, object, {}, handle::rotate_webhook},
    {verb::post, "/v1/tenants/{tenant}/webhooks/{webhook}/replay", tenant, object, {}, handle::replay_webhook},
    {verb::post, "/v1/tenants/{tenant}/webhooks/{webhook}/test", tenant, none, {}, handle::test_webhook},
    {verb::get, "/v1/tenants/{tenant}/webhooks/{webhook}/deliveries", tenant, none, {"limit", "after", "state"}, handle::list_deliveries},
    {verb::post, "/v1/tenants/{tenant}/webhooks/{webhook}/deliveries/{delivery}/retry", tenant, none, {}, handle::retry_delivery},

    {verb::get, "/v1/cluster", operators, none, {}, handle::cluster},
    {verb::post, "/v1/cluster/nodes/{node}/drain", operators, none, {}, handle::drain},
};

}  // namespace

const std::vector<route>& routes() { return table; }

namespace {

// Takes one segment off the front: "/a/b" → "a", rest "/b".
std::string_view segment(std::string_view& path) {
  path.remove_prefix(1);
  const auto s = path.substr(0, path.find('/'));
  path.remove_prefix(s.size());
  return s;
}

bool match_path(std::string_view pattern, std::string_view path, std::vector<std::string>& args) {
  args.clear();
  while (!pattern.empty() && !path.empty() && path.front() == '/') {
    const auto want = segment(pattern);
    const auto have = segment(path);
    if (want.starts_with('{')) {
      auto value = percent_decode(have, false);
      if (!value || value->empty()) return false;
      args.push_back(std::move(*value));
    } else if (want != have) {
      return false;
    }
  }
  return pattern.empty() && path.empty();
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

route_match match_route(verb method, std::string_view path) {
  route_match m;
  std::vector<std::string> args;
  for (const auto& r : routes()) {
    if (!match_path(r.path, path, args)) continue;
    m.allow += (m.allow.empty() ? "" : ", ") + std::string(to_string(r.method)) + (r.method == verb::get ? ", HEAD" : "");
    if (r.method == method || (r.method == verb::get && method == verb::head)) {
      m.found = &r;
      m.args = std::move(args);
      return m;
    }
  }
  return m;
}

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_blank) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '+' && plus_is_blank ? ' ' : text[i];
    }
  }
  for (std::string_view rest = out; !rest.empty();) {
    const auto length = utf8_sequence(rest);
    if (length == 0) return std::nullopt;
    rest.remove_prefix(length);
  }
  return out;
}

}  // namespace mailherd::api
