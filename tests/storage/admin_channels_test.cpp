// Channels, their credentials and their history.
#include <atomic>
#include <latch>
#include <set>
#include <thread>

#include "tests/storage/admin_world.hpp"

namespace mailherd::test {
namespace {

using channels_test = admin_world;
using credentials_test = admin_world;
using events_test = admin_world;

proxy_settings proxy(const std::string& user = "pu", const std::string& password = "proxy password") {
  return {proxy_kind::socks5, "proxy.test", 1080, user, secret<>(password)};
}

// ---- creating ---------------------------------------------------------------------------------------------------------------------------

TEST_F(channels_test, a_channel_is_kept_whole) {
  const auto t = tenant();
  auto s = spec("J\xC3\xBCrgen's");
  s.incoming = {protocol_kind::pop3, "pop.acme.test", 995, tls_mode::starttls, "INBOX", proxy()};
  s.start = {start_point::kind::at, store::time_of(1'700'000'000'123'456)};
  s.after = after_fetch::remove;
  const auto made = must(store.create_channel(anyone, t, s, basic("user", "password-canary"), "operator"));
  const auto got = must(store.get_channel(anyone, t, made.id));
  for (const auto* c : {&made, &got}) {
    EXPECT_EQ(c->spec.name, s.name);
    EXPECT_EQ(c->spec.address, s.address);
    EXPECT_TRUE(c->spec.enabled);
    EXPECT_EQ(c->spec.incoming.protocol, protocol_kind::pop3);
    EXPECT_EQ(c->spec.incoming.host, "pop.acme.test");
    EXPECT_EQ(c->spec.incoming.port, 995);
    EXPECT_EQ(c->spec.incoming.tls, tls_mode::starttls);
    ASSERT_TRUE(c->spec.incoming.proxy);
    EXPECT_EQ(c->spec.incoming.proxy->kind, proxy_kind::socks5);
    EXPECT_EQ(c->spec.incoming.proxy->host, "proxy.test");
    EXPECT_EQ(c->spec.incoming.proxy->username, "pu");
    EXPECT_EQ(c->spec.start.from, start_point::kind::at);
    EXPECT_EQ(c->spec.start.at, s.start.at);
    EXPECT_EQ(c->spec.after, after_fetch::remove);
    EXPECT_EQ(c->state, channel_state::connecting);
    EXPECT_EQ(c->auth, auth_type::basic);
    EXPECT_EQ(c->account, "user");
    EXPECT_EQ(c->generation, 1);
    EXPECT_EQ(c->observed_generation, 0);
    EXPECT_EQ(c->switching, switch_state::none);
    EXPECT_EQ(c->revision, 1);
    EXPECT_EQ(c->node, "");
  }
  const auto loaded = must(mail.load_channel(t, made.id));
  EXPECT_EQ(loaded.credential.password.reveal(), "password-canary");
  EXPECT_EQ(loaded.record.spec.incoming.proxy->password.reveal(), "proxy password");
  EXPECT_EQ(count("channels WHERE position('proxy password'::bytea IN sealed_proxy_password) > 0"), 0);
  EXPECT_EQ(count("credentials WHERE position('canary'::bytea IN sealed_password) > 0 OR credentials::text LIKE '%canary%'"), 0);
}

TEST_F(channels_test, the_first_state_tells_what_the_channel_waits_for) {
  const auto t = tenant();
  const auto a = app(t);
  const auto state = [&](bool enabled, const credential& c) {
    auto s = spec();
    s.enabled = enabled;
    const auto made = must(store.create_channel(anyone, t, s, c, "operator"));
    EXPECT_EQ(made.has_grant, made.state != channel_state::consent_pending || !enabled);
    return made.state;
  };
  auto app_only = oauth2(a);
  app_only.grant = grant_kind::client_credentials;
  EXPECT_EQ(state(true, basic()), channel_state::connecting);
  EXPECT_EQ(state(true, oauth2(a)), channel_state::consent_pending);
  EXPECT_EQ(state(true, oauth2(a, "token")), channel_state::connecting);
  EXPECT_EQ(state(true, app_only), channel_state::connecting);
  EXPECT_EQ(state(false, basic()), channel_state::disabled);
  EXPECT_EQ(claim().size(), 4U) << "nobody takes a disabled channel";
}

TEST_F(channels_test, the_app_must_be_the_tenants_own) {
  const auto t = tenant(), other = tenant("Other");
  EXPECT_EQ(why(store.create_channel(anyone, t, spec(), oauth2(app(other)), "operator")), failure::invalid_input);
  EXPECT_EQ(why(store.create_channel(anyone, t, spec(), oauth2({999}), "operator")), failure::invalid_input);
  EXPECT_EQ(why(store.create_channel(anyone, {999}, spec(), basic(), "operator")), failure::not_found);
  EXPECT_EQ(count("channels") + count("channel_status") + count("credentials") + count("channel_leases") + count("channel_changes"), 0);
}

TEST_F(channels_test, of_many_who_create_the_last_channel_one_does) {
  const auto t = tenant("small", 3);
  channel(t);
  constexpr int racers = 6;
  std::latch ready(racers);
  std::atomic<int> made{0}, refused{0};
  std::vector<std::thread> all;
  for (int i = 0; i < racers; ++i) {
    all.emplace_back([&] {
      const auto mine = database.connect();
      store::pg_admin_store own(*mine, *keys);
      ready.arrive_and_wait();
      const auto done = own.create_channel(anyone, t, spec(), basic(), "operator");
      if (done)
        ++made;
      else if (done.error().code == failure::limit_exceeded)
        ++refused;
    });
  }
  for (auto& one : all) one.join();
  EXPECT_EQ(made, 2);
  EXPECT_EQ(refused, racers - 2);
  const auto more = store.create_channel(anyone, t, spec(), basic(), "operator");
  EXPECT_NE(more.error().detail.find("3 channels"), std::string::npos) << more.error().detail;
}

// ---- lists ------------------------------------------------------------------------------------------------------------------------------

TEST_F(channels_test, lists_go_on_where_they_ended) {
  const auto t = tenant(), other = tenant("Other");
  std::vector<channel_id> all;
  for (int i = 0; i < 5; ++i) {
    all.push_back(channel(t, fmt::format("c{}", i)).id);
    channel(other);
  }
  std::vector<channel_id> seen;
  std::string after;
  do {
    const auto p = must(store.list_channels(anyone, t, {}, 2, after));
    for (const auto& c : p.items) seen.push_back(c.id);
    after = p.next;
  } while (!after.empty());
  EXPECT_EQ(seen, all);
  EXPECT_EQ(why(store.list_channels(anyone, t, {}, 2, "t1")), failure::invalid_input);
  EXPECT_EQ(why(store.list_channels(anyone, {999}, {}, 2, "")), failure::not_found);
}

TEST_F(channels_test, lists_are_filtered_by_state_node_and_text) {
  const auto t = tenant();
  const auto found = [&](const store::channel_filter& f) {
    std::string names;
    for (const auto& c : must(store.list_channels(anyone, t, f, 100, "")).items) names += c.spec.name + ";";
    return names;
  };
  const auto make = [&](const std::string& name, const std::string& address, const credential& c) {
    auto s = spec(name);
    s.address = address;
    return must(store.create_channel(anyone, t, s, c, "operator")).id;
  };
  auto consented = oauth2(app(t), "token");
  consented.account = "consented@entra.test";
  make("100% sure", "a@x.test", basic("alice"));
  make("1000 more", "b@x.test", basic("bob_b"));
  make("back\\slash", "c@X.test", basic("bobxb"));
  const auto held = make("\xC3\x9C" "ber", "d@y.test", consented);
  EXPECT_EQ(found({std::nullopt, "", "100% S"}), "100% sure;");
  EXPECT_EQ(found({std::nullopt, "", "0%"}), "100% sure;");
  EXPECT_EQ(found({std::nullopt, "", "bob_"}), "1000 more;");
  EXPECT_EQ(found({std::nullopt, "", "\\"}), "back\\slash;");
  EXPECT_EQ(found({std::nullopt, "", "@x.TEST"}), "100% sure;1000 more;back\\slash;");
  EXPECT_EQ(found({std::nullopt, "", "\xC3\xBC" "BER"}), "\xC3\x9C" "ber;");
  EXPECT_EQ(found({std::nullopt, "", "consented@"}), "\xC3\x9C" "ber;");
  EXPECT_EQ(found({std::nullopt, "", "' OR true --"}), "");

  claim("node-a");
  database.query(fmt::format("UPDATE channel_leases SET owner = NULL WHERE channel_id <> {}", held.value));
  EXPECT_EQ(found({std::nullopt, "node-a", ""}), "\xC3\x9C" "ber;");
  EXPECT_EQ(found({std::nullopt, "node-b", ""}), "");
  database.query(fmt::format("UPDATE channel_status SET state = 'active' WHERE channel_id = {}", held.value));
  EXPECT_EQ(found({channel_state::active, "", ""}), "\xC3\x9C" "ber;");
  EXPECT_EQ(found({channel_state::active, "node-a", "ber"}), "\xC3\x9C" "ber;");
  EXPECT_EQ(found({channel_state::connecting, "node-a", ""}), "");
}

// ---- editing ----------------------------------------------------------------------------------------------------------------------------

TEST_F(channels_test, an_edit_changes_all_but_the_credentials) {
  const auto t = tenant();
  const auto before = channel(t);
  auto s = spec("Sales");
  s.address = "sales@acme.test";
  s.incoming = {protocol_kind::pop3, "pop.acme.test", 110, tls_mode::none, "INBOX", std::nullopt};
  s.start = {start_point::kind::all, {}};
  s.after = after_fetch::remove;
  const auto changed = must(store.update_channel(anyone, t, before.id, s, before.revision, "key k1"));
  EXPECT_EQ(changed.spec.name, "Sales");
  EXPECT_EQ(changed.spec.incoming.protocol, protocol_kind::pop3);
  EXPECT_EQ(changed.spec.incoming.tls, tls_mode::none);
  EXPECT_EQ(changed.spec.start.from, start_point::kind::all);
  EXPECT_EQ(changed.spec.after, after_fetch::remove);
  EXPECT_EQ(changed.revision, 2);
  EXPECT_EQ(changed.generation, 1);
  EXPECT_EQ(changed.state_since, before.state_since) << "an edit is not a change of state";
  EXPECT_EQ(must(mail.load_channel(t, before.id)).credential.password.reveal(), "first password");
  EXPECT_EQ(must(store.list_events(anyone, t, before.id, 1, "")).items[0].detail, "name, address, incoming, start_from, after_fetch");
  EXPECT_EQ(why(store.update_channel(anyone, t, before.id, s, 1, "operator")), failure::conflict);
  EXPECT_EQ(must(store.update_channel(anyone, t, before.id, s, 0, "operator")).revision, 3) << "0: whatever it is";
  EXPECT_EQ(why(store.update_channel(anyone, t, {999}, s, 0, "operator")), failure::not_found);
}

TEST_F(channels_test, of_two_editors_of_one_revision_one_is_told) {
  const auto t = tenant();
  const auto c = channel(t);
  constexpr int racers = 4, rounds = 10;
  std::atomic<int> done{0}, refused{0}, strange{0};
  std::vector<std::thread> all;
  std::latch ready(racers);
  for (int i = 0; i < racers; ++i) {
    all.emplace_back([&, i] {
      const auto mine = database.connect();
      store::pg_admin_store own(*mine, *keys);
      ready.arrive_and_wait();
      for (int r = 0; r < rounds; ++r) {
        const auto present = must(own.get_channel(anyone, t, c.id));
        const auto changed = own.update_channel(anyone, t, c.id, spec(fmt::format("{}.{}", i, r)), present.revision, "operator");
        ++(changed ? done : changed.error().code == failure::conflict ? refused : strange);
        if (changed) {
          EXPECT_EQ(changed->revision, present.revision + 1) << "an edit of another one was lost";
        }
      }
    });
  }
  for (auto& one : all) one.join();
  EXPECT_EQ(strange, 0);
  EXPECT_EQ(done + refused, racers * rounds);
  EXPECT_EQ(must(store.get_channel(anyone, t, c.id)).revision, 1 + done) << "an edit was lost";
}

TEST_F(channels_test, a_proxy_keeps_its_password_until_another_is_given_or_the_user_goes) {
  const auto t = tenant();
  auto s = spec();
  s.incoming.proxy = proxy();
  const auto c = must(store.create_channel(anyone, t, s, basic(), "operator")).id;
  const auto password = [&] { return must(mail.load_channel(t, c)).record.spec.incoming.proxy->password.reveal(); };
  const auto edit = [&](std::optional<proxy_settings> p) {
    s.incoming.proxy = std::move(p);
    must(store.update_channel(anyone, t, c, s, 0, "operator"));
  };
  edit(proxy("pu", ""));
  EXPECT_EQ(password(), "proxy password");
  edit(proxy("pu", "another"));
  EXPECT_EQ(password(), "another");
  edit(proxy("", ""));
  EXPECT_EQ(password(), "");
  EXPECT_EQ(count("channels WHERE sealed_proxy_password IS NOT NULL"), 0);
  edit(proxy());
  edit(std::nullopt);
  EXPECT_EQ(count("channels WHERE sealed_proxy_password IS NOT NULL OR proxy_kind IS NOT NULL OR proxy_host IS NOT NULL"), 0);
  edit(proxy("pu", ""));
  EXPECT_EQ(password(), "") << "a password came back from the dead";
}

TEST_F(channels_test, disabling_and_enabling_reaches_the_leases_and_the_state) {
  const auto t = tenant();
  const auto c = channel(t).id;
  const auto guard = lease_of(c);
  store::mail_store::state_change down;
  down.state = channel_state::backoff;
  down.reason = "login_rejected";
  down.next_attempt_at = store::time_of(1'900'000'000'000'000);
  ASSERT_TRUE(mail.set_state(guard, down));

  auto s = spec();
  s.enabled = false;
  auto r = must(store.update_channel(anyone, t, c, s, 0, "operator"));
  EXPECT_EQ(r.state, channel_state::disabled);
  EXPECT_EQ(r.state_reason, "");
  EXPECT_EQ(r.next_attempt_at, std::nullopt);
  EXPECT_EQ(r.lease_epoch, guard.epoch) << "the owner ends its session in order first";
  const auto changes = must(mail.changes_since(life, 0));
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_TRUE(changes[0].gone);
  EXPECT_EQ(why(mail.set_state(guard, down)), failure::not_found) << "the fetcher had the last word";
  EXPECT_EQ(must(store.get_channel(anyone, t, c)).state, channel_state::disabled);
  ASSERT_TRUE(mail.release(life, {guard}));
  EXPECT_EQ(must(mail.claim(life, 10)).size(), 0U);

  s.enabled = true;
  EXPECT_EQ(must(store.update_channel(anyone, t, c, s, 0, "operator")).state, channel_state::connecting);
  const auto again = must(mail.claim(life, 10));
  ASSERT_EQ(again.size(), 1U);
  store::mail_store::state_change late;
  late.state = channel_state::disabled;
  EXPECT_EQ(why(mail.set_state(again[0], late)), failure::not_found) << "a fetcher of the disabled time disabled it again";
  EXPECT_EQ(must(store.get_channel(anyone, t, c)).state, channel_state::connecting);
}

TEST_F(channels_test, whoever_changes_a_channel_waits_for_its_fetchers_commit) {
  const auto t = tenant();
  const auto c = channel(t).id, d = channel(t).id;
  pqxx::connection slow(database.superuser_url());
  pqxx::work fetcher(slow);
  fetcher.exec("SELECT 1 FROM channel_leases FOR NO KEY UPDATE");
  const auto wait_and = [&](auto work) {
    return std::thread([this, work] {
      const auto mine = database.connect();
      store::pg_admin_store own(*mine, *keys);
      work(own);
    });
  };
  std::thread all[] = {wait_and([&](auto& s) { must(s.update_channel(anyone, t, c, spec("edited"), 0, "operator")); }),
                       wait_and([&](auto& s) { must(s.put_credential(anyone, t, c, basic(), "operator")); }),
                       wait_and([&](auto& s) { EXPECT_TRUE(s.delete_channel(anyone, t, d)); })};
  wait_for_lock_waiters(3);
  fetcher.exec("UPDATE channel_status SET state = 'active', switching = 'done', observed_generation = 1");
  fetcher.commit();
  for (auto& one : all) one.join();
  const auto r = must(store.get_channel(anyone, t, c));
  EXPECT_EQ(r.spec.name, "edited");
  EXPECT_EQ(r.state, channel_state::active);
  EXPECT_EQ(r.switching, switch_state::running);
}

// ---- deleting ---------------------------------------------------------------------------------------------------------------------------

TEST_F(channels_test, a_deleted_channel_is_gone_with_all_it_had) {
  const auto t = tenant();
  const auto c = channel(t).id, kept = channel(t, "kept").id;
  const auto guard = lease_of(c);
  const store::lease_guard other{t, kept, guard.epoch};
  deliver(guard, 1, {"one", "two"});
  deliver(other, 1, {"kept"});
  ASSERT_TRUE(mail.note_try(guard, {protocol_kind::imap, "INBOX", {7}, {9}, ""}));
  store::commit_unit moved;
  moved.guard = guard;
  moved.folder = "INBOX";
  moved.move_cursor.emplace();
  must(mail.commit({moved}));

  ASSERT_TRUE(store.delete_channel(anyone, t, c));
  EXPECT_EQ(why(store.delete_channel(anyone, t, c)), failure::not_found);
  EXPECT_EQ(why(store.get_channel(anyone, t, c)), failure::not_found);
  EXPECT_EQ(why(store.list_events(anyone, t, c, 10, "")), failure::not_found);
  EXPECT_EQ(why(store.update_channel(anyone, t, c, spec(), 0, "operator")), failure::not_found);
  EXPECT_EQ(why(store.put_credential(anyone, t, c, basic(), "operator")), failure::not_found);
  for (const char* table : {"channel_status", "credentials", "cursors", "ledger", "messages", "message_tries", "channel_events"}) {
    EXPECT_EQ(count(fmt::format("{} WHERE channel_id = {}", table, c.value)), 0) << table;
    if (table != std::string("cursors") && table != std::string("message_tries")) {
      EXPECT_GT(count(fmt::format("{} WHERE channel_id = {}", table, kept.value)), 0) << table;
    }
  }
  // The lease outlives it until its owner, who is told, has given it back.
  EXPECT_EQ(count(fmt::format("channel_leases WHERE channel_id = {}", c.value)), 1);
  const auto changes = must(mail.changes_since(life, 0));
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].guard.channel, c);
  EXPECT_TRUE(changes[0].gone);
  store::commit_unit late;
  late.guard = guard;
  late.messages.push_back(message(3, "late"));
  EXPECT_EQ(why(must(mail.commit({late})).at(0).status), failure::fenced);
  EXPECT_EQ(count(fmt::format("ledger WHERE channel_id = {}", c.value)), 0) << "a row that nobody will ever remove";
  ASSERT_TRUE(mail.release(life, {guard}));
  EXPECT_EQ(count(fmt::format("channel_leases WHERE channel_id = {}", c.value)), 0);

  const auto unowned = channel(t).id;
  ASSERT_TRUE(store.delete_channel(anyone, t, unowned));
  EXPECT_EQ(count(fmt::format("channel_leases WHERE channel_id = {}", unowned.value)), 0);
}

// ---- credentials ------------------------------------------------------------------------------------------------------------------------

TEST_F(credentials_test, a_new_generation_is_added_beside_the_old_ones) {
  const auto t = tenant();
  const auto c = channel(t).id;
  const auto guard = lease_of(c);
  store::mail_store::state_change serving;
  serving.state = channel_state::active;
  serving.observed_generation = 1;
  serving.switching = switch_state::failed;
  serving.switch_error = "of an earlier switch";
  ASSERT_TRUE(mail.set_state(guard, serving));
  EXPECT_EQ(must(store.put_credential(anyone, t, c, oauth2(app(t)), "operator")), 2);
  auto r = must(store.get_channel(anyone, t, c));
  EXPECT_EQ(r.generation, 2);
  EXPECT_EQ(r.observed_generation, 1);
  EXPECT_EQ(r.switching, switch_state::running);
  EXPECT_EQ(r.switch_error, "");
  EXPECT_EQ(r.state, channel_state::active) << "the old one serves on";
  EXPECT_EQ(r.auth, auth_type::oauth2);
  EXPECT_FALSE(r.has_grant);
  EXPECT_EQ(r.revision, 1) << "the settings were not changed";
  const auto loaded = must(mail.load_channel(t, c));
  EXPECT_EQ(loaded.serving.password.reveal(), "first password");
  EXPECT_EQ(loaded.credential.type, auth_type::oauth2);
  EXPECT_EQ(must(store.put_credential(anyone, t, c, basic("third", "3"), "operator")), 3);
  EXPECT_EQ(must(mail.load_channel(t, c)).credential.password.reveal(), "3");
  EXPECT_EQ(must(store.list_events(anyone, t, c, 1, "")).items[0].detail, "generation 3: basic");
}

TEST_F(credentials_test, a_channel_that_waits_for_consent_goes_on_with_a_password) {
  const auto t = tenant();
  const auto a = app(t);
  const auto c = must(store.create_channel(anyone, t, spec(), oauth2(a), "operator"));
  EXPECT_EQ(c.state, channel_state::consent_pending);
  must(store.put_credential(anyone, t, c.id, basic(), "operator"));
  EXPECT_EQ(must(store.get_channel(anyone, t, c.id)).state, channel_state::connecting);
  must(store.put_credential(anyone, t, c.id, oauth2(a), "operator"));
  EXPECT_EQ(must(store.get_channel(anyone, t, c.id)).state, channel_state::consent_pending);
  EXPECT_EQ(why(store.put_credential(anyone, t, c.id, oauth2({999}), "operator")), failure::invalid_input);
}

TEST_F(credentials_test, generations_given_at_once_are_different_ones) {
  const auto t = tenant();
  const auto c = channel(t).id;
  constexpr int racers = 4, rounds = 5;
  std::latch ready(racers);
  std::vector<std::set<std::int64_t>> given(racers);
  std::vector<std::thread> all;
  for (std::size_t i = 0; i < racers; ++i) {
    all.emplace_back([&, i] {
      const auto mine = database.connect();
      store::pg_admin_store own(*mine, *keys);
      ready.arrive_and_wait();
      for (int r = 0; r < rounds; ++r) given[i].insert(must(own.put_credential(anyone, t, c, basic("u", fmt::format("{}", i)), "operator")));
    });
  }
  for (auto& one : all) one.join();
  std::set<std::int64_t> together;
  for (const auto& g : given) together.insert(g.begin(), g.end());
  EXPECT_EQ(together.size(), static_cast<std::size_t>(racers * rounds));
  EXPECT_EQ(*together.rbegin(), 1 + racers * rounds);
}

// ---- history ----------------------------------------------------------------------------------------------------------------------------

TEST_F(events_test, what_happened_is_listed_newest_first) {
  const auto t = tenant();
  const auto c = channel(t).id;
  for (int i = 0; i < 3; ++i) must(store.update_channel(anyone, t, c, spec(fmt::format("n{}", i)), 0, "key k7"));
  must(store.put_credential(anyone, t, c, basic(), "operator"));
  std::string kinds, after;
  do {
    const auto p = must(store.list_events(anyone, t, c, 2, after));
    for (const auto& e : p.items) kinds += e.kind + "/" + e.actor + ";";
    after = p.next;
  } while (!after.empty());
  EXPECT_EQ(kinds, "credential/operator;edited/key k7;edited/key k7;edited/key k7;created/operator;");
  EXPECT_EQ(why(store.list_events(anyone, t, c, 2, "c1")), failure::invalid_input);
  EXPECT_EQ(why(store.list_events(anyone, t, {999}, 2, "")), failure::not_found);
}

TEST_F(events_test, every_change_wakes_the_nodes_after_it_is_visible) {
  const auto t = tenant();
  pqxx::connection ear(database.superuser_url());
  struct counter final : pqxx::notification_receiver {
    using pqxx::notification_receiver::notification_receiver;
    void operator()(const std::string& payload, int) override { heard.push_back(payload); }
    std::vector<std::string> heard;
  } hears(ear, "mailherd_channel");
  pqxx::nontransaction(ear).exec("SELECT 1");
  const auto c = channel(t).id;
  must(store.update_channel(anyone, t, c, spec(), 0, "operator"));
  must(store.put_credential(anyone, t, c, basic(), "operator"));
  ASSERT_TRUE(store.delete_channel(anyone, t, c));
  while (hears.heard.size() < 4) ear.await_notification(10, 0);
  for (const auto& payload : hears.heard) EXPECT_EQ(payload, fmt::format("{} {}", t.value, c.value));
}

}  // namespace
}  // namespace mailherd::test
