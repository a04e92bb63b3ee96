// The HTTP server alone, with a handler of the test's own: what clients may do wrong, and that it is survived.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>

#include "api/http_server.hpp"
#include "api/problem.hpp"
#include "core/limits.hpp"
#include "tests/api/http_client.hpp"

namespace mailherd::api {
namespace {

using test::http_connection;

class http_server_test : public ::testing::Test {
 protected:
  void serve(request_handler handler, http_limits limits = {50, 4096, 10'000, seconds(20), seconds(20), seconds(20)}) {
    server_ = http_server::create();
    const auto port = server_->listen("127.0.0.1:0", limits, std::move(handler));
    ASSERT_TRUE(port) << describe(port.error());
    port_ = *port;
    server_->run();
  }
  void serve_echo(http_limits limits = {50, 4096, 10'000, seconds(20), seconds(20), seconds(20)}) {
    serve([](const request& r,
             const respond& answer) { (*answer)(json_answer(200, std::string(to_string(r.method)) + " " + r.target + " " + r.body)); },
          limits);
  }
  void TearDown() override {
    if (server_) server_->stop(seconds(5));
  }

  std::shared_ptr<http_server> server_;
  std::uint16_t port_ = 0;
};

TEST_F(http_server_test, answers_many_requests_on_one_connection_also_pipelined) {
  serve_echo();
  http_connection c(port_);
  EXPECT_EQ(c.send("GET", "/a?b=c").body, "GET /a?b=c ");
  EXPECT_EQ(c.send("POST", "/x", "hello").body, "POST /x hello");
  c.write("GET /1 HTTP/1.1\r\nHost: t\r\n\r\nGET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_EQ(c.read_reply().body, "GET /1 ");
  EXPECT_EQ(c.read_reply().body, "GET /2 ");
}

TEST_F(http_server_test, head_has_the_length_and_no_body) {
  serve_echo();
  http_connection c(port_);
  const auto r = c.send("HEAD", "/abc");
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.header("content-length"), "10");
  EXPECT_EQ(c.send("GET", "/next").body, "GET /next ");
}

TEST_F(http_server_test, malformed_requests_are_400_and_close) {
  serve_echo();
  for (const std::string bad :
       {"nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    http_connection c(port_);
    c.write(bad);
    EXPECT_EQ(c.read_reply().status, 400) << bad;
    EXPECT_TRUE(c.closed_by_peer()) << bad;
  }
  EXPECT_EQ(http_connection(port_).send("GET", "/").status, 200);
}

TEST_F(http_server_test, an_oversize_header_is_431_and_an_oversize_body_413) {
  serve_echo();
  EXPECT_EQ(http_connection(port_).send("GET", "/", {}, {{"X-Long", std::string(20'000, 'x')}}).status, 431);
  const auto announced = http_connection(port_).send("POST", "/", std::string(10'001, 'x'));
  EXPECT_EQ(announced.status, 413);
  EXPECT_EQ(announced.header("content-type"), "application/problem+json");
  http_connection chunked(port_);
  chunked.write("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3000\r\n" + std::string(0x3000, 'x') + "\r\n0\r\n\r\n");
  EXPECT_EQ(chunked.read_reply().status, 413);
  EXPECT_EQ(http_connection(port_).send("POST", "/", std::string(10'000, 'x')).status, 200);
}

TEST_F(http_server_test, a_refused_body_is_still_read_so_that_the_refusal_arrives) {
  serve_echo();
  EXPECT_EQ(http_connection(port_).send("POST", "/", std::string(4 * limits::mib, 'x')).status, 413);
}

TEST_F(http_server_test, expect_100_continue_is_answered_before_the_body) {
  serve_echo();
  http_connection c(port_);
  c.write("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(c.read_reply(true).status, 100);
  c.write("abc");
  EXPECT_EQ(c.read_reply().body, "POST / abc");
}

TEST_F(http_server_test, slow_headers_and_slow_bodies_are_cut_off) {
  serve_echo({50, 4096, 10'000, seconds(1), seconds(1), seconds(1)});
  http_connection head(port_), body(port_), idle(port_);
  head.write("GET / HT");
  body.write("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nabc");
  EXPECT_TRUE(head.closed_by_peer());
  EXPECT_TRUE(body.closed_by_peer());
  EXPECT_TRUE(idle.closed_by_peer());
}

TEST_F(http_server_test, connections_beyond_the_limit_are_told_503) {
  serve_echo({2, 4096, 10'000, seconds(20), seconds(20), seconds(20)});
  http_connection a(port_), b(port_);
  EXPECT_EQ(a.send("GET", "/").status, 200);
  EXPECT_EQ(b.send("GET", "/").status, 200);
  http_connection c(port_);
  const auto refused = c.read_reply();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.header("retry-after"), "1");
  EXPECT_EQ(a.send("GET", "/").status, 200);
}

TEST_F(http_server_test, header_values_cannot_carry_line_breaks) {
  serve([](const request&, const respond& answer) {
    response r;
    r.headers = {{"X-Good", "1"}, {"X-Bad", "1\r\nSet-Cookie: evil"}};
    (*answer)(std::move(r));
  });
  const auto r = http_connection(port_).send("GET", "/");
  EXPECT_EQ(r.header("x-good"), "1");
  EXPECT_EQ(r.header("set-cookie"), "");
  EXPECT_EQ(r.header("x-bad"), "");
}

/// Gives `count` pieces of one MiB and remembers how many were asked for.
struct pieces final : body_source {
  pieces(int count, std::shared_ptr<std::atomic<int>> asked, bool fails) : left(count), asked(std::move(asked)), fails(fails) {}
  void next(std::function<void(result<std::string>)> on_piece) override {
    ++*asked;
    if (left-- > 0) return on_piece(std::string(limits::mib, 'x'));
    if (fails) return on_piece(fail(failure::store_unavailable));
    on_piece(std::string());
  }
  int left;
  std::shared_ptr<std::atomic<int>> asked;
  bool fails;
};

TEST_F(http_server_test, a_stream_is_pulled_only_as_fast_as_the_client_reads) {
  const auto asked = std::make_shared<std::atomic<int>>(0);
  serve([&](const request&, const respond& answer) {
    response r;
    r.stream = std::make_shared<pieces>(64, asked, false);
    r.stream_bytes = 64 * limits::mib;
    (*answer)(std::move(r));
  });
  http_connection slow(port_);
  slow.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
  ASSERT_TRUE(slow.read_some());
  // Another client is served meanwhile: by then the slow one's stream has gone as far as the kernel's buffers let it.
  http_connection fast(port_);
  fast.write("HEAD / HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_EQ(fast.read_reply(true).status, 200);
  EXPECT_LT(asked->load(), 40);
  const auto all = slow.read_reply();
  EXPECT_EQ(all.body.size(), 64 * limits::mib);
  EXPECT_EQ(slow.send("HEAD", "/").status, 200) << "the connection lives on behind a stream";
}

TEST_F(http_server_test, a_stream_that_fails_cuts_the_connection) {
  const auto asked = std::make_shared<std::atomic<int>>(0);
  serve([&](const request&, const respond& answer) {
    response r;
    r.stream = std::make_shared<pieces>(2, asked, true);
    r.stream_bytes = 3 * limits::mib;
    (*answer)(std::move(r));
  });
  http_connection c(port_);
  EXPECT_EQ(c.send("GET", "/").body.size(), 2 * limits::mib);
  EXPECT_TRUE(c.closed_by_peer());
}

TEST_F(http_server_test, a_request_that_nobody_answers_gets_503) {
  serve([](const request&, const respond&) {});
  EXPECT_EQ(http_connection(port_).send("GET", "/").status, 503);
}

TEST_F(http_server_test, stopping_waits_for_requests_under_way_and_closes_idle_connections) {
  std::promise<respond> held;
  serve([&](const request& r, const respond& answer) {
    if (r.target == "/slow")
      held.set_value(answer);
    else
      (*answer)(no_content());
  });
  http_connection idle(port_), busy(port_);
  EXPECT_EQ(idle.send("GET", "/").status, 204);
  busy.write("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
  auto answer = held.get_future().get();
  auto stopping = std::async(std::launch::async, [&] { server_->stop(seconds(20)); });
  EXPECT_TRUE(idle.closed_by_peer());
  (*answer)(json_answer(200, "late"));
  answer.reset();
  const auto r = busy.read_reply();
  EXPECT_EQ(r.body, "late");
  EXPECT_EQ(r.header("connection"), "close");
  busy.closed_by_peer();
  stopping.get();
  EXPECT_FALSE(http_connection(port_).connected());
}

TEST_F(http_server_test, an_answer_after_the_end_is_dropped) {
  std::promise<respond> held;
  serve([&](const request&, const respond& answer) { held.set_value(answer); });
  http_connection c(port_);
  c.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
  auto answer = held.get_future().get();
  server_->stop(milliseconds(0));
  server_.reset();
  (*answer)(no_content());
}

TEST_F(http_server_test, a_port_in_use_is_a_clear_error) {
  serve_echo();
  const auto address = "127.0.0.1:" + std::to_string(port_);
  const auto second = http_server::create()->listen(address, {1, 1, 1, seconds(1), seconds(1), seconds(1)}, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, failure::conflict);
  EXPECT_NE(second.error().detail.find(address), std::string::npos);
  for (const char* bad : {"127.0.0.1", "127.0.0.1:99999", "127.0.0.1:", "no.such.host.invalid:80"}) {
    const auto r = http_server::create()->listen(bad, {1, 1, 1, seconds(1), seconds(1), seconds(1)}, {});
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().code, failure::invalid_input) << bad;
  }
}

}  // namespace
}  // namespace mailherd::api
