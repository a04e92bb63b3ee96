// tests/peers/fake_accounts: implementation.
#include "tests/peers/fake_accounts.hpp"

#include <cctype>

#include "core/base64.hpp"

namespace mailherd::peers {

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

namespace {

/// Text after `key` up to the next byte 1; nullopt if there is no such key.
std::optional<std::string> field(const std::string& text, const std::string& key) {
  const auto at = text.find(key);
  if (at == std::string::npos) return std::nullopt;
  const auto begin = at + key.size();
  return text.substr(begin, text.find('\x01', begin) - begin);
}

}  // namespace

std::optional<sasl_response> read_sasl(std::string_view mechanism, std::string_view response) {
  const auto decoded = base64_decode(response);
  if (!decoded) return std::nullopt;
  if (mechanism == "PLAIN") {
    const auto first = decoded->find('\0');
    const auto second = first == std::string::npos ? first : decoded->find('\0', first + 1);
    if (second == std::string::npos) return std::nullopt;
    return sasl_response{decoded->substr(first + 1, second - first - 1), decoded->substr(second + 1), false};
  }
  const auto token = field(*decoded, "auth=Bearer ");
  if (!token) return std::nullopt;
  if (mechanism == "XOAUTH2") {
    const auto user = field(*decoded, "user=");
    return user ? std::optional(sasl_response{*user, *token, true}) : std::nullopt;
  }
  // OAUTHBEARER, RFC 7628: n,a=<account>,^A...
  const auto at = decoded->find("a=");
  const auto end = at == std::string::npos ? at : decoded->find(',', at);
  if (end == std::string::npos) return std::nullopt;
  return sasl_response{decoded->substr(at + 2, end - at - 2), *token, true};
}

bool fake_accounts::takes(const sasl_response& who) const {
  if (!who.token) {
    if (passwords.empty()) return true;
    const auto found = passwords.find(who.account);
    return found != passwords.end() && found->second == who.proof;
  }
  if (tokens.empty()) return true;
  for (const auto& name : {who.account, std::string()}) {
    const auto found = tokens.find(name);
    if (found != tokens.end() && found->second.count(who.proof) != 0) return true;
  }
  return false;
}

}  // namespace mailherd::peers
