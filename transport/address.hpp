// transport/address: an IP address as a value: parsing, text, socket form, and whether it is one of the public Internet.
//
// Owns:   `ip_address` and the table of special-purpose networks (RFC 6890 and its registry).
// Never:  resolves a name.
// Used by: policy, resolver, dialer, HTTP client.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailherd::net {

struct ip_address {
  bool v6 = false;
  std::array<unsigned char, 16> bytes{};   ///< network order; an IPv4 address uses the first four

  /// A literal, with or without brackets and zone ("[fe80::1%eth0]"; the zone is dropped); nullopt for anything else.
  static std::optional<ip_address> parse(std::string_view text);
  /// Of an AF_INET or AF_INET6 socket address; nullopt for other families.
  static std::optional<ip_address> of(const sockaddr* address);

  [[nodiscard]] std::string text() const;
  /// "192.0.2.1:993", "[2001:db8::1]:993".
  [[nodiscard]] std::string text(std::uint16_t port) const;
  /// Fills `out` and returns its length.
  socklen_t socket_address(std::uint16_t port, sockaddr_storage& out) const;

  /// The IPv4 address that packets to an IPv4-mapped, -compatible, -translated, NAT64, 6to4 or Teredo address end up at; else the address.
  [[nodiscard]] ip_address unwrapped() const;
  /// True if the first `prefix` bits are those of `network`. False for different families.
  [[nodiscard]] bool within(const unsigned char* network, bool network_v6, unsigned prefix) const;
  /// Globally reachable unicast. REQUIRED: unwrapped.
  [[nodiscard]] bool is_public() const;

  friend bool operator==(const ip_address&, const ip_address&) = default;
};

}  // namespace mailherd::net
