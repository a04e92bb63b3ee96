// The token refresher: what must be durable before what is used, who may be asked for what, and how often.
#include "actors/token_refresher.hpp"

#include <fmt/format.h>

#include "tests/actors/memory_mail.hpp"
#include "tests/actors/world.hpp"

namespace mailherd::actors {
namespace {

constexpr tenant_id tenant{1};
constexpr channel_id channel{7};

class refresher : public test::world {
 public:
  refresher() {
    store.stores = &mail;
    auto& load = mail.add(tenant, channel).load;
    load.record.generation = load.record.observed_generation = 1;
    load.record.auth = auth_type::oauth2;
    load.credential.type = auth_type::oauth2;
    load.credential.app = app_id{3};
    load.credential.refresh_token = secret<>("r0");
    load.serving = load.credential;
    load.app.emplace();
    load.app->id = app_id{3};
    load.app->tenant = tenant;
    load.app->client_id = "client";
    load.app->client_secret = secret<>("app-secret");
    load.app->token_url = "https://idp.test/token";
    it = owned(spawn_token_refresher(system, env, {tenant, channel, 1}));
  }
  ~refresher() override {
    store.held = false;
    store.up = true;
    mail.fault = {};
    for (auto& kill : at_end) kill();
    at_end.clear();
    it = nullptr;
    http.calls.clear();
    settle();
    advance(std::chrono::minutes(2));
  }

  void ask(std::int64_t generation = 1, std::uint64_t refused = 0) {
    auto r = std::make_shared<token_request>();
    r->generation = generation;
    r->refused = refused;
    r->then = {me(), [this](result<access_token> t) { answers.push_back(std::move(t)); }};
    caf::anon_send(it, token_atom::value, std::move(r));
    settle();
  }
  void reply(const std::string& token, const std::string& refresh = {}, int life = 3600) {
    http.reply(200, fmt::format(R"({{"access_token":"{}","token_type":"Bearer","expires_in":{}{}}})", token, life,
                                refresh.empty() ? "" : fmt::format(R"(,"refresh_token":"{}")", refresh)));
    settle();
  }
  void refuse(int status, const std::string& body, std::vector<std::pair<std::string, std::string>> headers = {}) {
    http.reply(status, body, std::move(headers));
    settle();
  }
  std::string last() {
    if (answers.empty()) return "none";
    return answers.back() ? answers.back()->value.reveal() : std::string(to_string(answers.back().error().code));
  }
  test::memory_mail::row& row() { return mail.channels.at(channel); }
  std::string stored() { return row().load.credential.refresh_token.reveal(); }

  test::memory_mail mail;
  token_refresher_actor it;
  std::vector<result<access_token>> answers;
};

TEST_F(refresher, makes_a_rotated_token_durable_before_its_access_token_is_used) {
  ask();
  ASSERT_EQ(http.calls.size(), 1U);
  EXPECT_NE(http.bodies[0].find("refresh_token=r0"), std::string::npos);
  store.held = true;
  reply("t1", "r1");
  EXPECT_EQ(last(), "none") << "not before it is on the disk";
  store.held = false;
  settle();
  EXPECT_EQ(last(), "t1");
  EXPECT_EQ(stored(), "r1");
}

TEST_F(refresher, refreshes_once_for_all_who_wait) {
  for (int i = 0; i < 10; ++i) ask();
  EXPECT_EQ(http.sent, 1U);
  reply("t1", "r1");
  EXPECT_EQ(answers.size(), 10U);
  for (const auto& a : answers) EXPECT_EQ(a->value.reveal(), "t1");
  ask();
  EXPECT_EQ(http.sent, 1U) << "from memory";
  EXPECT_EQ(answers.size(), 11U);
}

TEST_F(refresher, renews_before_the_token_ends) {
  ask();
  reply("t1", "r1");
  advance(seconds(3600) - limits::token_renew_ahead + seconds(1));
  ask();
  EXPECT_EQ(http.sent, 2U);
  EXPECT_NE(http.bodies[1].find("refresh_token=r1"), std::string::npos) << "with the newest refresh token";
  reply("t2");
  EXPECT_EQ(last(), "t2");
}

TEST_F(refresher, keeps_the_refresh_token_where_the_provider_names_none) {
  ask();
  reply("t1");
  EXPECT_EQ(last(), "t1");
  EXPECT_EQ(stored(), "r0");
}

TEST_F(refresher, does_not_give_a_refused_token_again) {
  ask();
  reply("t1", "r1");
  ask(1, answers.back()->serial);
  EXPECT_EQ(http.sent, 2U);
  reply("t2", "r2");
  EXPECT_EQ(last(), "t2");
  ask(1, 1);   // the older one was refused: what is here is another one
  EXPECT_EQ(http.sent, 2U);
  EXPECT_EQ(last(), "t2");
}

TEST_F(refresher, asks_for_consent_only_when_the_endpoint_says_so) {
  struct { int status; std::string body; std::string expected; } const cases[] = {
      {500, R"({"error":"server_error"})", "token_unavailable"},
      {503, "<html>maintenance</html>", "token_unavailable"},
      {200, "<html>hotel wifi</html>", "token_unavailable"},
      {400, "not json", "token_unavailable"},
      {429, R"({"error":"temporarily_unavailable"})", "token_unavailable"},
      {400, R"({"error":"temporarily_unavailable"})", "token_unavailable"},
      {401, R"({"error":"invalid_client"})", "app_misconfigured"},
      {400, R"({"error":"invalid_grant"})", "consent_required"},
      {400, R"({"error":"interaction_required"})", "consent_required"},
  };
  for (const auto& c : cases) {
    caf::anon_send(it, changed_atom::value);
    ask();
    ASSERT_FALSE(http.calls.empty()) << c.body;
    refuse(c.status, c.body);
    while (!http.calls.empty()) refuse(c.status, c.body);   // the second try with the secret in the header
    EXPECT_EQ(last(), c.expected) << c.status << " " << c.body;
  }
}

TEST_F(refresher, an_unreachable_endpoint_says_nothing_about_the_grant) {
  for (const auto why : {failure::timed_out, failure::dns_failed, failure::connect_refused, failure::connection_lost, failure::certificate_expired}) {
    caf::anon_send(it, changed_atom::value);
    ask();
    ASSERT_EQ(http.calls.size(), 1U);
    auto call = std::move(http.calls.front());
    http.calls.clear();
    call.on_done(fail(why, "by order of the test"));
    settle();
    EXPECT_EQ(last(), "token_unavailable") << to_string(why);
  }
}

TEST_F(refresher, waits_as_long_as_the_endpoint_wants) {
  ask();
  refuse(429, R"({"error":"temporarily_unavailable"})", {{"retry-after", "120"}});
  ASSERT_TRUE(answers.back().error().retry_at);
  EXPECT_EQ(*answers.back().error().retry_at, wall() + seconds(120));
  advance(seconds(119));
  ask();
  EXPECT_EQ(http.sent, 1U);
  EXPECT_EQ(last(), "token_unavailable");
  advance(seconds(2));
  ask();
  EXPECT_EQ(http.sent, 2U);
}

TEST_F(refresher, asks_a_failing_endpoint_less_and_less_often) {
  for (int i = 0; i < 3600; ++i) {
    ask();
    if (!http.calls.empty()) refuse(503, "later");
    advance(seconds(1));
  }
  EXPECT_LE(http.sent, 30U);
  EXPECT_GE(http.sent, 10U);
}

TEST_F(refresher, remembers_what_only_a_person_can_change) {
  ask();
  refuse(400, R"({"error":"invalid_grant"})");
  EXPECT_EQ(last(), "consent_required");
  advance(std::chrono::hours(24));
  ask();
  EXPECT_EQ(http.sent, 1U);
  row().load.credential.refresh_token = row().load.serving.refresh_token = secret<>("consented");
  caf::anon_send(it, changed_atom::value);
  ask();
  ASSERT_EQ(http.sent, 2U);
  reply("t1", "r1");
  EXPECT_EQ(last(), "t1");
}

TEST_F(refresher, an_administrators_no_is_asked_again_seldom) {
  row().load.app->provider = provider_kind::microsoft;
  row().load.app->authority = "contoso.test";
  ask();
  refuse(400, R"({"error":"invalid_grant","error_description":"AADSTS53003: blocked by conditional access","error_codes":[53003]})");
  EXPECT_EQ(last(), "admin_required");
  advance(limits::token_blocked_retry - seconds(5));
  ask();
  EXPECT_EQ(http.sent, 1U);
  advance(seconds(10));
  ask();
  EXPECT_EQ(http.sent, 2U);
}

TEST_F(refresher, believes_a_no_only_about_the_newest_refresh_token) {
  ask();
  row().load.credential.refresh_token = row().load.serving.refresh_token = secret<>("somebody-consented");
  refuse(400, R"({"error":"invalid_grant"})");
  EXPECT_EQ(answers.size(), 0U);
  ASSERT_EQ(http.calls.size(), 1U);
  EXPECT_NE(http.bodies.back().find("somebody-consented"), std::string::npos);
  reply("t1", "r1");
  EXPECT_EQ(last(), "t1");
}

TEST_F(refresher, reads_again_when_somebody_else_rotated_first) {
  ask();
  row().load.credential.refresh_token = row().load.serving.refresh_token = secret<>("theirs");
  reply("t1", "ours");
  EXPECT_EQ(answers.size(), 0U);
  ASSERT_EQ(http.calls.size(), 1U);
  EXPECT_NE(http.bodies.back().find("theirs"), std::string::npos);
  reply("t2", "r2");
  EXPECT_EQ(last(), "t2");
  EXPECT_EQ(stored(), "r2");
}

TEST_F(refresher, a_rotation_whose_answer_was_lost_is_no_conflict) {
  ask();
  int times = 0;
  mail.fault = [&](std::string_view what) -> std::optional<failure> {
    if (what != "rotate" || times++ > 0) return std::nullopt;
    row().load.credential.refresh_token = row().load.serving.refresh_token = secret<>("r1");   // written, and the connection broke
    return failure::store_unavailable;
  };
  reply("t1", "r1");
  advance(seconds(2));
  EXPECT_EQ(last(), "t1");
  EXPECT_EQ(http.sent, 1U);
}

TEST_F(refresher, keeps_a_rotated_token_until_the_database_takes_it) {
  ask();
  store.up = false;
  reply("t1", "r1");
  advance(seconds(30));
  EXPECT_EQ(last(), "none");
  advance(seconds(60));
  EXPECT_EQ(last(), "store_unavailable") << "those who wait are told; the writing goes on";
  EXPECT_EQ(stored(), "r0");
  advance(std::chrono::minutes(10));
  store.up = true;
  advance(seconds(15));
  EXPECT_EQ(stored(), "r1");
  ask();
  EXPECT_EQ(last(), "t1");
  EXPECT_EQ(http.sent, 1U);
}

TEST_F(refresher, spends_nothing_under_a_lease_that_is_over) {
  row().epoch = 2;
  ask();
  EXPECT_EQ(last(), "fenced");
  EXPECT_EQ(http.sent, 0U);
}

TEST_F(refresher, says_so_when_the_generation_is_gone) {
  row().load.record.generation = 5;
  row().load.record.observed_generation = 4;
  ask(1);
  EXPECT_EQ(last(), "cancelled");
  EXPECT_EQ(http.sent, 0U);
}

TEST_F(refresher, finishes_a_refresh_before_it_ends) {
  ask();
  caf::anon_send(it, stop_atom::value);
  settle();
  EXPECT_EQ(last(), "cancelled");
  EXPECT_FALSE(ended(it));
  reply("t1", "r1");
  EXPECT_EQ(stored(), "r1");
  EXPECT_TRUE(ended(it));
}

TEST_F(refresher, outlives_its_owner_until_the_rotated_token_is_durable) {
  ask();
  caf::anon_send_exit(it, caf::exit_reason::user_shutdown);
  at_end.clear();
  const auto who = caf::actor_cast<caf::weak_actor_ptr>(it);
  it = nullptr;
  store.up = false;
  reply("t1", "r1");
  advance(seconds(3));
  store.up = true;
  advance(seconds(10));
  EXPECT_EQ(stored(), "r1");
  EXPECT_TRUE(env.roster->living().empty());
}

TEST_F(refresher, ends_in_bounded_time_although_the_endpoint_never_answers) {
  ask();
  caf::anon_send(it, stop_atom::value);
  advance(limits::token_deadline + seconds(15));
  EXPECT_TRUE(ended(it));
}

TEST_F(refresher, an_applications_own_token_rotates_nothing) {
  auto& load = row().load;
  load.credential.grant = grant_kind::client_credentials;
  load.credential.refresh_token = {};
  load.serving = load.credential;
  mail.fault = [](std::string_view what) { return what == "rotate" ? std::optional(failure::store_failed) : std::nullopt; };
  ask();
  ASSERT_EQ(http.calls.size(), 1U);
  EXPECT_NE(http.bodies[0].find("grant_type=client_credentials"), std::string::npos);
  reply("t1", "nobody-wants-this");
  EXPECT_EQ(last(), "t1");
}

TEST_F(refresher, shows_no_secret_in_its_log) {
  ask();
  store.up = false;
  reply("canary-access", "canary-refresh");
  advance(std::chrono::minutes(3));
  for (const auto& line : report.lines) {
    EXPECT_EQ(line.find("canary"), std::string::npos) << line;
    EXPECT_EQ(line.find("app-secret"), std::string::npos) << line;
  }
}

TEST_F(refresher, a_grant_is_renewed_by_one_node_at_a_time) {
  // The owner of the channel and the node that stands by to take it over: both want a token at the same moment.
  const auto there = owned(spawn_token_refresher(system, env, {tenant, channel, 1}));
  std::vector<result<access_token>> theirs;
  const auto ask_there = [&] {
    auto r = std::make_shared<token_request>();
    r->generation = 1;
    r->then = {me(), [&theirs](result<access_token> t) { theirs.push_back(std::move(t)); }};
    caf::anon_send(there, token_atom::value, std::move(r));
    settle();
  };
  ask();
  ask_there();
  advance(seconds(10));
  EXPECT_EQ(http.sent, 1U) << "a refresh token that is used twice at once is taken for stolen";
  reply("t1", "r1");
  EXPECT_EQ(last(), "t1");
  advance(seconds(2));
  ASSERT_EQ(http.sent, 2U);
  EXPECT_NE(http.bodies[1].find("refresh_token=r1"), std::string::npos) << "with what the first one made durable";
  reply("t2", "r2");
  ASSERT_EQ(theirs.size(), 1U);
  EXPECT_EQ(theirs[0]->value.reveal(), "t2");
  EXPECT_EQ(stored(), "r2");
  EXPECT_TRUE(mail.grant_holds.empty());
}

TEST_F(refresher, a_node_that_died_while_it_renewed_is_waited_for_no_longer_than_its_hold) {
  mail.clock = [this] { return now(); };
  mail.grant_holds[channel] = {4711, now() + limits::token_hold};
  ask();
  advance(limits::token_hold - seconds(2));
  EXPECT_EQ(http.sent, 0U);
  advance(seconds(4));
  EXPECT_EQ(http.sent, 1U);
  reply("t1", "r1");
  EXPECT_EQ(last(), "t1");
}

TEST_F(refresher, gives_the_grant_back_after_a_refusal_and_when_it_is_stopped) {
  ask();
  refuse(503, "down");
  EXPECT_TRUE(mail.grant_holds.empty());
  advance(seconds(30));
  ask();
  ASSERT_EQ(http.sent, 2U);
  EXPECT_FALSE(mail.grant_holds.empty());
  caf::anon_send(it, stop_atom::value);
  reply("t1", "r1");
  EXPECT_TRUE(mail.grant_holds.empty());
  EXPECT_EQ(stored(), "r1");
}

}  // namespace
}  // namespace mailherd::actors
