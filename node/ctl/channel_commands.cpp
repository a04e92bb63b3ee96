// node/ctl/channel_commands: channels, their credentials and the wait for them.
#include <fmt/format.h>

#include <cstdio>
#include <thread>

#include "node/ctl/output.hpp"
#include "node/ctl/secrets.hpp"

namespace mailherd::ctl {

namespace {

constexpr milliseconds look_again{500};
constexpr seconds test_timeout{90};

std::string path_of(const std::string& tenant, const std::string& channel) {
  return "/v1/tenants/" + escape(tenant) + "/channels" + (channel.empty() ? "" : "/" + escape(channel));
}

result<json> auth_body(const auth_flags& f) {
  if (!f.username.empty() && !f.app.empty())
    return fail(failure::invalid_input, "--username is for a password, --app for OAuth2: give one of them");
  if (!f.username.empty()) {
    const auto password = read_secret(f.password, "password", "--password-file");
    if (!password) return fail(password.error());
    return json{{"type", "basic"}, {"username", f.username}, {"password", password->reveal()}};
  }
  json body = {{"type", "oauth2"}, {"app", f.app}, {"grant", f.grant.empty() ? "authorization_code" : f.grant}};
  if (!f.mailbox.empty()) body["mailbox"] = f.mailbox;
  if (!f.refresh_token.file.empty() || !f.refresh_token.plain.empty()) {
    const auto token = read_secret(f.refresh_token, "refresh token", "--refresh-token-file");
    if (!token) return fail(token.error());
    body["refresh_token"] = token->reveal();
  }
  return body;
}

// "socks5://[user@]host:port" or "none". A proxy's password is set through the API only.
result<json> proxy_body(const std::string& text) {
  if (text == "none") return json(nullptr);
  const auto scheme = text.find("://");
  const auto rest = scheme == std::string::npos ? std::string() : text.substr(scheme + 3);
  const auto at = rest.rfind('@');
  const auto place = at == std::string::npos ? rest : rest.substr(at + 1);
  const auto colon = place.rfind(':');
  const auto port = colon == std::string::npos ? std::string() : place.substr(colon + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos)
    return fail(failure::invalid_input, "--proxy must look like socks5://host:port or http://host:port, or be none");
  json body = {{"kind", text.substr(0, scheme)}, {"host", place.substr(0, colon)}, {"port", std::stoi(port)}};
  if (at != std::string::npos) body["username"] = rest.substr(0, at);
  return body;
}

result<json> spec_body(const channel_flags& f) {
  json body = json::object();
  const auto set = [](json& to, const char* name, const auto& value) {
    if (value) to[name] = *value;
  };
  set(body, "name", f.name);
  set(body, "address", f.address);
  set(body, "enabled", f.enabled);
  set(body, "start_from", f.start_from);
  set(body, "after_fetch", f.after_fetch);
  json incoming = json::object();
  set(incoming, "protocol", f.protocol);
  set(incoming, "host", f.host);
  set(incoming, "port", f.port);
  set(incoming, "tls", f.tls);
  set(incoming, "folder", f.folder);
  if (f.proxy) {
    auto proxy = proxy_body(*f.proxy);
    if (!proxy) return fail(proxy.error());
    incoming["proxy"] = std::move(*proxy);
  }
  if (!incoming.empty()) body["incoming"] = std::move(incoming);
  return body;
}

std::string progress_line(const json& channel) {
  auto line = fmt::format("{} is {}", text_of(channel, "id"), text_of(channel, "state"));
  if (channel.contains("backfill") && channel["backfill"].is_object()) {
    const auto total = channel["backfill"].value("total", std::int64_t{0}), handled = channel["backfill"].value("done", std::int64_t{0});
    if (total > 0) line += fmt::format(", {} of {} messages ({} %)", handled, total, handled * 100 / total);
  }
  return line;
}

bool needs_a_person(const std::string& state) {
  return state == "needs_reauth" || state == "needs_admin" || state == "app_blocked" || state == "consent_pending" || state == "disabled";
}

// Watches the channel until `over` says yes or no, or time is up. The last thing seen is printed.
int watch(context& c, const std::string& path, seconds wait, const std::function<std::optional<bool>(const json&)>& over) {
  const auto until = mono_clock::now() + wait;
  std::string shown;
  while (true) {
    int exit = done;
    const auto channel = call(c, "GET", path, std::nullopt, exit);
    if (!channel) return exit;
    const auto verdict = over(*channel);
    const bool late = mono_clock::now() >= until;
    if (auto line = progress_line(*channel); line != shown) {
      std::fprintf(stderr, c.progress ? "\r\033[K%s" : "%s\n", clean_for_terminal(line).c_str());
      shown = std::move(line);
    }
    if (!verdict && !late) {
      std::this_thread::sleep_for(look_again);
      continue;
    }
    if (c.progress) std::fputc('\n', stderr);
    if (c.json_output) print_json(*channel);
    if (verdict.value_or(false)) return done;
    const auto advice = text_of(*channel, "advice");
    const auto why = late && !verdict ? fmt::format("not done after {} s", wait.count()) : text_of(*channel, "state_detail");
    return complain(failed, advice == "-" ? why : fmt::format("{}: {}", why, advice));
  }
}

std::optional<bool> is_active(const json& channel) {
  const auto state = text_of(channel, "state");
  if (state == "active") return true;
  if (needs_a_person(state)) return false;
  return std::nullopt;
}

}  // namespace

int list_channels(context& c, const std::string& tenant, const list_flags& f) {
  std::string query;
  for (const auto& [name, value] : {std::pair{"state", &f.state}, {"node", &f.node}, {"q", &f.text}})
    if (!value->empty()) query += fmt::format("{}{}={}", query.empty() ? "?" : "&", name, escape(*value));
  int exit = done;
  const auto list = call_list(c, path_of(tenant, "") + query, f.limit, exit);
  if (!list) return exit;
  if (c.json_output) return print_json(*list), done;
  table t({"ID", "NAME", "ADDRESS", "STATE", "STORED", "LAST SUCCESS", "NODE", "ADVICE"});
  for (const auto& ch : (*list)["items"]) {
    const auto state = text_of(ch, "state");
    t.add({{text_of(ch, "id")},
           {text_of(ch, "name")},
           {text_of(ch, "address")},
           {state, colour_of_state(state)},
           {text_of(ch, "messages_stored"), colour::none, true},
           {text_of(ch, "last_success_at").substr(0, 19)},
           {text_of(ch, "node")},
           {text_of(ch, "advice")}});
  }
  print_table(c, t);
  return done;
}

int create_channel(context& c, const std::string& tenant, const channel_flags& f, std::optional<seconds> wait) {
  auto body = spec_body(f);
  if (!body) return complain(wrong_usage, body.error().detail);
  if (!f.auth.any()) return complain(wrong_usage, "how to sign in is missing: give --username, or --app");
  auto auth = auth_body(f.auth);
  if (!auth) return complain(wrong_usage, auth.error().detail);
  (*body)["auth"] = std::move(*auth);
  int exit = done;
  const auto made = call(c, "POST", path_of(tenant, ""), *body, exit);
  if (!made) return exit;
  const auto id = text_of(*made, "id");
  if (wait) return watch(c, path_of(tenant, id), *wait, is_active);
  if (c.json_output)
    print_json(*made);
  else
    std::printf("%s\n", id.c_str());
  return done;
}

int edit_channel(context& c, const std::string& tenant, const std::string& channel, const channel_flags& f, std::optional<seconds> wait) {
  const auto body = spec_body(f);
  if (!body) return complain(wrong_usage, body.error().detail);
  if (body->empty()) return complain(wrong_usage, "nothing to change: name at least one setting (--help lists them)");
  int exit = done;
  const auto changed = call(c, "PATCH", path_of(tenant, channel), *body, exit);
  if (!changed) return exit;
  if (wait) return watch(c, path_of(tenant, channel), *wait, is_active);
  if (c.json_output)
    print_json(*changed);
  else
    std::printf("%s changed\n", clean_for_terminal(channel).c_str());
  return done;
}

int switch_auth(context& c, const std::string& tenant, const std::string& channel, const auth_flags& f, std::optional<seconds> wait) {
  if (!f.any()) return complain(wrong_usage, "how to sign in is missing: give --username, or --app");
  const auto body = auth_body(f);
  if (!body) return complain(wrong_usage, body.error().detail);
  int exit = done;
  const auto answer = call(c, "PUT", path_of(tenant, channel) + "/auth", *body, exit);
  if (!answer) return exit;
  const auto generation = answer->value("generation", std::int64_t{0});
  if (wait) {
    return watch(c, path_of(tenant, channel), *wait, [generation](const json& ch) -> std::optional<bool> {
      if (ch["auth"].value("observed_generation", std::int64_t{0}) >= generation) return true;
      if (text_of(ch, "auth.switch.state") == "failed") return false;
      return std::nullopt;
    });
  }
  if (c.json_output)
    print_json(*answer);
  else
    std::printf("generation %lld is being brought up; the earlier credentials serve until it holds the mailbox\n",
                static_cast<long long>(generation));
  return done;
}

int move_channel(context& c, const std::string& tenant, const std::string& channel, const std::string& node, std::optional<seconds> wait) {
  int exit = done;
  const auto answer = call(c, "POST", path_of(tenant, channel) + "/move", json{{"node", node}}, exit);
  if (!answer) return exit;
  if (wait)
    return watch(c, path_of(tenant, channel), *wait,
                 [node](const json& ch) -> std::optional<bool> { return text_of(ch, "node") == node ? std::optional(true) : std::nullopt; });
  if (c.json_output)
    print_json(*answer);
  else
    std::printf("%s takes over %s when it holds the mailbox; until then it is served where it is\n", node.c_str(), channel.c_str());
  return done;
}

int test_channel(context& c, const std::string& tenant, const std::string& channel) {
  int exit = done;
  const auto report = call(c, "POST", path_of(tenant, channel) + "/test", std::nullopt, exit, test_timeout);
  if (!report) return exit;
  const bool ok = report->value("ok", false);
  if (c.json_output) return print_json(*report), ok ? done : failed;
  table t({"STEP", "RESULT", "MS", "DETAIL"});
  std::string advice;
  for (const auto& s : (*report)["steps"]) {
    const bool good = s.value("ok", false);
    t.add({{text_of(s, "step")},
           {good ? "ok" : "failed", good ? colour::good : colour::bad},
           {text_of(s, "ms"), colour::none, true},
           {text_of(s, "detail")}});
    if (!good && text_of(s, "advice") != "-") advice = text_of(s, "advice");
  }
  print_table(c, t);
  if (ok)
    std::printf("works; %s messages on the server\n", text_of(*report, "messages").c_str());
  else if (!advice.empty())
    std::printf("%s\n", clean_for_terminal(advice).c_str());
  return ok ? done : failed;
}

int list_events(context& c, const std::string& tenant, const std::string& channel, const list_flags& f) {
  int exit = done;
  const auto list = call_list(c, path_of(tenant, channel) + "/events", f.limit, exit);
  if (!list) return exit;
  if (c.json_output) return print_json(*list), done;
  table t({"AT", "KIND", "STATE", "REASON", "BY", "DETAIL"});
  for (const auto& e : (*list)["items"])
    t.add({{text_of(e, "at").substr(0, 19)},
           {text_of(e, "kind")},
           {text_of(e, "state"), colour_of_state(text_of(e, "state"))},
           {text_of(e, "reason")},
           {text_of(e, "actor")},
           {text_of(e, "detail")}});
  print_table(c, t);
  return done;
}

}  // namespace mailherd::ctl
