// People's consents end to end: the API, the herd, an OpenID provider that rotates and revokes, Dovecot.
#include "tests/scenario/connect_world.hpp"

namespace mailherd::test {
namespace {

using nlohmann::json;

class connecting : public connect_world {};

bool says(const http_reply& page, const std::string& words) { return page.body.find(words) != std::string::npos; }

TEST_F(connecting, a_consent_in_a_browser_connects_a_channel) {
  deliver(user_, 3);
  const auto c = make_channel(oauth2(make_app()));
  ASSERT_TRUE(wait_state(c, channel_state::consent_pending));
  const auto url = begin(c);
  for (const auto* part : {"code_challenge_method=S256", "login_hint=p", "nonce=", "state=", "redirect_uri=http%3A%2F%2F127.0.0.1"})
    EXPECT_NE(url.find(part), std::string::npos) << part << " in " << url;
  EXPECT_EQ(call("GET", in(c, "/connect")).json()["state"], "pending");
  const auto state_at = url.find("state=") + 6;
  const auto state = url.substr(state_at, url.find('&', state_at) - state_at);
  EXPECT_EQ(database_.query("SELECT count(*) FROM consents r WHERE position('" + state + "' IN r::text) > 0"), "0") << "only its digest is stored";
  const auto page = consent(url, user_);
  EXPECT_EQ(page.status, 200) << page.body;
  EXPECT_TRUE(says(page, "Connected") && says(page, user_)) << page.body;
  EXPECT_NE(page.header("content-security-policy").find("default-src 'none'"), std::string::npos);
  ASSERT_TRUE(wait_stored(c, 3));
  ASSERT_TRUE(wait_serves(c, 1));
  const auto r = call("GET", in(c)).json();
  EXPECT_EQ(r["auth"]["account"], user_);
  EXPECT_EQ(call("GET", in(c, "/connect")).json()["state"], "done");
  EXPECT_NE(events(c).find(user_ + " consented"), std::string::npos);
  EXPECT_EQ(database_.query("SELECT count(*) FROM consents WHERE sealed_secret IS NOT NULL"), "0") << "what has ended keeps no secret";
  EXPECT_EQ(report_.lines().find(state), std::string::npos) << "nor is it logged";
}

TEST_F(connecting, a_password_gives_way_to_a_consent_and_comes_back_without_a_gap) {
  deliver(user_, 2);
  const auto c = make_channel(basic());
  ASSERT_TRUE(wait_serves(c, 1));
  const auto put = call("PUT", in(c, "/auth"), oauth2(make_app()));
  ASSERT_EQ(put.status, 202) << put.body;
  EXPECT_EQ(put.json()["generation"], 2);
  const auto url = begin(c);
  deliver(user_);
  ASSERT_TRUE(wait_stored(c, 3)) << "the password serves while the person is away";
  EXPECT_EQ(channel(c).switching, switch_state::running);
  ASSERT_EQ(consent(url, user_).status, 200);
  ASSERT_TRUE(wait_serves(c, 2)) << "the generation that PUT named";
  EXPECT_EQ(channel(c).switching, switch_state::done);
  deliver(user_);
  ASSERT_TRUE(wait_stored(c, 4));
  for (const std::int64_t back : {3, 4}) {  // to the password, and to the grant again
    const auto r = call("POST", in(c, "/auth/rollback"));
    ASSERT_EQ(r.status, 202) << r.body;
    EXPECT_EQ(r.json()["generation"], back);
    ASSERT_TRUE(wait_serves(c, back));
    EXPECT_EQ(channel(c).auth, back == 3 ? auth_type::basic : auth_type::oauth2);
    deliver(user_);
    ASSERT_TRUE(wait_stored(c, 2 + back));
  }
  EXPECT_EQ(report_.count("switch.ok"), 3);
  EXPECT_EQ(report_.count("switch.gap"), 0);
  EXPECT_TRUE(holds_digests(c, all().server.digests(user_)));
}

TEST_F(connecting, nothing_to_go_back_to_is_a_conflict) {
  const auto c = make_channel(basic());
  ASSERT_TRUE(wait_serves(c, 1));
  EXPECT_EQ(call("POST", in(c, "/auth/rollback")).status, 409);
}

TEST_F(connecting, a_switch_that_failed_is_taken_back) {
  const auto c = make_channel(basic());
  ASSERT_TRUE(wait_serves(c, 1));
  ASSERT_EQ(call("PUT", in(c, "/auth"), {{"type", "basic"}, {"username", user_}, {"password", "wrong"}}).status, 202);
  ASSERT_TRUE(wait([&] { return channel(c).switching == switch_state::failed; }));
  EXPECT_EQ(channel(c).observed_generation, 1);
  ASSERT_EQ(call("POST", in(c, "/auth/rollback")).json()["generation"], 3);
  ASSERT_TRUE(wait_serves(c, 3));
  EXPECT_EQ(channel(c).switching, switch_state::done);
}

TEST_F(connecting, another_account_is_named_and_changes_nothing) {
  const auto other = new_user();
  const auto c = make_channel(basic());
  ASSERT_TRUE(wait_serves(c, 1));
  ASSERT_EQ(call("PUT", in(c, "/auth"), oauth2(make_app())).status, 202);
  const auto page = consent(begin(c), other);
  EXPECT_EQ(page.status, 409);
  EXPECT_TRUE(says(page, user_) && says(page, other)) << page.body;
  EXPECT_FALSE(channel(c).has_grant);
  EXPECT_EQ(channel(c).observed_generation, 1);
  EXPECT_EQ(database_.query("SELECT count(*) FROM credentials WHERE sealed_refresh_token IS NOT NULL"), "0");
  const auto now = call("GET", in(c, "/connect")).json();
  EXPECT_EQ(now["state"], "failed");
  EXPECT_EQ(now["account"], other);
  // The picker: the provider is asked for another account, and the right one is taken.
  browser b;
  const auto pick = open(b, "POST", button(page, "Choose another account"));
  EXPECT_NE(onward(pick).find("prompt=login"), std::string::npos) << onward(pick);
  const auto done = consent(b, onward(pick), user_);
  EXPECT_EQ(done.status, 200) << done.body;
  ASSERT_TRUE(wait_serves(c, 2));
}

TEST_F(connecting, an_alias_is_accepted_when_a_person_says_so) {
  const auto alias = new_user();
  deliver(alias);
  const auto c = make_channel(oauth2(make_app()));
  const auto page = consent(begin(c), alias);
  ASSERT_EQ(page.status, 409);
  browser b;
  const auto accept = button(page, "Use " + alias + " all the same");
  const auto url = onward(open(b, "POST", accept));
  // That one is meant, and no third.
  EXPECT_EQ(consent(b, url, new_user()).status, 409);
  const auto second = onward(open(b, "POST", accept));
  EXPECT_EQ(consent(b, second, alias).status, 200);
  ASSERT_TRUE(wait_stored(c, 1));
  EXPECT_EQ(call("GET", in(c)).json()["auth"]["account"], alias);
  // A reconnect remembers what was meant.
  ASSERT_TRUE(wait_serves(c, 1));
  EXPECT_EQ(consent(begin(c), alias).status, 200);
  ASSERT_TRUE(wait_serves(c, 2));
  // And the API may say it ahead.
  const auto third = new_user();
  EXPECT_EQ(consent(begin(c, {{"allow_other_account", true}}), third).status, 200);
  ASSERT_TRUE(wait([&] { return channel(c).account == third; }));
}

TEST_F(connecting, a_delegate_opens_a_shared_mailbox) {
  const auto shared = new_user();
  deliver(shared, 2);
  all().provider.grant(user_, client_, shared);  // the provider's way to give rights on a mailbox
  const auto c = make_channel(oauth2(make_app(), shared), shared);
  const auto page = consent(begin(c, {{"login_hint", user_}}), user_);
  EXPECT_EQ(page.status, 200);
  EXPECT_TRUE(says(page, user_) && says(page, shared)) << "both are shown";
  ASSERT_TRUE(wait_stored(c, 2));
  const auto r = call("GET", in(c)).json();
  EXPECT_EQ(r["auth"]["account"], user_);
  EXPECT_EQ(r["auth"]["mailbox"], shared);
}

TEST_F(connecting, who_declines_may_try_again) {
  const auto c = make_channel(oauth2(make_app()));
  const auto page = consent(begin(c), user_, true);
  EXPECT_EQ(page.status, 400);
  EXPECT_TRUE(says(page, "not granted")) << page.body;
  EXPECT_EQ(channel(c).state, channel_state::consent_pending);
  browser b;
  EXPECT_EQ(consent(b, onward(open(b, "POST", button(page, "Try again"))), user_).status, 200);
  ASSERT_TRUE(wait_serves(c, 1));
}

TEST_F(connecting, a_return_works_once_in_time_and_for_its_own_request) {
  const auto app = make_app();
  const auto c = make_channel(oauth2(app));
  browser b;
  // Forged.
  for (const auto* path :
       {"/oauth2/callback", "/oauth2/callback?state=x&code=y", "/oauth2/callback?code=y",
        "/oauth2/callback?state=%3Cscript%3E&error=%3Cscript%3E&error_description=%3Cscript%3Ealert(1)&x=1&x=2&session_state=%zz"}) {
    const auto r = open(b, "GET", path);
    EXPECT_EQ(r.status, 400) << path;
    EXPECT_EQ(r.header("location"), "");
    EXPECT_FALSE(says(r, "<script")) << r.body;
  }
  // Hostile words of a "provider" in a real request are not repeated.
  const auto mine = begin(c);
  const auto state_at = mine.find("state=") + 6;
  const auto state = mine.substr(state_at, mine.find('&', state_at) - state_at);
  const auto hostile = open(b, "GET", "/oauth2/callback?state=" + state + "&error=server_error&error_description=%3Cb%3Ecall+0900-123");
  EXPECT_EQ(hostile.status, 400);
  EXPECT_FALSE(says(hostile, "0900")) << hostile.body;
  // Replayed.
  const auto back = all().provider.consent(begin(c), user_);
  EXPECT_EQ(open(b, "GET", back).status, 200);
  const auto again = open(b, "GET", back);
  EXPECT_EQ(again.status, 409);
  EXPECT_TRUE(says(again, "Already used"));
  EXPECT_EQ(channel(c).generation, 1);
  // Too late.
  const auto late = all().provider.consent(begin(c), user_);
  database_.query("UPDATE consents SET expires_at = now() - interval '1 second' WHERE state = 'pending'");
  EXPECT_EQ(open(b, "GET", late).status, 410);
  // Overtaken: somebody changed the credentials.
  const auto overtaken = all().provider.consent(begin(c), user_);
  ASSERT_EQ(call("PUT", in(c, "/auth"), oauth2(app)).status, 202);
  EXPECT_EQ(open(b, "GET", overtaken).status, 409);
  EXPECT_FALSE(channel(c).has_grant);
}

TEST_F(connecting, a_bound_consent_ends_in_the_browser_in_which_it_began) {
  const auto c = make_channel(oauth2(make_app()));
  const auto r = call("POST", in(c, "/connect"), {{"bind_browser", true}, {"return_to", "/console/channels/1"}});
  ASSERT_EQ(r.status, 200);
  const auto cookie = r.header("set-cookie");
  EXPECT_NE(cookie.find("HttpOnly"), std::string::npos);
  EXPECT_NE(cookie.find("SameSite=Lax"), std::string::npos);
  const auto back = all().provider.consent(r.json()["authorize_url"].get<std::string>(), user_);
  browser stranger, right{cookie.substr(0, cookie.find(';'))};
  EXPECT_EQ(open(stranger, "GET", back).status, 403);
  stranger.cookie = "mailherd_connect=" + std::string(43, 'A');
  EXPECT_EQ(open(stranger, "GET", back).status, 403);
  const auto page = open(right, "GET", back);
  EXPECT_EQ(page.status, 200) << "a stranger's try has not used it up";
  EXPECT_TRUE(says(page, "href=\"/console/channels/1\""));
}

TEST_F(connecting, a_link_lets_the_mailboxs_owner_consent_once) {
  const auto c = make_channel(oauth2(make_app()));
  const auto r = call("POST", in(c, "/connect"), {{"link", true}, {"expires_in", 3600}});
  ASSERT_EQ(r.status, 200) << r.body;
  const auto url = r.json()["url"].get<std::string>();
  browser owner, looker;
  for (int i = 0; i < 3; ++i) {  // mail filters look at links
    const auto page = open(looker, "GET", url);
    EXPECT_EQ(page.status, 200);
    EXPECT_TRUE(says(page, user_));
  }
  const auto declined = consent(owner, onward(open(owner, "POST", url)), user_, true);
  EXPECT_EQ(declined.status, 400);
  const auto other = new_user();
  const auto wrong = consent(owner, onward(open(owner, "POST", url)), other);
  EXPECT_EQ(wrong.status, 409);
  EXPECT_EQ(button(wrong, "Use " + other + " all the same"), "") << "that is for whoever sent the link to decide";
  const auto authorize = onward(open(owner, "POST", url));
  const auto back = all().provider.consent(authorize, user_);
  EXPECT_EQ(open(looker, "GET", back).status, 403);
  EXPECT_EQ(open(owner, "GET", back).status, 200);
  ASSERT_TRUE(wait_serves(c, 1));
  EXPECT_EQ(open(looker, "GET", url).status, 410);
  EXPECT_EQ(open(looker, "POST", url).status, 410);
  EXPECT_EQ(open(looker, "GET", "/oauth2/link/never-made").status, 404);
}

TEST_F(connecting, a_device_code_connects_without_a_browser_of_ours) {
  const auto c = make_channel(oauth2(make_app()));
  const auto r = call("POST", in(c, "/connect"), {{"flow", "device"}});
  ASSERT_EQ(r.status, 200) << r.body;
  const auto code = r.json()["user_code"].get<std::string>();
  EXPECT_EQ(call("GET", in(c, "/connect")).json()["user_code"], code);
  all().provider.approve_device(code, user_);
  ASSERT_TRUE(wait([&] { return call("GET", in(c, "/connect")).json()["state"] == "done"; })) << call("GET", in(c, "/connect")).body;
  ASSERT_TRUE(wait_serves(c, 1));
  EXPECT_EQ(call("GET", in(c)).json()["auth"]["account"], user_);
}

TEST_F(connecting, a_provider_is_found_by_its_issuer_or_by_microsofts_authority) {
  const auto issuer = make_app({{"issuer", all().provider.issuer()},
                                {"authorize_url", nullptr},
                                {"token_url", nullptr},
                                {"device_url", nullptr},
                                {"scopes", {"mail", "offline_access"}}});
  const auto c = make_channel(oauth2(issuer));
  const auto url = begin(c);
  EXPECT_NE(url.find("openid"), std::string::npos) << "who consents is asked for";
  EXPECT_EQ(consent(url, user_).status, 200);
  ASSERT_TRUE(wait_serves(c, 1)) << "and refreshes find the token endpoint as well";
  const auto microsoft = make_app({{"provider", "microsoft"},
                                   {"authority", all().provider.authority("organizations")},
                                   {"authorize_url", nullptr},
                                   {"token_url", nullptr},
                                   {"device_url", nullptr},
                                   {"scopes", nullptr}});
  ASSERT_EQ(call("PUT", in(c, "/auth"), oauth2(microsoft)).status, 202);
  const auto page = consent(begin(c), user_);
  EXPECT_EQ(page.status, 200) << page.body;
  ASSERT_TRUE(wait_serves(c, 2));
}

TEST_F(connecting, what_the_provider_cannot_do_is_said_at_once) {
  const auto gone =
      make_channel(oauth2(make_app({{"issuer", "http://127.0.0.1:1"}, {"authorize_url", nullptr}, {"token_url", nullptr}, {"device_url", nullptr}})));
  EXPECT_EQ(call("POST", in(gone, "/connect")).status, 503);
  const auto password = make_channel(basic());
  EXPECT_EQ(call("POST", in(password, "/connect")).status, 422);
  const auto app_only = make_channel({{"type", "oauth2"}, {"app", make_app()}, {"grant", "client_credentials"}, {"mailbox", user_}});
  const auto r = call("POST", in(app_only, "/connect"));
  EXPECT_EQ(r.status, 422);
  EXPECT_TRUE(says(r, "setup")) << r.body;
  for (const auto* path : {"//evil.test", "https://evil.test", "/\\evil.test", "javascript:alert(1)"})
    EXPECT_EQ(call("POST", in(gone, "/connect"), {{"return_to", path}}).status, 422) << path;
}

TEST_F(connecting, a_provider_without_a_description_of_itself_leaves_the_word_to_the_mail_server) {
  const auto c = make_channel(oauth2(make_app()));
  all().provider.add_fault({.match = "/.well-known/openid-configuration", .status = 404, .body = "no", .times = 1});
  // Nothing the herd knows already may help: discovery remembers for an hour.
  const auto page = consent(begin(c), user_);
  EXPECT_EQ(page.status, 200) << page.body;
  ASSERT_TRUE(wait_serves(c, 1));
  const auto wrong = make_app({{"issuer", all().provider.issuer() + "/nowhere"}});
  ASSERT_EQ(call("PUT", in(c, "/auth"), oauth2(wrong)).status, 202);
  EXPECT_EQ(consent(begin(c), user_).status, 502) << "an issuer that is none is said";
}

TEST_F(connecting, a_code_that_is_refused_and_a_provider_that_is_down_store_nothing) {
  const auto c = make_channel(oauth2(make_app()));
  all().provider.add_fault({.match = "/token authorization_code " + client_, .status = 503, .body = "<html>", .times = 1});
  const auto down = consent(begin(c), user_);
  EXPECT_EQ(down.status, 502);
  EXPECT_NE(button(down, "Try again"), "");
  all().provider.add_fault({.match = "/token authorization_code " + client_, .status = 400, .body = R"({"error":"invalid_grant"})", .times = 1});
  EXPECT_EQ(consent(begin(c), user_).status, 502);
  EXPECT_FALSE(channel(c).has_grant);
  EXPECT_EQ(consent(begin(c), user_).status, 200);
}

TEST_F(connecting, a_revoked_grant_asks_once_and_a_new_consent_mends_it) {
  const auto c = make_channel(oauth2(make_app()));
  ASSERT_EQ(consent(begin(c), user_).status, 200);
  ASSERT_TRUE(wait_serves(c, 1));
  all().provider.revoke(user_);
  ASSERT_EQ(call("PATCH", in(c), {{"enabled", false}}).status, 200);
  ASSERT_TRUE(wait_state(c, channel_state::disabled));
  ASSERT_TRUE(wait([&] { return channel(c).node.empty(); })) << "the lease is given back";
  all().provider.clear_log();
  ASSERT_EQ(call("PATCH", in(c), {{"enabled", true}}).status, 200);
  ASSERT_TRUE(wait_state(c, channel_state::needs_reauth, "consent_required"));
  const auto asked = [&] {
    std::size_t n = 0;
    for (const auto& e : all().provider.log()) n += e.client == client_ ? 1 : 0;
    return n;
  };
  EXPECT_EQ(asked(), 1U) << "the endpoint's word is believed at once";
  EXPECT_EQ(call("POST", in(c, "/test")).json()["steps"][0]["reason"], "consent_required");
  EXPECT_EQ(asked(), 1U) << "and nobody asks again";
  EXPECT_EQ(database_.query("SELECT count(*) FROM channel_events WHERE state = 'needs_reauth'"), "1");
  deliver(user_);
  ASSERT_EQ(consent(begin(c), user_).status, 200);
  ASSERT_TRUE(wait_serves(c, 2));
  ASSERT_TRUE(wait_stored(c, 1));
}

TEST_F(connecting, another_tenant_sees_nothing_of_it) {
  const auto c = make_channel(oauth2(make_app()));
  begin(c);
  const auto other = call("POST", "/v1/tenants", {{"name", "Rival"}}).json()["id"].get<std::string>();
  const auto key = call("POST", "/v1/tenants/" + other + "/api-keys", {{"name", "k"}}).json()["key"].get<std::string>();
  for (const auto& [method, rest] : {std::pair{"POST", "/connect"}, {"GET", "/connect"}, {"POST", "/auth/rollback"}}) {
    EXPECT_EQ(call(method, in(c, rest), nullptr, key).status, 404) << rest;
    EXPECT_EQ(call(method, "/v1/tenants/" + other + "/channels/" + to_string(c) + rest, nullptr, key).status, 404) << rest;
  }
}

}  // namespace
}  // namespace mailherd::test
