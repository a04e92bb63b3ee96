// Sessions of the fetcher: succession (make before break), tokens, switches of credentials and of servers.
#include "tests/actors/fetching.hpp"

namespace mailherd::actors {
namespace {

class succession : public test::fetching {
 public:
  static credential password(const std::string& secret, const std::string& name = "joe") {
    credential c;
    c.username = name;
    c.password = mailherd::secret<>(secret);
    return c;
  }
  /// The successor had the mailbox before the older session was told to go.
  void expect_make_before_break(unsigned older, unsigned newer) {
    const auto opened = place(fmt::format("*opened {}", newer)), logout = place("LOGOUT"), closed = place(fmt::format("*closed {}", older));
    ASSERT_NE(opened, std::string::npos) << story();
    EXPECT_LT(opened, logout) << story();
    EXPECT_LT(opened, closed) << story();
  }
};

// ---- tokens -------------------------------------------------------------------------------------------------------------------------------

TEST_F(succession, a_fresh_token_takes_over_before_the_old_one_expires) {
  use_oauth2();
  start_all();
  EXPECT_EQ(imap.logins, (std::vector<std::string>{"t1"}));
  advance(seconds(3600 - 300 - 130));
  EXPECT_EQ(imap.logins.size(), 1U) << "not before it is due";
  advance(seconds(130));
  EXPECT_EQ(imap.logins, (std::vector<std::string>{"t1", "t2"}));
  expect_make_before_break(1, 2);
  imap.add(mail_of("new", 1), wall());
  settle();
  EXPECT_EQ(row().messages.size(), 1U);
  EXPECT_EQ(row().load.credential.refresh_token.reveal(), "r2");
  ASSERT_TRUE(record().token_expires_at);
  EXPECT_GT(*record().token_expires_at, wall() + seconds(3000));
  // A day of it: one session an hour, no more.
  advance(std::chrono::hours(24));
  EXPECT_NEAR(static_cast<double>(imap.logins.size()), 27.0, 2.0);
  EXPECT_EQ(imap.selected(), 1U);
}

TEST_F(succession, mail_in_hand_is_stored_once_when_the_successor_takes_over_in_the_middle) {
  use_oauth2();
  fill(2000, "old", 2000);
  spec().start.from = start_point::kind::all;
  start();
  mail.fault = [](std::string_view what) { return what == "commit" ? std::optional(failure::store_unavailable) : std::nullopt; };
  fill(500, "more");
  advance(seconds(3600));
  mail.fault = {};
  advance(std::chrono::minutes(3));
  expect_all_once();
}

TEST_F(succession, breaks_before_it_makes_where_one_session_is_allowed_and_only_there) {
  use_oauth2();
  imap.sessions_at_most = 1;
  start_all();
  advance(seconds(3700));
  ASSERT_GE(imap.logins.size(), 2U) << story();
  const auto second = place("*opened 3");
  EXPECT_LT(place("*closed 1"), second) << story();
  EXPECT_EQ(imap.selected(), 1U);
  imap.add(mail_of("new", 1), wall());
  settle();
  EXPECT_EQ(row().messages.size(), 1U);
  // The next time it does not try in vain first.
  const auto tries = imap.logins.size();
  advance(seconds(3600));
  EXPECT_EQ(imap.logins.size(), tries + 1);
}

TEST_F(succession, a_session_that_is_still_logging_out_does_not_make_a_gap_where_two_are_allowed) {
  imap.sessions_at_most = 2;
  imap.on_command = [](auto& session, const auto& c) -> std::optional<std::string> {
    return session.number() == 1 && c.name == "LOGOUT" ? std::optional("") : std::nullopt;   // it takes its time
  };
  start_all();
  put_credential(password("secret"));
  advance(milliseconds(100));
  ASSERT_EQ(imap.selected(), 2U) << story();
  put_credential(password("secret"));
  advance(std::chrono::minutes(2));
  EXPECT_EQ(record().observed_generation, 3);
  const auto third = place("*opened", place("*opened 2") + 1);
  ASSERT_NE(third, std::string::npos) << story();
  EXPECT_LT(third, place("*closed 2")) << story();
  EXPECT_EQ(imap.selected(), 1U);
}

TEST_F(succession, the_old_session_serves_while_the_token_endpoint_is_away) {
  use_oauth2();
  start_all();
  const auto endpoint = std::exchange(http.answer, [](const net::http_request&) -> std::optional<result<net::http_reply>> {
    return net::http_reply{503, {}, "<html>later</html>"};
  });
  advance(seconds(3600 - 60));
  EXPECT_EQ(imap.logins.size(), 1U);
  EXPECT_EQ(row().state(), channel_state::active);
  imap.add(mail_of("meanwhile", 1), wall());
  settle();
  EXPECT_EQ(row().messages.size(), 1U);
  // The server ends it at the token's end; people are not asked for anything.
  imap.bye_all("Session invalidated - AccessTokenExpired");
  advance(std::chrono::minutes(20));
  EXPECT_EQ(row().state(), channel_state::backoff);
  EXPECT_EQ(record().state_reason, "token_unavailable");
  http.answer = endpoint;
  advance(std::chrono::minutes(10));
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(succession, a_refused_token_is_renewed_once_and_never_asks_for_a_person) {
  use_oauth2();
  std::size_t refused = 0;
  imap.on_command = [&](auto&, const auto& c) -> std::optional<std::string> {
    if (c.name != "AUTHENTICATE") return std::nullopt;
    ++refused;
    return c.tag + " NO AUTHENTICATE failed.\r\n";
  };
  start_all();
  EXPECT_EQ(tokens_given, 2) << "a fresh one, once";
  EXPECT_EQ(row().state(), channel_state::backoff);
  EXPECT_EQ(record().state_reason, "token_rejected");
  advance(std::chrono::hours(10));
  EXPECT_LE(refused, 60U) << "not hammered";
  EXPECT_LE(tokens_given, 15);
  for (const auto& s : row().states) EXPECT_NE(s.state, channel_state::needs_reauth);
  imap.on_command = {};
  advance(std::chrono::hours(2));
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(succession, one_refused_token_costs_one_more_sign_in_and_no_state) {
  use_oauth2();
  start_all();
  imap.tokens.clear();   // revoked
  imap.bye_all("Session invalidated");
  advance(seconds(5));
  EXPECT_EQ(imap.logins.back(), "t2");
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(succession, asks_for_consent_only_when_the_token_endpoint_does) {
  use_oauth2();
  start_all();
  http.answer = [](const net::http_request&) -> std::optional<result<net::http_reply>> { return net::http_reply{400, {}, R"({"error":"invalid_grant"})"}; };
  advance(seconds(3600));
  EXPECT_EQ(row().state(), channel_state::active) << "the old session serves to its end";
  imap.bye_all("Session invalidated - AccessTokenExpired");
  advance(seconds(10));
  EXPECT_EQ(row().state(), channel_state::needs_reauth);
  const auto asked = http.sent;
  advance(std::chrono::hours(48));
  EXPECT_EQ(http.sent, asked) << "nothing is asked again before a person acted";
  // The person consents.
  give_tokens();
  row().load.credential.refresh_token = secret<>("r-new");
  changed();
  advance(seconds(5));
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(succession, waits_for_a_first_consent) {
  use_oauth2();
  row().load.credential.refresh_token = {};
  record().has_grant = false;
  start_all();
  EXPECT_EQ(row().state(), channel_state::consent_pending);
  EXPECT_EQ(net.dialed, 0U);
  EXPECT_EQ(http.sent, 0U);
  row().load.credential.refresh_token = secret<>("r0");
  record().has_grant = true;
  changed();
  advance(seconds(5));
  EXPECT_EQ(row().state(), channel_state::active);
}

// ---- switches -----------------------------------------------------------------------------------------------------------------------------

TEST_F(succession, a_new_credential_takes_over_and_is_observed) {
  start_all();
  use_oauth2();
  auto c = oauth2_credential();
  row().load.credential = password("secret");
  record().auth = auth_type::basic;
  row().load.serving = row().load.credential;
  put_credential(c);
  advance(seconds(5));
  EXPECT_EQ(imap.logins, (std::vector<std::string>{"secret", "t1"}));
  expect_make_before_break(1, 2);
  EXPECT_EQ(record().observed_generation, 2);
  EXPECT_EQ(record().switching, switch_state::done);
  imap.add(mail_of("new", 1), wall());
  settle();
  EXPECT_EQ(row().messages.size(), 1U);
}

TEST_F(succession, a_credential_that_fails_leaves_the_old_one_serving) {
  start_all();
  put_credential(password("wrong"));
  advance(seconds(30));
  EXPECT_EQ(record().observed_generation, 1);
  EXPECT_EQ(record().switching, switch_state::failed);
  EXPECT_NE(record().switch_error, "");
  EXPECT_EQ(row().state(), channel_state::active);
  EXPECT_EQ(imap.idling(), 1U);
  const auto dialed = net.dialed;
  advance(std::chrono::hours(5));
  EXPECT_EQ(net.dialed, dialed) << "until somebody changes it";
  // Also after a restart, and after a lost connection.
  kill();
  start();
  advance(seconds(5));
  EXPECT_EQ(imap.logins.back(), "secret");
  imap.bye_all("restart");
  advance(seconds(10));
  EXPECT_EQ(row().state(), channel_state::active);
  // And mended.
  put_credential(password("secret"));
  advance(seconds(5));
  EXPECT_EQ(record().observed_generation, 3);
  EXPECT_EQ(record().switching, switch_state::done);
}

TEST_F(succession, tokens_of_the_old_credential_are_renewed_while_the_new_one_does_not_work) {
  use_oauth2();
  start_all();
  put_credential(password("wrong"));
  advance(seconds(5));
  EXPECT_EQ(record().switching, switch_state::failed);
  advance(seconds(3700));
  EXPECT_EQ(imap.logins, (std::vector<std::string>{"t1", "t2"}));
  EXPECT_EQ(imap.selected(), 1U);
}

TEST_F(succession, a_switch_to_a_grant_that_is_not_there_yet_runs_until_it_is) {
  start_all();
  auto c = oauth2_credential();
  c.refresh_token = {};
  row().load.app = app();
  give_tokens();
  put_credential(c);
  advance(std::chrono::hours(3));
  EXPECT_EQ(record().switching, switch_state::running);
  EXPECT_EQ(imap.idling(), 1U);
  EXPECT_EQ(http.sent, 0U);
  imap.bye_all("restart");
  advance(seconds(10));
  EXPECT_EQ(imap.logins, (std::vector<std::string>{"secret", "secret"}));
  row().load.credential.refresh_token = secret<>("r0");
  record().has_grant = true;
  changed();
  advance(seconds(5));
  EXPECT_EQ(imap.logins.back(), "t1");
  EXPECT_EQ(record().observed_generation, 2);
  EXPECT_EQ(record().switching, switch_state::done);
}

TEST_F(succession, a_change_while_the_first_session_opens_is_not_forgotten) {
  imap.on_command = [](auto&, const auto& c) -> std::optional<std::string> { return c.name == "EXAMINE" ? std::optional("") : std::nullopt; };
  start();
  imap.on_command = {};
  imap.passwords["joe"] = "newer";
  put_credential(password("newer"));
  // The first attempt hangs at SELECT until its deadline.
  advance(limits::attempt_deadline + seconds(10));
  EXPECT_EQ(record().observed_generation, 2);
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(succession, a_newer_credential_overtakes_one_that_is_still_opening) {
  start_all();
  bool hang = true;
  imap.on_command = [&](auto& session, const auto& c) -> std::optional<std::string> {
    return hang && session.number() == 2 && c.name == "AUTHENTICATE" ? std::optional("") : std::nullopt;
  };
  put_credential(password("never right"));
  advance(seconds(2));
  put_credential(password("secret"));
  advance(limits::attempt_deadline + seconds(10));
  EXPECT_EQ(record().observed_generation, 3);
  EXPECT_EQ(record().switching, switch_state::done);
  // And one that takes over although it is the newest no longer.
  put_credential(password("secret"));
  record().generation += 1;
  changed();
  advance(seconds(10));
  EXPECT_EQ(record().observed_generation, 5);
}

TEST_F(succession, a_generation_taken_up_after_a_restart_is_observed_too) {
  start_all();
  kill();
  imap.passwords["joe"] = "newer";
  row().load.record.generation = 2;
  row().load.record.switching = switch_state::running;
  row().load.serving = row().load.credential;
  row().load.credential = password("newer");
  start();
  advance(seconds(5));
  EXPECT_EQ(record().observed_generation, 2);
  EXPECT_EQ(record().switching, switch_state::done);
}

TEST_F(succession, a_generation_that_fails_after_a_restart_gives_way_to_the_one_that_served) {
  fill(3);
  start_all();
  kill();
  row().load.record.generation = 2;
  row().load.record.switching = switch_state::running;
  row().load.serving = row().load.credential;
  row().load.credential = password("wrong");
  start();
  advance(seconds(5));
  EXPECT_EQ(imap.idling(), 1U);
  EXPECT_EQ(imap.logins.back(), "secret");
  EXPECT_EQ(record().switching, switch_state::failed);
  EXPECT_EQ(record().observed_generation, 1);
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(succession, after_a_restart_mail_does_not_wait_for_a_token_endpoint_that_is_down) {
  start_all();
  kill();
  use_oauth2();
  row().load.serving = password("secret");
  row().load.record.generation = 2;
  row().load.record.switching = switch_state::running;
  const auto answers = std::exchange(http.answer, [](const net::http_request&) { return std::optional<result<net::http_reply>>(net::http_reply{503, {}, "down"}); });
  start();
  fill(3);
  advance(seconds(30));
  EXPECT_EQ(imap.logins.back(), "secret") << story();
  EXPECT_EQ(row().messages.size(), 3U);
  EXPECT_EQ(record().switching, switch_state::running) << "a passing failure refuses nothing";
  http.answer = answers;
  advance(std::chrono::minutes(10));
  EXPECT_EQ(imap.logins.back(), "t1") << story();
  EXPECT_EQ(record().observed_generation, 2);
  EXPECT_EQ(record().switching, switch_state::done);
}

TEST_F(succession, an_observed_generation_is_told_although_the_database_was_away) {
  start_all();
  mail.fault = [](std::string_view what) { return what == "set_state" ? std::optional(failure::store_unavailable) : std::nullopt; };
  imap.passwords["joe"] = "newer";
  put_credential(password("newer"));
  advance(seconds(30));
  EXPECT_EQ(record().observed_generation, 1);
  mail.fault = {};
  advance(std::chrono::minutes(2));
  EXPECT_EQ(record().observed_generation, 2);
  EXPECT_EQ(record().switching, switch_state::done);
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(succession, another_mailbox_behind_the_new_credential_is_not_this_channel) {
  fill(10);
  start_all();
  imap.passwords["ann"] = "hers";
  imap.on_command = [&](auto& session, const auto& c) -> std::optional<std::string> {
    if (c.name != "EXAMINE" || session.number() == 1) return std::nullopt;
    return "* 3 EXISTS\r\n* OK [UIDVALIDITY 77] x\r\n* OK [UIDNEXT 4] x\r\n" + c.tag + " OK [READ-ONLY] open\r\n";
  };
  auto c = password("hers");
  c.username = "ann";
  put_credential(c);
  advance(seconds(10));
  EXPECT_EQ(record().switching, switch_state::failed);
  EXPECT_NE(record().switch_error.find("wrong_mailbox"), std::string::npos);
  EXPECT_EQ(row().messages.size(), 10U);
  EXPECT_EQ(record().observed_generation, 1);
}

TEST_F(succession, another_mailbox_is_refused_also_when_nothing_serves_beside_it) {
  fill(10);
  start_all();
  imap.passwords = {{"joe", "changed at the server"}, {"ann", "hers"}};
  imap.on_command = [&](auto& session, const auto& c) -> std::optional<std::string> {
    if (c.name != "EXAMINE" || session.signed_in_with != "hers") return std::nullopt;
    return "* 3 EXISTS\r\n* OK [UIDVALIDITY 77] x\r\n* OK [UIDNEXT 4] x\r\n" + c.tag + " OK [READ-ONLY] open\r\n";
  };
  imap.bye_all("restart");
  advance(seconds(10));
  ASSERT_EQ(row().state(), channel_state::needs_reauth);
  put_credential(password("hers", "ann"));
  advance(seconds(10));
  const auto expect_refused = [&] {
    EXPECT_EQ(record().switching, switch_state::failed);
    EXPECT_NE(record().switch_error.find("wrong_mailbox"), std::string::npos) << record().switch_error;
    EXPECT_EQ(record().observed_generation, 1);
    EXPECT_EQ(row().state(), channel_state::needs_reauth) << "a person is asked";
    EXPECT_EQ(cursor().uid_validity.value, 1000U);
    EXPECT_EQ(row().messages.size(), 10U);
  };
  expect_refused();
  kill();
  start();
  advance(std::chrono::hours(3));
  expect_refused();
  // The right one serves at once; also when the mailbox was made anew meanwhile.
  imap.renumber(2000);
  fill(1, "new");
  put_credential(password("changed at the server"));
  advance(seconds(30));
  EXPECT_EQ(record().switching, switch_state::done);
  EXPECT_EQ(record().observed_generation, 3);
  EXPECT_EQ(row().state(), channel_state::active);
  EXPECT_EQ(row().messages.size(), 11U);
  expect_all_once();
}

TEST_F(succession, another_mailbox_is_refused_where_the_session_that_served_had_to_make_room) {
  imap.sessions_at_most = 1;
  fill(10);
  start_all();
  imap.passwords["ann"] = "hers";
  imap.on_command = [&](auto& session, const auto& c) -> std::optional<std::string> {
    if (c.name != "EXAMINE" || session.signed_in_with != "hers" || imap.selected() > 0) return std::nullopt;
    return "* 3 EXISTS\r\n* OK [UIDVALIDITY 77] x\r\n* OK [UIDNEXT 4] x\r\n" + c.tag + " OK [READ-ONLY] open\r\n";
  };
  put_credential(password("hers", "ann"));
  advance(std::chrono::minutes(2));
  EXPECT_EQ(record().switching, switch_state::failed);
  EXPECT_EQ(record().observed_generation, 1);
  EXPECT_EQ(row().messages.size(), 10U);
  EXPECT_EQ(imap.logins.back(), "secret") << story();
  EXPECT_EQ(imap.idling(), 1U);
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(succession, the_same_mailbox_by_a_longer_name_serves_although_nothing_did) {
  fill(3);
  start_all();
  imap.passwords = {{"joe@acme.test", "newer"}};
  imap.bye_all("restart");
  advance(seconds(10));
  fill(2, "meanwhile");
  put_credential(password("newer", "joe@acme.test"));
  advance(seconds(10));
  EXPECT_EQ(record().observed_generation, 2);
  EXPECT_EQ(record().switching, switch_state::done);
  EXPECT_EQ(row().messages.size(), 5U);
}

TEST_F(succession, another_server_takes_over_and_known_mail_is_not_stored_again) {
  fill(120);
  start_all();
  test::imap_server moved;
  net.listen("new.test:993", moved.maker());
  moved.inbox().uid_validity = 5;
  moved.inbox().uid_next = 300;
  for (const auto& m : imap.inbox().messages) moved.add(m.raw, m.date);
  moved.add(mail_of("only-there", 1), wall());
  spec().incoming.host = "new.test";
  record().revision += 1;
  changed();
  advance(seconds(10));
  EXPECT_EQ(row().messages.size(), 121U);
  EXPECT_EQ(moved.idling(), 1U);
  EXPECT_EQ(imap.selected(), 0U);
  kill();
  settle();
}

TEST_F(succession, from_pop3_to_imap_nothing_is_stored_twice_and_nothing_missed) {
  spec().incoming.protocol = protocol_kind::pop3;
  spec().incoming.port = 995;
  spec().start.from = start_point::kind::all;
  for (int i = 1; i <= 30; ++i) {
    pop3.add(mail_of("old", i));
    imap.add(mail_of("old", i), wall());
  }
  start();
  advance(seconds(5));
  ASSERT_EQ(row().messages.size(), 30U);
  imap.add(mail_of("gap", 1), wall());
  spec().incoming.protocol = protocol_kind::imap;
  spec().incoming.port = 993;
  record().revision += 1;
  changed();
  advance(seconds(10));
  EXPECT_EQ(row().messages.size(), 31U);
  expect_all_once();
  EXPECT_EQ(imap.idling(), 1U);
}

}  // namespace
}  // namespace mailherd::actors
