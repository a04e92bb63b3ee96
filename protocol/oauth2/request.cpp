// protocol/oauth2/request: what is sent to a provider, and what a browser is sent to. Declared in oauth2.hpp.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "core/base64.hpp"
#include "protocol/oauth2/assertion.hpp"
#include "protocol/oauth2/classify.hpp"
#include "protocol/oauth2/oauth2.hpp"

namespace mailherd::oauth2 {

namespace {

constexpr std::string_view form_type = "application/x-www-form-urlencoded";
constexpr std::string_view assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";  // RFC 7523, 2.2
constexpr std::string_view device_grant = "urn:ietf:params:oauth:grant-type:device_code";              // RFC 8628, 3.4

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

/// name=value pairs, percent-encoded. Grows by replacing its buffer and wiping the old one: it holds secrets.
class form {
 public:
  void add(std::string_view name, std::string_view value) {
    if (value.empty()) return;
    make_room(name.size() + 2 + 3 * value.size());
    if (!text_.empty()) text_ += '&';
    text_ += name;
    text_ += '=';
    constexpr std::string_view digits = "0123456789ABCDEF";
    for (const char c : value) {
      if (is_unreserved(c)) {
        text_ += c;
      } else {
        const auto byte = static_cast<unsigned char>(c);
        text_ += '%';
        text_ += digits[byte >> 4];
        text_ += digits[byte & 15];
      }
    }
  }
  void add(std::string_view name, const secret<>& value) { add(name, std::string_view(value.reveal())); }

  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void make_room(std::size_t more) {
    if (text_.capacity() - text_.size() >= more) return;
    std::string larger;
    larger.reserve(2 * (text_.size() + more));
    larger = text_;
    wipe(text_.data(), text_.size());
    text_.swap(larger);
  }

  std::string text_;
};

std::string joined(const std::vector<std::string>& scopes) { return fmt::format("{}", fmt::join(scopes, " ")); }

/// RFC 6749, 2.3.1: both are percent-encoded before they are joined.
secret<> basic_authorization(const oauth_app& app) {
  form id, word;
  id.add("", app.client_id);
  word.add("", app.client_secret);
  const secret<> joined(id.take().substr(1) + ":" + word.take().substr(1));
  return secret<>("Basic " + base64_encode(joined.reveal()));
}

/// The client's proof.
result<void> add_client(const oauth_app& app, const std::string& audience, wall_time now, client_auth how, form& into,
                        secret<>& authorization) {
  if (app.client_id.empty()) return fail(failure::app_misconfigured, "the app has no client_id");
  if (app.private_key.empty() && !app.client_secret.empty() && how == client_auth::basic) {
    authorization = basic_authorization(app);  // and nothing in the body: one method per request
    return {};
  }
  into.add("client_id", app.client_id);
  if (app.private_key.empty()) {
    into.add("client_secret", app.client_secret);  // none: a public client, for which PKCE stands in
    return {};
  }
  const auto assertion = client_assertion(app, audience, now);
  if (!assertion) return fail(assertion.error());
  into.add("client_assertion_type", assertion_type);
  into.add("client_assertion", *assertion);
  return {};
}

/// Adds the client's proof and closes the request.
result<token_request> finished(const oauth_app& app, const endpoints& where, const std::string& url, wall_time now, client_auth how,
                               form& body) {
  token_request request{url, std::string(form_type), {}, {}};
  if (auto r = add_client(app, where.token_url, now, how, body, request.authorization); !r) return fail(std::move(r.error()));
  request.body = secret<>(body.take());
  return request;
}

std::string with_query(const std::string& url, form& query) {
  return url + (url.find('?') == std::string::npos ? "?" : "&") + query.take();
}

/// Who consented is read from an id_token, which is only given to those who ask for it. A custom provider that is not said to speak OpenID
/// may refuse to be asked.
std::vector<std::string> with_identity(const oauth_app& app, std::vector<std::string> scopes) {
  if (app.provider == provider_kind::custom && app.issuer.empty()) return scopes;
  std::vector<std::string> wanted{"openid", "email"};
  if (app.provider == provider_kind::microsoft) wanted = {"openid", "profile", "offline_access"};
  for (auto& w : wanted)
    if (std::find(scopes.begin(), scopes.end(), w) == scopes.end()) scopes.push_back(std::move(w));
  return scopes;
}

result<endpoints> device_endpoints(const oauth_app& app, protocol_kind protocol) {
  auto where = endpoints_for(app, protocol, grant_kind::device_code);
  if (where && where->device_url.empty()) return fail(failure::app_misconfigured, "the app has no device_url");
  return where;
}

}  // namespace

result<token_request> build_token_request(const oauth_app& app, const credential& who, protocol_kind protocol, wall_time now,
                                          client_auth how) {
  const auto where = endpoints_for(app, protocol, who.grant);
  if (!where) return fail(where.error());
  form body;
  if (who.grant == grant_kind::client_credentials) {
    if (app.private_key.empty() && app.client_secret.empty())
      return fail(failure::app_misconfigured, "client_credentials needs a client secret or a private key");
    body.add("grant_type", "client_credentials");
    body.add("scope", joined(where->scopes));
  } else {
    if (who.refresh_token.empty()) return fail(failure::consent_required, "nobody has consented yet");
    body.add("grant_type", "refresh_token");
    body.add("refresh_token", who.refresh_token);
    if (where->scope_on_refresh) body.add("scope", joined(where->scopes));
  }
  return finished(app, *where, where->token_url, now, how, body);
}

bool wants_basic(const oauth_app& app, client_auth used, int http_status, const error& refused) {
  return used == client_auth::body && app.provider == provider_kind::custom && app.private_key.empty() && !app.client_secret.empty() &&
         refused.code == failure::app_misconfigured && (http_status == 400 || http_status == 401);
}

result<pkce> make_pkce() {
  auto verifier = random_text(32);  // 43 characters: the least that RFC 7636, 4.1 allows, and 256 bits
  if (!verifier) return fail(std::move(verifier.error()));
  std::string challenge = sha256_base64url(*verifier);
  return pkce{secret<>(std::move(*verifier)), std::move(challenge)};
}

result<std::string> unguessable(std::size_t bytes) { return random_text(bytes); }

std::string words_for_error(provider_kind provider, std::string_view error, std::string_view description) {
  const auto rows = error_rows();
  const bool known = std::any_of(rows.begin(), rows.end(), [&](const error_row& r) { return r.name == error; });
  const error_reply reply{provider, 400, known ? std::string(error) : std::string(), {}, aadsts_numbers(description)};
  constexpr std::string_view status = "HTTP 400";   // there was none: the words came through the browser
  const auto told = classify(reply);
  std::string_view words = told.detail;
  if (words.starts_with(status)) words.remove_prefix(std::min(words.size(), status.size() + 2));
  return words.empty() ? "it gave no reason that is known" : std::string(words);
}

result<std::string> consent_url(const oauth_app& app, protocol_kind protocol, const consent_request& what) {
  const auto where = endpoints_for(app, protocol, grant_kind::authorization_code);
  if (!where) return fail(where.error());
  if (where->authorize_url.empty()) return fail(failure::app_misconfigured, "the app has no authorize_url");
  if (app.client_id.empty()) return fail(failure::app_misconfigured, "the app has no client_id");
  form query;
  query.add("response_type", "code");
  query.add("client_id", app.client_id);
  query.add("redirect_uri", what.redirect_uri);
  const auto scopes = with_identity(app, where->scopes);
  query.add("scope", joined(scopes));
  query.add("state", what.state);
  if (std::find(scopes.begin(), scopes.end(), "openid") != scopes.end()) query.add("nonce", what.nonce);
  if (!what.code_challenge.empty()) {
    query.add("code_challenge", what.code_challenge);
    query.add("code_challenge_method", "S256");
  }
  query.add("login_hint", what.login_hint);
  switch (app.provider) {
    case provider_kind::google:
      query.add("access_type", "offline");
      query.add("prompt", what.pick_account ? "select_account consent" : "consent");
      break;
    case provider_kind::microsoft:
      // Without it the browser's present account consents silently: the most common way to read the wrong mailbox.
      query.add("prompt", "select_account");
      break;
    case provider_kind::custom:
      // OpenID Connect Core, 11: offline_access is granted only with it. Not every provider has a picker of accounts; signing in anew is one.
      query.add("prompt", what.pick_account ? "login consent" : "consent");
      break;
  }
  return with_query(where->authorize_url, query);
}

result<std::string> admin_consent_url(const oauth_app& app, const std::string& redirect_uri, const std::string& state) {
  if (app.provider != provider_kind::microsoft)
    return fail(failure::invalid_input, "only Microsoft has a page for administrators' consent");
  const auto where = endpoints_for(app, protocol_kind::imap, grant_kind::client_credentials);
  if (!where) return fail(where.error());
  constexpr std::string_view tail = "/oauth2/v2.0/authorize";
  std::string url = where->authorize_url;
  if (!url.ends_with(tail)) return fail(failure::invalid_input, "the app names its own authorize_url");
  url.resize(url.size() - tail.size());
  form query;
  query.add("client_id", app.client_id);
  query.add("redirect_uri", redirect_uri);
  query.add("state", state);
  query.add("scope", "https://ps.outlook.com/.default");  // POP and IMAP as an application live under this resource
  return with_query(url + "/v2.0/adminconsent", query);
}

result<token_request> build_code_request(const oauth_app& app, protocol_kind protocol, const secret<>& code,
                                         const std::string& redirect_uri, const secret<>& code_verifier, wall_time now, client_auth how) {
  const auto where = endpoints_for(app, protocol, grant_kind::authorization_code);
  if (!where) return fail(where.error());
  if (code.empty()) return fail(failure::invalid_input, "the provider sent no code");
  form body;
  body.add("grant_type", "authorization_code");
  body.add("code", code);
  body.add("redirect_uri", redirect_uri);
  body.add("code_verifier", code_verifier);
  return finished(app, *where, where->token_url, now, how, body);
}

result<token_request> build_device_request(const oauth_app& app, protocol_kind protocol, wall_time now, client_auth how) {
  const auto where = device_endpoints(app, protocol);
  if (!where) return fail(where.error());
  form body;
  body.add("scope", joined(with_identity(app, where->scopes)));
  return finished(app, *where, where->device_url, now, how, body);
}

result<token_request> build_device_poll_request(const oauth_app& app, protocol_kind protocol, const secret<>& device_code, wall_time now,
                                                client_auth how) {
  const auto where = device_endpoints(app, protocol);
  if (!where) return fail(where.error());
  if (device_code.empty()) return fail(failure::invalid_input, "there is no device code");
  form body;
  body.add("grant_type", device_grant);
  body.add("device_code", device_code);
  return finished(app, *where, where->token_url, now, how, body);
}

}  // namespace mailherd::oauth2
