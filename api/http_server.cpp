// api/http_server: see the header. Beast parses requests; answers are written by hand in bounded pieces, each with its own deadline: a
// large answer under one deadline would cut off honest slow readers, and one without a deadline would let the others hold a connection.
#include "api/http_server.hpp"

#include <boost/asio.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "api/problem.hpp"
#include "core/limits.hpp"

namespace mailherd::api {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::size_t piece_bytes = 64 * limits::kib;  // one write, one deadline
constexpr std::size_t linger_bytes = 8 * limits::mib;  // read and thrown away behind a refused body, so that the refusal arrives
constexpr seconds linger_time{2};
constexpr milliseconds accept_pause{50};  // after accept failed (no file descriptors left)

verb to_verb(http::verb v) {
  switch (v) {
    case http::verb::get: return verb::get;
    case http::verb::head: return verb::head;
    case http::verb::post: return verb::post;
    case http::verb::put: return verb::put;
    case http::verb::patch: return verb::patch;
    case http::verb::delete_: return verb::del;
    default: return verb::other;
  }
}

class connection;

}  // namespace

struct http_server::engine {
  struct listener {
    explicit listener(asio::io_context& io) : acceptor(std::in_place, io), pause(std::in_place, io) {}
    std::optional<tcp::acceptor> acceptor;  // these two end before `io`, the rest after it
    std::optional<asio::steady_timer> pause;
    http_limits limits{};
    request_handler handler;
    std::size_t open = 0;
  };

  std::weak_ptr<http_server> self;
  std::mutex guard;  // of `io` as a pointer, and of `open`
  std::condition_variable changed;
  std::size_t open = 0;
  bool stopping = false;                        // HTTP thread only
  std::unordered_set<connection*> connections;  // HTTP thread only; outlives `io`, whose handlers own the connections
  std::deque<listener> listeners;
  std::unique_ptr<asio::io_context> io = std::make_unique<asio::io_context>(1);
  std::thread thread;

  void accept(listener& at);
};

namespace {

/// One client. Kept alive by its pending operation; while a handler works, by `busy_`.
class connection : public std::enable_shared_from_this<connection> {
 public:
  connection(http_server::engine& engine, http_server::engine::listener& from, tcp::socket socket)
      : engine_(engine), from_(from), stream_(std::move(socket)) {
    engine_.connections.insert(this);
    ++from_.open;
    const std::lock_guard lock(engine_.guard);
    ++engine_.open;
  }

  ~connection() {
    engine_.connections.erase(this);
    --from_.open;
    const std::lock_guard lock(engine_.guard);
    --engine_.open;
    engine_.changed.notify_all();
  }

  void start() {
    stream_.expires_after(from_.limits.header_timeout);
    read_header();
  }

  void refuse_busy() { answer_and_close(unavailable("Too many connections.", 1)); }

  /// The node stops: an idle connection ends now, a busy one after its answer.
  void close_if_idle() {
    if (idle_) close();
  }

  /// The loop has ended and nobody will answer any more. May destroy this.
  void abandon() { const auto last = std::exchange(busy_, nullptr); }

  void send(response r) {
    busy_.reset();
    const bool keep = keep_alive_ && !engine_.stopping && !r.endless;
    const bool body_wanted = method_ != verb::head && r.status != 204;
    answer_ = std::move(r);
    closing_ = !keep;
    const auto bytes = answer_.stream ? answer_.stream_bytes : answer_.body.size();
    out_ = response_head(answer_, bytes, keep);
    if (!body_wanted) {
      answer_.body.clear();
      answer_.stream.reset();
    }
    sent_ = 0;
    stream_left_ = answer_.stream ? answer_.stream_bytes : 0;
    if (answer_.stream && answer_.endless) watch_for_end();
    if (answer_.body.size() <= piece_bytes) out_ += std::exchange(answer_.body, {});
    write();
  }

 private:
  using parser = http::request_parser<http::string_body>;

  void read_header() {
    idle_ = true;
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(from_.limits.header_bytes));
    parser_->body_limit(from_.limits.body_bytes);
    if (buffer_.size() > 0) return read_header_on();
    stream_.async_read_some(buffer_.prepare(4096), [self = shared_from_this()](error_code failed, std::size_t n) {
      if (failed) return self->close();
      self->buffer_.commit(n);
      self->stream_.expires_after(self->from_.limits.header_timeout);
      self->read_header_on();
    });
  }

  void read_header_on() {
    http::async_read_header(stream_, buffer_, *parser_,
                            [self = shared_from_this()](error_code failed, std::size_t) { self->on_header(failed); });
  }

  void on_header(error_code failed) {
    idle_ = false;
    if (failed == http::error::header_limit || failed == http::error::buffer_overflow)
      return answer_and_close(
          problem(431, "header-too-large", "Header too large", "The request's header is larger than this server takes."));
    if (failed == beast::error::timeout || failed == http::error::end_of_stream || failed == http::error::partial_message) return close();
    if (failed == http::error::body_limit) return too_large();
    if (failed && failed.category() == make_error_code(http::error::bad_method).category()) return malformed(failed);
    if (failed) return close();

    const auto& head = parser_->get();
    method_ = to_verb(head.method());
    if (head.version() >= 11 && head.find(http::field::host) == head.end())
      return answer_and_close(problem(400, "malformed-request", "Malformed request", "HTTP/1.1 requires a Host header."));
    if (const auto announced = parser_->content_length(); announced && *announced > from_.limits.body_bytes) return too_large();
    if (parser_->is_done()) return dispatch();
    stream_.expires_after(from_.limits.stall_timeout);
    if (beast::iequals(head[http::field::expect], "100-continue")) {
      out_ = "HTTP/1.1 100 Continue\r\n\r\n";
      asio::async_write(stream_, asio::buffer(out_),
                        [self = shared_from_this()](error_code cut, std::size_t) { cut ? self->close() : self->read_body(); });
    } else {
      read_body();
    }
  }

  void read_body() {
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](error_code failed, std::size_t) {
      if (failed == http::error::body_limit) return self->too_large();
      if (failed && failed.category() == make_error_code(http::error::bad_method).category() && failed != http::error::partial_message)
        return self->malformed(failed);
      if (failed) return self->close();
      self->dispatch();
    });
  }

  void too_large() {
    answer_and_close(problem(413, "too-large", "Content too large",
                             "A request's body may have at most " + std::to_string(from_.limits.body_bytes) + " bytes."));
  }

  void malformed(error_code why) {
    answer_and_close(problem(400, "malformed-request", "Malformed request", "This is not valid HTTP: " + why.message() + "."));
  }

  void answer_and_close(response r) {
    keep_alive_ = false;
    send(std::move(r));
  }

  void dispatch() {
    auto message = parser_->release();
    keep_alive_ = message.keep_alive();
    request wanted;
    wanted.method = method_;
    wanted.target = std::string(message.target());
    for (const auto& field : message) {
      std::string name(field.name_string());
      for (auto& c : name)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      auto [at, fresh] = wanted.headers.try_emplace(std::move(name), field.value());
      if (!fresh) at->second.append(", ").append(field.value());
    }
    wanted.body = std::move(message.body());
    error_code unknown;
    if (const auto peer = stream_.socket().remote_endpoint(unknown); !unknown) wanted.peer = peer.address().to_string();
    stream_.expires_never();
    busy_ = shared_from_this();
    auto answer = std::make_shared<responder>([server = engine_.self, weak = weak_from_this()](response r) {
      if (const auto alive = server.lock())
        alive->post([weak, r = std::make_shared<response>(std::move(r))] {
          if (const auto self = weak.lock()) self->send(std::move(*r));
        });
    });
    from_.handler(std::move(wanted), std::move(answer));
  }

  // Writes `out_`, then what is left of the body, piece by piece.
  void write() {
    stream_.expires_after(from_.limits.stall_timeout);
    const bool whole = !out_.empty();
    const auto piece =
        whole ? asio::buffer(out_) : asio::buffer(answer_.body.data() + sent_, std::min(piece_bytes, answer_.body.size() - sent_));
    asio::async_write(stream_, piece, [self = shared_from_this(), whole](error_code failed, std::size_t n) {
      if (failed) return self->close();
      if (whole)
        self->out_.clear();
      else
        self->sent_ += n;
      self->write_next();
    });
  }

  void write_next() {
    if (sent_ < answer_.body.size()) return write();
    if (!answer_.stream) return finished();
    answer_.body.clear();
    sent_ = 0;
    stream_.expires_never();
    busy_ = shared_from_this();
    answer_.stream->next([server = engine_.self, weak = weak_from_this()](result<std::string> piece) {
      if (const auto alive = server.lock())
        alive->post([weak, piece = std::make_shared<result<std::string>>(std::move(piece))] {
          if (const auto self = weak.lock()) self->on_piece(std::move(*piece));
        });
    });
  }

  void on_piece(result<std::string> piece) {
    const auto self = std::exchange(busy_, nullptr);
    // Cutting the connection is the only way left to say that something went wrong: the status line has been sent.
    if (!piece) return close();
    if (!answer_.endless) {
      if (piece->size() > stream_left_ || (piece->empty() && stream_left_ > 0)) return close();
      stream_left_ -= piece->size();
    }
    if (piece->empty()) {
      answer_.stream.reset();
      return finished();
    }
    answer_.body = std::move(*piece);
    write();
  }

  // A client that leaves an endless answer says nothing but its end; until it was noticed, its place would be taken.
  void watch_for_end() {
    stream_.socket().async_wait(tcp::socket::wait_read, [weak = weak_from_this()](error_code failed) {
      const auto self = weak.lock();
      if (failed || !self || !self->answer_.endless) return;
      self->close();
      self->busy_.reset();
    });
  }

  void finished() {
    answer_ = {};
    if (closing_) return linger();
    stream_.expires_after(from_.limits.idle_timeout);
    read_header();
  }

  // Closing at once with unread bytes in the kernel would send a reset, and the client would lose the answer.
  void linger() {
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    stream_.expires_after(linger_time);
    idle_ = true;
    buffer_.clear();
    discard(0);
  }

  void discard(std::size_t so_far) {
    if (so_far > linger_bytes) return close();
    stream_.async_read_some(buffer_.prepare(piece_bytes), [self = shared_from_this(), so_far](error_code failed, std::size_t n) {
      if (!failed) self->discard(so_far + n);
    });
  }

  void close() {
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
    stream_.close();
  }

  http_server::engine& engine_;
  http_server::engine::listener& from_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_{1 * limits::mib};
  std::optional<parser> parser_;
  verb method_ = verb::get;
  bool keep_alive_ = false, closing_ = false, idle_ = true;
  response answer_;
  std::string out_;
  std::size_t sent_ = 0;
  std::uint64_t stream_left_ = 0;
  std::shared_ptr<connection> busy_;  // this, while somebody else works on the answer
};

result<tcp::endpoint> resolve(asio::io_context& io, const std::string& address) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) return fail(failure::invalid_input, "listen address \"" + address + "\" has no port; write host:port");
  auto host = address.substr(0, colon);
  const auto port = address.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host.empty() || host == "*") host = "0.0.0.0";
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos || std::stoi(port) > 65535)
    return fail(failure::invalid_input,
                "listen address \"" + address + "\" has no valid port; write host:port with a port from 0 to 65535");
  error_code failed;
  const auto found = tcp::resolver(io).resolve(host, port, tcp::resolver::passive | tcp::resolver::numeric_service, failed);
  if (failed || found.empty())
    return fail(failure::invalid_input, "listen address \"" + address + "\" cannot be resolved: " + failed.message());
  return found.begin()->endpoint();
}

}  // namespace

void http_server::engine::accept(listener& at) {
  at.acceptor->async_accept([this, &at](error_code failed, tcp::socket socket) {
    if (stopping || failed == asio::error::operation_aborted) return;
    if (failed) {
      at.pause->expires_after(accept_pause);
      return at.pause->async_wait([this, &at](error_code) {
        if (!stopping) accept(at);
      });
    }
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    const bool full = at.open >= at.limits.connections;
    // Twice the number is closed without a word: even refusals are bounded.
    if (at.open < 2 * at.limits.connections) {
      const auto fresh = std::make_shared<connection>(*this, at, std::move(socket));
      full ? fresh->refuse_busy() : fresh->start();
    }
    accept(at);
  });
}

http_server::http_server() : engine_(std::make_unique<engine>()) {}
http_server::~http_server() { stop(milliseconds(0)); }

std::shared_ptr<http_server> http_server::create() {
  std::shared_ptr<http_server> made(new http_server());
  made->engine_->self = made;
  return made;
}

result<std::uint16_t> http_server::listen(const std::string& address, const http_limits& limits, request_handler handler) {
  auto& io = *engine_->io;
  const auto endpoint = resolve(io, address);
  if (!endpoint) return fail(endpoint.error());
  auto& fresh = engine_->listeners.emplace_back(io);
  fresh.limits = limits;
  fresh.handler = std::move(handler);
  error_code failed;
  fresh.acceptor->open(endpoint->protocol(), failed);
  if (!failed) fresh.acceptor->set_option(tcp::acceptor::reuse_address(true), failed);
  if (!failed) fresh.acceptor->bind(*endpoint, failed);
  if (!failed) fresh.acceptor->listen(asio::socket_base::max_listen_connections, failed);
  if (failed) {
    engine_->listeners.pop_back();
    if (failed == asio::error::address_in_use) return fail(failure::conflict, "address " + address + " is in use by another program");
    return fail(failed == asio::error::access_denied ? failure::invalid_input : failure::internal,
                "cannot listen on " + address + ": " + failed.message());
  }
  return fresh.acceptor->local_endpoint().port();
}

void http_server::run() {
  for (auto& l : engine_->listeners) engine_->accept(l);
  engine_->thread = std::thread([io = engine_->io.get()] {
    const auto work = asio::make_work_guard(*io);
    io->run();
  });
}

void http_server::stop(milliseconds grace) {
  auto& e = *engine_;
  if (e.thread.joinable()) {
    post([&e] {
      e.stopping = true;
      error_code ignored;
      for (auto& l : e.listeners) l.acceptor->close(ignored);
      const auto now = e.connections;  // closing may end one and change the set
      for (auto* c : now) c->close_if_idle();
    });
    std::unique_lock lock(e.guard);
    e.changed.wait_for(lock, grace, [&e] { return e.open == 0; });
    lock.unlock();
    e.io->stop();
    e.thread.join();
  }
  std::unique_ptr<asio::io_context> last;
  {
    const std::lock_guard lock(e.guard);
    last = std::move(e.io);
  }
  // Outside the lock: what waited in the loop may call `post` when it is destroyed.
  if (!last) return;
  const auto left = e.connections;
  for (auto* c : left) c->abandon();
  for (auto& l : e.listeners) {
    l.acceptor.reset();
    l.pause.reset();
  }
  last.reset();
  for (auto& l : e.listeners) l.handler = nullptr;  // it usually holds what holds this server
}

void http_server::post(std::function<void()> work) {
  const std::lock_guard lock(engine_->guard);
  if (engine_->io) asio::post(*engine_->io, std::move(work));
}

void http_server::after(milliseconds wait, std::function<void()> work) {
  const std::lock_guard lock(engine_->guard);
  if (!engine_->io) return;
  auto timer = std::make_shared<asio::steady_timer>(*engine_->io, wait);
  auto& at = *timer;
  at.async_wait([timer = std::move(timer), work = std::move(work)](error_code failed) {
    if (!failed) work();
  });
}

}  // namespace mailherd::api
