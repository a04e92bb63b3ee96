// The fetcher and the names of a maildrop's messages: names that two messages share, and what may be deleted by a name.
#include "tests/actors/polling.hpp"

namespace mailherd::actors {
namespace {

class maildrop : public test::polling {
 public:
  /// Of mail that says nothing of itself but its text.
  static std::string alarm(const std::string& text) { return "From: alarm@plant.test\r\nSubject: alarm\r\n\r\n" + text + "\r\n"; }
};

TEST_F(maildrop, two_messages_with_the_same_head_are_both_stored_and_only_then_deleted) {
  uidl_is(false);
  spec().after = after_fetch::remove;
  for (const auto* text : {"pressure", "temperature", "pressurf"}) drop().add(alarm(text));
  start_polling();
  for (const auto* text : {"pressure", "temperature", "pressurf"}) EXPECT_EQ(row().copies_of(alarm(text)), 1U) << text;
  EXPECT_TRUE(drop().drop.empty());
  expect_gapless();
}

TEST_F(maildrop, a_message_that_comes_by_the_name_of_one_that_was_deleted_is_read_before_it_is_deleted) {
  for (const bool uidl : {false, true}) {
    SCOPED_TRACE(uidl);
    uidl_is(uidl);
    spec().after = after_fetch::remove;
    for (const auto* text : {"1", "22", "333", "4"}) {
      drop().add(alarm((uidl ? "u" : "d") + std::string(text)), "always the same");
      fetchers.empty() ? start_polling() : poll();
      EXPECT_TRUE(drop().drop.empty());
      if (uidl && std::string(text) == "4") continue;   // by UIDL and size it is the first one
      EXPECT_EQ(row().copies_of(alarm((uidl ? "u" : "d") + std::string(text))), 1U) << text;
    }
  }
}

TEST_F(maildrop, a_deletion_that_failed_is_made_good_and_stores_nothing_again) {
  for (const bool uidl : {false, true}) {
    SCOPED_TRACE(uidl);
    uidl_is(uidl);
    spec().after = after_fetch::remove;
    fill_drop(10, uidl ? "with" : "without");
    const auto before = row().messages.size();
    int cut = 1;
    drop().on_command = [&](auto& session, const std::string& line) -> std::optional<std::string> {
      if (line != "QUIT" || cut-- <= 0) return std::nullopt;
      session.line().reset();
      return "";
    };
    fetchers.empty() ? start_polling() : poll();
    EXPECT_EQ(drop().drop.size(), 10U);
    poll(2);
    EXPECT_TRUE(drop().drop.empty());
    EXPECT_EQ(row().messages.size(), before + 10);
    drop().on_command = {};
  }
}

TEST_F(maildrop, a_message_that_is_refused_when_it_is_read_again_stays) {
  uidl_is(false);
  spec().after = after_fetch::remove;
  drop().add(alarm("1"));
  start_polling();
  ASSERT_TRUE(drop().drop.empty());
  drop().add(alarm("2"));
  fill_drop(3, "other");
  drop().on_command = [](auto&, const std::string& line) -> std::optional<std::string> {
    return line == "RETR 1" ? std::optional<std::string>("-ERR cannot read it\r\n") : std::nullopt;
  };
  poll(3);
  ASSERT_EQ(drop().drop.size(), 1U);
  EXPECT_EQ(drop().drop.front().raw, alarm("2"));
  EXPECT_EQ(row().messages.size(), 4U);
}

TEST_F(maildrop, unique_ids_that_are_not_unique_hide_no_message) {
  drop().add(mail_of("first", 1, 100), "same");
  fill_drop(3);
  drop().add(mail_of("second", 1, 200), "same");
  drop().add(mail_of("third", 1, 100), "same");
  drop().add(mail_of("fourth", 1, 200), "same");
  start_polling();
  EXPECT_EQ(row().messages.size(), 7U);
  expect_drop_once();
  poll(3);
  EXPECT_EQ(drop().count("RETR"), 7U);
  EXPECT_EQ(row().ledger.front().source.uidl, "same") << "what ledgers of before hold";
  // The first one goes: the second has its name now, and stays what it is.
  drop().drop.erase(drop().drop.begin());
  poll(3);
  EXPECT_EQ(row().messages.size(), 7U);
  drop().add(mail_of("fifth", 1, 300), "same");
  poll(2);
  EXPECT_EQ(row().messages.size(), 8U);
  expect_drop_once();
}

TEST_F(maildrop, what_was_fetched_to_be_kept_is_kept_when_the_channel_is_set_to_delete) {
  for (const bool uidl : {true, false}) {
    SCOPED_TRACE(uidl);
    drop().drop.clear();
    uidl_is(uidl);
    spec().after = after_fetch::keep;
    fill_drop(10, uidl ? "with" : "without");
    fetchers.empty() ? start_polling() : poll();
    spec().after = after_fetch::remove;
    record().revision += 1;
    changed();
    fill_drop(3, uidl ? "with-new" : "without-new");
    poll(2);
    EXPECT_EQ(drop().drop.size(), 10U);
    const auto read = drop().count("RETR");
    poll(2);
    EXPECT_EQ(drop().count("RETR"), read);
    expect_drop_once();
  }
  EXPECT_EQ(row().messages.size(), 26U);
  // Nor by another name.
  uidl_is(true);
  poll(3);
  EXPECT_EQ(drop().drop.size(), 10U);
  EXPECT_EQ(row().messages.size(), 26U);
}

// ---- names that cannot be had ---------------------------------------------------------------------------------------------------------------

TEST_F(maildrop, without_uidl_and_top_nothing_is_guessed_and_the_channel_says_so) {
  for (const bool offers : {false, true}) {
    SCOPED_TRACE(offers);
    uidl_is(false);
    std::erase(drop().capabilities, "TOP");
    if (offers) drop().capabilities.push_back("TOP");
    fill_drop(5, offers ? "offered" : "not-offered");
    const auto before = row().messages.size();
    drop().on_command = [](auto&, const std::string& line) -> std::optional<std::string> {
      return line.substr(0, 3) == "TOP" ? std::optional<std::string>("-ERR what?\r\n") : std::nullopt;
    };
    fetchers.empty() ? start_polling() : poll(5);
    EXPECT_EQ(record().state_reason, "protocol_violation");
    EXPECT_NE(record().state_detail.find("no lasting identities"), std::string::npos) << record().state_detail;
    EXPECT_EQ(row().messages.size(), before);
    drop().on_command = {};
    poll(10);
    EXPECT_EQ(row().state(), channel_state::active);
    EXPECT_EQ(row().messages.size(), before + 5);
    expect_drop_once();
  }
}

TEST_F(maildrop, a_server_in_trouble_that_refuses_every_head_is_asked_again) {
  uidl_is(false);
  fill_drop(5);
  drop().on_command = [](auto&, const std::string& line) -> std::optional<std::string> {
    return line.substr(0, 3) == "TOP" ? std::optional<std::string>("-ERR [SYS/TEMP] later\r\n") : std::nullopt;
  };
  start_polling();
  EXPECT_EQ(record().state_reason, "server_unavailable");
  EXPECT_TRUE(row().tries.empty());
  drop().on_command = {};
  poll(5);
  EXPECT_EQ(row().messages.size(), 5U);
}

TEST_F(maildrop, a_message_whose_head_is_refused_is_set_aside_after_three_polls_and_does_not_vanish) {
  uidl_is(false);
  fill_drop(10);
  drop().on_command = [](auto&, const std::string& line) -> std::optional<std::string> {
    return line == "TOP 4 0" ? std::optional<std::string>("-ERR internal error, service unavailable\r\n") : std::nullopt;
  };
  start_polling();
  EXPECT_EQ(row().messages.size(), 9U) << "the others do not wait";
  EXPECT_EQ(row().state(), channel_state::active);
  poll(3);
  ASSERT_EQ(row().messages.size(), 10U);
  const auto& aside = row().messages.back();
  EXPECT_TRUE(aside.raw.empty());
  EXPECT_EQ(aside.message.size, drop().drop[3].raw.size());
  EXPECT_NE(aside.message.problem.find("does not deliver"), std::string::npos) << aside.message.problem;
  poll(10);
  EXPECT_EQ(row().messages.size(), 10U) << "once";
  EXPECT_EQ(row().state(), channel_state::active);
  EXPECT_EQ(row().tries.begin()->second, limits::message_tries);
  // And one that is alone.
  drop().drop.clear();
  drop().add(alarm("alone"));
  drop().on_command = [](auto&, const std::string& line) -> std::optional<std::string> {
    return line == "TOP 1 0" ? std::optional<std::string>("-ERR cannot read it\r\n") : std::nullopt;
  };
  poll(4);
  EXPECT_EQ(row().messages.size(), 11U);
}

// ---- whose maildrop it is -------------------------------------------------------------------------------------------------------------------

class whose : public maildrop {
 public:
  whose() {
    drop().passwords = {{"joe", "secret"}, {"joe@acme.test", "secret"}, {"ann", "secret"}};
    fill_drop(20);
    start_polling();
    // The node forgets what it saw, and the sign-in that served is over.
    kill();
    drop().passwords.erase("joe");
    start();
    advance(seconds(2));
  }
  void enter(const std::string& name) {
    credential c;
    c.username = name;
    c.password = secret<>("secret");
    put_credential(c);
    advance(std::chrono::minutes(3));
  }
};

TEST_F(whose, a_stranger_s_maildrop_is_refused_although_nobody_remembers_the_last_poll) {
  ASSERT_EQ(row().state(), channel_state::needs_reauth);
  const auto mine = drop().drop;
  drop().drop.clear();
  fill_drop(5, "hers");
  enter("ann");
  EXPECT_EQ(record().switching, switch_state::failed);
  EXPECT_NE(record().switch_error.find("wrong_mailbox"), std::string::npos) << record().switch_error;
  EXPECT_EQ(record().observed_generation, 1);
  EXPECT_EQ(row().state(), channel_state::needs_reauth);
  EXPECT_EQ(row().messages.size(), 20U);
  EXPECT_EQ(drop().count("RETR"), 20U);
  drop().drop = mine;
  enter("joe@acme.test");
  EXPECT_EQ(record().observed_generation, 3);
  EXPECT_EQ(row().state(), channel_state::active);
}

TEST_F(whose, a_maildrop_that_was_emptied_and_filled_anew_is_the_same_by_the_same_name) {
  drop().drop.clear();
  fill_drop(5, "anew");
  drop().passwords["joe"] = "secret";
  enter("joe");
  EXPECT_EQ(record().observed_generation, 2);
  EXPECT_EQ(row().messages.size(), 25U);
}

TEST_F(whose, a_longer_name_is_the_same_by_one_message_that_is_known) {
  drop().drop.erase(drop().drop.begin() + 1, drop().drop.end());
  fill_drop(5, "anew");
  enter("joe@acme.test");
  EXPECT_EQ(record().observed_generation, 2);
  EXPECT_EQ(row().messages.size(), 25U);
}

TEST_F(maildrop, of_two_messages_by_one_name_the_one_that_was_never_read_is_found_in_a_ledger_of_before) {
  drop().add(mail_of("first", 1), "same");
  start_polling();
  ASSERT_EQ(row().messages.size(), 1U);
  drop().add(mail_of("second", 1, 500), "same");
  spec().after = after_fetch::remove;
  poll(2);
  EXPECT_EQ(row().copies_of(mail_of("second", 1, 500)), 1U);
}

}  // namespace
}  // namespace mailherd::actors
