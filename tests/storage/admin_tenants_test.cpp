// Tenants, API keys, OAuth apps, idempotency keys.
#include <atomic>
#include <latch>
#include <thread>

#include "storage/migrate.hpp"
#include "tests/storage/admin_world.hpp"

namespace mailherd::test {
namespace {

using tenants_test = admin_world;
using api_keys_test = admin_world;
using apps_test = admin_world;
using idempotency_test = admin_world;

sha256_digest digest(std::uint8_t n) {
  sha256_digest d{};
  d.fill(n);
  return d;
}

// ---- ping -------------------------------------------------------------------------------------------------------------------------------

TEST_F(tenants_test, ping_asks_for_this_programs_schema) {
  EXPECT_TRUE(store.ping());
  database.query(fmt::format("UPDATE schema_migrations SET version = {} WHERE version = {}", -store::schema_version(), store::schema_version()));
  const auto old = store.ping();
  EXPECT_EQ(why(old), failure::conflict);
  EXPECT_NE(old.error().detail.find("mailherd db migrate"), std::string::npos);
  database.query(fmt::format("INSERT INTO schema_migrations VALUES ({}, 'newer')", store::schema_version() + 1));
  EXPECT_TRUE(store.ping()) << "the nodes of the version before go on while a cluster is upgraded";
}

// ---- tenants ----------------------------------------------------------------------------------------------------------------------------

TEST_F(tenants_test, a_tenant_is_made_changed_and_read) {
  const auto made = must(store.create_tenant("J\xC3\xBCrgen & Co", {7, 4096}));
  EXPECT_TRUE(made.id);
  EXPECT_GT(made.created_at, store::time_of(1'600'000'000'000'000));
  const auto same = must(store.get_tenant(anyone, made.id));
  EXPECT_EQ(same.name, "J\xC3\xBCrgen & Co");
  EXPECT_EQ(same.limits, (tenant_limits{7, 4096}));
  EXPECT_EQ(same.created_at, made.created_at);

  EXPECT_EQ(must(store.update_tenant(made.id, "New", std::nullopt)).limits, same.limits);
  const auto changed = must(store.update_tenant(made.id, std::nullopt, tenant_limits{8, 8192}));
  EXPECT_EQ(changed.name, "New");
  EXPECT_EQ(changed.limits, (tenant_limits{8, 8192}));
  EXPECT_EQ(why(store.update_tenant({999}, "x", std::nullopt)), failure::not_found);
  EXPECT_EQ(why(store.get_tenant(anyone, {999})), failure::not_found);
}

TEST_F(tenants_test, the_largest_message_is_told_to_the_fetchers) {
  const auto t = tenant();
  channel(t);
  const auto changed = [&] { return database.query("SELECT changed FROM channel_changes"); };
  const auto before = changed();
  must(store.update_tenant(t, "renamed", std::nullopt));
  EXPECT_EQ(changed(), before);
  must(store.update_tenant(t, std::nullopt, tenant_limits{10, 1 << 21}));
  EXPECT_NE(changed(), before);
}

TEST_F(tenants_test, lists_go_on_where_they_ended_also_while_tenants_come_and_go) {
  std::vector<tenant_id> all;
  for (int i = 0; i < 5; ++i) all.push_back(tenant(fmt::format("t{}", i)));
  auto p = must(store.list_tenants(anyone, 2, ""));
  ASSERT_EQ(p.items.size(), 2U);
  ASSERT_TRUE(store.delete_tenant(all[1])) << "the one the cursor stands on";
  ASSERT_TRUE(store.delete_tenant(all[2]));
  p = must(store.list_tenants(anyone, 2, p.next));
  ASSERT_EQ(p.items.size(), 2U);
  EXPECT_EQ(p.items[0].id, all[3]);
  EXPECT_EQ(p.items[1].id, all[4]);
  EXPECT_EQ(p.next, "") << "a full last page is the last page";
  for (const std::string bad : {"x", "c1", "t0", "1", "t1 ", "t99999999999999999999"})
    EXPECT_EQ(why(store.list_tenants(anyone, 2, bad)), failure::invalid_input) << bad;
  const auto own = must(store.list_tenants({all[3]}, 10, ""));
  ASSERT_EQ(own.items.size(), 1U);
  EXPECT_EQ(own.items[0].id, all[3]);
  EXPECT_EQ(why(store.list_tenants({tenant_id{}}, 10, "")), failure::not_found) << "nobody is not everybody";
}

TEST_F(tenants_test, a_deleted_tenant_leaves_nothing_behind) {
  const auto t = tenant(), other = tenant("Other");
  must(store.create_api_key(anyone, t, "k", digest(1)));
  const auto a = app(t);
  const auto c = channel(t);
  must(store.create_channel(anyone, t, spec("second"), oauth2(a, "token"), "operator"));
  const auto kept = channel(other);
  const auto guard = lease_of(c.id);
  deliver(guard, 1, {"one", "two"});
  must(store.begin_idempotent(to_string(t), "k", digest(1)));

  ASSERT_TRUE(store.delete_tenant(t));
  EXPECT_EQ(why(store.delete_tenant(t)), failure::not_found);
  EXPECT_EQ(why(store.get_tenant(anyone, t)), failure::not_found);
  EXPECT_EQ(must(store.find_api_key(digest(1))), std::nullopt);
  for (const char* table : {"api_keys", "oauth_apps", "channels", "channel_status", "credentials", "cursors", "ledger", "messages", "channel_events",
                            "feed_heads", "message_tries", "blobs"})
    EXPECT_EQ(count(fmt::format("{} WHERE tenant_id = {}", table, t.value)), 0) << table;
  EXPECT_EQ(count("idempotency_keys"), 0);
  EXPECT_TRUE(store.get_channel(anyone, other, kept.id));

  // Its channels' owner is told, writes nothing more, and takes the last rows with it.
  const auto changes = must(mail.changes_since(life, 0));
  EXPECT_EQ(std::count_if(changes.begin(), changes.end(), [](const auto& change) { return change.gone; }), 2);
  store::commit_unit late;
  late.guard = guard;
  late.messages.push_back(message(3, "late"));
  EXPECT_EQ(why(must(mail.commit({late})).at(0).status), failure::fenced);
  ASSERT_TRUE(mail.release(life, {guard}));
  EXPECT_EQ(count(fmt::format("channel_leases WHERE tenant_id = {}", t.value)), 1) << "the other one is still held";
}

TEST_F(tenants_test, nothing_is_made_in_a_tenant_that_is_being_deleted) {
  const auto t = tenant();
  pqxx::connection slow(database.superuser_url());
  pqxx::work deletion(slow);
  deletion.exec(fmt::format("DELETE FROM tenants WHERE tenant_id = {}", t.value));
  std::vector<failure> seen(3, failure::internal);
  const auto attempt = [&](std::size_t i, auto work) {
    return std::thread([&, i, work] {
      const auto mine = database.connect();
      store::pg_admin_store own(*mine, *keys);
      seen[i] = work(own);
    });
  };
  std::vector<std::thread> all;
  all.push_back(attempt(0, [&](auto& s) { return why(s.create_channel(anyone, t, spec(), basic(), "operator")); }));
  all.push_back(attempt(1, [&](auto& s) { return why(s.create_api_key(anyone, t, "k", digest(9))); }));
  all.push_back(attempt(2, [&](auto& s) {
    oauth_app a;
    a.tenant = t;
    return why(s.create_app(anyone, a));
  }));
  wait_for_lock_waiters(3);
  deletion.commit();
  for (auto& one : all) one.join();
  EXPECT_EQ(seen, std::vector(3, failure::not_found));
  EXPECT_EQ(count("channels") + count("api_keys") + count("oauth_apps"), 0);
}

TEST_F(tenants_test, who_works_in_a_tenant_that_is_being_deleted_is_told_that_it_is_gone) {
  for (int round = 0; round < 6; ++round) {
    const auto t = tenant();
    const auto a = app(t);
    std::vector<channel_id> channels;
    for (int i = 0; i < 8; ++i) channels.push_back(channel(t).id);
    std::latch ready(4);
    std::vector<std::thread> all;
    const auto until_gone = [&](auto work) {
      all.emplace_back([&, work] {
        const auto mine = database.connect();
        store::pg_admin_store own(*mine, *keys);
        ready.arrive_and_wait();
        for (std::size_t i = 0;; ++i) {
          const auto failed = work(own, channels[i % channels.size()]);
          if (!failed) continue;
          // A circle of locks would be store_unavailable.
          EXPECT_TRUE(failed->code == failure::not_found || failed->code == failure::invalid_input) << describe(*failed);
          return;
        }
      });
    };
    const auto error_of = [](const auto& r) { return r ? std::nullopt : std::optional(r.error()); };
    until_gone([&](auto& s, channel_id c) { return error_of(s.update_channel(anyone, t, c, spec("edited"), 0, "operator")); });
    until_gone([&](auto& s, channel_id c) { return error_of(s.put_credential(anyone, t, c, oauth2(a), "operator")); });
    until_gone([&](auto& s, channel_id) {
      auto changed = s.get_app(anyone, t, a);
      return changed ? error_of(s.update_app(anyone, *changed)) : std::optional(changed.error());
    });
    ready.arrive_and_wait();
    EXPECT_TRUE(store.delete_tenant(t));
    for (auto& one : all) one.join();
    EXPECT_EQ(count(fmt::format("channels WHERE tenant_id = {0}", t.value)) + count(fmt::format("credentials WHERE tenant_id = {0}", t.value)) +
                  count(fmt::format("channel_status WHERE tenant_id = {0}", t.value)) + count(fmt::format("oauth_apps WHERE tenant_id = {0}", t.value)), 0);
  }
}

// ---- API keys ---------------------------------------------------------------------------------------------------------------------------

TEST_F(api_keys_test, a_key_is_found_by_its_digest_only_and_its_use_is_noted_once_a_minute) {
  const auto t = tenant(), other = tenant("Other");
  const auto k = must(store.create_api_key(anyone, t, "robot", digest(1)));
  EXPECT_EQ(k.last_used_at, std::nullopt);
  must(store.create_api_key({t}, t, "second", digest(2)));
  EXPECT_EQ(must(store.find_api_key(digest(1))), std::pair(t, k.id));
  EXPECT_EQ(must(store.find_api_key(digest(3))), std::nullopt);
  const auto used = [&] { return must(store.list_api_keys(anyone, t))[0].last_used_at; };
  const auto first = used();
  ASSERT_TRUE(first);
  const auto version = [&] { return database.query(fmt::format("SELECT xmin FROM api_keys WHERE api_key_id = {}", k.id.value)); };
  const auto before = version();
  must(store.find_api_key(digest(1)));
  EXPECT_EQ(version(), before) << "a write for every request";
  database.query("UPDATE api_keys SET last_used_at = last_used_at - interval '61 seconds'");
  must(store.find_api_key(digest(1)));
  EXPECT_GE(used(), first);

  EXPECT_EQ(must(store.list_api_keys({t}, t)).size(), 2U);
  EXPECT_EQ(why(store.list_api_keys(anyone, {999})), failure::not_found);
  EXPECT_EQ(why(store.delete_api_key(anyone, other, k.id)), failure::not_found);
  ASSERT_TRUE(store.delete_api_key(anyone, t, k.id));
  EXPECT_EQ(must(store.find_api_key(digest(1))), std::nullopt);
  EXPECT_EQ(why(store.delete_api_key(anyone, t, k.id)), failure::not_found);
  EXPECT_EQ(why(store.create_api_key(anyone, {999}, "x", digest(4))), failure::not_found);
}

// ---- OAuth apps -------------------------------------------------------------------------------------------------------------------------

TEST_F(apps_test, an_app_is_kept_whole_and_its_secrets_are_sealed) {
  const auto t = tenant(), other = tenant("Other");
  oauth_app a;
  a.tenant = t;
  a.name = "Custom";
  a.provider = provider_kind::custom;
  a.client_id = "id";
  a.private_key = secret<>(std::string("-----BEGIN PRIVATE KEY----- key-canary"));
  a.certificate = "-----BEGIN CERTIFICATE-----";
  a.authority = "au";
  a.authorize_url = "https://a";
  a.token_url = "https://t";
  a.device_url = "https://d";
  a.scopes = {"one", "two\"with\\signs", ""};
  const auto made = must(store.create_app(anyone, a));
  const auto got = must(store.get_app(anyone, t, made.id));
  EXPECT_EQ(got.private_key, a.private_key);
  EXPECT_TRUE(got.client_secret.empty());
  for (const auto* same : {&made, &got}) {
    EXPECT_EQ(same->name, a.name);
    EXPECT_EQ(same->provider, a.provider);
    EXPECT_EQ(same->client_id, a.client_id);
    EXPECT_EQ(same->certificate, a.certificate);
    EXPECT_EQ(same->authority, a.authority);
    EXPECT_EQ(same->authorize_url, a.authorize_url);
    EXPECT_EQ(same->token_url, a.token_url);
    EXPECT_EQ(same->device_url, a.device_url);
    EXPECT_EQ(same->scopes, a.scopes);
  }
  EXPECT_EQ(count("oauth_apps WHERE position('key-canary'::bytea IN sealed_key) > 0 OR oauth_apps::text LIKE '%canary%'"), 0);
  EXPECT_EQ(why(store.get_app(anyone, other, made.id)), failure::not_found);
  const auto listed = must(store.list_apps(anyone, t, 10, ""));
  ASSERT_EQ(listed.items.size(), 1U);
  EXPECT_TRUE(listed.items[0].private_key.empty());
}

TEST_F(apps_test, a_value_moved_to_another_app_cannot_be_opened_there) {
  const auto t = tenant();
  const auto a = app(t), b = app(t, "second");
  database.query(fmt::format("UPDATE oauth_apps SET sealed_secret = (SELECT sealed_secret FROM oauth_apps WHERE app_id = {}) WHERE app_id = {}", a.value, b.value));
  EXPECT_TRUE(store.get_app(anyone, t, a));
  EXPECT_EQ(why(store.get_app(anyone, t, b)), failure::seal_failed);
}

TEST_F(apps_test, secrets_that_are_not_given_are_kept_and_a_new_kind_replaces_the_old) {
  const auto t = tenant();
  const auto id = app(t);
  const auto edit = [&](auto change) {
    auto a = must(store.get_app(anyone, t, id));
    a.client_secret = a.private_key = {};
    change(a);
    must(store.update_app(anyone, a));
    return must(store.get_app(anyone, t, id));
  };
  auto a = edit([](auto& x) { x.name = "renamed"; });
  EXPECT_EQ(a.name, "renamed");
  EXPECT_EQ(a.client_secret.reveal(), "app secret");
  a = edit([](auto& x) {
    x.private_key = secret<>(std::string("key"));
    x.certificate = "cert";
  });
  EXPECT_EQ(a.private_key.reveal(), "key");
  EXPECT_TRUE(a.client_secret.empty()) << "an app that could sign in in two ways";
  a = edit([](auto& x) { x.client_id = "other"; });
  EXPECT_EQ(a.private_key.reveal(), "key");
  a = edit([](auto& x) {
    x.client_secret = secret<>(std::string("new"));
    x.certificate.clear();
  });
  EXPECT_EQ(a.client_secret.reveal(), "new");
  EXPECT_TRUE(a.private_key.empty());
  oauth_app none;
  none.tenant = t;
  none.id = {999};
  EXPECT_EQ(why(store.update_app(anyone, none)), failure::not_found);
}

TEST_F(apps_test, the_channels_that_sign_in_with_an_app_are_told_of_its_change) {
  const auto t = tenant();
  const auto a = app(t);
  const auto with = must(store.create_channel(anyone, t, spec(), oauth2(a), "operator")).id, without = channel(t).id;
  const auto changed = [&](channel_id c) { return database.query(fmt::format("SELECT changed FROM channel_changes WHERE channel_id = {}", c.value)); };
  const auto before = std::pair(changed(with), changed(without));
  auto edited = must(store.get_app(anyone, t, a));
  edited.client_secret = secret<>(std::string("new"));
  must(store.update_app(anyone, edited));
  EXPECT_NE(changed(with), before.first);
  EXPECT_EQ(changed(without), before.second);
}

TEST_F(apps_test, an_app_in_use_is_not_deleted) {
  const auto t = tenant();
  const auto a = app(t), b = app(t, "b");
  const auto c = must(store.create_channel(anyone, t, spec("Sales"), oauth2(a, "token"), "operator")).id;
  const auto refused = store.delete_app(anyone, t, a);
  EXPECT_EQ(why(refused), failure::conflict);
  EXPECT_NE(refused.error().detail.find(to_string(c) + " (Sales)"), std::string::npos) << refused.error().detail;
  // Generation 1 serves, 2 is being switched to.
  database.query("UPDATE channel_status SET observed_generation = 1");
  must(store.put_credential(anyone, t, c, oauth2(b, "token"), "operator"));
  EXPECT_EQ(why(store.delete_app(anyone, t, a)), failure::conflict) << "it serves";
  EXPECT_EQ(why(store.delete_app(anyone, t, b)), failure::conflict) << "it is to serve";
  database.query("UPDATE channel_status SET observed_generation = 2");
  EXPECT_TRUE(store.delete_app(anyone, t, a));
  EXPECT_EQ(why(store.get_app(anyone, t, a)), failure::not_found);
  must(store.put_credential(anyone, t, c, basic(), "operator"));
  database.query("UPDATE channel_status SET observed_generation = 3");
  EXPECT_TRUE(store.delete_app(anyone, t, b));
  EXPECT_EQ(why(store.delete_app(anyone, t, b)), failure::not_found);
}

TEST_F(apps_test, a_channel_made_while_its_app_is_being_deleted_is_refused) {
  const auto t = tenant();
  const auto a = app(t);
  pqxx::connection slow(database.superuser_url());
  pqxx::work deletion(slow);
  deletion.exec(fmt::format("DELETE FROM oauth_apps WHERE app_id = {}", a.value));
  std::thread creator([&] {
    const auto mine = database.connect();
    store::pg_admin_store own(*mine, *keys);
    EXPECT_EQ(why(own.create_channel(anyone, t, spec(), oauth2(a), "operator")), failure::invalid_input);
  });
  wait_for_lock_waiters(1);
  deletion.commit();
  creator.join();
  EXPECT_EQ(count("channels"), 0);
}

// ---- idempotency ------------------------------------------------------------------------------------------------------------------------

TEST_F(idempotency_test, a_key_is_taken_answered_and_given_back) {
  EXPECT_EQ(must(store.begin_idempotent("t1", "k", digest(1))), std::nullopt);
  EXPECT_EQ(why(store.begin_idempotent("t1", "k", digest(1))), failure::conflict) << "still running";
  EXPECT_EQ(must(store.begin_idempotent("t2", "k", digest(1))), std::nullopt) << "another caller's";
  ASSERT_TRUE(store.finish_idempotent("t1", "k", {201, R"({"id":"c1"})"}));
  const auto again = must(store.begin_idempotent("t1", "k", digest(1)));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->status, 201);
  EXPECT_EQ(again->body, R"({"id":"c1"})");
  EXPECT_EQ(why(store.begin_idempotent("t1", "k", digest(2))), failure::conflict) << "another request";
  ASSERT_TRUE(store.forget_idempotent("t2", "k"));
  EXPECT_EQ(must(store.begin_idempotent("t2", "k", digest(2))), std::nullopt);
  EXPECT_EQ(why(store.finish_idempotent("t3", "k", {200, ""})), failure::not_found);
}

TEST_F(idempotency_test, of_many_at_once_one_gets_the_key) {
  constexpr int racers = 8, rounds = 25;
  std::latch ready(racers);
  std::vector<std::atomic<int>> won(rounds);
  std::atomic<int> strange{0};
  std::vector<std::thread> all;
  for (int i = 0; i < racers; ++i) {
    all.emplace_back([&] {
      const auto mine = database.connect();
      store::pg_admin_store own(*mine, *keys);
      ready.arrive_and_wait();
      for (int r = 0; r < rounds; ++r) {
        const auto got = own.begin_idempotent("t1", fmt::format("key {}", r), digest(1));
        if (got && !*got)
          ++won[static_cast<std::size_t>(r)];
        else if (got || got.error().code != failure::conflict)
          ++strange;
      }
    });
  }
  for (auto& one : all) one.join();
  for (const auto& n : won) EXPECT_EQ(n, 1);
  EXPECT_EQ(strange, 0);
}

}  // namespace
}  // namespace mailherd::test
