// protocol/mime: what is inside a message, read from its raw bytes.
//
// Owns:   the envelope (for every message that arrives), the decoded texts and the list of attachments (when somebody looks at one).
// Never:  changes or rejects a message: hostile or broken input gives the best effort and a note; an identity (Message-ID is what the
//         sender wrote, nothing more).
// Used by: the sessions (header_end, parse_envelope: on their network threads) and the API (parse_content, attachment).
// Threads: all functions are safe from any thread and share nothing. Nothing blocks. Throws nothing but bad_alloc.
// Limits:  limits::header_parse_bytes, mime_parts, mime_depth, mime_text_bytes; past them the rest is left out, with a note.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/model.hpp"
#include "core/result.hpp"

namespace mailherd::mime {

/// Offset of the first byte behind the header's blank line (CRLF or LF); `raw.size()` when there is none: the whole is header then.
std::size_t header_end(std::string_view raw) noexcept;

/// The envelope of a message or of its header block; what follows the blank line is ignored. Every string of it is valid UTF-8
/// without NUL. `message_id`, `in_reply_to` and `references` come without their angle brackets (RFC 5322, 3.6.4: these are not part of an
/// id). Takes about 10 µs for an ordinary header: fit for a network thread.
/// `date` is the Date field (RFC 5322, 3.3, obsolete forms too) if it is a time between the years 1970 and 9999.
envelope parse_envelope(std::string_view raw);

struct attachment_info {
  std::size_t index = 0;     ///< what attachment() takes; its place in content::attachments
  std::string name;          ///< file name, decoded; no path, no control characters; may be empty
  std::string type;          ///< "application/pdf", lower case
  std::string disposition;   ///< "attachment", "inline", or "" if the part names none
  std::string content_id;    ///< without angle brackets; may be empty
  bool is_inline = false;    ///< shown within the text: disposition inline, or referred to by Content-ID
  std::uint64_t size = 0;    ///< bytes, decoded
};

struct content {
  std::string text;                          ///< the first text/plain body as UTF-8; empty if there is none
  std::string html;                          ///< the first text/html body as UTF-8, as sent: NOT safe to show without sanitising
  std::string delivery_status;               ///< the first report of a delivery within (RFC 3464), decoded, cut at limits::mime_report_bytes; mostly empty
  std::vector<attachment_info> attachments;  ///< every other leaf, forwarded messages among them, in order
  std::vector<std::string> notes;            ///< what was wrong or left out, in words
};

/// The whole message, decoded. Costs CPU in proportion to its size (about 5 ms/MB): not on a network thread.
content parse_content(std::string_view raw);

/// The decoded bytes of attachment `index`, as counted by parse_content; never more bytes than `raw` has. Error: not_found.
result<std::string> attachment(std::string_view raw, std::size_t index);

}  // namespace mailherd::mime
