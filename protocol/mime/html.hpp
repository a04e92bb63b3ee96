// protocol/mime/html: a message's HTML made safe to show.
//
// Owns:   the list of what may stay: elements, attributes, style properties, URL schemes. Everything else goes, its text stays; scripts, styles,
//         forms, frames and embedded objects go with all that is in them. The output is written anew from what the parser (libxml2) says, with every
//         text escaped, so that whatever a browser would have made of the original plays no part.
// Never:  fetches anything: remote images become `data-remote-src` (who shows them tells the sender that they were read), images of the message itself
//         come from where `images` says.
// Used by: api. Threads: any.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace mailherd::mime {

/// The address of the inline image with this content id (without angle brackets); nullopt: there is none, the image goes.
using inline_images = std::function<std::optional<std::string>(std::string_view content_id)>;

/// nullopt: it is larger than limits::html_safe_input_bytes, grows past its bound, or is nested so deeply, with so many end tags, that a parser would need
/// longer than limits::html_safe_work allows. Takes 20 ms for an ordinary 1 MB, at most about a second for whatever there is.
std::optional<std::string> safe_html(std::string_view html, const inline_images& images);

}  // namespace mailherd::mime
