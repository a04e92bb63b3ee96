// The fetcher over POP3: polls, the ledger of UIDLs, deletions.
#include "core/base64.hpp"
#include "tests/actors/polling.hpp"

namespace mailherd::actors {
namespace {

class pop3 : public test::polling {};

TEST_F(pop3, fetches_what_the_ledger_does_not_know_poll_by_poll) {
  fill_drop(250);
  start_polling();
  EXPECT_EQ(row().messages.size(), 250U);
  EXPECT_EQ(row().state(), channel_state::active);
  EXPECT_EQ(record().observed_generation, 1);
  EXPECT_EQ(drop().sessions(), 0U) << "a maildrop is locked by its session: none is kept";
  fill_drop(3, "new");
  advance(env.options.poll_interval + seconds(1));
  EXPECT_EQ(row().messages.size(), 253U);
  EXPECT_EQ(drop().count("RETR"), 253U) << "nothing is fetched twice";
  expect_drop_once();
}

TEST_F(pop3, polls_for_hours_at_its_interval) {
  start_polling();
  const auto before = net.dialed;
  advance(std::chrono::hours(2));
  EXPECT_NEAR(static_cast<double>(net.dialed - before), 120.0, 3.0);
  EXPECT_LT(now() - vitals->counted_from(), limits::watchdog_no_progress);
}

TEST_F(pop3, a_server_that_hangs_up_at_quit_is_not_polled_in_a_circle) {
  drop().rude_quit = true;
  start_polling();
  advance(std::chrono::minutes(30));
  EXPECT_LE(net.dialed, 32U);
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(pop3, starts_now_with_what_is_not_there_yet) {
  spec().start.from = start_point::kind::now;
  fill_drop(20);
  start_polling();
  EXPECT_TRUE(row().messages.empty());
  EXPECT_EQ(drop().count("RETR"), 0U);
  fill_drop(2, "new");
  advance(env.options.poll_interval + seconds(1));
  EXPECT_EQ(subjects(), (std::vector<std::string>{"new-1", "new-2"}));
  kill();
  start();
  advance(std::chrono::minutes(3));
  EXPECT_EQ(row().messages.size(), 2U);
}

TEST_F(pop3, starts_at_a_time_by_what_the_header_says) {
  spec().start.from = start_point::kind::at;
  spec().start.at = wall_time{seconds(1'700'000'000)};   // 14 November 2023
  drop().add("Date: Mon, 13 Nov 2023 10:00:00 +0000\r\nSubject: before\r\n\r\nx\r\n");
  drop().add("Date: Fri, 17 Nov 2023 10:00:00 +0000\r\nSubject: after\r\n\r\nx\r\n");
  drop().add("Subject: undated\r\n\r\nx\r\n");
  start_polling();
  EXPECT_EQ(subjects(), (std::vector<std::string>{"after", "undated"}));
  drop().add("Date: Mon, 13 Nov 2023 10:00:00 +0000\r\nSubject: came late\r\n\r\nx\r\n");
  advance(env.options.poll_interval + seconds(1));
  EXPECT_EQ(row().messages.size(), 3U);
}

TEST_F(pop3, deletes_only_what_is_durable) {
  spec().after = after_fetch::remove;
  fill_drop(20);
  mail.fault = [](std::string_view what) { return what == "commit" ? std::optional(failure::store_unavailable) : std::nullopt; };
  start();
  advance(std::chrono::minutes(3));
  EXPECT_EQ(drop().count("DELE"), 0U);
  mail.fault = {};
  advance(std::chrono::minutes(5));
  EXPECT_EQ(row().messages.size(), 20U);
  EXPECT_TRUE(drop().drop.empty());
  expect_gapless();
}

TEST_F(pop3, a_deletion_lost_with_its_session_is_made_again) {
  spec().after = after_fetch::remove;
  fill_drop(10);
  int cut = 1;
  drop().on_command = [&](auto& session, const std::string& line) -> std::optional<std::string> {
    if (line != "QUIT" || cut-- <= 0) return std::nullopt;
    session.line().reset();
    return "";
  };
  start_polling();
  advance(env.options.poll_interval * 2);
  EXPECT_TRUE(drop().drop.empty());
  EXPECT_EQ(row().messages.size(), 10U);
}

TEST_F(pop3, waits_as_long_as_the_server_wants_between_sign_ins) {
  drop().capabilities.push_back("LOGIN-DELAY 300");
  start_polling();
  ASSERT_EQ(drop().logins.size(), 1U);
  record().revision += 1;
  changed();   // no reason to sign in earlier
  advance(seconds(290));
  EXPECT_EQ(drop().logins.size(), 1U);
  advance(seconds(15));
  EXPECT_EQ(drop().logins.size(), 2U);
  advance(std::chrono::hours(1));
  EXPECT_LE(drop().logins.size(), 14U);
}

TEST_F(pop3, identifies_messages_by_their_heads_where_there_is_no_uidl) {
  uidl_is(false);
  fill_drop(20);
  start_polling();
  fill_drop(2, "new");
  advance(env.options.poll_interval + seconds(1));
  EXPECT_EQ(row().messages.size(), 22U);
  expect_drop_once();
}

TEST_F(pop3, a_uidl_that_is_refused_once_is_not_the_want_of_uidl) {
  for (const std::string refusal : {"-ERR [SYS/TEMP] try later\r\n", "-ERR what?\r\n"}) {
    SCOPED_TRACE(refusal);
    if (row().messages.empty()) fill_drop(20), start_polling();
    ASSERT_EQ(row().messages.size(), 20U);
    int refused = 1;
    drop().on_command = [&](auto&, const std::string& line) -> std::optional<std::string> {
      return line == "UIDL" && refused-- > 0 ? std::optional(refusal) : std::nullopt;
    };
    advance(env.options.poll_interval * 3);
    EXPECT_LT(refused, 0);
    EXPECT_EQ(row().messages.size(), 20U);
    EXPECT_EQ(drop().count("TOP"), 0U);
    EXPECT_EQ(row().state(), channel_state::active);
  }
  // Also where the server tells nothing of what it can do.
  drop().capabilities = {"USER"};
  int refused = 1;
  drop().on_command = [&](auto&, const std::string& line) -> std::optional<std::string> {
    return line == "UIDL" && refused-- > 0 ? std::optional<std::string>("-ERR [SYS/TEMP] try later\r\n") : std::nullopt;
  };
  advance(env.options.poll_interval * 3);
  EXPECT_LT(refused, 0);
  EXPECT_EQ(row().messages.size(), 20U);
}

TEST_F(pop3, an_empty_maildrop_for_which_uidl_is_refused_is_no_trouble) {
  drop().on_command = [&](auto&, const std::string& line) -> std::optional<std::string> {
    return line == "UIDL" && drop().drop.empty() ? std::optional<std::string>("-ERR no messages\r\n") : std::nullopt;
  };
  start_polling();
  EXPECT_EQ(row().state(), channel_state::active);
  fill_drop(3);
  advance(env.options.poll_interval + seconds(1));
  EXPECT_EQ(row().messages.size(), 3U);
  EXPECT_EQ(drop().count("TOP"), 0U) << "nothing was named in another way";
}

TEST_F(pop3, a_server_that_loses_uidl_and_finds_it_again_brings_nothing_twice) {
  fill_drop(20);
  drop().add("Subject: without an id\r\n\r\nwhat it says\r\n");
  start_polling();
  ASSERT_EQ(row().messages.size(), 21U);
  uidl_is(false);
  fill_drop(2, "meanwhile");
  advance(env.options.poll_interval * 3);
  EXPECT_EQ(row().messages.size(), 23U);
  expect_drop_once();
  const auto read = drop().count("RETR");
  uidl_is(true);
  fill_drop(2, "later");
  advance(env.options.poll_interval * 3);
  EXPECT_EQ(row().messages.size(), 25U);
  EXPECT_EQ(drop().count("RETR"), read + 2) << "the new ones: of the others the heads were enough";
  expect_drop_once();
  // A copy that comes when all is compared is mail like any other.
  drop().add(drop().drop.front().raw);
  advance(env.options.poll_interval * 2);
  EXPECT_EQ(row().messages.size(), 26U);
}

TEST_F(pop3, a_change_of_names_is_noticed_by_a_ledger_of_before_and_begun_again_after_a_loss) {
  fill_drop(300);
  start_polling();
  kill();
  row().cursors.begin()->second.names = store::named_by::unknown;
  uidl_is(false);
  int heads = 0;
  drop().on_command = [&](auto& session, const std::string& line) -> std::optional<std::string> {
    // Every message's head is read for its identity, then those of known sizes to be compared.
    if (line.substr(0, 3) == "TOP" && ++heads == 450) session.line().reset();
    return std::nullopt;
  };
  drop().drop.erase(drop().drop.begin());
  fill_drop(1, "meanwhile");
  start();
  advance(env.options.poll_interval * 3);
  EXPECT_GT(heads, 450);
  EXPECT_EQ(row().messages.size(), 301U);
  expect_drop_once();
}

TEST_F(pop3, a_message_that_uidl_leaves_out_is_fetched_once) {
  fill_drop(5);
  drop().left_out_of_uidl = 3;
  start_polling();
  poll(3);
  EXPECT_EQ(row().messages.size(), 5U);
  EXPECT_EQ(drop().count("RETR"), 5U);
  expect_drop_once();
}

TEST_F(pop3, a_listing_in_any_order_is_read_in_the_order_of_the_maildrop) {
  fill_drop(20);
  drop().lists_backwards = true;
  start_polling();
  ASSERT_EQ(row().messages.size(), 20U);
  EXPECT_EQ(subjects().front(), "old-1");
  EXPECT_EQ(subjects().back(), "old-20");
}

TEST_F(pop3, new_uidls_for_all_at_once_bring_nothing_twice) {
  fill_drop(20);
  drop().add("Subject: without an id\r\n\r\nwhat it says\r\n");
  start_polling();
  const auto read = drop().count("RETR");
  give_new_uidls();
  fill_drop(2, "meanwhile");
  for (int copies = 0; copies < 2; ++copies) drop().add("Subject: again and again\r\n\r\nthe same\r\n");
  poll(2);
  EXPECT_EQ(row().messages.size(), 25U);
  EXPECT_EQ(drop().count("RETR"), read + 5) << "the new ones, and the one whose head says too little";
  // Then it is a maildrop like any other.
  drop().add(drop().drop.front().raw);
  poll();
  EXPECT_EQ(row().messages.size(), 26U);
  give_new_uidls();
  poll(2);
  EXPECT_EQ(row().messages.size(), 26U) << "once more, of two that are alike too";
  expect_gapless();
}

TEST_F(pop3, new_uidls_for_all_are_still_looked_through_after_a_loss) {
  fill_drop(300);
  start_polling();
  give_new_uidls();
  fill_drop(10, "meanwhile");
  int heads = 0;
  drop().on_command = [&](auto& session, const std::string& line) -> std::optional<std::string> {
    if (line.substr(0, 3) == "TOP" && ++heads == 150) session.line().reset();
    return std::nullopt;
  };
  poll();
  kill();
  start();
  poll(3);
  EXPECT_GT(heads, 150);
  EXPECT_EQ(row().messages.size(), 310U);
  expect_drop_once();
}

TEST_F(pop3, new_uidls_for_all_bring_nothing_twice_and_delete_nothing_that_was_kept) {
  fill_drop(6);
  start_polling();
  spec().after = after_fetch::remove;
  record().revision += 1;
  changed();
  fill_drop(2, "deleted");
  poll(2);
  ASSERT_EQ(row().messages.size(), 8U);
  ASSERT_EQ(drop().drop.size(), 6U);
  for (const bool restarted : {false, true}) {
    give_new_uidls();
    fill_drop(2, restarted ? "after a restart" : "meanwhile");
    if (restarted) {
      kill();
      start();
    }
    poll(2);
    EXPECT_EQ(row().messages.size(), restarted ? 12U : 10U);
    EXPECT_EQ(drop().drop.size(), 6U);
  }
}

TEST_F(pop3, an_emptied_maildrop_that_fills_up_again_brings_all_of_it_however_old) {
  spec().start.from = start_point::kind::now;
  fill_drop(3);
  start_polling();
  fill_drop(3, "new");
  poll();
  ASSERT_EQ(row().messages.size(), 3U);
  drop().drop.clear();
  drop().add("Date: Mon, 13 Nov 2000 10:00:00 +0000\r\nSubject: long on its way\r\n\r\nx\r\n");
  poll();
  EXPECT_EQ(row().messages.size(), 4U);
}

TEST_F(pop3, mail_that_was_not_wanted_is_not_wanted_by_another_name) {
  spec().start.from = start_point::kind::now;
  for (int i = 1; i <= 5; ++i) drop().add("Date: Mon, 13 Nov 2000 10:00:00 +0000\r\nSubject: before\r\n\r\nx\r\n");
  start_polling();
  uidl_is(false);
  advance(env.options.poll_interval * 3);
  EXPECT_TRUE(row().messages.empty());
}

TEST_F(pop3, a_refused_message_is_set_aside_after_three_tries) {
  fill_drop(10);
  drop().on_command = [](auto&, const std::string& line) -> std::optional<std::string> {
    return line == "RETR 4" ? std::optional<std::string>("-ERR cannot read it\r\n") : std::nullopt;
  };
  start_polling();
  ASSERT_EQ(row().messages.size(), 10U);
  std::size_t without = 0;
  for (const auto& m : row().messages) without += m.raw.empty() ? 1 : 0;
  EXPECT_EQ(without, 1U);
  EXPECT_EQ(drop().count("RETR 4"), limits::message_tries + 1U) << "once in company, three times alone";
}

TEST_F(pop3, a_message_that_breaks_the_session_does_not_hold_up_the_others) {
  fill_drop(10);
  drop().on_command = [](auto& session, const std::string& line) -> std::optional<std::string> {
    if (line != "RETR 4") return std::nullopt;
    session.line().send("+OK\r\nhalf of it\r\n");
    session.line().close();
    return "";
  };
  start_polling();
  advance(std::chrono::hours(1));
  EXPECT_EQ(row().messages.size(), 10U);
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(pop3, a_larger_message_than_announced_costs_no_memory_and_a_too_large_one_no_body) {
  row().load.limits.max_message_bytes = 3'000'000;
  drop().add(test::mail("fits", 2'500'000));
  drop().add(test::mail("too-large", 4'000'000));
  fill_drop(1);
  drop().on_command = [](auto& session, const std::string& line) -> std::optional<std::string> {
    if (line != "LIST") return std::nullopt;
    session.line().send("+OK\r\n1 100\r\n2 100\r\n3 100\r\n.\r\n");
    return "";
  };
  start_polling();
  advance(std::chrono::minutes(10));
  ASSERT_EQ(row().messages.size(), 3U);
  const auto* fits = row().subject("fits");
  ASSERT_TRUE(fits);
  EXPECT_EQ(fits->raw.size(), drop().drop[0].raw.size());
  EXPECT_TRUE(bool(fits->message.blob));
  EXPECT_EQ(env.budget->in_use(), 0U);
}

TEST_F(pop3, messages_right_behind_a_large_one_are_not_taken_for_a_part_of_its_request) {
  fill_drop(3, "before");
  drop().add(test::mail("large", 3'000'000));
  fill_drop(30, "behind");
  start_polling();
  EXPECT_EQ(row().messages.size(), 34U);
  expect_drop_once();
  EXPECT_EQ(drop().sessions(), 0U) << "the poll is over";
}

TEST_F(pop3, a_locked_maildrop_is_tried_again) {
  fill_drop(3);
  bool locked = true;
  drop().on_command = [&](auto&, const std::string& line) -> std::optional<std::string> {
    return locked && line.substr(0, 4) == "AUTH" ? std::optional<std::string>("-ERR [IN-USE] locked by another\r\n") : std::nullopt;
  };
  start_polling();
  EXPECT_TRUE(row().messages.empty());
  locked = false;
  advance(seconds(30));
  EXPECT_EQ(row().messages.size(), 3U);
}

TEST_F(pop3, a_new_credential_is_taken_up_at_a_commit_boundary) {
  fill_drop(900);
  row().load.record.generation = 1;
  bool changed_already = false;
  drop().on_command = [&](auto&, const std::string& line) -> std::optional<std::string> {
    if (line == "RETR 500" && !std::exchange(changed_already, true)) {
      drop().passwords["joe"] = "newer";
      credential c;
      c.username = "joe";
      c.password = secret<>("newer");
      auto& load = row().load;
      load.record.generation = 2;
      load.record.switching = switch_state::running;
      load.credential = c;
      caf::anon_send(fetchers.back(), changed_atom::value);
    }
    return std::nullopt;
  };
  start_polling();
  advance(seconds(10));
  EXPECT_EQ(drop().logins, (std::vector<std::string>{"secret", "newer"}));
  EXPECT_EQ(row().messages.size(), 900U);
  EXPECT_EQ(record().observed_generation, 2);
  EXPECT_EQ(record().switching, switch_state::done);
  EXPECT_LE(drop().count("RETR"), 905U);
  expect_drop_once();
}

TEST_F(pop3, another_maildrop_behind_the_new_credential_is_not_this_channel) {
  fill_drop(30);
  start_polling();
  const auto mine = drop().drop;
  drop().drop.clear();
  fill_drop(5, "somebody-elses");
  const auto theirs = drop().drop;
  drop().drop = mine;
  drop().on_command = [&](auto&, const std::string& line) -> std::optional<std::string> {
    if (line.substr(0, 4) == "AUTH") drop().drop = line.find(base64_encode(std::string("\0joe\0theirs", 11))) == line.npos ? mine : theirs;
    return std::nullopt;
  };
  drop().passwords["joe"] = "theirs";
  credential c;
  c.username = "joe";
  c.password = secret<>("theirs");
  put_credential(c);
  advance(seconds(2));
  drop().passwords["joe"] = "secret";
  advance(seconds(30));
  EXPECT_EQ(record().switching, switch_state::failed);
  EXPECT_NE(record().switch_error.find("another mailbox"), std::string::npos) << record().switch_error;
  EXPECT_EQ(record().observed_generation, 1);
  EXPECT_EQ(row().messages.size(), 30U) << "nothing of theirs";
  // The old credential goes on.
  advance(env.options.poll_interval * 2);
  EXPECT_EQ(drop().logins.back(), "secret");
  EXPECT_EQ(row().state(), channel_state::active);
  EXPECT_EQ(row().messages.size(), 30U);
}

TEST_F(pop3, signs_in_with_tokens_and_a_fresh_one_when_the_old_one_ends) {
  use_oauth2();
  fill_drop(2);
  start_polling();
  EXPECT_EQ(row().messages.size(), 2U);
  advance(std::chrono::hours(3));
  EXPECT_GE(tokens_given, 3);
  EXPECT_LE(tokens_given, 5);
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(pop3, goes_on_after_a_crash_in_the_middle_of_a_poll) {
  fill_drop(600);
  unsigned retrs = 0;
  drop().on_command = [&](auto& session, const std::string& line) -> std::optional<std::string> {
    if (line.substr(0, 4) == "RETR" && ++retrs == 350) session.line().reset();
    return std::nullopt;
  };
  start();
  kill();
  EXPECT_GT(row().messages.size(), 50U);
  start();
  advance(seconds(5));
  EXPECT_EQ(row().messages.size(), 600U);
  expect_drop_once();
}

}  // namespace
}  // namespace mailherd::actors
