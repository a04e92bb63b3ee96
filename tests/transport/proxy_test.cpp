// tests/transport/proxy: HTTP CONNECT and SOCKS5: the way through, credentials, refusals, and that a proxy is no way around the policy.
#include "core/base64.hpp"
#include "fixture.hpp"

namespace mailherd::net::test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

/// These peers are proxy and mail server in one: behind the proxy's yes they go on as the server.
class proxied : public net_test {
 protected:
  void SetUp() override {
    net_test::SetUp();
    ctx_ = test_authority().server();
  }
  target via(const peer& proxy, proxy_kind kind, bool tls = true, const std::string& host = "mail.acme.test") {
    target t = to_port(993, host, tls);
    t.proxy = proxy_settings{kind, "127.0.0.1", proxy.port(), "user", secret<>("pa ss")};
    return t;
  }
  void serve(client& c, bool tls) {
    if (tls && !c.start_tls(ctx_.get())) return;
    c.write("* OK through\r\n");
    c.wait_for_end();
  }
  void expect_through(const target& to) {
    const auto d = dial(to);
    ASSERT_TRUE(d->outcome) << describe(d->outcome.error());
    EXPECT_EQ(*read(**d->outcome), "* OK through\r\n");
    if (to.implicit_tls) EXPECT_THAT(d->steps, ElementsAre("dns", "tcp", "proxy", "tls"));
    else EXPECT_THAT(d->steps, ElementsAre("dns", "tcp", "proxy"));
    EXPECT_EQ(d->info.peer, "127.0.0.1:" + std::to_string(to.proxy->port)) << "the proxy's";
    drop(d);
  }
  error refused(const target& to) {
    const auto d = dial(to);
    if (d->outcome) return {failure::internal, "it connected", {}};
    EXPECT_THAT(d->outcome.error().detail, Not(HasSubstr("pa ss")));
    return d->outcome.error();
  }
  ctx_ptr ctx_;
};

TEST_F(proxied, connect_with_credentials) {
  for (const bool tls : {true, false}) {
    std::promise<std::string> head;
    const peer proxy([&](client& c) {
      head.set_value(c.read_until("\r\n\r\n"));
      // Answer and, without TLS, the server's greeting in one packet: the greeting must not be lost.
      if (!tls) {
        c.write("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n* OK through\r\n");
        c.wait_for_end();
        return;
      }
      c.write("HTTP/1.0 200 OK\r\n\r\n");
      serve(c, tls);
    });
    expect_through(via(proxy, proxy_kind::http_connect, tls));
    EXPECT_EQ(wait(head.get_future()), "CONNECT mail.acme.test:993 HTTP/1.1\r\nHost: mail.acme.test:993\r\nProxy-Authorization: Basic " +
                                           base64_encode("user:pa ss") + "\r\n\r\n");
  }
}

TEST_F(proxied, socks5_with_credentials_by_name) {
  for (const bool tls : {true, false}) {
    std::promise<std::string> heard;
    const peer proxy([&](client& c) {
      std::string all = c.read_exactly(4);
      c.write(std::string("\x05\x02", 2));
      all += c.read_exactly(2 + 4 + 1 + 5);
      c.write(std::string("\x01\x00", 2));
      all += c.read_exactly(5 + 14 + 2);
      heard.set_value(all);
      c.write(std::string("\x05\x00\x00\x03\x04test\x00\x01", 11));
      serve(c, tls);
    });
    expect_through(via(proxy, proxy_kind::socks5, tls));
    EXPECT_EQ(wait(heard.get_future()), std::string("\x05\x02\x00\x02", 4) + "\x01\x04user\x05pa ss" +
                                            std::string("\x05\x01\x00\x03\x0email.acme.test\x03\xe1", 21).replace(5, 14, "mail.acme.test"));
  }
}

TEST_F(proxied, socks5_without_credentials_to_an_address) {
  std::promise<std::string> heard;
  const peer proxy([&](client& c) {
    std::string all = c.read_exactly(3);
    c.write(std::string("\x05\x00", 2));
    all += c.read_exactly(10);
    heard.set_value(all);
    c.write(std::string("\x05\x00\x00\x01\x7f\x00\x00\x01\x03\xe1", 10));
    serve(c, true);
  });
  target to = via(proxy, proxy_kind::socks5, true, "127.0.0.1");
  to.proxy->username.clear();
  expect_through(to);
  EXPECT_EQ(wait(heard.get_future()), std::string("\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x03\xe1", 13));
}

TEST_F(proxied, the_certificate_is_the_servers_not_the_proxys) {
  ctx_ = test_authority().server({.alternatives = "DNS:proxy.acme.test"});
  const peer proxy([&](client& c) {
    c.read_until("\r\n\r\n");
    c.write("HTTP/1.1 200 OK\r\n\r\n");
    c.start_tls(ctx_.get());
  });
  EXPECT_EQ(refused(via(proxy, proxy_kind::http_connect)).code, failure::certificate_name);
}

TEST_F(proxied, refusals_are_told) {
  const auto answering = [](std::string words) {
    return [words](client& c) {
      c.read_until("\r\n\r\n");
      c.write(words);
    };
  };
  const std::pair<const char*, const char*> table[] = {
      {"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "does not accept the user name and password"},
      {"HTTP/1.1 403 Forbidden\r\nX: y\r\n\r\n", "it answers \"403 Forbidden\""},
      {"HTTP/1.1 502 \x1b[31mBad\r\n\r\n", "it answers \"502"},
      {"SSH-2.0-OpenSSH_9\r\n\r\n", "does not answer like an HTTP proxy"},
      {"HTTP/1.1 200 OK\r\n", "it closed the connection"},
      {"", "it closed the connection"},
  };
  for (const auto& [words, told] : table) {
    const peer proxy(answering(words));
    const auto e = refused(via(proxy, proxy_kind::http_connect));
    EXPECT_EQ(e.code, failure::proxy_failed);
    EXPECT_THAT(e.detail, HasSubstr(told));
  }
  const peer endless([](client& c) {
    c.write("HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 2'000; ++i) c.write("X: y\r\n");
    c.wait_for_end();
  });
  EXPECT_THAT(refused(via(endless, proxy_kind::http_connect)).detail, HasSubstr("no end"));
}

TEST_F(proxied, refusals_of_socks5_are_told) {
  const std::pair<std::string, const char*> table[] = {
      {std::string("\x05\xff", 2), "another kind of authentication"},
      {std::string("\x05\x02\x01\x01", 4), "does not accept the user name and password"},
      {std::string("\x05\x02\x01\x00\x05\x05", 6), "connection refused"},
      {std::string("\x05\x02\x01\x00\x05\x02", 6), "its rules forbid it"},
      {std::string("\x05\x02\x01\x00\x05\x77", 6), "an unknown failure"},
      {std::string("\x05\x02\x01\x00\x05\x00\x00\x09\x01", 9), "does not answer like a SOCKS5 proxy"},
      {"HTTP/1.1 400 Bad Request\r\n", "does not answer like a SOCKS5 proxy"},
  };
  for (const auto& [words, told] : table) {
    const peer proxy([&](client& c) {
      c.write(words);
      c.wait_for_end();
    });
    const auto e = refused(via(proxy, proxy_kind::socks5));
    EXPECT_EQ(e.code, failure::proxy_failed);
    EXPECT_THAT(e.detail, HasSubstr(told));
  }
}

TEST_F(proxied, a_proxy_that_is_not_there_or_hangs) {
  peer hanging([](client& c) { c.wait_for_end(); });
  target to = via(hanging, proxy_kind::socks5);
  const auto d = dial(to, 150ms);
  EXPECT_EQ(describe(d->outcome.error()), "timed_out: the deadline passed during the answer of the proxy 127.0.0.1");
  to.proxy->port = dead_port();
  const auto e = refused(to);
  EXPECT_EQ(e.code, failure::proxy_failed);
  EXPECT_THAT(e.detail, HasSubstr("Connection refused"));
}

TEST_F(proxied, a_proxy_is_no_way_around_the_policy) {
  const peer proxy([&](client& c) { c.wait_for_end(); });
  const auto lookup = [](const std::string& host) -> result<std::vector<std::string>> {
    if (host == "inside.test") return std::vector<std::string>{"10.0.0.1"};
    if (host == "proxy.test") return std::vector<std::string>{"127.0.0.1"};
    return fail(failure::dns_failed, host);
  };
  make_network("127.0.0.1", lookup);
  EXPECT_EQ(refused(via(proxy, proxy_kind::socks5, true, "inside.test")).code, failure::target_refused);
  EXPECT_EQ(refused(via(proxy, proxy_kind::socks5, true, "169.254.169.254")).code, failure::target_refused);
  EXPECT_EQ(proxy.accepted(), 0u);
  // A name that only the proxy can resolve is its business.
  EXPECT_EQ(dial(via(proxy, proxy_kind::socks5, true, "only.there.test"), 150ms)->outcome.error().code, failure::timed_out);
  EXPECT_EQ(proxy.accepted(), 1u);
  // The proxy itself is a target, too.
  make_network("", lookup);
  target to = via(proxy, proxy_kind::http_connect, true, "only.there.test");
  to.proxy->host = "proxy.test";
  const auto e = refused(to);
  EXPECT_EQ(e.code, failure::target_refused);
  EXPECT_THAT(e.detail, HasSubstr("proxy.test resolves to 127.0.0.1"));
}

}  // namespace
}  // namespace mailherd::net::test
