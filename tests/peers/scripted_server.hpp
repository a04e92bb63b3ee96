// tests/peers/scripted_server: a hostile server in a thread, one C++ function per connection.
//
// Owns:   a listening socket on 127.0.0.1, a thread per connection, the transcript.
// Never:  waits longer than `patience` for the client; stop() ends every script wherever it is, and joins its thread.
// Threads: a script runs in its connection's thread; the public functions of scripted_server may be called from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/peers/test_ca.hpp"

namespace mailherd::peers {

struct connection_state;
struct server_state;

/// The script's side of one connection. When the client is gone, or the server is stopped, its functions unwind the script (they throw
/// a type that only the server catches: do not catch (...) without rethrowing).
class connection {
 public:
  /// 0 for the server's first connection, 1 for the next.
  [[nodiscard]] std::size_t index() const noexcept;

  /// Bytes as they are.
  void send(std::string_view bytes);
  /// Adds CRLF.
  void send_line(std::string_view line);
  /// In pieces of `size` bytes, each a segment of its own, with `pause` between them.
  void send_pieces(std::string_view bytes, std::size_t size, std::chrono::milliseconds pause = {});

  /// The next line without CRLF.
  std::string read_line();
  /// The next line; the test fails (see scripted_server::problems) and the script ends unless it begins with `prefix`, case ignored.
  std::string expect(std::string_view prefix);
  std::string read_exact(std::size_t size);
  /// True if a line can be read within `timeout` without consuming it; false if the client stays silent, or as soon as wake_all() is
  /// called.
  bool line_waits(std::chrono::milliseconds timeout);
  /// Reads and drops everything until the client closes.
  void drain();

  /// Does nothing until scripted_server::release(), the client's close is not looked at.
  void hang();
  /// FIN (TLS: close_notify and FIN).
  void close();
  /// FIN without close_notify.
  void cut();
  /// RST.
  void reset();
  /// The server's side of STARTTLS/STLS, with options.tls or another certificate.
  void start_tls();
  void start_tls(const certificate& other);
  [[nodiscard]] bool encrypted() const noexcept;
  /// True as soon as stop() was called.
  [[nodiscard]] bool stopping() const noexcept;

  explicit connection(connection_state& state) : state_(state) {}
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

 private:
  connection_state& state_;
};

struct script_options {
  std::optional<certificate> tls = {};              ///< for implicit TLS and start_tls()
  bool implicit_tls = false;
  std::chrono::milliseconds patience = std::chrono::seconds(20);  ///< one read or write; past it the script is unwound and reported
  bool accept = true;                          ///< false: connections stay in the kernel's queue, the server never answers
};

class scripted_server {
 public:
  using script = std::function<void(connection&)>;

  /// Listens at once. Every connection runs `script` in a thread of its own; when it returns the connection is closed.
  explicit scripted_server(script each, script_options options = {});
  ~scripted_server();
  scripted_server(const scripted_server&) = delete;
  scripted_server& operator=(const scripted_server&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept;
  /// Connections accepted so far, and those whose script still runs.
  [[nodiscard]] std::size_t connections() const;
  [[nodiscard]] std::size_t active() const;
  bool wait_connections(std::size_t count, std::chrono::milliseconds timeout = std::chrono::seconds(10)) const;
  /// Lets every hang(), present and future, go on.
  void release();
  /// Makes every line_waits() return: the server's own state has changed and there may be something to tell.
  void wake_all();
  /// Ends all connections that are open now with a reset; new ones are accepted.
  void drop_all();
  /// Everything of one connection, in order: "C: line", "S: line"; a long line is shortened, binary bytes are escaped.
  [[nodiscard]] std::vector<std::string> transcript(std::size_t connection) const;
  /// True when a line of any connection's transcript contains `text`.
  [[nodiscard]] bool saw(std::string_view text) const;
  bool wait_saw(std::string_view text, std::chrono::milliseconds timeout = std::chrono::seconds(10)) const;
  /// What went unlike a script expected; empty in a good test.
  [[nodiscard]] std::vector<std::string> problems() const;
  /// Closes the listening socket (refused from now on) and every connection, joins the threads. Also in the destructor.
  void stop();

 private:
  std::unique_ptr<server_state> state_;
};

}  // namespace mailherd::peers
