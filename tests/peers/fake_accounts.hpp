// tests/peers/fake_accounts: who may sign in at a fake server, and what a SASL response says.
//
// Owns:   passwords and access tokens; decoding of PLAIN, XOAUTH2 and OAUTHBEARER.
// Never:  locks: the fake servers do. Used by imap_fake and pop3_fake only.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace mailherd::peers {

struct sasl_response {
  std::string account;
  std::string proof;  ///< password or token
  bool token = false;
};

/// `response` is base64. nullopt if it is not what the mechanism wants.
std::optional<sasl_response> read_sasl(std::string_view mechanism, std::string_view response);

struct fake_accounts {
  std::map<std::string, std::string> passwords;
  std::map<std::string, std::set<std::string>> tokens;

  [[nodiscard]] bool takes(const sasl_response& who) const;
};

std::string upper(std::string_view text);

}  // namespace mailherd::peers
