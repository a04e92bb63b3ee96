// Where deliveries go, with the real resolver, policy and HTTP client: a name that means another address the second time it is looked up, and a receiver
// that redirects to loopback. 127.0.0.2 stands for an address that may be reached, 127.0.0.1 for one that may not.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "actors/deliverer.hpp"
#include "tests/actors/memory_webhooks.hpp"
#include "tests/actors/world.hpp"
#include "transport/network.hpp"

namespace mailherd::test {
namespace {

using std::chrono::hours;

/// Takes one request per connection; "/moved" is answered with a redirect to 127.0.0.1.
class small_server {
 public:
  /// `port` 0: any. Throws if it is taken.
  explicit small_server(const char* address, std::uint16_t port = 0) : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    ::inet_pton(AF_INET, address, &at.sin_addr);
    socklen_t size = sizeof at;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(listener_, 64) != 0) {
      ::close(listener_);
      throw std::runtime_error("the address is taken");
    }
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~small_server() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] unsigned connections() const { return connections_; }

 private:
  void serve() {
    for (int fd; (fd = ::accept(listener_, nullptr, nullptr)) >= 0; ::close(fd)) {
      ++connections_;
      std::string text;
      char bytes[4096];
      const auto whole = [&] {
        const auto end = text.find("\r\n\r\n"), length = text.find("Content-Length: ");
        return end != std::string::npos && (length == std::string::npos || text.size() >= end + 4 + std::stoul(text.substr(length + 16, 10)));
      };
      for (ssize_t n; !whole() && (n = ::recv(fd, bytes, sizeof bytes, 0)) > 0;) text.append(bytes, static_cast<std::size_t>(n));
      const std::string answer = text.starts_with("POST /moved ") ? "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:" + std::to_string(port_) +
                                                                        "/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                                                                  : "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
      static_cast<void>(::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL));
    }
  }

  int listener_;
  std::uint16_t port_ = 0;
  std::atomic<unsigned> connections_{0};
  std::thread thread_;
};

/// The same port on both addresses: whoever is led from one to the other finds somebody there.
struct two_servers {
  two_servers() {
    for (int tries = 0; !forbidden; ++tries) {
      allowed = std::make_unique<small_server>("127.0.0.2");
      try {
        forbidden = std::make_unique<small_server>("127.0.0.1", allowed->port());
      } catch (const std::runtime_error&) {
        if (tries > 20) throw;
      }
    }
  }
  std::unique_ptr<small_server> allowed, forbidden;
};

/// The real client for actors on virtual time: answers wait until the test looks.
class real_client final : public net::http_client {
 public:
  explicit real_client(net::http_client& client) : client_(client) {}
  void send(net::http_request request, deadline, std::function<void(result<net::http_reply>)> on_done) override {
    ++open_;
    client_.send(std::move(request), deadline::after(mono_clock::now(), seconds(20)), [this, on_done](result<net::http_reply> r) {
      const std::lock_guard lock(guard_);
      answers_.push_back([on_done, r = std::move(r)] { on_done(r); });
      come_.notify_one();
    });
  }
  /// Waits for one answer if any is to come. True: it was given.
  bool step() {
    if (open_ == 0) return false;
    std::function<void()> give;
    {
      std::unique_lock lock(guard_);
      if (!come_.wait_for(lock, std::chrono::seconds(30), [this] { return !answers_.empty(); })) throw std::runtime_error("no answer came");
      give = std::move(answers_.front());
      answers_.pop_front();
    }
    --open_;
    give();
    return true;
  }

 private:
  net::http_client& client_;
  std::size_t open_ = 0;
  std::mutex guard_;
  std::condition_variable come_;
  std::deque<std::function<void()>> answers_;
};

constexpr tenant_id acme{1};

class targets : public world {
 protected:
  targets() {
    net::network_options o;
    o.policy = *net::target_policy::parse("127.0.0.2");
    o.lookup = [this](const std::string& host) -> result<std::vector<std::string>> {
      const std::lock_guard lock(guard);
      return names[host];
    };
    o.lookup_clock = [this] { return mono_clock::now() + later.load(); };
    network = *net::network::create(std::move(o));
    client = std::make_unique<real_client>(network->webhooks());
    hooks.now = [this] { return wall(); };
    store.webhooks = &hooks;
    env.webhooks = client.get();
    env.options.deliverer_round = seconds(300);
    env.words.message = [](store::session&, const store::webhook_spec&, const store::stored_message& m) -> actors::event_words::body {
      return std::optional(store::event_body{to_string(m.id), {}, 0});
    };
    steps.push_back([this] { return client->step(); });
    point("stays.test", {"127.0.0.2"});
  }

  ~targets() override { steps.clear(); }  // the world settles once more when this is gone

  /// From now on the name means these; what was known of it has aged.
  void point(const std::string& name, std::vector<std::string> addresses) {
    const std::lock_guard lock(guard);
    names[name] = std::move(addresses);
    later = later.load() + limits::dns_ttl + seconds(1);
  }
  store::webhook_key endpoint(std::int64_t id, const std::string& host, const std::string& path = "/") {
    return hooks.add(acme, id, "http://" + host + ":" + std::to_string(servers.allowed->port()) + path);
  }
  void mail(std::int64_t channel) {
    hooks.message(acme, channel);
    caf::anon_send(who, actors::fed_atom::value, acme);
    advance(seconds(1));
  }
  void start() {
    who = owned(actors::spawn_deliverer(system, env));
    settle();
  }
  std::int64_t position(const store::webhook_key& key) { return hooks.places.at(key).load.message_position; }
  std::size_t behind(const store::webhook_key& key) { return hooks.places.at(key).stalls.size(); }
  std::string last_error(const store::webhook_key& key) {
    const auto& all = hooks.places.at(key).deliveries;
    return all.empty() ? "" : all.back().error;
  }

  two_servers servers;
  std::mutex guard;
  std::map<std::string, std::vector<std::string>> names;
  std::atomic<duration> later{duration::zero()};
  memory_webhooks hooks;
  std::unique_ptr<net::network> network;
  std::unique_ptr<real_client> client;
  actors::deliverer_actor who;
};

TEST_F(targets, a_name_that_means_a_private_address_the_second_time_is_refused_and_others_go_on) {
  point("turns.test", {"127.0.0.2"});
  const auto turns = endpoint(1, "turns.test"), stays = endpoint(2, "stays.test");
  start();
  mail(1);
  EXPECT_EQ(servers.allowed->connections(), 2U);
  EXPECT_EQ(behind(turns), 0U);

  point("turns.test", {"127.0.0.1"});
  mail(1);
  EXPECT_EQ(servers.forbidden->connections(), 0U) << "nobody came";
  EXPECT_EQ(servers.allowed->connections(), 3U) << "the other endpoint has it";
  EXPECT_EQ(behind(stays), 0U);
  EXPECT_EQ(position(stays), 2);
  ASSERT_EQ(behind(turns), 1U) << "and it is kept for this one";
  EXPECT_NE(last_error(turns).find("target_refused"), std::string::npos) << last_error(turns);
  EXPECT_NE(hooks.places.at(turns).stalls.begin()->second.error.find("turns.test"), std::string::npos) << "people are told what was refused";

  // Both at once: only the one that may be reached is.
  point("turns.test", {"127.0.0.1", "127.0.0.2"});
  advance(hours(1));
  EXPECT_EQ(behind(turns), 0U);
  EXPECT_EQ(position(turns), 2);
  EXPECT_EQ(servers.forbidden->connections(), 0U);
  EXPECT_EQ(servers.allowed->connections(), 4U);
}

TEST_F(targets, a_redirect_to_loopback_is_recorded_and_others_go_on) {
  const auto moved = endpoint(1, "stays.test", "/moved"), stays = endpoint(2, "stays.test");
  start();
  mail(1);
  mail(2);
  EXPECT_EQ(servers.forbidden->connections(), 0U);
  EXPECT_EQ(position(stays), 2);
  EXPECT_EQ(behind(moved), 2U);
  EXPECT_EQ(hooks.places.at(moved).stalls.begin()->second.status, 301);
  EXPECT_NE(last_error(moved).find("not followed"), std::string::npos);
}

}  // namespace
}  // namespace mailherd::test
