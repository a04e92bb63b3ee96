// protocol/imap/utf7: mailbox names in IMAP's modified UTF-7 (RFC 3501, 5.1.3).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mailherd::imap {

/// UTF-8 to modified UTF-7. nullopt: not valid UTF-8, or a NUL, CR or LF in it.
std::optional<std::string> to_utf7(std::string_view utf8);

/// Modified UTF-7 to UTF-8. nullopt: not a valid encoding, or a NUL, CR or LF in it (the caller shows the name as it is).
std::optional<std::string> from_utf7(std::string_view name);

}  // namespace mailherd::imap
