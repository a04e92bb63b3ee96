// tests/transport/stream: what a connection promises: one granted read at a time, writes in order, STARTTLS, an orderly end.
#include "core/limits.hpp"
#include "fixture.hpp"

namespace mailherd::net::test {
namespace {

using ::testing::HasSubstr;

std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>((i * 2654435761u) >> 24);
  return out;
}

/// Every promise holds plain and encrypted.
class stream : public net_test, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    net_test::SetUp();
    ctx_ = test_authority().server();
  }
  /// `script` after the handshake, if any.
  std::shared_ptr<dialed> connect(peer::script script) {
    server_ = std::make_unique<peer>([this, script](client& c) {
      if (GetParam() && !c.start_tls(ctx_.get())) return;
      script(c);
    });
    auto d = dial(to_port(server_->port(), "mail.acme.test", GetParam()));
    EXPECT_TRUE(d->outcome) << describe(d->outcome.error());
    return d;
  }
  /// Ends the server as well: its script uses the test's variables.
  void drop(const std::shared_ptr<dialed>& d) {
    net_test::drop(d);
    server_.reset();
  }
  void TearDown() override {
    net_test::TearDown();
    server_.reset();
  }

  ctx_ptr ctx_;
  std::unique_ptr<peer> server_;
};

TEST_P(stream, a_grant_is_one_read_of_at_most_its_limit) {
  const auto d = connect([](client& c) {
    c.write("abcdefgh");
    c.wait_for_end();
  });
  auto& c = **d->outcome;
  std::string got;
  while (got.size() < 8) {
    const auto part = read(c, 3);
    ASSERT_TRUE(part);
    EXPECT_LE(part->size(), 3u);
    EXPECT_GE(part->size(), 1u);
    got += *part;
  }
  EXPECT_EQ(got, "abcdefgh");
  drop(d);
}

TEST_P(stream, what_is_not_granted_stays_with_the_server) {
  // More than the kernel's buffers of both sides take (net.ipv4.tcp_rmem and tcp_wmem end at 6 and 4 MB).
  const std::string data = pattern(48 << 20);
  std::atomic<bool> all_sent{false};
  const auto d = connect([&](client& c) {
    c.write(data);
    all_sent = true;
    c.wait_for_end();
  });
  auto& c = **d->outcome;
  std::size_t got = 0;
  for (int i = 0; i < 8; ++i) {
    const auto part = read(c, 4096);
    ASSERT_TRUE(part);
    got += part->size();
  }
  EXPECT_FALSE(all_sent) << "nobody may have read ahead";
  // Now everything, every grant from within the handler of the last.
  struct sink {
    connection& c;
    const std::string& data;
    std::size_t got;
    bool same = true;
    std::promise<void> done;
    void next() {
      c.read(65536, [this](result<std::string_view> bytes) {
        if (!bytes) return done.set_value();
        same = same && data.compare(got, bytes->size(), *bytes) == 0;
        got += bytes->size();
        if (got == data.size()) return done.set_value();
        next();
      });
    }
  } all{c, data, got, true, {}};
  loop().post([&] { all.next(); });
  wait(all.done.get_future());
  EXPECT_EQ(all.got, data.size());
  EXPECT_TRUE(all.same);
  drop(d);
}

TEST_P(stream, a_big_write_arrives_whole_and_is_reported_when_it_is_gone) {
  const std::string data = pattern(3 << 20);
  std::promise<std::string> heard;
  const auto d = connect([&](client& c) {
    heard.set_value(c.read_exactly(data.size() + 4));
    c.wait_for_end();
  });
  auto& c = **d->outcome;
  std::string order;
  std::promise<void> last;
  loop().post([&] {
    c.write(data, [&](result<void> r) { order += r ? "1" : "x"; });
    c.write("tail", [&](result<void> r) {
      order += r ? "2" : "x";
      last.set_value();
    });
    order += "0";   // no handler runs from within a call
  });
  wait(last.get_future());
  EXPECT_EQ(order, "012");
  EXPECT_TRUE(wait(heard.get_future()) == data + "tail");
  drop(d);
}

TEST_P(stream, a_peer_that_takes_nothing_ends_the_connection_at_the_limit) {
  const auto d = connect([](client& c) { c.wait_for_end(); });
  auto& c = **d->outcome;
  std::promise<result<void>> first, second;
  loop().post([&] {
    c.write(std::string(limits::write_queue_bytes, 'x'), [&](result<void> r) { first.set_value(std::move(r)); });
    c.write("y", [&](result<void> r) { second.set_value(std::move(r)); });
  });
  EXPECT_EQ(wait(first.get_future()).error().code, failure::limit_exceeded);
  EXPECT_EQ(wait(second.get_future()).error().code, failure::limit_exceeded);
  EXPECT_FALSE(read(c));
  drop(d);
}

TEST_P(stream, reads_and_writes_run_side_by_side) {
  const auto d = connect([](client& c) {
    for (;;) {
      const auto line = c.read_until("\n");
      if (line.empty()) return;
      c.write("re: " + line);
    }
  });
  auto& c = **d->outcome;
  for (int i = 0; i < 50; ++i) {
    // The read is outstanding while the write goes out, as in IDLE.
    auto answer = std::make_shared<std::promise<result<std::string>>>();
    loop().post([&c, answer, i] {
      c.read(100, [answer](result<std::string_view> b) {
        if (b) answer->set_value(std::string(*b));
        else answer->set_value(fail(b.error()));
      });
      c.write("line " + std::to_string(i) + "\n");
    });
    EXPECT_EQ(*wait(answer->get_future()), "re: line " + std::to_string(i) + "\n");
  }
  drop(d);
}

TEST_P(stream, the_end_by_the_server_is_told_after_its_last_words) {
  const auto d = connect([](client& c) { c.write("* BYE\r\n"); });
  auto& c = **d->outcome;
  EXPECT_EQ(*read(c), "* BYE\r\n");
  for (int i = 0; i < 2; ++i) {
    const auto end = read(c);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code, failure::connection_lost);
    EXPECT_THAT(end.error().detail, HasSubstr("closed by the server"));
  }
  EXPECT_FALSE(write(c, "too late"));
  drop(d);
}

TEST_P(stream, a_reset_is_a_lost_connection) {
  std::promise<void> go;
  auto gate = go.get_future().share();
  const auto d = connect([gate](client& c) {
    gate.wait();
    c.reset();
  });
  go.set_value();
  const auto end = read(**d->outcome);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, failure::connection_lost);
  drop(d);
}

TEST_P(stream, close_sends_what_is_queued_then_says_goodbye) {
  const std::string data = pattern(2 << 20);
  std::promise<std::pair<std::string, bool>> heard;
  const auto d = connect([&](client& c) {
    auto all = c.read_exactly(data.size() + 12);
    const bool orderly = c.wait_for_end();
    heard.set_value({std::move(all), orderly});
  });
  bool ran = false;
  on(loop(), [&] {
    auto& c = **d->outcome;
    c.read(100, [&](result<std::string_view>) { ran = true; });
    c.write(data, [&](result<void>) { ran = true; });
    c.write("a1 LOGOUT\r\n.");
    c.close();
    d->outcome = fail(failure::cancelled);   // destroyed at once: the flush goes on
  });
  const auto [all, orderly] = wait(heard.get_future());
  EXPECT_EQ(all.size(), data.size() + 12);
  EXPECT_TRUE(all == data + "a1 LOGOUT\r\n.");
  EXPECT_TRUE(orderly);
  EXPECT_FALSE(ran);
  server_.reset();
}

TEST_P(stream, close_does_not_wait_for_a_peer_that_takes_nothing) {
  std::promise<void> ended;
  std::promise<void> go;
  auto gate = go.get_future().share();
  const auto d = connect([&, gate](client& c) {
    gate.wait();
    c.wait_for_end();
    ended.set_value();
  });
  on(loop(), [&] {
    (*d->outcome)->write(std::string(limits::write_queue_bytes - 1, 'x'));
    (*d->outcome)->close();
    d->outcome = fail(failure::cancelled);
  });
  // The whole network may go in the meantime: nothing leaks and nothing hangs (the sanitizers watch).
  net_.reset();
  go.set_value();
  wait(ended.get_future());
  server_.reset();
}

TEST_P(stream, destroying_it_in_its_own_handlers_is_safe) {
  for (const bool in_read : {true, false}) {
    const auto d = connect([](client& c) {
      c.write("hello");
      c.wait_for_end();
    });
    auto token = std::make_shared<int>(0);
    std::promise<void> done;
    loop().post([&, token] {
      auto& c = **d->outcome;
      const auto destroy = [&, token] {
        d->outcome = fail(failure::cancelled);
        done.set_value();
      };
      if (in_read) c.read(100, [destroy](result<std::string_view>) { destroy(); });
      else c.write("x", [destroy](result<void>) { destroy(); });
      c.write("y", [token](result<void>) {});
    });
    wait(done.get_future());
    on(loop(), [] {});
    EXPECT_EQ(token.use_count(), 1);
  }
}

TEST_P(stream, it_may_outlive_the_network) {
  const auto d = connect([](client& c) { c.wait_for_end(); });
  auto token = std::make_shared<int>(0);
  on(loop(), [&] { (*d->outcome)->read(100, [token](result<std::string_view>) { ADD_FAILURE(); }); });
  net_.reset();
  EXPECT_EQ(token.use_count(), 1);
  (*d->outcome)->close();
  d->outcome = fail(failure::cancelled);
}

INSTANTIATE_TEST_SUITE_P(security, stream, ::testing::Values(false, true),
                         [](const auto& i) { return i.param ? std::string("tls") : std::string("plain"); });

class start_tls : public net_test {};

TEST_F(start_tls, begins_in_mid_session_and_verifies) {
  const auto ctx = test_authority().server();
  const peer server([&](client& c) {
    c.write("* OK\r\n");
    if (c.read_until("\n") != "a STARTTLS\r\n") return;
    c.write("a OK\r\n");
    if (!c.start_tls(ctx.get())) return;
    c.write("secret: " + c.read_until("\n"));
    c.wait_for_end();
  });
  const auto d = dial(to_port(server.port(), "mail.acme.test", false));
  ASSERT_TRUE(d->outcome);
  auto& c = **d->outcome;
  EXPECT_FALSE(c.encrypted());
  EXPECT_EQ(*read(c), "* OK\r\n");
  ASSERT_TRUE(write(c, "a STARTTLS\r\n"));
  EXPECT_EQ(*read(c), "a OK\r\n");
  const auto secured = start_tls::net_test::start_tls(c);
  ASSERT_TRUE(secured) << describe(secured.error());
  EXPECT_TRUE(c.encrypted());
  EXPECT_EQ(c.info().tls_version, "TLSv1.3");
  ASSERT_TRUE(write(c, "pw\n"));
  EXPECT_EQ(*read(c), "secret: pw\n");
  drop(d);
}

TEST_F(start_tls, a_wrong_name_or_a_hanging_handshake_is_an_error) {
  const auto ctx = test_authority().server({.alternatives = "DNS:other.test"});
  const peer wrong([&](client& c) { c.start_tls(ctx.get()); });
  auto d = dial(to_port(wrong.port(), "mail.acme.test", false));
  EXPECT_EQ(net_test::start_tls(**d->outcome).error().code, failure::certificate_name);
  EXPECT_FALSE(write(**d->outcome, "password"));
  drop(d);
  const peer hanging([](client& c) { c.wait_for_end(); });
  d = dial(to_port(hanging.port(), "mail.acme.test", false));
  EXPECT_EQ(net_test::start_tls(**d->outcome, std::chrono::milliseconds(100)).error().code, failure::timed_out);
  drop(d);
}

TEST_F(start_tls, is_refused_while_a_read_is_outstanding) {
  const peer server([](client& c) { c.wait_for_end(); });
  const auto d = dial(to_port(server.port(), "mail.acme.test", false));
  on(loop(), [&] { (*d->outcome)->read(10, [](result<std::string_view>) {}); });
  EXPECT_EQ(net_test::start_tls(**d->outcome).error().code, failure::internal);
  drop(d);
}

}  // namespace
}  // namespace mailherd::net::test
