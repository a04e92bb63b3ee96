// api/http: names of methods, and the answer of last resort; see the header.
#include "api/http.hpp"

#include <ctime>

#include "api/problem.hpp"

namespace mailherd::api {

namespace {

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[40];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return text;
}

}  // namespace

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

std::string response_head(const response& r, std::uint64_t body_bytes, bool keep_alive) {
  std::string head =
      "HTTP/1.1 " + std::to_string(r.status) + " " + std::string(reason_phrase(r.status)) + "\r\nDate: " + http_date() + "\r\n";
  for (const auto& [name, value] : r.headers) {
    // A value with a line break would be a header of the attacker's choice.
    if (value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos) head += name + ": " + value + "\r\n";
  }
  if (r.status != 204 && !r.endless) head += "Content-Length: " + std::to_string(body_bytes) + "\r\n";
  head += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return head;
}

responder::~responder() {
  if (!done_) (*this)(unavailable("This node is shutting down; another one will answer.", 1));
}

void responder::operator()(response answer) {
  if (done_.exchange(true)) return;
  send_(std::move(answer));
}

}  // namespace mailherd::api
