// transport/proxy: the two dialogues.
#include "transport/proxy.hpp"

#include <fmt/format.h>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "transport/address.hpp"

namespace mailherd::net {

namespace {

class dialogue : public proxy_dialogue, public std::enable_shared_from_this<dialogue> {
 public:
  dialogue(std::shared_ptr<stream> through, const proxy_settings& proxy, std::string host, std::uint16_t port, handler on_done)
      : through_(std::move(through)), proxy_(proxy), host_(std::move(host)), port_(port), on_done_(std::move(on_done)) {}

  virtual void begin() = 0;
  void drop() { on_done_ = {}; }

 protected:
  void send(std::string bytes) { through_->write(std::move(bytes), {}); }

  /// Collects exactly `size` bytes into heard_, then goes on with `next`.
  template <class Self>
  void hear(std::size_t size, void (Self::*next)()) {
    if (heard_.size() >= size) return (static_cast<Self*>(this)->*next)();
    through_->read(size - heard_.size(), [weak = weak_from_this(), size, next](result<std::string_view> bytes) {
      const auto self = std::static_pointer_cast<Self>(weak.lock());
      if (!self || !self->on_done_) return;
      if (!bytes) return self->refuse(bytes.error().code == failure::connection_lost ? "it closed the connection" : bytes.error().detail);
      self->heard_ += *bytes;
      self->hear(size, next);
    });
  }

  void refuse(std::string_view why) {
    finish(fail(failure::proxy_failed, fmt::format("proxy {}:{} gives no way to {}: {}", proxy_.host, proxy_.port, host_, why)));
  }
  void finish(result<void> outcome) {
    const auto done = std::exchange(on_done_, {});
    if (done) done(std::move(outcome));
  }

  std::shared_ptr<stream> through_;
  proxy_settings proxy_;
  std::string host_;
  std::uint16_t port_;
  std::string heard_;

 private:
  handler on_done_;
};

class http_connect final : public dialogue {
 public:
  using dialogue::dialogue;

  void begin() override {
    const auto literal = ip_address::parse(host_);
    const std::string authority = literal ? literal->text(port_) : fmt::format("{}:{}", host_, port_);
    std::string request = fmt::format("CONNECT {} HTTP/1.1\r\nHost: {}\r\n", authority, authority);
    if (!proxy_.username.empty())
      request += "Proxy-Authorization: Basic " + base64_encode(proxy_.username + ":" + proxy_.password.reveal()) + "\r\n";
    request += "\r\n";
    send(std::move(request));
    hear(1, &http_connect::next_byte);
  }

 private:
  /// Byte by byte, for the server may speak right behind the proxy's empty line.
  void next_byte() {
    if (heard_.ends_with("\r\n\r\n") || heard_.ends_with("\n\n")) return judge();
    if (heard_.size() >= limits::proxy_head_bytes) return refuse("its answer has no end");
    hear(heard_.size() + 1, &http_connect::next_byte);
  }

  void judge() {
    const std::string_view line = std::string_view(heard_).substr(0, heard_.find_first_of("\r\n"));
    // "HTTP/1.1 200 Connection established"
    const bool well_formed = line.starts_with("HTTP/1.") && line.size() >= 12 && line[8] == ' ';
    if (!well_formed) return refuse("it does not answer like an HTTP proxy");
    if (line[9] == '2') return finish({});
    if (line.substr(9, 3) == "407")
      return refuse(proxy_.username.empty() ? "it wants a user name and password" : "it does not accept the user name and password");
    refuse(fmt::format("it answers \"{}\"", clean_server_text(line.substr(9))));
  }
};

class socks5 final : public dialogue {
 public:
  using dialogue::dialogue;

  void begin() override {
    send(proxy_.username.empty() ? std::string("\x05\x01\x00", 3) : std::string("\x05\x02\x00\x02", 4));
    hear(2, &socks5::method_chosen);
  }

 private:
  unsigned char byte(std::size_t i) const { return static_cast<unsigned char>(heard_[i]); }

  void method_chosen() {
    if (byte(0) != 5) return refuse("it does not answer like a SOCKS5 proxy");
    const unsigned char method = byte(1);
    heard_.clear();
    if (method == 0) return ask();
    if (method != 2 || proxy_.username.empty()) return refuse("it wants another kind of authentication");
    std::string login("\x01", 1);
    login += static_cast<char>(proxy_.username.size()) + proxy_.username;
    login += static_cast<char>(proxy_.password.reveal().size()) + proxy_.password.reveal();
    send(std::move(login));
    hear(2, &socks5::login_answered);
  }

  void login_answered() {
    if (byte(1) != 0) return refuse("it does not accept the user name and password");
    heard_.clear();
    ask();
  }

  void ask() {
    std::string request("\x05\x01\x00", 3);
    if (const auto literal = ip_address::parse(host_)) {
      request += literal->v6 ? '\x04' : '\x01';
      request.append(reinterpret_cast<const char*>(literal->bytes.data()), literal->v6 ? 16 : 4);
    } else {
      request += '\x03';
      request += static_cast<char>(host_.size());
      request += host_;
    }
    request += static_cast<char>(port_ >> 8);
    request += static_cast<char>(port_ & 0xff);
    send(std::move(request));
    hear(2, &socks5::answered);
  }

  /// Version and reply: of a refusal some proxies send nothing more.
  void answered() {
    if (byte(0) != 5) return refuse("it does not answer like a SOCKS5 proxy");
    static constexpr std::string_view words[] = {"",
                                                 "general failure",
                                                 "its rules forbid it",
                                                 "the network cannot be reached",
                                                 "the host cannot be reached",
                                                 "connection refused",
                                                 "the way is too long",
                                                 "it knows no CONNECT",
                                                 "it knows no such address type"};
    if (const unsigned char reply = byte(1); reply != 0) return refuse(reply < std::size(words) ? words[reply] : "an unknown failure");
    hear(5, &socks5::accepted);
  }

  /// Reserved, address type, and the first byte of the address, which for a name is its length.
  void accepted() {
    switch (byte(3)) {
      case 1: return hear(4 + 4 + 2, &socks5::opened);
      case 3: return hear(4 + 1 + byte(4) + 2u, &socks5::opened);
      case 4: return hear(4 + 16 + 2, &socks5::opened);
      default: return refuse("it does not answer like a SOCKS5 proxy");
    }
  }

  void opened() { finish({}); }
};

/// What the dialer holds: the dialogue itself is shared with the reads under way.
class owned_dialogue final : public proxy_dialogue {
 public:
  explicit owned_dialogue(std::shared_ptr<dialogue> d) : dialogue_(std::move(d)) {}
  ~owned_dialogue() override { dialogue_->drop(); }

 private:
  std::shared_ptr<dialogue> dialogue_;
};

}  // namespace

std::unique_ptr<proxy_dialogue> proxy_dialogue::begin(std::shared_ptr<stream> through, const proxy_settings& proxy, std::string host,
                                                      std::uint16_t port, handler on_done) {
  std::shared_ptr<dialogue> d;
  if (proxy.kind == proxy_kind::socks5)
    d = std::make_shared<socks5>(std::move(through), proxy, std::move(host), port, std::move(on_done));
  else
    d = std::make_shared<http_connect>(std::move(through), proxy, std::move(host), port, std::move(on_done));
  d->begin();
  return std::make_unique<owned_dialogue>(std::move(d));
}

}  // namespace mailherd::net
