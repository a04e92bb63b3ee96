#include "tests/actors/memory_net.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace mailherd::test {

// ---- the reactor --------------------------------------------------------------------------------------------------------------------------

struct memory_reactor::handle : net::timer {
  std::shared_ptr<entry> mine;
};

std::unique_ptr<net::timer> memory_reactor::at(mono_time when, std::function<void()> work) {
  auto h = std::make_unique<handle>();
  h->mine = std::make_shared<entry>(entry{std::move(work)});
  timers_.emplace(when, h->mine);
  return h;
}

bool memory_reactor::run() {
  bool any = false;
  for (bool more = true; more;) {
    more = false;
    while (!timers_.empty() && timers_.begin()->first <= now()) {
      auto e = timers_.begin()->second.lock();
      timers_.erase(timers_.begin());
      if (!e) continue;
      auto work = std::move(e->work);
      e.reset();
      any = more = true;
      work();
    }
    while (!queue_.empty()) {
      auto work = std::move(queue_.front());
      queue_.pop_front();
      any = more = true;
      work();
    }
  }
  return any;
}

std::optional<mono_time> memory_reactor::next() const {
  for (const auto& [when, e] : timers_)
    if (!e.expired()) return when;
  return std::nullopt;
}

// ---- a wire -------------------------------------------------------------------------------------------------------------------------------

struct wire_state : std::enable_shared_from_this<wire_state> {
  wire_state(memory_net& n, net::reactor& r) : net(n), reactor(r) {}

  memory_net& net;
  net::reactor& reactor;
  std::unique_ptr<peer> server;
  net::connection_info info;
  std::string to_client;
  std::size_t taken = 0;   ///< of to_client
  net::connection::read_handler reader;
  std::size_t limit = 0;
  bool encrypted = false, closing = false, ended = false, broken = false, dropped = false, delivering = false;
  std::map<std::uint64_t, std::unique_ptr<net::timer>> on_its_way;
  std::uint64_t sends = 0;
  mono_time last_in{}, last_out{};   ///< nothing overtakes

  void later(mono_time& last, std::function<void()> what) {
    last = std::max(last, reactor.now() + net.latency());
    if (last <= reactor.now()) return reactor.post([self = shared_from_this(), what = std::move(what)] { what(); });
    const auto id = ++sends;
    on_its_way[id] = reactor.at(last, [self = weak_from_this(), id, what = std::move(what)] {
      auto s = self.lock();
      if (!s) return;
      auto keep = std::move(s->on_its_way[id]);
      s->on_its_way.erase(id);
      what();
    });
  }

  /// Gives the reader what there is.
  void deliver() {
    if (delivering || !reader || dropped) return;
    if (taken == to_client.size() && !ended && !broken) return;
    delivering = true;
    reactor.post([self = shared_from_this()] {
      self->delivering = false;
      if (!self->reader || self->dropped) return;
      auto read = std::exchange(self->reader, {});
      const auto there = self->to_client.size() - self->taken;
      if (self->broken || there == 0) {
        return read(fail(failure::connection_lost, self->broken ? "reset by the server" : "closed by the server"));
      }
      const auto piece = self->net.piece();
      const auto n = std::min({there, self->limit, piece == 0 ? there : piece});
      const auto bytes = self->to_client.substr(self->taken, n);
      self->taken += n;
      if (self->taken == self->to_client.size()) {
        self->to_client.clear();
        self->taken = 0;
      }
      read(std::string_view(bytes));
    });
  }

  void drop() {
    if (std::exchange(dropped, true)) return;
    reader = {};
    on_its_way.clear();
    reactor.post([self = shared_from_this()] {
      if (auto s = std::move(self->server)) s->gone();
    });
  }
};

void wire::send(std::string_view bytes) {
  if (!open()) return;
  state_->later(state_->last_out, [s = state_.get(), bytes = std::string(bytes)] {
    s->to_client += bytes;
    s->deliver();
  });
}

void wire::close() {
  if (!open()) return;
  state_->closing = true;
  state_->later(state_->last_out, [s = state_.get()] {
    s->ended = true;
    s->deliver();
  });
}

void wire::reset() {
  if (state_->dropped || state_->broken) return;
  state_->broken = true;
  state_->deliver();
}

bool wire::open() const { return !state_->dropped && !state_->broken && !state_->closing; }

namespace {

class memory_connection : public net::connection {
 public:
  explicit memory_connection(std::shared_ptr<wire_state> s) : state_(std::move(s)) {}
  ~memory_connection() override { state_->drop(); }

  void read(std::size_t limit, read_handler on_data) override {
    state_->limit = limit;
    state_->reader = std::move(on_data);
    state_->deliver();
  }
  void write(std::string bytes, done_handler on_written) override {
    if (!state_->dropped && !state_->broken)
      state_->later(state_->last_in, [s = state_.get(), bytes = std::move(bytes)] {
        if (s->server && !s->broken && !s->closing) s->server->received(bytes);
      });
    if (on_written) state_->reactor.post([on_written = std::move(on_written)] { on_written({}); });
  }
  void start_tls(deadline, done_handler on_done) override {
    EXPECT_FALSE(state_->reader) << "a read is outstanding while TLS begins";
    state_->reactor.post([s = std::weak_ptr(state_), on_done = std::move(on_done)] {
      const auto live = s.lock();
      if (!live || live->dropped) return;
      EXPECT_FALSE(live->reader) << "a read was granted while TLS begins";
      live->encrypted = true;
      live->info.tls_version = "TLSv1.3";
      on_done({});
    });
  }
  [[nodiscard]] const net::connection_info& info() const override { return state_->info; }
  [[nodiscard]] bool encrypted() const override { return state_->encrypted; }
  void close() override { state_->drop(); }

 private:
  std::shared_ptr<wire_state> state_;
};

struct memory_attempt : net::attempt {
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  ~memory_attempt() override { *alive = false; }
};

}  // namespace

// ---- the dialer ---------------------------------------------------------------------------------------------------------------------------

std::unique_ptr<net::attempt> memory_net::dial(net::reactor& where, net::target to, deadline, connect_handler on_done, progress_handler on_progress) {
  auto a = std::make_unique<memory_attempt>();
  ++dialed;
  where.post([this, alive = a->alive, &where, to = std::move(to), on_done = std::move(on_done), on_progress = std::move(on_progress)] {
    if (!*alive) return;
    if (refuse) {
      if (auto why = refuse(to)) return on_done(fail(*why));
    }
    const auto server = servers_.find(to.host + ":" + std::to_string(to.port));
    if (server == servers_.end()) return on_done(fail(failure::connect_refused, "nobody listens there"));
    auto s = std::make_shared<wire_state>(*this, where);
    s->encrypted = to.implicit_tls;
    s->info.peer = to.host;
    if (to.implicit_tls) s->info.tls_version = "TLSv1.3";
    s->server = server->second(wire(s));
    std::erase_if(wires_, [](const auto& w) { return w.expired(); });
    wires_.push_back(s);
    if (on_progress) {
      on_progress("dns", s->info);
      if (*alive) on_progress("tcp", s->info);
      if (*alive && to.implicit_tls) on_progress("tls", s->info);
    }
    if (!*alive) return s->drop();
    on_done(std::make_unique<memory_connection>(s));
    where.post([s] {
      if (s->server) s->server->connected();
    });
  });
  return a;
}

std::size_t memory_net::connections() const {
  return static_cast<std::size_t>(std::count_if(wires_.begin(), wires_.end(), [](const auto& w) {
    const auto s = w.lock();
    return s && !s->dropped && !s->broken && !s->closing;
  }));
}

void memory_net::break_all() {
  for (const auto& w : wires_)
    if (const auto s = w.lock()) wire(s).reset();
}

}  // namespace mailherd::test
