#include "core/advice.hpp"

namespace mailherd {

// Exhaustive on purpose and without `default:`: a new failure does not compile (-Werror=switch) until somebody has decided.
action action_for(failure f) noexcept {
  switch (f) {
    case failure::connection_lost:
    case failure::server_bye: return action::retry_now;
    case failure::dns_failed:
    case failure::connect_refused:
    case failure::connect_failed:
    case failure::proxy_failed:
    case failure::timed_out:
    case failure::tls_failed:
    case failure::protocol_violation:
    case failure::server_unavailable:
    case failure::server_busy:
    case failure::too_many_connections:
    case failure::throttled:
    case failure::over_quota:
    case failure::command_refused:
    case failure::token_unavailable:
    case failure::account_blocked:
    case failure::store_busy:
    case failure::store_unavailable:
    case failure::store_failed:
    case failure::internal: return action::retry_later;
    case failure::token_rejected: return action::refresh_token;
    case failure::consent_required: return action::reconsent;
    case failure::admin_required:
    case failure::no_mailbox_rights: return action::admin_action;
    case failure::app_misconfigured: return action::app_blocked;
    case failure::target_refused:
    case failure::tls_not_offered:
    case failure::certificate_untrusted:
    case failure::certificate_expired:
    case failure::certificate_name:
    case failure::login_rejected:
    case failure::mechanism_missing:
    case failure::login_disabled:
    case failure::mailbox_missing:
    case failure::wrong_mailbox:
    case failure::seal_failed:
    case failure::not_found:
    case failure::conflict:
    case failure::invalid_input: return action::fix_config;
    case failure::limit_exceeded: return action::skip_message;
    case failure::request_loop:
    case failure::fenced:
    case failure::cancelled: return action::stop;
  }
  return action::stop;
}

std::string_view to_string(action a) noexcept {
  switch (a) {
    case action::retry_now: return "retry_now";
    case action::retry_later: return "retry_later";
    case action::refresh_token: return "refresh_token";
    case action::reconsent: return "reconsent";
    case action::admin_action: return "admin_action";
    case action::app_blocked: return "app_blocked";
    case action::fix_config: return "fix_config";
    case action::skip_message: return "skip_message";
    case action::stop: return "stop";
  }
  return "stop";
}

explanation explain(failure f) noexcept {
  switch (f) {
    case failure::dns_failed:
      return {"The server's name could not be found.", "Check the spelling of the host name; if it is right, ask whoever runs its DNS."};
    case failure::target_refused:
      return {"The server has a private address, which this installation does not allow.",
              "Use the server's public name, or ask the operator to add its network to MAILHERD_PRIVATE_TARGETS."};
    case failure::connect_refused:
      return {"Nothing answers at this port.", "Check the port (IMAP 993, POP3 995) and that the mail server allows access from here."};
    case failure::connect_failed:
      return {"The server cannot be reached over the network.", "Usually temporary; retried by itself. If it stays, check the host name and firewalls."};
    case failure::proxy_failed:
      return {"The proxy did not let the connection through.", "Check the proxy's address, sign-in and rules."};
    case failure::timed_out:
      return {"The server did not answer in time.", "Usually temporary; retried by itself. If it stays, check port and encryption setting."};
    case failure::connection_lost:
      return {"The connection was interrupted.", "Nothing to do; it is re-established by itself."};
    case failure::tls_failed:
      return {"An encrypted connection could not be set up.", "Check the encryption setting against the port: 993 and 995 use implicit TLS, 143 and 110 STARTTLS."};
    case failure::tls_not_offered:
      return {"The server does not offer encryption on this port.", "Use implicit TLS on port 993 (IMAP) or 995 (POP3)."};
    case failure::certificate_untrusted:
      return {"The server's certificate is not from a trusted authority.",
              "Install a public certificate on the mail server, or ask the operator to trust its authority (MAILHERD_CA_FILE)."};
    case failure::certificate_expired:
      return {"The server's certificate is outside its period of validity.", "Ask whoever runs the mail server to renew it."};
    case failure::certificate_name:
      return {"The server's certificate is for another host name.", "Use the host name that the certificate names."};
    case failure::protocol_violation:
      return {"The server's answer is not valid for this protocol.", "Check that protocol and port belong together; otherwise report it with the event's detail."};
    case failure::limit_exceeded:
      return {"Something the server sent is larger than allowed.", "The message is recorded without its body; raise the size limit to fetch such messages."};
    case failure::server_bye:
      return {"The server ended the session.", "Nothing to do; it is re-established by itself."};
    case failure::server_unavailable:
      return {"The mail server is temporarily unavailable.", "Nothing to do; retried by itself."};
    case failure::server_busy:
      return {"The mailbox is in use by another program.", "Nothing to do; retried by itself. Close other POP3 programs if it stays."};
    case failure::too_many_connections:
      return {"The mailbox has too many connections open.", "Close other mail programs on this mailbox, or raise the server's limit."};
    case failure::throttled:
      return {"The provider asked us to wait.", "Nothing to do; fetching goes on when the wait is over."};
    case failure::over_quota:
      return {"The mailbox is over its quota.", "Delete or move mail at the provider."};
    case failure::command_refused:
      return {"The server refused a command.", "Retried by itself; see the event's detail for the server's words."};
    case failure::login_rejected:
      return {"User name or password was refused.", "Enter the password again; if it is right, the provider may demand OAuth2 or an app password."};
    case failure::token_rejected:
      return {"The mail server refused the access token.", "A new token is fetched by itself; if it stays, check the account's right on the mailbox and that IMAP or POP3 is enabled for it."};
    case failure::mechanism_missing:
      return {"The server offers no sign-in method that fits these credentials.", "Choose another authentication type."};
    case failure::login_disabled:
      return {"The provider has switched password sign-in off.", "Switch the channel to OAuth2."};
    case failure::no_mailbox_rights:
      return {"Signed in, but the account may not open this mailbox.", "Ask the mail administrator for full access to the mailbox, and check that the right account consented."};
    case failure::mailbox_missing:
      return {"The folder does not exist.", "Check the folder's name; INBOX always exists."};
    case failure::wrong_mailbox:
      return {"The new credentials open another mailbox.", "Sign in with the account that owns this channel's mailbox."};
    case failure::consent_required:
      return {"The consent has ended or was withdrawn.", "Press Connect and sign in again."};
    case failure::admin_required:
      return {"The organisation's administrator must allow this.", "Ask the directory administrator to grant consent or to change the policy named in the detail."};
    case failure::app_misconfigured:
      return {"The OAuth app registration does not work.", "The operator must renew its secret or correct its registration; channels go on by themselves then."};
    case failure::token_unavailable:
      return {"The identity provider did not answer as it should.", "Nothing to do; retried by itself."};
    case failure::account_blocked:
      return {"The account is locked, or its password has expired.", "Unlock the account or renew its password, then wait: it is retried by itself."};
    case failure::request_loop:
      return {"The identity provider reports a request loop.", "Stopped to protect the account; report this to the operator."};
    case failure::fenced:
      return {"Another node serves this channel now.", "Nothing to do."};
    case failure::store_busy:
      return {"The store is busy.", "Nothing to do; retried by itself."};
    case failure::store_unavailable:
      return {"The database cannot be reached.", "The operator must check PostgreSQL; fetching goes on by itself, nothing is lost."};
    case failure::store_failed:
      return {"The database refused to store something.", "The operator must look at the node's log."};
    case failure::seal_failed:
      return {"The stored credentials cannot be opened with the present master key.", "The operator must add the earlier key to the keyring, or the credentials must be entered again."};
    case failure::not_found: return {"There is no such object.", "Check the id."};
    case failure::conflict: return {"The object was changed by somebody else, or exists already.", "Load it again and repeat the change."};
    case failure::invalid_input: return {"The input is not valid.", "Correct the named field."};
    case failure::cancelled: return {"Withdrawn.", "Nothing to do."};
    case failure::internal: return {"A defect in Mailherd.", "Report it with the event's detail; it is retried by itself."};
  }
  return {"", ""};
}

}  // namespace mailherd
