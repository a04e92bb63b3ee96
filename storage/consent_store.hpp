// storage/consent_store: requests for people's consent, and the grants that come of them. Part of storage/store.hpp, which says how it is called.
//
// Owns:   the values and the interface. Never:  shows a state or a link's token: only their digests are stored.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/model.hpp"
#include "core/result.hpp"

namespace mailherd::store {

struct caller;

enum class consent_flow {
  browser,
  link,  ///< sent to a mailbox's owner
  device,
  again,  ///< offered on a page after a consent that came to nothing
};
enum class consent_state { pending, done, failed, expired };
constexpr std::string_view to_string(consent_flow f) noexcept {
  switch (f) {
    case consent_flow::browser:
      return "browser";
    case consent_flow::link:
      return "link";
    case consent_flow::device:
      return "device";
    case consent_flow::again:
      return "again";
  }
  return "";
}

constexpr std::string_view to_string(consent_state s) noexcept {
  switch (s) {
    case consent_state::pending:
      return "pending";
    case consent_state::done:
      return "done";
    case consent_state::failed:
      return "failed";
    case consent_state::expired:
      return "expired";
  }
  return "";
}

struct consent {
  consent_id id;
  tenant_id tenant;
  channel_id channel;
  std::int64_t generation = 0;  ///< the newest credential when it began
  app_id app;
  consent_flow flow = consent_flow::browser;
  consent_state state = consent_state::pending;
  bool taken = false;                    ///< browser: its one return has come
  int uses = 0;                          ///< link: times it was followed
  std::optional<sha256_digest> browser;  ///< of the cookie of the browser that began
  std::string redirect_uri;
  secret<> hidden;  ///< PKCE verifier or device code
  std::string nonce, login_hint;
  bool any_account = false;
  std::string other_account;  ///< as good as the channel's own address
  bool pick_account = false;
  std::string return_to;
  std::optional<consent_id> link;  ///< the owner's link that led here
  std::string user_code, verification_uri;
  seconds interval{0};
  std::string account, detail, actor;
  wall_time created_at{}, expires_at{};
};

/// What a consent is for, read together.
struct consent_subject {
  channel_record channel;
  credential newest;  ///< of channel.generation
  oauth_app app;
};

class consent_store {
 public:
  virtual ~consent_store() = default;

  /// Stores a new request; `digest` of its state or token, none for a device. Returns it with its id. failure::conflict if the channel's
  /// credential is not of `c.generation` any more. Older requests of the channel past limits::consents_open go.
  virtual result<consent> add_consent(const consent&, const std::optional<sha256_digest>&) { return none(); }
  /// Whoever's it is: the digest is the right to ask. failure::not_found.
  virtual result<consent> find_consent(const sha256_digest&) { return none(); }
  /// The one return of a browser; failure::conflict if it has come already, or is too late.
  virtual result<void> take_consent(const consent&) { return none(); }
  /// A link, or what a page offered, is followed; failure::conflict if it is used up, or is too late.
  virtual result<void> follow_link(const consent&) { return none(); }
  /// The newest of a channel.
  virtual result<std::optional<consent>> last_consent(const caller&, tenant_id, channel_id) { return none(); }

  /// Channel, credential and app, for whoever holds the consent or may see the channel. failure::invalid_input if its newest credential cannot be
  /// consented to (a password, an application's own grant).
  virtual result<consent_subject> consent_subject_of(const caller&, tenant_id, channel_id) { return none(); }

  /// Stores the grant (of this account, with this refresh token) and ends the request and the link it came from: a credential that waited for it
  /// gets it, otherwise it becomes the next generation. Returns the generation. failure::conflict if the channel's credential changed since
  /// the request began, or the request has ended.
  virtual result<std::int64_t> complete_consent(const consent&, const std::string&, const secret<>&) { return none(); }
  /// Ends the request without a grant (who consented if anybody did, and why not): nothing else changes but the channel's history. Ended
  /// twice is fine.
  virtual result<void> fail_consent(const consent&, const std::string&, const std::string&) { return none(); }

  /// The credential that served before the present one (or, while a switch runs or has failed, the serving one) becomes the next generation.
  /// The last argument is who wants it. failure::conflict if there is none.
  virtual result<std::int64_t> roll_back(const caller&, tenant_id, channel_id, const std::string&) { return none(); }

 private:
  /// A stand-in that knows no consents need not say so ten times.
  static tl::unexpected<error> none() { return fail(failure::store_failed, "this store knows no consents"); }
};

}  // namespace mailherd::store
