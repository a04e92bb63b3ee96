// tools/demo/board: see the header.
#include "tools/demo/board.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

#include "node/ctl/table.hpp"
#include "tests/peers/files.hpp"

namespace mailherd::demo {

namespace {

constexpr seconds patience{20};
constexpr int wait_seconds = 15;
/// More than this at once is a backlog: one line for all of it.
constexpr std::size_t single_lines = 5;

const char* in_words(sign_in by) {
  switch (by) {
    case sign_in::password: return "password";
    case sign_in::grant: return "OAuth2";
    case sign_in::application: return "OAuth2 app";
    case sign_in::consent: return "OAuth2";
  }
  return "";
}

void line(const mailbox& m, const std::string& what, const std::string& when) {
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  fmt::print("{:%H:%M:%S}  {:8} {:4}  {:10} {:20} {}{}\n", fmt::localtime(now), m.tenant, m.protocol == "imap" ? "IMAP" : "POP3",
             in_words(m.by), m.address, ctl::clean_for_terminal(what), when);
  std::fflush(stdout);
}

}  // namespace

board::board(std::string url, secret<> token) : url_(std::move(url)), token_(std::move(token)), api_({url_, token_}) {}

board::~board() {
  stopping_ = true;
  for (auto& r : readers_) r.join();
}

bool board::ready() {
  const auto answer = api_.send("GET", "/readyz", {}, patience);
  return answer && answer->status == 200;
}

ctl::json board::ask(ctl::client& api, const char* method, const std::string& path, const std::optional<ctl::json>& body) {
  const auto answer = api.send(method, path, body, patience + seconds(wait_seconds));
  if (!answer) throw peers::peer_error(answer.error().detail);
  if (answer->status >= 300) throw peers::peer_error(fmt::format("{} {}: {} {}", method, path, answer->status, answer->body));
  return ctl::json::parse(answer->body);
}

void board::set_up(servers& from) {
  from.register_return(url_ + "/oauth2/callback");
  std::map<std::string, std::string> apps;   // tenant and client → id
  for (const auto& m : servers::mailboxes()) {
    auto& tenant = tenants_[m.tenant];
    if (tenant.empty()) tenant = ask(api_, "POST", "/v1/tenants", ctl::json{{"name", m.tenant}}).at("id");
    std::string app;
    if (m.by != sign_in::password) {
      const std::string client = m.by == sign_in::application ? servers::application : servers::client;
      auto& made = apps[m.tenant + client];
      if (made.empty())
        made = ask(api_, "POST", "/v1/tenants/" + tenant + "/oauth-apps",
                   ctl::json{{"name", client},
                             {"provider", "custom"},
                             {"client_id", client},
                             {"client_secret", servers::client_secret},
                             {"authorize_url", from.authorize_url()},
                             {"token_url", from.token_url()},
                             {"scopes", {"openid", "email", "mail", "offline_access"}}})
                   .at("id");
      app = made;
    }
    const std::string id = ask(api_, "POST", "/v1/tenants/" + tenant + "/channels", channel_of(m, from, app)).at("id");
    const std::lock_guard lock(mutex_);
    channels_[id].box = &m;
  }
}

ctl::json board::channel_of(const mailbox& m, servers& from, const std::string& app) {
  ctl::json auth{{"type", "oauth2"}, {"app", app}};
  switch (m.by) {
    case sign_in::password: auth = {{"type", "basic"}, {"username", m.address}, {"password", servers::password_of(m)}}; break;
    case sign_in::grant: auth.update({{"grant", "authorization_code"}, {"refresh_token", from.grant_for(m)}}); break;
    case sign_in::consent: auth.update({{"grant", "authorization_code"}}); break;
    case sign_in::application: auth.update({{"grant", "client_credentials"}, {"mailbox", m.address}}); break;
  }
  ctl::json incoming{{"protocol", m.protocol}, {"host", "localhost"}, {"port", from.port_of(m)}, {"tls", m.tls}};
  if (m.protocol == "imap") incoming["folder"] = "INBOX";
  return {{"name", m.address}, {"address", m.address}, {"incoming", incoming}, {"auth", auth}, {"start_from", "all"}};
}

void board::watch() {
  for (const auto& [name, id] : tenants_) readers_.emplace_back([this, tenant = id] { read(tenant); });
}

void board::read(const std::string& tenant) {
  ctl::client api({url_, token_});
  std::string after;
  while (!stopping_) {
    try {
      const auto page = ask(api, "GET", fmt::format("/v1/tenants/{}/messages?limit=100&wait={}{}", tenant, wait_seconds, after));
      after = "&after=" + ctl::escape(page.at("next").get<std::string>());
      show(page.at("items"));
    } catch (const std::exception& e) {
      if (stopping_) return;
      const std::lock_guard lock(mutex_);
      fmt::print("the feed of {} cannot be read: {}\n", tenant, ctl::clean_for_terminal(e.what()));
      return;
    }
  }
}

void board::show(const ctl::json& items) {
  const auto now = std::chrono::steady_clock::now();
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::size_t> backlog;
  for (const auto& item : items) {
    const auto at = channels_.find(item.at("channel").get<std::string>());
    if (at == channels_.end()) continue;
    const auto id = item.value("message_id", "");
    const auto when = sent_.find(id);
    if (when == sent_.end() && items.size() > single_lines) {
      ++backlog[at->first];
      continue;
    }
    std::string took;
    if (when != sent_.end()) {
      took = fmt::format("  ({} ms)", std::chrono::duration_cast<milliseconds>(now - when->second).count());
      sent_.erase(when);
      ++at->second.arrived;
    }
    line(*at->second.box, fmt::format("#{} {}", item.at("sequence").get<std::int64_t>(), item.value("subject", "")), took);
  }
  for (const auto& [id, count] : backlog) line(*channels_[id].box, fmt::format("{} messages that were there before", count), "");
}

void board::sent(const std::string& message_id) {
  const std::lock_guard lock(mutex_);
  sent_[message_id] = std::chrono::steady_clock::now();
}

std::size_t board::arrivals() {
  const std::lock_guard lock(mutex_);
  std::optional<std::size_t> fewest;
  for (const auto& [id, c] : channels_)
    if (c.box->by != sign_in::consent) fewest = std::min(fewest.value_or(c.arrived), c.arrived);   // that one waits for a person
  return fewest.value_or(0);
}

}  // namespace mailherd::demo
