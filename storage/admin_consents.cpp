// storage/admin_consents: requests for consent, the grants they end in, and the way back to an earlier credential.
#include <fmt/format.h>

#include "core/limits.hpp"
#include "queries.hpp"
#include "storage/admin_credentials.hpp"
#include "storage/admin_store.hpp"
#include "storage/admin_support.hpp"
#include "storage/rows.hpp"

namespace mailherd::store {

namespace {

std::string consent_context(tenant_id tenant, consent_id id) { return fmt::format("consent/{}/{}/secret", to_string(tenant), to_string(id)); }

nullable hex_or_null(const std::optional<sha256_digest>& d) {
  if (!d) return {};
  std::string text = "\\x";
  for (const auto byte : *d) text += fmt::format("{:02x}", byte);
  return {text};
}

/// `keys`: null leaves the secret out.
result<consent> consent_of(const pqxx::row& row, const keyring* keys) {
  consent c;
  c.tenant = tenant_id{row["tenant_id"].as<std::int64_t>()};
  c.id = consent_id{row["consent_id"].as<std::int64_t>()};
  c.channel = channel_id{row["channel_id"].as<std::int64_t>()};
  c.generation = row["generation"].as<std::int64_t>();
  c.app = app_id{row["app_id"].as<std::int64_t>()};
  const auto flow = text(row["flow"]), state = text(row["state"]);
  for (const auto f : {consent_flow::browser, consent_flow::link, consent_flow::device, consent_flow::again})
    if (flow == to_string(f)) c.flow = f;
  c.state = consent_state::failed;
  for (const auto s : {consent_state::pending, consent_state::done, consent_state::expired})
    if (state == to_string(s)) c.state = s;
  c.taken = row["taken"].as<bool>();
  c.uses = row["uses"].as<int>();
  if (!row["browser"].is_null()) c.browser = digest_of(row["browser"]);
  c.redirect_uri = text(row["redirect_uri"]);
  if (keys != nullptr && c.state == consent_state::pending) {
    auto hidden = unseal(*keys, consent_context(c.tenant, c.id), row["sealed_secret"]);
    if (!hidden) return fail(hidden.error());
    c.hidden = std::move(*hidden);
  }
  c.nonce = text(row["nonce"]);
  c.login_hint = text(row["login_hint"]);
  c.any_account = row["any_account"].as<bool>();
  c.other_account = text(row["other_account"]);
  c.pick_account = row["pick_account"].as<bool>();
  c.return_to = text(row["return_to"]);
  if (const auto link = number_or_none(row["link_id"])) c.link = consent_id{*link};
  c.user_code = text(row["user_code"]);
  c.verification_uri = text(row["verification_uri"]);
  c.interval = seconds(row["poll_seconds"].as<std::int64_t>());
  c.account = text(row["account"]);
  c.detail = text(row["detail"]);
  c.actor = text(row["actor"]);
  c.created_at = time_of(row["created_at"].as<std::int64_t>());
  c.expires_at = time_of(row["expires_at"].as<std::int64_t>());
  return c;
}

auto changed_meanwhile() { return fail(failure::conflict, "The channel's sign-in was changed meanwhile."); }

}  // namespace

// ---- requests ---------------------------------------------------------------------------------------------------------------------------

result<consent> pg_admin_store::add_consent(const consent& c, const std::optional<sha256_digest>& digest) {
  return link_.transact({c.tenant}, [&]() -> result<consent> {
    link_.run(sql::hold_lease, c.tenant, c.channel);
    const auto channel = load_record(link_, c.tenant, c.channel);
    if (!channel) return fail(channel.error());
    if (channel->generation != c.generation) return changed_meanwhile();
    consent made = c;
    made.id = consent_id{link_.run(sql::next_consent)[0][0].as<std::int64_t>()};  // the seal's context names it
    link_.run(sql::add_consent, c.tenant, made.id, c.channel, c.generation, c.app, to_string(c.flow), hex_or_null(digest), hex_or_null(c.browser),
              c.redirect_uri, sealed_or_null(keys_, consent_context(c.tenant, made.id), c.hidden), c.nonce, c.login_hint, c.any_account,
              c.other_account, c.pick_account, c.return_to, c.link ? std::optional(c.link->value) : std::nullopt, c.user_code, c.verification_uri,
              static_cast<std::int64_t>(c.interval.count()), c.actor, c.expires_at);
    link_.run(sql::drop_old_consents, c.tenant, c.channel, limits::consents_open);
    return made;
  });
}

result<consent> pg_admin_store::find_consent(const sha256_digest& digest) {
  return link_.transact({}, [&]() -> result<consent> {
    const auto rows = link_.run(sql::find_consent, digest);
    if (rows.empty()) return missing();
    return consent_of(rows[0], &keys_);
  });
}

result<void> pg_admin_store::take_consent(const consent& c) {
  return link_.transact({c.tenant}, [&]() -> result<void> {
    if (link_.run(sql::take_consent, c.tenant, c.id).empty()) return fail(failure::conflict, "The request was used already, or is over.");
    return {};
  });
}

result<void> pg_admin_store::follow_link(const consent& c) {
  return link_.transact({c.tenant}, [&]() -> result<void> {
    if (link_.run(sql::follow_link, c.tenant, c.id, limits::consents_open).empty())
      return fail(failure::conflict, "The link was used already, or is over.");
    return {};
  });
}

result<std::optional<consent>> pg_admin_store::last_consent(const caller& who, tenant_id tenant, channel_id channel) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&]() -> result<std::optional<consent>> {
    if (link_.run(sql::channel_exists, tenant, channel).empty()) return missing();
    const auto rows = link_.run(sql::last_consent, tenant, channel);
    if (rows.empty()) return std::optional<consent>{};
    auto found = consent_of(rows[0], nullptr);
    if (!found) return fail(found.error());
    return std::optional(std::move(*found));
  });
}

result<consent_subject> pg_admin_store::consent_subject_of(const caller& who, tenant_id tenant, channel_id channel) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&]() -> result<consent_subject> {
    auto record = load_record(link_, tenant, channel);
    if (!record) return fail(record.error());
    if (record->auth != auth_type::oauth2)
      return fail(failure::invalid_input,
                  "auth.type: this channel signs in with a password; switch it to oauth2 (PUT .../auth) before you connect it");
    if (record->grant == grant_kind::client_credentials)
      return fail(failure::invalid_input,
                  "auth.grant: an application signs in by itself and needs no person's consent; see GET .../oauth-apps/{app}/setup");
    auto newest = load_credential(link_, keys_, tenant, channel, record->generation);
    if (!newest) return fail(newest.error());
    const auto apps = link_.run(sql::get_app, tenant, newest->app);
    if (apps.empty()) return fail(failure::invalid_input, "auth.app: is not an OAuth app of this tenant");
    auto app = app_of(apps[0], &keys_);
    if (!app) return fail(app.error());
    return consent_subject{std::move(*record), std::move(*newest), std::move(*app)};
  });
}

// ---- their ends -------------------------------------------------------------------------------------------------------------------------

result<std::int64_t> pg_admin_store::complete_consent(const consent& c, const std::string& account, const secret<>& refresh_token) {
  auto done = link_.transact({c.tenant}, [&]() -> result<std::int64_t> {
    link_.run(sql::hold_lease, c.tenant, c.channel);
    const auto before = load_record(link_, c.tenant, c.channel);
    if (!before) return fail(before.error());
    if (before->generation != c.generation || before->app != c.app) return changed_meanwhile();
    if (link_.run(sql::lock_consent, c.tenant, c.id).empty()) return fail(failure::conflict, "The request has ended.");
    auto generation = before->generation;
    if (!before->has_grant) {
      const auto sealed = sealed_or_null(keys_, credential_context(c.tenant, c.channel, generation, "refresh_token"), refresh_token);
      link_.run(sql::set_grant, c.tenant, c.channel, generation, sealed, account);
    } else {
      auto next = load_credential(link_, keys_, c.tenant, c.channel, generation);
      if (!next) return fail(next.error());
      next->account = account;
      next->refresh_token = refresh_token;
      generation = next_credential(link_, keys_, c.tenant, c.channel, *next);
    }
    link_.run(sql::begin_switch, c.tenant, c.channel);
    if (before->spec.enabled && before->observed_generation == 0)
      link_.run(sql::restart_status, c.tenant, c.channel, to_string(channel_state::connecting));
    link_.run(sql::end_consent, c.tenant, c.id, to_string(consent_state::done), account, "");
    if (c.link) link_.run(sql::end_consent, c.tenant, *c.link, to_string(consent_state::done), account, "");
    link_.run(sql::add_event, c.tenant, c.channel, "consent", "", "",
              fmt::format("generation {}: {} consented", generation, account.empty() ? "somebody" : account), c.actor);
    link_.run(sql::note_change, c.tenant, c.channel);
    return generation;
  });
  if (done) static_cast<void>(link_.once({}, sql::notify_channel, c.tenant, c.channel));
  return done;
}

result<void> pg_admin_store::fail_consent(const consent& c, const std::string& account, const std::string& detail) {
  return link_.transact({c.tenant}, [&]() -> result<void> {
    if (link_.run(sql::end_consent, c.tenant, c.id, to_string(consent_state::failed), account, detail).empty()) return {};
    link_.run(sql::add_event, c.tenant, c.channel, "consent", "", "", detail, c.actor);
    return {};
  });
}

result<std::int64_t> pg_admin_store::roll_back(const caller& who, tenant_id tenant, channel_id channel, const std::string& actor) {
  if (!may(who, tenant)) return missing();
  auto done = link_.transact({tenant}, [&]() -> result<std::int64_t> {
    link_.run(sql::hold_lease, tenant, channel);
    // The refresh token that is copied may be replaced at this very moment, and the copy would be used a second time.
    link_.run(sql::hold_grants, tenant, channel);
    const auto before = load_record(link_, tenant, channel);
    if (!before) return fail(before.error());
    const auto back = before->observed_generation == before->generation ? before->previous_generation : before->observed_generation;
    auto earlier = back == 0 ? fail(failure::not_found) : load_credential(link_, keys_, tenant, channel, back);
    if (!earlier && earlier.error().code == failure::not_found)
      return fail(failure::conflict, "There is no earlier credential that has worked and is still kept.");
    if (!earlier) return fail(earlier.error());
    if (earlier->type == auth_type::oauth2 && link_.run(sql::hold_app, tenant, earlier->app).empty())
      return fail(failure::conflict, "The OAuth app of the earlier credential was deleted.");
    const auto generation = next_credential(link_, keys_, tenant, channel, *earlier);
    link_.run(sql::begin_switch, tenant, channel);
    link_.run(sql::add_event, tenant, channel, "credential", to_string(before->state), "",
              fmt::format("generation {}: back to that of generation {} ({})", generation, back, to_string(earlier->type)), actor);
    link_.run(sql::note_change, tenant, channel);
    return generation;
  });
  if (done) static_cast<void>(link_.once({}, sql::notify_channel, tenant, channel));
  return done;
}

}  // namespace mailherd::store
