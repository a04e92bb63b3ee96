// actors/prober: "Test connection": connects, signs in, opens the mailbox, counts, logs out, and writes down each step in words.
//
// Owns:   tests under way, at most connection_tests_at_once; their one deadline each.
// Never:  disturbs the serving session (it opens its own, read only); renews a rotating grant (only the channel's refresher may, or two
//         would use one refresh token); shows a secret. A test that fails is a report, not an error.
// Used by: terminator (test_atom), for the API.
#pragma once

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "actors/environment.hpp"
#include "actors/interfaces.hpp"
#include "actors/timers.hpp"
#include "actors/token_exchange.hpp"

namespace mailherd::actors {

/// How sessions are opened: open_session, or a stand-in of a test.
using session_opener = std::function<std::unique_ptr<mail_session>(const environment&, net::reactor&, session_plan, session_listener)>;
/// How the refresher of a channel that may be served here is asked: it answers failure::not_found if it is not.
using token_asker = std::function<void(tenant_id, channel_id, std::shared_ptr<token_request>)>;

struct prober_state {
  static inline const char* name = "prober";

  struct probe {
    std::shared_ptr<probe_request> request;
    std::unique_ptr<mail_session> session;
    test_report report;
    std::optional<test_step> token;   ///< fetched before connecting; takes its place in the report after the encryption
    std::string current = "dns";      ///< the step under way
    mono_time began{};                ///< of that step, by the reactor's clock
    std::uint64_t timer = 0;
    bool answered = false;            ///< only the logout is left
  };

  explicit prober_state(prober_actor::pointer me) : self(me) {}

  void begin_test(const std::shared_ptr<probe_request>& request);
  void stop();

  prober_actor::pointer self;
  const environment* env = nullptr;
  session_opener open;
  token_asker ask_token;
  actors::timers timers;
  std::unordered_map<std::uint64_t, probe> probes;   ///< by the epoch of their session
  std::uint64_t epochs = 0;
  bool stopping = false;

 private:
  void ask_for_token(std::uint64_t epoch);
  void ask_endpoint(std::uint64_t epoch);
  void on_token(std::uint64_t epoch, result<access_token> token);
  void connect(std::uint64_t epoch, const access_token* token);
  void on_event(const session_report& what, mono_time at);
  void on_opened(probe& p, const session_event::opened& e, mono_time at);
  void on_counted(std::uint64_t epoch, probe& p, const session_event::counted& e, mono_time at);
  void passed(probe& p, const std::string& step, std::string detail, mono_time at);
  void failed(std::uint64_t epoch, std::string_view step, const error& why, mono_time at);
  void answer(probe& p);
  probe* find(std::uint64_t epoch);
  [[nodiscard]] std::size_t running() const;
};

prober_actor::behavior_type prober(prober_actor::stateful_pointer<prober_state> self, const environment* env, session_opener open,
                                   token_asker ask_token);

}  // namespace mailherd::actors
