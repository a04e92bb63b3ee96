// protocol/mime/automatic: was this written by a person, and which part of its text is new?
//
// Owns:   the reading of Auto-Submitted (RFC 3834), lists, bulk, delivery reports (RFC 3464); the marks of quotes and signatures (best effort).
// Never:  decides whether to answer: it says what the mail says about itself.
// Used by: the envelope (classify, for every message that arrives), api. Threads: any.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailherd::mime {

/// "bounce" (a delivery report: of a failure, a delay or a success, which only its body tells), "auto_reply", "auto_generated", "list", "bulk";
/// empty: nothing says that it is automatic. Whoever answers mail answers only that.
struct automatic {
  std::string kind;
  std::string reason;   ///< "Auto-Submitted: auto-replied"
};
automatic classify(std::string_view raw);

/// What a delivery report tells about one recipient (RFC 3464, 2.3).
struct bounced {
  std::string recipient, action, status, diagnostic;
};
/// `status`: content::delivery_status.
std::vector<bounced> delivery_report(std::string_view status);

/// A text in pieces, in order, without gaps.
struct text_piece {
  enum class kind { reply, quote, signature } is = kind::reply;
  std::string text;
};
std::vector<text_piece> split_reply(std::string_view text);

}  // namespace mailherd::mime
