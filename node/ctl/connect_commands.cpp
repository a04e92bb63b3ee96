// node/ctl/connect_commands: connecting a channel from a terminal, and what belongs to it.
#include <fmt/format.h>

#include <cstdio>
#include <thread>

#include "node/ctl/commands.hpp"
#include "node/ctl/output.hpp"

namespace mailherd::ctl {

namespace {

constexpr milliseconds look_again{1000};
constexpr seconds begin_timeout{60};

void say(const std::string& text) { std::printf("%s\n", clean_for_terminal(text).c_str()); }

/// Until the consent has ended, one way or the other.
int watch_consent(context& c, const std::string& path, seconds wait) {
  const auto until = mono_clock::now() + wait;
  while (true) {
    int exit = done;
    const auto now = call(c, "GET", path, std::nullopt, exit);
    if (!now) return exit;
    const auto state = text_of(*now, "state");
    if (state == "pending" && mono_clock::now() < until) {
      std::this_thread::sleep_for(look_again);
      continue;
    }
    if (c.json_output) print_json(*now);
    if (state == "done") {
      if (!c.json_output) say(text_of(*now, "account") + " is connected");
      return done;
    }
    if (state == "pending") return complain(failed, fmt::format("nobody has consented within {} s", wait.count()));
    return complain(failed, state == "expired" ? "the time for it is over: begin again" : text_of(*now, "detail"));
  }
}

void show_way(const json& answer) {
  const auto flow = text_of(answer, "flow");
  if (flow == "device") {
    say(fmt::format("Open {} and enter the code {}", text_of(answer, "verification_uri"), text_of(answer, "user_code")));
  } else if (flow == "link") {
    say(text_of(answer, "url"));
  } else {
    say(text_of(answer, "authorize_url"));
  }
}

}  // namespace

int connect_channel(context& c, const std::string& tenant, const std::string& channel, const connect_flags& f, std::optional<seconds> wait) {
  json body = json::object();
  if (f.device) body["flow"] = "device";
  if (f.link) body["link"] = true;
  if (!f.login_hint.empty()) body["login_hint"] = f.login_hint;
  if (f.any_account) body["allow_other_account"] = true;
  if (f.expires_in) body["expires_in"] = *f.expires_in;
  const auto path = "/v1/tenants/" + escape(tenant) + "/channels/" + escape(channel) + "/connect";
  int exit = done;
  const auto answer = call(c, "POST", path, body, exit, begin_timeout);
  if (!answer) return exit;
  // With --wait and --json the end is the object; the way there is for the person.
  if (c.json_output && !wait) return print_json(*answer), done;
  if (c.json_output)
    std::fprintf(stderr, "%s\n", clean_for_terminal(text_of(*answer, f.link ? "url" : f.device ? "user_code" : "authorize_url")).c_str());
  else
    show_way(*answer);
  std::fflush(stdout);
  return wait ? watch_consent(c, path, *wait) : done;
}

int roll_back(context& c, const std::string& tenant, const std::string& channel) {
  int exit = done;
  const auto answer = call(c, "POST", "/v1/tenants/" + escape(tenant) + "/channels/" + escape(channel) + "/auth/rollback", std::nullopt, exit);
  if (!answer) return exit;
  if (c.json_output) return print_json(*answer), done;
  say(fmt::format("generation {} is being brought up: the credentials that served before", text_of(*answer, "generation")));
  return done;
}

int show_setup(context& c, const std::string& tenant, const std::string& app, const std::string& mailbox) {
  int exit = done;
  const auto query = mailbox.empty() ? std::string() : "?mailbox=" + escape(mailbox);
  const auto steps = call(c, "GET", "/v1/tenants/" + escape(tenant) + "/oauth-apps/" + escape(app) + "/setup" + query, std::nullopt, exit);
  if (!steps) return exit;
  if (c.json_output) return print_json(*steps), done;
  say("redirect URI to register: " + text_of(*steps, "redirect_uri"));
  if (const auto url = text_of(*steps, "admin_consent_url"); url != "-") say("consent link for the directory administrator: " + url);
  for (const auto& note : (*steps)["notes"]) say("* " + note.get<std::string>());
  for (const auto& line : (*steps)["powershell"]) say("  " + line.get<std::string>());
  return done;
}

}  // namespace mailherd::ctl
