// protocol/sasl: the mechanisms that carry a secret as it is, and the choice. SCRAM has its own file.
#include "protocol/sasl/sasl.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/sasl/scram.hpp"

namespace mailherd::sasl {

namespace {

constexpr std::size_t username_bytes = 1024;

bool has_any(std::string_view text, std::string_view bytes) { return text.find_first_of(bytes) != std::string_view::npos; }

/// Bytes of a bearer token: visible ASCII. RFC 6750 allows fewer; providers with opaque tokens are not always so strict, and no
/// visible byte can break out of the \x01-separated message.
bool is_safe_token(std::string_view token) {
  return std::all_of(token.begin(), token.end(), [](char c) { return c >= 0x21 && c <= 0x7E; });
}

bool is_ascii(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

auto unexpected_challenge(std::string_view mechanism) {
  return fail(failure::protocol_violation, fmt::format("{}: the server sent a challenge that has no place there", mechanism));
}

/// RFC 4616.
class plain final : public mechanism {
 public:
  explicit plain(const credentials& who) {
    std::string message;
    message.reserve(who.username.size() + who.password.reveal().size() + 2);  // exact: no half-grown copies stay behind
    message += '\0';
    message += who.username;
    message += '\0';
    message += who.password.reveal();
    message_ = secret<>(std::move(message));
  }
  std::string_view name() const override { return "PLAIN"; }
  std::optional<secret<>> initial_response() override {
    sent_ = true;
    return message_;
  }
  result<secret<>> respond(std::string_view) override { return unexpected_challenge(name()); }
  bool complete() const override { return sent_; }

 private:
  secret<> message_;
  bool sent_ = false;
};

/// The undocumented pair of questions "Username:" "Password:". The texts vary, so only their order counts.
class login final : public mechanism {
 public:
  explicit login(const credentials& who) : username_(who.username), password_(who.password) {}
  std::string_view name() const override { return "LOGIN"; }
  std::optional<secret<>> initial_response() override { return std::nullopt; }
  result<secret<>> respond(std::string_view challenge) override {
    if (challenge.size() > limits::sasl_challenge_bytes) return fail(failure::limit_exceeded, "LOGIN: the challenge is too long");
    if (step_ >= 2) return unexpected_challenge(name());
    return ++step_ == 1 ? secret<>(username_) : password_;
  }
  bool complete() const override { return step_ == 2; }

 private:
  std::string username_;
  secret<> password_;
  int step_ = 0;
};

/// The string member `key` of a flat JSON object; empty if absent. A whole JSON parser would be a dependency for three words that are
/// only shown to people; escapes are left as they are.
std::string_view json_member(std::string_view json, std::string_view key) {
  const std::string quoted = fmt::format("\"{}\"", key);
  auto at = json.find(quoted);
  if (at == std::string_view::npos) return {};
  at = json.find_first_not_of(" \t\r\n", at + quoted.size());
  if (at == std::string_view::npos || json[at] != ':') return {};
  at = json.find_first_not_of(" \t\r\n", at + 1);
  if (at == std::string_view::npos) return {};
  if (json[at] != '"') return json.substr(at, json.find_first_of(",} \t\r\n", at) - at);
  const auto end = json.find('"', at + 1);
  return end == std::string_view::npos ? std::string_view{} : json.substr(at + 1, end - at - 1);
}

/// What XOAUTH2 and OAUTHBEARER share: one message with the token, then at most one error challenge in JSON.
class bearer : public mechanism {
 public:
  std::optional<secret<>> initial_response() override {
    state_ = state::sent;
    return message_;
  }

  result<secret<>> respond(std::string_view challenge) override {
    if (challenge.size() > limits::sasl_challenge_bytes)
      return fail(failure::limit_exceeded, fmt::format("{}: the challenge is too long", name()));
    if (state_ != state::sent) return unexpected_challenge(name());
    state_ = state::refused;
    detail_ = describe(challenge);
    return secret<>(std::string(acknowledgement_));
  }

  bool complete() const override { return state_ == state::sent; }
  std::string failure_detail() const override { return detail_; }

 protected:
  bearer(std::string message, const credentials& who, std::string_view acknowledgement)
      : message_(std::move(message)), token_(who.access_token), acknowledgement_(acknowledgement) {}

 private:
  std::string describe(std::string_view challenge) const {
    // A server that echoes the token must not get it into a log through us.
    if (!token_.empty() && challenge.find(token_.reveal()) != std::string_view::npos) return "(the server repeated the token)";
    std::string out;
    for (const std::string_view key : {"status", "scope", "schemes"}) {
      const auto value = json_member(challenge, key);
      if (!value.empty()) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", key, value);
    }
    return clean_server_text(out.empty() ? challenge : std::string_view(out));
  }

  enum class state { start, sent, refused };
  secret<> message_;
  secret<> token_;
  std::string_view acknowledgement_;
  std::string detail_;
  state state_ = state::start;
};

std::string xoauth2_message(const credentials& who) {
  const auto& token = who.access_token.reveal();
  std::string out;
  out.reserve(who.username.size() + token.size() + 32);
  return out.append("user=").append(who.username).append("\x01" "auth=Bearer ").append(token).append("\x01\x01");
}

/// Google's and Microsoft's; the error challenge is answered with an empty response.
class xoauth2 final : public bearer {
 public:
  explicit xoauth2(const credentials& who) : bearer(xoauth2_message(who), who, "") {}
  std::string_view name() const override { return "XOAUTH2"; }
};

std::string oauthbearer_message(const credentials& who) {
  const auto& token = who.access_token.reveal();
  std::string out;
  out.reserve(3 * who.username.size() + token.size() + who.host.size() + 64);
  out += "n,a=";
  for (const char c : who.username) {  // gs2-header: saslname (RFC 5801, 4)
    if (c == ',')
      out += "=2C";
    else if (c == '=')
      out += "=3D";
    else
      out += c;
  }
  out += ",\x01";
  if (!who.host.empty()) out.append("host=").append(who.host).append("\x01");
  if (who.port != 0) out.append("port=").append(std::to_string(who.port)).append("\x01");
  return out.append("auth=Bearer ").append(token).append("\x01\x01");
}

/// RFC 7628; the error challenge is answered with one \x01 (3.2.3).
class oauthbearer final : public bearer {
 public:
  explicit oauthbearer(const credentials& who) : bearer(oauthbearer_message(who), who, "\x01") {}
  std::string_view name() const override { return "OAUTHBEARER"; }
};

result<void> check(const credentials& who) {
  if (!is_safe_username(who.username))
    return fail(failure::invalid_input, "the user name is empty, too long, or holds control characters that a login cannot carry");
  if (who.type == auth_type::basic) {
    if (who.password.empty()) return fail(failure::invalid_input, "the password is empty");
    if (has_any(who.password.reveal(), std::string_view("\0\r\n", 3)))
      return fail(failure::invalid_input, "the password holds NUL or a line end, which a login cannot carry");
    return {};
  }
  if (who.access_token.empty()) return fail(failure::invalid_input, "there is no access token");
  if (!is_safe_token(who.access_token.reveal()))
    return fail(failure::invalid_input, "the access token holds bytes that no bearer token may hold");
  if (has_any(who.host, std::string_view("\x01\0\r\n", 4))) return fail(failure::invalid_input, "the host name holds control characters");
  return {};
}

struct entry {
  std::string_view name;
  auth_type type;
  bool exposes_secret;  ///< whoever reads the channel has the secret
};

/// In order of preference.
constexpr std::array<entry, 5> table{{
    {"SCRAM-SHA-256", auth_type::basic, false},
    {"PLAIN", auth_type::basic, true},
    {"LOGIN", auth_type::basic, true},
    {"XOAUTH2", auth_type::oauth2, true},
    {"OAUTHBEARER", auth_type::oauth2, true},
}};

bool offers(std::span<const std::string> offered, std::string_view name) {
  return std::any_of(offered.begin(), offered.end(), [&](const std::string& o) { return equal_text(o, name); });
}

bool offers_only_tokens(std::span<const std::string> offered) {
  constexpr std::array<std::string_view, 2> tokens{"XOAUTH2", "OAUTHBEARER"};
  constexpr std::array<std::string_view, 9> passwords{"PLAIN",       "LOGIN",          "CRAM-MD5", "DIGEST-MD5", "NTLM",
                                                      "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "GSSAPI",   "APOP"};
  const auto any = [&](const auto& names) { return std::any_of(names.begin(), names.end(), [&](auto n) { return offers(offered, n); }); };
  return any(tokens) && !any(passwords) && !offers(offered, "SCRAM-SHA-256") && !offers(offered, "SCRAM-SHA-256-PLUS");
}

tl::unexpected<error> nothing_in_common(std::span<const std::string> offered, const credentials& who, bool withheld) {
  const std::string list = offered.empty() ? "none" : clean_server_text(fmt::format("{}", fmt::join(offered, " ")));
  if (who.type == auth_type::basic && offers_only_tokens(offered))
    return fail(failure::login_disabled, fmt::format("the server accepts OAuth2 only, and a password is configured; offered: {}", list));
  if (withheld)
    return fail(
        failure::mechanism_missing,
        fmt::format("the server would take the secret over an unencrypted connection only, which is not allowed; offered: {}", list));
  return fail(failure::mechanism_missing, fmt::format("no authentication mechanism in common for {}; offered: {}",
                                                      who.type == auth_type::basic ? "a password" : "an access token", list));
}

}  // namespace

bool is_safe_username(std::string_view username) noexcept {
  return !username.empty() && username.size() <= username_bytes && !has_any(username, std::string_view("\0\r\n\x01", 4));
}

result<std::unique_ptr<mechanism>> make(std::string_view name, const credentials& who, const policy& rules) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const entry& e) { return equal_text(e.name, name); });
  if (found == table.end() || found->type != who.type)
    return fail(failure::mechanism_missing, fmt::format("{} cannot be used with these credentials", clean_server_text(name)));
  if (found->exposes_secret && !rules.encrypted && !rules.allow_unencrypted)
    return fail(failure::mechanism_missing, fmt::format("{} would send the secret over an unencrypted connection", found->name));
  if (auto safe = check(who); !safe) return fail(std::move(safe.error()));
  if (found->name == "SCRAM-SHA-256") return make_scram_sha256(who, rules.scram_nonce);
  if (found->name == "PLAIN") return std::make_unique<plain>(who);
  if (found->name == "LOGIN") return std::make_unique<login>(who);
  if (found->name == "XOAUTH2") return std::make_unique<xoauth2>(who);
  return std::make_unique<oauthbearer>(who);
}

result<std::unique_ptr<mechanism>> choose(std::span<const std::string> offered, const credentials& who, const policy& rules) {
  if (auto safe = check(who); !safe) return fail(std::move(safe.error()));
  if (rules.prefer_oauthbearer && who.type == auth_type::oauth2 && offers(offered, "OAUTHBEARER") &&
      (rules.encrypted || rules.allow_unencrypted))
    return make("OAUTHBEARER", who, rules);
  // SCRAM wants a password normalised by SASLprep (RFC 4013). Outside ASCII that needs Unicode tables and servers disagree about it,
  // so such a password goes by SCRAM only when nothing simpler may be used.
  const bool prefer_scram = is_ascii(who.password.reveal()) && is_ascii(who.username);
  bool withheld = false;
  const entry* last_resort = nullptr;
  for (const entry& e : table) {
    if (e.type != who.type || !offers(offered, e.name)) continue;
    if (e.exposes_secret && !rules.encrypted && !rules.allow_unencrypted) {
      withheld = true;
      continue;
    }
    if (!e.exposes_secret && !prefer_scram) {
      last_resort = &e;
      continue;
    }
    return make(e.name, who, rules);
  }
  if (last_resort != nullptr) return make(last_resort->name, who, rules);
  return nothing_in_common(offered, who, withheld);
}

result<std::unique_ptr<mechanism>> choose(std::span<const std::string> offered, const credentials& who, bool is_channel_encrypted) {
  return choose(offered, who, policy{.encrypted = is_channel_encrypted});
}

}  // namespace mailherd::sasl
