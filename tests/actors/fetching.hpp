// tests/actors/fetching: one channel's fetcher over real protocol engines, a mail server and a mail store in memory, on virtual time.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "actors/channel_fetcher.hpp"
#include "actors/pacer.hpp"
#include "actors/storage_gate.hpp"
#include "tests/actors/imap_server.hpp"
#include "tests/actors/memory_mail.hpp"
#include "tests/actors/memory_net.hpp"
#include "tests/actors/pop3_server.hpp"
#include "tests/actors/world.hpp"

namespace mailherd::test {

constexpr tenant_id the_tenant{1};
constexpr channel_id the_channel{7};

class fetching : public world {
 public:
  fetching() {
    reactor.clock = [this] { return now(); };
    reactor.wall = [this] { return wall(); };
    steps.push_back([this] { return reactor.run(); });
    clocks.push_back([this] { return reactor.next(); });
    env.reactors = {&reactor};
    env.dialer = &net;
    store.stores = &mail;
    mail.clock = [this] { return now(); };
    net.listen("mail.test:993", imap.maker());
    net.listen("mail.test:995", pop3.maker());
    gate = owned(actors::spawn_storage_gate(system, env));
    pacer = owned(actors::spawn_pacer(system, env));
    supervisor = system.spawn([this](caf::event_based_actor*) -> caf::behavior {
      return {[this](actors::lost_atom, channel_id channel, std::int64_t epoch) { lost.emplace_back(channel, epoch); }};
    });
    auto& load = mail.add(the_tenant, the_channel).load;
    load.record.created_at = wall();
    load.record.spec.incoming.host = "mail.test";
    load.record.spec.address = "joe@acme.test";
    load.credential.username = "joe";
    load.credential.password = secret<>("secret");
    load.serving = load.credential;
    settle();
  }

  ~fetching() override {
    stop_hooks();
    for (auto& f : fetchers) caf::anon_send_exit(f, caf::exit_reason::kill);
    fetchers.clear();
    for (auto& kill : at_end) kill();
    at_end.clear();
    caf::anon_send_exit(supervisor, caf::exit_reason::kill);
    supervisor = nullptr;
    env.roster->kill();
    store.held = false;
    settle();
    advance(std::chrono::minutes(2));   // refreshers that were writing
    steps.clear();
    clocks.clear();
  }

  memory_mail::row& row() { return mail.channels.at(the_channel); }
  channel_record& record() { return row().load.record; }
  channel_spec& spec() { return record().spec; }

  /// A fetcher under the row's epoch.
  actors::channel_fetcher_actor start() {
    actors::fetcher_parts parts;
    parts.env = &env;
    parts.reactor = &reactor;
    parts.guard = {the_tenant, the_channel, row().epoch};
    parts.gate = gate;
    parts.pacer = pacer;
    parts.supervisor = caf::actor_cast<caf::weak_actor_ptr>(supervisor);
    vitals = parts.vitals = std::make_shared<actors::vitals>();
    fetchers.push_back(actors::spawn_channel_fetcher(system, std::move(parts)));
    settle();
    return fetchers.back();
  }

  void start_all(start_point::kind from = start_point::kind::all) {
    spec().start.from = from;
    start();
    advance(seconds(5));
  }

  void kill() {
    caf::anon_send_exit(fetchers.back(), caf::exit_reason::kill);
    settle();
  }

  void stop() {
    caf::anon_send(fetchers.back(), actors::stop_atom::value);
    advance(seconds(1));
  }

  void changed() {
    caf::anon_send(fetchers.back(), actors::changed_atom::value);
    settle();
  }

  /// A new credential generation, as the API persists it.
  void put_credential(credential c) {
    auto& load = row().load;
    load.record.generation += 1;
    load.record.switching = switch_state::running;
    load.record.auth = c.type;
    load.record.has_grant = c.type == auth_type::basic || !c.refresh_token.empty();
    load.credential = std::move(c);
    changed();
  }

  /// Signs in by OAuth2 from now on. The token endpoint gives tokens "t1", "t2" ..., which the mail server takes.
  void use_oauth2(seconds life = seconds(3600)) {
    auto& load = row().load;
    load.record.auth = auth_type::oauth2;
    load.credential = oauth2_credential();
    load.serving = load.credential;
    load.app = app();
    give_tokens(life);
  }

  static credential oauth2_credential() {
    credential c;
    c.type = auth_type::oauth2;
    c.app = app_id{3};
    c.account = "joe@acme.test";
    c.refresh_token = secret<>("r0");
    return c;
  }

  static oauth_app app() {
    oauth_app a;
    a.id = app_id{3};
    a.tenant = the_tenant;
    a.client_id = "client";
    a.client_secret = secret<>("app-secret");
    a.token_url = "https://idp.test/token";
    return a;
  }

  void give_tokens(seconds life = seconds(3600)) {
    store.admin.on_get_app = [](const store::caller&, tenant_id, app_id) -> result<oauth_app> { return app(); };
    http.answer = [this, life](const net::http_request&) -> std::optional<result<net::http_reply>> {
      const auto token = fmt::format("t{}", ++tokens_given);
      imap.tokens.insert(token);
      pop3.tokens.insert(token);
      return net::http_reply{200, {}, fmt::format(R"({{"access_token":"{}","token_type":"Bearer","expires_in":{},"refresh_token":"r{}"}})", token, life.count(), tokens_given)};
    };
  }

  /// Mail with subjects prefix-1 ... prefix-n.
  void fill(int n, const std::string& prefix = "old", std::size_t body_bytes = 40) {
    for (int i = 1; i <= n; ++i) imap.add(mail_of(prefix, i, body_bytes), wall());
  }
  static std::string mail_of(const std::string& prefix, int i, std::size_t body_bytes = 40) {
    return test::mail(fmt::format("{}-{}", prefix, i), body_bytes);
  }

  [[nodiscard]] std::vector<std::string> subjects() {
    std::vector<std::string> all;
    for (const auto& m : row().messages) all.push_back(m.message.envelope.subject);
    return all;
  }

  /// Every message of the server's folder is stored exactly once, byte for byte; sequences are 1, 2, 3 ...
  void expect_all_once(const std::string& folder = "INBOX") {
    for (const auto& m : imap.folders[folder].messages) EXPECT_EQ(row().copies_of(m.raw), 1U) << m.raw.substr(0, 90);
    expect_gapless();
  }
  void expect_gapless() {
    std::int64_t n = 0;
    for (const auto& m : row().messages) EXPECT_EQ(m.sequence, ++n);
  }

  /// In `imap.log`: the first place of an entry that begins with `text`, at or after `from`.
  [[nodiscard]] std::size_t place(const std::string& text, std::size_t from = 0) const {
    for (auto i = from; i < imap.log.size(); ++i)
      if (imap.log[i].substr(0, text.size()) == text) return i;
    return std::string::npos;
  }

  /// What happened, for a failing test.
  [[nodiscard]] std::string story() const {
    std::string all;
    for (const auto& l : imap.log) all += "  " + l.substr(0, 150) + "\n";
    for (const auto& l : report.lines) all += "  " + l + "\n";
    return all;
  }

  [[nodiscard]] store::cursor cursor(const std::string& folder = "INBOX") { return row().cursors[{protocol_kind::imap, folder}]; }

  void stop_hooks() {
    imap.on_command = {};
    imap.on_body = {};
    net.refuse = {};
    mail.fault = {};
    mail.lose_answer = {};
    mail.refuse = {};
  }

  memory_reactor reactor;
  memory_net net;
  imap_server imap;
  pop3_server pop3;
  memory_mail mail;
  actors::storage_gate_actor gate;
  actors::pacer_actor pacer;
  caf::actor supervisor;
  std::vector<actors::channel_fetcher_actor> fetchers;
  std::shared_ptr<actors::vitals> vitals;
  std::vector<std::pair<channel_id, std::int64_t>> lost;
  int tokens_given = 0;
};

}  // namespace mailherd::test
