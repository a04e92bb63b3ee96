// tests/peers/identity_provider: an OpenID provider (oidc-provider on Node, tools/idp) with a fault layer before it.
//
// Owns:   the process, its signing keys, and the key files that Dovecot validates tokens with.
// Never:  anything but loopback. Refresh tokens rotate; using an old one again revokes the grant: stricter than Entra.
// Threads: one at a time; every call is a blocking HTTP request on loopback.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/peers/process.hpp"
#include "tests/peers/test_ca.hpp"

namespace mailherd::peers {

struct idp_client {
  std::string id = "mailherd";
  std::string secret = "mailherd-secret";   ///< empty with a public_key or for a public client
  std::vector<std::string> redirect_uris = {};   ///< empty: http://127.0.0.1/oauth2/callback
  std::string auth_method = "client_secret_post";  ///< client_secret_basic, client_secret_post, private_key_jwt, none
  std::string public_key = {};                   ///< PEM of the key (or certificate) for private_key_jwt
  /// client_credentials: the token opens every mailbox of this domain ("acme.test"), as an application permission does. Empty: none.
  std::string app_domain = {};
};

struct idp_options {
  std::filesystem::path root = {};               ///< empty, or not reachable for other users: an own temporary directory
  std::vector<idp_client> clients = {idp_client{}};
  std::chrono::seconds access_token_ttl{3600};
  std::chrono::seconds refresh_token_ttl{14 * 24 * 3600};
  bool rotate_refresh_tokens = true;
  bool opaque_access_tokens = false;        ///< true: Dovecot must ask introspection_url()
  std::optional<certificate> tls = {};           ///< https when given
  std::uint16_t port = 0;                   ///< 0: ephemeral
  std::filesystem::path source_dir = {};         ///< empty: $MAILHERD_SOURCE_DIR, else the directory this was built from
};

/// What a token endpoint gave.
struct token_answer {
  long status = 0;
  std::string body;           ///< as it came
  std::string access_token;
  std::string refresh_token;
  std::string error;          ///< OAuth error code
  long expires_in = 0;
};

/// Answered instead of (or after a delay before) the provider's own answer.
struct idp_fault {
  std::string match = "/token";   ///< part of "<path> <grant_type> <client> <account>"; tenant paths end in /token too
  int status = 0;                 ///< 0: no answer of its own: only the delay
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::chrono::milliseconds delay{0};
  int times = 1;                  ///< -1: until clear_faults()
  /// The provider handles the request and rotates the token, then its answer is lost: the fault's is sent (status 0: the connection is
  /// cut).
  bool lose_answer = false;
};

/// One request to a token endpoint.
struct idp_log_entry {
  std::string path, grant_type, client, account, error;
  int status = 0;
  bool fault = false;
  double at = 0;  ///< seconds since the epoch
};

class identity_provider {
 public:
  /// Throws peer_error if Node or tools/idp/node_modules is missing (`npm ci` in tools/idp; ./dev does it).
  explicit identity_provider(idp_options options = {});
  ~identity_provider();
  identity_provider(const identity_provider&) = delete;
  identity_provider& operator=(const identity_provider&) = delete;

  /// True if Node and tools/idp/node_modules are there.
  static bool installed(const std::filesystem::path& source_dir = {});

  [[nodiscard]] std::string issuer() const;
  [[nodiscard]] std::string authorize_url() const;
  [[nodiscard]] std::string token_url() const;   ///< the path ends in /token
  [[nodiscard]] std::string device_url() const;
  [[nodiscard]] std::string introspection_url() const;   ///< needs no credentials; for Dovecot
  [[nodiscard]] std::filesystem::path key_dir() const;    ///< <key_dir>/default/RS256/<kid>, for dovecot_options
  [[nodiscard]] std::uint16_t port() const noexcept;
  [[nodiscard]] std::filesystem::path log_file() const;
  /// Microsoft-style endpoints exist too: <issuer>/<tenant>/oauth2/v2.0/{authorize,token,devicecode}; this is "<issuer>/<tenant>".
  [[nodiscard]] std::string authority(std::string_view tenant = "common") const;

  // ---- clients and grants ----
  void add_client(const idp_client& client);
  /// A grant without a browser: a refresh token as if `account` had consented. `shared`: a further mailbox the token opens.
  std::string grant(std::string_view account, std::string_view client = "mailherd", std::string_view shared = {});
  /// An access token for `account`, from a new grant.
  std::string access_token(std::string_view account, std::string_view client = "mailherd");
  token_answer refresh(std::string_view refresh_token, std::string_view client = "mailherd", std::string_view secret = "mailherd-secret");
  token_answer client_credentials(std::string_view client = "mailherd", std::string_view secret = "mailherd-secret");
  /// All grants of the account: the next refresh gets invalid_grant. Access tokens already given stay valid until they expire (JWT).
  void revoke(std::string_view account);
  /// Does what a person does in a browser: opens `authorize_url`, signs in as `account`, allows. Returns the address the browser is
  /// sent to in the end (redirect_uri with code and state); it is not fetched. `deny`: the person presses Cancel.
  std::string consent(std::string_view authorize_url, std::string_view account, bool deny = false);
  /// The same for a device code.
  void approve_device(std::string_view user_code, std::string_view account);

  // ---- behaviour ----
  void set_access_token_ttl(std::chrono::seconds ttl);
  void add_fault(const idp_fault& fault);
  void clear_faults();
  [[nodiscard]] std::vector<idp_log_entry> log() const;
  void clear_log();

  // ---- life ----
  void stop();      ///< connection refused
  void start();     ///< same port and keys; grants are gone, they live in memory
  void freeze();
  void thaw();
  /// A new signing key; the old one stays valid for tokens already given unless `forget_old`.
  void rotate_key(bool forget_old = false);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace mailherd::peers
