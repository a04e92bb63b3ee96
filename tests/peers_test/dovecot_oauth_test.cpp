// tests/peers_test/dovecot_oauth: tokens of the real identity provider open mailboxes of the real mail server, and only those they should.
#include "core/base64.hpp"
#include "support.hpp"
#include "tests/peers/dovecot_server.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/identity_provider.hpp"

namespace mailherd::peers::test {
namespace {

constexpr const char *alice = "alice@acme.test", *bob = "bob@acme.test", *desk = "desk@acme.test";

std::string oauthbearer(const std::string& user, const std::string& token) {
  return base64_encode("n,a=" + user + ",\x01host=localhost\x01port=993\x01" + "auth=Bearer " + token + "\x01\x01");
}

/// Both servers once for all; opaque or JWT.
class oauth_test : public ::testing::Test {
 protected:
  struct pair {
    explicit pair(bool opaque)
        : provider([&] {
            idp_options options;
            options.opaque_access_tokens = opaque;
            options.clients.push_back({.id = "daemon", .secret = "daemon-secret", .app_domain = "acme.test"});
            return options;
          }()),
          server([&] {
            dovecot_options options;
            options.users = {{alice, "pw"}};
            options.key_dir = provider.key_dir();
            options.introspection_url = provider.introspection_url();
            return options;
          }()) {}
    identity_provider provider;
    dovecot_server server;
  };
  static std::string imap(pair& both, const std::string& mechanism, const std::string& user, const std::string& token,
                          std::string* challenge = nullptr) {
    auto client = secured(both.server.imaps_port(), both.server.ca_file());
    return authenticate(client, mechanism, mechanism == "XOAUTH2" ? xoauth2_initial_response(user, token) : oauthbearer(user, token),
                        challenge);
  }
  static void opens_what_it_should(pair& both) {
    const std::string hers = both.provider.access_token(alice);
    for (const char* mechanism : {"XOAUTH2", "OAUTHBEARER"}) {
      EXPECT_THAT(imap(both, mechanism, alice, hers), StartsWith("a1 OK")) << mechanism;
      EXPECT_THAT(imap(both, mechanism, bob, hers), StartsWith("a1 NO")) << mechanism;
      EXPECT_THAT(imap(both, mechanism, alice, "forged"), StartsWith("a1 NO")) << mechanism;
    }
    // A shared mailbox: the person's own sign-in, another mailbox.
    both.provider.grant(bob, "mailherd", desk);
    const std::string his = both.provider.access_token(bob);
    EXPECT_THAT(imap(both, "XOAUTH2", desk, his), StartsWith("a1 OK"));
    EXPECT_THAT(imap(both, "XOAUTH2", bob, his), StartsWith("a1 OK"));
    EXPECT_THAT(imap(both, "XOAUTH2", desk, hers), StartsWith("a1 NO"));
    // An application's own permission: every mailbox of its domain.
    const std::string app = both.provider.client_credentials("daemon", "daemon-secret").access_token;
    EXPECT_THAT(imap(both, "XOAUTH2", desk, app), StartsWith("a1 OK"));
    EXPECT_THAT(imap(both, "XOAUTH2", "someone@elsewhere.test", app), StartsWith("a1 NO"));
  }
};

class jwt : public oauth_test {
 protected:
  static void SetUpTestSuite() { both = new pair(false); }
  static void TearDownTestSuite() {
    delete both;
    both = nullptr;
  }
  void TearDown() override { both->provider.set_access_token_ttl(3600s); }
  static pair* both;
};
jwt::pair* jwt::both = nullptr;

TEST_F(jwt, opens_the_mailboxes_it_should_and_no_other) { opens_what_it_should(*both); }

TEST_F(jwt, is_taken_by_pop3_in_one_line_and_in_two_steps) {
  const std::string token = both->provider.access_token(alice);
  auto one = secured(both->server.pop3s_port(), both->server.ca_file());
  EXPECT_THAT(one.pop3("AUTH XOAUTH2 " + xoauth2_initial_response(alice, token)), StartsWith("+OK"));
  auto two = secured(both->server.pop3s_port(), both->server.ca_file());
  EXPECT_THAT(two.pop3("AUTH XOAUTH2"), StartsWith("+ "));
  EXPECT_THAT(two.pop3(xoauth2_initial_response(alice, token)), StartsWith("+OK"));
}

TEST_F(jwt, refused_is_explained_in_a_challenge_before_the_no) {
  std::string challenge;
  EXPECT_THAT(imap(*both, "XOAUTH2", alice, "forged", &challenge), StartsWith("a1 NO"));
  EXPECT_THAT(base64_decode(challenge).value_or(""), HasSubstr("\"status\":\"401\""));
  EXPECT_THAT(imap(*both, "OAUTHBEARER", alice, "forged", &challenge), StartsWith("a1 NO"));
  EXPECT_THAT(base64_decode(challenge).value_or(""), HasSubstr("\"status\":\"invalid_token\""));
}

TEST_F(jwt, expired_is_refused_and_a_session_that_began_in_time_goes_on) {
  both->provider.set_access_token_ttl(2s);
  const std::string token = both->provider.access_token(alice);
  auto client = secured(both->server.imaps_port(), both->server.ca_file());
  EXPECT_THAT(authenticate(client, "XOAUTH2", xoauth2_initial_response(alice, token)), StartsWith("a1 OK"));
  EXPECT_TRUE(wait_until([&] { return imap(*both, "XOAUTH2", alice, token).compare(0, 5, "a1 NO") == 0; }, 10s))
      << "an expired token is still taken";
  EXPECT_THAT(client.imap("n", "NOOP"), HasSubstr("n OK"));
}

TEST_F(jwt, of_a_rotated_key_is_taken_and_of_a_forgotten_key_is_not) {
  const std::string old_token = both->provider.access_token(alice);
  both->provider.rotate_key();
  EXPECT_THAT(imap(*both, "XOAUTH2", alice, both->provider.access_token(alice)), StartsWith("a1 OK"));
  EXPECT_THAT(imap(*both, "XOAUTH2", alice, old_token), StartsWith("a1 OK"));
}

TEST_F(jwt, passwords_go_on_beside_tokens) {
  auto client = secured(both->server.imaps_port(), both->server.ca_file());
  EXPECT_THAT(sign_in(client, alice, "pw"), HasSubstr("a1 OK"));
}

TEST(opaque, token_opens_the_mailboxes_it_should_until_it_is_revoked) {
  struct access : oauth_test {
    using oauth_test::imap;
    using oauth_test::opens_what_it_should;
    using oauth_test::pair;
    void TestBody() override {}
  };
  access::pair both(true);
  const std::string token = both.provider.access_token(alice);
  EXPECT_EQ(token.find('.'), std::string::npos) << "a JWT";
  access::opens_what_it_should(both);
  both.provider.revoke(alice);
  EXPECT_THAT(access::imap(both, "XOAUTH2", alice, token), StartsWith("a1 NO"));
  // The identity provider is down for the mail server: no token can be checked, and it says so otherwise than for a bad one.
  const std::string fresh = both.provider.access_token(alice);
  both.provider.add_fault({.match = "/_introspect", .status = 500, .times = -1});
  EXPECT_THAT(access::imap(both, "XOAUTH2", alice, fresh), StartsWith("a1 NO"));
  both.provider.clear_faults();
  EXPECT_THAT(access::imap(both, "XOAUTH2", alice, fresh), StartsWith("a1 OK"));
}

}  // namespace
}  // namespace mailherd::peers::test
