// core/model: the nouns that API, actors and storage share: tenant, channel, credential, message.
//
// Owns:   plain values and the stable text names of their enumerations.
// Never:  behaviour beyond naming and parsing names; never a secret outside secret<T>.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/ids.hpp"
#include "core/secret.hpp"

namespace mailherd {

// ---- enumerations and their names (stable: stored, and seen in the API) -------------------------------------------------------

enum class protocol_kind { imap, pop3 };
enum class tls_mode { implicit, starttls, none };
enum class after_fetch { keep, seen, remove };  // API: keep | seen | delete
enum class auth_type { basic, oauth2 };
enum class grant_kind { authorization_code, client_credentials, device_code };
enum class provider_kind { microsoft, google, custom };
enum class channel_state {
  disabled, consent_pending, connecting, backfilling, active, throttled, backoff, needs_reauth, needs_admin, app_blocked
};
enum class switch_state { none, running, done, failed };
enum class proxy_kind { http_connect, socks5 };

std::string_view to_string(protocol_kind v) noexcept;
std::string_view to_string(tls_mode v) noexcept;
std::string_view to_string(after_fetch v) noexcept;
std::string_view to_string(auth_type v) noexcept;
std::string_view to_string(grant_kind v) noexcept;
std::string_view to_string(provider_kind v) noexcept;
std::string_view to_string(channel_state v) noexcept;
std::string_view to_string(switch_state v) noexcept;
std::string_view to_string(proxy_kind v) noexcept;

/// Parses a name of one of the enumerations above; nullopt for anything else.
template <class Enum>
std::optional<Enum> parse_name(std::string_view text) noexcept;
/// All names, in order, joined by ", ": for error messages.
template <class Enum>
std::string names_of();

// ---- tenants, apps --------------------------------------------------------------------------------------------------------------

struct tenant_limits {
  std::int64_t max_channels = 10'000;
  std::int64_t max_message_bytes = 256LL * 1024 * 1024;

  friend bool operator==(const tenant_limits&, const tenant_limits&) = default;
};

struct tenant_record {
  tenant_id id;
  std::string name;
  tenant_limits limits;
  wall_time created_at{};
};

/// An OAuth2 client registration of a tenant.
struct oauth_app {
  app_id id;
  tenant_id tenant;
  std::string name;
  provider_kind provider = provider_kind::custom;
  std::string client_id;
  secret<> client_secret;     ///< or private_key + certificate
  secret<> private_key;       ///< PEM
  std::string certificate;    ///< PEM; its SHA-256 thumbprint goes into the assertion header (x5t#S256)
  std::string authority;      ///< Microsoft: tenant id or domain, "common", "organizations"; or a base URL
  std::string authorize_url;
  std::string token_url;
  std::string device_url;
  std::string issuer;         ///< OpenID provider: its endpoints and keys are found by discovery; or the discovery document's own address
  std::vector<std::string> scopes;
  secret<> next_secret;       ///< a second client secret that is valid as well: used when the first is refused
  bool has_next_secret = false;
  std::optional<wall_time> secret_expires_at;   ///< of client_secret or certificate, as the registration says; warned of ahead
  std::optional<wall_time> blocked_since;       ///< the registration does not work: one incident for all channels that use it
  std::optional<wall_time> blocked_until;       ///< nobody asks the provider before; nullopt: whoever comes next may
  std::string blocked_detail;
  std::int64_t revision = 0;                    ///< raised by every change of the registration
  wall_time created_at{};
};

// ---- channels -------------------------------------------------------------------------------------------------------------------

struct proxy_settings {
  proxy_kind kind = proxy_kind::http_connect;
  std::string host;
  std::uint16_t port = 0;
  std::string username;
  secret<> password;

  friend bool operator==(const proxy_settings&, const proxy_settings&) = default;
};

struct incoming_settings {
  protocol_kind protocol = protocol_kind::imap;
  std::string host;
  std::uint16_t port = 993;
  tls_mode tls = tls_mode::implicit;
  std::string folder = "INBOX";        ///< UTF-8; IMAP only
  std::optional<proxy_settings> proxy;

  friend bool operator==(const incoming_settings&, const incoming_settings&) = default;
};

/// What a channel authenticates with. One value per credential generation.
struct credential {
  auth_type type = auth_type::basic;
  std::string username;      ///< basic
  secret<> password;         ///< basic
  app_id app;                ///< oauth2
  grant_kind grant = grant_kind::authorization_code;
  std::string mailbox;       ///< oauth2: shared mailbox to open; empty: the account itself
  std::string account;       ///< oauth2: the account that consented, as far as known
  secret<> refresh_token;    ///< oauth2: empty until consent, and for client_credentials
};

/// Where fetching begins on a channel's very first session.
struct start_point {
  enum class kind { now, all, at } from = kind::now;
  wall_time at{};  ///< for kind::at
};

struct channel_spec {
  std::string name;
  std::string address;
  bool enabled = true;
  incoming_settings incoming;
  start_point start;
  mailherd::after_fetch after = mailherd::after_fetch::keep;
};

/// A channel as stored, without credentials.
struct channel_record {
  channel_id id;
  tenant_id tenant;
  channel_spec spec;
  std::int64_t generation = 1;           ///< newest credential generation
  std::int64_t observed_generation = 0;  ///< generation that the serving session uses; 0 = none served yet
  std::int64_t previous_generation = 0;  ///< generation that served before that one; 0 = none
  switch_state switching = switch_state::none;
  std::string switch_error;
  auth_type auth = auth_type::basic;
  std::string account;                   ///< user name or consenting account of `generation`
  app_id app;
  grant_kind grant = grant_kind::authorization_code;
  std::string mailbox;
  bool has_grant = true;                 ///< false: oauth2 without a refresh token yet (consent pending)
  channel_state state = channel_state::connecting;
  std::string state_reason;              ///< a failure's name, or empty
  std::string state_detail;
  wall_time state_since{};
  std::optional<wall_time> next_attempt_at;
  std::optional<wall_time> throttled_until;
  std::optional<wall_time> last_success_at;
  std::optional<wall_time> token_expires_at;
  std::int64_t messages_stored = 0;
  std::optional<std::int64_t> backfill_done;   ///< messages handled of the first backfill, while it runs
  std::optional<std::int64_t> backfill_total;
  std::string node;
  std::int64_t lease_epoch = 0;
  std::int64_t revision = 1;             ///< raised by every change of spec; for optimistic edits
  std::int64_t server = 1;               ///< raised when host or port changes: UIDs and UIDLs of another server are other numbers
  wall_time created_at{};
};

// ---- messages -------------------------------------------------------------------------------------------------------------------

using sha256_digest = std::array<std::uint8_t, 32>;

struct mail_address {
  std::string name;
  std::string address;
  friend bool operator==(const mail_address&, const mail_address&) = default;
};

struct envelope {
  std::vector<mail_address> from, to, cc;
  std::string subject;
  std::optional<wall_time> date;
  std::string message_id;
  std::vector<std::string> in_reply_to, references;
  std::vector<std::string> notes;   ///< what was wrong with the header, in words
  /// What says that no person wrote it: "bounce", "auto_reply", "auto_generated", "list", "bulk", and the field that says so. Empty: nothing does.
  std::string automatic, automatic_reason;
};

/// Where a message came from: its identity (invariant 2). IMAP: folder, uid_validity, uid. POP3: uidl.
struct message_source {
  protocol_kind protocol = protocol_kind::imap;
  std::string folder;
  mailherd::uid_validity uid_validity;
  mailherd::uid uid;
  std::string uidl;

  friend bool operator==(const message_source&, const message_source&) = default;
};

}  // namespace mailherd
