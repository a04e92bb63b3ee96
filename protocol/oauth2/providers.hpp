// protocol/oauth2/providers: where the identity providers are and what to ask them for, as a table.
//
// Owns:   URL templates, scopes and national clouds per provider; their combination with what an app registration overrides.
// Never:  is repeated elsewhere: a vendor that moves an endpoint changes one row (or an app's own URLs, without a release).
// Used by: request building, the API (to check an app when it is created).
#pragma once

#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/result.hpp"

namespace mailherd::oauth2 {

struct endpoints {
  std::string authorize_url;        ///< empty: the provider has none
  std::string token_url;            ///< never empty
  std::string device_url;           ///< empty: the provider has none
  std::vector<std::string> scopes;  ///< to ask for; the app's own if it names any
  bool scope_on_refresh = false;    ///< the provider wants the scope named on each refresh (one Microsoft token serves one resource)
};

/// URLs and scopes of an app for a protocol and a grant. What the app names itself wins over the table.
/// Error: app_misconfigured (no token URL, no URL at all, an authority that cannot be one, app-only on a shared authority; detail says
/// which setting to change).
result<endpoints> endpoints_for(const oauth_app& app, protocol_kind protocol, grant_kind grant);

/// Where the table's provider describes itself (metadata.hpp); for Microsoft by the app's authority. Empty for custom ones.
result<std::string> provider_metadata_url(const oauth_app& app);

/// What an administrator of the customer does by hand before an app-only registration works. Provider-specific; empty if nothing is needed.
struct setup_steps {
  std::string consent_url;                 ///< the directory administrator opens it
  std::vector<std::string> powershell;     ///< the mail administrator's lines; words in <> are his
  std::vector<std::string> notes;          ///< in words
};
setup_steps setup_for(const oauth_app& app, const std::string& redirect_uri, const std::string& mailbox);

}  // namespace mailherd::oauth2
