// api/inputs: the rules of every field that comes in; see the header. Uses OpenSSL to check that a key and a certificate belong together.
#include "api/inputs.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>

#include "api/rules.hpp"
#include "core/limits.hpp"

namespace mailherd::api {

namespace {

std::uint16_t usual_port(protocol_kind protocol, tls_mode tls) {
  if (protocol == protocol_kind::imap) return tls == tls_mode::implicit ? 993 : 143;
  return tls == tls_mode::implicit ? 995 : 110;
}

std::optional<proxy_settings> read_proxy(const json& body, const std::string& path, const std::optional<proxy_settings>& present,
                                         field_errors& errors) {
  object_reader in(body, path, errors);
  auto proxy = present.value_or(proxy_settings{});
  if (!present) {
    in.required("kind", "is required: one of " + names_of<proxy_kind>());
    in.required("host");
    in.required("port");
  }
  if (auto v = in.name_of<proxy_kind>("kind")) proxy.kind = *v;
  if (auto v = in.text("host", rules::host)) proxy.host = *v;
  if (auto v = in.integer("port", 1, 65535)) proxy.port = static_cast<std::uint16_t>(*v);
  if (in.is_null("username")) {
    in.required("username");
    in.refused("password", "must be left out when username is null");
    proxy.username.clear();
    proxy.password = {};
  }
  if (!in.is_null("username"))
    if (auto v = in.text("username", rules::user_name)) proxy.username = *v;
  if (auto v = in.hidden("password", rules::password)) proxy.password = *v;
  if (!proxy.password.empty() && proxy.username.empty() && in.has("password") && !in.has("username"))
    in.wrong("password", "needs a username");
  in.finish();
  return proxy;
}

void read_incoming(const json& body, const incoming_settings* present, const input_rules& allowed, incoming_settings& out,
                   field_errors& errors) {
  object_reader in(body, "incoming", errors);
  if (present == nullptr) {
    in.required("protocol", "is required: one of " + names_of<protocol_kind>());
    in.required("host");
  }
  // A port and a folder nobody chose follow the protocol; chosen ones stay.
  const bool port_was_usual = present == nullptr || present->port == usual_port(present->protocol, present->tls);
  if (auto v = in.name_of<protocol_kind>("protocol")) out.protocol = *v;
  if (auto v = in.text("host", rules::host)) out.host = *v;
  if (auto v = in.name_of<tls_mode>("tls")) {
    if (*v == tls_mode::none && !allowed.allow_plaintext)
      in.wrong("tls", "none is not allowed by this installation's operator; use implicit or starttls");
    else
      out.tls = *v;
  }
  if (auto v = in.integer("port", 1, 65535))
    out.port = static_cast<std::uint16_t>(*v);
  else if (port_was_usual)
    out.port = usual_port(out.protocol, out.tls);
  if (out.protocol == protocol_kind::pop3) {
    if (!in.is_null("folder")) {
      const auto v = in.text("folder", rules::folder);
      if (v && *v != "INBOX") in.wrong("folder", "is for imap only: pop3 knows one maildrop");
    } else {
      in.required("folder");
    }
    out.folder = "INBOX";
  } else if (auto v = in.text("folder", rules::folder)) {
    out.folder = *v;
  }
  if (in.is_null("proxy")) {
    in.required("proxy");
    out.proxy.reset();
  } else if (const auto* proxy = in.object("proxy")) {
    out.proxy = read_proxy(*proxy, "incoming.proxy", out.proxy, errors);
  }
  in.finish();
}

void read_start(object_reader& in, start_point& start) {
  const auto form = [](const std::string& s) -> std::optional<std::string> {
    if (s == "now" || s == "all" || rules::parse_time(s)) return std::nullopt;
    return "must be now, all, or an RFC 3339 time like 2026-01-31T00:00:00Z";
  };
  const auto v = in.text("start_from", form);
  if (!v) return;
  if (*v == "now")
    start = {start_point::kind::now, {}};
  else if (*v == "all")
    start = {start_point::kind::all, {}};
  else
    start = {start_point::kind::at, *rules::parse_time(*v)};
}

void read_spec(object_reader& in, const channel_spec* present, bool untested, const input_rules& allowed, channel_spec& spec) {
  if (present == nullptr) {
    if (!untested) in.required("name");
    in.required("incoming");
  }
  if (auto v = in.text("name", rules::display_name)) spec.name = *v;
  if (auto v = in.text("address", rules::mail_address)) spec.address = *v;
  if (auto v = in.boolean("enabled")) spec.enabled = *v;
  if (const auto* incoming = in.object("incoming"))
    read_incoming(*incoming, present != nullptr ? &present->incoming : nullptr, allowed, spec.incoming, in.errors());
  read_start(in, spec.start);
  if (auto v = in.name_of<after_fetch>("after_fetch")) spec.after = *v;
  if (spec.after == after_fetch::seen && spec.incoming.protocol == protocol_kind::pop3)
    in.wrong("after_fetch", "seen is for imap only; pop3 knows keep and delete");
}

template <class T, void (*Free)(T*)>
struct freed {
  void operator()(T* p) const { Free(p); }
};
using bio = std::unique_ptr<BIO, freed<BIO, BIO_free_all>>;
using key_ptr = std::unique_ptr<EVP_PKEY, freed<EVP_PKEY, EVP_PKEY_free>>;
using cert_ptr = std::unique_ptr<X509, freed<X509, X509_free>>;

bio memory(const std::string& s) { return bio(BIO_new_mem_buf(s.data(), static_cast<int>(s.size()))); }

// Asked for a pass phrase, OpenSSL would read the terminal.
int no_pass_phrase(char*, int, int, void*) { return -1; }

/// The end of a certificate's life is that of the app's credential.
std::optional<wall_time> end_of(X509* cert) {
  std::tm t{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &t) != 1) return std::nullopt;
  return wall_time(seconds(timegm(&t)));
}

void check_key_pair(object_reader& in, const secret<>& key, const std::string& certificate, std::optional<wall_time>& expires) {
  const auto cert = cert_ptr(PEM_read_bio_X509(memory(certificate).get(), nullptr, no_pass_phrase, nullptr));
  const auto pkey = key_ptr(PEM_read_bio_PrivateKey(memory(key.reveal()).get(), nullptr, no_pass_phrase, nullptr));
  ERR_clear_error();
  if (!cert) in.wrong("certificate", "is not a certificate in PEM");
  if (!pkey) in.wrong("private_key", "is not an unencrypted private key in PEM");
  if (!cert || !pkey) return;
  if (EVP_PKEY_base_id(pkey.get()) != EVP_PKEY_RSA)
    in.wrong("private_key", "must be an RSA key: assertions are signed with it by RS256 or PS256");
  else if (X509_check_private_key(cert.get(), pkey.get()) != 1)
    in.wrong("certificate", "does not belong to private_key");
  expires = end_of(cert.get());
  ERR_clear_error();
}

void read_app_secret(object_reader& in, bool fresh, oauth_app& app) {
  const bool by_secret = in.has("client_secret");
  const bool by_key = in.has("private_key") || in.has("certificate");
  const auto client_secret = in.hidden("client_secret", rules::password);
  const auto key = in.hidden("private_key", rules::pem);
  const auto certificate = in.text("certificate", rules::pem);
  if (by_secret && by_key) return in.wrong("client_secret", "must be left out when private_key and certificate are given");
  if (by_key && !(in.has("private_key") && in.has("certificate")))
    return in.wrong(in.has("private_key") ? "certificate" : "private_key", "is required: private_key and certificate belong together");
  if (fresh && !by_secret && !by_key) return in.wrong("client_secret", "is required, or private_key and certificate");
  if (client_secret) {
    app.secret_expires_at.reset();   // it was the earlier one's
    app.client_secret = *client_secret;
    app.certificate.clear();
  }
  if (key && certificate) {
    check_key_pair(in, *key, *certificate, app.secret_expires_at);
    app.has_next_secret = false;
    app.private_key = *key;
    app.certificate = *certificate;
  }
}

// Two secrets are good while one takes the other's place; when the registration says that the first ends is worth a warning ahead.
void read_app_rotation(object_reader& in, oauth_app& app) {
  const auto when = [](const std::string& s) -> std::optional<std::string> {
    return rules::parse_time(s) ? std::nullopt : std::optional<std::string>("must be an RFC 3339 time like 2026-01-31T00:00:00Z, or null");
  };
  if (in.is_null("client_secret_next")) {
    in.required("client_secret_next");
    app.has_next_secret = false;
  } else if (auto v = in.hidden("client_secret_next", rules::password)) {
    if (in.has("private_key") || (!app.certificate.empty() && !in.has("client_secret"))) in.wrong("client_secret_next", "is for apps with a client_secret");
    app.next_secret = *v;
    app.has_next_secret = true;
  }
  if (in.is_null("client_secret_expires_at")) {
    in.required("client_secret_expires_at");
    app.secret_expires_at.reset();
  } else if (auto v = in.text("client_secret_expires_at", when)) {
    app.secret_expires_at = rules::parse_time(*v);
  }
}

void read_app_urls(object_reader& in, const input_rules& allowed, oauth_app& app) {
  const auto url = rules::url(allowed.allow_plaintext);
  const auto authority = [&](const std::string& s) -> std::optional<std::string> {
    if (s.find("://") != std::string::npos) return url(s);
    if (s.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != std::string::npos || s.empty() ||
        s.size() > 253)
      return "must be a directory (its id, a domain, common, organizations) or a base URL";
    return std::nullopt;
  };
  if (auto v = in.text("authority", authority)) app.authority = *v;
  if (auto v = in.text("authorize_url", url)) app.authorize_url = *v;
  if (auto v = in.text("token_url", url)) app.token_url = *v;
  if (auto v = in.text("device_url", url)) app.device_url = *v;
  if (auto v = in.text("issuer", url)) app.issuer = *v;
  if (auto v = in.texts("scopes", 50, rules::scope)) app.scopes = *v;
  // Nothing is known of a custom provider; whether it also needs the others depends on the grant of the channel that uses it.
  if (app.provider == provider_kind::custom && app.token_url.empty() && !in.has("token_url") && !in.has("issuer"))
    in.wrong("token_url", "is required for provider custom, or an issuer that tells it");
}

}  // namespace

tenant_input read_tenant(const json& body, const tenant_record* present, field_errors& errors) {
  object_reader in(body, "", errors);
  tenant_input out;
  if (present == nullptr) in.required("name");
  out.name = in.text("name", rules::display_name);
  if (const auto* limits = in.object("limits")) {
    object_reader inner(*limits, "limits", errors);
    auto merged = present != nullptr ? present->limits : tenant_limits{};
    if (auto v = inner.integer("max_channels", 0, 10'000'000)) merged.max_channels = *v;
    if (auto v = inner.integer("max_message_bytes", 1024, static_cast<std::int64_t>(limits::imap_body_literal_bytes)))
      merged.max_message_bytes = *v;
    inner.finish();
    out.limits = merged;
  }
  in.finish();
  return out;
}

std::string read_move(const json& body, field_errors& errors) {
  object_reader in(body, "", errors);
  in.required("node");
  auto node = in.text("node", rules::display_name);
  in.finish();
  return node.value_or("");
}

std::string read_key_name(const json& body, field_errors& errors) {
  object_reader in(body, "", errors);
  in.required("name");
  auto name = in.text("name", rules::display_name);
  in.finish();
  return name.value_or("");
}

oauth_app read_app(const json& body, const oauth_app* present, const input_rules& allowed, field_errors& errors) {
  object_reader in(body, "", errors);
  oauth_app app;
  if (present != nullptr) {
    app = *present;
    app.client_secret = {};
    app.private_key = {};
    app.next_secret = {};
    in.refused("provider", "cannot be changed; register another app");
  } else {
    in.required("name");
    in.required("provider", "is required: one of " + names_of<provider_kind>());
    in.required("client_id");
    const auto provider = in.name_of<provider_kind>("provider");
    app.provider = provider.value_or(provider_kind::microsoft);  // without one, what only custom needs is not asked for
  }
  if (auto v = in.text("name", rules::display_name)) app.name = *v;
  if (auto v = in.text("client_id", rules::short_text)) app.client_id = *v;
  read_app_secret(in, present == nullptr, app);
  read_app_rotation(in, app);
  read_app_urls(in, allowed, app);
  in.finish();
  return app;
}

credential read_auth(const json& body, const std::string& path, field_errors& errors) {
  object_reader in(body, path, errors);
  credential out;
  in.required("type", "is required: one of " + names_of<auth_type>());
  const auto type = in.name_of<auth_type>("type");
  if (!type) return out;  // which other fields are allowed depends on it
  out.type = *type;
  if (out.type == auth_type::basic) {
    in.required("username");
    in.required("password");
    if (auto v = in.text("username", rules::user_name)) out.username = *v;
    if (auto v = in.hidden("password", rules::password)) out.password = *v;
    in.finish();
    return out;
  }
  in.required("app", "is required: the id of an OAuth app of this tenant");
  in.required("grant", "is required: one of " + names_of<grant_kind>());
  const auto app_form = [](const std::string& s) -> std::optional<std::string> {
    return parse_id<app_id>(s) ? std::nullopt : std::optional<std::string>("must be the id of an OAuth app, like a3");
  };
  if (auto v = in.text("app", app_form)) out.app = *parse_id<app_id>(*v);
  if (auto v = in.name_of<grant_kind>("grant")) out.grant = *v;
  if (in.is_null("mailbox"))
    in.required("mailbox");
  else if (auto v = in.text("mailbox", rules::mail_address))
    out.mailbox = *v;
  if (out.grant == grant_kind::client_credentials)
    in.refused("refresh_token", "has no meaning for client_credentials");
  else if (auto v = in.hidden("refresh_token", rules::token))
    out.refresh_token = *v;
  in.finish();
  return out;
}

channel_input read_channel(const json& body, bool untested, const input_rules& allowed, field_errors& errors) {
  object_reader in(body, "", errors);
  channel_input out;
  read_spec(in, nullptr, untested, allowed, out.spec);
  in.required("auth");
  if (const auto* auth = in.object("auth")) out.auth = read_auth(*auth, "auth", errors);
  in.finish();
  return out;
}

channel_spec merge_channel(const json& body, const channel_spec& present, const input_rules& allowed, field_errors& errors) {
  object_reader in(body, "", errors);
  auto spec = present;
  in.refused("auth", "cannot be changed here: use PUT .../auth, which tries the new credentials before it gives up the old ones");
  read_spec(in, &present, false, allowed, spec);
  in.finish();
  return spec;
}

}  // namespace mailherd::api
