// core/server_text: what a peer said, made fit for people, and the few facts hidden in its prose.
//
// Owns:   cleaning of server text; the back-off time in Exchange's throttling sentence; what is valid UTF-8.
// Never:  decides what a text means beyond that: each protocol has its own classification.
// Used by: IMAP, POP3 and OAuth2 classification; MIME for what is shown.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.hpp"

namespace mailherd {

/// Text of a peer as one line of valid UTF-8: control characters and runs of blanks become one blank, bytes that are not UTF-8
/// become '?', ends are trimmed, at most limits::server_text_bytes (a longer text ends in "..."). Never throws but bad_alloc.
std::string clean_server_text(std::string_view text);

/// The time in "Request is throttled. Suggested Backoff Time: 299910 milliseconds" (Exchange, IMAP and POP3; any case; seconds
/// and minutes are understood too). nullopt if the text names none. Capped at 24 hours: a larger number is a mistake or an attack.
std::optional<milliseconds> throttle_backoff(std::string_view text) noexcept;

/// Case-insensitive search (ASCII), for texts of servers.
bool contains_text(std::string_view haystack, std::string_view needle) noexcept;

/// Case-insensitive equality (ASCII).
bool equal_text(std::string_view a, std::string_view b) noexcept;

/// Length of the well-formed UTF-8 sequence at the front of `s` (RFC 3629); 0 if there is none. REQUIRED: not empty.
std::size_t utf8_sequence(std::string_view s) noexcept;

}  // namespace mailherd
