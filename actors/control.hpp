// actors/control: what the API may ask of the running node beyond the rows of the database.
//
// Owns:   the abstract `control` and the report of a connection test.
// Never:  shows an actor, a socket or a credential. Everything that is only rows goes through store::executor instead.
// Used by: api/ (calls it), actors/ (implements it over the actor system), tests of api/ (a small stand-in).
// Threads and blocking: every function may be called on any thread and never blocks; callbacks run exactly once, on any thread,
//          at the latest shortly after the deadline, also while the node shuts down (failure::cancelled).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "actors/control_consents.hpp"
#include "core/model.hpp"
#include "core/result.hpp"

namespace mailherd::actors {

/// One step of "Test connection": "dns", "tcp", "proxy", "tls", "token", "greeting", "authentication", "mailbox", "count".
struct test_step {
  std::string step;
  bool ok = false;
  milliseconds took{0};
  std::string detail;   ///< "TLSv1.3, certificate of mail.acme.test, 89 days left"; on failure the cause, cleaned, without secrets
  std::string advice;   ///< on failure: what a person should do next; else empty
  std::optional<failure> reason;
};

struct test_report {
  bool ok = false;
  std::optional<std::int64_t> messages;   ///< on the server, in the channel's folder
  std::optional<std::int64_t> unseen;     ///< IMAP
  std::string account;                    ///< user name or account signed in as, as far as known
  std::vector<test_step> steps;           ///< in order; the first failed step is the last
};

/// A channel to try: settings plus what to sign in with. For a saved channel they come from the store, for an unsaved one from the request.
struct test_subject {
  tenant_id tenant;
  channel_id channel;                  ///< none if it is not saved yet
  std::int64_t generation = 0;         ///< of `auth`; 0 if not saved
  incoming_settings incoming;
  credential auth;
  std::optional<oauth_app> app;
  std::string address = {};            ///< the channel's: who signs in with a grant whose account is not known
};

/// The tests that an API must not allow to be a weapon: how many may run at once in one node.
constexpr std::size_t connection_tests_at_once = 16;

class control : public consents {
 public:

  /// Connects, signs in, opens the mailbox, counts, logs out; never disturbs the serving session. failure::store_busy if too many tests run;
  /// failure::cancelled at shutdown. A test that fails is a report with ok = false, not an error.
  virtual void test(test_subject subject, deadline until, std::function<void(result<test_report>)> on_done) = 0;

  /// A hint that rows of this channel changed (created, edited, new credential, deleted): latency only, rows decide.
  virtual void changed(tenant_id tenant, channel_id channel) = 0;

  /// Hands over everything this node owns and takes nothing more; failure::not_found if `node` is not this node.
  virtual result<void> drain(const std::string& node) = 0;

  /// False while starting, draining or without a lease: what /readyz adds to the database's health.
  [[nodiscard]] virtual bool serving() const = 0;

  /// True once the database was found, of this version, and the herd begun: what /startupz says. What exists has begun.
  [[nodiscard]] virtual bool started() const { return true; }
};

}  // namespace mailherd::actors
