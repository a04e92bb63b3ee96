// The fetcher over IMAP: what is stored, where the cursor stands, and what is left alone.
#include "tests/actors/fetching.hpp"

namespace mailherd::actors {
namespace {

class fetcher : public test::fetching {};

// ---- the first session --------------------------------------------------------------------------------------------------------------------

TEST_F(fetcher, starts_now_and_fetches_only_what_comes) {
  fill(20);
  start_all(start_point::kind::now);
  EXPECT_TRUE(row().messages.empty());
  EXPECT_EQ(imap.idling(), 1U);
  imap.add(mail_of("new", 1), wall() - std::chrono::hours(24 * 400));   // moved here by a person, or of a slow clock
  settle();
  ASSERT_EQ(subjects(), (std::vector<std::string>{"new-1"}));
  EXPECT_EQ(row().state(), channel_state::active);
  EXPECT_EQ(cursor().last_uid.value, 21U);
}

TEST_F(fetcher, starts_with_all_there_is) {
  fill(250);
  start_all();
  EXPECT_EQ(row().messages.size(), 250U);
  expect_all_once();
  EXPECT_EQ(row().messages.front().message.envelope.subject, "old-1");
  EXPECT_EQ(row().messages.back().message.envelope.subject, "old-250");
  EXPECT_EQ(row().state(), channel_state::active);
  EXPECT_EQ(record().observed_generation, 1);
  EXPECT_TRUE(std::any_of(row().states.begin(), row().states.end(), [](const auto& s) { return s.state == channel_state::backfilling; }));
}

TEST_F(fetcher, starts_at_a_time_by_the_date_of_each_message) {
  const auto since = wall() - std::chrono::hours(24 * 10);
  imap.add(mail_of("before", 1), since - seconds(1));
  imap.add(mail_of("after", 1), since);
  imap.add(mail_of("before", 2), since - std::chrono::hours(24 * 30));   // out of order
  imap.add(mail_of("after", 2), since + std::chrono::hours(30));
  spec().start.at = since;
  start_all(start_point::kind::at);
  EXPECT_EQ(subjects(), (std::vector<std::string>{"after-1", "after-2"}));
  imap.add(mail_of("moved", 1), since - std::chrono::hours(24 * 300));
  settle();
  EXPECT_EQ(row().messages.size(), 3U) << "what comes later is wanted whatever its date";
}

TEST_F(fetcher, does_not_believe_a_search_that_finds_nothing) {
  imap.finds_nothing = true;
  const auto since = wall() - std::chrono::hours(24 * 10);
  imap.add(mail_of("before", 1), since - std::chrono::hours(48));
  imap.add(mail_of("after", 1), since + seconds(5));
  spec().start.at = since;
  start_all(start_point::kind::at);
  EXPECT_EQ(subjects(), (std::vector<std::string>{"after-1"}));
}

TEST_F(fetcher, starts_now_at_a_server_that_tells_no_uidnext) {
  imap.tells_uid_next = false;
  for (int i = 1; i <= 5; ++i) imap.add(mail_of("old", i), record().created_at - std::chrono::hours(i));
  start_all(start_point::kind::now);
  EXPECT_TRUE(row().messages.empty());
  imap.add(mail_of("new", 1), record().created_at - std::chrono::hours(24));
  settle();
  EXPECT_EQ(subjects(), (std::vector<std::string>{"new-1"})) << "the end of the mailbox was reached: what comes now is new";
}

TEST_F(fetcher, reads_another_folder) {
  imap.folders["Support"] = {};
  spec().incoming.folder = "Support";
  imap.add(mail_of("in", 1), wall(), "Support");
  fill(3);
  start_all();
  EXPECT_EQ(subjects(), (std::vector<std::string>{"in-1"}));
  EXPECT_EQ(row().messages.front().message.source.folder, "Support");
}

// ---- backfill -----------------------------------------------------------------------------------------------------------------------------

TEST_F(fetcher, drains_thousands_in_windows_with_holes_and_bounded_memory) {
  for (int i = 1; i <= 3000; ++i) {
    const auto uid = imap.add(mail_of("old", i, 9000), wall());
    if (i % 500 == 499) imap.inbox().uid_next = uid + 40'000;   // UIDs are sparse after years
  }
  spec().start.from = start_point::kind::all;
  imap.on_body = [&](auto&, const auto&) -> std::optional<std::string> {
    store.held = true;   // the store is slow, the server is not
    return std::nullopt;
  };
  start();
  EXPECT_GT(env.budget->in_use(), 0U);
  EXPECT_LE(env.budget->in_use(), limits::fetch_budget_bytes * 3 / 4) << "one channel does not hold the budget";
  imap.on_body = {};
  store.held = false;
  advance(seconds(5));
  EXPECT_EQ(row().messages.size(), 3000U);
  expect_gapless();
  EXPECT_EQ(env.budget->in_use(), 0U);
  EXPECT_EQ(cursor().last_uid.value, imap.inbox().messages.back().uid);
}

TEST_F(fetcher, goes_on_from_the_cursor_after_a_restart) {
  fill(1000);
  spec().start.from = start_point::kind::all;
  // Dies in the middle of the backfill.
  std::size_t bodies = 0;
  imap.on_body = [&](auto& session, const auto&) -> std::optional<std::string> {
    if (++bodies == 600) session.line().reset();
    return std::nullopt;
  };
  start();
  kill();
  const auto had = row().messages.size();
  EXPECT_GT(had, 100U);
  EXPECT_LT(had, 1000U);
  EXPECT_EQ(row().state(), channel_state::backfilling);
  EXPECT_EQ(record().backfill_total, 1000);
  EXPECT_EQ(record().backfill_done, static_cast<std::int64_t>(had));
  imap.on_body = {};
  start();
  advance(seconds(5));
  EXPECT_FALSE(record().backfill_total) << "it is over";
  EXPECT_EQ(row().messages.size(), 1000U);
  expect_all_once();
  EXPECT_LE(row().suppressed, 500);
}

// ---- mail that comes ----------------------------------------------------------------------------------------------------------------------

TEST_F(fetcher, fetches_in_idle_what_arrives_at_once) {
  start_all();
  const auto before = now();
  for (int i = 1; i <= 30; ++i) {
    imap.add(mail_of("new", i), wall());
    settle();
    EXPECT_EQ(row().messages.size(), static_cast<std::size_t>(i));
  }
  EXPECT_EQ(now(), before);
  expect_all_once();
  EXPECT_EQ(imap.idling(), 1U);
  EXPECT_EQ(imap.logins.size(), 1U);
}

TEST_F(fetcher, stores_large_mail_in_chunks) {
  spec().start.from = start_point::kind::all;
  fill(1, "large", 5'000'000);
  fill(1, "small");
  start();
  advance(seconds(5));
  expect_all_once();
  EXPECT_TRUE(bool(row().subject("large-1")->message.blob));
  EXPECT_GE(mail.blobs.begin()->second.size(), 5U);
}

TEST_F(fetcher, records_what_is_too_large_without_its_body) {
  row().load.limits.max_message_bytes = 100'000;
  fill(1, "a");
  fill(1, "huge", 300'000);
  fill(1, "b");
  start_all();
  ASSERT_EQ(row().messages.size(), 3U);
  const auto* huge = row().subject("huge-1");
  ASSERT_TRUE(huge);
  EXPECT_TRUE(huge->raw.empty());
  EXPECT_EQ(huge->message.size, imap.inbox().messages[1].raw.size());
  EXPECT_NE(huge->message.problem, "");
  EXPECT_EQ(cursor().last_uid.value, 3U);
}

TEST_F(fetcher, looks_by_itself_when_idle_is_a_black_hole) {
  start_all();
  imap.idle_silent = true;
  imap.add(mail_of("silent", 1), wall());
  advance(limits::idle_safety_poll + seconds(5));
  EXPECT_EQ(row().messages.size(), 1U);
  EXPECT_EQ(imap.logins.size(), 1U) << "the same session";
}

TEST_F(fetcher, opens_a_new_session_when_the_old_one_does_not_answer_any_more) {
  start_all();
  imap.on_command = [](auto& session, const auto&) -> std::optional<std::string> { return session.number() == 1 ? std::optional("") : std::nullopt; };
  imap.idle_silent = true;
  imap.add(mail_of("dead", 1), wall());
  advance(limits::idle_safety_poll + limits::command_deadline + seconds(10));
  EXPECT_EQ(row().messages.size(), 1U);
  EXPECT_EQ(imap.logins.size(), 2U);
}

TEST_F(fetcher, looks_now_and_then_where_idle_is_not_offered) {
  imap.capabilities = "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS";
  start_all();
  imap.add(mail_of("polled", 1), wall());
  advance(env.options.poll_interval + seconds(1));
  EXPECT_EQ(row().messages.size(), 1U);
}

TEST_F(fetcher, does_not_spin_on_an_idle_that_ends_at_once) {
  imap.on_command = [](auto&, const auto& c) -> std::optional<std::string> {
    if (c.name != "IDLE") return std::nullopt;
    return "+ idling\r\n" + c.tag + " OK that was it\r\n";
  };
  start_all();
  advance(std::chrono::minutes(10));
  EXPECT_LE(imap.count("IDLE"), 3U);
  imap.add(mail_of("polled", 1), wall());
  advance(env.options.poll_interval + seconds(1));
  EXPECT_EQ(row().messages.size(), 1U);
}

TEST_F(fetcher, does_not_spin_on_a_server_that_lies_about_exists) {
  imap.on_command = [](auto& session, const auto& c) -> std::optional<std::string> {
    if (c.name == "UID FETCH") session.line().send("* 4711 EXISTS\r\n");
    return std::nullopt;
  };
  fill(3);
  start_all();
  advance(std::chrono::minutes(10));
  EXPECT_EQ(row().messages.size(), 3U);
  EXPECT_LE(imap.count("UID FETCH"), 200U);
  imap.add(mail_of("new", 1), wall());
  advance(seconds(10));
  EXPECT_EQ(row().messages.size(), 4U);
}

TEST_F(fetcher, says_that_it_is_well_while_nothing_happens) {
  start_all();
  advance(std::chrono::hours(2));
  ASSERT_TRUE(record().last_success_at);
  EXPECT_GE(*record().last_success_at, wall() - std::chrono::minutes(15));
  EXPECT_LT(now() - vitals->counted_from(), limits::watchdog_no_progress);
}

// ---- a hostile or broken mailbox ------------------------------------------------------------------------------------------------------------

TEST_F(fetcher, lets_go_what_is_expunged_while_it_is_fetched) {
  fill(50);
  bool emptied = false;
  imap.on_command = [&](auto&, const auto& c) -> std::optional<std::string> {
    if (!emptied && c.name == "UID FETCH" && c.arguments.find("BODY.PEEK[]") != std::string::npos) {
      emptied = true;
      imap.inbox().messages.clear();
    }
    return std::nullopt;
  };
  start_all();
  EXPECT_TRUE(emptied);
  EXPECT_TRUE(row().messages.empty());
  EXPECT_EQ(cursor().last_uid.value, 50U);
  imap.add(mail_of("new", 1), wall());
  settle();
  EXPECT_EQ(subjects(), (std::vector<std::string>{"new-1"}));
}

TEST_F(fetcher, does_not_give_up_a_message_that_is_there_and_not_delivered) {
  fill(10);
  unsigned asked = 0;
  imap.on_body = [&](auto&, const auto& m) -> std::optional<std::string> {
    if (m.uid != 4) return std::nullopt;
    ++asked;
    return " BODY[] NIL";
  };
  start_all();
  EXPECT_GE(asked, limits::message_tries);
  ASSERT_EQ(row().messages.size(), 10U) << "recorded, for people to see";
  EXPECT_EQ(cursor().last_uid.value, 10U);
  const auto aside = std::find_if(row().messages.begin(), row().messages.end(), [](const auto& m) { return m.message.source.uid.value == 4; });
  EXPECT_NE(aside->message.problem, "");
}

TEST_F(fetcher, sets_a_poison_message_aside_after_three_tries_and_goes_on) {
  fill(10);
  unsigned alone = 0;
  imap.on_command = [&](auto&, const auto& c) -> std::optional<std::string> {
    if (c.name != "UID FETCH" || c.arguments.find("BODY.PEEK[]") == std::string::npos) return std::nullopt;
    const auto set = c.arguments.substr(0, c.arguments.find(' '));
    if (set == "4") ++alone;
    if (set == "4" || set == "1:10") return c.tag + " NO cannot read it\r\n";
    return std::nullopt;
  };
  start_all();
  EXPECT_EQ(alone, limits::message_tries);
  ASSERT_EQ(row().messages.size(), 10U);
  EXPECT_EQ(cursor().last_uid.value, 10U);
  std::size_t without = 0;
  for (const auto& m : row().messages) without += m.raw.empty() ? 1 : 0;
  EXPECT_EQ(without, 1U);
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(fetcher, does_not_give_up_mail_one_by_one_at_a_server_that_delivers_nothing) {
  fill(30);
  bool sick = true;
  imap.on_command = [&](auto&, const auto& c) -> std::optional<std::string> {
    if (!sick || c.name != "UID FETCH" || c.arguments.find("BODY.PEEK[]") == std::string::npos) return std::nullopt;
    return c.tag + " NO internal error\r\n";
  };
  start_all();
  advance(std::chrono::hours(2));
  EXPECT_TRUE(row().messages.empty());
  EXPECT_EQ(row().state(), channel_state::backoff);
  sick = false;
  advance(std::chrono::minutes(10));
  EXPECT_EQ(row().messages.size(), 30U);
  expect_all_once();
}

TEST_F(fetcher, sets_a_message_aside_that_breaks_the_session_again_and_again) {
  fill(10);
  imap.on_body = [&](auto& session, const auto& m) -> std::optional<std::string> {
    if (m.uid != 4) return std::nullopt;
    session.line().send(fmt::format("* 4 FETCH (UID {} BODY[] {{5000}}\r\nhalf of it", m.uid));
    session.line().send("* BYE sorry\r\n");
    session.line().close();
    return "";
  };
  start_all();
  advance(std::chrono::hours(1));
  ASSERT_EQ(row().messages.size(), 10U);
  EXPECT_EQ(cursor().last_uid.value, 10U);
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(fetcher, sets_a_message_aside_whose_literal_announces_more_than_anybody_can_hold) {
  fill(10);
  imap.on_body = [&](auto&, const auto& m) -> std::optional<std::string> {
    if (m.uid != 4) return std::nullopt;
    return std::string(" BODY[] {2147483648}\r\nand so on");
  };
  start_all();
  advance(std::chrono::minutes(5));
  EXPECT_EQ(row().messages.size(), 10U);
  EXPECT_EQ(cursor().last_uid.value, 10U);
}

TEST_F(fetcher, sets_a_message_aside_whose_answer_nobody_can_read) {
  fill(10);
  imap.on_body = [&](auto&, const auto& m) -> std::optional<std::string> {
    if (m.uid != 4) return std::nullopt;
    return std::string(" BODY[ ((((");
  };
  start_all();
  advance(std::chrono::minutes(5));
  EXPECT_EQ(cursor().last_uid.value, 10U);
  EXPECT_EQ(row().messages.size(), 10U);
}

TEST_F(fetcher, loses_nothing_to_a_goodbye_in_the_middle_of_a_message) {
  fill(10);
  int byes = 3;
  imap.on_body = [&](auto& session, const auto& m) -> std::optional<std::string> {
    if (m.uid != 4 || byes-- <= 0) return std::nullopt;
    session.line().send(fmt::format("* 4 FETCH (UID {} BODY[] {{{}}}\r\n{}", m.uid, m.raw.size(), m.raw.substr(0, 20)));
    session.line().close();
    return "";
  };
  start_all();
  advance(std::chrono::minutes(1));
  EXPECT_EQ(row().messages.size(), 10U) << story();
  expect_all_once();
}

}  // namespace
}  // namespace mailherd::actors
