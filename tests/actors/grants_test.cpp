// Grants for life: many channels, many days, a provider that rotates refresh tokens and revokes a grant whose old token comes again; and an app
// whose registration breaks. GRANT_CHANNELS=<n> and GRANT_DAYS=<n> make it larger.
#include "actors/token_refresher.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <map>
#include <queue>

#include "tests/actors/memory_mail.hpp"
#include "tests/actors/world.hpp"

namespace mailherd::actors {
namespace {

constexpr tenant_id tenant{1};
constexpr app_id the_app{3};
using namespace std::chrono_literals;

std::size_t setting(const char* name, std::size_t otherwise) {
  const char* told = std::getenv(name);
  return told != nullptr ? std::strtoul(told, nullptr, 10) : otherwise;
}

/// The incident of one app, as the database keeps it.
class incident_mail : public test::memory_mail {
 public:
  std::function<wall_time()> wall;
  oauth_app app;
  int tells = 0;  ///< times its channels were told that it works again

  result<channel_load> load_channel(tenant_id t, channel_id c) override {
    auto loaded = memory_mail::load_channel(t, c);
    if (loaded) {
      loaded->app = app;
      if (app.blocked_until && *app.blocked_until <= wall()) loaded->app->blocked_until.reset();
    }
    return loaded;
  }
  result<void> block_app(tenant_id, app_id, std::int64_t revision, const std::string& why, seconds hold) override {
    if (revision != app.revision) return {};
    if (!app.blocked_since) app.blocked_since = wall();
    app.blocked_until = wall() + hold;
    app.blocked_detail = why;
    return {};
  }
  result<bool> try_blocked_app(tenant_id, app_id, seconds hold) override {
    if (app.blocked_until && *app.blocked_until > wall()) return false;
    app.blocked_until = wall() + hold;
    return true;
  }
  result<void> unblock_app(tenant_id, app_id) override {
    if (app.blocked_since) ++tells;
    app.blocked_since.reset();
    app.blocked_until.reset();
    return {};
  }
};

class grants : public test::world {
 public:
  struct grant {
    std::int64_t newest = 0;  ///< number of the refresh token that is good
    bool revoked = false;
  };
  struct client {
    token_refresher_actor refresher;
    std::int64_t epoch = 1;
    int consents = 0, tokens = 0, failures = 0;
    std::optional<error> last;
  };

  grants() {
    store.stores = &mail;
    mail.wall = [this] { return wall(); };
    mail.app.id = the_app;
    mail.app.tenant = tenant;
    mail.app.client_id = "client";
    mail.app.client_secret = secret<>("good");
    mail.app.token_url = "https://idp.test/token";
    mail.app.revision = 1;
    http.answer = [this](const net::http_request& r) -> std::optional<result<net::http_reply>> {
      http.bodies.clear();
      return provide(r.body.reveal());
    };
  }
  ~grants() override {
    mail.fault = {};
    trouble = false;
    for (auto& [id, c] : clients) {
      caf::anon_send_exit(c.refresher, caf::exit_reason::kill);
      c.refresher = nullptr;
    }
    settle();
    advance(2min);
  }

  void add(std::size_t n) {
    for (std::size_t i = 1; i <= n; ++i) {
      const channel_id id{static_cast<std::int64_t>(i)};
      auto& load = mail.add(tenant, id).load;
      load.record.generation = load.record.observed_generation = 1;
      load.record.auth = auth_type::oauth2;
      load.credential.type = auth_type::oauth2;
      load.credential.app = the_app;
      load.credential.refresh_token = secret<>(fmt::format("r-{}-0", i));
      load.serving = load.credential;
      born(id);
    }
  }
  void born(channel_id id) {
    auto& c = clients[id];
    c.refresher = spawn_token_refresher(system, env, {tenant, id, c.epoch});
  }
  /// Another node takes over: the old one ends in order, the new one has a higher epoch.
  void hand_over(channel_id id) {
    auto& c = clients[id];
    caf::anon_send(c.refresher, stop_atom::value);
    c.epoch = ++mail.channels.at(id).epoch;
    born(id);
  }

  std::uint64_t dice(std::uint64_t sides) { return (env.random() >> 33) % sides; }

  result<net::http_reply> provide(const std::string& form) {
    ++asked;
    if (trouble) {
      switch (dice(12)) {
        case 0:
          return fail(failure::connect_refused, "by order of the test");
        case 1:
          return fail(failure::timed_out, "by order of the test");
        case 2:
          return net::http_reply{503, {{"retry-after", "7"}}, "<html>busy</html>"};
        case 3:
          return net::http_reply{429, {{"retry-after", "20"}}, R"({"error":"invalid_grant"})"};
        case 4:
          return net::http_reply{500, {}, ""};
        default:
          break;
      }
    }
    if (form.find("client_secret=" + good_secret) == std::string::npos) return net::http_reply{401, {}, R"({"error":"invalid_client"})"};
    const auto at = form.find("refresh_token=r-");
    std::int64_t channel = 0, number = 0;
    if (at == std::string::npos || std::sscanf(form.c_str() + at, "refresh_token=r-%ld-%ld", &channel, &number) != 2)
      return net::http_reply{400, {}, R"({"error":"invalid_request"})"};
    auto& g = family[channel_id{channel}];
    if (number != g.newest) g.revoked = true;  // reuse
    if (g.revoked) return net::http_reply{400, {}, R"({"error":"invalid_grant"})"};
    ++g.newest;
    return net::http_reply{
        200, {}, fmt::format(R"({{"access_token":"t","token_type":"Bearer","expires_in":3600,"refresh_token":"r-{}-{}"}})", channel, g.newest)};
  }

  /// Asks for a token; when to ask again is what its answer says.
  void ask(channel_id id) {
    auto r = std::make_shared<token_request>();
    r->generation = 1;
    r->then = {me(), [this, id](result<access_token> t) {
                 auto& c = clients[id];
                 auto next = wall() + 30s;
                 if (t) {
                   ++c.tokens;
                   c.last.reset();
                   next = t->expires_at - limits::token_renew_ahead + 1s;
                 } else {
                   ++c.failures;
                   c.last = t.error();
                   if (t.error().code == failure::consent_required) ++c.consents;
                   if (t.error().retry_at) next = *t.error().retry_at + 1s;
                 }
                 due.emplace(next, id);
               }};
    caf::anon_send(clients[id].refresher, token_atom::value, std::move(r));
  }
  void run_until(wall_time end, const std::function<void(channel_id)>& before = {}) {
    while (!due.empty() && due.top().first <= end) {
      const auto [at, id] = due.top();
      due.pop();
      if (at > wall()) advance(at - wall());
      if (before) before(id);
      ask(id);
      settle();
      if (due.empty()) advance(1min);  // all of them are waiting for something
    }
    if (end > wall()) advance(end - wall());
  }
  void begin() {
    for (auto& [id, c] : clients) due.emplace(wall() + milliseconds(dice(3'600'000)), id);
  }

  using moment = std::pair<wall_time, channel_id>;
  incident_mail mail;
  std::map<channel_id, client> clients;
  std::map<channel_id, grant> family;
  std::priority_queue<moment, std::vector<moment>, std::greater<>> due;
  std::string good_secret = "good";
  std::size_t asked = 0;
  bool trouble = false;
};

TEST_F(grants, live_for_ever_with_a_provider_that_revokes_on_reuse) {
  const auto channels = setting("GRANT_CHANNELS", 3), days = setting("GRANT_DAYS", 200);
  random = setting("GRANT_SEED", 7);
  add(channels);
  begin();
  trouble = true;
  mail.fault = [this](std::string_view what) -> std::optional<failure> {
    if (what == "rotate" && dice(20) == 0) return failure::store_unavailable;
    if (what == "load_channel" && dice(50) == 0) return failure::store_unavailable;
    return std::nullopt;
  };
  run_until(wall() + std::chrono::hours(24 * days), [this](channel_id id) {
    if (dice(100) == 0) hand_over(id);
    if (dice(200) == 0) caf::anon_send(clients[id].refresher, changed_atom::value);
  });
  trouble = false;
  std::size_t tokens = 0;
  for (const auto& [id, c] : clients) {
    EXPECT_EQ(c.consents, 0) << "channel " << id.value << ", GRANT_SEED=" << setting("GRANT_SEED", 7);
    EXPECT_FALSE(family[id].revoked);
    EXPECT_GT(c.tokens, static_cast<int>(days * 20)) << "and it had tokens all the time";
    tokens += static_cast<std::size_t>(c.tokens);
  }
  RecordProperty("tokens", std::to_string(tokens));
  EXPECT_GT(asked, tokens) << "there was trouble";
}

TEST_F(grants, a_secret_that_is_refused_is_one_incident_for_all_channels) {
  mail.app.provider = provider_kind::google;   // a custom one is asked twice: it may want the secret in the header
  add(50);
  begin();
  run_until(wall() + 2h);
  good_secret = "new";
  const auto before = asked;
  run_until(wall() + 6h);
  // Each channel had a token that was good for up to an hour; then one of them asked each quarter of an hour, for all.
  EXPECT_LE(asked - before, 6U * 4 + 4) << "one question per hold, not one per channel";
  EXPECT_GE(asked - before, 15U);
  EXPECT_TRUE(mail.app.blocked_since);
  for (const auto& [id, c] : clients) {
    ASSERT_TRUE(c.last) << id.value;
    EXPECT_EQ(c.last->code, failure::app_misconfigured);
    EXPECT_EQ(c.consents, 0);
  }
  // The secret is mended: as the API does it, the incident is over and all are told.
  mail.app.client_secret = secret<>("new");
  ++mail.app.revision;
  mail.app.blocked_since.reset();
  mail.app.blocked_until.reset();
  for (auto& [id, c] : clients) {
    caf::anon_send(c.refresher, changed_atom::value);
    due.emplace(wall(), id);
  }
  settle();
  run_until(wall() + 30min);
  for (const auto& [id, c] : clients) {
    EXPECT_FALSE(c.last) << id.value;
    EXPECT_FALSE(family[id].revoked) << "no new consent";
  }
}

TEST_F(grants, an_app_that_its_provider_takes_again_is_noticed_by_the_one_that_asks) {
  add(10);
  begin();
  good_secret = "other";
  run_until(wall() + 3h);
  EXPECT_TRUE(mail.app.blocked_since);
  good_secret = "good";
  run_until(wall() + 20min);
  EXPECT_FALSE(mail.app.blocked_since);
  EXPECT_EQ(mail.tells, 1);
}

TEST_F(grants, two_live_secrets_serve_while_one_takes_the_others_place) {
  mail.app.next_secret = secret<>("new");
  add(3);
  begin();
  run_until(wall() + 2h);
  good_secret = "new";
  run_until(wall() + 3h);
  for (const auto& [id, c] : clients) {
    EXPECT_EQ(c.failures, 0) << id.value;
    EXPECT_FALSE(family[id].revoked);
  }
  EXPECT_FALSE(mail.app.blocked_since);
  const auto before = asked;
  run_until(wall() + 55min);
  EXPECT_LE(asked - before, 4U) << "the one that was taken is tried first";
}

}  // namespace
}  // namespace mailherd::actors
