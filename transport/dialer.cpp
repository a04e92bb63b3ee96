// transport/dialer: the phases of one attempt.
#include "transport/dialer.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "transport/proxy.hpp"
#include "transport/race.hpp"
#include "transport/stream.hpp"

namespace mailherd::net {

error refused_target(std::string_view host, const ip_address& address) {
  const std::string text = address.text();
  const std::string what = host == text ? fmt::format("{} is", host) : fmt::format("{} resolves to {},", host, text);
  return {failure::target_refused, fmt::format("{} an address that is not public; MAILHERD_PRIVATE_TARGETS does not allow it", what), {}};
}

namespace {

std::string unbracketed(std::string host) {
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') return host.substr(1, host.size() - 2);
  return host;
}

class dial_state final : public tracked, public std::enable_shared_from_this<dial_state> {
 public:
  dial_state(io_reactor& where, dial_environment environment, target to, dialer::connect_handler on_done,
             dialer::progress_handler on_progress)
      : tracked(where),
        reactor_(where),
        environment_(std::move(environment)),
        to_(std::move(to)),
        on_done_(std::move(on_done)),
        on_progress_(std::move(on_progress)) {
    to_.host = unbracketed(std::move(to_.host));
    if (to_.proxy) to_.proxy->host = unbracketed(std::move(to_.proxy->host));
  }

  void begin(deadline until) {
    timer_ = reactor_.at(until.at, [this] { timed_out(); });
    reactor_.post([weak = weak_from_this()] {
      if (const auto self = weak.lock(); self && self->on_done_) self->start();
    });
  }

  void abandon() override {
    const auto keep = shared_from_this();
    const auto dropped_done = std::exchange(on_done_, {});
    const auto dropped_progress = std::exchange(on_progress_, {});
    clear();
  }

 private:
  void start() {
    began_ = reactor_.now();
    if (auto wrong = invalid()) return finish(fail(std::move(*wrong)));
    if (to_.proxy) return look_behind_proxy();
    look_up(to_.host, false);
  }

  std::optional<error> invalid() const {
    const auto bad = [](std::string_view what) { return error{failure::invalid_input, std::string(what), {}}; };
    if (!valid_host(to_.host)) return bad(fmt::format("\"{}\" is not a host name", clean_server_text(to_.host)));
    if (to_.port == 0) return bad("the port is missing");
    if (!to_.proxy) return std::nullopt;
    if (!valid_host(to_.proxy->host)) return bad(fmt::format("\"{}\" is not a host name of a proxy", clean_server_text(to_.proxy->host)));
    if (to_.proxy->port == 0) return bad("the proxy's port is missing");
    if (to_.proxy->kind == proxy_kind::socks5 && (to_.proxy->username.size() > 255 || to_.proxy->password.reveal().size() > 255))
      return bad("a SOCKS5 proxy takes at most 255 bytes of user name and of password");
    return std::nullopt;
  }

  /// The proxy resolves the server's name, but what this side can find out about it is judged here: a proxy must not be the way into
  /// the operator's network. A name this side cannot resolve is the proxy's business.
  void look_behind_proxy() {
    phase_ = "the lookup of " + to_.host;
    timer_behind_proxy_ = reactor_.at(reactor_.now() + limits::dns_behind_proxy, [this] { look_up(to_.proxy->host, true); });
    environment_.names.resolve(reactor_, to_.host, [weak = weak_from_this()](result<address_list> found) {
      const auto self = weak.lock();
      if (!self || !self->on_done_ || !self->timer_behind_proxy_) return;
      if (found)
        for (const auto& address : *found)
          if (!self->environment_.policy.allows(self->to_.host, address.text()))
            return self->finish(fail(refused_target(self->to_.host, address)));
      self->look_up(self->to_.proxy->host, true);
    });
  }

  void look_up(const std::string& host, bool proxy) {
    timer_behind_proxy_.reset();
    phase_ = proxy ? "the lookup of the proxy " + host : "the lookup of " + host;
    environment_.names.resolve(reactor_, host, [weak = weak_from_this(), host](result<address_list> found) {
      const auto self = weak.lock();
      if (self && self->on_done_) self->connect(host, std::move(found));
    });
  }

  void connect(const std::string& host, result<address_list> found) {
    if (!found) return finish(fail(std::move(found.error())));
    const ip_address first = found->front();
    std::erase_if(*found, [&](const ip_address& a) { return !environment_.policy.allows(host, a.text()); });
    if (found->empty()) return finish(fail(refused_target(host, first)));
    info_.dns_time = lap();
    if (!progress("dns")) return;
    const std::uint16_t port = to_.proxy ? to_.proxy->port : to_.port;
    phase_ = fmt::format("the connection to {}{} port {}", to_.proxy ? "the proxy " : "", host, port);
    race_ = std::make_unique<connect_race>(reactor_, host, port, *found, environment_.source, [this, port](result<connect_race::winner> w) {
      if (w) return connected(std::move(*w), port);
      if (to_.proxy && w.error().code != failure::timed_out) w.error() = {failure::proxy_failed, "proxy: " + w.error().detail, {}};
      finish(fail(std::move(w.error())));
    });
  }

  void connected(connect_race::winner w, std::uint16_t port) {
    const auto keep = shared_from_this();
    race_.reset();
    info_.tcp_time = lap();
    info_.peer = w.address.text(port);
    const std::string path = to_.proxy ? fmt::format("{}\n{}", to_.proxy->host, to_.proxy->port) : std::string{};
    stream_ = std::make_shared<stream>(reactor_, std::move(w.socket), environment_.tls, stream::peer_name{to_.host, to_.port, path}, info_);
    if (!progress("tcp")) return;
    if (!to_.proxy) return secure();
    phase_ = fmt::format("the answer of the proxy {}", to_.proxy->host);
    proxy_ = proxy_dialogue::begin(stream_, *to_.proxy, to_.host, to_.port, [this](result<void> passed) {
      if (!passed) return finish(fail(std::move(passed.error())));
      const auto keep = shared_from_this();
      proxy_.reset();
      if (progress("proxy")) secure();
    });
  }

  void secure() {
    if (!to_.implicit_tls) return finish(as_connection(std::exchange(stream_, {})));
    phase_ = fmt::format("the TLS handshake with {}", to_.host);
    // The attempt's own timer is the deadline.
    stream_->start_tls(deadline{mono_time::max()}, [weak = weak_from_this()](result<void> secured) {
      const auto self = weak.lock();
      if (!self || !self->on_done_) return;
      if (!secured) return self->finish(fail(std::move(secured.error())));
      if (self->progress("tls")) self->finish(as_connection(std::exchange(self->stream_, {})));
    });
  }

  void timed_out() { finish(fail(failure::timed_out, fmt::format("the deadline passed during {}", phase_))); }

  milliseconds lap() {
    const auto t = reactor_.now();
    return std::chrono::duration_cast<milliseconds>(t - std::exchange(began_, t));
  }

  /// False if the listener has withdrawn the attempt.
  bool progress(std::string_view step) {
    const auto keep = shared_from_this();
    if (on_progress_) {
      const auto report = on_progress_;
      report(step, stream_ ? stream_->info() : info_);
    }
    return static_cast<bool>(on_done_);
  }

  void finish(result<std::unique_ptr<connection>> outcome) {
    const auto keep = shared_from_this();
    const auto done = std::exchange(on_done_, {});
    const auto dropped_progress = std::exchange(on_progress_, {});
    clear();
    if (done) done(std::move(outcome));
  }

  void clear() {
    timer_.reset();
    timer_behind_proxy_.reset();
    race_.reset();
    proxy_.reset();
    if (const auto unfinished = std::exchange(stream_, {})) unfinished->abort();
  }

  io_reactor& reactor_;
  dial_environment environment_;
  target to_;
  dialer::connect_handler on_done_;   ///< empty once the attempt is over
  dialer::progress_handler on_progress_;
  mono_time began_{};
  connection_info info_;
  std::string phase_ = "the start";
  std::unique_ptr<timer> timer_, timer_behind_proxy_;
  std::unique_ptr<connect_race> race_;
  std::unique_ptr<proxy_dialogue> proxy_;
  std::shared_ptr<stream> stream_;
};

class owned_attempt final : public attempt {
 public:
  explicit owned_attempt(std::shared_ptr<dial_state> s) : state_(std::move(s)) {}
  ~owned_attempt() override { state_->abandon(); }

 private:
  std::shared_ptr<dial_state> state_;
};

}  // namespace

std::unique_ptr<attempt> net_dialer::dial(reactor& where, target to, deadline until, connect_handler on_done,
                                          progress_handler on_progress) {
  auto state = std::make_shared<dial_state>(static_cast<io_reactor&>(where), environment_, std::move(to), std::move(on_done),
                                            std::move(on_progress));
  state->begin(until);
  return std::make_unique<owned_attempt>(std::move(state));
}

}  // namespace mailherd::net
