// actors/control_consents: people's consents as the API sees them: begin, come back, look at a link. Part of actors/control.hpp.
//
// Owns:   the interface and its values.
// Never:  carries a token of a grant: what a consent brings is stored by whoever implements this.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "storage/store.hpp"

namespace mailherd::actors {

/// Somebody who may wants a channel connected. REQUIRED: that he may is checked.
struct connect_request {
  tenant_id tenant;
  channel_id channel;
  store::consent_flow flow = store::consent_flow::browser;
  std::string login_hint;                ///< empty: the channel's address
  bool any_account = false;              ///< whoever consents is meant
  std::string return_to;                 ///< a path of ours; shown when all is done
  std::optional<sha256_digest> browser;  ///< of the cookie of the browser that began; only it may come back
  std::string base_url;                  ///< ours, as browsers reach it, without a slash at the end
  std::string actor;
  seconds life{0};  ///< of a link
};

struct connect_answer {
  store::consent_flow flow = store::consent_flow::browser;
  std::string url;  ///< the provider's page, or the link to send
  std::string user_code, verification_uri, verification_uri_complete;
  seconds interval{0};
  wall_time expires_at{};
};

/// A browser comes back from the provider: its query, as it came.
struct browser_return {
  secret<> state, code;
  std::string error, error_description, issuer;
  std::optional<sha256_digest> browser;
};

enum class consent_end {
  connected,
  wrong_account,  ///< another account consented: nothing was stored
  declined,       ///< the person pressed Cancel
  refused,        ///< the provider says no for another reason
  failed,         ///< it could not be finished; detail says why
  expired,
  used,     ///< the same return came twice
  unknown,  ///< no such request: forged, or long ago
  other_browser,
  superseded,  ///< the channel's sign-in was changed meanwhile
};

/// What became of a consent, for the page that the person sees.
struct consent_outcome {
  consent_end end = consent_end::unknown;
  tenant_id tenant;
  channel_id channel;
  std::string channel_name, address, mailbox;
  std::string account;  ///< who consented, as far as known
  std::string detail;   ///< for people, cleaned
  std::string return_to;
  /// Tokens of links that lead on: the same once more, with the choice of another account, with the account that has just consented.
  std::string again, pick, accept;
};

/// What stands behind a link, for the page that asks whether to go on.
struct link_view {
  consent_end end = consent_end::unknown;  ///< connected: it was used for that; failed: it can be followed
  std::string channel_name, address, mailbox, app_name;
  provider_kind provider = provider_kind::custom;
};

struct app_setup {
  std::string redirect_uri, admin_consent_url;
  std::vector<std::string> powershell, notes;
};

class consents {
 public:
  virtual ~consents() = default;

  /// Errors: not_found; invalid_input (this channel's sign-in needs no person); conflict (changed at this moment); app_misconfigured,
  /// admin_required, token_unavailable (the provider, of the app or of itself); store_busy; store_unavailable; cancelled at shutdown.
  virtual void connect(connect_request wanted, deadline until, std::function<void(result<connect_answer>)> on_done) = 0;
  /// Code into tokens, who it was, the grant stored. Errors are of this side only (store, shutdown).
  virtual void come_back(browser_return what, deadline until, std::function<void(result<consent_outcome>)> on_done) = 0;
  virtual void look_at_link(secret<> token, std::function<void(result<link_view>)> on_done) = 0;
  /// As connect, for whoever holds the link; conflict if it was used, or is over; not_found.
  virtual void follow_link(secret<> token, const std::string& base_url, std::optional<sha256_digest> browser, deadline until,
                           std::function<void(result<connect_answer>)> on_done) = 0;
  /// What administrators do by hand before an application may sign in by itself.
  [[nodiscard]] virtual app_setup setup_of(const oauth_app& app, const std::string& base_url, const std::string& mailbox) const = 0;
};

}  // namespace mailherd::actors
