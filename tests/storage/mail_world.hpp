// tests/storage/mail_world: a database with tenants and channels whose leases are held, and mail to put in.
//
// Owns:   a test_database, a connection, the store under test; rows made by plain SQL, so that nothing here depends on the API's store.
#pragma once

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "storage/mail_store.hpp"
#include "tests/storage/postgres_fixture.hpp"

namespace mailherd::test {

class mail_world : public ::testing::Test {
 protected:
  mail_world() : link(database.connect()), store(*link, *keys, 0, 14) {
    tenant(1);
    tenant(2);
    for (const auto& [t, c] : {std::pair{1, 11}, {1, 12}, {2, 21}}) channel(t, c);
  }

  void tenant(std::int64_t id) const {
    database.query(fmt::format("INSERT INTO tenants (tenant_id, name, max_channels, max_message_bytes) VALUES ({0}, 't{0}', 100, 1000000);"
                               "INSERT INTO feed_heads (tenant_id) VALUES ({0})", id));
  }
  /// With a lease of epoch 1, owned by incarnation 1.
  void channel(std::int64_t t, std::int64_t c) const {
    database.query(fmt::format(
        "INSERT INTO channels (tenant_id, channel_id, name, address, enabled, protocol, host, port, tls, folder, start_kind, after_fetch) "
        "VALUES ({0}, {1}, 'c{1}', 'c{1}@acme.test', true, 'imap', 'mail.acme.test', 993, 'implicit', 'INBOX', 'all', 'keep');"
        "INSERT INTO channel_status (tenant_id, channel_id, state) VALUES ({0}, {1}, 'connecting');"
        "INSERT INTO credentials (tenant_id, channel_id, generation, type, username) VALUES ({0}, {1}, 1, 'basic', 'u{1}');"
        "INSERT INTO channel_leases (tenant_id, channel_id, owner, epoch, enabled) VALUES ({0}, {1}, 1, 1, true)", t, c));
  }

  static store::lease_guard guard(std::int64_t t, std::int64_t c, std::int64_t epoch = 1) { return {{t}, {c}, epoch}; }

  static store::incoming_message mail(std::uint32_t uid, std::string body, std::uint32_t validity = 7) {
    store::incoming_message m;
    m.source = {protocol_kind::imap, "INBOX", {validity}, {uid}, ""};
    m.internal_date = store::time_of(1'700'000'000'123'456 + uid);
    m.size = body.size();
    m.digest.fill(static_cast<std::uint8_t>(uid));
    m.header_digest.fill(static_cast<std::uint8_t>(uid + 1));
    m.envelope.subject = fmt::format("number {}", uid);
    m.body = std::make_shared<const std::string>(std::move(body));
    return m;
  }
  static store::commit_unit unit(store::lease_guard g, std::vector<store::incoming_message> mail) {
    store::commit_unit u;
    u.guard = g;
    u.folder = "INBOX";
    u.messages = std::move(mail);
    return u;
  }
  store::commit_outcome commit(store::commit_unit u) {
    auto all = store.commit({std::move(u)});
    EXPECT_TRUE(all) << (all ? "" : describe(all.error()));
    return all ? all->front() : store::commit_outcome{fail(failure::internal)};
  }
  /// Positions of a tenant's feed, then sequences of each channel: must be 1, 2, 3 ...
  void expect_gapless() const {
    EXPECT_EQ(database.query("SELECT count(*) FROM (SELECT tenant_id, max(position) m, count(*) n FROM messages GROUP BY 1) x WHERE m <> n"), "0");
    EXPECT_EQ(database.query("SELECT count(*) FROM (SELECT channel_id, max(sequence) m, count(*) n, count(DISTINCT sequence) d FROM messages GROUP BY 1) x "
                             "WHERE m <> n OR d <> n"), "0");
    EXPECT_EQ(database.query("SELECT count(*) FROM outbox"), "0") << "only versions before this one write it";
  }

  test_database database;
  std::shared_ptr<const store::keyring> keys = test_keys();
  std::unique_ptr<store::connection> link;
  store::pg_mail_store store;
};

}  // namespace mailherd::test
