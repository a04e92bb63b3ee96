// tests/peers_test/support: the few words in which these tests speak to a mail server: a raw client, no engine of ours.
//
// Owns:   logins and fetches by hand. Never: the product's protocol rooms; what is proven here must not depend on what it will be used for.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "tests/peers/tls_client.hpp"

namespace mailherd::peers::test {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using namespace std::chrono_literals;

/// Connected, its greeting read.
inline tls_client plain(std::uint16_t port) {
  tls_client out({.port = port, .tls = client_tls::none});
  out.read_line();
  return out;
}

inline tls_client secured(std::uint16_t port, const std::filesystem::path& ca_file) {
  tls_client out({.port = port, .ca_file = ca_file});
  out.read_line();
  return out;
}

inline std::string sign_in(tls_client& client, const std::string& user, const std::string& password) {
  return client.imap("a1", "LOGIN " + user + " " + password);
}

/// With SASL-IR; answers an error challenge as RFC 7628 and Google ask (an empty line, or ^A), so that the tagged answer comes.
inline std::string authenticate(tls_client& client, const std::string& mechanism, const std::string& initial,
                                std::string* challenge = nullptr) {
  client.write("a1 AUTHENTICATE " + mechanism + " " + initial + "\r\n");
  for (;;) {
    const std::string line = client.read_line();
    if (line.compare(0, 3, "a1 ") == 0) return line;
    if (line.compare(0, 2, "+ ") != 0) continue;
    if (challenge != nullptr) *challenge = line.substr(2);
    client.write(mechanism == "OAUTHBEARER" ? "AQ==\r\n" : "\r\n");
  }
}

/// The body of each message, by UID order.
inline std::vector<std::string> fetch_all(tls_client& client) {
  std::vector<std::string> out;
  client.write("f1 UID FETCH 1:* (BODY.PEEK[])\r\n");
  for (;;) {
    const std::string line = client.read_line();
    if (line.compare(0, 3, "f1 ") == 0) return out;
    const auto brace = line.rfind('{');
    if (line.back() == '}' && brace != std::string::npos) out.push_back(client.read_exact(std::stoull(line.substr(brace + 1))));
  }
}

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace mailherd::peers::test
