// transport/network: makes the parts and ends them in order.
#include "transport/network.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "transport/dialer.hpp"
#include "transport/http.hpp"
#include "transport/io_reactor.hpp"
#include "transport/resolver.hpp"
#include "transport/tls.hpp"

namespace mailherd::net {

namespace {

class real_network final : public network {
 public:
  explicit real_network(network_options options)
      : policy_(std::move(options.policy)), names_(std::make_unique<resolver>(std::move(options.lookup), std::move(options.lookup_clock))) {}

  ~real_network() override {
    // Threads first: after that nobody calls anything. Until it is gone the resolver may still post to the reactors, which refuse it.
    for (auto& r : reactors_) r->stop();
    http_.reset();
    webhooks_.reset();
    names_.reset();
  }

  result<void> start(unsigned reactors, const std::string& ca_file, const std::string& bind_address) {
    auto tls = tls_context::create(ca_file);
    if (!tls) return fail(std::move(tls.error()));
    std::optional<ip_address> source;
    if (!bind_address.empty()) {
      source = ip_address::parse(bind_address);
      if (!source) return fail(failure::invalid_input, fmt::format("\"{}\" is not an address to bind to", clean_server_text(bind_address)));
    }
    std::vector<io_reactor*> all;
    for (unsigned i = 0; i < std::max(1u, reactors); ++i)
      all.push_back(reactors_.emplace_back(std::make_unique<io_reactor>(fmt::format("mh-net-{}", i))).get());
    const dial_environment environment{*names_, policy_, *tls, source};
    dialer_ = std::make_unique<net_dialer>(environment);
    auto http = net_http_client::create(all, environment, ca_file, limits::http_active);
    if (!http) return fail(std::move(http.error()));
    http_ = std::move(*http);
    auto webhooks = net_http_client::create(all, environment, ca_file, limits::webhook_http_active);
    if (!webhooks) return fail(std::move(webhooks.error()));
    webhooks_ = std::move(*webhooks);
    return {};
  }

  std::size_t reactors() const override { return reactors_.size(); }
  reactor& at(std::size_t i) override { return *reactors_[i % reactors_.size()]; }
  dialer& dial() override { return *dialer_; }
  http_client& http() override { return *http_; }
  http_client& webhooks() override { return *webhooks_; }

 private:
  target_policy policy_;
  std::vector<std::unique_ptr<io_reactor>> reactors_;
  std::unique_ptr<resolver> names_;
  std::unique_ptr<net_dialer> dialer_;
  std::unique_ptr<net_http_client> http_, webhooks_;
};

}  // namespace

result<std::unique_ptr<network>> network::create(network_options options) {
  const unsigned reactors = options.reactors;
  const std::string ca_file = options.ca_file, bind_address = options.bind_address;
  auto made = std::make_unique<real_network>(std::move(options));
  if (auto started = made->start(reactors, ca_file, bind_address); !started) return fail(std::move(started.error()));
  return made;
}

}  // namespace mailherd::net
