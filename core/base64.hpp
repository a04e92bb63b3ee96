// core/base64: RFC 4648, strict.
//
// Owns:   base64 (section 4, padded) and base64url (section 5, unpadded, as JWT wants it).
// Never:  skips bytes it does not know: a SASL exchange or a token with garbage in it is an error, not a guess.
// Used by: IMAP and POP3 authentication, SCRAM, signed OAuth2 assertions, id_tokens.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mailherd {

std::string base64_encode(std::string_view bytes);
std::string base64url_encode(std::string_view bytes);

/// nullopt unless `text` is base64 with correct padding and zero unused bits. Blanks at the end are the caller's to trim.
std::optional<std::string> base64_decode(std::string_view text);
/// Likewise for base64url; padding is refused.
std::optional<std::string> base64url_decode(std::string_view text);

}  // namespace mailherd
