// Servers that fail, named by how. Each scenario: what the server does, what the channel says meanwhile, and that afterwards every message is
// stored exactly once.
#include <fmt/format.h>

#include "tests/corpus/corpus.hpp"
#include "tests/peers/imap_fake.hpp"
#include "tests/peers/pop3_fake.hpp"
#include "tests/scenario/herd_world.hpp"

namespace mailherd::test {
namespace {

using peers::connection;
using peers::fake_message;
using peers::imap_command;
using peers::imap_fake;
using peers::imap_fake_options;
using peers::pop3_fake;
using peers::pop3_fake_options;
using peers::verdict;

class broken_servers : public herd_world {
 protected:
  imap_fake_options imap() {
    imap_fake_options o;
    o.socket.tls = ca_.issue();
    o.socket.implicit_tls = true;
    o.socket.patience = std::chrono::seconds(120);
    o.passwords = {{"support", "secret"}};
    return o;
  }
  pop3_fake_options pop3() {
    pop3_fake_options o;
    o.socket.tls = ca_.issue();
    o.socket.implicit_tls = true;
    o.socket.patience = std::chrono::seconds(120);
    o.passwords = {{"support", "secret"}};
    return o;
  }
  static channel_spec on(std::uint16_t port, protocol_kind protocol = protocol_kind::imap) {
    auto s = spec("127.0.0.1", port);
    s.incoming.protocol = protocol;
    return s;
  }
  static std::vector<std::string> fill(imap_fake& server, std::size_t count, std::size_t from = 0) {
    std::vector<std::string> raws;
    for (std::size_t i = from; i < from + count; ++i) {
      raws.push_back(corpus::message(1, i));
      server.add(raws.back(), "INBOX", corpus::received_at(i));
    }
    return raws;
  }
  static void quick(actors::herd_options& o) {
    o.times = {seconds(3), seconds(3), seconds(3), seconds(2)};
    o.poll_interval = seconds(1);
  }
  static void append(std::vector<std::string>& all, std::vector<std::string> more) { all.insert(all.end(), more.begin(), more.end()); }
};

// ---- no failure at all: what all others are compared with ---------------------------------------------------------------------------------

TEST_F(broken_servers, none_everything_is_fetched_and_then_every_new_message) {
  imap_fake server(imap());
  auto raws = fill(server, 300);
  start_herd();
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, 300));
  ASSERT_TRUE(wait_state(c, channel_state::active));
  ASSERT_TRUE(server.wait_idling(1));
  append(raws, fill(server, 1, 300));
  ASSERT_TRUE(wait_stored(c, 301));
  EXPECT_TRUE(holds_exactly(c, raws));
  EXPECT_EQ(channel(c).node, "node-a");
  EXPECT_TRUE(channel(c).last_success_at);
}

// ---- before the mailbox is open ---------------------------------------------------------------------------------------------------------------

TEST_F(broken_servers, banner_and_login_hang_and_tls_never_finishes_and_others_are_served_meanwhile) {
  auto mute = imap();
  mute.socket.implicit_tls = false;   // accepts, and never says a word of TLS
  peers::scripted_server no_tls([](connection& c) { c.hang(); }, mute.socket);
  peers::scripted_server no_banner([](connection& c) { c.hang(); }, imap().socket);
  imap_fake no_login(imap()), good(imap());
  no_login.on_command([](connection&, const imap_command& cmd) { return cmd.name.starts_with("AUTH") || cmd.name == "LOGIN" ? verdict::hang : verdict::normal; });
  const auto raws = fill(good, 20);
  start_herd(quick);
  const auto a = add_channel(on(no_tls.port())), b = add_channel(on(no_banner.port())), c = add_channel(on(no_login.port())), d = add_channel(on(good.port()));
  EXPECT_TRUE(wait_stored(d, 20));
  for (const auto& [id, phase] : {std::pair{a, "TLS"}, {b, "greeting"}, {c, "authentication"}}) {
    EXPECT_TRUE(wait([&] { return channel(id).state_reason == "timed_out"; })) << phase << ": " << channel(id).state_reason;
    EXPECT_NE(channel(id).state_detail.find(phase), std::string::npos) << channel(id).state_detail;
    EXPECT_TRUE(channel(id).next_attempt_at);
  }
  EXPECT_TRUE(holds_exactly(d, raws));
  for (auto* s : {&no_tls, &no_banner, &no_login.server()}) s->release();
}

TEST_F(broken_servers, certificates_that_are_not_to_be_trusted_are_named_and_no_password_is_sent) {
  start_herd();
  for (const auto& [kind, reason] : {std::pair{peers::cert_kind::expired, "certificate_expired"}, {peers::cert_kind::wrong_host, "certificate_name"},
                                     {peers::cert_kind::self_signed, "certificate_untrusted"}}) {
    auto o = imap();
    o.socket.tls = ca_.issue(kind);
    imap_fake server(o);
    const auto c = add_channel(on(server.port()));
    EXPECT_TRUE(wait([&] { return channel(c).state_reason == reason; })) << reason << " but " << channel(c).state_reason;
    EXPECT_FALSE(server.server().saw("secret"));
    server.stop();
  }
}

TEST_F(broken_servers, wrong_password_is_told_apart_and_the_right_one_serves_at_once) {
  imap_fake server(imap());
  const auto raws = fill(server, 5);
  start_herd();
  const auto c = add_channel(on(server.port()), password("support", "wrong"));
  ASSERT_TRUE(wait([&] { return channel(c).state_reason == "login_rejected"; })) << channel(c).state_reason;
  EXPECT_EQ(channel(c).state, channel_state::needs_reauth);
  change_credential(c, password());
  ASSERT_TRUE(wait_stored(c, 5));
  EXPECT_TRUE(holds_exactly(c, raws));
  EXPECT_EQ(channel(c).observed_generation, 2);
}

TEST_F(broken_servers, a_folder_without_lasting_uids_is_named_and_nothing_is_guessed) {
  imap_fake server(imap());
  const auto raws = fill(server, 3);
  server.set_uid_validity(0);
  start_herd(quick);
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait([&] { return channel(c).state_reason == "protocol_violation"; })) << channel(c).state_reason;
  EXPECT_NE(channel(c).state_detail.find("no UIDVALIDITY"), std::string::npos) << channel(c).state_detail;
  EXPECT_EQ(channel(c).messages_stored, 0);
  server.set_uid_validity(7);
  ASSERT_TRUE(wait_stored(c, 3));
  EXPECT_TRUE(holds_exactly(c, raws));
}

// ---- while mail flows --------------------------------------------------------------------------------------------------------------------------

TEST_F(broken_servers, bye_in_mid_literal_and_the_rest_comes_with_the_next_session) {
  imap_fake server(imap());
  const auto raws = fill(server, 120);
  std::atomic<int> cuts{0};
  server.on_command([&](connection& line, const imap_command& cmd) {
    if (cmd.name != "UID FETCH" || cmd.text.find("BODY.PEEK[]") == std::string::npos || cuts.fetch_add(1) >= 4) return verdict::normal;
    const auto& raw = raws[std::stoul(cmd.text) - 1];
    line.send(fmt::format("* 1 FETCH (UID {} BODY[] {{{}}}\r\n{}\r\n* BYE shutting down\r\n", std::stoul(cmd.text), raw.size(), raw.substr(0, raw.size() / 2)));
    return verdict::close;
  });
  start_herd(quick);
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, 120));
  EXPECT_TRUE(holds_exactly(c, raws));
  EXPECT_GE(cuts, 1);
}

TEST_F(broken_servers, a_literal_of_two_gigabytes_is_announced_and_only_that_message_is_set_aside) {
  imap_fake server(imap());
  auto raws = fill(server, 20);
  server.on_fetch([&](const imap_command& cmd, const fake_message& m) -> std::optional<std::string> {
    if (m.uid != 10 || cmd.text.find("BODY.PEEK[]") == std::string::npos) return std::nullopt;
    return fmt::format("* 10 FETCH (UID 10 BODY[] {{2147483648}}\r\n");
  });
  start_herd(quick);
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, 20));
  raws.erase(raws.begin() + 9);
  auto want = std::vector<std::string>{""};
  for (const auto& r : raws) want.push_back(peers::sha256_hex(r));
  std::sort(want.begin(), want.end());
  EXPECT_TRUE(holds_digests(c, want));
  EXPECT_NE(mail(c)[9].message.problem, "") << "the reader is told why there is no body";
  ASSERT_TRUE(wait_state(c, channel_state::active));
}

TEST_F(broken_servers, a_poison_message_is_set_aside_after_three_tries_and_later_mail_goes_on) {
  imap_fake server(imap());
  auto raws = fill(server, 30);
  server.on_command([&](connection& line, const imap_command& cmd) {
    if (cmd.name != "UID FETCH" || cmd.text.find("BODY.PEEK[]") == std::string::npos) return verdict::normal;
    // Whatever range holds UID 7 is refused whole, as servers do that stumble over one message.
    const auto set = cmd.text.substr(0, cmd.text.find(' '));
    for (std::size_t at = 0; at < set.size();) {
      const auto comma = std::min(set.find(',', at), set.size());
      const auto part = set.substr(at, comma - at);
      const auto colon = part.find(':');
      const auto first = std::stoul(part.substr(0, colon)), last = colon == std::string::npos ? first : std::stoul(part.substr(colon + 1));
      if (first <= 7 && 7 <= last) {
        line.send_line(cmd.tag + " NO Internal error while reading the message");
        return verdict::handled;
      }
      at = comma + 1;
    }
    return verdict::normal;
  });
  start_herd(quick);
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, 30));
  std::vector<std::string> want = {""};
  for (std::size_t i = 0; i < raws.size(); ++i)
    if (i != 6) want.push_back(peers::sha256_hex(raws[i]));
  std::sort(want.begin(), want.end());
  EXPECT_TRUE(holds_digests(c, want));
}

TEST_F(broken_servers, uid_validity_changes_between_two_fetches_and_nothing_comes_twice) {
  imap_fake server(imap());
  auto raws = fill(server, 60);
  start_herd(quick);
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, 60));
  ASSERT_TRUE(wait_state(c, channel_state::active));
  append(raws, fill(server, 2, 60));
  server.set_uid_validity(server.uid_validity() + 1);
  server.server().drop_all();
  append(raws, fill(server, 2, 62));
  ASSERT_TRUE(wait_stored(c, 64));
  ASSERT_TRUE(wait([&] { return server.idling() == 1; }));
  append(raws, fill(server, 1, 64));
  ASSERT_TRUE(wait_stored(c, 65));
  EXPECT_TRUE(holds_exactly(c, raws));
}

TEST_F(broken_servers, another_host_with_the_same_uid_validity_and_uids_has_other_mail) {
  imap_fake old_server(imap()), new_server(imap());
  auto raws = fill(old_server, 20);
  // The new server got the first half of the old mail, in another order, and mail of its own; its UIDs begin at 1 as well.
  for (std::size_t i = 10; i-- > 0;) new_server.add(raws[i], "INBOX", corpus::received_at(i));
  std::vector<std::string> own;
  for (std::size_t i = 100; i < 115; ++i) new_server.add(own.emplace_back(corpus::message(1, i)), "INBOX", corpus::received_at(i));
  ASSERT_EQ(old_server.uid_validity(), new_server.uid_validity());
  start_herd(quick);
  const auto c = add_channel(on(old_server.port()));
  ASSERT_TRUE(wait_stored(c, 20));
  ASSERT_TRUE(wait_state(c, channel_state::active));
  change_channel(c, on(new_server.port()));
  append(raws, own);
  ASSERT_TRUE(wait_stored(c, 35));
  ASSERT_TRUE(new_server.wait_idling(1));
  new_server.add(raws.emplace_back(corpus::message(1, 200)));
  ASSERT_TRUE(wait_stored(c, 36));
  EXPECT_TRUE(holds_exactly(c, raws));
}

TEST_F(broken_servers, idle_tells_nothing_and_the_safety_poll_finds_the_mail) {
  auto o = imap();
  o.idle_silent = true;
  imap_fake server(o);
  auto raws = fill(server, 3);
  start_herd(quick);
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, 3));
  ASSERT_TRUE(server.wait_idling(1));
  append(raws, fill(server, 2, 3));
  ASSERT_TRUE(wait_stored(c, 5));
  EXPECT_TRUE(holds_exactly(c, raws));
}

TEST_F(broken_servers, exists_is_a_lie_in_either_direction) {
  for (const int lie : {-7, 1'000}) {
    imap_fake server(imap());
    const auto raws = fill(server, 10);
    server.lie_about_exists(lie);
    if (!herd_) start_herd(quick);
    const auto c = add_channel(on(server.port()));
    ASSERT_TRUE(wait_stored(c, 10)) << lie;
    EXPECT_TRUE(holds_exactly(c, raws));
    server.stop();
  }
}

TEST_F(broken_servers, sizes_are_lies_as_at_exchange) {
  imap_fake server(imap());
  const auto raws = fill(server, 10);
  for (std::uint32_t uid = 1; uid <= 10; ++uid) server.claim_size(uid, uid % 2 == 0 ? 10 : 9'000'000);
  start_herd(quick);
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, 10));
  EXPECT_TRUE(holds_exactly(c, raws));
}

TEST_F(broken_servers, a_listing_that_leaves_out_sizes_leaves_out_no_message) {
  imap_fake server(imap());
  const auto raws = fill(server, 12);
  server.on_fetch([](const imap_command& cmd, const fake_message& m) -> std::optional<std::string> {
    if (cmd.text.find("RFC822.SIZE") == std::string::npos || cmd.text.find("BODY") != std::string::npos || m.uid % 3 != 0) return std::nullopt;
    return fmt::format("* {0} FETCH (UID {0} FLAGS ())\r\n", m.uid);
  });
  start_herd(quick);
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, 12));
  EXPECT_TRUE(holds_exactly(c, raws));
}

TEST_F(broken_servers, messages_without_or_with_the_same_message_id_are_messages) {
  imap_fake server(imap());
  const std::string body = "Subject: x\r\n\r\nhello\r\n", with_id = "Message-ID: <1@x>\r\n" + body;
  const std::vector<std::string> raws = {body, body, with_id, with_id, "", "no header at all", std::string("a\0b\r\n\xff\r\n", 8)};
  for (const auto& r : raws) server.add(r);
  start_herd(quick);
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, static_cast<std::int64_t>(raws.size())));
  EXPECT_TRUE(holds_exactly(c, raws));
}

TEST_F(broken_servers, the_mailbox_is_emptied_under_us) {
  imap_fake server(imap());
  auto raws = fill(server, 400);
  std::atomic<bool> emptied{false};
  server.on_command([&](connection&, const imap_command& cmd) {
    if (cmd.name == "UID FETCH" && cmd.text.find("BODY.PEEK[]") != std::string::npos && !emptied.exchange(true))
      for (std::uint32_t uid = 101; uid <= 400; ++uid) server.expunge(uid);
    return verdict::normal;
  });
  start_herd(quick);
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, 100));
  ASSERT_TRUE(wait([&] { return server.idling() == 1; }));
  raws.resize(100);
  append(raws, fill(server, 3, 400));
  ASSERT_TRUE(wait_stored(c, 103));
  EXPECT_TRUE(holds_exactly(c, raws));
}

TEST_F(broken_servers, after_an_outage_of_thirty_days_everything_that_came_meanwhile_is_fetched) {
  imap_fake server(imap());
  auto raws = fill(server, 5);
  start_herd(quick);
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, 5));
  stop_herd();
  for (std::size_t i = 0; i < 300; ++i) {
    raws.push_back(corpus::message(2, i));
    server.add(raws.back(), "INBOX", corpus::received_at(5) + std::chrono::hours(24 * 30 * i / 300));
  }
  start_herd(quick);
  ASSERT_TRUE(wait_stored(c, 305));
  EXPECT_TRUE(holds_exactly(c, raws));
}

TEST_F(broken_servers, bytes_arrive_in_sevens_and_connections_die_again_and_again) {
  auto o = imap();
  o.send_piece = 7;
  imap_fake server(o);
  const auto raws = fill(server, 8);
  start_herd();
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_stored(c, 8));
  EXPECT_TRUE(holds_exactly(c, raws));
}

TEST_F(broken_servers, a_throttled_server_is_left_alone_until_the_time_it_named) {
  imap_fake server(imap());
  const auto raws = fill(server, 5);
  std::atomic<bool> throttle{true};
  server.on_command([&](connection& line, const imap_command& cmd) {
    if (!throttle || (cmd.name != "SELECT" && cmd.name != "EXAMINE")) return verdict::normal;
    throttle = false;
    line.send_line(cmd.tag + " NO Request is throttled. Suggested Backoff Time: 3000 milliseconds");
    return verdict::handled;
  });
  start_herd();
  const auto c = add_channel(on(server.port()));
  ASSERT_TRUE(wait_state(c, channel_state::throttled, "throttled"));
  EXPECT_TRUE(channel(c).throttled_until);
  EXPECT_TRUE(wait([&] { return server.server().active() == 0; })) << "no connection is held";
  ASSERT_TRUE(wait_stored(c, 5));
  EXPECT_TRUE(holds_exactly(c, raws));
  EXPECT_EQ(server.server().connections(), 2U);
}

// ---- POP3 -----------------------------------------------------------------------------------------------------------------------------------------

TEST_F(broken_servers, pop3_everything_is_fetched_once_and_new_mail_by_the_next_look) {
  pop3_fake server(pop3());
  std::vector<std::string> raws;
  for (std::size_t i = 0; i < 150; ++i) server.add(raws.emplace_back(corpus::message(3, i)));
  start_herd(quick);
  const auto c = add_channel(on(server.port(), protocol_kind::pop3));
  ASSERT_TRUE(wait_stored(c, 150));
  server.add(raws.emplace_back(corpus::message(3, 150)));
  ASSERT_TRUE(wait_stored(c, 151));
  EXPECT_TRUE(holds_exactly(c, raws));
  EXPECT_EQ(server.count_commands("RETR"), 151U);
  EXPECT_EQ(server.count_commands("DELE"), 0U);
}

TEST_F(broken_servers, pop3_connections_die_in_the_middle_and_deletion_follows_storing) {
  pop3_fake server(pop3());
  std::vector<std::string> raws;
  for (std::size_t i = 0; i < 60; ++i) server.add(raws.emplace_back(corpus::message(4, i)));
  std::atomic<int> retrs{0};
  server.on_command([&](connection&, const peers::pop3_command& cmd) {
    // Three times: what was sent before is lost with the connection as well when commands are still unread, so that a session may bring nothing.
    const int n = cmd.name == "RETR" ? retrs++ : 0;
    return n % 25 == 20 && n < 75 ? verdict::close : verdict::normal;
  });
  start_herd(quick);
  auto s = on(server.port(), protocol_kind::pop3);
  s.after = after_fetch::remove;
  const auto c = add_channel(s);
  ASSERT_TRUE(wait_stored(c, 60));
  ASSERT_TRUE(wait([&] { return server.messages().empty(); })) << server.messages().size() << " are left";
  EXPECT_TRUE(holds_exactly(c, raws));
}

TEST_F(broken_servers, pop3_without_uidl_is_told_apart_by_content) {
  auto o = pop3();
  o.has_uidl = false;
  o.capabilities = {"TOP", "USER"};
  pop3_fake server(o);
  std::vector<std::string> raws;
  for (std::size_t i = 0; i < 10; ++i) server.add(raws.emplace_back(corpus::simple(fmt::format("number {}", i))));
  start_herd(quick);
  const auto c = add_channel(on(server.port(), protocol_kind::pop3));
  ASSERT_TRUE(wait_stored(c, 10));
  server.add(raws.emplace_back(corpus::simple("one more")));
  ASSERT_TRUE(wait_stored(c, 11));
  EXPECT_TRUE(holds_exactly(c, raws));
}

TEST_F(broken_servers, pop3_uidl_is_refused_for_a_moment_and_nothing_comes_twice) {
  pop3_fake server(pop3());
  std::vector<std::string> raws;
  for (std::size_t i = 0; i < 30; ++i) server.add(raws.emplace_back(corpus::message(6, i)));
  start_herd(quick);
  const auto c = add_channel(on(server.port(), protocol_kind::pop3));
  ASSERT_TRUE(wait_stored(c, 30));
  std::atomic<int> refused{0};
  server.on_command([&](connection& line, const peers::pop3_command& cmd) {
    if (cmd.name != "UIDL" || refused.fetch_add(1) >= 2) return verdict::normal;
    line.send("-ERR [SYS/TEMP] the index is being rebuilt\r\n");
    return verdict::handled;
  });
  ASSERT_TRUE(wait([&] { return refused > 2; }));
  server.add(raws.emplace_back(corpus::message(6, 30)));
  ASSERT_TRUE(wait_stored(c, 31));
  EXPECT_TRUE(holds_exactly(c, raws));
  EXPECT_EQ(server.count_commands("RETR"), 31U);
}

TEST_F(broken_servers, pop3_without_uidl_and_top_is_named_and_nothing_is_guessed) {
  auto o = pop3();
  o.has_uidl = false;
  o.capabilities = {"USER"};
  pop3_fake server(o);
  std::vector<std::string> raws;
  for (std::size_t i = 0; i < 3; ++i) server.add(raws.emplace_back(corpus::message(7, i)));
  std::atomic<bool> has_top{false};
  server.on_command([&](connection& line, const peers::pop3_command& cmd) {
    if (cmd.name != "TOP" || has_top) return verdict::normal;
    line.send("-ERR unknown command\r\n");
    return verdict::handled;
  });
  start_herd(quick);
  const auto c = add_channel(on(server.port(), protocol_kind::pop3));
  ASSERT_TRUE(wait([&] { return channel(c).state_reason == "protocol_violation"; })) << channel(c).state_reason;
  EXPECT_NE(channel(c).state_detail.find("no lasting identities"), std::string::npos) << channel(c).state_detail;
  EXPECT_EQ(channel(c).messages_stored, 0);
  has_top = true;
  ASSERT_TRUE(wait_stored(c, 3));
  EXPECT_TRUE(holds_exactly(c, raws));
}

}  // namespace
}  // namespace mailherd::test
