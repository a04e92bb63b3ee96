// actors/consent/connector: a person's consent from the wish for it to the grant in the store.
//
//   connector.cpp   beginning: the provider's page, a link, a device code
//   returns.cpp     a browser comes back; who consented, and what follows
//   devices.cpp     device codes: asks the provider until the person has finished
//
// Owns:   the order of steps; which accounts are the right ones; device codes under way.
// Never:  stores a grant of another account than the one that is meant; blocks; holds a lock while it calls anybody; outlives what `env` points
//         to: its work is on reactors and storage workers, which end first.
// Used by: herd (for the API). It is no actor: nothing here lasts longer than a person's patience, and all that lasts is in rows.
// Threads: any.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "actors/control_consents.hpp"
#include "actors/environment.hpp"
#include "protocol/oauth2/identity.hpp"
#include "protocol/oauth2/oauth2.hpp"

namespace mailherd::actors {

/// Which of an id_token's names is the right account; nullopt: somebody else consented. Empty: the provider names nobody, and the mail
/// server will say whether it is the right one.
std::optional<std::string> right_account(const store::consent& c, const store::consent_subject& subject, const std::optional<oauth2::id_claims>& who);

class connector final : public consents, public std::enable_shared_from_this<connector> {
 public:
  /// `changed`: rows of this channel changed; any thread.
  connector(environment env, std::function<void(tenant_id, channel_id)> changed) : env_(std::move(env)), changed_(std::move(changed)) {}

  void connect(connect_request wanted, deadline until, std::function<void(result<connect_answer>)> on_done) override;
  void come_back(browser_return what, deadline until, std::function<void(result<consent_outcome>)> on_done) override;
  void look_at_link(secret<> token, std::function<void(result<link_view>)> on_done) override;
  void follow_link(secret<> token, const std::string& base_url, std::optional<sha256_digest> browser, deadline until,
                   std::function<void(result<connect_answer>)> on_done) override;
  [[nodiscard]] app_setup setup_of(const oauth_app& app, const std::string& base_url, const std::string& mailbox) const override;

  /// Device codes are asked about no longer.
  void stop() { stopped_ = true; }

 private:
  struct beginning;  ///< of one request
  struct landing;    ///< of one browser, or of one device whose person has finished
  struct device;     ///< a code under way

  template <class T, class Job, class Then>
  void in_store(deadline until, Job job, Then then);
  [[nodiscard]] mono_time now() const { return env_.reactors.front()->now(); }

  // connector.cpp
  void begin(const std::shared_ptr<beginning>& b);
  void begin_browser(const std::shared_ptr<beginning>& b);
  void begin_link(const std::shared_ptr<beginning>& b);
  void begin_device(const std::shared_ptr<beginning>& b);
  void keep(const std::shared_ptr<beginning>& b, store::consent c, const secret<>& token, connect_answer answer);

  // returns.cpp
  void check_return(const std::shared_ptr<landing>& l, const browser_return& what);
  void read_provider_error(const std::shared_ptr<landing>& l, const browser_return& what);
  void exchange_code(const std::shared_ptr<landing>& l, const secret<>& code);
  void take_grant(const std::shared_ptr<landing>& l, oauth2::token_reply reply);
  void judge(const std::shared_ptr<landing>& l, const std::optional<oauth2::id_claims>& who);
  void store_grant(const std::shared_ptr<landing>& l, const std::string& account);
  void end(const std::shared_ptr<landing>& l, consent_end how, std::string detail);
  void end_by(const std::shared_ptr<landing>& l, const error& why);

  // devices.cpp
  void watch(store::consent c, const store::consent_subject& subject);
  void ask_later(const std::shared_ptr<device>& d);
  void ask_device(const std::shared_ptr<device>& d);
  void on_device_answer(const std::shared_ptr<device>& d, result<oauth2::token_reply> reply);

  const environment env_;
  const std::function<void(tenant_id, channel_id)> changed_;
  std::atomic<bool> stopped_{false};
  std::atomic<std::size_t> devices_{0};
};

}  // namespace mailherd::actors
