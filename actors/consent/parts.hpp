// actors/consent/parts: what the connector's files share. Private to this folder.
//
// Owns:   nothing but what is under way. Never:  included elsewhere.
#pragma once

#include <openssl/evp.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "actors/consent/connector.hpp"
#include "actors/token_exchange.hpp"

namespace mailherd::actors {

inline sha256_digest digest_of(const secret<>& text) {
  sha256_digest digest{};
  EVP_Digest(text.reveal().data(), text.reveal().size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return digest;
}

struct connector::beginning {
  connect_request want;
  std::optional<store::consent> parent;  ///< what was followed
  deadline until;
  std::function<void(result<connect_answer>)> on_done;
  store::consent_subject subject;
};

struct connector::landing {
  store::consent c;
  deadline until;
  std::function<void(result<consent_outcome>)> on_done;
  store::consent_subject subject;
  consent_outcome out;
  secret<> refresh_token;
};

struct connector::device {
  store::consent c;
  store::consent_subject subject;
  seconds interval{5};
  client_proof proof;
  std::unique_ptr<net::timer> timer;
  std::shared_ptr<void> counted;
};

/// Runs `job(session&) -> result<T>` on a storage worker, then `then(result<T>)` there. Exactly once.
template <class T, class Job, class Then>
void connector::in_store(deadline until, Job job, Then then) {
  const bool taken =
      env_.store->submit(until, [job = std::move(job), then](result<store::session*> s) mutable { then(s ? job(**s) : result<T>(fail(s.error()))); });
  if (!taken) then(result<T>(fail(failure::store_busy, "too many storage jobs are waiting")));
}

}  // namespace mailherd::actors
