// api/rules: what a host name, a name, an address, a URL, a time must look like. Pure functions, each with words for people.
//
// Owns:   the form of single values, and RFC 3339 in both directions.
// Never:  resolves or connects: whether a target may be reached is decided by transport, after resolution.
// Used by: input parsing, model_json.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/json_input.hpp"
#include "core/clock.hpp"

namespace mailherd::api::rules {

/// Each returns what is wrong, or nothing.
std::optional<std::string> display_name(const std::string& s);  ///< 1 to 200 characters, no control characters
std::optional<std::string> mail_address(const std::string& s);  ///< local@domain, at most 320 bytes
std::optional<std::string> host(const std::string& s);          ///< DNS name or IP address, no scheme, no port
std::optional<std::string> folder(const std::string& s);        ///< 1 to 500 bytes
std::optional<std::string> user_name(const std::string& s);     ///< 1 to 320 bytes
std::optional<std::string> password(const std::string& s);      ///< 1 to 1,024 bytes, no NUL, CR or LF
std::optional<std::string> token(const std::string& s);         ///< 1 to 16 KiB, printable ASCII
std::optional<std::string> short_text(const std::string& s);    ///< 1 to 500 bytes, no control characters
std::optional<std::string> scope(const std::string& s);         ///< one scope: RFC 6749, 3.3
std::optional<std::string> pem(const std::string& s);           ///< at most 64 KiB of PEM
/// https://host[:port]/path; http only to loopback or if `allow_plaintext`. No user, no fragment.
text_rule url(bool allow_plaintext);

/// RFC 3339 with any offset, up to microseconds (finer digits are dropped), years 1970 to 9999.
std::optional<wall_time> parse_time(std::string_view text);
/// "2026-11-24T02:00:00.123456Z"
std::string format_time(wall_time t);

}  // namespace mailherd::api::rules
