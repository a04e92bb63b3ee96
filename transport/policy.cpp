// transport/policy: which special addresses tenants may reach (MAILHERD_PRIVATE_TARGETS).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/server_text.hpp"
#include "transport/address.hpp"
#include "transport/network.hpp"

namespace mailherd::net {

namespace {

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

std::string_view without_dot(std::string_view name) {
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  return name;
}

/// A host name with a letter in it: "10.0.0" is a mistyped network, not a name.
bool is_name(std::string_view s) {
  bool letter = false;
  for (const char c : s) {
    const bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    letter = letter || alpha;
    if (!alpha && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_') return false;
  }
  return letter && s.size() <= 253;
}

}  // namespace

result<target_policy> target_policy::parse(std::string_view text) {
  target_policy out;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto entry = trim(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    if (entry.empty()) continue;
    if (equal_text(entry, "all")) {
      out.all_ = true;
      continue;
    }
    const auto slash = entry.find('/');
    const auto address = ip_address::parse(entry.substr(0, slash));
    if (!address) {
      if (slash == std::string_view::npos && is_name(entry)) {
        out.names_.emplace_back(without_dot(entry));
        continue;
      }
      return fail(failure::invalid_input, fmt::format("\"{}\" is neither a network, an address nor a host name", clean_server_text(entry)));
    }
    network n{address->v6, {}, address->v6 ? 128u : 32u};
    std::memcpy(n.bytes, address->bytes.data(), sizeof n.bytes);
    if (slash != std::string_view::npos) {
      const auto digits = entry.substr(slash + 1);
      const unsigned most = n.prefix;
      const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), n.prefix);
      if (ec != std::errc{} || end != digits.data() + digits.size() || n.prefix > most)
        return fail(failure::invalid_input, fmt::format("\"{}\": the prefix must be 0 to {}", clean_server_text(entry), most));
    }
    out.networks_.push_back(n);
  }
  return out;
}

bool target_policy::allows(std::string_view host, std::string_view address) const {
  if (all_) return true;
  const auto parsed = ip_address::parse(address);
  if (!parsed) return false;
  const auto inner = parsed->unwrapped();
  if (inner.is_public()) return true;
  const auto name = without_dot(host);
  if (std::any_of(names_.begin(), names_.end(), [&](const std::string& n) { return equal_text(n, name); })) return true;
  return std::any_of(networks_.begin(), networks_.end(), [&](const network& n) {
    return inner.within(n.bytes, n.v6, n.prefix) || parsed->within(n.bytes, n.v6, n.prefix);
  });
}

}  // namespace mailherd::net
