// A real Dovecot and a real OpenID provider: every way in, and what happens to real mailboxes.
#include <fmt/format.h>

#include <atomic>
#include <random>
#include <thread>

#include "tests/corpus/corpus.hpp"
#include "tests/peers/dovecot_server.hpp"
#include "tests/peers/identity_provider.hpp"
#include "tests/scenario/herd_world.hpp"

namespace mailherd::test {
namespace {

/// Dovecot and the provider start once for all tests of a suite; every test has a user of its own.
struct peers_of_suite {
  peers::temp_dir dir{"dovecot"};
  peers::test_ca ca{dir.path()};
  peers::identity_provider provider;
  peers::dovecot_server server;

  static peers::idp_options provider_options(peers::test_ca& ca) {
    peers::idp_options o;
    o.tls = ca.issue();
    return o;
  }
  static peers::dovecot_options server_options(peers::test_ca& ca, const std::filesystem::path& keys, const std::string& mechanisms) {
    peers::dovecot_options o;
    o.tls = ca.issue();
    o.key_dir = keys;
    o.mechanisms = mechanisms;
    return o;
  }
  explicit peers_of_suite(const std::string& mechanisms = "plain login xoauth2 oauthbearer")
      : provider(provider_options(ca)), server(server_options(ca, provider.key_dir(), mechanisms)) {}
};

class on_dovecot : public herd_world {
 protected:
  /// One pair of servers per set of mechanisms, for as long as the binary runs.
  static peers_of_suite& peers_with(const std::string& mechanisms = "plain login xoauth2 oauthbearer") {
    static std::map<std::string, std::unique_ptr<peers_of_suite>> all;
    auto& p = all[mechanisms];
    if (!p) p = std::make_unique<peers_of_suite>(mechanisms);
    return *p;
  }

  on_dovecot() : herd_world(&peers_with().ca), user_(fmt::format("u{}@acme.test", ++users_)) { peers_with().server.add_user({user_, "secret"}); }

  static void quick(actors::herd_options& o) {
    o.poll_interval = seconds(1);
    o.allow_plaintext = true;
  }
  channel_spec at(peers_of_suite& p, protocol_kind protocol = protocol_kind::imap, tls_mode tls = tls_mode::implicit) {
    auto s = spec("127.0.0.1", 0);
    s.incoming.protocol = protocol;
    s.incoming.tls = tls;
    const bool imap = protocol == protocol_kind::imap, implicit = tls == tls_mode::implicit;
    s.incoming.port = imap ? (implicit ? p.server.imaps_port() : p.server.imap_port()) : (implicit ? p.server.pop3s_port() : p.server.pop3_port());
    return s;
  }
  channel_spec at() { return at(peers_with()); }
  [[nodiscard]] credential password() const { return herd_world::password(user_, "secret"); }

  /// An app of this tenant at the suite's provider.
  app_id make_app(peers_of_suite& p) {
    oauth_app a;
    a.tenant = tenant_;
    a.name = "provider";
    a.provider = provider_kind::custom;
    a.client_id = "mailherd";
    a.client_secret = secret<>(std::string("mailherd-secret"));
    a.token_url = p.provider.token_url();
    a.authorize_url = p.provider.authorize_url();
    const auto made = ask([&](store::session& s) { return s.admin.create_app({}, a); });
    if (!made) throw std::runtime_error(describe(made.error()));
    return made->id;
  }
  credential grant(peers_of_suite& p) {
    credential c;
    c.type = auth_type::oauth2;
    c.app = make_app(p);
    c.account = user_;
    c.refresh_token = secret<>(p.provider.grant(user_));
    return c;
  }

  void deliver(peers_of_suite& p, std::size_t count, const std::string& folder = "INBOX") {
    for (std::size_t i = 0; i < count; ++i, ++next_) p.server.deliver(user_, folder, corpus::message(5, next_), corpus::received_at(next_));
  }
  void deliver(std::size_t count, const std::string& folder = "INBOX") { deliver(peers_with(), count, folder); }
  [[nodiscard]] std::vector<std::string> on_server(peers_of_suite& p, const std::string& folder = "INBOX") const { return p.server.digests(user_, folder); }
  [[nodiscard]] std::vector<std::string> on_server() const { return on_server(peers_with()); }

  static inline int users_ = 0;
  std::string user_;
  std::size_t next_ = 0;
};

// ---- every way in --------------------------------------------------------------------------------------------------------------------------

struct way {
  protocol_kind protocol;
  tls_mode tls;
  std::string mechanism;   ///< of Dovecot; empty: USER/PASS or LOGIN
};

class every_way : public on_dovecot, public ::testing::WithParamInterface<way> {};

INSTANTIATE_TEST_SUITE_P(
    all, every_way,
    ::testing::Values(way{protocol_kind::imap, tls_mode::implicit, "plain"}, way{protocol_kind::imap, tls_mode::starttls, "login"},
                      way{protocol_kind::imap, tls_mode::none, "plain"}, way{protocol_kind::imap, tls_mode::implicit, "xoauth2"},
                      way{protocol_kind::imap, tls_mode::starttls, "oauthbearer"}, way{protocol_kind::imap, tls_mode::implicit, "scram-sha-256"},
                      way{protocol_kind::pop3, tls_mode::implicit, "plain"}, way{protocol_kind::pop3, tls_mode::starttls, "login"},
                      way{protocol_kind::pop3, tls_mode::none, "plain"}, way{protocol_kind::pop3, tls_mode::implicit, "xoauth2"},
                      way{protocol_kind::pop3, tls_mode::starttls, "oauthbearer"}),
    [](const auto& info) {
      auto name = fmt::format("{}_{}_{}", to_string(info.param.protocol), to_string(info.param.tls), info.param.mechanism);
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST_P(every_way, mail_there_and_mail_to_come_is_stored_once) {
  const auto& w = GetParam();
  auto& p = peers_with(w.mechanism);
  p.server.add_user({user_, "secret"});
  deliver(p, 40);
  // Its certificate is of another authority than the suite's.
  net::network_options n;
  n.policy = *net::target_policy::parse("all");
  n.ca_file = p.ca.ca_file();
  network_ = std::move(*net::network::create(n));
  start_herd(quick);
  const bool by_token = w.mechanism == "xoauth2" || w.mechanism == "oauthbearer";
  const auto c = add_channel(at(p, w.protocol, w.tls), by_token ? grant(p) : password());
  ASSERT_TRUE(wait_stored(c, 40));
  ASSERT_TRUE(wait_state(c, channel_state::active));
  deliver(p, 3);
  ASSERT_TRUE(wait_stored(c, 43));
  EXPECT_TRUE(holds_digests(c, on_server(p)));
  if (by_token) {
    EXPECT_TRUE(channel(c).token_expires_at);
    EXPECT_EQ(report_.count("refresh.ok"), 1);
  }
}

// ---- what is wanted -------------------------------------------------------------------------------------------------------------------------

TEST_F(on_dovecot, start_from_now_leaves_what_was_there) {
  for (const auto protocol : {protocol_kind::imap, protocol_kind::pop3}) {
    peers_with().server.clear(user_);
    deliver(10);
    if (!herd_) start_herd(quick);
    auto s = at(peers_with(), protocol);
    s.start.from = start_point::kind::now;
    const auto c = add_channel(s, password());
    ASSERT_TRUE(wait_state(c, channel_state::active));
    const auto before = on_server();
    deliver(2);
    ASSERT_TRUE(wait_stored(c, 2));
    auto now = on_server(), fresh = std::vector<std::string>{};
    std::set_difference(now.begin(), now.end(), before.begin(), before.end(), std::back_inserter(fresh));
    EXPECT_TRUE(holds_digests(c, fresh));
  }
}

TEST_F(on_dovecot, start_from_a_time_takes_what_came_since) {
  auto& p = peers_with();
  std::vector<std::string> wanted;
  const auto turn = corpus::received_at(100);
  for (std::size_t i = 0; i < 20; ++i) {
    const auto raw = corpus::simple(fmt::format("number {}", i));
    const auto when = turn + std::chrono::hours(i % 2 == 0 ? 1 + static_cast<int>(i) : -1 - static_cast<int>(i));
    p.server.deliver(user_, "INBOX", raw, when);
    if (when >= turn) wanted.push_back(raw);
  }
  start_herd(quick);
  auto s = at();
  s.start.from = start_point::kind::at;
  s.start.at = std::chrono::time_point_cast<std::chrono::microseconds>(turn);
  const auto c = add_channel(s, password());
  ASSERT_TRUE(wait_stored(c, static_cast<std::int64_t>(wanted.size())));
  ASSERT_TRUE(wait_state(c, channel_state::active));
  EXPECT_TRUE(holds_exactly(c, wanted));
}

TEST_F(on_dovecot, other_folders_than_the_inbox) {
  const std::string on_disk = "Kunden/&AMQ-ltere &- neue";   // as IMAP and the maildir write it: modified UTF-7
  peers_with().server.create_folder(user_, on_disk);
  deliver(5, on_disk);
  deliver(2);
  start_herd(quick);
  auto s = at();
  s.incoming.folder = "Kunden/Ältere & neue";
  const auto c = add_channel(s, password());
  ASSERT_TRUE(wait_stored(c, 5));
  EXPECT_TRUE(holds_digests(c, on_server(peers_with(), on_disk)));
  s.incoming.folder = "Nowhere";
  const auto missing = add_channel(s, password());
  EXPECT_TRUE(wait([&] { return channel(missing).state_reason == "mailbox_missing"; })) << channel(missing).state_reason;
}

TEST_F(on_dovecot, after_fetch_delete_empties_the_mailbox_and_keeps_everything_here) {
  deliver(50);
  const auto all = on_server();
  start_herd(quick);
  auto s = at();
  s.after = after_fetch::remove;
  const auto c = add_channel(s, password());
  ASSERT_TRUE(wait_stored(c, 50));
  ASSERT_TRUE(wait([&] { return peers_with().server.count(user_) == 0; })) << peers_with().server.count(user_);
  EXPECT_TRUE(holds_digests(c, all));
  deliver(2);
  ASSERT_TRUE(wait_stored(c, 52));
  ASSERT_TRUE(wait([&] { return peers_with().server.count(user_) == 0; }));
}

TEST_F(on_dovecot, after_fetch_seen_marks_and_nothing_else_changes) {
  deliver(20);
  start_herd(quick);
  auto s = at();
  s.after = after_fetch::seen;
  const auto c = add_channel(s, password());
  ASSERT_TRUE(wait_stored(c, 20));
  const auto seen = [&] {
    std::size_t n = 0;
    for (const auto& f : std::filesystem::directory_iterator(peers_with().server.maildir(user_) / "cur")) {
      const auto name = f.path().filename().string();
      n += name.find(":2,") != std::string::npos && name.find('S', name.find(":2,")) != std::string::npos ? 1 : 0;
    }
    return n;
  };
  ASSERT_TRUE(wait([&] { return seen() == 20; })) << seen();
  EXPECT_TRUE(holds_digests(c, on_server()));
}

TEST_F(on_dovecot, a_message_of_twenty_megabytes_travels_in_chunks_and_one_past_the_tenants_limit_stays) {
  const auto big = corpus::simple("big", std::string(300'000, 'x') + "\r\n");   // below the limit of what travels in one piece
  std::string huge = "Subject: huge\r\n\r\n";
  while (huge.size() < 20U * 1024 * 1024) huge += "0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
  ASSERT_TRUE(ask([&](store::session& s) { return s.admin.update_tenant(tenant_, {}, tenant_limits{100, 21LL * 1024 * 1024}); }));
  auto& server = peers_with().server;
  server.deliver(user_, "INBOX", huge);
  server.deliver(user_, "INBOX", huge + huge);
  server.deliver(user_, "INBOX", big);
  start_herd(quick);
  const auto c = add_channel(at(), password());
  ASSERT_TRUE(wait_stored(c, 3));
  EXPECT_TRUE(holds_digests(c, [&] {
    std::vector<std::string> want{"", peers::sha256_hex(huge), peers::sha256_hex(big)};
    std::sort(want.begin(), want.end());
    return want;
  }()));
  for (const auto& k : mail(c)) {
    if (k.message.has_body) continue;
    EXPECT_EQ(k.message.envelope.subject, "huge");
    EXPECT_EQ(k.message.size, 2 * huge.size());
    EXPECT_NE(k.message.problem.find("allows"), std::string::npos) << k.message.problem;
  }
}

// ---- what happens to mailboxes --------------------------------------------------------------------------------------------------------------

TEST_F(on_dovecot, a_person_reads_moves_and_deletes_at_the_same_time_and_what_stays_is_stored) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  auto& server = peers_with().server;
  start_herd(quick);
  const auto c = add_channel(at(), password());
  ASSERT_TRUE(wait_state(c, channel_state::active));
  server.create_folder(user_, "Done");
  std::mt19937 random(seed);
  std::vector<std::string> names;
  for (int i = 0; i < 150; ++i) {
    names.push_back(server.deliver(user_, "INBOX", corpus::message(6, static_cast<std::uint64_t>(i))));
    if (i % 3 != 0 || names.empty()) continue;
    const auto at = random() % names.size();
    if (random() % 2 == 0) {
      server.move(user_, "INBOX", "Done", names[at]);
    } else {
      server.expunge(user_, "INBOX", names[at]);
    }
    names.erase(names.begin() + static_cast<std::ptrdiff_t>(at));
  }
  // What is still there must be here; of what was taken away in the same moment either is right, but never twice.
  const auto there = on_server();
  ASSERT_TRUE(wait([&] {
    const auto here = digests(c);
    return std::includes(here.begin(), here.end(), there.begin(), there.end());
  }));
  std::map<std::string, int> made, stored;
  for (int i = 0; i < 150; ++i) ++made[peers::sha256_hex(corpus::message(6, static_cast<std::uint64_t>(i)))];
  for (const auto& d : digests(c)) ++stored[d];
  for (const auto& [digest, n] : stored) EXPECT_LE(n, made[digest]);
}

TEST_F(on_dovecot, a_new_uid_validity_brings_nothing_twice_and_misses_nothing) {
  deliver(80);
  start_herd(quick);
  const auto c = add_channel(at(), password());
  ASSERT_TRUE(wait_stored(c, 80));
  ASSERT_TRUE(wait_state(c, channel_state::active));
  peers_with().server.reset_uid_validity(user_);
  deliver(3);
  ASSERT_TRUE(wait_stored(c, 83));
  EXPECT_TRUE(holds_digests(c, on_server()));
}

TEST_F(on_dovecot, a_maildrop_in_which_every_uidl_is_new_brings_nothing_twice_and_misses_nothing) {
  deliver(80);
  start_herd(quick);
  const auto c = add_channel(at(peers_with(), protocol_kind::pop3), password());
  ASSERT_TRUE(wait_stored(c, 80));
  ASSERT_TRUE(wait_state(c, channel_state::active));
  peers_with().server.reset_uid_validity(user_);
  deliver(3);
  ASSERT_TRUE(wait_stored(c, 83));
  EXPECT_TRUE(holds_digests(c, on_server()));
}

TEST_F(on_dovecot, what_was_fetched_to_be_kept_stays_when_the_channel_deletes_and_the_mailbox_is_made_anew) {
  for (const auto protocol : {protocol_kind::imap, protocol_kind::pop3}) {
    SCOPED_TRACE(to_string(protocol));
    if (protocol == protocol_kind::pop3) peers_with().server.add_user({user_ = fmt::format("u{}@acme.test", ++users_), "secret"});
    auto& server = peers_with().server;
    deliver(20);
    if (protocol == protocol_kind::imap) start_herd(quick);
    auto s = at(peers_with(), protocol);
    const auto c = add_channel(s, password());
    ASSERT_TRUE(wait_stored(c, 20));
    ASSERT_TRUE(wait_state(c, channel_state::active));
    s.after = after_fetch::remove;
    change_channel(c, s);
    deliver(2);
    ASSERT_TRUE(wait_stored(c, 22));
    ASSERT_TRUE(wait([&] { return server.count(user_) == 20; })) << server.count(user_);
    server.reset_uid_validity(user_);   // and with it every UIDL
    deliver(3);
    ASSERT_TRUE(wait_stored(c, 25));
    ASSERT_TRUE(wait([&] { return server.count(user_) == 20; })) << server.count(user_);
  }
}

TEST_F(on_dovecot, kicks_restarts_kills_and_freezes_while_mail_keeps_arriving) {
  auto& server = peers_with().server;
  start_herd([](actors::herd_options& o) {
    quick(o);
    o.times = {seconds(3), seconds(3), seconds(3), seconds(2)};
  });
  const auto c = add_channel(at(), password());
  ASSERT_TRUE(wait_state(c, channel_state::active));
  std::int64_t sent = 0;
  for (const auto& trouble : std::vector<std::function<void()>>{[&] { server.kick(user_); }, [&] { server.restart(); }, [&] { server.kill(), server.start(); },
                                                                [&] { server.freeze(); }}) {
    deliver(5);
    trouble();
    deliver(5);
    sent += 10;
    server.thaw();
    ASSERT_TRUE(wait_stored(c, sent));
  }
  EXPECT_TRUE(holds_digests(c, on_server()));
}

TEST_F(on_dovecot, from_pop3_to_imap_nothing_comes_twice) {
  deliver(30);
  start_herd(quick);
  const auto c = add_channel(at(peers_with(), protocol_kind::pop3), password());
  ASSERT_TRUE(wait_stored(c, 30));
  ASSERT_TRUE(wait_state(c, channel_state::active));
  change_channel(c, at());
  deliver(3);
  ASSERT_TRUE(wait_stored(c, 33));
  ASSERT_TRUE(wait_state(c, channel_state::active));
  EXPECT_TRUE(holds_digests(c, on_server()));
  EXPECT_EQ(mail(c).back().message.source.protocol, protocol_kind::imap);
}

// ---- credentials ----------------------------------------------------------------------------------------------------------------------------

TEST_F(on_dovecot, from_password_to_token_and_back_while_mail_arrives_without_a_moment_unserved) {
  auto& p = peers_with();
  start_herd(quick);
  const auto c = add_channel(at(), password());
  ASSERT_TRUE(wait_state(c, channel_state::active));
  std::atomic<bool> done{false};
  std::atomic<std::size_t> sent{0};
  std::thread sender([&] {
    while (!done && sent < 400) p.server.deliver(user_, "INBOX", corpus::message(7, sent++));
  });
  const auto switched = [&](const credential& to) {
    const auto generation = change_credential(c, to);
    return wait([&] { return channel(c).observed_generation == generation && channel(c).switching == switch_state::done; });
  };
  EXPECT_TRUE(switched(grant(p)));
  EXPECT_EQ(channel(c).auth, auth_type::oauth2);
  EXPECT_TRUE(switched(password()));
  EXPECT_TRUE(switched(grant(p)));
  done = true;
  sender.join();
  ASSERT_TRUE(wait_stored(c, static_cast<std::int64_t>(sent)));
  EXPECT_TRUE(holds_digests(c, on_server()));
  EXPECT_EQ(report_.count("switch.ok"), 3);
  EXPECT_EQ(report_.count("switch.gap"), 0) << "the old session served until the new one had the mailbox";
  EXPECT_EQ(report_.count("sessions"), 1);
}

TEST_F(on_dovecot, a_wrong_new_password_leaves_the_old_one_serving) {
  deliver(3);
  start_herd(quick);
  const auto c = add_channel(at(), password());
  ASSERT_TRUE(wait_stored(c, 3));
  ASSERT_TRUE(wait_state(c, channel_state::active));
  change_credential(c, herd_world::password(user_, "wrong"));
  ASSERT_TRUE(wait([&] { return channel(c).switching == switch_state::failed; }));
  EXPECT_NE(channel(c).switch_error, "");
  deliver(2);
  ASSERT_TRUE(wait_stored(c, 5));
  EXPECT_EQ(channel(c).observed_generation, 1);
  EXPECT_EQ(channel(c).state, channel_state::active);
}

TEST_F(on_dovecot, a_revoked_grant_asks_for_consent_and_a_provider_in_trouble_does_not) {
  auto& p = peers_with();
  start_herd(quick);
  p.provider.add_fault({.match = "/token", .status = 503, .body = "<html>busy</html>", .times = 2});
  const auto c = add_channel(at(), grant(p));
  ASSERT_TRUE(wait_state(c, channel_state::active));
  EXPECT_EQ(report_.count("refresh.failed"), 2);
  stop_herd();
  p.provider.revoke(user_);
  start_herd(quick);
  ASSERT_TRUE(wait_state(c, channel_state::needs_reauth, "consent_required"));
  change_credential(c, grant(p));
  ASSERT_TRUE(wait_state(c, channel_state::active));
}

}  // namespace
}  // namespace mailherd::test
