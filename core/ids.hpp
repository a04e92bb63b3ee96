// core/ids: strong identifiers, and the form in which people and programs see them.
//
// Owns:   `tenant_id`, `channel_id`, ... and `message_id`; their text form: a letter and a number ("t3", "c17", "m3-1042").
// Never:  mixes: a channel id cannot be passed where a tenant id is wanted.
#pragma once

#include <charconv>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace mailherd {

/// A positive number with a kind. 0 means "none" and is never the id of anything stored.
template <char Prefix>
struct strong_id {
  static constexpr char prefix = Prefix;
  std::int64_t value = 0;

  friend auto operator<=>(const strong_id&, const strong_id&) = default;
  explicit operator bool() const noexcept { return value != 0; }
};

using tenant_id = strong_id<'t'>;
using channel_id = strong_id<'c'>;
using app_id = strong_id<'a'>;         ///< an OAuth app registration
using api_key_id = strong_id<'k'>;
using event_id = strong_id<'e'>;       ///< an entry of a channel's history
using blob_id = strong_id<'b'>;        ///< a large body stored in chunks
using consent_id = strong_id<'o'>;     ///< one request for a person's consent
using incarnation_id = strong_id<'n'>; ///< one life of one node
using webhook_id = strong_id<'w'>;     ///< an endpoint that events are delivered to
using delivery_id = strong_id<'d'>;    ///< an entry of an endpoint's list of deliveries
using deliverer_id = strong_id<'x'>;   ///< one life of one node's deliverer

template <char P>
std::string to_string(strong_id<P> id) {
  return std::string(1, P) + std::to_string(id.value);
}

/// Parses "c17" as a channel_id. Rejects other prefixes, signs, leading zeros, zero and overflow.
template <class Id>
std::optional<Id> parse_id(std::string_view text) {
  if (text.size() < 2 || text.front() != Id::prefix || text[1] < '1' || text[1] > '9') return std::nullopt;
  Id id;
  const auto [end, ec] = std::from_chars(text.data() + 1, text.data() + text.size(), id.value);
  if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return id;
}

/// A message: its tenant and its position in that tenant's feed (1, 2, 3, ... without gaps). Text form "m3-1042".
struct message_id {
  tenant_id tenant;
  std::int64_t position = 0;

  friend auto operator<=>(const message_id&, const message_id&) = default;
};

inline std::string to_string(message_id id) {
  return "m" + std::to_string(id.tenant.value) + "-" + std::to_string(id.position);
}

inline std::optional<message_id> parse_message_id(std::string_view text) {
  const auto dash = text.find('-');
  if (dash == std::string_view::npos || text.empty() || text.front() != 'm') return std::nullopt;
  const auto tenant = parse_id<tenant_id>("t" + std::string(text.substr(1, dash - 1)));
  const auto position = parse_id<tenant_id>("t" + std::string(text.substr(dash + 1)));
  if (!tenant || !position) return std::nullopt;
  return message_id{*tenant, position->value};
}

/// IMAP's unique identifier of a message within one UIDVALIDITY (RFC 3501, 2.3.1.1). Unsigned 32 bit, never 0.
struct uid {
  std::uint32_t value = 0;
  friend auto operator<=>(const uid&, const uid&) = default;
};

struct uid_validity {
  std::uint32_t value = 0;
  friend auto operator<=>(const uid_validity&, const uid_validity&) = default;
};

}  // namespace mailherd

template <char P>
struct std::hash<mailherd::strong_id<P>> {
  std::size_t operator()(const mailherd::strong_id<P>& id) const noexcept { return std::hash<std::int64_t>{}(id.value); }
};
