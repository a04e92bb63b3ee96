#include "storage/rows.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace mailherd::store {

using nlohmann::json;

namespace {

json addresses_json(const std::vector<mail_address>& all) {
  auto out = json::array();
  for (const auto& a : all) out.push_back({{"name", a.name}, {"address", a.address}});
  return out;
}

std::vector<mail_address> addresses_of(const json& j, const char* key) {
  std::vector<mail_address> out;
  if (const auto at = j.find(key); at != j.end())
    for (const auto& a : *at) out.push_back({a.value("name", ""), a.value("address", "")});
  return out;
}

std::vector<std::string> texts_of(const json& j, const char* key) {
  const auto at = j.find(key);
  return at == j.end() ? std::vector<std::string>{} : at->get<std::vector<std::string>>();
}

/// PostgreSQL's sealed columns hold what the keyring made; pqxx wants text or binary, so binary goes as hexadecimal text.
std::string hex(std::string_view bytes) {
  std::string out = "\\x";
  out.reserve(2 + bytes.size() * 2);
  constexpr std::string_view digits = "0123456789abcdef";
  for (const char c : bytes) {
    out += digits[static_cast<unsigned char>(c) >> 4U];
    out += digits[static_cast<unsigned char>(c) & 15U];
  }
  return out;
}

/// Who signs in, and whether a person has consented yet.
result<void> read_grant(const pqxx::row& row, channel_record& r) {
  r.account = r.auth == auth_type::basic ? text(row["username"]) : text(row["account"]);
  r.mailbox = text(row["mailbox"]);
  if (r.auth == auth_type::oauth2) {
    r.app = app_id{number_or_none(row["app_id"]).value_or(0)};
    const auto grant = name_of<grant_kind>(row["grant_kind"]);
    if (!grant) return fail(grant.error());
    r.grant = *grant;
    r.has_grant = r.grant == grant_kind::client_credentials || row["has_refresh_token"].as<bool>();
  }
  return {};
}

}  // namespace

std::string credential_context(tenant_id tenant, channel_id channel, std::int64_t generation, std::string_view what) {
  return fmt::format("credential/{}/{}/{}/{}", to_string(tenant), to_string(channel), generation, what);
}

std::string proxy_context(tenant_id tenant, channel_id channel) {
  return fmt::format("channel/{}/{}/proxy", to_string(tenant), to_string(channel));
}

std::string app_context(tenant_id tenant, app_id app, std::string_view what) {
  return fmt::format("app/{}/{}/{}", to_string(tenant), to_string(app), what);
}

std::string webhook_context(tenant_id tenant, webhook_id webhook, std::string_view what) {
  return fmt::format("webhook/{}/{}/{}", to_string(tenant), to_string(webhook), what);
}

nullable sealed_or_null(const keyring& keys, const std::string& context, const secret<>& value) {
  if (value.empty()) return {};
  return {hex(keys.seal(context, value.reveal()))};
}

result<secret<>> unseal(const keyring& keys, const std::string& context, const pqxx::field& sealed) {
  if (sealed.is_null()) return secret<>{};
  return keys.open(context, bytes(sealed));
}

result<channel_record> channel_of(const pqxx::row& row, tenant_id tenant, channel_id channel, const keyring* keys) {
  channel_record r;
  r.id = channel;
  r.tenant = tenant;
  auto& s = r.spec;
  s.name = text(row["name"]);
  s.address = text(row["address"]);
  s.enabled = row["enabled"].as<bool>();
  const auto protocol = name_of<protocol_kind>(row["protocol"]);
  const auto tls = name_of<tls_mode>(row["tls"]);
  const auto after = name_of<mailherd::after_fetch>(row["after_fetch"]);
  const auto state = name_of<channel_state>(row["state"]);
  const auto switching = name_of<switch_state>(row["switching"]);
  const auto auth = name_of<auth_type>(row["type"]);
  if (!protocol) return fail(protocol.error());
  if (!tls) return fail(tls.error());
  if (!after) return fail(after.error());
  if (!state) return fail(state.error());
  if (!switching) return fail(switching.error());
  if (!auth) return fail(auth.error());
  s.incoming.protocol = *protocol;
  s.incoming.host = text(row["host"]);
  s.incoming.port = static_cast<std::uint16_t>(row["port"].as<int>());
  s.incoming.tls = *tls;
  s.incoming.folder = text(row["folder"]);
  if (!row["proxy_kind"].is_null()) {
    proxy_settings p;
    const auto kind = name_of<proxy_kind>(row["proxy_kind"]);
    if (!kind) return fail(kind.error());
    p.kind = *kind;
    p.host = text(row["proxy_host"]);
    p.port = static_cast<std::uint16_t>(row["proxy_port"].as<int>());
    p.username = text(row["proxy_username"]);
    if (keys != nullptr) {
      auto password = unseal(*keys, proxy_context(tenant, channel), row["sealed_proxy_password"]);
      if (!password) return fail(password.error());
      p.password = std::move(*password);
    }
    s.incoming.proxy = std::move(p);
  }
  const auto start = text(row["start_kind"]);
  s.start.from = start == "all" ? start_point::kind::all : start == "at" ? start_point::kind::at : start_point::kind::now;
  if (const auto at = time_or_none(row["start_at"])) s.start.at = *at;
  s.after = *after;
  r.generation = row["generation"].as<std::int64_t>();
  r.revision = row["revision"].as<std::int64_t>();
  r.server = row["server"].as<std::int64_t>();
  r.created_at = time_of(row["created_at"].as<std::int64_t>());
  r.state = *state;
  r.state_reason = text(row["reason"]);
  r.state_detail = text(row["detail"]);
  r.state_since = time_of(row["since"].as<std::int64_t>());
  r.next_attempt_at = time_or_none(row["next_attempt_at"]);
  r.throttled_until = time_or_none(row["throttled_until"]);
  r.last_success_at = time_or_none(row["last_success_at"]);
  r.token_expires_at = time_or_none(row["token_expires_at"]);
  r.observed_generation = row["observed_generation"].as<std::int64_t>();
  r.previous_generation = row["previous_generation"].as<std::int64_t>();
  r.switching = *switching;
  r.switch_error = text(row["switch_error"]);
  r.messages_stored = row["messages_stored"].as<std::int64_t>();
  r.backfill_done = number_or_none(row["backfill_done"]);
  r.backfill_total = number_or_none(row["backfill_total"]);
  r.node = text(row["node"]);
  r.lease_epoch = row["epoch"].as<std::int64_t>();
  r.auth = *auth;
  if (auto read = read_grant(row, r); !read) return fail(read.error());
  return r;
}

result<mailherd::credential> credential_of(const pqxx::row& row, tenant_id tenant, channel_id channel, std::int64_t generation, const keyring& keys) {
  mailherd::credential c;
  const auto type = name_of<auth_type>(row["type"]);
  if (!type) return fail(type.error());
  c.type = *type;
  c.username = text(row["username"]);
  auto password = unseal(keys, credential_context(tenant, channel, generation, "password"), row["sealed_password"]);
  if (!password) return fail(password.error());
  c.password = std::move(*password);
  if (c.type == auth_type::oauth2) {
    c.app = app_id{number_or_none(row["app_id"]).value_or(0)};
    const auto grant = name_of<grant_kind>(row["grant_kind"]);
    if (!grant) return fail(grant.error());
    c.grant = *grant;
  }
  c.mailbox = text(row["mailbox"]);
  c.account = text(row["account"]);
  auto token = unseal(keys, credential_context(tenant, channel, generation, "refresh_token"), row["sealed_refresh_token"]);
  if (!token) return fail(token.error());
  c.refresh_token = std::move(*token);
  return c;
}

result<oauth_app> app_of(const pqxx::row& row, const keyring* keys) {
  oauth_app a;
  a.tenant = tenant_id{row["tenant_id"].as<std::int64_t>()};
  a.id = app_id{row["app_id"].as<std::int64_t>()};
  a.name = text(row["name"]);
  const auto provider = name_of<provider_kind>(row["provider"]);
  if (!provider) return fail(provider.error());
  a.provider = *provider;
  a.client_id = text(row["client_id"]);
  if (keys != nullptr) {
    auto client_secret = unseal(*keys, app_context(a.tenant, a.id, "secret"), row["sealed_secret"]);
    if (!client_secret) return fail(client_secret.error());
    a.client_secret = std::move(*client_secret);
    auto key = unseal(*keys, app_context(a.tenant, a.id, "key"), row["sealed_key"]);
    if (!key) return fail(key.error());
    a.private_key = std::move(*key);
    auto next = unseal(*keys, app_context(a.tenant, a.id, "next_secret"), row["sealed_next_secret"]);
    if (!next) return fail(next.error());
    a.next_secret = std::move(*next);
  }
  a.certificate = text(row["certificate"]);
  a.authority = text(row["authority"]);
  a.authorize_url = text(row["authorize_url"]);
  a.token_url = text(row["token_url"]);
  a.device_url = text(row["device_url"]);
  a.issuer = text(row["issuer"]);
  a.has_next_secret = row["has_next_secret"].as<bool>();
  a.secret_expires_at = time_or_none(row["secret_expires_at"]);
  a.blocked_since = time_or_none(row["blocked_since"]);
  a.blocked_until = time_or_none(row["blocked_until"]);
  a.blocked_detail = text(row["blocked_detail"]);
  a.revision = row["revision"].as<std::int64_t>();
  a.scopes = json::parse(text(row["scopes"])).get<std::vector<std::string>>();
  a.created_at = time_of(row["created_at"].as<std::int64_t>());
  return a;
}

std::string envelope_json(const envelope& e) {
  json j{{"from", addresses_json(e.from)}, {"to", addresses_json(e.to)}, {"cc", addresses_json(e.cc)}, {"subject", e.subject}, {"message_id", e.message_id}};
  if (e.date) j["date"] = micros(*e.date);
  if (!e.in_reply_to.empty()) j["in_reply_to"] = e.in_reply_to;
  if (!e.references.empty()) j["references"] = e.references;
  if (!e.notes.empty()) j["notes"] = e.notes;
  if (!e.automatic.empty()) j.update({{"automatic", e.automatic}, {"automatic_reason", e.automatic_reason}});
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

envelope envelope_of(std::string_view text) {
  envelope e;
  const auto j = json::parse(text, nullptr, false);
  if (!j.is_object()) return e;
  e.from = addresses_of(j, "from");
  e.to = addresses_of(j, "to");
  e.cc = addresses_of(j, "cc");
  e.subject = j.value("subject", "");
  e.message_id = j.value("message_id", "");
  if (const auto at = j.find("date"); at != j.end()) e.date = time_of(at->get<std::int64_t>());
  e.in_reply_to = texts_of(j, "in_reply_to");
  e.references = texts_of(j, "references");
  e.notes = texts_of(j, "notes");
  e.automatic = j.value("automatic", "");
  e.automatic_reason = j.value("automatic_reason", "");
  return e;
}

sha256_digest digest_of(const pqxx::field& f) {
  sha256_digest d{};
  const auto raw = bytes(f);
  std::copy_n(raw.begin(), std::min(raw.size(), d.size()), d.begin());
  return d;
}

}  // namespace mailherd::store
