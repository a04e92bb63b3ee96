// node/ctl: the command line. Each word sets `chosen`; what it does is in the commands.
#include "node/ctl/ctl.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <functional>

#include "node/ctl/commands.hpp"
#include "node/ctl/output.hpp"

namespace mailherd::ctl {

namespace {

/// Everything the command line can say. One value, filled by CLI11, read by the chosen command.
struct words {
  std::string url, token;
  bool json = false;
  std::string tenant, channel, id, name, file, node, since;
  std::optional<std::int64_t> max_channels;
  std::int64_t wait_seconds = 300;
  bool wait = false, follow = false, disabled = false, enabled = false;
  list_flags list;
  connect_flags connect;
  webhook_flags hook;
  channel_flags settings;
  app_flags app;
  std::function<int(context&)> chosen;

  [[nodiscard]] std::optional<seconds> waiting() const { return wait ? std::optional(seconds(wait_seconds)) : std::nullopt; }
};

CLI::App* command(CLI::App& group, words& w, const char* name, const char* what, std::function<int(context&)> run) {
  auto* sub = group.add_subcommand(name, what);
  sub->callback([&w, run = std::move(run)] { w.chosen = run; });
  return sub;
}

CLI::App* group_of(CLI::App& top, const char* name, const char* what) {
  auto* group = top.add_subcommand(name, what);
  group->require_subcommand(1);
  return group;
}

void tenant_words(CLI::App& top, words& w) {
  auto* g = group_of(top, "tenants", "Customers and their limits");
  command(*g, w, "list", "All tenants", [&w](context& c) {
    return list_tenants(c, w.list);
  })->add_option("--limit", w.list.limit, "At most so many");
  auto* create = command(*g, w, "create", "Create a tenant", [&w](context& c) { return create_tenant(c, w.name, w.max_channels); });
  create->add_option("name", w.name, "Its name")->required();
  create->add_option("--max-channels", w.max_channels, "Channels it may have");
  command(*g, w, "show", "One tenant", [&w](context& c) { return show(c, "/v1/tenants/" + escape(w.tenant)); })
      ->add_option("tenant", w.tenant)
      ->required();
  command(*g, w, "delete", "Delete a tenant and all it has",
          [&w](context& c) { return remove(c, "/v1/tenants/" + escape(w.tenant), w.tenant); })
      ->add_option("tenant", w.tenant)
      ->required();
}

void key_words(CLI::App& top, words& w) {
  auto* g = group_of(top, "keys", "A tenant's API keys");
  command(*g, w, "list", "Keys, without the keys themselves", [&w](context& c) { return list_keys(c, w.tenant); })
      ->add_option("tenant", w.tenant)
      ->required();
  auto* create = command(*g, w, "create", "Create a key; it is printed once", [&w](context& c) { return create_key(c, w.tenant, w.name); });
  create->add_option("tenant", w.tenant)->required();
  create->add_option("name", w.name, "What it is for")->required();
  auto* gone = command(*g, w, "delete", "Revoke a key",
                       [&w](context& c) { return remove(c, "/v1/tenants/" + escape(w.tenant) + "/api-keys/" + escape(w.id), w.id); });
  gone->add_option("tenant", w.tenant)->required();
  gone->add_option("key", w.id)->required();
}

void app_words(CLI::App& top, words& w) {
  auto* g = group_of(top, "apps", "A tenant's OAuth2 app registrations");
  command(*g, w, "list", "Apps", [&w](context& c) { return list_apps(c, w.tenant); })->add_option("tenant", w.tenant)->required();
  auto* create = command(*g, w, "create", "Register an app", [&w](context& c) { return create_app(c, w.tenant, w.app); });
  create->add_option("tenant", w.tenant)->required();
  create->add_option("--name", w.app.name)->required();
  create->add_option("--provider", w.app.provider, "microsoft, google or custom")->required();
  create->add_option("--client-id", w.app.client_id)->required();
  create->add_option("--client-secret-file", w.app.client_secret.file,
                     "File with the secret; - for standard input; without it there is a prompt");
  create->add_option("--client-secret", w.app.client_secret.plain, "The secret itself: visible to others on this machine");
  create->add_option("--private-key-file", w.app.private_key_file, "PEM; instead of a secret");
  create->add_option("--certificate-file", w.app.certificate_file, "PEM; belongs to the private key");
  create->add_option("--authority", w.app.authority);
  create->add_option("--authorize-url", w.app.authorize_url);
  create->add_option("--token-url", w.app.token_url);
  create->add_option("--device-url", w.app.device_url);
  create->add_option("--issuer", w.app.issuer, "OpenID provider: its endpoints are found by themselves");
  create->add_option("--scope", w.app.scopes, "May be given several times");
  const auto one = [&w] { return "/v1/tenants/" + escape(w.tenant) + "/oauth-apps/" + escape(w.id); };
  for (auto* sub : {command(*g, w, "show", "One app", [one](context& c) { return show(c, one()); }),
                    command(*g, w, "setup", "What administrators do by hand before the app may sign in by itself",
                            [&w](context& c) { return show_setup(c, w.tenant, w.id, w.settings.auth.mailbox); }),
                    command(*g, w, "delete", "Delete an app", [one, &w](context& c) { return remove(c, one(), w.id); })}) {
    sub->add_option("tenant", w.tenant)->required();
    sub->add_option("app", w.id)->required();
    if (sub->get_name() == "setup") sub->add_option("--mailbox", w.settings.auth.mailbox, "For the mail administrator's lines");
  }
}

void auth_options(CLI::App& sub, auth_flags& f) {
  sub.add_option("--username", f.username, "Sign in by password");
  sub.add_option("--password-file", f.password.file, "File with the password; - for standard input; without it there is a prompt");
  sub.add_option("--password", f.password.plain, "The password itself: visible to others on this machine");
  sub.add_option("--app", f.app, "Sign in by OAuth2 with this app (a3)");
  sub.add_option("--grant", f.grant, "authorization_code, client_credentials or device_code");
  sub.add_option("--mailbox", f.mailbox, "Shared mailbox to open");
  sub.add_option("--refresh-token-file", f.refresh_token.file, "A grant obtained elsewhere, taken over");
}

void setting_options(CLI::App& sub, channel_flags& f) {
  sub.add_option("--name", f.name);
  sub.add_option("--address", f.address);
  sub.add_option("--protocol", f.protocol, "imap or pop3");
  sub.add_option("--host", f.host);
  sub.add_option("--port", f.port);
  sub.add_option("--tls", f.tls, "implicit, starttls or none");
  sub.add_option("--folder", f.folder);
  sub.add_option("--proxy", f.proxy, "socks5://host:port, http://host:port or none");
  sub.add_option("--start-from", f.start_from, "now, all or a time like 2026-01-31T00:00:00Z");
  sub.add_option("--after-fetch", f.after_fetch, "keep, seen or delete");
}

void wait_options(CLI::App& sub, words& w) {
  sub.add_flag("--wait", w.wait, "Wait until it serves, showing progress");
  sub.add_option("--timeout", w.wait_seconds, "Seconds to wait")->check(CLI::Range(1, 86400));
}

void channel_words(CLI::App& top, words& w) {
  auto* g = group_of(top, "channels", "Mailboxes that are watched");
  g->alias("channel");
  auto* list = command(*g, w, "list", "Channels of a tenant", [&w](context& c) { return list_channels(c, w.tenant, w.list); });
  list->add_option("tenant", w.tenant)->required();
  list->add_option("--state", w.list.state);
  list->add_option("--node", w.list.node);
  list->add_option("--q", w.list.text, "Part of name, address or account");
  list->add_option("--limit", w.list.limit, "At most so many");

  auto* create = command(*g, w, "create", "Create a channel", [&w](context& c) {
    if (w.disabled) w.settings.enabled = false;
    return create_channel(c, w.tenant, w.settings, w.waiting());
  });
  create->add_option("tenant", w.tenant)->required();
  setting_options(*create, w.settings);
  auth_options(*create, w.settings.auth);
  create->add_flag("--disabled", w.disabled, "Do not begin to fetch yet");
  wait_options(*create, w);

  auto* edit = command(*g, w, "edit", "Change settings; what is not named stays", [&w](context& c) {
    if (w.disabled || w.enabled) w.settings.enabled = w.enabled;
    return edit_channel(c, w.tenant, w.channel, w.settings, w.waiting());
  });
  auto* auth = command(*g, w, "auth", "Switch credentials; the earlier ones serve until the new ones hold the mailbox",
                       [&w](context& c) { return switch_auth(c, w.tenant, w.channel, w.settings.auth, w.waiting()); });
  auto* connect = command(*g, w, "connect", "Begin a person's consent: prints the address to open",
                          [&w](context& c) { return connect_channel(c, w.tenant, w.channel, w.connect, w.waiting()); });
  auto* back = command(*g, w, "rollback", "Back to the credentials that served before",
                       [&w](context& c) { return roll_back(c, w.tenant, w.channel); });
  const auto one = [&w] { return "/v1/tenants/" + escape(w.tenant) + "/channels/" + escape(w.channel); };
  auto* shown = command(*g, w, "show", "One channel", [one](context& c) { return show(c, one()); });
  auto* gone = command(*g, w, "delete", "Delete a channel", [one, &w](context& c) { return remove(c, one(), w.channel); });
  auto* test =
      command(*g, w, "test", "Try the connection without disturbing it", [&w](context& c) { return test_channel(c, w.tenant, w.channel); });
  auto* move = command(*g, w, "move", "Hand it over to another node",
                       [&w](context& c) { return move_channel(c, w.tenant, w.channel, w.node, w.waiting()); });
  auto* events = command(*g, w, "events", "What happened to it, newest first",
                         [&w](context& c) { return list_events(c, w.tenant, w.channel, w.list); });
  for (auto* sub : {edit, auth, connect, back, shown, gone, test, move, events}) {
    sub->add_option("tenant", w.tenant)->required();
    sub->add_option("channel", w.channel)->required();
  }
  setting_options(*edit, w.settings);
  auto* on = edit->add_flag("--enabled", w.enabled, "Fetch again");
  edit->add_flag("--disabled", w.disabled, "Stop fetching")->excludes(on);
  wait_options(*edit, w);
  auth_options(*auth, w.settings.auth);
  wait_options(*auth, w);
  auto* device = connect->add_flag("--device", w.connect.device, "A code to enter on another device");
  auto* link = connect->add_flag("--link", w.connect.link, "A link to send to the mailbox's owner; works once")->excludes(device);
  connect->add_option("--expires-in", w.connect.expires_in, "Seconds the link is good for")->needs(link);
  connect->add_option("--login-hint", w.connect.login_hint, "Account to preselect; without it the channel's address");
  connect->add_flag("--allow-other-account", w.connect.any_account, "Whoever consents is meant");
  connect->add_flag("--wait", w.wait, "Wait until the person has consented");
  connect->add_option("--timeout", w.wait_seconds, "Seconds to wait")->check(CLI::Range(1, 86400));
  move->add_option("node", w.node)->required();
  wait_options(*move, w);
  events->add_option("--limit", w.list.limit, "At most so many");
}

void message_words(CLI::App& top, words& w) {
  auto* g = group_of(top, "messages", "Mail that has arrived");
  auto* list = command(*g, w, "list", "The feed; with --json one object a line",
                       [&w](context& c) { return list_messages(c, w.tenant, w.list, w.follow); });
  list->add_option("tenant", w.tenant)->required();
  list->add_option("--channel", w.list.channel);
  list->add_option("--after", w.list.after, "Go on from this cursor");
  list->add_option("--limit", w.list.limit, "At most so many");
  list->add_flag("--follow", w.follow, "Wait for more, until interrupted");
  auto* shown = command(*g, w, "show", "One message", [&w](context& c) { return show_message(c, w.tenant, w.id); });
  auto* raw = command(*g, w, "raw", "The message as received", [&w](context& c) { return raw_message(c, w.tenant, w.id, w.file); });
  for (auto* sub : {shown, raw}) {
    sub->add_option("tenant", w.tenant)->required();
    sub->add_option("message", w.id)->required();
  }
  raw->add_option("-o,--output", w.file, "File to write; without it standard output");
}

void tail_words(CLI::App& top, words& w) {
  auto* tail_sub = command(top, w, "tail", "Follow a tenant's feed; with --json one object a line",
                           [&w](context& c) { return tail(c, w.tenant, w.list, w.since); });
  tail_sub->add_option("tenant", w.tenant)->required();
  tail_sub->add_option("--channel", w.list.channel);
  tail_sub->add_option("--after", w.list.after, "Go on from this cursor; 0: everything. Without it: what comes from now on");
  tail_sub->add_option("--since", w.since, "Begin with what arrived since this time");
  tail_sub->add_option("--limit", w.list.limit, "End after so many");
}

void webhook_words(CLI::App& top, words& w) {
  auto* g = group_of(top, "webhooks", "Endpoints that mail is delivered to");
  auto* list = command(*g, w, "list", "Endpoints and how far they are", [&w](context& c) { return list_webhooks(c, w.tenant); });
  auto* create = command(*g, w, "create", "Register an endpoint; its secret is printed once", [&w](context& c) { return create_webhook(c, w.tenant, w.hook); });
  auto* edit = command(*g, w, "edit", "Change it; what is not named stays", [&w](context& c) {
    if (w.disabled || w.enabled) w.hook.enabled = w.enabled;
    return edit_webhook(c, w.tenant, w.id, w.hook);
  });
  const auto one = [&w] { return "/v1/tenants/" + escape(w.tenant) + "/webhooks/" + escape(w.id); };
  auto* shown = command(*g, w, "show", "One endpoint", [one](context& c) { return show(c, one()); });
  auto* gone = command(*g, w, "delete", "Remove an endpoint", [one, &w](context& c) { return remove(c, one(), w.id); });
  auto* rotate = command(*g, w, "rotate-secret", "A new secret; the earlier one is valid for another day", [&w](context& c) { return rotate_webhook(c, w.tenant, w.id); });
  auto* replay = command(*g, w, "replay", "Deliver again", [&w](context& c) { return replay_webhook(c, w.tenant, w.id, w.list.after, w.since); });
  auto* test = command(*g, w, "test", "Send a test event", [&w](context& c) { return test_webhook(c, w.tenant, w.id); });
  auto* deliveries = command(*g, w, "deliveries", "The latest attempts, and what was given up", [&w](context& c) { return list_deliveries(c, w.tenant, w.id, w.list); });
  auto* retry = command(*g, w, "retry", "Deliver once more what was given up", [&w](context& c) { return retry_delivery(c, w.tenant, w.id, w.node); });
  for (auto* sub : {list, create, edit, shown, gone, rotate, replay, test, deliveries, retry}) sub->add_option("tenant", w.tenant)->required();
  for (auto* sub : {edit, shown, gone, rotate, replay, test, deliveries, retry}) sub->add_option("webhook", w.id)->required();
  retry->add_option("delivery", w.node, "An id out of the list (d4)")->required();
  for (auto* sub : {create, edit}) {
    sub->add_option("--url", w.hook.url)->required(sub == create);
    sub->add_option("--event", w.hook.events, "message.received or channel.state_changed; may be given twice");
    sub->add_option("--channel", w.hook.channels, "Only of this channel; may be given several times");
    sub->add_option("--body", w.hook.body, "envelope, text or raw");
    sub->add_option("--raw-bytes", w.hook.raw_bytes, "With --body raw: larger messages travel as links");
    sub->add_option("--max-in-flight", w.hook.max_in_flight, "Requests at once");
    sub->add_option("--max-per-second", w.hook.max_per_second, "0: no limit");
  }
  auto* on = edit->add_flag("--enabled", w.enabled, "Deliver again");
  edit->add_flag("--disabled", w.disabled, "Stop delivering")->excludes(on);
  replay->add_option("--after", w.list.after, "What comes after this cursor of the feed; 0: everything");
  replay->add_option("--since", w.since, "What arrived since a time like 2026-01-31T00:00:00Z");
  deliveries->add_option("--state", w.list.state, "delivered, failed, dead, pending or retrying");
  deliveries->add_option("--limit", w.list.limit, "At most so many");
}

int perform(words& w) {
  auto where = find_endpoint(w.url, w.token);
  if (!where) return complain(wrong_usage, where.error().detail);
  client api(std::move(*where));
  const bool dumb = std::getenv("NO_COLOR") != nullptr;
  context c{api, w.json, !dumb && isatty(STDOUT_FILENO) != 0, isatty(STDERR_FILENO) != 0};
  return w.chosen(c);
}

}  // namespace

int run(int argc, char** argv) {
  words w;
  CLI::App top("The API from a terminal", "mailherd ctl");
  top.require_subcommand(1);
  top.fallthrough();
  top.add_option("--url", w.url, "The API's address (MAILHERD_PUBLIC_URL, else http:// + MAILHERD_LISTEN)");
  top.add_option("--token", w.token, "Operator token or API key (MAILHERD_ADMIN_TOKEN, ..._FILE, else <data dir>/admin-token)");
  top.add_flag("--json", w.json, "The API's objects instead of tables");
  tenant_words(top, w);
  key_words(top, w);
  app_words(top, w);
  channel_words(top, w);
  message_words(top, w);
  tail_words(top, w);
  webhook_words(top, w);
  command(top, w, "cluster", "The nodes", [](context& c) { return show_cluster(c); });
  command(top, w, "drain", "Make a node hand over everything", [&w](context& c) { return drain_node(c, w.node); })
      ->add_option("node", w.node)
      ->required();
  for (auto* sub : top.get_subcommands([](CLI::App*) { return true; })) {
    sub->fallthrough();
    for (auto* inner : sub->get_subcommands([](CLI::App*) { return true; })) inner->fallthrough();
  }
  try {
    top.parse(argc, argv);
  } catch (const CLI::Success& e) {  // --help
    return top.exit(e);
  } catch (const CLI::ParseError& e) {
    return complain(wrong_usage, std::string(e.what()) + " (mailherd ctl --help)");
  }
  try {
    return perform(w);
  } catch (const std::exception& e) {
    return complain(failed, std::string("the server's answer makes no sense: ") + e.what());
  }
}

}  // namespace mailherd::ctl
