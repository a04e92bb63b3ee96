// api/pages: the few pages that people without a console session see: what became of their consent, and a link they were sent.
//
// Owns:   their HTML and their headers.
// Never:  holds a script, loads anything, or lets a text of somebody else be anything but text; redirects anywhere but to the provider's page.
// Used by: handlers_connect.
#pragma once

#include <string>
#include <string_view>

#include "actors/control.hpp"
#include "api/http.hpp"

namespace mailherd::api {

/// Text as HTML text or as a quoted attribute's value.
std::string escape_html(std::string_view text);

/// What became of a consent. `base`: our own address.
response outcome_page(const actors::consent_outcome& out);

/// Where a link leads, with a button: programs that look at links in mail must not use them up.
response link_page(const actors::link_view& view, std::string_view token);

/// On to the provider's page. By a page and not by a redirect: browsers apply the form's policy to where a redirect leads.
response onward_page(const std::string& url);

/// Something went wrong that is not the person's fault: try again.
response sorry_page(int status, std::string_view what);

}  // namespace mailherd::api
