// tests/peers/tls_client: implementation; blocking sockets with kernel time-outs.
#include "tests/peers/tls_client.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include <fmt/format.h>

#include "core/base64.hpp"
#include "tests/peers/files.hpp"

namespace mailherd::peers {

namespace {
constexpr std::size_t buffer_bytes = 64 * 1024;

std::string openssl_reason() {
  char text[256] = "";
  ERR_error_string_n(ERR_peek_last_error(), text, sizeof text);
  ERR_clear_error();
  return text;
}

/// One for each CA file, for as long as the process lives: a benchmark's floor must not pay for it at every connection. Null if the file
/// cannot be used.
SSL_CTX* context_for(const std::filesystem::path& ca_file) {
  static std::mutex mutex;
  static auto* const known = new std::map<std::filesystem::path, SSL_CTX*>;  // lasts longer than any static object
  const std::lock_guard lock(mutex);
  SSL_CTX*& context = (*known)[ca_file];
  if (context != nullptr) return context;
  SSL_CTX* fresh = SSL_CTX_new(TLS_client_method());
  if (!ca_file.empty()) {
    if (SSL_CTX_load_verify_file(fresh, ca_file.c_str()) != 1) {
      SSL_CTX_free(fresh);
      return nullptr;
    }
    SSL_CTX_set_verify(fresh, SSL_VERIFY_PEER, nullptr);
  }
  return context = fresh;
}
}  // namespace

struct tls_client::state {
  client_options options;
  int fd = -1;
  SSL* ssl = nullptr;
  std::vector<char> buffer = std::vector<char>(buffer_bytes);
  std::size_t begin = 0, end = 0;
  std::string long_line;

  ~state() {
    if (ssl != nullptr) SSL_free(ssl);
    if (fd >= 0) ::close(fd);
  }

  [[noreturn]] void fail(std::string_view what) const { throw peer_error(fmt::format("client of port {}: {}", options.port, what)); }

  void connect() {
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(options.timeout).count();
    const timeval limit{microseconds / 1'000'000, microseconds % 1'000'000};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options.port);
    ::inet_pton(AF_INET, options.address.c_str(), &address.sin_addr);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail(std::strerror(errno));
  }

  void handshake() {
    SSL_CTX* context = context_for(options.ca_file);
    if (context == nullptr) fail("CA file: " + openssl_reason());
    ssl = SSL_new(context);
    if (!options.ca_file.empty()) SSL_set1_host(ssl, options.server_name.c_str());
    SSL_set_tlsext_host_name(ssl, options.server_name.c_str());
    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) != 1) fail("TLS: " + openssl_reason());
  }

  /// Bytes read; 0 at the end of the stream.
  std::size_t read_some(char* into, std::size_t size) {
    const auto got = ssl != nullptr ? SSL_read(ssl, into, static_cast<int>(std::min<std::size_t>(size, 1U << 30U)))
                                    : static_cast<int>(::recv(fd, into, size, 0));
    if (got > 0) return static_cast<std::size_t>(got);
    if (ssl != nullptr) {
      const int reason = SSL_get_error(ssl, got);
      if (reason == SSL_ERROR_ZERO_RETURN || (reason == SSL_ERROR_SYSCALL && errno == 0)) return 0;
      if (reason == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return 0;
      }
      fail(errno == EAGAIN ? std::string("nothing came in time") : "TLS read: " + openssl_reason());
    }
    if (got == 0) return 0;
    fail(errno == EAGAIN ? "nothing came in time" : std::strerror(errno));
  }

  bool fill() {
    begin = end = 0;  // read_some may throw
    end = read_some(buffer.data(), buffer.size());
    return end > 0;
  }
};

tls_client::tls_client(const client_options& options) : state_(std::make_unique<state>()) {
  // OpenSSL writes without MSG_NOSIGNAL: a server that has gone must be an error, not the end of the process.
  static const auto ignored [[maybe_unused]] = ::signal(SIGPIPE, SIG_IGN);
  state_->options = options;
  state_->connect();
  if (options.tls == client_tls::implicit) state_->handshake();
}

tls_client::~tls_client() = default;
tls_client::tls_client(tls_client&&) noexcept = default;
tls_client& tls_client::operator=(tls_client&&) noexcept = default;

void tls_client::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto put = state_->ssl != nullptr ? SSL_write(state_->ssl, bytes.data(), static_cast<int>(bytes.size()))
                                            : static_cast<int>(::send(state_->fd, bytes.data(), bytes.size(), MSG_NOSIGNAL));
    if (put <= 0) state_->fail(fmt::format("cannot write: {}", std::strerror(errno)));
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

std::string_view tls_client::next_line() {
  state& s = *state_;
  s.long_line.clear();
  for (;;) {
    if (s.begin == s.end && !s.fill()) s.fail("the server closed the connection");
    const char* from = s.buffer.data() + s.begin;
    const auto* newline = static_cast<const char*>(std::memchr(from, '\n', s.end - s.begin));
    const std::size_t size = newline != nullptr ? static_cast<std::size_t>(newline - from) : s.end - s.begin;
    s.begin += size + (newline != nullptr ? 1 : 0);
    std::string_view line(from, size);
    if (newline == nullptr || !s.long_line.empty()) {
      s.long_line.append(line);
      line = s.long_line;
    }
    if (newline == nullptr) continue;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    return line;
  }
}

std::string tls_client::read_line() { return std::string(next_line()); }

std::string tls_client::read_exact(std::size_t size) {
  state& s = *state_;
  std::string out;
  out.reserve(size);
  while (out.size() < size) {
    if (s.begin == s.end && !s.fill()) s.fail("the server closed the connection");
    const std::size_t take = std::min(size - out.size(), s.end - s.begin);
    out.append(s.buffer.data() + s.begin, take);
    s.begin += take;
  }
  return out;
}

void tls_client::skip(std::size_t size) {
  state& s = *state_;
  while (size > 0) {
    if (s.begin == s.end && !s.fill()) s.fail("the server closed the connection");
    const std::size_t take = std::min(size, s.end - s.begin);
    s.begin += take;
    size -= take;
  }
}

bool tls_client::at_end() {
  state& s = *state_;
  try {
    return s.begin == s.end && !s.fill();
  } catch (const peer_error&) {
    // A reset is an end too; silence until the timeout is not.
    if (errno == ECONNRESET || errno == EPIPE) return true;
    throw;
  }
}

void tls_client::start_tls() {
  if (state_->begin != state_->end) state_->fail("bytes came before TLS began");
  state_->handshake();
}

void tls_client::close() {
  if (state_->ssl != nullptr) SSL_shutdown(state_->ssl);
  ::shutdown(state_->fd, SHUT_RDWR);
}

std::string tls_client::imap(std::string_view tag, std::string_view command) {
  write(fmt::format("{} {}\r\n", tag, command));
  std::string out;
  for (;;) {
    const std::string line = read_line();
    out += line + "\r\n";
    if (line.size() > tag.size() && line.compare(0, tag.size(), tag) == 0 && line[tag.size()] == ' ') return out;
    const auto brace = line.rfind('{');
    if (!line.empty() && line.back() == '}' && brace != std::string::npos) out += read_exact(std::stoull(line.substr(brace + 1)));
  }
}

std::string tls_client::pop3(std::string_view command, bool multi) {
  write(fmt::format("{}\r\n", command));
  std::string out = read_line();
  if (!multi || out.compare(0, 3, "+OK") != 0) return out;
  out += "\r\n";
  for (std::string line; (line = read_line()) != ".";) out += (line.compare(0, 1, ".") == 0 ? line.substr(1) : line) + "\r\n";
  return out;
}

std::string xoauth2_initial_response(std::string_view user, std::string_view token) {
  return base64_encode(fmt::format("user={}\x01"
                                   "auth=Bearer {}\x01\x01",
                                   user, token));
}

}  // namespace mailherd::peers
