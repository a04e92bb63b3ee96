// api/service: what stands between HTTP and the handlers: who asks, may he, is the request well-formed, was it asked before.
//
// Owns:   authentication, the walls between tenants, Idempotency-Key, the way into the store and back, those who wait for mail.
// Never:  blocks; knows a field of an object.
// Used by: server.cpp (feeds it requests), handlers (use it).
// Threads: `handle` and everything marked [http] run on the HTTP thread; the rest on any.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/control.hpp"
#include "api/background.hpp"
#include "api/feed_waiters.hpp"
#include "api/http.hpp"
#include "api/inputs.hpp"
#include "api/live.hpp"
#include "api/problem.hpp"
#include "api/routes.hpp"
#include "api/server.hpp"
#include "api/sessions.hpp"
#include "storage/store.hpp"

namespace mailherd::api {

/// One request on its way through the service. Shared by what works on it; changed by one thread at a time.
struct exchange {
  request req;
  respond answer;
  const route* to = nullptr;
  std::vector<std::string> args;                          ///< of the path, in order
  std::map<std::string, std::string, std::less<>> query;  ///< only parameters the route allows
  json body;                                              ///< an object, if the route takes one
  store::caller who;
  std::string actor;                               ///< "operator" or "key k3"
  tenant_id tenant;                                ///< of the path
  std::string idempotency_scope, idempotency_key;  ///< set once the key is taken
  std::optional<store::console_session> session;   ///< signed in by cookie, not by a token in the header
  sha256_digest session_digest{};                  ///< of that cookie
  std::optional<std::string> remembered_body;      ///< what Idempotency-Key remembers instead of the answer's body
};

class service : public std::enable_shared_from_this<service> {
 public:
  service(options wanted, store::executor& store, actors::control& control, std::shared_ptr<loop> loop);

  /// [http] Answers one request, sooner or later.
  void handle(request wanted, respond answer);

  /// Runs `work` on a storage worker and answers with what it returns. An exception in it is a defect (500).
  void in_store(const call& c, std::function<response(store::session&)> work);
  /// Likewise, but the work answers by itself (through `finish`) unless it returns an answer.
  void in_store_then(const call& c, std::function<std::optional<response>(store::session&)> work);

  /// Ends the request. `here`: the session of the worker that calls, if one does.
  void finish(const call& c, response answer, store::session* here = nullptr);

  /// The answer to an error, its secret part logged.
  response failed(const error& why);

  /// limit and after of a list; false: answered with 400 already.
  struct paging {
    std::size_t limit;
    std::string after;
  };
  std::optional<paging> read_paging(const call& c);

  /// [http] New mail may be there. [http] The node stops: nobody waits any longer.
  void wake(tenant_id tenant) { waiters_.wake(tenant); }
  void stop_waiting() {
    waiters_.stop();
    news_.stop();
  }

  /// Forgets remembered API keys and sessions: one was revoked, or ended.
  void forget_keys();

  /// The keyed digest by which sessions know an operator token; nullopt for any other token.
  std::optional<sha256_digest> operator_digest(const secret<>& token) const;
  /// The public address is https: cookies are for it only.
  [[nodiscard]] bool is_secure() const { return base_url.starts_with("https://"); }
  static response not_from_console();

  /// Bytes of messages being taken apart; nullptr if too many are.
  std::shared_ptr<void> take_parse_budget(std::size_t bytes);
  /// A place among those who read a raw message; nullptr if too many do.
  std::shared_ptr<void> take_stream();
  /// Likewise among those who follow a feed.
  std::shared_ptr<void> take_feed_stream();

  store::executor& store;
  actors::control& control;
  const options settings;
  const input_rules rules;
  std::string base_url;   ///< ours, as browsers reach it, without a slash at the end; set before the first request
  const std::shared_ptr<api::loop> loop;
  background workshop;

  feed_waiters& waiters() { return waiters_; }
  live_news& news() { return news_; }  ///< [http]
  sessions::attempts attempts;         ///< [http]

 private:
  struct known_key {
    std::optional<std::pair<tenant_id, api_key_id>> owner;
    mono_time until{};
  };

  struct known_session {
    std::optional<store::console_session> session;
    mono_time until{};
  };

  void authenticate(const call& c);
  void authenticate_session(const call& c, const std::string& cookie);
  void admit(const call& c, const std::optional<store::console_session>& session);
  void authorize(const call& c, const std::optional<std::pair<tenant_id, api_key_id>>& owner);
  void check_and_run(const call& c);
  bool read_query(const call& c, std::string_view text);
  bool read_body(const call& c);
  void claim_idempotency(const call& c, const std::string& key);
  void replay(const call& c, const store::admin_store::remembered& before);
  void give_key_back(const call& c, unsigned tries);
  void unauthorized(const call& c, std::string_view detail);

  std::unordered_map<std::string, known_key> keys_;  // [http]
  std::unordered_map<std::string, known_session> sessions_;  // [http]
  std::vector<sha256_digest> operator_digests_;
  feed_waiters waiters_;                             // [http]
  live_news news_;                                   // [http]
  std::shared_ptr<std::atomic<std::size_t>> parsing_ = std::make_shared<std::atomic<std::size_t>>(0);
  std::shared_ptr<std::atomic<std::size_t>> following_ = std::make_shared<std::atomic<std::size_t>>(0);
  std::shared_ptr<std::atomic<std::size_t>> streaming_ = std::make_shared<std::atomic<std::size_t>>(0);
};

}  // namespace mailherd::api
