// tests/peers_test/dovecot_life: every way in, and every way in which the server comes and goes.
#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "core/base64.hpp"
#include "support.hpp"
#include "tests/peers/dovecot_server.hpp"
#include "tests/peers/files.hpp"

namespace mailherd::peers::test {
namespace {

namespace fs = std::filesystem;

const mail_user alice{"alice@acme.test", "secret-a"}, bob{"bob@acme.test", "secret-b"};

dovecot_options two_users() {
  dovecot_options out;
  out.users = {alice, bob};
  return out;
}

std::string plain_response(const mail_user& user) {
  return base64_encode(std::string(1, '\0') + user.address + std::string(1, '\0') + user.password);
}

/// Ids of all live processes whose command line or environment of files names this directory.
std::vector<std::string> processes_of(const fs::path& root) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    if (entry.path().filename().string().find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code error;
    const fs::path at = fs::read_symlink(entry.path() / "cwd", error);
    std::string command;
    try {
      command = read_file(entry.path() / "cmdline");
    } catch (const peer_error&) {
    }
    if (command.find(root.string()) != std::string::npos || at.string().find(root.string()) != std::string::npos)
      out.push_back(entry.path().filename().string() + " " + command);
  }
  return out;
}

void every_way_in(dovecot_server& server) {
  {
    auto client = plain(server.imap_port());
    EXPECT_THAT(sign_in(client, alice.address, alice.password), HasSubstr("a1 OK"));
    EXPECT_THAT(client.imap("a2", "SELECT INBOX"), HasSubstr("* 0 EXISTS"));
  }
  {
    auto client = plain(server.imap_port());
    EXPECT_THAT(client.imap("s", "STARTTLS"), HasSubstr("s OK"));
    client.start_tls();
    EXPECT_THAT(authenticate(client, "PLAIN", plain_response(alice)), StartsWith("a1 OK"));
  }
  {
    auto client = secured(server.imaps_port(), server.ca_file());
    client.write("a1 AUTHENTICATE LOGIN\r\n");
    EXPECT_EQ(client.read_line(), "+ " + base64_encode("Username:"));
    client.write(base64_encode(bob.address) + "\r\n");
    client.read_line();
    client.write(base64_encode(bob.password) + "\r\n");
    EXPECT_THAT(client.read_line(), HasSubstr("a1 OK"));
  }
  {
    auto client = plain(server.pop3_port());
    EXPECT_THAT(client.pop3("USER " + alice.address), StartsWith("+OK"));
    EXPECT_THAT(client.pop3("PASS " + alice.password), StartsWith("+OK"));
    EXPECT_THAT(client.pop3("STAT"), StartsWith("+OK 0 0"));
  }
  {
    auto client = plain(server.pop3_port());
    EXPECT_THAT(client.pop3("STLS"), StartsWith("+OK"));
    client.start_tls();
    EXPECT_THAT(client.pop3("AUTH PLAIN " + plain_response(alice)), StartsWith("+OK"));
  }
  {
    auto client = secured(server.pop3s_port(), server.ca_file());
    EXPECT_THAT(client.pop3("USER " + bob.address), StartsWith("+OK"));
    EXPECT_THAT(client.pop3("PASS wrong"), StartsWith("-ERR"));
    EXPECT_THAT(client.pop3("USER " + bob.address), StartsWith("+OK"));
    EXPECT_THAT(client.pop3("PASS " + bob.password), StartsWith("+OK"));
  }
  auto client = plain(server.lmtp_port());
  client.write("LHLO localhost\r\n");
  EXPECT_THAT(client.read_line(), StartsWith("250"));
}

TEST(dovecot, takes_every_protocol_and_password_mechanism) {
  dovecot_server server(two_users());
  every_way_in(server);
}

TEST(dovecot, works_for_a_user_without_any_rights) {
  if (std::getenv("MAILHERD_TEST_UNPRIVILEGED") != nullptr || ::geteuid() != 0) {
    dovecot_server server(two_users());
    every_way_in(server);
    server.deliver_lmtp(alice.address, "Subject: to nobody\r\n\r\nbody\r\n");
    EXPECT_EQ(server.messages(alice.address).size(), 1U);
    server.restart();
    auto client = plain(server.imap_port());
    EXPECT_THAT(sign_in(client, alice.address, alice.password), HasSubstr("a1 OK"));
    return;
  }
  // The build folder may be closed to others: nobody gets a copy of this program.
  const temp_dir dir;
  fs::copy_file("/proc/self/exe", dir / "program");
  const auto [status, output] = run({.argv = {(dir / "program").string(), "--gtest_filter=dovecot.works_for_a_user_without_any_rights"},
                                     .env = {{"MAILHERD_TEST_UNPRIVILEGED", "1"}, {"LSAN_OPTIONS", ""}, {"TMPDIR", "/tmp"}},
                                     .cwd = "/",
                                     .user = "nobody"},
                                    60s);
  EXPECT_EQ(status, 0) << output;
  EXPECT_THAT(output, HasSubstr("[  PASSED  ] 1 test."));
}

TEST(dovecot, offers_further_mechanisms_when_asked) {
  dovecot_options options = two_users();
  options.mechanisms = "plain scram-sha-256 apop";
  dovecot_server server(options);
  auto client = plain(server.imap_port());
  EXPECT_THAT(client.imap("c", "CAPABILITY"), HasSubstr("AUTH=SCRAM-SHA-256"));
  EXPECT_THAT(sign_in(client, alice.address, alice.password), HasSubstr("a1 OK"));
  tls_client pop({.port = server.pop3_port(), .tls = client_tls::none});
  EXPECT_THAT(pop.read_line(), HasSubstr("<"));  // APOP's timestamp
}

TEST(dovecot, refuses_wrong_passwords_with_a_code_and_takes_a_changed_one) {
  dovecot_server server(two_users());
  auto client = plain(server.imap_port());
  EXPECT_THAT(sign_in(client, alice.address, "wrong"), HasSubstr("a1 NO [AUTHENTICATIONFAILED]"));
  server.set_password(alice.address, "changed-a-while-ago");
  EXPECT_THAT(sign_in(client, alice.address, alice.password), HasSubstr("a1 NO"));
  EXPECT_THAT(sign_in(client, alice.address, "changed-a-while-ago"), HasSubstr("a1 OK"));
  server.remove_user(alice.address);
  server.add_user({"carol@acme.test", "secret-c"});
  auto other = plain(server.imap_port());
  EXPECT_THAT(sign_in(other, alice.address, "changed-a-while-ago"), HasSubstr("a1 NO"));
  EXPECT_THAT(sign_in(other, "carol@acme.test", "secret-c"), HasSubstr("a1 OK"));
}

TEST(dovecot, checks_that_its_certificate_is_the_one_of_its_authority) {
  dovecot_server server(two_users());
  const temp_dir dir;
  const test_ca stranger(dir.path());
  EXPECT_NO_THROW(secured(server.imaps_port(), server.ca_file()));
  EXPECT_THROW(secured(server.imaps_port(), stranger.ca_file()), peer_error);
}

TEST(dovecot, advertises_what_it_is_told_and_hides_passwords_before_tls) {
  dovecot_options options = two_users();
  options.capability = exchange_capability;
  options.plaintext_login = false;
  dovecot_server server(options);
  tls_client client({.address = server.address(), .port = server.imap_port(), .tls = client_tls::none, .ca_file = server.ca_file()});
  client.read_line();
  EXPECT_THAT(client.imap("c", "CAPABILITY"), HasSubstr("LOGINDISABLED"));
  EXPECT_THAT(sign_in(client, alice.address, alice.password), HasSubstr("PRIVACYREQUIRED"));
  EXPECT_THAT(client.imap("s", "STARTTLS"), HasSubstr("s OK"));
  client.start_tls();
  const std::string answer = sign_in(client, alice.address, alice.password);
  EXPECT_THAT(answer, HasSubstr("MOVE ID UNSELECT CHILDREN IDLE"));
  EXPECT_THAT(answer, Not(HasSubstr("CONDSTORE")));
}

TEST(dovecot, refuses_the_second_session_of_a_user_when_told) {
  dovecot_options options = two_users();
  options.max_userip_connections = 1;
  dovecot_server server(options);
  auto first = plain(server.imap_port()), second = plain(server.imap_port()), third = plain(server.imap_port());
  EXPECT_THAT(sign_in(first, alice.address, alice.password), HasSubstr("a1 OK"));
  EXPECT_THAT(sign_in(second, alice.address, alice.password), HasSubstr("NO [LIMIT]"));
  EXPECT_THAT(sign_in(third, bob.address, bob.password), HasSubstr("a1 OK"));
}

// ---- life -----------------------------------------------------------------------------------------------------------------------

TEST(dovecot, says_goodbye_when_stopped_and_leaves_nothing_behind) {
  std::optional<dovecot_server> server(std::in_place, two_users());
  const fs::path root = server->root();
  const auto port = server->imap_port();
  auto client = plain(port);
  sign_in(client, alice.address, alice.password);
  client.imap("a2", "SELECT INBOX");
  EXPECT_FALSE(processes_of(root).empty());
  EXPECT_GT(server->usage().processes, 4U);
  server->stop();
  EXPECT_THAT(client.read_line(), StartsWith("* BYE"));
  EXPECT_FALSE(port_open(port));
  EXPECT_EQ(server->usage().processes, 0U);
  server->start();
  EXPECT_EQ(server->imap_port(), port);
  server.reset();
  EXPECT_TRUE(wait_until([&] { return processes_of(root).empty(); }, 10s)) << ::testing::PrintToString(processes_of(root));
  EXPECT_FALSE(fs::exists(root));
}

TEST(dovecot, killed_drops_its_sessions_and_starts_again_with_the_same_mail) {
  dovecot_server server(two_users());
  for (int i = 0; i < 20; ++i) server.deliver(alice.address, "INBOX", "Subject: " + std::to_string(i) + "\r\n\r\nbody\r\n");
  const auto digests = server.digests(alice.address);
  for (int round = 0; round < 5; ++round) {
    auto client = secured(server.imaps_port(), server.ca_file());
    ASSERT_THAT(sign_in(client, alice.address, alice.password), HasSubstr("a1 OK"));
    ASSERT_THAT(client.imap("a2", "SELECT INBOX"), HasSubstr("* 20 EXISTS"));
    server.kill();
    EXPECT_TRUE(client.at_end());
    server.start();
  }
  EXPECT_EQ(server.digests(alice.address), digests);
}

TEST(dovecot, restarts_and_reloads_while_clients_come_and_go) {
  dovecot_server server(two_users());
  for (int round = 0; round < 5; ++round) {
    auto client = plain(server.imap_port());
    ASSERT_THAT(sign_in(client, alice.address, alice.password), HasSubstr("a1 OK"));
    server.restart();
  }
  auto client = plain(server.imap_port());
  sign_in(client, alice.address, alice.password);
  server.reload();
  EXPECT_THAT(client.imap("n", "NOOP"), HasSubstr("n OK"));
}

TEST(dovecot, frozen_keeps_connections_and_says_nothing) {
  dovecot_server server(two_users());
  tls_client client({.port = server.imap_port(), .tls = client_tls::none, .timeout = 300ms});
  client.read_line();
  sign_in(client, alice.address, alice.password);
  server.freeze();
  EXPECT_TRUE(port_open(server.imap_port()));  // the kernel answers
  EXPECT_THROW(client.imap("n", "NOOP"), peer_error);
  server.thaw();
  EXPECT_THAT(client.read_line(), HasSubstr("n OK"));
}

TEST(dovecot, kick_ends_the_sessions_of_one_user_only) {
  dovecot_server server(two_users());
  auto hers = plain(server.imap_port()), his = plain(server.imap_port());
  sign_in(hers, alice.address, alice.password);
  hers.imap("a2", "SELECT INBOX");
  sign_in(his, bob.address, bob.password);
  EXPECT_EQ(server.kick(alice.address), 1U);
  EXPECT_THAT(hers.read_line(), StartsWith("* BYE"));
  EXPECT_TRUE(hers.at_end());
  EXPECT_THAT(his.imap("n", "NOOP"), HasSubstr("n OK"));
  EXPECT_EQ(server.kick("carol@acme.test"), 0U);
}

TEST(dovecot, that_cannot_start_says_why_in_time) {
  // Found by the master, and by the authentication process that it starts.
  for (const std::string line : {"no_such_setting = 1", "passdb {\n  driver = no_such_driver\n}"}) {
    dovecot_options options = two_users();
    options.extra = line;
    const auto start = std::chrono::steady_clock::now();
    try {
      dovecot_server server(options);
      FAIL() << "started";
    } catch (const peer_error& error) {
      EXPECT_THAT(std::string(error.what()), ::testing::ContainsRegex("no_such_setting|no_such_driver"));
    }
    EXPECT_LT(seconds_since(start), 10);
  }
}

// ---- many users, one address ----------------------------------------------------------------------------------------------------

TEST(dovecot, penalises_an_address_only_when_told) {
  const auto login_after_failure = [](bool penalty) {
    dovecot_options options = two_users();
    options.auth_penalty = penalty;
    dovecot_server server(options);
    auto wrong = plain(server.imap_port()), right = plain(server.imap_port());
    EXPECT_THAT(sign_in(wrong, alice.address, "wrong"), HasSubstr("a1 NO"));
    const auto start = std::chrono::steady_clock::now();
    EXPECT_THAT(sign_in(right, bob.address, bob.password), HasSubstr("a1 OK"));
    return seconds_since(start);
  };
  EXPECT_GE(login_after_failure(true), 2);  // one tenant's wrong password slows another's login
  EXPECT_LT(login_after_failure(false), 2);
}

TEST(dovecot, holds_hundreds_of_idle_sessions_and_tells_each_its_news) {
  constexpr unsigned users = 150;
  dovecot_options options;
  options.max_sessions = 1000;  // shared login processes
  options.hibernate = true;
  options.hibernate_after = 1s;
  for (unsigned i = 0; i < users; ++i) options.users.push_back({"user" + std::to_string(i) + "@acme.test", "pw"});
  dovecot_server server(options);
  dovecot_server::allow_idle_sessions(users);
  std::vector<tls_client> clients;
  for (const auto& user : options.users) {
    clients.push_back(plain(server.imap_port()));
    ASSERT_THAT(sign_in(clients.back(), user.address, user.password), HasSubstr("a1 OK"));
    clients.back().imap("a2", "SELECT INBOX");
    clients.back().write("i IDLE\r\n");
    ASSERT_THAT(clients.back().read_line(), StartsWith("+"));
  }
  EXPECT_TRUE(wait_until([&] { return server.session_processes() == 0; }, 20s)) << "sessions do not leave their processes";
  // The first ones are told at once even where the kernel's number of inotify instances is low and cannot be raised.
  for (unsigned i = 0; i < 40; ++i) server.deliver(options.users[i].address, "INBOX", "Subject: news\r\n\r\nx\r\n");
  for (unsigned i = 0; i < 40; ++i) {
    std::string line = clients[i].read_line();
    while (line == "* OK Still here") line = clients[i].read_line();  // to all sessions of an address at one moment, every two minutes
    EXPECT_EQ(line, "* 1 EXISTS") << i;
  }
}

}  // namespace
}  // namespace mailherd::peers::test
