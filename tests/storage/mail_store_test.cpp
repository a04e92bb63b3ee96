// The ledger, channel state, credentials, leases and housekeeping, on a real PostgreSQL.
#include "storage/rows.hpp"
#include "tests/peers/files.hpp"
#include "tests/storage/mail_world.hpp"

namespace mailherd::test {
namespace {

using store::mail_store;

class ledger_test : public mail_world {};

TEST_F(ledger_test, pop3_knows_what_was_stored_and_what_was_not_wanted) {
  auto stored = mail(0, "body");
  stored.source = {protocol_kind::pop3, "", {}, {}, "a"};
  auto bodiless = stored;
  bodiless.source.uidl = "b";
  bodiless.body.reset();
  auto u = unit(guard(1, 11), {stored, bodiless});
  u.protocol = protocol_kind::pop3;
  u.folder.clear();
  u.skipped_uidls = {"c", "c"};
  u.after = after_fetch::remove;
  ASSERT_TRUE(commit(u).status);
  auto kept = stored;
  kept.source.uidl = "k";
  auto earlier = u;
  earlier.messages = {kept};
  earlier.after = after_fetch::keep;
  ASSERT_TRUE(commit(earlier).status);
  EXPECT_EQ(*store.unknown_uidls(guard(1, 11), {"d", "c", "b", "a", "e\"\\"}), (std::vector<std::string>{"d", "e\"\\"}));
  const auto with_body = store.stored_uidls(guard(1, 11), {"d", "c", "b", "a", "k"});
  ASSERT_EQ(with_body->size(), 1U);
  EXPECT_EQ(with_body->front().uidl, "a");
  EXPECT_EQ(with_body->front().size, 4U);
  EXPECT_EQ(*store.unknown_uidls(guard(1, 12), {"a"}), std::vector<std::string>{"a"}) << "another channel's maildrop";
  EXPECT_TRUE(store.unknown_uidls(guard(1, 11), {})->empty());
}

TEST_F(ledger_test, uids_with_a_body_are_those_whose_messages_may_be_deleted) {
  auto bodiless = mail(3, "x");
  bodiless.body.reset();
  auto u = unit(guard(1, 11), {mail(1, "a"), mail(2, "b"), bodiless, mail(4, "d"), mail(5, "e", 8)});
  u.after = after_fetch::remove;
  ASSERT_TRUE(commit(u).status);
  const auto uids = store.stored_uids(guard(1, 11), "INBOX", {7}, {1}, {9}, after_fetch::remove, 10);
  ASSERT_TRUE(uids);
  EXPECT_EQ(*uids, (std::vector<mailherd::uid>{{2}, {4}}));
  EXPECT_EQ(store.stored_uids(guard(1, 11), "INBOX", {7}, {0}, {9}, after_fetch::remove, 2)->size(), 2U);
}

TEST_F(ledger_test, what_was_stored_to_be_kept_is_kept_under_every_later_identity) {
  const auto uids_to = [&](after_fetch what, std::uint32_t validity) {
    const auto found = store.stored_uids(guard(1, 11), "INBOX", {validity}, {0}, {99}, what, 10);
    std::string all;
    for (const auto u : *found) all += fmt::format("{} ", u.value);
    return all;
  };
  std::uint32_t uid = 0;
  for (const auto after : {after_fetch::keep, after_fetch::seen, after_fetch::remove}) {
    ++uid;
    auto u = unit(guard(1, 11), {mail(uid, std::string(uid, 'x'))});
    u.after = after;
    ASSERT_EQ(commit(u).stored, 1);
  }
  // As a version before this one writes it: it does not say.
  database.query("INSERT INTO ledger (tenant_id, channel_id, server, uid_validity, uid, size, has_body, folder, uidl, header_digest) "
                 "VALUES (1, 11, 1, 7, 4, 4, true, 'INBOX', '', decode(repeat('07', 32), 'hex'))");
  EXPECT_EQ(uids_to(after_fetch::remove, 7), "3 ");
  EXPECT_EQ(uids_to(after_fetch::seen, 7), "2 ");
  const auto renumber = [&](std::uint32_t from, std::uint32_t to) {
    auto u = unit(guard(1, 11), {});
    u.after = after_fetch::remove;   // what the channel is set to now says nothing of them
    for (std::uint32_t n = 1; n <= 4; ++n) {
      const auto found = store.find_candidates(guard(1, 11), "INBOX", {to}, {{std::nullopt, n}}, store::identities::all);
      ASSERT_EQ(found->size(), 1U);
      u.known.push_back({{protocol_kind::imap, "INBOX", {to}, {10 + n}, ""}, found->front().ledger_id, found->front().size});
    }
    ASSERT_TRUE(commit(u).status);
    EXPECT_EQ(uids_to(after_fetch::remove, from), "3 ");
  };
  renumber(7, 8);
  EXPECT_EQ(uids_to(after_fetch::remove, 8), "13 ");
  EXPECT_EQ(uids_to(after_fetch::seen, 8), "12 ");
  // A further identity by the version before says nothing: then the message is kept.
  database.query("UPDATE ledger SET after_fetch = NULL WHERE uid_validity = 8");
  renumber(7, 9);
  EXPECT_EQ(uids_to(after_fetch::remove, 9), "");
}

TEST_F(ledger_test, a_known_message_under_a_new_validity_gets_a_further_identity_and_is_no_candidate_any_more) {
  ASSERT_TRUE(commit(unit(guard(1, 11), {mail(1, "aaa"), mail(2, "bbb"), mail(3, "cccc")})).status);
  const auto date = mail(1, "").internal_date;
  auto found = store.find_candidates(guard(1, 11), "INBOX", {8}, {{date, 3}}, store::identities::all);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 1U);
  const auto c = found->front();
  EXPECT_EQ(c.internal_date, date);
  EXPECT_EQ(c.digest, mail(1, "").digest);
  EXPECT_EQ(c.header_digest, mail(1, "").header_digest);
  EXPECT_TRUE(c.has_body);
  EXPECT_EQ(store.find_candidates(guard(1, 11), "INBOX", {8}, {{std::nullopt, 3}}, store::identities::all)->size(), 2U) << "by size alone, as after a change of protocol";
  EXPECT_TRUE(store.find_candidates(guard(1, 11), "INBOX", {7}, {{date, 3}}, store::identities::all)->empty()) << "it has an identity there";
  EXPECT_TRUE(store.find_candidates(guard(1, 12), "INBOX", {8}, {{date, 3}}, store::identities::all)->empty()) << "another channel";

  store::commit_unit u = unit(guard(1, 11), {});
  u.known.push_back({{protocol_kind::imap, "INBOX", {8}, {70}, ""}, c.ledger_id, c.size});
  ASSERT_TRUE(commit(u).status);
  EXPECT_TRUE(store.find_candidates(guard(1, 11), "INBOX", {8}, {{date, 3}}, store::identities::all)->empty());
  EXPECT_EQ(store.find_candidates(guard(1, 11), "INBOX", {9}, {{date, 3}}, store::identities::all)->size(), 1U) << "one message, however many identities";
  EXPECT_EQ(commit(unit(guard(1, 11), {mail(70, "aaa", 8)})).suppressed, 1);
  EXPECT_EQ(database.query("SELECT count(*) FROM messages"), "3");
}

TEST_F(ledger_test, a_maildrop_whose_messages_get_other_names_is_looked_through_for_what_is_known) {
  auto m = mail(1, "aaa");
  m.source = {protocol_kind::pop3, "", {}, {}, "first"};
  auto u = unit(guard(1, 11), {m});
  u.protocol = protocol_kind::pop3;
  u.folder.clear();
  u.move_cursor = store::cursor{{}, {}, {}, {}, 0, {}, true};
  ASSERT_TRUE(commit(u).status);
  const auto names = [&] { return store.load_cursor(guard(1, 11), protocol_kind::pop3, "")->names; };
  EXPECT_EQ(names(), store::named_by::uidl) << "a cursor of before says nothing: the ledger does";
  EXPECT_TRUE(store.find_candidates(guard(1, 11), "", {}, {{std::nullopt, 3}}, store::identities::uidls)->empty());
  const auto found = store.find_candidates(guard(1, 11), "", {}, {{std::nullopt, 3}}, store::identities::digests);
  ASSERT_EQ(found->size(), 1U);
  u.messages.clear();
  u.known.push_back({{protocol_kind::pop3, "", {}, {}, "sha256:0123"}, found->front().ledger_id, found->front().size});
  ASSERT_TRUE(commit(u).status);
  EXPECT_TRUE(store.find_candidates(guard(1, 11), "", {}, {{std::nullopt, 3}}, store::identities::digests)->empty());
  EXPECT_EQ(names(), store::named_by::unknown) << "both kinds are there: which was the last cannot be told";
  u.known.clear();
  u.move_cursor->names = store::named_by::digest;
  ASSERT_TRUE(commit(u).status);
  EXPECT_EQ(names(), store::named_by::digest);
}

TEST_F(ledger_test, of_a_listing_it_says_whom_it_stands_for_and_what_was_the_newest_then) {
  const auto listed = [&](const std::vector<std::string>& uidls) { return *store.listed_origins(guard(1, 11), uidls); };
  EXPECT_EQ(listed({"a"}).newest, 0) << "nothing is known";
  auto u = unit(guard(1, 11), {});
  u.protocol = protocol_kind::pop3;
  u.folder.clear();
  for (const char* uidl : {"a", "b"}) {
    u.messages.push_back(mail(1, uidl));
    u.messages.back().source = {protocol_kind::pop3, "", {}, {}, uidl};
  }
  ASSERT_TRUE(commit(u).status);
  const auto b = listed({"b", "c"});
  ASSERT_EQ(b.known.size(), 1U);
  EXPECT_EQ(b.newest, std::max(b.known.front(), listed({"a"}).known.front()));
  u.messages.clear();
  u.known.push_back({{protocol_kind::pop3, "", {}, {}, "anew"}, b.known.front(), 1});
  u.move_cursor = store::cursor{{}, {}, {}, {}, 0, {}, true, store::named_by::renewed};
  ASSERT_TRUE(commit(u).status);
  EXPECT_EQ(listed({"anew"}).known, b.known) << "the message has another name";
  EXPECT_TRUE(store.listed_origins(guard(1, 12), {"a"})->known.empty()) << "another channel's";
  EXPECT_EQ(store.load_cursor(guard(1, 11), protocol_kind::pop3, "")->names, store::named_by::renewed);
}

TEST_F(ledger_test, a_message_without_headers_is_nobodys_candidate) {
  auto m = mail(1, "x");
  m.body.reset();
  m.digest = {};
  m.header_digest = {};
  ASSERT_TRUE(commit(unit(guard(1, 11), {m})).status);
  EXPECT_TRUE(store.find_candidates(guard(1, 11), "INBOX", {8}, {{std::nullopt, 1}}, store::identities::all)->empty());
}

TEST_F(ledger_test, tries_of_a_message_are_counted_over_restarts) {
  const auto source = mail(1, "").source;
  EXPECT_EQ(*store.note_try(guard(1, 11), source), 1U);
  EXPECT_EQ(*store.note_try(guard(1, 11), source), 2U);
  const auto later = database.connect();
  store::pg_mail_store another(*later, *keys, 0, 14);
  EXPECT_EQ(*another.note_try(guard(1, 11), source), 3U);
  EXPECT_EQ(*another.note_try(guard(1, 11), mail(2, "").source), 1U);
}

// ---- state ------------------------------------------------------------------------------------------------------------------------------

class state_test : public mail_world {
 protected:
  [[nodiscard]] std::string events() const {
    return database.query("SELECT string_agg(kind || ':' || state || ':' || reason, ' ' ORDER BY event_id) FROM channel_events WHERE channel_id = 11");
  }
};

TEST_F(state_test, a_change_of_state_or_reason_is_an_event_and_a_repetition_is_none) {
  mail_store::state_change c;
  c.state = channel_state::backoff;
  c.reason = "timed_out";
  c.next_attempt_at = store::time_of(2'000'000'000'000'000);
  ASSERT_TRUE(store.set_state(guard(1, 11), c));
  c.detail = "again";
  ASSERT_TRUE(store.set_state(guard(1, 11), c));
  EXPECT_EQ(events(), "state:backoff:timed_out");
  c.reason = "dns_failed";
  ASSERT_TRUE(store.set_state(guard(1, 11), c));
  mail_store::state_change good;
  good.state = channel_state::active;
  good.observed_generation = 1;
  good.switching = switch_state::done;
  good.last_success_at = store::time_of(2'000'000'000'000'000);
  ASSERT_TRUE(store.set_state(guard(1, 11), good));
  EXPECT_EQ(events(), "state:backoff:timed_out state:backoff:dns_failed state:active: switch:done:");
  const auto loaded = store.load_channel({1}, {11});
  ASSERT_TRUE(loaded) << describe(loaded.error());
  EXPECT_EQ(loaded->record.state, channel_state::active);
  EXPECT_EQ(loaded->record.observed_generation, 1);
  EXPECT_FALSE(loaded->record.next_attempt_at);
  EXPECT_EQ(loaded->record.last_success_at, good.last_success_at);
}

TEST_F(state_test, signs_of_life_of_many_channels_never_go_back_and_pass_over_old_epochs) {
  ASSERT_TRUE(store.touch_success({{guard(1, 11), store::time_of(2'000)}, {guard(1, 12, 9), store::time_of(2'000)}, {guard(2, 21), store::time_of(2'000)}}));
  ASSERT_TRUE(store.touch_success({{guard(1, 11), store::time_of(1'000)}}));
  EXPECT_EQ(database.query("SELECT string_agg(channel_id || '=' || coalesce(mailherd_us(last_success_at)::text, '-'), ' ' ORDER BY channel_id) FROM channel_status"),
            "11=2000 12=- 21=2000");
}

// ---- credentials --------------------------------------------------------------------------------------------------------------------------

class credential_test : public mail_world {
 protected:
  void put(std::int64_t generation, const std::string& token) const {
    const auto sealed = store::sealed_or_null(*keys, store::credential_context({1}, {11}, generation, "refresh_token"), secret<>(token));
    database.query(fmt::format("INSERT INTO credentials (tenant_id, channel_id, generation, type, app_id, grant_kind, sealed_refresh_token) "
                               "VALUES (1, 11, {}, 'oauth2', 5, 'authorization_code', '{}')", generation, *sealed.text));
  }
};

TEST_F(credential_test, a_rotated_refresh_token_replaces_the_one_that_was_used_and_only_that) {
  put(2, "first");
  database.query("UPDATE channels SET generation = 2 WHERE channel_id = 11");
  database.query("INSERT INTO oauth_apps (tenant_id, app_id, name, provider, client_id, token_url) VALUES (1, 5, 'app', 'custom', 'id', 'https://idp.test')");
  const secret<> first(std::string("first")), second(std::string("second")), third(std::string("third"));
  ASSERT_TRUE(store.rotate_refresh_token(guard(1, 11), 2, first, second, "someone@acme.test"));
  EXPECT_TRUE(store.rotate_refresh_token(guard(1, 11), 2, first, second, "")) << "repeated after a lost answer";
  EXPECT_EQ(store.rotate_refresh_token(guard(1, 11), 2, first, third, "").error().code, failure::conflict);
  database.query("UPDATE channel_leases SET owner = NULL, epoch = 9 WHERE channel_id = 11");
  EXPECT_TRUE(store.rotate_refresh_token(guard(1, 11), 2, second, third, "")) << "the provider has replaced it: whoever got the newest keeps it";
  ASSERT_TRUE(store.rotate_refresh_token(guard(1, 11), 2, third, second, ""));
  const auto loaded = store.load_channel({1}, {11});
  ASSERT_TRUE(loaded) << describe(loaded.error());
  EXPECT_TRUE(loaded->credential.refresh_token == second);
  EXPECT_EQ(loaded->record.account, "someone@acme.test");
  ASSERT_TRUE(loaded->app);
  EXPECT_EQ(loaded->app->token_url, "https://idp.test");
  EXPECT_TRUE(loaded->record.has_grant);
}

TEST_F(credential_test, a_grant_is_held_by_one_at_a_time_and_by_the_dead_no_longer_than_they_said) {
  constexpr std::int64_t me = 1, you = 2;
  ASSERT_TRUE(store.hold_grant(guard(1, 11), me, seconds(40)));
  EXPECT_TRUE(*store.hold_grant(guard(1, 11), me, seconds(40))) << "who holds it holds it on";
  EXPECT_FALSE(*store.hold_grant(guard(1, 11), you, seconds(40)));
  EXPECT_TRUE(*store.hold_grant(guard(1, 12), you, seconds(40))) << "another channel's is another one";
  ASSERT_TRUE(store.release_grant(guard(1, 11), you));
  EXPECT_FALSE(*store.hold_grant(guard(1, 11), you, seconds(40))) << "only its holder gives it back";
  ASSERT_TRUE(store.release_grant(guard(1, 11), me));
  EXPECT_TRUE(*store.hold_grant(guard(1, 11), you, seconds(40)));
  database.query("UPDATE grant_holds SET until = now() - interval '1 second' WHERE channel_id = 11");
  EXPECT_TRUE(*store.hold_grant(guard(1, 11), me, seconds(40)));
}

TEST_F(credential_test, the_serving_generation_is_loaded_beside_the_newest) {
  put(2, "new");
  database.query("UPDATE channels SET generation = 2 WHERE channel_id = 11; UPDATE channel_status SET observed_generation = 1 WHERE channel_id = 11");
  const auto loaded = store.load_channel({1}, {11});
  ASSERT_TRUE(loaded) << describe(loaded.error());
  EXPECT_EQ(loaded->credential.type, auth_type::oauth2);
  EXPECT_EQ(loaded->serving.type, auth_type::basic);
  EXPECT_EQ(loaded->serving.username, "u11");
  EXPECT_EQ(store.load_channel({2}, {11}).error().code, failure::not_found) << "another tenant's channel";
}

TEST_F(credential_test, a_value_sealed_with_other_keys_says_so) {
  put(2, "x");
  database.query("UPDATE channels SET generation = 2 WHERE channel_id = 11");
  const auto strangers = store::keyring::parse(store::keyring::generate());
  store::pg_mail_store other(*link, **strangers, 0, 14);
  EXPECT_EQ(other.load_channel({1}, {11}).error().code, failure::seal_failed);
}

// ---- leases ---------------------------------------------------------------------------------------------------------------------------------

class lease_test : public mail_world {
 protected:
  lease_test() { database.query("UPDATE channel_leases SET owner = NULL"); }
  mail_store::incarnation join(const std::string& name) {
    auto life = store.join(name, "1.0", seconds(15), 100);
    EXPECT_TRUE(life);
    return *life;
  }
  void expire(const mail_store::incarnation& life) const {
    database.query(fmt::format("UPDATE incarnations SET expires_at = now() - interval '1 second' WHERE incarnation_id = {}", life.id.value));
  }
};

TEST_F(lease_test, free_channels_go_to_who_claims_them_stalest_first_with_a_new_epoch) {
  database.query("UPDATE channel_status SET last_success_at = now() - CASE channel_id WHEN 11 THEN 1 WHEN 12 THEN 3 ELSE 2 END * interval '1 minute'");
  const auto a = join("a"), b = join("b");
  const auto first = store.claim(a, 1);
  ASSERT_TRUE(first);
  ASSERT_EQ(first->size(), 1U);
  EXPECT_EQ(first->front().channel.value, 12);
  EXPECT_EQ(first->front().epoch, 2);
  EXPECT_EQ(store.claim(b, 10)->size(), 2U);
  EXPECT_TRUE(store.claim(a, 10)->empty());
  ASSERT_EQ(store.owned(a)->size(), 1U);
  EXPECT_EQ(store.owned(a)->front().channel, first->front().channel);
  EXPECT_EQ(store.owned(a)->front().epoch, first->front().epoch);
  EXPECT_EQ(store.owned(b)->size(), 2U);
  EXPECT_EQ(store.load_channel({1}, {12})->record.node, "a");
}

TEST_F(lease_test, a_node_that_cannot_renew_loses_its_channels_and_then_its_right_to_renew) {
  const auto a = join("a"), b = join("b");
  const auto held = store.claim(a, 10);
  ASSERT_EQ(held->size(), 3U);
  EXPECT_TRUE(store.claim(b, 10)->empty()) << "alive";
  expire(a);
  EXPECT_TRUE(store.renew(a, seconds(15), 0)) << "late, but nobody took anything";
  EXPECT_TRUE(store.claim(b, 10)->empty());
  expire(a);
  const auto taken = store.claim(b, 10);
  ASSERT_EQ(taken->size(), 3U);
  EXPECT_EQ(taken->front().epoch, held->front().epoch + 1);
  EXPECT_EQ(store.renew(a, seconds(15), 0).error().code, failure::fenced);
  EXPECT_TRUE(store.claim(a, 10)->empty());
  EXPECT_EQ(commit(unit(held->front(), {mail(1, "late")})).status.error().code, failure::fenced);
  EXPECT_TRUE(commit(unit(taken->front(), {mail(1, "in time")})).status);
}

TEST_F(lease_test, a_second_life_of_a_name_frees_the_first_ones_channels_at_once) {
  const auto first = join("a");
  ASSERT_EQ(store.claim(first, 10)->size(), 3U);
  const auto second = join("a");
  EXPECT_EQ(store.renew(first, seconds(15), 0).error().code, failure::fenced);
  EXPECT_EQ(store.claim(second, 10)->size(), 3U);
}

TEST_F(lease_test, giving_back_and_leaving_free_channels_at_once_and_only_ones_own) {
  const auto a = join("a"), b = join("b");
  const auto held = store.claim(a, 2);
  ASSERT_EQ(held->size(), 2U);
  ASSERT_TRUE(store.release(b, *held));
  EXPECT_EQ(store.claim(b, 10)->size(), 1U) << "b had given back nothing of a's";
  auto old = held->front();
  old.epoch -= 1;
  ASSERT_TRUE(store.release(a, {old}));
  EXPECT_TRUE(store.claim(b, 10)->empty());
  ASSERT_TRUE(store.release(a, {held->front()}));
  EXPECT_EQ(store.claim(b, 10)->size(), 1U);
  ASSERT_TRUE(store.leave(a));
  EXPECT_EQ(store.claim(b, 10)->size(), 1U);
  EXPECT_EQ(store.renew(a, seconds(15), 0).error().code, failure::fenced);
}

TEST_F(lease_test, a_disabled_channel_is_claimed_by_nobody) {
  database.query("UPDATE channel_leases SET enabled = false WHERE channel_id = 12");
  EXPECT_EQ(store.claim(join("a"), 10)->size(), 2U);
}

TEST_F(lease_test, a_change_that_commits_late_is_told_all_the_same) {
  const auto a = join("a");
  ASSERT_EQ(store.claim(a, 10)->size(), 3U);
  const auto first = store.changes_since(a, 0);
  ASSERT_TRUE(first);
  ASSERT_EQ(first->size(), 1U);
  auto revision = first->back().revision;
  EXPECT_GT(revision, 0);

  const std::string change = "SET mailherd.tenant = '*'; INSERT INTO channel_changes (tenant_id, channel_id) VALUES (1, {}) "
                             "ON CONFLICT (tenant_id, channel_id) DO UPDATE SET changed = (pg_current_xact_id()::text)::bigint";
  pqxx::connection slow(database.superuser_url());
  pqxx::work late(slow);
  late.exec(fmt::format(fmt::runtime(change), 11));
  database.query(fmt::format(fmt::runtime(change), 12));
  const auto second = store.changes_since(a, revision);
  ASSERT_TRUE(second);
  ASSERT_EQ(second->size(), 2U);
  EXPECT_EQ(second->front().guard.channel.value, 12);
  EXPECT_FALSE(second->front().gone);
  revision = second->back().revision;
  late.commit();
  const auto third = store.changes_since(a, revision);
  ASSERT_TRUE(third);
  EXPECT_EQ(third->front().guard.channel.value + (*third)[third->size() - 2].guard.channel.value, 11 + (third->size() == 2 ? 11 : 12));
  revision = third->back().revision;
  EXPECT_EQ(store.changes_since(a, revision)->size(), 1U) << "nothing new";
}

TEST_F(lease_test, what_was_deleted_or_disabled_is_told_as_gone_and_its_lease_ends_with_its_release) {
  const auto a = join("a");
  const auto held = store.claim(a, 10);
  database.query("DELETE FROM channels WHERE channel_id = 11; UPDATE channels SET enabled = false WHERE channel_id = 12");
  const auto gone = store.changes_since(a, 0);
  ASSERT_EQ(gone->size(), 3U);
  EXPECT_TRUE((*gone)[0].gone && (*gone)[1].gone);
  ASSERT_TRUE(store.release(a, *held));
  EXPECT_EQ(database.query("SELECT string_agg(channel_id::text, ',' ORDER BY channel_id) FROM channel_leases"), "12,21");
}

// ---- housekeeping -----------------------------------------------------------------------------------------------------------------------------

TEST_F(lease_test, old_months_are_dropped_and_coming_ones_made) {
  database.query("SELECT mailherd_make_partition('messages', now() - interval '100 days'), mailherd_make_partition('outbox', now() - interval '100 days')");
  const auto old_is_there = [&](const std::string& of) {
    return database.query(fmt::format("SELECT to_regclass('{}_' || to_char(date_trunc('month', (now() - interval '100 days') AT TIME ZONE 'UTC'), 'YYYYMM')) "
                                      "IS NOT NULL", of)) == "t";
  };
  ASSERT_TRUE(old_is_there("messages") && old_is_there("outbox"));
  ASSERT_TRUE(store.sweep());
  EXPECT_TRUE(old_is_there("messages")) << "kept for ever unless told otherwise";
  EXPECT_FALSE(old_is_there("outbox"));
  store::pg_mail_store forgetful(*link, *keys, 60, 14);
  ASSERT_TRUE(forgetful.sweep());
  EXPECT_FALSE(old_is_there("messages"));
  ASSERT_TRUE(forgetful.sweep());
  EXPECT_EQ(commit(unit(guard(1, 11), {mail(1, "a")})).status.error().code, failure::fenced) << "its lease was taken away above; the partition of today is there";
}

/// A month of 100 days ago, which is past a retention of 60.
class old_month_test : public lease_test {
 protected:
  old_month_test() { database.query("SELECT mailherd_make_partition('messages', now() - interval '100 days')"); }
  [[nodiscard]] bool is_there() const {
    return database.query("SELECT to_regclass('messages_' || to_char(date_trunc('month', (now() - interval '100 days') AT TIME ZONE 'UTC'), 'YYYYMM')) IS NOT NULL") == "t";
  }
  store::pg_mail_store forgetful{*link, *keys, 60, 14};
  std::unique_ptr<store::connection> other = *store::connection::open(database.url());
};

TEST_F(old_month_test, one_node_sweeps_at_a_time_from_the_beginning_to_the_end) {
  ASSERT_TRUE(other->execute("SELECT pg_advisory_lock(728451, 2)"));   // another node in the middle of its sweep
  ASSERT_TRUE(forgetful.sweep());
  EXPECT_TRUE(is_there()) << "dropped beside the sweep of another node";
  other.reset();   // it died, and the database notices in its own time
  ASSERT_TRUE(peers::wait_until([&] { return database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"; }, std::chrono::seconds(20)));
  ASSERT_TRUE(forgetful.sweep());
  EXPECT_FALSE(is_there());
  other = *store::connection::open(database.url());
  store::pg_mail_store next(*other, *keys, 60, 14);
  database.query("SELECT mailherd_make_partition('messages', now() - interval '100 days')");
  ASSERT_TRUE(next.sweep());
  EXPECT_FALSE(is_there()) << "the lock of the sweep before was kept";
}

TEST_F(old_month_test, a_long_read_delays_the_end_of_a_month_and_not_the_mail) {
  pqxx::connection dump(database.url());
  {
    pqxx::work reads(dump);
    reads.exec("SELECT count(*) FROM messages");
    ASSERT_TRUE(forgetful.sweep()) << "what is in the way now is no error: it is tried again";
    EXPECT_TRUE(is_there());
  }
  ASSERT_TRUE(forgetful.sweep());
  EXPECT_FALSE(is_there());
}

}  // namespace
}  // namespace mailherd::test
