// api/problem: errors as RFC 9457 says (application/problem+json).
//
// Owns:   the problem types and the table failure → status.
// Never:  shows the detail of a defect (500): that goes to the log.
// Used by: the service and every handler.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/http.hpp"
#include "core/error.hpp"

namespace mailherd::api {

struct field_error {
  std::string field;    ///< "incoming.port"; a query parameter's or header's name; empty: the body as a whole
  std::string message;  ///< what is wrong, and what is allowed
};

/// `slug` becomes type "urn:mailherd:problem:<slug>". Members: type, title, status, detail, errors (only if there are any).
response problem(int status, std::string_view slug, std::string_view title, std::string_view detail,
                 const std::vector<field_error>& errors = {});

response not_found(std::string_view what = "There is no such object.");
/// 422: the body could be read, its content is wrong.
response invalid_fields(const std::vector<field_error>& errors);
/// 400: wrong query parameters or headers.
response invalid_request(const std::vector<field_error>& errors);
/// 503 with Retry-After in whole seconds.
response unavailable(std::string_view detail, unsigned retry_after);

/// What a store or the control said, as an answer. `logged` receives the words that the client must not see (empty if none).
response from_failure(const error& why, std::string& logged);

/// A JSON body with the headers every answer of the API carries.
response json_answer(int status, std::string body);
response no_content();

std::string_view reason_phrase(int status) noexcept;

}  // namespace mailherd::api
