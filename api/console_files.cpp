// api/console_files: see the header.
#include "api/console_files.hpp"

#include <algorithm>

namespace mailherd::api {

namespace {

// Nothing of anybody else's, nothing inline, no frames but this node's own (a message's HTML, which comes with a stricter policy).
constexpr const char* page_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

// "gzip;q=0" is a refusal; anything finer has no user.
bool takes_gzip(const request& r) {
  const auto accepted = r.header("accept-encoding");
  const auto at = accepted.find("gzip");
  return at != std::string_view::npos && !accepted.substr(at).starts_with("gzip;q=0");
}

}  // namespace

std::optional<response> answer_console_file(const request& r, std::string_view path) {
  if (r.method != verb::get && r.method != verb::head) return std::nullopt;
  const auto& all = console_files();
  const auto file = std::find_if(all.begin(), all.end(), [&](const auto& f) { return f.path == path; });
  if (file == all.end()) return std::nullopt;
  const bool page = path == "/";
  response out;
  out.headers = {{"Content-Type", std::string(file->type)},
                 // A file's name is the digest of what is in it; the page that names them is asked for each time.
                 {"Cache-Control", page ? "no-store" : "public, max-age=31536000, immutable"},
                 {"X-Content-Type-Options", "nosniff"},
                 {"Vary", "Accept-Encoding"}};
  if (page) {
    out.headers.emplace_back("Content-Security-Policy", page_policy);
    out.headers.emplace_back("Referrer-Policy", "no-referrer");
    out.headers.emplace_back("Cross-Origin-Opener-Policy", "same-origin-allow-popups");  // Connect opens the provider's window
    out.headers.emplace_back("Permissions-Policy", "camera=(), geolocation=(), microphone=()");
  }
  const bool packed = takes_gzip(r);
  if (packed) out.headers.emplace_back("Content-Encoding", "gzip");
  out.body = std::string(packed ? file->gzip : file->bytes);
  return out;
}

}  // namespace mailherd::api
