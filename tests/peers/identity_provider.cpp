// tests/peers/identity_provider: starts tools/idp and speaks to it with libcurl (blocking).
#include "tests/peers/identity_provider.hpp"

#include <curl/curl.h>

#include <cstdlib>
#include <mutex>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tests/peers/files.hpp"

#ifndef MAILHERD_SOURCE_DIR
#define MAILHERD_SOURCE_DIR "."
#endif

namespace mailherd::peers {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::chrono::seconds start_timeout{30};
constexpr long request_seconds = 60;

struct http_answer {
  long status = 0;
  std::string body;
  std::string location;  ///< absolute
};

using form = std::vector<std::pair<std::string, std::string>>;

std::size_t collect(char* data, std::size_t size, std::size_t count, void* into) {
  static_cast<std::string*>(into)->append(data, size * count);
  return size * count;
}

/// One browser or one program: keeps its cookies from request to request.
class http {
 public:
  http() : easy_(curl_easy_init()) {
    if (easy_ == nullptr) throw peer_error("libcurl does not start");
    curl_easy_setopt(easy_, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy_, CURLOPT_TIMEOUT, request_seconds);
    curl_easy_setopt(easy_, CURLOPT_COOKIEFILE, "");
    // On a connection used before, libcurl sends a request again whose answer was lost: a second use of the refresh token.
    curl_easy_setopt(easy_, CURLOPT_FRESH_CONNECT, 1L);
    // Its certificate is our own test CA's, for loopback: there is nobody to be mistaken for.
    curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, &collect);
  }
  ~http() { curl_easy_cleanup(easy_); }
  http(const http&) = delete;
  http& operator=(const http&) = delete;

  http_answer request(const std::string& method, const std::string& url, const std::optional<std::string>& body,
                      const std::string& content_type = "application/json") {
    http_answer answer;
    curl_easy_setopt(easy_, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy_, CURLOPT_WRITEDATA, &answer.body);
    curl_slist* headers = curl_slist_append(nullptr, ("Content-Type: " + content_type).c_str());
    curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, body ? headers : nullptr);
    if (body) {
      curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE, static_cast<long>(body->size()));
      curl_easy_setopt(easy_, CURLOPT_COPYPOSTFIELDS, body->c_str());
    } else {
      curl_easy_setopt(easy_, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, method == "GET" || method == "POST" ? nullptr : method.c_str());
    const CURLcode code = curl_easy_perform(easy_);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) throw peer_error(fmt::format("identity provider, {} {}: {}", method, url, curl_easy_strerror(code)));
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &answer.status);
    const char* location = nullptr;
    curl_easy_getinfo(easy_, CURLINFO_REDIRECT_URL, &location);
    if (location != nullptr) answer.location = location;
    return answer;
  }

  http_answer post_form(const std::string& url, const form& fields) {
    std::string body;
    for (const auto& [name, value] : fields) {
      char* escaped = curl_easy_escape(easy_, value.c_str(), static_cast<int>(value.size()));
      body += fmt::format("{}{}={}", body.empty() ? "" : "&", name, escaped);
      curl_free(escaped);
    }
    return request("POST", url, body, "application/x-www-form-urlencoded");
  }

 private:
  CURL* easy_;
};

fs::path tool_dir(const fs::path& source_dir) {
  const char* told = std::getenv("MAILHERD_SOURCE_DIR");
  const fs::path fallback = told != nullptr ? told : MAILHERD_SOURCE_DIR;
  return (source_dir.empty() ? fallback : source_dir) / "tools" / "idp";
}

json client_json(const idp_client& client) {
  return {{"id", client.id},           {"secret", client.secret},         {"redirect_uris", client.redirect_uris},
          {"auth_method", client.auth_method}, {"public_key", client.public_key}, {"app_domain", client.app_domain}};
}

std::string text_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

struct identity_provider::state {
  idp_options options;
  temp_dir own_dir{"idp"};
  fs::path root, tool;
  std::uint16_t port = 0;
  std::string url;
  mutable std::mutex mutex;  ///< one connection, used by one caller at a time
  mutable http client;
  std::optional<process> server;

  void launch();

  json admin(const std::string& method, const std::string& path, const json& body = json::object()) const {
    const std::lock_guard lock(mutex);
    const http_answer answer = client.request(method, url + path, method == "POST" ? std::optional(body.dump()) : std::nullopt);
    if (answer.status != 200) throw peer_error(fmt::format("identity provider, {} {}: {} {}", method, path, answer.status, answer.body));
    return json::parse(answer.body);
  }

  token_answer token(form fields, std::string_view id, std::string_view secret) const {
    fields.emplace_back("client_id", id);
    if (!secret.empty()) fields.emplace_back("client_secret", secret);
    const std::lock_guard lock(mutex);
    const http_answer answer = client.post_form(url + "/token", fields);
    token_answer out{answer.status, answer.body, {}, {}, {}, 0};
    const json parsed = json::parse(answer.body, nullptr, false);
    if (!parsed.is_object()) return out;
    out.access_token = text_of(parsed, "access_token");
    out.refresh_token = text_of(parsed, "refresh_token");
    out.error = text_of(parsed, "error");
    out.expires_in = parsed.value("expires_in", 0L);
    return out;
  }
};

void identity_provider::state::launch() {
  const fs::path settings = root / "settings.json", ready = root / "ready.json";
  std::error_code ignored;
  fs::remove(ready, ignored);
  json clients = json::array();
  for (const auto& one : options.clients) clients.push_back(client_json(one));
  json text = {{"root", root.string()},
               {"ready_file", ready.string()},
               {"host", options.tls ? "localhost" : "127.0.0.1"},
               {"port", port},
               {"access_token_ttl", options.access_token_ttl.count()},
               {"refresh_token_ttl", options.refresh_token_ttl.count()},
               {"rotate", options.rotate_refresh_tokens},
               {"opaque", options.opaque_access_tokens},
               {"clients", clients}};
  if (options.tls) {
    text["certificate"] = options.tls->certificate_file.string();
    text["key"] = options.tls->key_file.string();
  }
  write_file(settings, text.dump(2), 0600);
  server.emplace(process_options{.argv = {"node", "server.mjs", settings.string()},
                                 .env = {{"NODE_OPTIONS", ""}, {"NODE_ENV", "production"}},
                                 .cwd = tool,
                                 .log_file = root / "idp.log"});
  server->wait_ready([&] { return fs::exists(ready); }, start_timeout);
  const json told = json::parse(read_file(ready));
  port = told.at("port").get<std::uint16_t>();
  url = told.at("url").get<std::string>();
}

identity_provider::identity_provider(idp_options options) : state_(std::make_unique<state>()) {
  state& s = *state_;
  s.options = std::move(options);
  s.tool = tool_dir(s.options.source_dir);
  if (!find_program("node")) throw peer_error("Node is not installed (package nodejs)");
  if (!fs::exists(s.tool / "node_modules")) throw peer_error(fmt::format("run `npm ci` in {} first (./dev does)", s.tool.string()));
  s.root = !s.options.root.empty() && reachable_for_all(s.options.root) ? fs::absolute(s.options.root) : s.own_dir.path();
  s.port = s.options.port;
  s.launch();
}

identity_provider::~identity_provider() = default;

bool identity_provider::installed(const fs::path& source_dir) {
  return find_program("node").has_value() && fs::exists(tool_dir(source_dir) / "node_modules");
}

std::string identity_provider::issuer() const { return state_->url; }
std::string identity_provider::authorize_url() const { return state_->url + "/auth"; }
std::string identity_provider::token_url() const { return state_->url + "/token"; }
std::string identity_provider::device_url() const { return state_->url + "/device/auth"; }
std::string identity_provider::introspection_url() const { return state_->url + "/_introspect"; }
fs::path identity_provider::key_dir() const { return state_->root / "keys"; }
std::uint16_t identity_provider::port() const noexcept { return state_->port; }
fs::path identity_provider::log_file() const { return state_->root / "idp.log"; }
std::string identity_provider::authority(std::string_view tenant) const { return fmt::format("{}/{}", state_->url, tenant); }

void identity_provider::add_client(const idp_client& client) { state_->admin("POST", "/_client", client_json(client)); }

std::string identity_provider::grant(std::string_view account, std::string_view client, std::string_view shared) {
  return text_of(state_->admin("POST", "/_grant", {{"account", account}, {"client", client}, {"shared", shared}}), "refresh_token");
}

std::string identity_provider::access_token(std::string_view account, std::string_view client) {
  std::string secret;
  for (const auto& known : state_->options.clients) {
    if (known.id == client) secret = known.secret;
  }
  const token_answer answer = refresh(grant(account, client), client, secret);
  if (answer.access_token.empty()) throw peer_error(fmt::format("no access token for {}: {} {}", account, answer.status, answer.body));
  return answer.access_token;
}

token_answer identity_provider::refresh(std::string_view refresh_token, std::string_view client, std::string_view secret) {
  return state_->token({{"grant_type", "refresh_token"}, {"refresh_token", std::string(refresh_token)}}, client, secret);
}

token_answer identity_provider::client_credentials(std::string_view client, std::string_view secret) {
  return state_->token({{"grant_type", "client_credentials"}, {"scope", "mail"}}, client, secret);
}

void identity_provider::revoke(std::string_view account) { state_->admin("POST", "/_revoke", {{"account", account}}); }

std::string identity_provider::consent(std::string_view authorize_url, std::string_view account, bool deny) {
  http browser;
  const auto follow = [&](http_answer answer) {
    for (int hop = 0; hop < 10 && answer.status >= 300 && answer.status < 400; ++hop) {
      if (answer.location.compare(0, state_->url.size(), state_->url) != 0) return answer;
      answer = browser.request("GET", answer.location, std::nullopt);
    }
    return answer;
  };
  // The page posts to its own address, so the last address inside the provider is needed.
  std::string page(authorize_url);
  http_answer answer = browser.request("GET", page, std::nullopt);
  for (int hop = 0; hop < 10 && answer.status >= 300 && answer.status < 400; ++hop) {
    if (answer.location.compare(0, state_->url.size(), state_->url) != 0) return answer.location;
    page = answer.location;
    answer = browser.request("GET", page, std::nullopt);
  }
  if (answer.status != 200) throw peer_error(fmt::format("no sign-in page: {} {}", answer.status, answer.body));
  answer = follow(browser.post_form(page, deny ? form{{"deny", "1"}} : form{{"account", std::string(account)}}));
  if (answer.location.empty()) throw peer_error(fmt::format("sign-in led nowhere: {} {}", answer.status, answer.body));
  return answer.location;
}

void identity_provider::approve_device(std::string_view user_code, std::string_view account) {
  state_->admin("POST", "/_approve_device", {{"user_code", user_code}, {"account", account}});
}

void identity_provider::set_access_token_ttl(std::chrono::seconds ttl) {
  state_->options.access_token_ttl = ttl;
  state_->admin("POST", "/_settings", {{"access_token_ttl", ttl.count()}});
}

void identity_provider::add_fault(const idp_fault& fault) {
  json headers = json::object();
  for (const auto& [name, value] : fault.headers) headers[name] = value;
  state_->admin("POST", "/_fault",
                {{"match", fault.match}, {"status", fault.status}, {"body", fault.body}, {"headers", headers},
                 {"delay_ms", fault.delay.count()}, {"times", fault.times}, {"lose_answer", fault.lose_answer}});
}

void identity_provider::clear_faults() { state_->admin("DELETE", "/_fault"); }

std::vector<idp_log_entry> identity_provider::log() const {
  std::vector<idp_log_entry> out;
  for (const auto& entry : state_->admin("GET", "/_log")) {
    out.push_back({text_of(entry, "path"), text_of(entry, "grant_type"), text_of(entry, "client"), text_of(entry, "account"),
                   text_of(entry, "error"), entry.value("status", 0), entry.value("fault", false), entry.value("at", 0.0)});
  }
  return out;
}

void identity_provider::clear_log() { state_->admin("DELETE", "/_log"); }

void identity_provider::stop() {
  if (state_->server) state_->server->terminate(std::chrono::seconds(3));
  state_->server.reset();
}

void identity_provider::start() {
  if (!state_->server) state_->launch();
}

void identity_provider::freeze() {
  if (state_->server) state_->server->stop();
}
void identity_provider::thaw() {
  if (state_->server) state_->server->cont();
}

void identity_provider::rotate_key(bool forget_old) { state_->admin("POST", "/_rotate_key", {{"forget_old", forget_old}}); }

}  // namespace mailherd::peers
