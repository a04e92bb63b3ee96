// tests/storage/admin_world: the API's store on a fresh database, and the ways in which its objects look in tests.
//
// Owns:   a test_database, a connection, the API's store and (for delivering mail) the herd's on it.
#pragma once

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "storage/admin_store.hpp"
#include "storage/mail_store.hpp"
#include "tests/peers/files.hpp"
#include "tests/storage/postgres_fixture.hpp"

namespace mailherd::test {

/// The value, or a failed test and an empty one.
template <class T>
T must(result<T> r) {
  EXPECT_TRUE(r) << (r ? "" : describe(r.error()));
  return r ? std::move(*r) : T{};
}

template <class T>
failure why(const result<T>& r) {
  EXPECT_FALSE(r) << "it succeeded";
  return r ? failure::internal : r.error().code;
}

class admin_world : public ::testing::Test {
 protected:
  admin_world() : link(database.connect()), store(*link, *keys), mail(*link, *keys, 0, 14) {}

  tenant_id tenant(const std::string& name = "Acme", std::int64_t channels = 1000) { return must(store.create_tenant(name, {channels, 1 << 20})).id; }

  static channel_spec spec(const std::string& name = "Support") {
    channel_spec s;
    s.name = name;
    s.address = "support@acme.test";
    s.incoming.host = "mail.acme.test";
    return s;
  }
  static credential basic(const std::string& user = "support", const std::string& password = "first password") {
    credential c;
    c.username = user;
    c.password = secret<>(password);
    return c;
  }
  static credential oauth2(app_id app, const std::string& refresh_token = "") {
    credential c;
    c.type = auth_type::oauth2;
    c.app = app;
    c.refresh_token = secret<>(refresh_token);
    return c;
  }
  app_id app(tenant_id t, const std::string& name = "Entra") {
    oauth_app a;
    a.tenant = t;
    a.name = name;
    a.provider = provider_kind::microsoft;
    a.client_id = "client";
    a.client_secret = secret<>(std::string("app secret"));
    a.scopes = {"https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access"};
    return must(store.create_app(anyone, a)).id;
  }
  channel_record channel(tenant_id t, const std::string& name = "Support") { return must(store.create_channel(anyone, t, spec(name), basic(), "operator")); }

  /// Takes the lease of every free channel, the way a node does.
  std::vector<store::lease_guard> claim(const std::string& node = "node-a") {
    life = must(mail.join(node, "1.0", seconds(600), 100));
    return must(mail.claim(life, 1000));
  }
  store::lease_guard lease_of(channel_id c) {
    for (const auto& g : claim())
      if (g.channel == c) return g;
    ADD_FAILURE() << "the channel could not be claimed";
    return {};
  }
  static store::incoming_message message(std::uint32_t uid, std::string body) {
    store::incoming_message m;
    m.source = {protocol_kind::imap, "INBOX", {7}, {uid}, ""};
    m.internal_date = store::time_of(1'700'000'000'123'456 + uid);
    m.size = body.size();
    m.digest.fill(static_cast<std::uint8_t>(uid));
    m.header_digest.fill(static_cast<std::uint8_t>(uid + 1));
    m.envelope.subject = fmt::format("number {}", uid);
    m.body = std::make_shared<const std::string>(std::move(body));
    return m;
  }
  /// Messages of UIDs first, first + 1 ...
  void deliver(const store::lease_guard& guard, std::uint32_t first, const std::vector<std::string>& bodies) {
    store::commit_unit u;
    u.guard = guard;
    u.folder = "INBOX";
    for (const auto& body : bodies) u.messages.push_back(message(first++, body));
    const auto done = must(mail.commit({u}));
    ASSERT_EQ(done.size(), 1U);
    EXPECT_TRUE(done[0].status) << describe(done[0].status.error());
    EXPECT_EQ(done[0].stored, static_cast<std::int64_t>(bodies.size()));
  }
  std::string body_of(message_id id, std::uint64_t offset = 0) {
    std::string out;
    const auto done = store.read_body_from(anyone, id, offset, [&](std::string_view bytes) {
      out += bytes;
      return true;
    });
    EXPECT_TRUE(done) << describe(done.error());
    return out;
  }
  /// Until so many connections to this database wait for a lock: PostgreSQL says so.
  void wait_for_lock_waiters(int n) const {
    const std::string waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    EXPECT_TRUE(peers::wait_until([&] { return database.query(waiting) == std::to_string(n); }, std::chrono::seconds(15)));
  }
  std::int64_t count(const std::string& from) const { return std::stoll(database.query("SELECT count(*) FROM " + from)); }

  static inline const store::caller anyone{};
  test_database database;
  std::shared_ptr<const store::keyring> keys = test_keys();
  std::unique_ptr<store::connection> link;
  store::pg_admin_store store;
  store::pg_mail_store mail;
  store::mail_store::incarnation life;
};

}  // namespace mailherd::test
