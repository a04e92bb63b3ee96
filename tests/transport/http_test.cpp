// tests/transport/http: the HTTP client against small servers: what it sends, what it takes, what it refuses, and that it always answers.
#include <atomic>
#include <cstdlib>
#include <mutex>

#include "core/limits.hpp"
#include "fixture.hpp"

namespace mailherd::net::test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

std::string ok(const std::string& body, const std::string& headers = {}) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body;
}

/// Head and body of one request; "" at the end of the stream.
std::string read_request(client& c) {
  std::string head = c.read_until("\r\n\r\n");
  const auto at = head.find("Content-Length: ");
  if (at != std::string::npos) head += c.read_exactly(static_cast<std::size_t>(std::atoi(head.c_str() + at + 16)));
  return head;
}

class http : public net_test {
 protected:
  using outcome = result<http_reply>;

  std::future<outcome> begin(http_request request, std::chrono::milliseconds within = patience) {
    auto promise = std::make_shared<std::promise<outcome>>();
    net_->http().send(std::move(request), deadline::after(mono_clock::now(), within),
                      [promise](outcome r) { promise->set_value(std::move(r)); });
    return promise->get_future();
  }
  outcome send(http_request request, std::chrono::milliseconds within = patience) { return wait(begin(std::move(request), within)); }
  static http_request get(const std::string& url) {
    http_request r;
    r.url = url;
    return r;
  }
  static std::string url(const peer& p, const std::string& path = "/", const std::string& scheme = "http",
                         const std::string& host = "www.acme.test") {
    return scheme + "://" + host + ":" + std::to_string(p.port()) + path;
  }
  static std::string words(const outcome& o) { return o ? "status " + std::to_string(o->status) : describe(o.error()); }
};

TEST_F(http, get_and_post_carry_what_was_given) {
  std::mutex m;
  std::vector<std::string> requests;
  const peer server([&](client& c) {
    for (;;) {
      const auto r = read_request(c);
      if (r.empty()) return;
      {
        const std::lock_guard lock(m);
        requests.push_back(r);
      }
      c.write(ok("hello", "X-Odd:  Value \r\nSet-Cookie: a\r\nset-cookie: b\r\n"));
    }
  });
  EXPECT_EQ(words(send(get(url(server, "/", "http", "WWW.Acme.test.")))), "status 200") << "every spelling is resolved by our resolver";
  const auto got = send(get(url(server, "/a?b=c")));
  ASSERT_TRUE(got) << words(got);
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->body, "hello");
  EXPECT_THAT(got->headers,
              ElementsAre(Pair("content-length", "5"), Pair("x-odd", "Value"), Pair("set-cookie", "a"), Pair("set-cookie", "b")));

  http_request post = get(url(server, "/token"));
  post.method = "POST";
  post.headers = {{"Content-Type", "application/json"}, {"Authorization", "Bearer abc"}, {"X-Empty", ""}};
  post.body = secret<>(std::string("{\"a\":\0}", 7));
  ASSERT_TRUE(send(post));
  http_request put = post;
  put.method = "PUT";
  ASSERT_TRUE(send(put));
  http_request bare = get(url(server));
  bare.method = "DELETE";
  ASSERT_TRUE(send(bare));
  EXPECT_EQ(server.accepted(), 3u) << "one connection for each spelling is used again, and one for the POST";

  const std::lock_guard lock(m);
  ASSERT_EQ(requests.size(), 5u);
  requests.erase(requests.begin());
  EXPECT_THAT(requests[0], ::testing::StartsWith("GET /a?b=c HTTP/1.1\r\nHost: www.acme.test:"));
  EXPECT_THAT(requests[1], ::testing::StartsWith("POST /token HTTP/1.1\r\n"));
  for (const char* line : {"Content-Type: application/json\r\n", "Authorization: Bearer abc\r\n", "X-Empty:", "Content-Length: 7\r\n"})
    EXPECT_THAT(requests[1], HasSubstr(line));
  EXPECT_THAT(requests[1], Not(HasSubstr("Expect:")));
  EXPECT_TRUE(requests[1].ends_with(std::string("\r\n\r\n{\"a\":\0}", 11)));
  EXPECT_THAT(requests[2], ::testing::StartsWith("PUT /token HTTP/1.1\r\n"));
  EXPECT_THAT(requests[3], ::testing::StartsWith("DELETE / HTTP/1.1\r\n"));
}

TEST_F(http, a_post_whose_answer_is_lost_is_not_sent_again_unless_it_may_be) {
  std::mutex m;
  std::vector<std::string> bodies;
  const peer server([&](client& c) {
    for (bool first = true;; first = false) {
      const auto r = read_request(c);
      if (r.empty()) return;
      const std::string body = r.substr(r.find("\r\n\r\n") + 4);
      const std::lock_guard lock(m);
      bodies.push_back(body);
      if (body == "lose" || (body == "lose on a used connection" && !first)) return;
      c.write(ok("hello"));
    }
  });
  http_request post = get(url(server, "/token"));
  post.method = "POST";
  const auto say = [&](const char* body, bool repeatable) {
    post.body = secret<>(std::string(body));
    post.repeatable = repeatable;
    return send(post);
  };
  ASSERT_TRUE(say("first", false));
  EXPECT_FALSE(say("lose", false)) << "the caller must learn that it does not know what became of it";
  ASSERT_TRUE(say("second", true));
  EXPECT_TRUE(say("lose on a used connection", true)) << "sent again on a new one";
  const std::lock_guard lock(m);
  EXPECT_THAT(bodies, ElementsAre("first", "lose", "second", "lose on a used connection", "lose on a used connection"));
}

TEST_F(http, any_status_is_a_reply) {
  const peer server([](client& c) {
    read_request(c);
    c.write("HTTP/1.1 100 Continue\r\nX: interim\r\n\r\nHTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno");
    c.wait_for_end();
  });
  const auto r = send(get(url(server)));
  ASSERT_TRUE(r) << words(r);
  EXPECT_EQ(r->status, 429);
  EXPECT_EQ(r->body, "no");
  EXPECT_THAT(r->headers, ElementsAre(Pair("retry-after", "7"), Pair("content-length", "2")));
}

TEST_F(http, https_is_verified_and_its_failures_are_told_like_those_of_mail) {
  const auto answer = [&](SSL_CTX* ctx) {
    return [ctx](client& c) {
      if (!c.start_tls(ctx)) return;
      read_request(c);
      c.write(ok("secured"));
      c.wait_for_end();
    };
  };
  const auto attempt = [&](const leaf_options& leaf, const authority& by = test_authority()) {
    const auto ctx = by.server(leaf);
    const peer server(answer(ctx.get()));
    const auto r = send(get(url(server, "/", "https")));
    return r ? r->body : describe(r.error());
  };
  EXPECT_EQ(attempt({.alternatives = "DNS:www.acme.test"}), "secured");
  EXPECT_EQ(attempt({.valid_from_s = -9 * 86400, .valid_until_s = -86400 - 60}),
            "certificate_expired: certificate of www.acme.test expired 1 day ago");
  EXPECT_EQ(attempt({.alternatives = "DNS:other.test"}),
            "certificate_name: the certificate shown by www.acme.test is valid for other.test, not for www.acme.test");
  EXPECT_THAT(attempt({}, authority("Nobody")), ::testing::StartsWith("certificate_untrusted: "));
  const peer plain([](client& c) {
    c.write("SSH-2.0-x\r\n");
    c.wait_for_end();
  });
  EXPECT_THAT(words(send(get(url(plain, "/", "https")))), ::testing::StartsWith("tls_failed: "));
}

TEST_F(http, unreachable_servers) {
  EXPECT_THAT(words(send(get("http://www.acme.test:" + std::to_string(dead_port()) + "/"))), ::testing::StartsWith("connect_refused: "));
  EXPECT_EQ(words(send(get("https://nowhere.example/"))), "dns_failed: nowhere.example: there is no such host name");
  const peer silent([](client& c) { read_request(c); });
  EXPECT_THAT(words(send(get(url(silent)))), ::testing::StartsWith("connection_lost: "));
  const peer cut([](client& c) {
    read_request(c);
    c.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  });
  EXPECT_THAT(words(send(get(url(cut)))), ::testing::StartsWith("connection_lost: "));
  const peer strange([](client& c) {
    c.write("* OK this is IMAP\r\n");
    c.wait_for_end();
  });
  EXPECT_THAT(words(send(get(url(strange)), 2'000ms)), ::testing::StartsWith("protocol_violation: "));
}

TEST_F(http, nonsense_is_invalid_input_and_is_not_repeated) {
  for (const char* bad : {"", "ftp://www.acme.test/?key=hunter2", "file:///etc/passwd?hunter2", "http://", "https://a b/hunter2",
                          "gopher://x/hunter2", "http://a\r\nb/hunter2"}) {
    const auto r = send(get(bad));
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().code, failure::invalid_input) << bad;
    EXPECT_THAT(r.error().detail, Not(HasSubstr("hunter2")));
  }
  http_request r = get("http://www.acme.test/");
  r.headers = {{"Authorization", "Bearer hunter2\r\nX: y"}};
  EXPECT_EQ(send(r).error().code, failure::invalid_input);
  EXPECT_THAT(send(r).error().detail, Not(HasSubstr("hunter2")));
  r.headers.clear();
  r.method = "GET / HTTP/1.1\r\nX:";
  EXPECT_EQ(send(r).error().code, failure::invalid_input);
}

TEST_F(http, private_addresses_are_refused_however_they_are_reached) {
  const peer server([](client& c) {
    for (;;) {
      const auto r = read_request(c);
      if (r.empty()) return;
      const std::string where = r.starts_with("GET /inside ") ? "http://inside.test:1/" : "http://169.254.169.254/latest/meta-data";
      c.write("HTTP/1.1 302 Found\r\nLocation: " + where + "\r\nContent-Length: 0\r\n\r\n");
    }
  });
  make_network("127.0.0.1", [](const std::string& host) -> result<std::vector<std::string>> {
    if (host == "inside.test") return std::vector<std::string>{"10.0.0.1"};
    return std::vector<std::string>{"127.0.0.1"};
  });
  for (const char* direct : {"http://inside.test/", "http://10.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.2]/", "http://0x7f000002/",
                             "http://2130706434/", "http://169.254.169.254/"})
    EXPECT_THAT(words(send(get(direct), 5'000ms)), ::testing::StartsWith("target_refused: ")) << direct;
  for (const char* path : {"/inside", "/metadata"}) {
    http_request r = get(url(server, path));
    EXPECT_EQ(words(send(r)), "status 302");
    r.follow_redirects = true;
    EXPECT_THAT(words(send(r)), ::testing::StartsWith("target_refused: ")) << path;
  }
}

TEST_F(http, redirects_are_followed_with_care) {
  std::mutex m;
  std::vector<std::string> seen;
  const peer other([&](client& c) {
    const auto r = read_request(c);
    {
      const std::lock_guard lock(m);
      seen.push_back(r);
    }
    c.write(ok("there"));
    c.wait_for_end();
  });
  const peer server([&](client& c) {
    for (;;) {
      const auto r = read_request(c);
      if (r.empty()) return;
      const auto path = r.substr(r.find(' ') + 1, r.find(' ', r.find(' ') + 1) - r.find(' ') - 1);
      const auto go = [&](const std::string& code, const std::string& where) {
        c.write("HTTP/1.1 " + code + " Moved\r\nLocation: " + where + "\r\nContent-Length: 0\r\n\r\n");
      };
      if (path == "/here") c.write(ok("here " + r.substr(0, r.find(' '))));
      else if (path == "/303") go("303", "/here");
      else if (path == "/308") go("308", "here");
      else if (path == "/other") go("302", "http://other.test:" + std::to_string(other.port()) + "/x");
      else if (path == "/other307") go("307", "http://other.test:" + std::to_string(other.port()) + "/x");
      else go("302", "/circle");
    }
  });
  http_request r = get(url(server, "/303"));
  r.follow_redirects = true;
  r.method = "POST";
  r.body = secret<>("a=b");
  r.headers = {{"Authorization", "Bearer hunter2"}};
  EXPECT_EQ(send(r)->body, "here GET");
  r.url = url(server, "/308");
  EXPECT_EQ(send(r)->body, "here POST");
  r.url = url(server, "/other307");
  EXPECT_EQ(words(send(r)), "status 307") << "a body goes to no other host";
  r.url = url(server, "/other");
  EXPECT_EQ(send(r)->body, "there");
  const std::lock_guard lock(m);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_THAT(seen[0], ::testing::StartsWith("GET /x HTTP/1.1\r\n"));
  EXPECT_THAT(seen[0], Not(HasSubstr("hunter2"))) << "credentials go to no other host";
  r.url = url(server, "/circle");
  EXPECT_THAT(words(send(r)), ::testing::StartsWith("limit_exceeded: "));
}

TEST_F(http, large_replies_are_cut_off) {
  const peer server([](client& c) {
    const auto r = read_request(c);
    if (r.starts_with("GET /head")) {
      c.write("HTTP/1.1 200 OK\r\n");
      for (int i = 0; i < 2'000; ++i) c.write("X-Header: " + std::string(100, 'x') + "\r\n");
    } else {
      c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      for (int i = 0; i < 1'000; ++i) c.write("3e8\r\n" + std::string(1000, 'x') + "\r\n");
    }
    c.wait_for_end();
  });
  http_request r = get(url(server));
  r.max_reply_bytes = 100'000;
  EXPECT_EQ(words(send(r)), "limit_exceeded: the answer of www.acme.test exceeds 100000 bytes");
  r.cut_reply = true;
  const auto cut = send(r);
  ASSERT_TRUE(cut) << words(cut);
  EXPECT_EQ(cut->status, 200) << "what a webhook's receiver says besides its status is its own affair";
  EXPECT_EQ(cut->body.size(), 100'000U);
  EXPECT_THAT(words(send(get(url(server, "/head")))), HasSubstr("limit_exceeded: the headers of"));
}

TEST_F(http, a_hang_ends_at_the_deadline_and_names_the_phase) {
  const peer server([](client& c) { c.wait_for_end(); });
  EXPECT_EQ(words(send(get(url(server)), 150ms)), "timed_out: the deadline passed during the wait for the answer of www.acme.test");
  EXPECT_EQ(words(send(get(url(server, "/", "https")), 150ms)),
            "timed_out: the deadline passed during the TLS handshake with www.acme.test");
  const black_hole hole;
  EXPECT_EQ(words(send(get("http://www.acme.test:" + std::to_string(hole.port())), 150ms)),
            "timed_out: the deadline passed during the connection to www.acme.test");
}

TEST_F(http, requests_past_the_limit_wait_and_are_all_answered) {
  std::atomic<int> at_once{0}, most{0};
  std::promise<void> go;
  auto gate = go.get_future().share();
  const peer server([&](client& c) {
    for (;;) {
      if (read_request(c).empty()) return;
      const int now = ++at_once;
      int seen = most;
      while (now > seen && !most.compare_exchange_weak(seen, now)) {
      }
      if (now == static_cast<int>(limits::http_active)) go.set_value();
      gate.wait();
      --at_once;
      c.write(ok("x"));
    }
  });
  std::vector<std::future<outcome>> all;
  for (std::size_t i = 0; i < limits::http_active + 40; ++i) all.push_back(begin(get(url(server))));
  for (auto& f : all) EXPECT_EQ(words(wait(std::move(f))), "status 200");
  EXPECT_EQ(most, static_cast<int>(limits::http_active));
}

TEST_F(http, the_end_of_the_network_answers_everything_once) {
  std::promise<void> arrived;
  std::atomic<bool> first{true};
  const peer server([&](client& c) {
    read_request(c);
    if (first.exchange(false)) arrived.set_value();
    c.wait_for_end();
  });
  std::vector<std::future<outcome>> all;
  for (std::size_t i = 0; i < limits::http_active + 20; ++i) all.push_back(begin(get(url(server))));   // active and waiting ones
  wait(arrived.get_future());
  net_.reset();
  for (auto& f : all) EXPECT_THAT(words(wait(std::move(f))), ::testing::StartsWith("cancelled: "));
}

TEST_F(http, the_environments_proxy_is_ignored) {
  ::setenv("http_proxy", ("http://127.0.0.1:" + std::to_string(dead_port())).c_str(), 1);
  const peer server([](client& c) {
    read_request(c);
    c.write(ok("direct"));
    c.wait_for_end();
  });
  const auto r = send(get(url(server)));
  ::unsetenv("http_proxy");
  ASSERT_TRUE(r) << words(r);
  EXPECT_EQ(r->body, "direct");
}

}  // namespace
}  // namespace mailherd::net::test
