// protocol/oauth2/setup: what has to be done by hand at a provider before an app may read mail by itself. Declared in providers.hpp.
#include <fmt/format.h>

#include <algorithm>

#include "protocol/oauth2/oauth2.hpp"

namespace mailherd::oauth2 {

namespace {

/// What people paste into a shell must hold nothing that the shell would read.
std::string pasted(const std::string& text, const char* otherwise) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '@' || c == '+';
  });
  return plain ? text : otherwise;
}

}  // namespace

setup_steps setup_for(const oauth_app& app, const std::string& redirect_uri, const std::string& mailbox) {
  setup_steps out;
  switch (app.provider) {
    case provider_kind::microsoft: {
      if (auto url = admin_consent_url(app, redirect_uri, "")) out.consent_url = std::move(*url);
      // Both identifiers are the enterprise application's, not the registration's: the commonest mistake.
      out.powershell = {
          "Install-Module -Name ExchangeOnlineManagement",
          "Connect-ExchangeOnline",
          fmt::format("New-ServicePrincipal -AppId {} -ObjectId <object id of the enterprise application>", pasted(app.client_id, "<client id>")),
          fmt::format("Add-MailboxPermission -Identity \"{}\" -User <object id of the enterprise application> -AccessRights FullAccess",
                      pasted(mailbox, "<mailbox address>")),
      };
      out.notes = {
          "In the app registration, add the application permissions IMAP.AccessAsApp or POP.AccessAsApp of \"Office 365 Exchange Online\".",
          "A directory administrator opens the consent link once and accepts.",
          "A mail administrator runs the PowerShell lines once per mailbox. The object id is that of the enterprise application (Microsoft Entra "
          "admin "
          "center, Enterprise applications), not of the app registration.",
          "Permissions may take up to half an hour to arrive; the channel is tried again by itself.",
      };
      if (out.consent_url.empty())
        out.notes.push_back("Give the app its directory's own id or domain as the authority: app-only access does not work through a shared one.");
      break;
    }
    case provider_kind::google:
      out.notes = {"Google has no app-only access to IMAP and POP3: use the authorization code (Connect) for each mailbox."};
      break;
    case provider_kind::custom:
      out.notes = {"Ask the provider's administrator to let this client use the client_credentials grant for mail."};
      break;
  }
  return out;
}

}  // namespace mailherd::oauth2
