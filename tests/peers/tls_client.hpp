// tests/peers/tls_client: the smallest blocking line client, plain or TLS.
//
// Owns:   one socket. Used by self tests, by benchmarks as the floor to compare with, and wherever a test must speak IMAP or POP3 raw.
// Never:  more than one thread; every call has a deadline of `timeout`, past which it throws peer_error.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace mailherd::peers {

enum class client_tls { none, implicit };

struct client_options {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;
  client_tls tls = client_tls::implicit;
  std::filesystem::path ca_file = {};          ///< empty: the certificate is not checked
  std::string server_name = "localhost";  ///< SNI, and the name checked
  std::chrono::milliseconds timeout = std::chrono::seconds(20);
};

class tls_client {
 public:
  explicit tls_client(const client_options& options);
  ~tls_client();
  tls_client(tls_client&&) noexcept;
  tls_client& operator=(tls_client&&) noexcept;

  void write(std::string_view bytes);
  /// Without its CRLF.
  std::string read_line();
  /// The next line, valid until the next call; nothing is copied.
  std::string_view next_line();
  std::string read_exact(std::size_t size);
  /// Reads and drops; what a benchmark's floor does with bodies.
  void skip(std::size_t size);
  /// True if the peer has closed (waits for it until the timeout); false if bytes came instead.
  bool at_end();
  /// After STARTTLS or STLS was answered.
  void start_tls();
  void close();

  /// Sends "<line>\r\n" and reads until the line that starts with `tag` + " "; returns everything read, lines joined by CRLF, literals
  /// inside.
  std::string imap(std::string_view tag, std::string_view command);
  /// Sends a POP3 command; returns the first line, and with `multi` the whole dot-terminated answer (dots unstuffed) after it.
  std::string pop3(std::string_view command, bool multi = false);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// Base64 of "user=…\x01auth=Bearer …\x01\x01".
std::string xoauth2_initial_response(std::string_view user, std::string_view token);

}  // namespace mailherd::peers
