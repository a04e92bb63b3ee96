// protocol/mime/markup: HTML as it came, written anew so that a parser needs no more than a bounded time for it.
//
// Owns:   the splitting into tags and text, as browsers do it (WHATWG HTML, 13.2.5), in one pass. Gone afterwards: comments, declarations, scripts and
//         style sheets, elements and attributes that nobody asked for, an attribute that comes again. Private to the room.
// Why:    a parser that builds a tree looks through all attributes of a tag for each of them, and through all open elements for each end tag: the square
//         of what a sender writes. What comes out here has few attributes in a tag, and says for how many tags the open elements are looked through.
// Never:  decides what is safe: that is judged from what the parser says of the result.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mailherd::mime {

/// Asked of names in lower case.
using is_name = bool (*)(std::string_view name);
struct known_names {
  is_name element;     ///< may stay; the tags of all others go
  is_name empty;       ///< of those: has no content and no end tag
  is_name attribute;   ///< may stay, in any tag
};

struct markup {
  std::string html;
  std::size_t lookups = 0;   ///< tags for which a parser looks through the open elements
};

/// Linear in the length of `html`; each tag of the result has every known attribute at most once.
markup plain_markup(std::string_view html, const known_names& known);

}  // namespace mailherd::mime
