// Keys of a database: recognised at the start, rotated beside a running cluster.
#include <atomic>
#include <thread>

#include "storage/pg_webhook_store.hpp"
#include "storage/postgres.hpp"
#include "tests/storage/admin_world.hpp"

namespace mailherd::test {
namespace {

using seals_test = admin_world;
namespace pg = store::postgres;

std::shared_ptr<const store::keyring> only_new_key() {
  return *store::keyring::parse(secret<>(std::string("new:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=")));
}

TEST_F(seals_test, a_node_with_other_keys_is_told_at_once) {
  const auto other = *store::keyring::parse(store::keyring::generate());
  ASSERT_TRUE(pg::check_keys(database.url(), *keys)) << "the first keys are the right ones";
  EXPECT_TRUE(pg::check_keys(database.url(), *keys));
  EXPECT_TRUE(pg::check_keys(database.url(), *rotated_test_keys())) << "a ring that still holds the old key";
  EXPECT_EQ(why(pg::check_keys(database.url(), *other)), failure::seal_failed);
  EXPECT_EQ(why(pg::reseal(database.url(), *other)), failure::seal_failed);
  EXPECT_EQ(why(pg::check_keys("host='/nowhere'", *keys)), failure::store_unavailable);
}

TEST_F(seals_test, of_two_first_nodes_with_different_keys_one_is_refused) {
  std::atomic<int> fits{0}, refused{0};
  std::vector<std::thread> all;
  for (int i = 0; i < 4; ++i) {
    all.emplace_back([&] {
      const auto own = *store::keyring::parse(store::keyring::generate());
      const auto done = pg::check_keys(database.url(), *own);
      ++(done ? fits : refused);
    });
  }
  for (auto& one : all) one.join();
  EXPECT_EQ(fits, 1);
  EXPECT_EQ(refused, 3);
}

TEST_F(seals_test, every_sealed_column_is_sealed_anew_and_opens_with_the_new_key_alone) {
  const auto t = tenant(), u = tenant("second");
  const auto a = app(t);
  auto rotating = must(store.get_app(anyone, t, a));
  rotating.next_secret = secret<>(std::string("next secret"));
  must(store.update_app(anyone, rotating));
  oauth_app by_key;
  by_key.tenant = u;
  by_key.private_key = secret<>(std::string("private key"));
  const auto b = must(store.create_app(anyone, by_key)).id;
  auto s = spec();
  s.incoming.proxy = proxy_settings{proxy_kind::http_connect, "proxy.test", 3128, "pu", secret<>(std::string("proxy password"))};
  const auto c = must(store.create_channel(anyone, t, s, oauth2(a, "refresh token"), "operator")).id;
  must(store.put_credential(anyone, t, c, basic("u", "password"), "operator"));
  const auto d = must(store.create_channel(anyone, u, spec(), basic("u", ""), "operator")).id;
  store::pg_webhook_store hooks(*link, *keys);
  const auto w = must(hooks.create(anyone, t, {}, secret<>(std::string("first signing")))).id;
  ASSERT_TRUE(hooks.rotate(anyone, t, w, secret<>(std::string("second signing")), store::time_of(4'000'000'000'000'000)));
  ASSERT_TRUE(pg::check_keys(database.url(), *keys));

  // Columns that hold something sealed, from the catalogue: one that reseal does not know would be lost with its key.
  EXPECT_EQ(database.query("SELECT string_agg(table_name || '.' || column_name, ' ' ORDER BY table_name, column_name) FROM information_schema.columns "
                           "WHERE column_name LIKE 'sealed%'"),
            "channels.sealed_proxy_password consents.sealed_secret credentials.sealed_password credentials.sealed_refresh_token key_check.sealed "
            "oauth_apps.sealed_key oauth_apps.sealed_next_secret oauth_apps.sealed_secret webhooks.sealed_old_secret webhooks.sealed_secret")
      << "consents live for minutes and are begun again";
  EXPECT_EQ(must(pg::reseal(database.url(), *rotated_test_keys())), 8U);
  EXPECT_EQ(must(pg::reseal(database.url(), *rotated_test_keys())), 0U) << "done is done";

  EXPECT_TRUE(pg::check_keys(database.url(), *only_new_key()));
  EXPECT_EQ(why(pg::check_keys(database.url(), *keys)), failure::seal_failed);
  const auto now_keys = only_new_key();
  store::pg_admin_store renewed(*link, *now_keys);
  store::pg_mail_store herd(*link, *now_keys, 0, 14);
  store::pg_webhook_store deliverer(*link, *now_keys);
  const auto self = must(deliverer.join("node", seconds(60)));
  ASSERT_EQ(must(deliverer.round(self, seconds(60))).owned.size(), 1U);
  const auto endpoint = must(deliverer.load(self, {t, w}));
  EXPECT_EQ(endpoint.signing.reveal(), "second signing");
  EXPECT_EQ(endpoint.old_signing.reveal(), "first signing");
  EXPECT_EQ(must(renewed.get_app(anyone, t, a)).client_secret.reveal(), "app secret");
  EXPECT_EQ(must(renewed.get_app(anyone, t, a)).next_secret.reveal(), "next secret");
  EXPECT_EQ(must(renewed.get_app(anyone, u, b)).private_key.reveal(), "private key");
  database.query(fmt::format("UPDATE channel_status SET observed_generation = 1 WHERE channel_id = {}", c.value));
  const auto loaded = must(herd.load_channel(t, c));
  EXPECT_EQ(loaded.credential.password.reveal(), "password");
  EXPECT_EQ(loaded.serving.refresh_token.reveal(), "refresh token");
  EXPECT_EQ(loaded.record.spec.incoming.proxy->password.reveal(), "proxy password");
  EXPECT_TRUE(herd.load_channel(u, d));
}

TEST_F(seals_test, more_rows_than_one_page_are_all_found) {
  const auto t = tenant("t", 10'000);
  const auto c = channel(t).id;
  for (int i = 0; i < 450; ++i) must(store.put_credential(anyone, t, c, basic("u", fmt::format("{}", i)), "operator"));
  EXPECT_EQ(must(pg::reseal(database.url(), *rotated_test_keys())), 451U);
  const auto now_keys = only_new_key();
  store::pg_mail_store herd(*link, *now_keys, 0, 14);
  EXPECT_EQ(must(herd.load_channel(t, c)).credential.password.reveal(), "449");
}

TEST_F(seals_test, a_value_that_cannot_be_opened_is_named_and_the_old_key_stays_needed) {
  const auto t = tenant();
  const auto a = channel(t).id, b = channel(t).id;
  ASSERT_TRUE(pg::check_keys(database.url(), *keys));
  database.query(fmt::format("UPDATE credentials SET sealed_password = set_byte(sealed_password, 60, get_byte(sealed_password, 60) # 1) WHERE channel_id = {}", a.value));
  const auto done = pg::reseal(database.url(), *rotated_test_keys());
  EXPECT_EQ(why(done), failure::seal_failed);
  EXPECT_NE(done.error().detail.find(to_string(a)), std::string::npos) << done.error().detail;
  EXPECT_TRUE(pg::check_keys(database.url(), *keys));
  const auto now_keys = only_new_key();
  store::pg_mail_store herd(*link, *now_keys, 0, 14);
  EXPECT_TRUE(herd.load_channel(t, b)) << "the others are sealed anew all the same";
}

TEST_F(seals_test, a_token_that_is_being_rotated_is_waited_for) {
  const auto t = tenant();
  const auto c = must(store.create_channel(anyone, t, spec(), oauth2(app(t), "used"), "operator")).id;
  pqxx::connection slow(database.superuser_url());
  pqxx::work node(slow);
  const auto sealed = keys->seal(fmt::format("credential/{}/{}/1/refresh_token", to_string(t), to_string(c)), "fresh");
  node.exec_params("UPDATE credentials SET sealed_refresh_token = $1", pqxx::binarystring(sealed));
  std::thread rotation([&] { EXPECT_EQ(must(pg::reseal(database.url(), *rotated_test_keys())), 2U) << "the token and the app's secret"; });
  wait_for_lock_waiters(1);
  node.commit();
  rotation.join();
  const auto now_keys = only_new_key();
  store::pg_mail_store herd(*link, *now_keys, 0, 14);
  EXPECT_EQ(must(herd.load_channel(t, c)).credential.refresh_token.reveal(), "fresh");
}

TEST_F(seals_test, refresh_tokens_that_rotate_meanwhile_are_not_lost) {
  const auto t = tenant();
  const auto a = app(t);
  constexpr int channels = 6, rounds = 20;
  for (int i = 0; i < channels; ++i) must(store.create_channel(anyone, t, spec(), oauth2(a, "token 0"), "operator"));
  const auto guards = claim();
  ASSERT_EQ(guards.size(), static_cast<std::size_t>(channels));
  // A node that has the old key only, as before the roll-out of the new one; then one that has both.
  const auto old_ring = keys, new_ring = rotated_test_keys();
  std::atomic<bool> ended{false};
  std::thread node([&] {
    const auto mine = database.connect();
    for (int r = 0; r < rounds; ++r) {
      store::pg_mail_store herd(*mine, r % 2 == 0 ? *old_ring : *new_ring, 0, 14);
      store::pg_mail_store both(*mine, *new_ring, 0, 14);
      for (const auto& g : guards) {
        const auto used = must(both.load_channel(t, g.channel)).credential.refresh_token;
        EXPECT_EQ(used.reveal(), fmt::format("token {}", r)) << "an older token came back";
        // The old ring cannot open what was sealed anew: then it changes nothing.
        const secret<> fresh(fmt::format("token {}", r + 1));
        if (!herd.rotate_refresh_token(g, 1, used, fresh, "")) {
          EXPECT_TRUE(both.rotate_refresh_token(g, 1, used, fresh, ""));
        }
      }
    }
    ended = true;
  });
  int runs = 0;
  while (!ended) {
    EXPECT_TRUE(pg::reseal(database.url(), *new_ring));
    ++runs;
  }
  node.join();
  must(pg::reseal(database.url(), *new_ring));
  EXPECT_GT(runs, 0);
  const auto now_keys = only_new_key();
  store::pg_mail_store herd(*link, *now_keys, 0, 14);
  for (const auto& g : guards) EXPECT_EQ(must(herd.load_channel(t, g.channel)).credential.refresh_token.reveal(), fmt::format("token {}", rounds));
}

}  // namespace
}  // namespace mailherd::test
