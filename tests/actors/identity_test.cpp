// The fetcher and the identity of messages: a changed UIDVALIDITY, and what is done at the server with mail that was fetched.
#include "tests/actors/fetching.hpp"

namespace mailherd::actors {
namespace {

// ---- a changed UIDVALIDITY ------------------------------------------------------------------------------------------------------------------

class renumbered : public test::fetching {
 public:
  void renumber() {
    imap.renumber(2000);
    imap.bye_all("the mailbox was rebuilt");
    advance(seconds(30));
  }
  std::size_t bodies() { return static_cast<std::size_t>(std::count_if(imap.log.begin(), imap.log.end(), [](const auto& l) { return l.find("BODY.PEEK[]") != std::string::npos; })); }
};

TEST_F(renumbered, finds_known_mail_again_and_stores_nothing_twice) {
  fill(300);
  start_all();
  const auto before = bodies();
  imap.inbox().messages.erase(imap.inbox().messages.begin() + 100);   // every UID behind it changes
  renumber();
  EXPECT_EQ(row().messages.size(), 300U);
  EXPECT_EQ(bodies(), before) << "headers were enough";
  imap.add(mail_of("new", 1), wall());
  settle();
  EXPECT_EQ(row().messages.size(), 301U);
  EXPECT_EQ(cursor().uid_validity.value, 2000U);
  expect_all_once();
}

TEST_F(renumbered, misses_nothing_that_came_meanwhile) {
  fill(50);
  start_all();
  imap.idle_silent = true;
  fill(5, "unseen");
  renumber();
  EXPECT_EQ(row().messages.size(), 55U);
  expect_all_once();
}

TEST_F(renumbered, imports_nothing_old_into_a_channel_that_started_now) {
  for (int i = 1; i <= 40; ++i) imap.add(mail_of("old", i), record().created_at - std::chrono::hours(i));
  start_all(start_point::kind::now);
  imap.add(mail_of("new", 1), wall());
  settle();
  renumber();
  EXPECT_EQ(subjects(), (std::vector<std::string>{"new-1"}));
}

TEST_F(renumbered, recognises_mail_by_its_digest_where_the_server_misstates_sizes) {
  fill(60);
  for (auto& m : imap.inbox().messages) m.claimed_size = m.raw.size() + 100 + m.uid;
  start_all();
  for (auto& m : imap.inbox().messages) *m.claimed_size += 7;
  renumber();
  EXPECT_EQ(row().messages.size(), 60U);
  expect_all_once();
}

TEST_F(renumbered, keeps_two_messages_apart_that_differ_only_in_their_text) {
  const std::string head = "From: alarm@example.test\r\nSubject: alarm\r\n\r\n";
  imap.add(head + "pressure 1\r\n", wall());
  start_all();
  imap.idle_silent = true;
  advance(seconds(1));
  imap.add(head + "pressure 2\r\n", wall());
  imap.inbox().messages.erase(imap.inbox().messages.begin());
  renumber();
  EXPECT_EQ(row().messages.size(), 2U);
}

TEST_F(renumbered, keeps_copies_of_the_same_message_apart) {
  const auto raw = mail_of("twice", 1);
  imap.add(raw, wall());
  start_all();
  imap.idle_silent = true;
  imap.add(raw, wall());
  renumber();
  EXPECT_EQ(row().messages.size(), 2U) << "two are there, one was known";
}

TEST_F(renumbered, does_not_record_a_second_time_what_was_set_aside) {
  fill(10);
  imap.on_body = [&](auto&, const auto& m) -> std::optional<std::string> { return m.raw == mail_of("old", 4) ? std::optional<std::string>(" BODY[] NIL") : std::nullopt; };
  start_all();
  ASSERT_EQ(row().messages.size(), 10U);
  imap.inbox().uid_next = 500;
  renumber();
  EXPECT_EQ(row().messages.size(), 10U);
}

TEST_F(renumbered, begins_again_after_a_crash_in_the_middle) {
  fill(300);
  start_all();
  imap.renumber(2000);
  unsigned headers = 0;
  imap.on_command = [&](auto& session, const auto& c) -> std::optional<std::string> {
    if (c.arguments.find("BODY.PEEK[HEADER]") != std::string::npos && ++headers == 2) session.line().reset();
    return std::nullopt;
  };
  imap.bye_all("the mailbox was rebuilt");
  advance(seconds(1));
  kill();
  start();
  advance(seconds(20));
  EXPECT_EQ(row().messages.size(), 300U);
  expect_all_once();
}

// ---- what is done with fetched mail -----------------------------------------------------------------------------------------------------------

class after : public test::fetching {
 public:
  std::size_t with(const std::string& flag) {
    return static_cast<std::size_t>(std::count_if(imap.inbox().messages.begin(), imap.inbox().messages.end(), [&](const auto& m) { return m.flags.contains(flag); }));
  }
};

TEST_F(after, keep_touches_nothing) {
  fill(20);
  start_all();
  EXPECT_EQ(imap.count("UID STORE"), 0U);
  EXPECT_EQ(imap.count("EXAMINE"), 1U) << "opened read only";
}

TEST_F(after, seen_marks_what_is_stored) {
  spec().after = after_fetch::seen;
  fill(700);
  start_all();
  EXPECT_EQ(with("\\Seen"), 700U);
  imap.add(mail_of("new", 1), wall());
  settle();
  EXPECT_EQ(with("\\Seen"), 701U);
}

TEST_F(after, delete_removes_only_what_is_durable) {
  spec().after = after_fetch::remove;
  spec().start.from = start_point::kind::all;
  fill(20);
  mail.fault = [](std::string_view what) { return what == "commit" ? std::optional(failure::store_unavailable) : std::nullopt; };
  start();
  advance(seconds(40));
  EXPECT_EQ(imap.inbox().messages.size(), 20U);
  EXPECT_EQ(imap.count("UID STORE"), 0U);
  mail.fault = {};
  advance(std::chrono::minutes(3));
  EXPECT_EQ(row().messages.size(), 20U);
  EXPECT_TRUE(imap.inbox().messages.empty());
}

TEST_F(after, delete_leaves_what_has_no_body_here) {
  spec().after = after_fetch::remove;
  row().load.limits.max_message_bytes = 100'000;
  fill(1, "huge", 300'000);
  fill(2, "small");
  start_all();
  EXPECT_EQ(row().messages.size(), 3U);
  ASSERT_EQ(imap.inbox().messages.size(), 1U);
  EXPECT_EQ(imap.inbox().messages.front().uid, 1U);
}

TEST_F(after, a_later_delete_does_not_reach_back_for_what_was_to_be_kept) {
  fill(10);
  start_all();
  spec().after = after_fetch::remove;
  record().revision += 1;
  changed();
  advance(seconds(5));
  imap.add(mail_of("new", 1), wall());
  advance(seconds(5));
  EXPECT_EQ(row().messages.size(), 11U);
  EXPECT_EQ(imap.inbox().messages.size(), 10U) << "only the new one was fetched to be deleted";
}

TEST_F(after, mail_that_was_to_be_kept_is_kept_when_all_uids_change) {
  for (const auto later : {after_fetch::remove, after_fetch::seen}) {
    spec().after = after_fetch::keep;
    fetchers.empty() ? start_all() : (record().revision += 1, changed());
    advance(seconds(5));
    fill(10, std::string(to_string(later)));
    advance(seconds(5));
    spec().after = later;
    record().revision += 1;
    changed();
    advance(seconds(5));
    imap.renumber(imap.inbox().uid_validity + 1);
    imap.bye_all("the mailbox was rebuilt");
    advance(seconds(30));
    imap.add(mail_of("new", later == after_fetch::seen ? 2 : 1), wall());
    advance(seconds(5));
  }
  EXPECT_EQ(row().messages.size(), 22U);
  EXPECT_EQ(imap.inbox().messages.size(), 21U) << "one was fetched to be deleted";
  EXPECT_EQ(with("\\Seen"), 1U);
}

TEST_F(after, a_deletion_that_failed_is_made_good_when_all_uids_have_changed) {
  spec().after = after_fetch::remove;
  fill(5);
  bool refuses = true;
  imap.on_command = [&](auto&, const auto& c) -> std::optional<std::string> {
    return refuses && c.name == "UID STORE" ? std::optional(c.tag + " NO not now\r\n") : std::nullopt;
  };
  start_all();
  ASSERT_EQ(imap.inbox().messages.size(), 5U);
  refuses = false;
  imap.renumber(2000);
  imap.bye_all("the mailbox was rebuilt");
  advance(seconds(30));
  EXPECT_TRUE(imap.inbox().messages.empty());
  EXPECT_EQ(row().messages.size(), 5U);
}

TEST_F(after, a_server_that_refuses_to_mark_costs_no_mail) {
  spec().after = after_fetch::seen;
  imap.on_command = [](auto&, const auto& c) -> std::optional<std::string> {
    return c.name == "UID STORE" ? std::optional(c.tag + " NO read only\r\n") : std::nullopt;
  };
  fill(5);
  start_all();
  imap.add(mail_of("new", 1), wall());
  settle();
  EXPECT_EQ(row().messages.size(), 6U);
  EXPECT_LE(imap.count("UID STORE"), 3U);
}

}  // namespace
}  // namespace mailherd::actors
