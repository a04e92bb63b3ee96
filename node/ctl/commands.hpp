// node/ctl/commands: what each word of `mailherd ctl` does.
//
// Owns:   requests, tables, progress and exit codes of the commands.
// Never:  parses a command line (ctl.cpp does); reads a secret from it without a warning.
// Used by: ctl.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "node/ctl/client.hpp"

namespace mailherd::ctl {

constexpr int done = 0, failed = 1, wrong_usage = 2;

struct context {
  client& api;
  bool json_output = false;  ///< the API's objects instead of tables
  bool colours = false;
  bool progress = false;  ///< standard error is a terminal: a line may be rewritten
};

/// A secret's way in: a file ("-": standard input), the command line (with a warning), or a prompt.
struct secret_source {
  std::string file;
  std::string plain;
};

struct auth_flags {
  std::string username;
  secret_source password;
  std::string app, grant, mailbox;
  secret_source refresh_token;
  [[nodiscard]] bool any() const { return !username.empty() || !app.empty(); }
};

/// What `channels create` and `channels edit` may set; nullopt: not named.
struct channel_flags {
  std::optional<std::string> name, address, protocol, host, tls, folder, proxy, start_from, after_fetch;
  std::optional<std::int64_t> port;
  std::optional<bool> enabled;
  auth_flags auth;
};

struct app_flags {
  std::string name, provider, client_id, private_key_file, certificate_file, authority, authorize_url, token_url, device_url, issuer;
  secret_source client_secret;
  std::vector<std::string> scopes;
};

struct connect_flags {
  bool device = false, link = false, any_account = false;
  std::string login_hint;
  std::optional<std::int64_t> expires_in;
};

/// What `webhooks create` and `webhooks edit` may set; nullopt or empty: not named.
struct webhook_flags {
  std::optional<std::string> url, body;
  std::vector<std::string> events, channels;
  std::optional<std::int64_t> raw_bytes, max_in_flight, max_per_second;
  std::optional<bool> enabled;
};

struct list_flags {
  std::int64_t limit = 0;  ///< 0: everything
  std::string after, state, node, text, channel;
};

/// Each returns an exit code and has printed what there is to say.
int list_tenants(context& c, const list_flags& f);
int create_tenant(context& c, const std::string& name, std::optional<std::int64_t> max_channels);
int list_keys(context& c, const std::string& tenant);
int create_key(context& c, const std::string& tenant, const std::string& name);
int list_apps(context& c, const std::string& tenant);
int create_app(context& c, const std::string& tenant, const app_flags& f);
int list_channels(context& c, const std::string& tenant, const list_flags& f);
int create_channel(context& c, const std::string& tenant, const channel_flags& f, std::optional<seconds> wait);
int edit_channel(context& c, const std::string& tenant, const std::string& channel, const channel_flags& f, std::optional<seconds> wait);
int switch_auth(context& c, const std::string& tenant, const std::string& channel, const auth_flags& f, std::optional<seconds> wait);
/// Prints where the person goes; with `wait`, waits until he has been there.
int connect_channel(context& c, const std::string& tenant, const std::string& channel, const connect_flags& f, std::optional<seconds> wait);
int roll_back(context& c, const std::string& tenant, const std::string& channel);
int show_setup(context& c, const std::string& tenant, const std::string& app, const std::string& mailbox);
int test_channel(context& c, const std::string& tenant, const std::string& channel);
int move_channel(context& c, const std::string& tenant, const std::string& channel, const std::string& node, std::optional<seconds> wait);
int list_events(context& c, const std::string& tenant, const std::string& channel, const list_flags& f);
int list_messages(context& c, const std::string& tenant, const list_flags& f, bool follow);
int show_message(context& c, const std::string& tenant, const std::string& message);
int raw_message(context& c, const std::string& tenant, const std::string& message, const std::string& file);
/// Follows the feed by server-sent events, connecting again when it is cut off. From now on unless `f.after` or `since` says otherwise.
int tail(context& c, const std::string& tenant, const list_flags& f, const std::string& since);
int list_webhooks(context& c, const std::string& tenant);
int create_webhook(context& c, const std::string& tenant, const webhook_flags& f);
int edit_webhook(context& c, const std::string& tenant, const std::string& webhook, const webhook_flags& f);
int rotate_webhook(context& c, const std::string& tenant, const std::string& webhook);
int replay_webhook(context& c, const std::string& tenant, const std::string& webhook, const std::string& after, const std::string& since);
int test_webhook(context& c, const std::string& tenant, const std::string& webhook);
int retry_delivery(context& c, const std::string& tenant, const std::string& webhook, const std::string& delivery);
int list_deliveries(context& c, const std::string& tenant, const std::string& webhook, const list_flags& f);
int show_cluster(context& c);
int drain_node(context& c, const std::string& node);

/// GET or DELETE of one object.
int show(context& c, const std::string& path);
int remove(context& c, const std::string& path, const std::string& what);

}  // namespace mailherd::ctl
