// transport/address: text, sockets and the special-purpose table.
#include "transport/address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace mailherd::net {

namespace {

struct range {
  const char* base;
  unsigned prefix;
};

/// Not of the public Internet (RFC 6890, RFC 8190 and IANA's registries).
constexpr range special_v4[] = {
    {"0.0.0.0", 8},       {"10.0.0.0", 8},      {"100.64.0.0", 10},  {"127.0.0.0", 8},    {"169.254.0.0", 16}, {"172.16.0.0", 12},
    {"192.0.0.0", 24},    {"192.0.2.0", 24},    {"192.88.99.0", 24}, {"192.168.0.0", 16}, {"198.18.0.0", 15},  {"198.51.100.0", 24},
    {"203.0.113.0", 24},  {"224.0.0.0", 4},     {"240.0.0.0", 4},
};
/// Of IPv6 only 2000::/3 is handed out as global unicast; these are the exceptions in it.
constexpr range special_v6[] = {{"2001::", 23}, {"2001:db8::", 32}, {"2002::", 16}, {"3fff::", 20}};

ip_address literal(const char* text) { return *ip_address::parse(text); }

bool in_any(const ip_address& a, std::span<const ip_address> bases, std::span<const range> ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i)
    if (a.within(bases[i].bytes.data(), bases[i].v6, ranges[i].prefix)) return true;
  return false;
}

template <std::size_t N>
std::array<ip_address, N> bases_of(const range (&ranges)[N]) {
  std::array<ip_address, N> out;
  for (std::size_t i = 0; i < N; ++i) out[i] = literal(ranges[i].base);
  return out;
}

ip_address v4_from(const unsigned char* four, unsigned char mask = 0) {
  ip_address out;
  for (int i = 0; i < 4; ++i) out.bytes[static_cast<std::size_t>(i)] = static_cast<unsigned char>(four[i] ^ mask);
  return out;
}

}  // namespace

std::optional<ip_address> ip_address::parse(std::string_view text) {
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  text = text.substr(0, text.find('%'));
  const std::string terminated(text);
  ip_address out;
  if (inet_pton(AF_INET, terminated.c_str(), out.bytes.data()) == 1) return out;
  out.v6 = true;
  if (inet_pton(AF_INET6, terminated.c_str(), out.bytes.data()) == 1) return out;
  return std::nullopt;
}

std::optional<ip_address> ip_address::of(const sockaddr* address) {
  ip_address out;
  if (address->sa_family == AF_INET) {
    std::memcpy(out.bytes.data(), &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, 4);
    return out;
  }
  if (address->sa_family == AF_INET6) {
    out.v6 = true;
    std::memcpy(out.bytes.data(), &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, 16);
    return out;
  }
  return std::nullopt;
}

std::string ip_address::text() const {
  char buffer[INET6_ADDRSTRLEN] = {};
  inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), buffer, sizeof buffer);
  return buffer;
}

std::string ip_address::text(std::uint16_t port) const { return (v6 ? "[" + text() + "]:" : text() + ":") + std::to_string(port); }

socklen_t ip_address::socket_address(std::uint16_t port, sockaddr_storage& out) const {
  std::memset(&out, 0, sizeof out);
  if (v6) {
    auto& in = reinterpret_cast<sockaddr_in6&>(out);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, bytes.data(), 16);
    return sizeof in;
  }
  auto& in = reinterpret_cast<sockaddr_in&>(out);
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  std::memcpy(&in.sin_addr, bytes.data(), 4);
  return sizeof in;
}

ip_address ip_address::unwrapped() const {
  if (!v6) return *this;
  static const ip_address mapped = literal("::ffff:0:0"), translated = literal("::ffff:0:0:0"), compatible = literal("::"),
                          nat64 = literal("64:ff9b::"), six_to_four = literal("2002::"), teredo = literal("2001::");
  const auto in = [this](const ip_address& base, unsigned prefix) { return within(base.bytes.data(), true, prefix); };
  if (in(mapped, 96) || in(translated, 96) || in(nat64, 96)) return v4_from(bytes.data() + 12);
  // ::/96 holds "::" and "::1" too: both unwrap into 0.0.0.0/8, which is refused as they are; keep their own form for the allow list.
  if (in(compatible, 96) && !in(compatible, 104)) return v4_from(bytes.data() + 12);
  if (in(six_to_four, 16)) return v4_from(bytes.data() + 2);
  if (in(teredo, 32)) return v4_from(bytes.data() + 12, 0xff);   // the client's address, stored inverted (RFC 4380, 4)
  return *this;
}

bool ip_address::within(const unsigned char* network, bool network_v6, unsigned prefix) const {
  if (network_v6 != v6) return false;
  const unsigned whole = prefix / 8, rest = prefix % 8;
  if (std::memcmp(bytes.data(), network, whole) != 0) return false;
  if (rest == 0) return true;
  const auto mask = static_cast<unsigned char>(0xff00u >> rest);
  return (bytes[whole] & mask) == (network[whole] & mask);
}

bool ip_address::is_public() const {
  static const auto bases4 = bases_of(special_v4);
  static const auto bases6 = bases_of(special_v6);
  static const ip_address global = literal("2000::");
  if (!v6) return !in_any(*this, bases4, special_v4);
  return within(global.bytes.data(), true, 3) && !in_any(*this, bases6, special_v6);
}

}  // namespace mailherd::net
