// tests/transport/fixture: a network of one reactor and the means to use it from a test's thread.
//
// Owns:   the network and its authority; waits with a generous bound, never sleeps.
// Used by: the tests of this folder only.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "certificates.hpp"
#include "peer.hpp"
#include "transport/network.hpp"

namespace mailherd::net::test {

/// Deadline of attempts that should succeed; a test waits a little longer, so that a failure is told in the code's words.
constexpr std::chrono::seconds patience{30};

template <class T>
T wait(std::future<T> f) {
  if (f.wait_for(patience + std::chrono::seconds(10)) != std::future_status::ready) throw std::runtime_error("nothing happened");
  return f.get();
}

/// Runs `work` on the reactor and gives back what it returns.
template <class Work>
auto on(reactor& r, Work work) {
  using value = decltype(work());
  auto promise = std::make_shared<std::promise<value>>();
  auto future = promise->get_future();
  r.post([promise, work = std::move(work)]() mutable {
    if constexpr (std::is_void_v<value>) {
      work();
      promise->set_value();
    } else {
      promise->set_value(work());
    }
  });
  return wait(std::move(future));
}

inline target to_port(std::uint16_t port, std::string host = "mail.acme.test", bool tls = true) {
  target t;
  t.host = std::move(host);
  t.port = port;
  t.implicit_tls = tls;
  return t;
}

/// An authority for all tests of a binary: making keys is the slow part.
inline const authority& test_authority() {
  static const authority a;
  return a;
}

class net_test : public ::testing::Test {
 protected:
  /// What one attempt came to; the connection is closed when this goes away. Everything of it belongs to the reactor.
  struct dialed {
    result<std::unique_ptr<connection>> outcome = fail(failure::internal);
    std::vector<std::string> steps;
    connection_info info;
  };

  void SetUp() override { make_network(); }
  void TearDown() override { net_.reset(); }

  /// Every name of *.test is this machine; `lookup` replaces that.
  void make_network(std::string policy = "127.0.0.0/8, ::1", lookup_function lookup = {}, std::string bind = {}) {
    network_options options;
    options.policy = *target_policy::parse(policy);
    options.ca_file = test_authority().file();
    options.bind_address = std::move(bind);
    options.lookup = lookup ? std::move(lookup) : [](const std::string& host) -> result<std::vector<std::string>> {
      if (host.ends_with(".test") || host == "localhost") return std::vector<std::string>{"127.0.0.1"};
      return fail(failure::dns_failed, host + ": there is no such host name");
    };
    auto made = network::create(std::move(options));
    ASSERT_TRUE(made) << describe(made.error());
    net_.reset();
    net_ = std::move(*made);
  }

  reactor& loop() { return net_->at(0); }

  std::shared_ptr<dialed> dial(target to, std::chrono::milliseconds within = patience) {
    auto out = std::make_shared<dialed>();
    auto promise = std::make_shared<std::promise<void>>();
    auto future = promise->get_future();
    auto attempts = std::make_shared<std::unique_ptr<attempt>>();
    loop().post([=, this] {
      *attempts = net_->dial().dial(
          loop(), to, deadline::after(loop().now(), within),
          [=](result<std::unique_ptr<connection>> c) {
            out->outcome = std::move(c);
            if (out->outcome) out->info = (*out->outcome)->info();
            attempts->reset();
            promise->set_value();
          },
          [=](std::string_view step, const connection_info&) { out->steps.emplace_back(step); });
    });
    wait(std::move(future));
    return out;
  }

  /// Grants one read and waits for it.
  result<std::string> read(connection& c, std::size_t limit = 65536) {
    auto promise = std::make_shared<std::promise<result<std::string>>>();
    loop().post([&c, limit, promise] {
      c.read(limit, [promise](result<std::string_view> bytes) {
        if (bytes) {
          promise->set_value(std::string(*bytes));
        } else {
          promise->set_value(fail(bytes.error()));
        }
      });
    });
    return wait(promise->get_future());
  }

  result<void> write(connection& c, std::string bytes) {
    auto promise = std::make_shared<std::promise<result<void>>>();
    loop().post([&c, bytes, promise] { c.write(bytes, [promise](result<void> r) { promise->set_value(std::move(r)); }); });
    return wait(promise->get_future());
  }

  result<void> start_tls(connection& c, std::chrono::milliseconds within = patience) {
    auto promise = std::make_shared<std::promise<result<void>>>();
    loop().post([&c, this, within, promise] {
      c.start_tls(deadline::after(loop().now(), within), [promise](result<void> r) { promise->set_value(std::move(r)); });
    });
    return wait(promise->get_future());
  }

  /// Destroys the connection where it lives.
  void drop(const std::shared_ptr<dialed>& d) {
    on(loop(), [d] { d->outcome = fail(failure::cancelled); });
  }

  std::unique_ptr<network> net_;
};

}  // namespace mailherd::net::test
