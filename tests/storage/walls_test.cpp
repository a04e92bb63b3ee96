// The two walls between tenants, each without the other: the store with a tenant's key, and plain SQL under a tenant's scope.
#include "storage/pg_webhook_store.hpp"
#include "tests/storage/admin_world.hpp"

namespace mailherd::test {
namespace {

class walls : public ::testing::TestWithParam<login> {
 protected:
  walls() : database(GetParam()), link(database.connect()), store(*link, *keys), mail(*link, *keys, 0, 14), hooks(*link, *keys) {
    for (auto* side : {&mine, &theirs}) fill(*side);
  }

  struct side {
    tenant_id tenant;
    channel_id channel;
    app_id app;
    api_key_id key;
    store::lease_guard guard;
    webhook_id webhook;
    delivery_id delivery;
  };

  void fill(side& s) {
    const store::caller anyone;
    s.tenant = must(store.create_tenant("tenant", {100, 1 << 20})).id;
    s.key = must(store.create_api_key(anyone, s.tenant, "k", {static_cast<std::uint8_t>(s.tenant.value)})).id;
    ASSERT_TRUE(store.create_session({static_cast<std::uint8_t>(s.tenant.value)}, {{s.tenant}, s.key, {}, {}}, seconds(600)));
    oauth_app a;
    a.tenant = s.tenant;
    a.client_secret = secret<>(std::string("secret"));
    s.app = must(store.create_app(anyone, a)).id;
    channel_spec spec;
    spec.incoming.host = "h.test";
    s.channel = must(store.create_channel(anyone, s.tenant, spec, {}, "operator")).id;
    const auto life = must(mail.join("node", "1", seconds(600), 100));
    for (const auto& g : must(mail.claim(life, 10)))
      if (g.channel == s.channel) s.guard = g;
    store::commit_unit u;
    u.guard = s.guard;
    u.move_cursor.emplace();
    u.messages.resize(2);
    u.messages[0].source = {protocol_kind::imap, "INBOX", {1}, {1}, ""};
    u.messages[0].body = std::make_shared<const std::string>("body");
    u.messages[1].source = {protocol_kind::imap, "INBOX", {1}, {2}, ""};
    u.messages[1].blob = must(mail.new_blob(s.guard));
    ASSERT_TRUE(mail.put_chunk(s.guard, u.messages[1].blob, 0, "chunk"));
    ASSERT_TRUE(mail.put_bodies(s.guard, {std::make_shared<const std::string>("ahead")}));
    ASSERT_TRUE(must(mail.commit({u})).at(0).status);
    database.query(fmt::format("INSERT INTO outbox (tenant_id, position, channel_id, sequence) VALUES ({}, 1, {}, 1)", s.tenant.value, s.channel.value));   // older nodes do
    store::webhook_spec hook;
    hook.events = {store::event_kind::message, store::event_kind::state};
    s.webhook = must(hooks.create(anyone, s.tenant, hook, secret<>(std::string("whsec_c2VjcmV0")))).id;
    s.delivery = must(hooks.ask_test(anyone, s.tenant, s.webhook));
    store::mail_store::state_change active;
    active.state = channel_state::active;
    ASSERT_TRUE(mail.set_state(s.guard, active));
    const auto self = must(hooks.join("node", seconds(600)));
    const auto owned = must(hooks.round(self, seconds(600))).owned;
    store::webhook_progress progress;
    progress.key = {s.tenant, s.webhook};
    progress.epoch = owned.back().epoch;
    progress.revision = owned.back().revision;
    progress.stalls.resize(1);
    ASSERT_EQ(must(hooks.save(self, {progress})), std::vector<bool>{true});
    ASSERT_TRUE(hooks.leave(self));
    ASSERT_TRUE(mail.note_try(s.guard, {protocol_kind::imap, "INBOX", {1}, {9}, ""}));
    ASSERT_TRUE(must(mail.hold_grant(s.guard, 1, seconds(600))));
    store::consent c;
    c.tenant = s.tenant;
    c.channel = s.channel;
    c.app = s.app;
    c.generation = 1;
    c.expires_at = store::time_of(4'000'000'000'000'000);
    ASSERT_TRUE(store.add_consent(c, sha256_digest{static_cast<std::uint8_t>(s.tenant.value)}));
  }

  /// As a node's connection does.
  static void give_up_rights(pqxx::nontransaction& db) {
    if (GetParam() == login::superuser) db.exec("SET ROLE mailherd_app");
  }

  test_database database;
  std::shared_ptr<const store::keyring> keys = test_keys();
  std::unique_ptr<store::connection> link;
  store::pg_admin_store store;
  store::pg_mail_store mail;
  store::pg_webhook_store hooks;
  side mine, theirs;
};

INSTANTIATE_TEST_SUITE_P(logins, walls, ::testing::Values(login::owner, login::superuser),
                         [](const auto& info) { return info.param == login::owner ? "owner" : "superuser"; });

TEST_P(walls, a_tenants_key_gets_not_found_for_everything_of_another) {
  const store::caller me{mine.tenant};
  const auto t = theirs.tenant;
  const message_id message{t, 1};
  const auto sink = [](std::string_view) {
    ADD_FAILURE() << "a byte of somebody else's mail";
    return true;
  };
  oauth_app app;
  app.tenant = t;
  app.id = theirs.app;
  channel_spec spec;
  EXPECT_EQ(why(store.get_tenant(me, t)), failure::not_found);
  EXPECT_EQ(why(store.create_api_key(me, t, "k", {99})), failure::not_found);
  EXPECT_EQ(why(store.list_api_keys(me, t)), failure::not_found);
  EXPECT_EQ(why(store.delete_api_key(me, t, theirs.key)), failure::not_found);
  EXPECT_EQ(why(store.create_app(me, app)), failure::not_found);
  EXPECT_EQ(why(store.get_app(me, t, theirs.app)), failure::not_found);
  EXPECT_EQ(why(store.list_apps(me, t, 10, "")), failure::not_found);
  EXPECT_EQ(why(store.update_app(me, app)), failure::not_found);
  EXPECT_EQ(why(store.delete_app(me, t, theirs.app)), failure::not_found);
  EXPECT_EQ(why(store.create_channel(me, t, spec, {}, "key")), failure::not_found);
  EXPECT_EQ(why(store.get_channel(me, t, theirs.channel)), failure::not_found);
  EXPECT_EQ(why(store.list_channels(me, t, {}, 10, "")), failure::not_found);
  EXPECT_EQ(why(store.update_channel(me, t, theirs.channel, spec, 0, "key")), failure::not_found);
  EXPECT_EQ(why(store.delete_channel(me, t, theirs.channel)), failure::not_found);
  EXPECT_EQ(why(store.put_credential(me, t, theirs.channel, {}, "key")), failure::not_found);
  EXPECT_EQ(why(store.list_events(me, t, theirs.channel, 10, "")), failure::not_found);
  EXPECT_EQ(why(store.feed(me, t, std::nullopt, 0, 10)), failure::not_found);
  EXPECT_EQ(why(store.newest(me, t, std::nullopt, 0, 10)), failure::not_found);
  EXPECT_EQ(why(store.activity(me, t, theirs.channel, seconds(60), 60)), failure::not_found);
  EXPECT_EQ(why(store.activity(me, mine.tenant, theirs.channel, seconds(60), 60)), failure::not_found);
  EXPECT_EQ(why(store.get_message(me, message)), failure::not_found);
  EXPECT_EQ(why(store.read_body(me, message, sink)), failure::not_found);
  EXPECT_EQ(why(store.read_body_from(me, message, 1, sink)), failure::not_found);
  // By the other's ids under one's own tenant.
  const auto o = mine.tenant;
  app.tenant = o;
  EXPECT_EQ(why(store.delete_api_key(me, o, theirs.key)), failure::not_found);
  EXPECT_EQ(why(store.get_app(me, o, theirs.app)), failure::not_found);
  EXPECT_EQ(why(store.update_app(me, app)), failure::not_found);
  EXPECT_EQ(why(store.delete_app(me, o, theirs.app)), failure::not_found);
  EXPECT_EQ(why(store.get_channel(me, o, theirs.channel)), failure::not_found);
  EXPECT_EQ(why(store.update_channel(me, o, theirs.channel, spec, 0, "key")), failure::not_found);
  EXPECT_EQ(why(store.delete_channel(me, o, theirs.channel)), failure::not_found);
  EXPECT_EQ(why(store.put_credential(me, o, theirs.channel, {}, "key")), failure::not_found);
  EXPECT_EQ(why(store.list_events(me, o, theirs.channel, 10, "")), failure::not_found);
  EXPECT_EQ(why(store.last_consent(me, t, theirs.channel)), failure::not_found);
  EXPECT_EQ(why(store.last_consent(me, o, theirs.channel)), failure::not_found);
  EXPECT_EQ(why(store.roll_back(me, t, theirs.channel, "key")), failure::not_found);
  EXPECT_EQ(why(store.roll_back(me, o, theirs.channel, "key")), failure::not_found);
  EXPECT_EQ(why(store.consent_subject_of(me, t, theirs.channel)), failure::not_found);
  EXPECT_EQ(must(store.feed(me, o, theirs.channel, 0, 10)).size(), 0U);
  for (const auto in : {t, o}) {
    EXPECT_EQ(why(hooks.get(me, in, theirs.webhook)), failure::not_found);
    EXPECT_EQ(why(hooks.update(me, in, theirs.webhook, {})), failure::not_found);
    EXPECT_EQ(why(hooks.remove(me, in, theirs.webhook)), failure::not_found);
    EXPECT_EQ(why(hooks.rotate(me, in, theirs.webhook, secret<>(std::string("x")), {})), failure::not_found);
    EXPECT_EQ(why(hooks.replay(me, in, theirs.webhook, 0, {})), failure::not_found);
    EXPECT_EQ(why(hooks.ask_test(me, in, theirs.webhook)), failure::not_found);
    EXPECT_EQ(why(hooks.ask_again(me, in, theirs.webhook, theirs.delivery)), failure::not_found);
    EXPECT_EQ(why(hooks.deliveries(me, in, theirs.webhook, "", 10, "")), failure::not_found);
    EXPECT_EQ(why(hooks.stalls(me, in, theirs.webhook)), failure::not_found);
  }
  EXPECT_EQ(why(hooks.create(me, t, {}, secret<>(std::string("x")))), failure::not_found);
  EXPECT_EQ(why(hooks.list(me, t, 10, "")), failure::not_found);
  // And one's own is all there.
  EXPECT_TRUE(store.get_channel(me, o, mine.channel));
  EXPECT_EQ(must(store.feed(me, o, std::nullopt, 0, 10)).size(), 2U);
  EXPECT_TRUE(store.get_channel({}, t, theirs.channel)) << "nothing was harmed";
}

TEST_P(walls, sql_under_a_tenants_scope_sees_and_touches_nothing_of_another) {
  // Every table with a tenant_id, from the catalogue: a table that comes later is tested too. Partitions are reached by their parents.
  std::vector<std::string> tables;
  std::string names = database.query(
      "SELECT string_agg(c.relname, ' ') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' "
      "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition") + " ";
  for (std::size_t at = 0, blank; (blank = names.find(' ', at)) != std::string::npos; at = blank + 1) tables.push_back(names.substr(at, blank - at));
  ASSERT_GE(tables.size(), 17U);
  pqxx::connection raw(database.url());
  pqxx::nontransaction db(raw);
  give_up_rights(db);
  const auto number = [&](store::scope who, const std::string& sql) {
    db.exec(fmt::format("SET mailherd.tenant = '{}'", who.only ? std::to_string(who.only.value) : "*"));
    return db.exec(sql)[0][0].as<std::int64_t>();
  };
  for (const auto& table : tables) {
    const auto of = [&](tenant_id t) { return fmt::format("SELECT count(*) FROM {} WHERE tenant_id = {}", table, t.value); };
    EXPECT_GT(number({}, of(theirs.tenant)), 0) << table << " holds nothing that could be seen";
    EXPECT_GT(number({mine.tenant}, of(mine.tenant)), 0) << table;
    EXPECT_EQ(number({mine.tenant}, of(theirs.tenant)), 0) << table;
    EXPECT_EQ(number({mine.tenant}, fmt::format("WITH d AS (DELETE FROM {} WHERE tenant_id = {} RETURNING 1) SELECT count(*) FROM d", table, theirs.tenant.value)), 0)
        << table;
    EXPECT_EQ(number({mine.tenant}, fmt::format("WITH u AS (UPDATE {} SET tenant_id = tenant_id WHERE tenant_id = {} RETURNING 1) SELECT count(*) FROM u", table,
                                                theirs.tenant.value)), 0)
        << table;
    EXPECT_GT(number({}, of(theirs.tenant)), 0) << table;
  }
}

TEST_P(walls, nothing_can_be_put_into_another_tenant) {
  pqxx::connection raw(database.url());
  pqxx::nontransaction db(raw);
  give_up_rights(db);
  db.exec(fmt::format("SET mailherd.tenant = '{}'", mine.tenant.value));
  const auto refused = [&](const std::string& sql) {
    try {
      db.exec(sql);
      return false;
    } catch (const pqxx::sql_error& e) {
      return std::string(e.what()).find("row-level security") != std::string::npos;
    }
  };
  EXPECT_TRUE(refused(fmt::format("INSERT INTO api_keys (tenant_id, name, digest) VALUES ({}, 'x', 'x')", theirs.tenant.value)));
  EXPECT_TRUE(refused(fmt::format("UPDATE api_keys SET tenant_id = {} WHERE tenant_id = {}", theirs.tenant.value, mine.tenant.value)));
  EXPECT_TRUE(refused(fmt::format("UPDATE messages SET tenant_id = {} WHERE tenant_id = {}", theirs.tenant.value, mine.tenant.value)));
}

TEST_P(walls, without_a_scope_nothing_is_visible) {
  pqxx::connection raw(database.url());
  pqxx::nontransaction db(raw);
  give_up_rights(db);
  EXPECT_EQ(db.exec("SELECT count(*) FROM tenants")[0][0].as<int>(), 0);
  EXPECT_EQ(db.exec("SELECT count(*) FROM messages")[0][0].as<int>(), 0);
}

TEST_P(walls, the_scope_of_one_transaction_is_not_that_of_the_next) {
  EXPECT_EQ(must(store.feed({mine.tenant}, mine.tenant, std::nullopt, 0, 10)).size(), 2U);
  EXPECT_EQ(must(store.feed({theirs.tenant}, theirs.tenant, std::nullopt, 0, 10)).size(), 2U);
  EXPECT_EQ(must(store.list_tenants({mine.tenant}, 10, "")).items.size(), 1U);
  EXPECT_EQ(must(store.list_tenants({}, 10, "")).items.size(), 2U);
}

}  // namespace
}  // namespace mailherd::test
