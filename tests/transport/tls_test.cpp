// tests/transport/tls: who is believed to be the server, and what a person is told otherwise.
#include "fixture.hpp"

namespace mailherd::net::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class tls : public net_test {
 protected:
  /// Greets after the handshake and waits for the client's end.
  static peer greeting(SSL_CTX* ctx) {
    return peer([ctx](client& c) {
      if (!c.start_tls(ctx)) return;
      c.write("* OK hello\r\n");
      c.wait_for_end();
    });
  }

  error refused(const leaf_options& leaf, const std::string& host = "mail.acme.test") {
    const auto ctx = test_authority().server(leaf);
    const auto server = greeting(ctx.get());
    const auto d = dial(to_port(server.port(), host));
    return d->outcome ? error{failure::internal, "it was believed", {}} : d->outcome.error();
  }
};

TEST_F(tls, a_good_certificate_is_believed_and_described) {
  const auto ctx = test_authority().server();
  const auto server = greeting(ctx.get());
  const auto d = dial(to_port(server.port()));
  ASSERT_TRUE(d->outcome) << describe(d->outcome.error());
  EXPECT_EQ(*read(**d->outcome), "* OK hello\r\n");
  EXPECT_THAT(d->steps, ElementsAre("dns", "tcp", "tls"));
  EXPECT_EQ(d->info.peer, "127.0.0.1:" + std::to_string(server.port()));
  EXPECT_EQ(d->info.tls_version, "TLSv1.3");
  EXPECT_EQ(d->info.certificate_subject, "mail.acme.test");
  EXPECT_FALSE(d->info.tls_cipher.empty());
  ASSERT_TRUE(d->info.certificate_expires_at);
  const auto left = *d->info.certificate_expires_at - loop().wall_now();
  EXPECT_NEAR(std::chrono::duration<double>(left).count(), 90 * 86400, 3600);
  EXPECT_TRUE((*d->outcome)->encrypted());
  drop(d);
}

TEST_F(tls, an_address_is_believed_by_its_address) {
  const auto ctx = test_authority().server();
  const auto server = greeting(ctx.get());
  const auto d = dial(to_port(server.port(), "127.0.0.1"));
  EXPECT_TRUE(d->outcome) << describe(d->outcome.error());
  drop(d);
}

TEST_F(tls, tells_since_when_a_certificate_is_expired) {
  const auto e = refused({.valid_from_s = -20 * 86400, .valid_until_s = -3 * 86400 - 60});
  EXPECT_EQ(e.code, failure::certificate_expired);
  EXPECT_EQ(e.detail, "certificate of mail.acme.test expired 3 days ago");
}

TEST_F(tls, tells_from_when_a_certificate_is_valid) {
  const auto e = refused({.valid_from_s = 2 * 3600 + 60, .valid_until_s = 9 * 86400});
  EXPECT_EQ(e.code, failure::certificate_expired);
  EXPECT_THAT(e.detail, HasSubstr("not valid before 2 hours from now"));
}

TEST_F(tls, tells_the_names_a_certificate_is_valid_for) {
  const auto e = refused({.common_name = "other", .alternatives = "DNS:imap.other.test,DNS:*.other.test"});
  EXPECT_EQ(e.code, failure::certificate_name);
  EXPECT_EQ(e.detail, "the certificate shown by mail.acme.test is valid for imap.other.test, *.other.test, not for mail.acme.test");
  EXPECT_EQ(refused({.alternatives = "DNS:mail.acme.test"}, "127.0.0.1").code, failure::certificate_name);
}

TEST_F(tls, tells_the_issuer_that_nobody_trusts) {
  const authority unknown("Nobody's Authority");
  const auto ctx = unknown.server();
  const auto server = greeting(ctx.get());
  const auto d = dial(to_port(server.port()));
  ASSERT_FALSE(d->outcome);
  EXPECT_EQ(d->outcome.error().code, failure::certificate_untrusted);
  EXPECT_THAT(d->outcome.error().detail, HasSubstr("issued by \"Nobody's Authority\""));
}

TEST_F(tls, old_tls_is_refused) {
  const auto ctx = test_authority().server();
  SSL_CTX_set_cipher_list(ctx.get(), "DEFAULT@SECLEVEL=0");
  SSL_CTX_set_min_proto_version(ctx.get(), TLS1_1_VERSION);
  SSL_CTX_set_max_proto_version(ctx.get(), TLS1_1_VERSION);
  const auto server = greeting(ctx.get());
  const auto d = dial(to_port(server.port()));
  ASSERT_FALSE(d->outcome);
  EXPECT_EQ(d->outcome.error().code, failure::tls_failed);
  EXPECT_EQ(d->outcome.error().detail, "mail.acme.test offers no TLS 1.2 or newer");
}

TEST_F(tls, a_plain_server_is_called_a_wrong_port) {
  const peer server([](client& c) {
    c.write("* OK this is IMAP without TLS\r\n");
    c.wait_for_end();
  });
  const auto d = dial(to_port(server.port()));
  ASSERT_FALSE(d->outcome);
  EXPECT_EQ(d->outcome.error().code, failure::tls_failed);
  EXPECT_THAT(d->outcome.error().detail, HasSubstr("does not speak TLS on this port"));
}

TEST_F(tls, a_server_that_hangs_up_in_the_handshake) {
  const peer server([](client& c) { c.read_some(); });
  const auto d = dial(to_port(server.port()));
  ASSERT_FALSE(d->outcome);
  EXPECT_EQ(d->outcome.error().code, failure::tls_failed);
}

TEST_F(tls, a_handshake_that_hangs_ends_at_the_deadline) {
  const peer server([](client& c) { c.wait_for_end(); });
  const auto d = dial(to_port(server.port()), std::chrono::milliseconds(200));
  ASSERT_FALSE(d->outcome);
  EXPECT_EQ(d->outcome.error().code, failure::timed_out);
  EXPECT_EQ(d->outcome.error().detail, "the deadline passed during the TLS handshake with mail.acme.test");
}

class resumption : public tls, public ::testing::WithParamInterface<int> {
 protected:
  /// A server of two names that says hello until the client ends.
  void SetUp() override {
    tls::SetUp();
    ctx_ = test_authority().server({.alternatives = "DNS:mail.acme.test,DNS:other.acme.test"});
    SSL_CTX_set_max_proto_version(ctx_.get(), GetParam());
  }
  void expect_hello(const std::shared_ptr<dialed>& d) {
    ASSERT_TRUE(d->outcome) << describe(d->outcome.error());
    EXPECT_EQ(*read(**d->outcome), "* OK hello\r\n");   // TLS 1.3 sends its tickets before the first data
    EXPECT_EQ(d->info.certificate_subject, "mail.acme.test");
    drop(d);
  }
  bool resumed(const target& to) {
    const auto d = dial(to);
    expect_hello(d);
    return d->info.tls_resumed;
  }

  ctx_ptr ctx_;
};

TEST_P(resumption, sessions_of_earlier_connections_are_used_and_only_for_their_host_and_port) {
  const auto server = greeting(ctx_.get()), neighbour = greeting(ctx_.get());
  EXPECT_FALSE(resumed(to_port(server.port())));
  EXPECT_TRUE(resumed(to_port(server.port())));
  EXPECT_TRUE(resumed(to_port(server.port())));
  EXPECT_FALSE(resumed(to_port(server.port(), "other.acme.test")));
  EXPECT_FALSE(resumed(to_port(neighbour.port())));
  EXPECT_TRUE(resumed(to_port(server.port())));
}

TEST_P(resumption, as_many_connections_at_once_as_there_were_before) {
  const auto server = greeting(ctx_.get());
  for (const bool again : {false, true, true}) {
    std::vector<std::shared_ptr<dialed>> at_once;
    for (int i = 0; i < 3; ++i) at_once.push_back(dial(to_port(server.port())));
    // In TLS 1.2 the session of the first one comes with the handshake, and serves the second already.
    EXPECT_EQ(at_once.front()->info.tls_resumed, again);
    EXPECT_EQ(at_once.back()->info.tls_resumed, again || GetParam() == TLS1_2_VERSION);
    for (const auto& d : at_once) expect_hello(d);
  }
}

TEST_F(tls, a_session_that_the_server_cannot_bear_is_forgotten) {
  const auto ctx = test_authority().server();
  SSL_CTX_set_max_proto_version(ctx.get(), TLS1_2_VERSION);
  std::atomic<int> count{0};
  const peer server([&](client& c) {
    if (++count == 2) {
      c.read_some();   // hangs up on the ClientHello that offers the session
      return;
    }
    if (!c.start_tls(ctx.get())) return;
    c.write("* OK hello\r\n");
    c.wait_for_end();
  });
  for (const bool works : {true, false, true}) {
    const auto d = dial(to_port(server.port()));
    EXPECT_EQ(d->outcome.has_value(), works);
    EXPECT_FALSE(d->info.tls_resumed);
    if (works) drop(d);
  }
}

INSTANTIATE_TEST_SUITE_P(versions, resumption, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

}  // namespace
}  // namespace mailherd::net::test
