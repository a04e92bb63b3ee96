// node/ctl/client: libcurl's easy interface; see the header.
#include "node/ctl/client.hpp"

#include <curl/curl.h>

#include <array>
#include <cstdlib>
#include <fstream>

namespace mailherd::ctl {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::optional<std::string> first_line(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  if (!in || !std::getline(in, line)) return std::nullopt;
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  return line;
}

struct receiver {
  CURL* handle;
  const std::function<bool(std::string_view)>* sink;
  std::string body;
};

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto& to = *static_cast<receiver*>(user);
  long status = 0;
  curl_easy_getinfo(to.handle, CURLINFO_RESPONSE_CODE, &status);
  const std::string_view bytes(data, size * count);
  if (*to.sink && status == 200) return (*to.sink)(bytes) ? bytes.size() : 0;
  to.body.append(bytes);
  return bytes.size();
}

failure failure_of(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return failure::timed_out;
    case CURLE_COULDNT_RESOLVE_HOST: return failure::dns_failed;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return failure::invalid_input;
    default: return failure::connect_failed;
  }
}

}  // namespace

result<endpoint> find_endpoint(const std::string& url_flag, const std::string& token_flag) {
  endpoint found;
  found.url = url_flag;
  if (found.url.empty()) found.url = environment("MAILHERD_PUBLIC_URL");
  if (found.url.empty()) {
    auto listen = environment("MAILHERD_LISTEN");
    if (listen.empty()) listen = "127.0.0.1:8080";
    // "every address" is a place to listen at, not one to call.
    if (listen.starts_with("0.0.0.0:")) listen.replace(0, 7, "127.0.0.1");
    if (listen.starts_with("[::]:")) listen.replace(0, 4, "[::1]");
    if (listen.starts_with(":")) listen.insert(0, "127.0.0.1");
    found.url = "http://" + listen;
  }
  while (found.url.ends_with('/')) found.url.pop_back();
  if (!found.url.starts_with("http://") && !found.url.starts_with("https://"))
    return fail(failure::invalid_input, "the API's address must begin with http:// or https:// (--url, MAILHERD_PUBLIC_URL)");

  if (!token_flag.empty()) {
    found.token = secret<>(token_flag);
  } else if (auto token = environment("MAILHERD_ADMIN_TOKEN"); !token.empty()) {
    found.token = secret<>(std::move(token));
  } else if (const auto file = environment("MAILHERD_ADMIN_TOKEN_FILE"); !file.empty()) {
    auto line = first_line(file);
    if (!line || line->empty()) return fail(failure::invalid_input, "MAILHERD_ADMIN_TOKEN_FILE: " + file + " cannot be read or is empty");
    found.token = secret<>(std::move(*line));
  } else {
    auto directory = environment("MAILHERD_DATA_DIR");
    if (directory.empty()) directory = "./mailherd-data";
    auto line = first_line(directory + "/admin-token");
    if (!line || line->empty())
      return fail(failure::invalid_input, "no token: give --token, MAILHERD_ADMIN_TOKEN or MAILHERD_ADMIN_TOKEN_FILE, or run where " +
                                              directory + "/admin-token is readable");
    found.token = secret<>(std::move(*line));
  }
  if (found.token.reveal().find_first_of("\r\n") != std::string::npos)
    return fail(failure::invalid_input, "the token contains a line break");
  return found;
}

struct client::state {
  endpoint where;
  CURL* handle = nullptr;
};

client::client(endpoint where) : state_(std::make_unique<state>()) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  state_->where = std::move(where);
  state_->handle = curl_easy_init();
}

client::~client() { curl_easy_cleanup(state_->handle); }

result<reply> client::send(const std::string& method, const std::string& path, const std::optional<json>& body, seconds timeout,
                           const std::function<bool(std::string_view)>& sink) {
  CURL* h = state_->handle;
  if (h == nullptr) return fail(failure::internal, "curl cannot be used");
  curl_easy_reset(h);
  const auto url = state_->where.url + path;
  const auto text = body ? body->dump(-1, ' ', false, json::error_handler_t::replace) : std::string();
  receiver to{h, &sink, {}};
  std::array<char, CURL_ERROR_SIZE> words{};
  curl_slist* headers = curl_slist_append(nullptr, ("Authorization: Bearer " + state_->where.token.reveal()).c_str());
  if (body) headers = curl_slist_append(headers, "Content-Type: application/json");
  headers = curl_slist_append(headers, "Expect:");
  curl_easy_setopt(h, CURLOPT_URL, url.c_str());
  curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method.c_str());
  curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, 10L);
  // A streamed body may take as long as it moves.
  if (sink) {
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, static_cast<long>(timeout.count()));
  } else {
    curl_easy_setopt(h, CURLOPT_TIMEOUT, static_cast<long>(timeout.count()));
  }
  curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(h, CURLOPT_WRITEDATA, &to);
  curl_easy_setopt(h, CURLOPT_ERRORBUFFER, words.data());
  if (body) {
    curl_easy_setopt(h, CURLOPT_POSTFIELDS, text.data());
    curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(text.size()));
  }
  const auto code = curl_easy_perform(h);
  curl_slist_free_all(headers);
  if (code != CURLE_OK) {
    const std::string why = words[0] != '\0' ? words.data() : curl_easy_strerror(code);
    return fail(failure_of(code), state_->where.url + " cannot be reached: " + why);
  }
  long status = 0;
  curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
  return reply{static_cast<int>(status), std::move(to.body)};
}

std::string escape(std::string_view text) {
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~')
      out += c;
    else
      (out += '%') += {hex[byte >> 4], hex[byte & 15]};
  }
  return out;
}

}  // namespace mailherd::ctl
