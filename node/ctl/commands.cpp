// node/ctl/commands: tenants, keys, apps, messages and the cluster; channels are in channel_commands.cpp.
#include "node/ctl/commands.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>

#include "node/ctl/output.hpp"
#include "node/ctl/secrets.hpp"

namespace mailherd::ctl {

namespace {

constexpr seconds raw_stall{60};
constexpr std::int64_t follow_wait = 30;

cell number(const json& j, const std::string& path) { return {text_of(j, path), colour::none, true}; }

int show_list(context& c, const std::string& path, std::int64_t limit, const std::vector<std::string>& heads,
              const std::vector<std::string>& fields) {
  int exit = done;
  const auto list = call_list(c, path, limit, exit);
  if (!list) return exit;
  if (c.json_output) return print_json(*list), done;
  table t(heads);
  for (const auto& item : (*list)["items"]) {
    std::vector<cell> row;
    for (const auto& f : fields) row.push_back({text_of(item, f)});
    t.add(std::move(row));
  }
  print_table(c, t);
  return done;
}

int show_created(context& c, const std::optional<json>& made, int exit, const std::string& words) {
  if (!made) return exit;
  if (c.json_output)
    print_json(*made);
  else
    std::printf("%s\n", clean_for_terminal(words).c_str());
  return done;
}

std::string sender(const json& m) {
  if (!m.contains("from") || !m["from"].is_array() || m["from"].empty()) return "-";
  const auto name = text_of(m["from"][0], "name");
  return name.empty() || name == "-" ? text_of(m["from"][0], "address") : name;
}

}  // namespace

int show(context& c, const std::string& path) {
  int exit = done;
  const auto found = call(c, "GET", path, std::nullopt, exit);
  if (!found) return exit;
  if (c.json_output)
    print_json(*found);
  else
    print_object(*found, c.colours);
  return done;
}

int remove(context& c, const std::string& path, const std::string& what) {
  int exit = done;
  if (!call(c, "DELETE", path, std::nullopt, exit)) return exit;
  if (!c.json_output) std::printf("%s deleted\n", clean_for_terminal(what).c_str());
  return done;
}

int list_tenants(context& c, const list_flags& f) {
  return show_list(c, "/v1/tenants", f.limit, {"ID", "NAME", "MAX CHANNELS", "CREATED"},
                   {"id", "name", "limits.max_channels", "created_at"});
}

int create_tenant(context& c, const std::string& name, std::optional<std::int64_t> max_channels) {
  json body = {{"name", name}};
  if (max_channels) body["limits"]["max_channels"] = *max_channels;
  int exit = done;
  const auto made = call(c, "POST", "/v1/tenants", body, exit);
  return show_created(c, made, exit, made ? text_of(*made, "id") : "");
}

int list_keys(context& c, const std::string& tenant) {
  return show_list(c, "/v1/tenants/" + escape(tenant) + "/api-keys", 0, {"ID", "NAME", "CREATED", "LAST USED"},
                   {"id", "name", "created_at", "last_used_at"});
}

int create_key(context& c, const std::string& tenant, const std::string& name) {
  int exit = done;
  const auto made = call(c, "POST", "/v1/tenants/" + escape(tenant) + "/api-keys", json{{"name", name}}, exit);
  if (made && !c.json_output)
    std::fprintf(stderr, "This key (%s) is shown once and cannot be shown again:\n", text_of(*made, "id").c_str());
  return show_created(c, made, exit, made ? text_of(*made, "key") : "");
}

int list_apps(context& c, const std::string& tenant) {
  return show_list(c, "/v1/tenants/" + escape(tenant) + "/oauth-apps", 0, {"ID", "NAME", "PROVIDER", "CREDENTIAL", "CLIENT ID"},
                   {"id", "name", "provider", "credential", "client_id"});
}

int create_app(context& c, const std::string& tenant, const app_flags& f) {
  json body = {{"name", f.name}, {"provider", f.provider}, {"client_id", f.client_id}};
  if (!f.private_key_file.empty() || !f.certificate_file.empty()) {
    const auto key = read_file(f.private_key_file), certificate = read_file(f.certificate_file);
    if (!key || !certificate) return complain(wrong_usage, (key ? certificate : key).error().detail);
    body["private_key"] = *key;
    body["certificate"] = *certificate;
  } else {
    const auto value = read_secret(f.client_secret, "client secret", "--client-secret-file");
    if (!value) return complain(wrong_usage, value.error().detail);
    body["client_secret"] = value->reveal();
  }
  for (const auto& [name, value] : {std::pair{"authority", &f.authority},
                                    {"authorize_url", &f.authorize_url},
                                    {"token_url", &f.token_url},
                                    {"device_url", &f.device_url},
                                    {"issuer", &f.issuer}})
    if (!value->empty()) body[name] = *value;
  if (!f.scopes.empty()) body["scopes"] = f.scopes;
  int exit = done;
  const auto made = call(c, "POST", "/v1/tenants/" + escape(tenant) + "/oauth-apps", body, exit);
  return show_created(c, made, exit, made ? text_of(*made, "id") : "");
}

// ---- messages
// -----------------------------------------------------------------------------------------------------------------------------

int list_messages(context& c, const std::string& tenant, const list_flags& f, bool follow) {
  const auto base = "/v1/tenants/" + escape(tenant) + "/messages?limit=";
  const auto filter = f.channel.empty() ? std::string() : "&channel=" + escape(f.channel);
  std::string after = f.after;
  std::int64_t left = f.limit;
  bool head = true;
  while (true) {
    int exit = done;
    const auto wanted = f.limit > 0 ? std::min<std::int64_t>(left, 200) : 200;
    auto path = fmt::format("{}{}{}{}", base, wanted, filter, after.empty() ? "" : "&after=" + escape(after));
    if (follow) path += fmt::format("&wait={}", follow_wait);
    const auto page = call(c, "GET", path, std::nullopt, exit, seconds(follow_wait + 30));
    if (!page) return exit;
    const auto& items = (*page)["items"];
    if (c.json_output) {
      for (const auto& m : items) std::printf("%s\n", m.dump(-1, ' ', false, json::error_handler_t::replace).c_str());
    } else if (!items.empty() || head) {
      table t({"ID", "CHANNEL", "SEQ", "RECEIVED", "SIZE", "FROM", "SUBJECT"});
      for (const auto& m : items)
        t.add({{text_of(m, "id")},
               {text_of(m, "channel")},
               number(m, "sequence"),
               {text_of(m, "received_at").substr(0, 19)},
               number(m, "size"),
               {sender(m)},
               {text_of(m, "subject")}});
      const auto text = t.print(c.colours);
      std::printf("%s", head ? text.c_str() : text.c_str() + text.find('\n') + 1);
      head = false;
    }
    std::fflush(stdout);
    after = text_of(*page, "next");
    left -= static_cast<std::int64_t>(items.size());
    if ((f.limit > 0 && left <= 0) || (items.empty() && !follow)) return done;
  }
}

int show_message(context& c, const std::string& tenant, const std::string& message) {
  int exit = done;
  const auto found = call(c, "GET", "/v1/tenants/" + escape(tenant) + "/messages/" + escape(message), std::nullopt, exit);
  if (!found) return exit;
  if (c.json_output) return print_json(*found), done;
  auto head = *found;
  for (const char* name : {"headers", "text", "html", "attachments", "notes", "from", "to", "cc"}) head.erase(name);
  head["from"] = sender(*found);
  print_object(head, c.colours);
  for (const auto& a : (*found)["attachments"])
    std::printf("attachment %s: %s, %s, %s bytes\n", text_of(a, "index").c_str(), clean_for_terminal(text_of(a, "name")).c_str(),
                clean_for_terminal(text_of(a, "type")).c_str(), text_of(a, "size").c_str());
  if (!(*found)["text"].is_string()) return done;
  std::string text = (*found)["text"].get<std::string>();
  std::printf("\n");
  for (std::size_t begin = 0; begin < text.size();) {  // line by line: cleaning makes one line of everything
    const auto end = std::min(text.find('\n', begin), text.size());
    std::printf("%s\n", clean_for_terminal(std::string_view(text).substr(begin, end - begin)).c_str());
    begin = end + 1;
  }
  return done;
}

int raw_message(context& c, const std::string& tenant, const std::string& message, const std::string& file) {
  std::FILE* to = file.empty() || file == "-" ? stdout : std::fopen(file.c_str(), "wb");
  if (to == nullptr) return complain(failed, file + " cannot be written");
  const auto answer = c.api.send("GET", "/v1/tenants/" + escape(tenant) + "/messages/" + escape(message) + "/raw", std::nullopt, raw_stall,
                                 [to](std::string_view bytes) { return std::fwrite(bytes.data(), 1, bytes.size(), to) == bytes.size(); });
  const bool written = std::fflush(to) == 0;
  if (to != stdout) std::fclose(to);
  if (!answer) return complain(failed, answer.error().detail);
  if (answer->status != 200) return print_problem(c, *answer), answer->status == 401 ? wrong_usage : failed;
  return written ? done : complain(failed, "the message could not be written");
}

// ---- the cluster
// --------------------------------------------------------------------------------------------------------------------------

int show_cluster(context& c) {
  int exit = done;
  const auto found = call(c, "GET", "/v1/cluster", std::nullopt, exit);
  if (!found) return exit;
  if (c.json_output) return print_json(*found), done;
  table t({"NODE", "STATE", "CHANNELS", "LEASE AGE", "VERSION"});
  for (const auto& n : (*found)["nodes"]) {
    const auto age = n.value("lease_age_seconds", 0.0);
    t.add({{text_of(n, "name")},
           {text_of(n, "state"), colour_of_state(text_of(n, "state"))},
           number(n, "channels"),
           {fmt::format("{:.1f} s", age), colour::none, true},
           {text_of(n, "version")}});
  }
  print_table(c, t);
  return done;
}

int drain_node(context& c, const std::string& node) {
  int exit = done;
  const auto answer = call(c, "POST", "/v1/cluster/nodes/" + escape(node) + "/drain", std::nullopt, exit);
  return show_created(c, answer, exit, node + " drains");
}

}  // namespace mailherd::ctl
