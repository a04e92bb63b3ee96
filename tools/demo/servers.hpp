// tools/demo/servers: what stands on the other side in the demo: one Dovecot, one identity provider, six mailboxes, and mail that
// keeps arriving.
//
// Owns:   the servers and their directory; they end with this object.
// Never:  listens anywhere but on loopback.
// Used by: main. One thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/peers/dovecot_server.hpp"
#include "tests/peers/identity_provider.hpp"
#include "tests/peers/test_ca.hpp"

namespace mailherd::demo {

enum class sign_in { password, grant, application, consent };   ///< by OAuth2: a grant, the application's own, or one that a person is still to give

struct mailbox {
  std::string tenant;
  std::string address;
  std::string protocol;   ///< as in the API
  std::string tls;
  sign_in by = sign_in::password;
};

class servers {
 public:
  /// Starts both; every mailbox holds `backlog` messages then. Throws peers::peer_error.
  servers(const std::filesystem::path& directory, std::size_t backlog);

  static const std::vector<mailbox>& mailboxes();

  /// One more message to the mailbox, and the Message-ID it will have, as the API shows it.
  void deliver(const mailbox& to) { dovecot_.deliver_lmtp(to.address, message(to)); }
  [[nodiscard]] std::string next_id() const { return std::to_string(sent_ + 1) + "@demo.test"; }

  [[nodiscard]] std::uint16_t port_of(const mailbox& m) const;
  [[nodiscard]] static std::string password_of(const mailbox& m);
  /// A refresh token, as if the mailbox's owner had consented.
  std::string grant_for(const mailbox& m) { return provider_.grant(m.address); }
  [[nodiscard]] std::string authorize_url() const { return provider_.authorize_url(); }
  [[nodiscard]] std::string token_url() const { return provider_.token_url(); }
  /// Where browsers come back to after a consent.
  void register_return(const std::string& redirect_uri);
  [[nodiscard]] std::filesystem::path ca_file() const { return ca_.ca_file(); }

  /// The two registrations at the provider: people's grants, and an application that may open all of a domain.
  static constexpr const char* client = "mailherd";
  static constexpr const char* application = "mailherd-application";
  static constexpr const char* client_secret = "demo-client-secret";

 private:
  std::string message(const mailbox& to);

  peers::test_ca ca_;
  peers::identity_provider provider_;
  peers::dovecot_server dovecot_;
  std::size_t sent_ = 0;
};

}  // namespace mailherd::demo
