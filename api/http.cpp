// api/http: names of methods, and the answer of last resort; see the header.
#include "api/http.hpp"

#include "api/problem.hpp"

namespace mailherd::api {

std::string_view to_string(verb v) noexcept {
  switch (v) {
    case verb::get: return "GET";
    case verb::head: return "HEAD";
    case verb::post: return "POST";
    case verb::put: return "PUT";
    case verb::patch: return "PATCH";
    case verb::del: return "DELETE";
    case verb::other: return "other";
  }
  return "other";
}

std::string_view request::header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string_view{} : std::string_view(found->second);
}

responder::~responder() {
  if (!done_) (*this)(unavailable("This node is shutting down; another one will answer.", 1));
}

void responder::operator()(response answer) {
  if (done_.exchange(true)) return;
  send_(std::move(answer));
}

}  // namespace mailherd::api
