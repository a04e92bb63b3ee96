// transport/http_job: one HTTP request on its way: its curl handle, what came back so far, what went wrong.
//
// Owns:   the curl easy handle and everything that must live as long as it. Answers its asker exactly once, at the latest when destroyed.
// Never:  touches the multi handle: the engine adds and removes.
// Used by: http.
#pragma once

#include <curl/curl.h>
#include <openssl/ssl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/address.hpp"
#include "transport/net.hpp"
#include "transport/network.hpp"

namespace mailherd::net {

class http_job {
 public:
  using handler = std::function<void(result<http_reply>)>;

  http_job(http_request request, deadline until, handler on_done);
  ~http_job();   ///< answers failure::cancelled if nothing was answered
  http_job(const http_job&) = delete;
  http_job& operator=(const http_job&) = delete;

  /// Checks method, headers and URL, and finds scheme, host and port. Fails with invalid_input.
  result<void> accept();

  /// What the transfer may use; all of it outlives the transfer.
  struct surroundings {
    const target_policy& policy;
    X509_STORE* trust;
    std::optional<ip_address> source;
  };
  /// Makes the curl handle for the URL at hand. REQUIRED: accepted; addresses are those of host(), judged and not empty.
  result<CURL*> prepare(const std::vector<ip_address>& addresses, const surroundings& around);

  /// The transfer has ended: true if another one must follow (a redirect), for which accept() and prepare() are called again.
  bool ended(CURLcode code);

  void answer(result<http_reply> what);
  [[nodiscard]] bool answered() const { return !on_done_; }

  [[nodiscard]] CURL* easy() const { return easy_; }
  [[nodiscard]] const std::string& host() const { return host_; }
  [[nodiscard]] deadline until() const { return until_; }
  /// "the TLS handshake with login.acme.test": where the transfer is now, for the text of a timeout.
  [[nodiscard]] std::string phase() const;
  /// Frees the curl handle. REQUIRED: not in a multi.
  void release();

  std::unique_ptr<timer> expiry;   ///< set by the engine

 private:
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
  static curl_socket_t on_open(void* self, curlsocktype purpose, curl_sockaddr* address);
  static CURLcode on_context(CURL* easy, void* ctx, void* self);
  static int on_verify(int ok, X509_STORE_CTX* verification);
  void set_method();
  bool set_headers();
  bool redirected();
  error reason(CURLcode code) const;

  http_request request_;
  deadline until_;
  handler on_done_;

  bool https_ = false;
  std::string host_;   ///< as curl spells it: lower case, literals without brackets
  std::uint16_t port_ = 0;
  unsigned redirects_ = 0;

  CURL* easy_ = nullptr;
  curl_slist* headers_ = nullptr;
  curl_slist* resolve_ = nullptr;
  const target_policy* policy_ = nullptr;
  X509_STORE* trust_ = nullptr;

  http_reply reply_;
  std::size_t head_bytes_ = 0;
  bool tls_begun_ = false;
  bool cut_ = false;                    ///< the rest of the answer is not wanted
  std::optional<error> problem_;        ///< found in a callback; says more than curl's code
  std::string names_;                   ///< of the peer's certificate
};

}  // namespace mailherd::net
