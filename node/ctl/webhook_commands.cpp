// node/ctl/webhook_commands: endpoints, what was delivered to them, and doing it again.
#include <fmt/format.h>

#include <cstdio>

#include "node/ctl/commands.hpp"
#include "node/ctl/output.hpp"

namespace mailherd::ctl {

namespace {

std::string base(const std::string& tenant) { return "/v1/tenants/" + escape(tenant) + "/webhooks"; }
std::string one(const std::string& tenant, const std::string& webhook) { return base(tenant) + "/" + escape(webhook); }

json body_of(const webhook_flags& f) {
  json body = json::object();
  if (f.url) body["url"] = *f.url;
  if (!f.events.empty()) body["events"] = f.events;
  if (!f.channels.empty()) body["channels"] = f.channels;
  if (f.body) body["body"] = *f.body;
  if (f.raw_bytes) body["raw_bytes"] = *f.raw_bytes;
  if (f.max_in_flight) body["max_in_flight"] = *f.max_in_flight;
  if (f.max_per_second) body["max_per_second"] = *f.max_per_second > 0 ? json(*f.max_per_second) : json(nullptr);
  if (f.enabled) body["enabled"] = *f.enabled;
  return body;
}

/// The id for people's eyes, the secret alone on standard output: a script can take it.
int show_secret(context& c, const std::optional<json>& made, int exit) {
  if (!made) return exit;
  if (c.json_output) return print_json(*made), done;
  std::fprintf(stderr, "The secret of %s is shown once and cannot be shown again:\n", text_of(*made, "id").c_str());
  std::printf("%s\n", clean_for_terminal(text_of(*made, "secret")).c_str());
  return done;
}

int say(context& c, const std::optional<json>& answer, int exit, const std::string& words) {
  if (!answer) return exit;
  if (c.json_output) return print_json(*answer), done;
  std::printf("%s\n", clean_for_terminal(words).c_str());
  return done;
}

}  // namespace

int list_webhooks(context& c, const std::string& tenant) {
  int exit = done;
  const auto list = call_list(c, base(tenant), 0, exit);
  if (!list) return exit;
  if (c.json_output) return print_json(*list), done;
  table t({"ID", "URL", "ENABLED", "CIRCUIT", "POSITION", "HEAD", "RETRYING", "DEAD"});
  for (const auto& w : (*list)["items"]) {
    const bool open = text_of(w, "circuit") == "open";
    t.add({{text_of(w, "id")},
           {text_of(w, "url")},
           {text_of(w, "enabled")},
           {text_of(w, "circuit"), open ? colour::bad : colour::good},
           {text_of(w, "position"), colour::none, true},
           {text_of(w, "head"), colour::none, true},
           {text_of(w, "retrying"), colour::none, true},
           {text_of(w, "dead"), colour::none, true}});
  }
  print_table(c, t);
  return done;
}

int create_webhook(context& c, const std::string& tenant, const webhook_flags& f) {
  int exit = done;
  const auto made = call(c, "POST", base(tenant), body_of(f), exit);
  return show_secret(c, made, exit);
}

int edit_webhook(context& c, const std::string& tenant, const std::string& webhook, const webhook_flags& f) {
  int exit = done;
  const auto changed = call(c, "PATCH", one(tenant, webhook), body_of(f), exit);
  return say(c, changed, exit, webhook + " changed");
}

int rotate_webhook(context& c, const std::string& tenant, const std::string& webhook) {
  int exit = done;
  const auto changed = call(c, "POST", one(tenant, webhook) + "/rotate-secret", json::object(), exit);
  return show_secret(c, changed, exit);
}

int replay_webhook(context& c, const std::string& tenant, const std::string& webhook, const std::string& after, const std::string& since) {
  json body = json::object();
  if (!after.empty()) body["after"] = after;
  if (!since.empty()) body["since"] = since;
  int exit = done;
  const auto answer = call(c, "POST", one(tenant, webhook) + "/replay", body, exit);
  return say(c, answer, exit, answer ? "delivers again what comes after " + text_of(*answer, "after") : "");
}

int test_webhook(context& c, const std::string& tenant, const std::string& webhook) {
  int exit = done;
  const auto answer = call(c, "POST", one(tenant, webhook) + "/test", std::nullopt, exit);
  return say(c, answer, exit, answer ? "sent as " + text_of(*answer, "delivery") + "; see: mailherd ctl webhooks deliveries " + tenant + " " + webhook : "");
}

int retry_delivery(context& c, const std::string& tenant, const std::string& webhook, const std::string& delivery) {
  int exit = done;
  const auto answer = call(c, "POST", one(tenant, webhook) + "/deliveries/" + escape(delivery) + "/retry", std::nullopt, exit);
  return say(c, answer, exit, delivery + " is delivered again");
}

int list_deliveries(context& c, const std::string& tenant, const std::string& webhook, const list_flags& f) {
  int exit = done;
  const auto filter = f.state.empty() ? std::string() : "?state=" + escape(f.state);
  const auto list = call_list(c, one(tenant, webhook) + "/deliveries" + filter, f.limit > 0 ? f.limit : 50, exit);
  if (!list) return exit;
  if (c.json_output) return print_json(*list), done;
  table t({"ID", "STATE", "TYPE", "WEBHOOK-ID", "ATTEMPTS", "AT", "STATUS", "MS", "ERROR"});
  for (const auto& d : (*list)["items"]) {
    const auto state = text_of(d, "state");
    t.add({{text_of(d, "id")},
           {state, state == "delivered" ? colour::good : state == "dead" ? colour::bad : colour::busy},
           {text_of(d, "type")},
           {text_of(d, "webhook_id")},
           {text_of(d, "attempts"), colour::none, true},
           {text_of(d, "at").substr(0, 19)},
           {text_of(d, "status"), colour::none, true},
           {text_of(d, "ms"), colour::none, true},
           {text_of(d, "error")}});
  }
  print_table(c, t);
  return done;
}

}  // namespace mailherd::ctl
