// protocol/pop3/classify: what a -ERR means, as a pure function.
//
// Owns:   the table from (phase, response code, text) to `failure`, and the time to come back when the server names one.
// Never:  asks for consent: POP3 gives no reason that could (design, invariant 5); reads a clock.
// Used by: the engine; tests call it directly.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/model.hpp"

namespace mailherd::pop3 {

/// Where in the session the refusal came.
enum class phase : std::uint8_t { greeting, capabilities, tls, login, transaction, message };

/// A -ERR, taken apart.
struct refusal {
  phase where = phase::transaction;
  std::string_view code;               ///< without brackets, e.g. "IN-USE", "SYS/TEMP"; empty if none
  std::string_view text;               ///< what follows
  bool with_token = false;             ///< login by OAuth2
  std::string_view detail;             ///< what the mechanism learned from an error challenge
  std::optional<seconds> login_delay;  ///< LOGIN-DELAY of CAPA
};

/// Splits "[IN-USE] Mailbox is locked" into code and text (RFC 2449, 8). Sets only `code` and `text`; views into `text`.
refusal split_refusal(std::string_view text) noexcept;

/// The error for a refusal. `retry_at` is set exactly when the server named a time: the throttling sentence, or [LOGIN-DELAY]
/// (CAPA's value; limits::poll_interval if CAPA gave none).
error classify(const refusal& what, wall_time now);

/// An identity for servers without UIDL: "sha256:" + hex over the head of the message as TOP n 0 gives it, without the lines that
/// old servers rewrite from session to session (Status, X-Status, X-UIDL, X-Keywords, Content-Length, Lines).
std::string digest_uidl(std::string_view headers);

/// Whether an identity may be such a one: a digest says of what, and no more.
bool may_be_digest(std::string_view uidl) noexcept;

/// The identity of the `nth` (1, 2 ...) further entry of this size that a listing names as an earlier one: as long as both are there, size and order tell
/// them apart.
std::string twin_uidl(std::string_view uidl, std::uint64_t size, std::uint32_t nth);
/// And of a message that was found under an identity that stands for another one, by its content.
std::string twin_uidl(std::string_view uidl, const sha256_digest& body);

/// The identity under which a message is recorded that has no unique-id and whose head the server refuses: there is nothing but its size.
std::string unnamed_uidl(std::uint64_t size);

/// The identity to store for a unique-id as sent: itself if it is 1..512 bytes of printable ASCII, else "hex:" or "sha256:" of it.
std::string stable_uidl(std::string_view sent);

}  // namespace mailherd::pop3
