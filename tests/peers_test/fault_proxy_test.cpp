// tests/peers_test/fault_proxy: each fault does what it says, in its direction only, to connections that exist and to new ones.
#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.hpp"
#include "tests/peers/fault_proxy.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/scripted_server.hpp"

namespace mailherd::peers::test {
namespace {

/// Before it: a server that sends every line back.
class fault_proxy_test : public ::testing::Test {
 protected:
  tls_client client(std::chrono::milliseconds timeout = 20s) {
    return tls_client({.port = proxy.port(), .tls = client_tls::none, .timeout = timeout});
  }
  static std::string say(tls_client& to, const std::string& line) {
    to.write(line + "\r\n");
    return to.read_line();
  }
  static proxy_faults to_client(const direction_faults& faults) { return {.to_client = faults}; }
  static proxy_faults to_server(const direction_faults& faults) { return {.to_server = faults}; }

  scripted_server server{[](connection& c) {
    for (;;) c.send_line(c.read_line());
  }};
  fault_proxy proxy{server.port()};
};

TEST_F(fault_proxy_test, passes_everything_when_healthy) {
  auto one = client();
  const std::string large(1'000'000, 'x');
  EXPECT_EQ(say(one, large), large);
  EXPECT_EQ(proxy.accepted(), 1U);
  EXPECT_EQ(proxy.open(), 1U);
  EXPECT_EQ(proxy.bytes_to_server(), large.size() + 2);
  EXPECT_EQ(proxy.bytes_to_client(), large.size() + 2);
  one.close();
  EXPECT_TRUE(wait_until([&] { return proxy.open() == 0 && server.active() == 0; }, 10s)) << "the client's FIN must reach the server";
}

TEST_F(fault_proxy_test, passes_the_servers_end) {
  scripted_server brief([](connection& c) { c.send_line("bye"); });
  proxy.set_target(brief.port());
  auto one = client();
  EXPECT_EQ(one.read_line(), "bye");
  EXPECT_TRUE(one.at_end());
}

TEST_F(fault_proxy_test, delays_each_byte) {
  auto one = client();
  say(one, "warm");
  proxy.set(to_client({.delay = 200ms, .jitter = 50ms}));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(say(one, "late"), "late");
  EXPECT_GE(seconds_since(start), 0.2);
  proxy.heal();
  EXPECT_EQ(say(one, "soon"), "soon");
}

TEST_F(fault_proxy_test, forwards_in_segments_of_seven_bytes) {
  proxy.set(to_client({.chunk = 7}));
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(proxy.port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const std::string line = std::string(698, 'y') + "\r\n";
  ASSERT_EQ(::send(fd, line.data(), line.size(), 0), static_cast<ssize_t>(line.size()));
  std::string got(line.size(), 0);
  ASSERT_EQ(::recv(fd, got.data(), got.size(), MSG_WAITALL), static_cast<ssize_t>(got.size()));
  EXPECT_EQ(got, line);
  tcp_info info{};
  socklen_t size = sizeof info;
  ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  EXPECT_GE(info.tcpi_data_segs_in, 10U) << "100 pieces were sent (the kernel joins those that wait); without the fault it is one or two";
  ::close(fd);
}

TEST_F(fault_proxy_test, throttles) {
  proxy.set(to_client({.bytes_per_second = 20'000}));
  auto one = client();
  const auto start = std::chrono::steady_clock::now();
  say(one, std::string(8'000, 'z'));
  EXPECT_GE(seconds_since(start), 0.25);
}

TEST_F(fault_proxy_test, cuts_after_so_many_bytes_by_reset_by_fin_or_by_silence) {
  for (const cut_kind how : {cut_kind::rst, cut_kind::fin}) {
    proxy.set(to_client({.cut_after = 10, .cut = how}));
    auto one = client();
    one.write(std::string(100, 'a') + "\r\n");
    if (how == cut_kind::fin) {
      EXPECT_EQ(one.read_exact(10), "aaaaaaaaaa");
    }
    EXPECT_THROW(one.read_line(), peer_error);
    EXPECT_TRUE(wait_until([&] { return proxy.open() == 0; }, 10s));
  }
  proxy.set(to_client({.cut_after = 10, .cut = cut_kind::stall}));
  auto one = client(200ms);
  one.write(std::string(100, 'a') + "\r\n");
  EXPECT_EQ(one.read_exact(10), "aaaaaaaaaa");
  EXPECT_THROW(one.read_exact(1), peer_error);
  EXPECT_EQ(proxy.open(), 1U);
  proxy.heal();
  EXPECT_EQ(one.read_line(), std::string(90, 'a'));
}

TEST_F(fault_proxy_test, cuts_what_the_client_sends) {
  proxy.set(to_server({.cut_after = 4, .cut = cut_kind::rst}));
  auto one = client();
  one.write("12345678\r\n");
  EXPECT_TRUE(one.at_end());
  EXPECT_EQ(proxy.bytes_to_server(), 4U);
  EXPECT_FALSE(server.saw("1234"));
}

TEST_F(fault_proxy_test, flips_one_bit_at_the_place_named) {
  proxy.set(to_client({.flip_at = 2}));
  auto one = client();
  EXPECT_EQ(say(one, "aaaa"), "aa`a");
  EXPECT_EQ(say(one, "aaaa"), "aaaa");
}

TEST_F(fault_proxy_test, a_flipped_bit_breaks_tls) {
  const temp_dir dir;
  test_ca ca(dir.path());
  script_options options;
  options.tls = ca.issue();
  options.implicit_tls = true;
  scripted_server secret([](connection& c) { c.send_line("hello"); }, options);
  proxy.set_target(secret.port());
  proxy.set(to_client({.flip_at = 60}));
  EXPECT_THROW(tls_client({.port = proxy.port(), .timeout = 5s}), peer_error);
  proxy.heal();
  tls_client good({.port = proxy.port(), .ca_file = ca.ca_file()});
  EXPECT_EQ(good.read_line(), "hello");
}

TEST_F(fault_proxy_test, is_a_black_hole_that_lets_go_again) {
  auto one = client(200ms);
  say(one, "before");
  proxy.set({.black_hole = true});
  one.write("lost?\r\n");
  EXPECT_THROW(one.read_line(), peer_error);
  EXPECT_FALSE(server.saw("lost?"));
  proxy.heal();
  EXPECT_TRUE(server.wait_saw("lost?"));
  EXPECT_EQ(one.read_line(), "lost?");
}

TEST_F(fault_proxy_test, hangs_at_accept_refuses_and_resets_new_connections) {
  proxy.set({.hang_at_accept = true});
  auto waiting = client(100ms);
  waiting.write("hello\r\n");
  EXPECT_THROW(waiting.read_line(), peer_error);
  EXPECT_EQ(proxy.accepted(), 0U);
  proxy.heal();
  EXPECT_TRUE(server.wait_saw("hello"));
  proxy.set({.refuse = true});
  EXPECT_FALSE(port_open(proxy.port()));
  EXPECT_EQ(proxy.open(), 1U) << "connections that exist stay";
  proxy.set({.reset_new = true});
  EXPECT_THROW(say(*std::make_unique<tls_client>(client()), "x"), peer_error);
  proxy.heal();
  auto healed = client();
  EXPECT_EQ(say(healed, "y"), "y");
}

TEST_F(fault_proxy_test, drops_everything_at_once) {
  std::vector<tls_client> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(client());
  for (auto& one : clients) say(one, "here");
  proxy.drop_all();
  for (auto& one : clients) EXPECT_TRUE(one.at_end());
  auto next = client();
  EXPECT_EQ(say(next, "again"), "again");
}

TEST_F(fault_proxy_test, keeps_its_port_while_it_refuses_and_shows_a_dead_target) {
  const auto port = proxy.port();
  server.stop();
  auto one = client();
  EXPECT_TRUE(one.at_end());
  proxy.stop();
  EXPECT_FALSE(port_open(port));
}

}  // namespace
}  // namespace mailherd::peers::test
