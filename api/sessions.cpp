// api/sessions: see the header. SameSite=Strict keeps the cookie from requests of other sites; header and Origin are the second wall, for
// browsers and sites (another port of this host, a sibling domain) that the first one does not stop.
#include "api/sessions.hpp"

#include <fmt/format.h>

#include "core/limits.hpp"

namespace mailherd::api::sessions {

namespace {

constexpr std::size_t most_addresses = 10'000;

// The prefix makes browsers refuse it from anything but https, with a path or a domain of somebody else's choice.
std::string_view name(bool secure) { return secure ? "__Host-mailherd" : "mailherd"; }

std::string_view origin_of(std::string_view url) {
  const auto scheme = url.find("://");
  return scheme == std::string_view::npos ? std::string_view{} : url.substr(0, url.find('/', scheme + 3));
}

}  // namespace

std::optional<std::string> cookie_of(const request& r, bool secure) {
  auto all = r.header("cookie");
  while (!all.empty()) {
    const auto end = all.find_first_of(";,");
    auto one = all.substr(0, end);
    all.remove_prefix(end == std::string_view::npos ? all.size() : end + 1);
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    const auto wanted = name(secure);
    if (one.size() > wanted.size() && one.starts_with(wanted) && one[wanted.size()] == '=') return std::string(one.substr(wanted.size() + 1));
  }
  return std::nullopt;
}

std::string set_cookie(std::string_view value, bool secure, seconds life) {
  return fmt::format("{}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{}", name(secure), value, life.count(), secure ? "; Secure" : "");
}

std::string clear_cookie(bool secure) { return set_cookie("", secure, seconds(0)); }

bool from_console(const request& r, std::string_view public_url) {
  if (r.header(header).empty()) return false;
  const auto origin = r.header("origin");
  if (origin.empty()) return false;
  if (origin == origin_of(public_url)) return true;
  const auto host = r.header("host");
  return !host.empty() && (origin == fmt::format("http://{}", host) || origin == fmt::format("https://{}", host));
}

unsigned attempts::wait(const std::string& peer, mono_time now) {
  const auto left = [now](const window& w, unsigned most) -> unsigned {
    const auto end = w.began + limits::console_attempts_window;
    if (w.count < most || now >= end) return 0;
    return static_cast<unsigned>(std::chrono::ceil<seconds>(end - now).count());
  };
  const auto at = of_.find(peer);
  return std::max(at == of_.end() ? 0 : left(at->second, limits::console_attempts), left(all_, limits::console_attempts_in_all));
}

void attempts::failed(const std::string& peer, mono_time now) {
  if (of_.size() >= most_addresses) of_.clear();  // the count of all together still stands
  for (auto* w : {&of_[peer], &all_}) {
    if (now >= w->began + limits::console_attempts_window) *w = {now, 0};
    ++w->count;
  }
}

}  // namespace mailherd::api::sessions
