// tests/peers/scripted_server: implementation. Non-blocking sockets, and a wake-up descriptor per connection, so that stop() is at once.
#include "tests/peers/scripted_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "tests/peers/files.hpp"

namespace mailherd::peers {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr std::size_t transcript_line = 300;
constexpr milliseconds linger{1000};

/// Unwinds a script: the client is gone, or the server is stopped, or what was expected did not come.
struct script_over {};

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, transcript_line)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte > 0x7e) out += fmt::format("\\x{:02x}", byte);
    else out += c;
  }
  if (text.size() > transcript_line) out += fmt::format("… ({} bytes)", text.size());
  return out;
}

void set_wake(int fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(fd, &one, sizeof one);
}

void clear_wake(int fd) {
  std::uint64_t value = 0;
  [[maybe_unused]] const ssize_t ignored = ::read(fd, &value, sizeof value);
}

SSL_CTX* server_context(const certificate& pair) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(context, pair.certificate_file.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, pair.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    SSL_CTX_free(context);
    throw peer_error("scripted server: certificate cannot be used");
  }
  return context;
}

}  // namespace

struct server_state {
  script_options options;
  scripted_server::script script;
  int listener = -1;
  int wake = -1;  ///< ends the accepting thread
  std::uint16_t port = 0;
  std::atomic<bool> stopping{false};
  std::atomic<bool> released{false};
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  std::vector<std::shared_ptr<connection_state>> connections;
  std::vector<std::thread> threads;
  std::vector<std::string> problems;
  std::size_t active = 0;
  std::thread acceptor;

  void problem(std::string text) {
    const std::lock_guard lock(mutex);
    problems.push_back(std::move(text));
  }
};

struct connection_state {
  server_state& server;
  std::size_t index;
  int fd;
  int wake;
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
  std::string input;
  std::atomic<bool> dropped{false};
  std::vector<std::string> transcript;  ///< guarded by server.mutex

  connection_state(server_state& owner, std::size_t number, int socket)
      : server(owner), index(number), fd(socket), wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~connection_state() {
    shut(true);
    ::close(wake);
  }

  void note(char who, std::string_view text) {
    const std::lock_guard lock(server.mutex);
    transcript.push_back(fmt::format("{}: {}", who, printable(text)));
    server.changed.notify_all();
  }

  [[nodiscard]] bool over() const { return server.stopping || dropped; }

  /// Waits for `events` on the socket until `end`. False when time is up, or (if `wakeable`) when somebody woke it.
  bool wait(short events, steady_clock::time_point end, bool wakeable = false) {
    for (;;) {
      if (over()) throw script_over{};
      const auto left = std::chrono::ceil<milliseconds>(end - steady_clock::now()).count();
      if (left <= 0) return false;
      std::array<pollfd, 2> both{pollfd{fd, events, 0}, pollfd{wake, POLLIN, 0}};
      if (::poll(both.data(), both.size(), static_cast<int>(std::min<std::int64_t>(left, 1'000'000))) < 0 && errno != EINTR)
        throw script_over{};
      if (both[0].revents != 0) return true;
      if (both[1].revents == 0) continue;
      clear_wake(wake);
      if (wakeable && !over()) return false;
    }
  }

  void patient(short events, steady_clock::time_point end, std::string_view doing) {
    if (wait(events, end)) return;
    server.problem(fmt::format("connection {}: {} for {} ms", index, doing, server.options.patience.count()));
    throw script_over{};
  }

  [[nodiscard]] steady_clock::time_point patience() const { return steady_clock::now() + server.options.patience; }

  /// What a TLS call that could not finish needs; throws when the connection is over.
  short tls_needs(int returned) {
    const int reason = SSL_get_error(ssl, returned);
    if (reason == SSL_ERROR_WANT_READ) return POLLIN;
    if (reason == SSL_ERROR_WANT_WRITE) return POLLOUT;
    ERR_clear_error();
    throw script_over{};
  }

  void write(std::string_view bytes) {
    if (fd < 0) throw script_over{};
    const auto end = patience();
    while (!bytes.empty()) {
      if (over()) throw script_over{};
      short needs = POLLOUT;
      std::size_t put = 0;
      if (ssl != nullptr) {
        const int done = SSL_write(ssl, bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 1U << 20U)));
        if (done > 0) put = static_cast<std::size_t>(done);
        else needs = tls_needs(done);
      } else {
        const ssize_t done = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (done > 0) put = static_cast<std::size_t>(done);
        else if (errno != EAGAIN && errno != EINTR) throw script_over{};
      }
      bytes.remove_prefix(put);
      if (put == 0) patient(needs, end, "the client read nothing");
    }
  }

  /// Adds what can be read now to `input`; POLLIN or POLLOUT if it must wait first, 0 if something came. Throws at the end of the stream.
  short read_some() {
    std::array<char, 16384> buffer;
    ssize_t got = 0;
    if (ssl != nullptr) {
      got = SSL_read(ssl, buffer.data(), static_cast<int>(buffer.size()));
      if (got <= 0) return tls_needs(static_cast<int>(got));
    } else {
      got = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return POLLIN;
      if (got <= 0) throw script_over{};
    }
    input.append(buffer.data(), static_cast<std::size_t>(got));
    return 0;
  }

  void read_more(steady_clock::time_point end) {
    if (fd < 0) throw script_over{};
    if (over()) throw script_over{};
    const short needs = read_some();
    if (needs != 0) patient(needs, end, "the client said nothing");
  }

  void handshake(const certificate& pair) {
    context = server_context(pair);
    ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    const auto end = patience();
    for (int done = 0; (done = SSL_accept(ssl)) != 1;) patient(tls_needs(done), end, "no TLS handshake");
  }

  void shut(bool with_reset) {
    if (fd < 0) return;
    if (with_reset) {
      const ::linger none{1, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    }
    if (ssl != nullptr) SSL_free(ssl);
    if (context != nullptr) SSL_CTX_free(context);
    ssl = nullptr;
    context = nullptr;
    ::close(fd);
    fd = -1;
  }

  /// FIN, then reads what still comes for a moment: closing with unread input would send a reset that overtakes our last words.
  void finish(bool notify) {
    if (fd < 0) return;
    if (ssl != nullptr && notify) SSL_shutdown(ssl);
    ERR_clear_error();
    ::shutdown(fd, SHUT_WR);
    try {
      const auto end = steady_clock::now() + linger;
      std::array<char, 16384> buffer;
      while (wait(POLLIN, end)) {
        const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) break;
      }
    } catch (const script_over&) {
    }
    shut(false);
  }
};

// ---- connection: the script's view ----------------------------------------------------------------------------------------------

std::size_t connection::index() const noexcept { return state_.index; }
bool connection::encrypted() const noexcept { return state_.ssl != nullptr; }
bool connection::stopping() const noexcept { return state_.over(); }

void connection::send(std::string_view bytes) {
  std::string_view rest = bytes;
  // A large body would fill the transcript with lines nobody reads.
  for (int lines = 0; !rest.empty() && lines < 4; ++lines) {
    const auto end = std::min(rest.find("\r\n"), rest.size());
    state_.note('S', rest.substr(0, end));
    rest.remove_prefix(std::min(rest.size(), end + 2));
  }
  state_.write(bytes);
}

void connection::send_line(std::string_view line) { send(std::string(line) + "\r\n"); }

void connection::send_pieces(std::string_view bytes, std::size_t size, milliseconds pause) {
  state_.note('S', bytes);
  for (std::size_t at = 0; at < bytes.size(); at += size) {
    state_.write(bytes.substr(at, size));
    if (pause.count() > 0) state_.wait(0, steady_clock::now() + pause);
  }
}

std::string connection::read_line() {
  const auto end = state_.patience();
  for (;;) {
    const auto newline = state_.input.find('\n');
    if (newline != std::string::npos) {
      std::string line = state_.input.substr(0, newline);
      state_.input.erase(0, newline + 1);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      state_.note('C', line);
      return line;
    }
    state_.read_more(end);
  }
}

std::string connection::expect(std::string_view prefix) {
  std::string line = read_line();
  const bool same = line.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), line.begin(), [](char a, char b) {
                      return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
                    });
  if (same) return line;
  state_.server.problem(fmt::format("connection {}: expected \"{}\", the client said \"{}\"", index(), prefix, printable(line)));
  throw script_over{};
}

std::string connection::read_exact(std::size_t size) {
  const auto end = state_.patience();
  while (state_.input.size() < size) state_.read_more(end);
  std::string out = state_.input.substr(0, size);
  state_.input.erase(0, size);
  state_.note('C', fmt::format("{{{} bytes}}", size));
  return out;
}

bool connection::line_waits(milliseconds timeout) {
  const auto end = steady_clock::now() + timeout;
  while (state_.input.find('\n') == std::string::npos) {
    if (state_.over() || state_.fd < 0) throw script_over{};
    const short needs = state_.read_some();
    if (needs != 0 && !state_.wait(needs, end, true)) return false;
  }
  return true;
}

void connection::drain() {
  for (;;) {
    state_.input.clear();
    state_.read_more(steady_clock::now() + std::chrono::hours(1));
  }
}

void connection::hang() {
  while (!state_.server.released) {
    if (state_.over()) throw script_over{};
    pollfd waker{state_.wake, POLLIN, 0};
    ::poll(&waker, 1, -1);
    clear_wake(state_.wake);
  }
}

void connection::close() {
  state_.note('S', "(close)");
  state_.finish(true);
}

void connection::cut() {
  state_.note('S', "(cut)");
  state_.finish(false);
}

void connection::reset() {
  state_.note('S', "(reset)");
  state_.shut(true);
}

void connection::start_tls() {
  if (!state_.server.options.tls) throw peer_error("scripted server: no certificate for TLS");
  start_tls(*state_.server.options.tls);
}

void connection::start_tls(const certificate& other) {
  state_.input.clear();
  state_.handshake(other);
}

// ---- scripted_server ------------------------------------------------------------------------------------------------------------

namespace {

void serve(server_state& server, const std::shared_ptr<connection_state>& state) {
  // OpenSSL writes without MSG_NOSIGNAL: a client that has gone must not end the whole process.
  sigset_t pipe_signal;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe_signal, nullptr);
  try {
    if (server.options.implicit_tls) state->handshake(server.options.tls.value());
    connection view(*state);
    server.script(view);
  } catch (const script_over&) {
  } catch (const std::exception& error) {
    server.problem(fmt::format("connection {}: {}", state->index, error.what()));
  }
  {
    const std::lock_guard lock(server.mutex);
    --server.active;
    server.changed.notify_all();
  }
  if (state->over()) state->shut(state->dropped);
  else state->finish(true);
}

void accept_connections(server_state& server) {
  for (;;) {
    std::array<pollfd, 2> both{pollfd{server.listener, POLLIN, 0}, pollfd{server.wake, POLLIN, 0}};
    ::poll(both.data(), both.size(), -1);
    if (server.stopping) return;
    const int fd = ::accept4(server.listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) continue;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::lock_guard lock(server.mutex);
    auto state = std::make_shared<connection_state>(server, server.connections.size(), fd);
    server.connections.push_back(state);
    ++server.active;
    server.threads.emplace_back([&server, state] { serve(server, state); });
    server.changed.notify_all();
  }
}

}  // namespace

scripted_server::scripted_server(script each, script_options options) : state_(std::make_unique<server_state>()) {
  state_->options = std::move(options);
  state_->script = std::move(each);
  if (state_->options.implicit_tls && !state_->options.tls) throw peer_error("scripted server: implicit TLS without a certificate");
  state_->wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  state_->listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(state_->listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(state_->listener, 1024) != 0 ||
      ::getsockname(state_->listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw peer_error(fmt::format("scripted server: {}", std::strerror(errno)));
  state_->port = ntohs(address.sin_port);
  if (state_->options.accept) state_->acceptor = std::thread([state = state_.get()] { accept_connections(*state); });
}

scripted_server::~scripted_server() {
  stop();
  ::close(state_->wake);
}

std::uint16_t scripted_server::port() const noexcept { return state_->port; }

std::size_t scripted_server::connections() const {
  const std::lock_guard lock(state_->mutex);
  return state_->connections.size();
}

std::size_t scripted_server::active() const {
  const std::lock_guard lock(state_->mutex);
  return state_->active;
}

bool scripted_server::wait_connections(std::size_t count, milliseconds timeout) const {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, timeout, [&] { return state_->connections.size() >= count; });
}

void scripted_server::release() {
  state_->released = true;
  wake_all();
}

void scripted_server::wake_all() {
  const std::lock_guard lock(state_->mutex);
  for (const auto& one : state_->connections) set_wake(one->wake);
}

void scripted_server::drop_all() {
  const std::lock_guard lock(state_->mutex);
  for (const auto& one : state_->connections) {
    one->dropped = true;
    set_wake(one->wake);
  }
}

std::vector<std::string> scripted_server::transcript(std::size_t connection) const {
  const std::lock_guard lock(state_->mutex);
  return connection < state_->connections.size() ? state_->connections[connection]->transcript : std::vector<std::string>{};
}

bool scripted_server::saw(std::string_view text) const { return wait_saw(text, milliseconds(0)); }

bool scripted_server::wait_saw(std::string_view text, milliseconds timeout) const {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, timeout, [&] {
    return std::any_of(state_->connections.begin(), state_->connections.end(), [&](const auto& one) {
      return std::any_of(one->transcript.begin(), one->transcript.end(),
                         [&](const std::string& line) { return line.find(text) != std::string::npos; });
    });
  });
}

std::vector<std::string> scripted_server::problems() const {
  const std::lock_guard lock(state_->mutex);
  return state_->problems;
}

void scripted_server::stop() {
  if (state_->stopping.exchange(true)) return;
  set_wake(state_->wake);
  if (state_->acceptor.joinable()) state_->acceptor.join();
  if (state_->listener >= 0) ::close(state_->listener);
  state_->listener = -1;
  wake_all();
  // The acceptor has ended: nobody adds threads any more.
  for (auto& thread : state_->threads) thread.join();
  state_->threads.clear();
}

}  // namespace mailherd::peers
