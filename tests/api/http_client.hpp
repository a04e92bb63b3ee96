// tests/api/http_client: a plain blocking HTTP/1.1 client on a socket, which can also misbehave.
//
// Owns:   one connection. Used by the tests of api and ctl. Every read has a deadline: a hanging server fails the test instead of hanging
// it.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace mailherd::test {

struct http_reply {
  int status = 0;                              ///< 0: no answer
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;
  [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
  [[nodiscard]] std::string header(const std::string& name) const { return headers.contains(name) ? headers.at(name) : ""; }
};

class http_connection {
 public:
  explicit http_connection(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  ~http_connection() { ::close(fd_); }
  http_connection(const http_connection&) = delete;
  http_connection& operator=(const http_connection&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }

  bool write(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  /// Reads more into the buffer; false at the end of the connection or after `wait_ms`.
  bool read_some(int wait_ms = 20'000) {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, wait_ms) <= 0) return false;
    char bytes[65536];
    const auto n = ::recv(fd_, bytes, sizeof bytes, 0);
    if (n <= 0) return false;
    buffer_.append(bytes, static_cast<std::size_t>(n));
    return true;
  }

  /// What has been read and belongs to no answer yet.
  [[nodiscard]] const std::string& unread() const { return buffer_; }
  /// What has been read and not been taken yet: for answers without an end.
  std::string taken() { return std::exchange(buffer_, {}); }

  /// True when the peer closes within `wait_ms` (whatever it sends before).
  bool closed_by_peer(int wait_ms = 20'000) {
    while (true) {
      pollfd p{fd_, POLLIN, 0};
      if (::poll(&p, 1, wait_ms) <= 0) return false;
      char bytes[4096];
      if (::recv(fd_, bytes, sizeof bytes, 0) <= 0) return true;
    }
  }

  http_reply read_reply(bool no_body = false) {
    http_reply r;
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!read_some()) return r;
    const std::string head = buffer_.substr(0, end);
    buffer_.erase(0, end + 4);
    r.status = std::atoi(head.c_str() + 9);
    for (std::size_t at = head.find("\r\n"); at != std::string::npos;) {
      const auto next = head.find("\r\n", at + 2);
      const auto line = head.substr(at + 2, next == std::string::npos ? next : next - at - 2);
      const auto colon = line.find(": ");
      std::string name = line.substr(0, colon);
      for (auto& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      if (colon != std::string::npos) r.headers[name] = line.substr(colon + 2);
      at = next;
    }
    const auto length = no_body || !r.headers.contains("content-length") ? 0 : std::stoull(r.headers["content-length"]);
    while (buffer_.size() < length)
      if (!read_some()) break;
    r.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return r;
  }

  http_reply send(const std::string& method, const std::string& target, const std::optional<std::string>& body = {},
                  const std::map<std::string, std::string>& headers = {}) {
    std::string text = method + " " + target + " HTTP/1.1\r\nHost: test\r\n";
    for (const auto& [name, value] : headers) text += name + ": " + value + "\r\n";
    if (body && !headers.contains("Content-Type")) text += "Content-Type: application/json\r\n";
    if (body) text += "Content-Length: " + std::to_string(body->size()) + "\r\n";
    write(text + "\r\n" + body.value_or(""));
    return read_reply(method == "HEAD");
  }

 private:
  int fd_;
  bool connected_ = false;
  std::string buffer_;
};

}  // namespace mailherd::test
