// api/problem: see the header. Bytes that are not UTF-8 are replaced: an error about wrong input must not fail on that input.
#include "api/problem.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace mailherd::api {

namespace {

using json = nlohmann::ordered_json;

std::string dump(const json& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace); }

void common_headers(response& r, const char* type) {
  r.headers.emplace_back("Content-Type", type);
  r.headers.emplace_back("Cache-Control", "no-store");
  r.headers.emplace_back("X-Content-Type-Options", "nosniff");
}

}  // namespace

response problem(int status, std::string_view slug, std::string_view title, std::string_view detail,
                 const std::vector<field_error>& errors) {
  json j;
  j["type"] = fmt::format("urn:mailherd:problem:{}", slug);
  j["title"] = title;
  j["status"] = status;
  j["detail"] = detail;
  if (!errors.empty()) {
    j["errors"] = json::array();
    for (const auto& e : errors) j["errors"].push_back({{"field", e.field}, {"message", e.message}});
  }
  response r;
  r.status = status;
  common_headers(r, "application/problem+json");
  r.body = dump(j);
  return r;
}

response not_found(std::string_view what) { return problem(404, "not-found", "Not found", what); }

response invalid_fields(const std::vector<field_error>& errors) {
  const auto words =
      errors.size() == 1 ? fmt::format("{}: {}", errors[0].field, errors[0].message) : fmt::format("{} fields are wrong.", errors.size());
  return problem(422, "invalid-input", "Invalid input", words, errors);
}

response invalid_request(const std::vector<field_error>& errors) {
  const auto words = errors.size() == 1 ? fmt::format("{}: {}", errors[0].field, errors[0].message)
                                        : fmt::format("{} parameters are wrong.", errors.size());
  return problem(400, "invalid-request", "Invalid request", words, errors);
}

response unavailable(std::string_view detail, unsigned retry_after) {
  auto r = problem(503, "unavailable", "Temporarily unavailable", detail);
  r.headers.emplace_back("Retry-After", std::to_string(retry_after));
  return r;
}

response from_failure(const error& why, std::string& logged) {
  logged.clear();
  const auto detail = [&](std::string_view otherwise) { return why.detail.empty() ? std::string(otherwise) : why.detail; };
  switch (why.code) {
    case failure::not_found: return not_found(detail("There is no such object."));
    case failure::conflict:
      return problem(409, "conflict", "Conflict", detail("The object was changed by somebody else, or exists already."));
    case failure::invalid_input: return problem(422, "invalid-input", "Invalid input", detail("The input is not valid."));
    case failure::limit_exceeded: return problem(409, "limit", "Limit reached", detail("A limit of this tenant is reached."));
    case failure::store_unavailable:
      return unavailable("The database cannot be reached at the moment; nothing was changed by this request, or it was changed completely.",
                         2);
    case failure::store_busy: return unavailable("The store is busy.", 1);
    case failure::timed_out: return unavailable("The request waited too long for its turn.", 1);
    case failure::cancelled: return unavailable("This node is shutting down; another one will answer.", 1);
    default: break;
  }
  logged = describe(why);
  return problem(500, "internal", "Internal error", "A defect in Mailherd; the node's log says more.");
}

response json_answer(int status, std::string body) {
  response r;
  r.status = status;
  common_headers(r, "application/json");
  r.body = std::move(body);
  return r;
}

response no_content() {
  response r;
  r.status = 204;
  r.headers.emplace_back("Cache-Control", "no-store");
  return r;
}

std::string_view reason_phrase(int status) noexcept {
  switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    default: return "Status";
  }
}

}  // namespace mailherd::api
