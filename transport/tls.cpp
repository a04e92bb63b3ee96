// transport/tls: handshake, verification, resumption, bytes.
#include "transport/tls.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <deque>
#include <list>
#include <mutex>
#include <unordered_map>

#include "core/limits.hpp"
#include "core/secret.hpp"
#include "core/server_text.hpp"
#include "transport/address.hpp"
#include "transport/tls_certificate.hpp"

namespace mailherd::net {

namespace {

std::string openssl_reason(unsigned long code) {
  const char* text = ERR_reason_error_string(code);
  return text != nullptr ? clean_server_text(text) : fmt::format("error {:x}", code);
}

/// The store takes part in verification of mail and HTTP alike. PARTIAL_CHAIN: an administrator may trust a server's own certificate.
constexpr unsigned long store_flags = X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN;

}  // namespace

result<X509_STORE*> make_trust_store(const std::string& ca_file) {
  ERR_clear_error();
  X509_STORE* store = X509_STORE_new();
  if (store == nullptr || X509_STORE_set_default_paths(store) != 1 || X509_STORE_set_flags(store, store_flags) != 1) {
    X509_STORE_free(store);
    return fail(failure::internal, "OpenSSL cannot read the system's trusted authorities");
  }
  if (!ca_file.empty() && X509_STORE_load_file(store, ca_file.c_str()) != 1) {
    const std::string why = openssl_reason(ERR_peek_last_error());
    X509_STORE_free(store);
    ERR_clear_error();
    return fail(failure::invalid_input, fmt::format("trusted authorities cannot be read from {}: {}", ca_file, why));
  }
  ERR_clear_error();
  return store;
}

/// What one system call can bring: four full records. Held only while some of it is not yet handed on.
constexpr std::size_t read_ahead_bytes = 64 * limits::kib;

/// Sessions are kept serialised: the peer's parsed certificate chain, which a live session holds, would cost ten times as much.
struct tls_context::state {
  struct kept {
    std::string server;
    secret<> session;
    bool once;              ///< TLS 1.3: a ticket that is used twice links the connections (RFC 8446, C.4)
    std::time_t until;      ///< the certificate's end: a resumed handshake shows no certificate
  };
  using by_age = std::list<kept>;
  SSL_CTX* ctx = nullptr;
  mutable std::mutex mutex;   // guards the cache
  by_age newest_first;
  std::unordered_map<std::string, std::deque<by_age::iterator>> of_server;   // newest first, never empty

  void keep(kept k) {
    const std::lock_guard lock(mutex);
    newest_first.push_front(std::move(k));
    auto& own = of_server[newest_first.front().server];
    own.push_front(newest_first.begin());
    if (own.size() > limits::tls_sessions_of_server) drop_oldest(own);
    // The oldest of all is the oldest of its server.
    if (newest_first.size() > limits::tls_sessions) drop_oldest(of_server.at(newest_first.back().server));
  }

  void forget(const std::string& server) {
    const std::lock_guard lock(mutex);
    const auto found = of_server.find(server);
    if (found == of_server.end()) return;
    for (const auto& each : found->second) newest_first.erase(each);
    of_server.erase(found);
  }

  SSL_SESSION* take(const std::string& server) {
    const std::lock_guard lock(mutex);
    const auto found = of_server.find(server);
    if (found == of_server.end()) return nullptr;
    const auto newest = found->second.front();
    SSL_SESSION* session = nullptr;
    if (std::time(nullptr) < newest->until) {
      const std::string& bytes = newest->session.reveal();
      const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
      session = d2i_SSL_SESSION(nullptr, &p, static_cast<long>(bytes.size()));
      if (session != nullptr && !newest->once) return session;
    }
    found->second.pop_front();
    if (found->second.empty()) of_server.erase(found);
    newest_first.erase(newest);
    return session;
  }

 private:
  void drop_oldest(std::deque<by_age::iterator>& own) {
    const auto oldest = own.back();
    own.pop_back();
    if (own.empty()) of_server.erase(oldest->server);
    newest_first.erase(oldest);
  }
};

tls_context::tls_context() : state_(std::make_unique<state>()) {}

tls_context::~tls_context() { SSL_CTX_free(state_->ctx); }

SSL_CTX* tls_context::native() const { return state_->ctx; }

std::size_t tls_context::sessions() const {
  const std::lock_guard lock(state_->mutex);
  return state_->newest_first.size();
}

result<std::shared_ptr<tls_context>> tls_context::create(const std::string& ca_file) {
  auto store = make_trust_store(ca_file);
  if (!store) return fail(std::move(store.error()));
  std::shared_ptr<tls_context> out(new tls_context);
  SSL_CTX* ctx = out->state_->ctx = SSL_CTX_new(TLS_client_method());
  if (ctx == nullptr) {
    X509_STORE_free(*store);
    return fail(failure::internal, "OpenSSL cannot make a context");
  }
  SSL_CTX_set_cert_store(ctx, *store);   // takes it
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  // RELEASE_BUFFERS: an idle connection gives its 2 × 16 KB record buffers back.
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // A system call brings what is there, of several records; without, each record takes two: for its head and for the rest.
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_default_read_buffer_len(ctx, read_ahead_bytes);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, &tls_channel::new_session);
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, &tls_channel::verified);
  return out;
}

// ---- one connection -------------------------------------------------------------------------------------------------------------

tls_channel::tls_channel(std::shared_ptr<tls_context> context, int fd, std::string host, std::uint16_t port, std::string_view path)
    : context_(std::move(context)), host_(std::move(host)) {
  if (!host_.empty() && host_.back() == '.') host_.pop_back();
  server_ = fmt::format("{}\n{}\n{}", host_, port, path);
  ERR_clear_error();
  ssl_ = SSL_new(context_->native());
  bool ready = ssl_ != nullptr && SSL_set_fd(ssl_, fd) == 1;
  if (ready) {
    SSL_set_app_data(ssl_, this);
    SSL_set_connect_state(ssl_);
    if (const auto literal = ip_address::parse(host_)) {
      ready = X509_VERIFY_PARAM_set1_ip(SSL_get0_param(ssl_), literal->bytes.data(), literal->v6 ? 16 : 4) == 1;
    } else {
      SSL_set_hostflags(ssl_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      ready = SSL_set1_host(ssl_, host_.c_str()) == 1 && SSL_set_tlsext_host_name(ssl_, host_.c_str()) == 1;
    }
  }
  if (!ready) {
    problem_ = error{failure::internal, "OpenSSL cannot prepare a connection", {}};
    return;
  }
  if (SSL_SESSION* session = context_->state_->take(server_)) {
    offered_ = SSL_set_session(ssl_, session) == 1;
    SSL_SESSION_free(session);
  }
}

tls_channel::~tls_channel() { SSL_free(ssl_); }

int tls_channel::verified(int ok, X509_STORE_CTX* verification) {
  if (ok == 1) return ok;
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* self = static_cast<tls_channel*>(SSL_get_app_data(ssl));
  if (!self->problem_) self->problem_ = certificate_problem(verification, self->host_);
  return ok;
}

int tls_channel::new_session(SSL* ssl, SSL_SESSION* session) {
  auto* self = static_cast<tls_channel*>(SSL_get_app_data(ssl));
  self->ticket_came_ = true;
  // One of each connection: those in the cache become as many as were ever opened at once, whatever each server hands out.
  if (self->kept_) return 0;
  X509* peer = SSL_SESSION_get0_peer(session);
  if (peer == nullptr || SSL_SESSION_is_resumable(session) != 1) return 0;
  const int size = i2d_SSL_SESSION(session, nullptr);
  if (size <= 0 || static_cast<std::size_t>(size) > limits::tls_session_bytes) return 0;
  std::string bytes(static_cast<std::size_t>(size), '\0');
  auto* p = reinterpret_cast<unsigned char*>(bytes.data());
  i2d_SSL_SESSION(session, &p);
  const auto expires = certificate_expiry(peer);
  self->kept_ = true;
  self->context_->state_->keep({self->server_, secret<>(std::move(bytes)), SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION,
                                expires ? std::chrono::system_clock::to_time_t(*expires) : 0});
  return 0;   // the reference stays with OpenSSL
}

io_step tls_channel::step(int rc, std::size_t moved, bool handshaking) {
  const int saved_errno = errno;
  if (rc > 0) return {io_step::kind::moved, moved, {}};
  switch (SSL_get_error(ssl_, rc)) {
    case SSL_ERROR_WANT_READ: return {io_step::kind::want_read, 0, {}};
    case SSL_ERROR_WANT_WRITE: return {io_step::kind::want_write, 0, {}};
    case SSL_ERROR_ZERO_RETURN: return {io_step::kind::closed, 0, {}};
    default: break;
  }
  broken_ = true;
  const unsigned long code = ERR_peek_error();
  // Many servers end without close_notify; to the protocol above both are an end.
  const bool eof = (code == 0 && saved_errno == 0) || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
  std::string why = code != 0 ? openssl_reason(code) : clean_server_text(std::strerror(saved_errno));
  if (handshaking && !problem_) {
    problem_ = handshake_error(code, eof);
    if (code == 0 && !eof) problem_->detail = fmt::format("TLS handshake with {} failed: {}", host_, why);
  }
  ERR_clear_error();
  if (eof) return {io_step::kind::closed, 0, {}};
  return {io_step::kind::failed, 0, std::move(why)};
}

error tls_channel::handshake_error(unsigned long queued, bool eof) const {
  if (eof) return {failure::tls_failed, fmt::format("{} closed the connection during the TLS handshake", host_), {}};
  if (ERR_GET_LIB(queued) == ERR_LIB_SSL) {
    switch (ERR_GET_REASON(queued)) {
      case SSL_R_WRONG_VERSION_NUMBER:
      case SSL_R_HTTP_REQUEST:
        return {failure::tls_failed, fmt::format("{} does not speak TLS on this port: a wrong port, or it wants STARTTLS", host_), {}};
      case SSL_R_UNSUPPORTED_PROTOCOL:
      case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return {failure::tls_failed, fmt::format("{} offers no TLS 1.2 or newer", host_), {}};
      default: break;
    }
  }
  return {failure::tls_failed, fmt::format("TLS handshake with {} failed: {}", host_, openssl_reason(queued)), {}};
}

io_step tls_channel::handshake() {
  if (problem_) return {io_step::kind::failed, 0, problem_->detail};
  ERR_clear_error();
  errno = 0;
  const int rc = SSL_do_handshake(ssl_);
  io_step out = step(rc, 0, true);
  if (out.what == io_step::kind::closed) {
    if (!problem_) problem_ = handshake_error(0, true);
    out.what = io_step::kind::failed;
  }
  // A server that cannot bear a session it gave out gets full handshakes from then on.
  if (out.what == io_step::kind::failed && offered_) context_->state_->forget(server_);
  return out;
}

error tls_channel::problem() const {
  return problem_.value_or(error{failure::tls_failed, fmt::format("TLS handshake with {} failed", host_), {}});
}

io_step tls_channel::read(char* to, std::size_t size) {
  if (broken_) return {io_step::kind::closed, 0, {}};
  ERR_clear_error();
  errno = 0;
  std::size_t moved = 0;
  const int rc = SSL_read_ex(ssl_, to, size, &moved);
  // A TLS 1.3 ticket, which comes with the first data, makes OpenSSL allocate the 16 KB write buffer and keep it until the next write.
  // Freed only between two records: older OpenSSL 3.0 mishandles the call in the middle of one (CVE-2024-4741).
  if (rc == 1 && ticket_came_ && SSL_has_pending(ssl_) == 0) {
    ticket_came_ = false;
    SSL_free_buffers(ssl_);
  }
  return step(rc, moved, false);
}

io_step tls_channel::write(const char* from, std::size_t size) {
  if (broken_) return {io_step::kind::closed, 0, {}};
  ERR_clear_error();
  errno = 0;
  std::size_t moved = 0;
  const int rc = SSL_write_ex(ssl_, from, size, &moved);
  return step(rc, moved, false);
}

bool tls_channel::has_pending() const { return SSL_has_pending(ssl_) == 1; }

void tls_channel::shutdown() {
  if (broken_ || problem_ || SSL_is_init_finished(ssl_) == 0) return;
  ERR_clear_error();
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

void tls_channel::describe(connection_info& info) const {
  info.tls_version = SSL_get_version(ssl_);
  info.tls_cipher = SSL_get_cipher_name(ssl_);
  info.tls_resumed = SSL_session_reused(ssl_) == 1;
  if (X509* peer = SSL_get0_peer_certificate(ssl_)) {
    info.certificate_subject = certificate_owner(X509_get_subject_name(peer));
    info.certificate_expires_at = certificate_expiry(peer);
  }
}

}  // namespace mailherd::net
