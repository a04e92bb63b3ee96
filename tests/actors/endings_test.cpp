// What the fetcher does when something fails: back-off, throttling, a lost lease, a database that is away; and how it stops.
#include "tests/actors/fetching.hpp"

namespace mailherd::actors {
namespace {

class endings : public test::fetching {};

/// Refuses every group with the body of one message in it.
class picky_mail : public test::memory_mail {
 public:
  result<std::vector<store::commit_outcome>> commit(const std::vector<store::commit_unit>& units) override {
    for (const auto& u : units)
      for (const auto& m : u.messages)
        if (m.body && m.body->find("old-4@") != std::string::npos) return fail(failure::store_failed, "a value is out of range");
    return memory_mail::commit(units);
  }
};

// ---- back-off -----------------------------------------------------------------------------------------------------------------------------

TEST_F(endings, a_dead_server_is_asked_less_and_less_often) {
  net.refuse = [](const net::target&) { return std::optional(error{failure::connect_refused, "no", {}}); };
  start_all();
  advance(std::chrono::hours(2));
  EXPECT_EQ(row().state(), channel_state::backoff);
  EXPECT_EQ(record().state_reason, "connect_refused");
  EXPECT_LE(net.dialed, 60U);
  EXPECT_GE(net.dialed, 20U);
  const auto before = net.dialed;
  net.refuse = {};
  advance(seconds(301));
  EXPECT_EQ(net.dialed, before + 1);
  EXPECT_EQ(row().state(), channel_state::active);
  // Operators read of it once, not once per attempt.
  const auto told = [&](std::string_view what) { return std::count_if(report.lines.begin(), report.lines.end(), [&](const auto& l) { return l.find(what) != l.npos; }); };
  EXPECT_EQ(told("channel has trouble"), 1) << story();
  EXPECT_EQ(told("channel is well again"), 1) << story();
}

TEST_F(endings, a_wrong_password_is_tried_seldom) {
  row().load.credential.password = secret<>("wrong");
  row().load.serving = row().load.credential;
  start_all();
  advance(std::chrono::hours(24));
  EXPECT_EQ(row().state(), channel_state::needs_reauth);
  EXPECT_LE(imap.count("AUTHENTICATE"), 45U);
  EXPECT_GE(imap.count("AUTHENTICATE"), 20U);
  row().load.credential.password = secret<>("secret");
  changed();
  advance(seconds(2));
  EXPECT_EQ(row().state(), channel_state::active) << "at once when it is mended";
}

TEST_F(endings, a_server_that_always_hangs_up_is_not_asked_again_at_once_for_ever) {
  imap.on_command = [](auto& session, const auto& c) -> std::optional<std::string> {
    if (c.name != "IDLE") return std::nullopt;
    session.line().close();
    return "";
  };
  fill(3);
  start_all();
  advance(std::chrono::hours(1));
  EXPECT_EQ(row().messages.size(), 3U);
  EXPECT_LE(imap.logins.size(), 40U);
  imap.on_command = {};
  advance(seconds(301));
  EXPECT_EQ(imap.idling(), 1U);
}

TEST_F(endings, one_lost_connection_is_no_news) {
  start_all();
  const auto states = row().states.size();
  imap.bye_all("restart");
  advance(seconds(10));
  EXPECT_EQ(imap.idling(), 1U);
  for (auto i = states; i < row().states.size(); ++i) EXPECT_EQ(row().states[i].state, channel_state::active);
}

TEST_F(endings, a_throttled_channel_holds_no_connection_and_comes_back_at_the_very_time) {
  start_all();
  bool throttle = true;
  imap.on_command = [&](auto&, const auto& c) -> std::optional<std::string> {
    if (!throttle || c.name != "UID FETCH") return std::nullopt;
    return c.tag + " NO Request is throttled. Suggested Backoff Time: 299910 milliseconds\r\n";
  };
  imap.add(mail_of("new", 1), wall());
  settle();
  const auto until = wall() + milliseconds(299'910);
  EXPECT_EQ(row().state(), channel_state::throttled);
  ASSERT_TRUE(record().throttled_until);
  EXPECT_EQ(*record().throttled_until, until);
  throttle = false;
  // Neither a change nor a restart brings it back earlier.
  const auto dialed = net.dialed;
  record().revision += 1;
  changed();
  advance(seconds(100));
  EXPECT_EQ(net.connections(), 0U);
  kill();
  start();
  advance(seconds(199));
  EXPECT_EQ(net.dialed, dialed);
  EXPECT_EQ(net.connections(), 0U);
  advance(seconds(1));
  EXPECT_EQ(net.dialed, dialed + 1);
  EXPECT_EQ(row().messages.size(), 1U);
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(endings, a_token_endpoint_that_names_a_time_is_not_a_throttled_mailbox) {
  use_oauth2();
  http.answer = [](const net::http_request&) -> std::optional<result<net::http_reply>> {
    return net::http_reply{429, {{"retry-after", "120"}}, R"({"error":"temporarily_unavailable"})"};
  };
  start_all();
  EXPECT_EQ(row().state(), channel_state::backoff);
  const auto asked = http.sent;
  advance(seconds(100));
  EXPECT_EQ(http.sent, asked);
  give_tokens();
  advance(seconds(60));
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(endings, an_app_that_is_blocked_is_an_incident_of_the_app) {
  use_oauth2();
  http.answer = [](const net::http_request&) -> std::optional<result<net::http_reply>> { return net::http_reply{401, {}, R"({"error":"invalid_client"})"}; };
  start_all();
  EXPECT_EQ(row().state(), channel_state::app_blocked);
  EXPECT_EQ(net.dialed, 0U);
  advance(std::chrono::hours(3));
  EXPECT_LE(http.sent, 30U);
}

// ---- the lease, the database ----------------------------------------------------------------------------------------------------------------

TEST_F(endings, a_fenced_fetcher_ends_and_has_written_nothing) {
  start_all();
  const auto first = fetchers.back();
  row().epoch = 2;
  imap.add(mail_of("new", 1), wall());
  settle();
  EXPECT_TRUE(ended(first));
  EXPECT_TRUE(row().messages.empty());
  ASSERT_EQ(lost.size(), 1U);
  EXPECT_EQ(lost[0], (std::pair{test::the_channel, std::int64_t{1}}));
  start();
  advance(seconds(5));
  EXPECT_EQ(row().messages.size(), 1U);
}

TEST_F(endings, a_database_that_is_away_costs_no_session_and_no_mail) {
  start_all();
  store.up = false;
  fill(20, "new");
  advance(std::chrono::minutes(5));
  EXPECT_EQ(imap.selected(), 1U);
  EXPECT_EQ(imap.logins.size(), 1U) << "no storm of sign-ins when the database restarts";
  store.up = true;
  advance(std::chrono::minutes(2));
  EXPECT_EQ(row().messages.size(), 20U);
  expect_all_once();
  EXPECT_EQ(imap.logins.size(), 1U);
}

TEST_F(endings, a_commit_whose_answer_was_lost_stores_nothing_twice) {
  fill(200);
  spec().start.from = start_point::kind::all;
  int losses = 3;
  mail.lose_answer = [&] { return losses-- > 0; };
  start();
  advance(std::chrono::minutes(3));
  expect_all_once();
  EXPECT_EQ(row().messages.size(), 200U);
}

TEST_F(endings, a_refused_unit_takes_no_later_mail_with_it_over_the_cursor) {
  fill(1000, "old", 3000);
  spec().start.from = start_point::kind::all;
  // The first unit with mail of its own is refused once, those behind it would be stored.
  bool refused = false;
  store.held = true;
  start();
  mail.fault = [&](std::string_view what) -> std::optional<failure> {
    if (what != "commit" || refused) return std::nullopt;
    refused = true;
    return failure::store_failed;
  };
  store.held = false;
  advance(std::chrono::minutes(3));
  EXPECT_TRUE(refused);
  EXPECT_EQ(row().messages.size(), 1000U);
  expect_all_once();
}

TEST_F(endings, a_message_the_database_cannot_take_is_set_aside) {
  fill(10);
  spec().start.from = start_point::kind::all;
  picky_mail picky;
  store.stores = &picky;
  picky.channels = mail.channels;
  picky.channels.at(test::the_channel).load = row().load;
  start();
  advance(std::chrono::minutes(10));
  auto& stored = picky.channels.at(test::the_channel).messages;
  EXPECT_EQ(stored.size(), 10U);
  std::size_t without = 0;
  for (const auto& m : stored) without += m.raw.empty() ? 1 : 0;
  EXPECT_EQ(without, 1U);
  store.stores = &mail;
}

// ---- the end ------------------------------------------------------------------------------------------------------------------------------

TEST_F(endings, stops_after_what_is_with_the_store_and_logs_out) {
  start_all();
  store.held = true;
  fill(5, "new");
  settle();
  caf::anon_send(fetchers.back(), stop_atom::value);
  settle();
  EXPECT_FALSE(ended(fetchers.back())) << "its mail is on its way to the disk";
  store.held = false;
  settle();
  EXPECT_TRUE(ended(fetchers.back()));
  EXPECT_EQ(row().messages.size(), 5U);
  EXPECT_EQ(imap.count("LOGOUT"), 1U);
  EXPECT_TRUE(lost.empty());
}

TEST_F(endings, ends_only_when_a_rotated_token_is_durable) {
  use_oauth2();
  http.answer = {};
  start();
  ASSERT_EQ(http.calls.size(), 1U);
  caf::anon_send(fetchers.back(), stop_atom::value);
  advance(seconds(2));
  EXPECT_FALSE(ended(fetchers.back())) << "the lease would be given back before the new token is written";
  http.reply(200, R"({"access_token":"t1","expires_in":3600,"refresh_token":"r-fresh"})");
  settle();
  EXPECT_TRUE(ended(fetchers.back()));
  EXPECT_EQ(row().load.credential.refresh_token.reveal(), "r-fresh");
}

TEST_F(endings, ends_in_time_although_nobody_answers) {
  use_oauth2();
  start_all();
  http.answer = {};
  imap.on_command = [](auto&, const auto&) -> std::optional<std::string> { return ""; };
  caf::anon_send(fetchers.back(), stop_atom::value);
  advance(limits::fetcher_stop_grace - seconds(1));
  EXPECT_TRUE(ended(fetchers.back()));
}

TEST_F(endings, a_disabled_channel_says_so_and_is_let_go) {
  start_all();
  spec().enabled = false;
  record().revision += 1;
  changed();
  advance(seconds(1));
  EXPECT_TRUE(ended(fetchers.back()));
  EXPECT_EQ(row().state(), channel_state::disabled);
  EXPECT_EQ(lost.size(), 1U);
  EXPECT_EQ(net.connections(), 0U);
}

TEST_F(endings, counts_its_sessions_up_and_down) {
  use_oauth2();
  start_all();
  EXPECT_EQ(report.count["sessions"], 1);
  advance(std::chrono::hours(5));
  EXPECT_EQ(report.count["sessions"], 1);
  imap.bye_all("bye");
  advance(seconds(10));
  EXPECT_EQ(report.count["sessions"], 1);
  kill();
  EXPECT_EQ(report.count["sessions"], 0);
}

}  // namespace
}  // namespace mailherd::actors
