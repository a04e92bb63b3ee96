// api/routes: every route of the API, as data.
//
// Owns:   the table (method, path, who may, which query parameters, whether there is a body, which function answers) and the matching.
// Never:  decides anything else.
// Used by: the service, and the test that compares the table with docs/openapi.yaml.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/http.hpp"

namespace mailherd::api {

class service;
struct exchange;
using call = std::shared_ptr<exchange>;
using handler = void (*)(service&, const call&);

enum class access {
  open,       ///< no token
  tenant,     ///< operators, and keys of the tenant in the path; others get 404
  own,        ///< any token; the store shows what it may see
  operators,  ///< operators; keys get 404
};

enum class body_rule {
  none,
  object,
  optional,  ///< an object, or nothing, which stands for {}
};

struct route {
  verb method;
  std::string_view path;  ///< "/v1/tenants/{tenant}/channels"
  access who;
  body_rule body;
  std::vector<std::string_view> query;  ///< allowed parameters
  handler answer;
  bool lenient = false;  ///< somebody else made the query (a provider, for a browser): what is not known in it is passed over
  bool once = false;     ///< each call is a new beginning, and its answer must not be kept: Idempotency-Key is not looked at
};

const std::vector<route>& routes();

struct route_match {
  const route* found = nullptr;
  std::vector<std::string> args;  ///< values of the {names}, percent-decoded, in order
  std::string allow;              ///< methods of this path, for 405; empty: no such path
};

/// `path` without its query. HEAD finds the route of GET.
route_match match_route(verb method, std::string_view path);

/// Decodes %XX; nullopt for a broken escape, NUL, or what is not UTF-8.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_blank);

}  // namespace mailherd::api
