// transport/http_job: one request as curl sees it.
#include "transport/http_job.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <tuple>

#include "core/limits.hpp"
#include "core/secret.hpp"
#include "core/server_text.hpp"
#include "transport/dialer.hpp"
#include "transport/race.hpp"
#include "transport/resolver.hpp"
#include "transport/tls_certificate.hpp"

namespace mailherd::net {

namespace {

int job_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

/// RFC 9110, 5.6.2.
bool is_token(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_value(std::string_view s) { return s.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos; }

void free_wiped(curl_slist*& list) {
  for (auto* l = list; l != nullptr; l = l->next) wipe(l->data, std::char_traits<char>::length(l->data));
  curl_slist_free_all(list);
  list = nullptr;
}

std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string out = text;
  curl_free(text);
  return out;
}

}  // namespace

http_job::http_job(http_request request, deadline until, handler on_done)
    : request_(std::move(request)), until_(until), on_done_(std::move(on_done)) {}

http_job::~http_job() {
  release();
  answer(fail(failure::cancelled, "the node stops"));
}

void http_job::answer(result<http_reply> what) {
  expiry.reset();
  if (const auto done = std::exchange(on_done_, {})) done(std::move(what));
}

void http_job::release() {
  curl_easy_cleanup(easy_);
  easy_ = nullptr;
  free_wiped(headers_);
  curl_slist_free_all(resolve_);
  resolve_ = nullptr;
}

result<void> http_job::accept() {
  const auto bad = [](std::string text) { return fail(failure::invalid_input, std::move(text)); };
  if (!is_token(request_.method)) return bad("not an HTTP method");
  for (const auto& [name, value] : request_.headers)
    if (!is_token(name) || !is_value(value)) return bad(fmt::format("header \"{}\" is malformed", clean_server_text(name)));
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
  // The URL itself stays out of the texts: a path or a query may hold a secret.
  if (!url || curl_url_set(url.get(), CURLUPART_URL, request_.url.c_str(), 0) != CURLUE_OK) return bad("the URL is malformed");
  const std::string scheme = url_part(url.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return bad("the URL must begin with https:// or http://");
  https_ = scheme == "https";
  host_ = url_part(url.get(), CURLUPART_HOST);
  if (host_.size() > 2 && host_.front() == '[') host_ = host_.substr(1, host_.size() - 2);
  if (!valid_host(host_)) return bad("the URL's host is malformed");
  const std::string port = url_part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  std::from_chars(port.data(), port.data() + port.size(), port_);
  return {};
}

result<CURL*> http_job::prepare(const std::vector<ip_address>& addresses, const surroundings& around) {
  release();
  reply_ = {};
  head_bytes_ = 0;
  tls_begun_ = false;
  cut_ = false;
  problem_.reset();
  policy_ = &around.policy;
  trust_ = around.trust;
  easy_ = curl_easy_init();
  if (easy_ == nullptr) return fail(failure::internal, "libcurl cannot make a handle");

  bool ok = true;
  const auto set = [&](CURLoption option, auto value) { ok = curl_easy_setopt(easy_, option, value) == CURLE_OK && ok; };
  set(CURLOPT_PRIVATE, this);
  set(CURLOPT_URL, request_.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PROXY, "");   // also keeps the environment's proxy out
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(CURLOPT_USERAGENT, "Mailherd");
  set(CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS, static_cast<long>(limits::next_address_delay.count()));
  if (around.source) set(CURLOPT_INTERFACE, ("host!" + around.source->text()).c_str());

  set(CURLOPT_HEADERFUNCTION, &http_job::on_header);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &http_job::on_body);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_OPENSOCKETFUNCTION, &http_job::on_open);
  set(CURLOPT_OPENSOCKETDATA, this);

  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  // The authorities come from the shared store by on_context: a bundle parsed per connection costs 887 KB and 25 ms.
  set(CURLOPT_CAINFO, static_cast<char*>(nullptr));
  set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
  set(CURLOPT_CA_CACHE_TIMEOUT, 0L);
  set(CURLOPT_SSL_CTX_FUNCTION, &http_job::on_context);
  set(CURLOPT_SSL_CTX_DATA, this);

  if (!ip_address::parse(host_)) {
    std::string entry = fmt::format("+{}:{}:", host_, port_);   // '+': the entry ages like a looked-up one
    for (std::size_t i = 0; i < addresses.size(); ++i)
      entry += (i == 0 ? "" : ",") + (addresses[i].v6 ? "[" + addresses[i].text() + "]" : addresses[i].text());
    resolve_ = curl_slist_append(nullptr, entry.c_str());
    set(CURLOPT_RESOLVE, resolve_);
  }
  set_method();
  if (!ok || !set_headers()) return fail(failure::internal, "libcurl does not take an option");
  return easy_;
}

void http_job::set_method() {
  const std::string& body = request_.body.reveal();
  if (request_.method == "HEAD") {
    curl_easy_setopt(easy_, CURLOPT_NOBODY, 1L);
    return;
  }
  // A request whose answer was lost on a connection used before is sent again by libcurl, POST or not. A refresh token used twice revokes
  // the grant: such requests get a connection of their own, on which libcurl reports the loss.
  if (request_.method == "POST" && !request_.repeatable) curl_easy_setopt(easy_, CURLOPT_FRESH_CONNECT, 1L);
  if (!body.empty() || request_.method == "POST" || request_.method == "PUT" || request_.method == "PATCH") {
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, body.data());   // not copied: the job outlives the handle
  }
  curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
}

bool http_job::set_headers() {
  const auto add = [this](const std::string& line) {
    auto* longer = curl_slist_append(headers_, line.c_str());
    if (longer != nullptr) headers_ = longer;
    return longer != nullptr;
  };
  bool ok = add("Expect:");   // no waiting for "100 Continue"
  for (const auto& [name, value] : request_.headers) {
    std::string line = value.empty() ? name + ";" : name + ": " + value;   // curl's way to say: an empty value
    ok = add(line) && ok;
    wipe(line.data(), line.size());
  }
  return curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, headers_) == CURLE_OK && ok;
}

// ---- curl calls -----------------------------------------------------------------------------------------------------------------

std::size_t http_job::on_header(char* data, std::size_t size, std::size_t count, void* user) {
  auto* self = static_cast<http_job*>(user);
  const std::string_view whole(data, size * count);
  self->head_bytes_ += whole.size();
  if (self->head_bytes_ > limits::http_head_bytes) {
    self->problem_ =
        error{failure::limit_exceeded, fmt::format("the headers of {} exceed {} bytes", self->host_, limits::http_head_bytes), {}};
    return 0;
  }
  auto line = whole.substr(0, whole.find_last_not_of("\r\n") + 1);
  if (line.starts_with("HTTP/")) {
    self->reply_.headers.clear();   // what came before was an interim answer
    return whole.size();
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return whole.size();
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  auto value = line.substr(colon + 1);
  value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
  value = value.substr(0, value.find_last_not_of(" \t") + 1);
  self->reply_.headers.emplace_back(std::move(name), std::string(value));
  return whole.size();
}

std::size_t http_job::on_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto* self = static_cast<http_job*>(user);
  if (self->request_.cut_reply && self->reply_.body.size() + size * count > self->request_.max_reply_bytes) {
    self->reply_.body.append(data, self->request_.max_reply_bytes - self->reply_.body.size());
    self->cut_ = true;
    return 0;
  }
  if (self->reply_.body.size() + size * count > self->request_.max_reply_bytes) {
    self->problem_ =
        error{failure::limit_exceeded, fmt::format("the answer of {} exceeds {} bytes", self->host_, self->request_.max_reply_bytes), {}};
    return 0;
  }
  self->reply_.body.append(data, size * count);
  return size * count;
}

/// The last word of the policy: whatever way curl came to an address, here it is judged.
curl_socket_t http_job::on_open(void* user, curlsocktype, curl_sockaddr* address) {
  auto* self = static_cast<http_job*>(user);
  const auto ip = ip_address::of(&address->addr);
  if (!ip || !self->policy_->allows(self->host_, ip->text())) {
    self->problem_ = refused_target(self->host_, ip.value_or(ip_address{}));
    return CURL_SOCKET_BAD;
  }
  const int fd = ::socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
  if (fd >= 0) set_socket_options(fd);
  return fd;
}

CURLcode http_job::on_context(CURL*, void* ctx, void* user) {
  auto* context = static_cast<SSL_CTX*>(ctx);
  auto* self = static_cast<http_job*>(user);
  self->tls_begun_ = true;
  SSL_CTX_set1_cert_store(context, self->trust_);
  // The context outlives the job when the connection is reused; without renegotiation nothing is verified then.
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_ex_data(context, job_index(), self);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, &http_job::on_verify);
  return CURLE_OK;
}

int http_job::on_verify(int ok, X509_STORE_CTX* verification) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* self = static_cast<http_job*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), job_index()));
  if (ok != 1 && !self->problem_) self->problem_ = certificate_problem(verification, self->host_);
  if (ok == 1 && X509_STORE_CTX_get_error_depth(verification) == 0)
    self->names_ = certificate_names(X509_STORE_CTX_get0_cert(verification));
  return ok;
}

// ---- the end of a transfer ------------------------------------------------------------------------------------------------------

std::string http_job::phase() const {
  if (easy_ == nullptr) return "the lookup of " + host_;
  curl_off_t asking = 0;
  curl_easy_getinfo(easy_, CURLINFO_PRETRANSFER_TIME_T, &asking);
  if (asking > 0) return "the wait for the answer of " + host_;
  return (tls_begun_ ? "the TLS handshake with " : "the connection to ") + host_;
}

bool http_job::ended(CURLcode code) {
  if (code != CURLE_OK && !cut_) {
    answer(fail(reason(code)));
    return false;
  }
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  reply_.status = static_cast<int>(status);
  if (request_.follow_redirects && redirected()) return true;
  if (!answered()) answer(std::move(reply_));
  return false;
}

/// Turns the request into the one that follows. A body goes to no other host, and nothing goes from https to http.
bool http_job::redirected() {
  const int status = reply_.status;
  if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308) return false;
  char* location = nullptr;
  curl_easy_getinfo(easy_, CURLINFO_REDIRECT_URL, &location);
  if (location == nullptr) return false;
  if (++redirects_ > limits::http_redirects) {
    answer(fail(failure::limit_exceeded, fmt::format("{} redirects more than {} times", host_, limits::http_redirects)));
    return false;
  }
  const auto before = std::tuple(https_, host_, port_);
  const bool was_https = https_;
  std::string previous = std::exchange(request_.url, location);
  if (auto fine = accept(); !fine) {
    answer(fail(failure::protocol_violation, fmt::format("{} redirects to a URL that is none", std::get<1>(before))));
    return false;
  }
  if (was_https && !https_) {
    answer(fail(failure::protocol_violation, fmt::format("{} redirects from https to http", std::get<1>(before))));
    return false;
  }
  const bool same_method = status == 307 || status == 308 || request_.method == "GET" || request_.method == "HEAD";
  const bool elsewhere = before != std::tuple(https_, host_, port_);
  if (elsewhere && same_method && !request_.body.empty()) return false;
  if (!same_method) {
    request_.method = "GET";
    request_.body = secret<>();
  }
  std::erase_if(request_.headers, [&](const auto& h) {
    return (elsewhere && (equal_text(h.first, "authorization") || equal_text(h.first, "cookie"))) ||
           (!same_method && (equal_text(h.first, "content-type") || equal_text(h.first, "content-length")));
  });
  return true;
}

error http_job::reason(CURLcode code) const {
  if (problem_) return *problem_;
  const std::string text = fmt::format("{}: {}", host_, curl_easy_strerror(code));
  long os_error = 0;
  curl_easy_getinfo(easy_, CURLINFO_OS_ERRNO, &os_error);
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST: return {failure::dns_failed, text, {}};
    case CURLE_COULDNT_CONNECT:
      return {
          os_error == ECONNREFUSED ? failure::connect_refused : failure::connect_failed,
          os_error != 0 ? fmt::format("cannot connect to {} port {}: {}", host_, port_, std::strerror(static_cast<int>(os_error))) : text,
          {}};
    case CURLE_OPERATION_TIMEDOUT: return {failure::timed_out, fmt::format("the deadline passed during {}", phase()), {}};
    case CURLE_PEER_FAILED_VERIFICATION: return certificate_name_problem(host_, names_);
    case CURLE_SSL_CONNECT_ERROR: return {failure::tls_failed, fmt::format("TLS handshake with {} failed", host_), {}};
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE: return {failure::connection_lost, text, {}};
    case CURLE_URL_MALFORMAT: return {failure::invalid_input, text, {}};
    case CURLE_UNSUPPORTED_PROTOCOL:   // the URL's scheme was checked: this is curl's word for an answer that is not HTTP/1
      return {failure::protocol_violation, fmt::format("{} does not answer like an HTTP server", host_), {}};
    case CURLE_OUT_OF_MEMORY: return {failure::internal, text, {}};
    default: return {failure::protocol_violation, text, {}};
  }
}

}  // namespace mailherd::net
