// storage/admin_channels: channels, their credentials, their history. Order of locks, here and in all of
// the API's store: tenant, leases, app, channel_changes.
#include <fmt/format.h>

#include "queries.hpp"
#include "storage/admin_credentials.hpp"
#include "storage/admin_store.hpp"
#include "storage/admin_support.hpp"
#include "storage/purge.hpp"
#include "storage/rows.hpp"

namespace mailherd::store {

namespace {

std::string_view start_kind(const start_point& start) {
  switch (start.from) {
    case start_point::kind::now: return "now";
    case start_point::kind::all: return "all";
    case start_point::kind::at: return "at";
  }
  return "now";
}

/// Runs insert_channel or update_channel: both take these columns, in this order, as $3 and on.
pqxx::result write_spec(connection& link, const sql::query& q, tenant_id tenant, channel_id channel, const channel_spec& s, const nullable& proxy_password) {
  std::optional<std::string> proxy_kind, proxy_host, proxy_user;
  std::optional<std::int64_t> proxy_port;
  if (const auto& p = s.incoming.proxy) {
    proxy_kind = to_string(p->kind);
    proxy_host = p->host;
    proxy_port = p->port;
    proxy_user = p->username;
  }
  const auto start_at = s.start.from == start_point::kind::at ? std::optional(s.start.at) : std::nullopt;
  return link.run(q, tenant, channel, s.name, s.address, s.enabled, to_string(s.incoming.protocol), s.incoming.host,
                  static_cast<std::int64_t>(s.incoming.port), to_string(s.incoming.tls), s.incoming.folder, proxy_kind, proxy_host, proxy_port, proxy_user,
                  proxy_password, start_kind(s.start), start_at, to_string(s.after));
}

bool has_grant(const credential& c) {
  return c.type == auth_type::basic || c.grant == grant_kind::client_credentials || !c.refresh_token.empty();
}

channel_state first_state(bool enabled, bool granted) {
  if (!enabled) return channel_state::disabled;
  return granted ? channel_state::connecting : channel_state::consent_pending;
}

/// Holds the app that a credential names until the end of the transaction.
result<void> hold_app(connection& link, tenant_id tenant, const credential& c) {
  if (c.type != auth_type::oauth2 || !link.run(sql::hold_app, tenant, c.app).empty()) return {};
  return fail(failure::invalid_input, "auth.app: is not an OAuth app of this tenant");
}

/// What a person changed, in the API's names.
std::string differences(const channel_spec& a, const channel_spec& b) {
  std::string out;
  const auto note = [&](bool changed, const char* name) {
    if (changed) out += (out.empty() ? "" : ", ") + std::string(name);
  };
  note(a.name != b.name, "name");
  note(a.address != b.address, "address");
  note(a.enabled != b.enabled, "enabled");
  note(!(a.incoming == b.incoming), "incoming");
  note(a.start.from != b.start.from || (a.start.from == start_point::kind::at && a.start.at != b.start.at), "start_from");
  note(a.after != b.after, "after_fetch");
  return out;
}

pqxx::result find(connection& link, tenant_id tenant, std::int64_t start, std::size_t limit, const channel_filter& filter) {
  if (!filter.state && filter.node.empty() && filter.text.empty()) return link.run(sql::list_channels, tenant, start, limit);
  return link.run(sql::find_channels, tenant, start, limit, filter.state ? to_string(*filter.state) : std::string_view(), filter.node, containing(filter.text));
}

}  // namespace

// ---- shared with consents -----------------------------------------------------------------------------------------------------------------

void insert_credential(connection& link, const keyring& keys, tenant_id tenant, channel_id channel, std::int64_t generation, const credential& c) {
  const bool oauth2 = c.type == auth_type::oauth2;
  const auto sealed = [&](const char* what, const secret<>& value) {
    return sealed_or_null(keys, credential_context(tenant, channel, generation, what), value);
  };
  link.run(sql::insert_credential, tenant, channel, generation, to_string(c.type), c.username, sealed("password", c.password),
           oauth2 ? std::optional(c.app.value) : std::nullopt, oauth2 ? std::optional(std::string(to_string(c.grant))) : std::nullopt, c.mailbox, c.account,
           sealed("refresh_token", c.refresh_token));
}

result<channel_record> load_record(connection& link, tenant_id tenant, channel_id channel) {
  const auto rows = link.run(sql::load_channel, tenant, channel);
  if (rows.empty()) return missing();
  return channel_of(rows[0], tenant, channel, nullptr);
}

result<credential> load_credential(connection& link, const keyring& keys, tenant_id tenant, channel_id channel, std::int64_t generation) {
  const auto rows = link.run(sql::load_credential, tenant, channel, generation);
  if (rows.empty()) return fail(failure::not_found, "the credential is gone");
  return credential_of(rows[0], tenant, channel, generation, keys);
}

std::int64_t next_credential(connection& link, const keyring& keys, tenant_id tenant, channel_id channel, const credential& c) {
  const auto generation = link.run(sql::next_generation, tenant, channel)[0][0].as<std::int64_t>();
  insert_credential(link, keys, tenant, channel, generation, c);
  return generation;
}

// ---- creating and reading ---------------------------------------------------------------------------------------------------------------

result<channel_record> pg_admin_store::create_channel(const caller& who, tenant_id tenant, const channel_spec& spec, const credential& auth,
                                                      const std::string& actor) {
  if (!may(who, tenant)) return missing();
  auto made = link_.transact({tenant}, [&]() -> result<channel_record> {
    // Locked, so that of two who create the last channel that is allowed only one does.
    const auto limits = link_.run(sql::lock_tenant, tenant);
    if (limits.empty()) return missing();
    const auto most = limits[0][0].as<std::int64_t>();
    if (link_.run(sql::count_channels, tenant)[0][0].as<std::int64_t>() >= most)
      return fail(failure::limit_exceeded, fmt::format("This tenant may have {} channels (limits.max_channels), and has them.", most));
    if (auto held = hold_app(link_, tenant, auth); !held) return fail(held.error());
    const channel_id id{link_.run(sql::next_channel)[0][0].as<std::int64_t>()};   // the seals' contexts name it
    const auto state = first_state(spec.enabled, has_grant(auth));
    const auto proxy_password = spec.incoming.proxy ? sealed_or_null(keys_, proxy_context(tenant, id), spec.incoming.proxy->password) : nullable{};
    write_spec(link_, sql::insert_channel, tenant, id, spec, proxy_password);
    link_.run(sql::insert_channel_status, tenant, id, to_string(state));
    insert_credential(link_, keys_, tenant, id, 1, auth);
    link_.run(sql::insert_lease, tenant, id, spec.enabled);
    link_.run(sql::add_event, tenant, id, "created", to_string(state), "", "", actor);
    link_.run(sql::note_change, tenant, id);
    return load_record(link_, tenant, id);
  });
  if (made) static_cast<void>(link_.once({}, sql::notify_channel, tenant, made->id));
  return made;
}

result<channel_record> pg_admin_store::get_channel(const caller& who, tenant_id tenant, channel_id channel) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&] { return load_record(link_, tenant, channel); });
}

result<page<channel_record>> pg_admin_store::list_channels(const caller& who, tenant_id tenant, const channel_filter& filter, std::size_t limit,
                                                           const std::string& after) {
  if (!may(who, tenant)) return missing();
  const auto start = page_start<channel_id>(after);
  if (!start) return fail(start.error());
  return link_.transact({tenant}, [&]() -> result<page<channel_record>> {
    if (link_.run(sql::get_tenant, tenant).empty()) return missing();
    const auto rows = find(link_, tenant, *start, limit + 1, filter);
    std::vector<channel_record> found;
    for (const auto& row : rows) {
      auto record = channel_of(row, tenant, channel_id{row["channel_id"].as<std::int64_t>()}, nullptr);
      if (!record) return fail(record.error());
      found.push_back(std::move(*record));
    }
    return cut_page(std::move(found), limit);
  });
}

// ---- changing ---------------------------------------------------------------------------------------------------------------------------

result<channel_record> pg_admin_store::update_channel(const caller& who, tenant_id tenant, channel_id channel, const channel_spec& spec,
                                                      std::int64_t revision, const std::string& actor) {
  if (!may(who, tenant)) return missing();
  auto done = link_.transact({tenant}, [&]() -> result<channel_record> {
    // Who holds the lease's row is alone with this channel: what is read after it stays true.
    link_.run(sql::hold_lease, tenant, channel);
    const auto rows = link_.run(sql::load_channel, tenant, channel);
    if (rows.empty()) return missing();
    const auto before = channel_of(rows[0], tenant, channel, nullptr);
    if (!before) return fail(before.error());
    if (revision != 0 && revision != before->revision)
      return fail(failure::conflict, fmt::format("The channel was changed by somebody else: its revision is {} now.", before->revision));
    nullable proxy_password;
    if (const auto& proxy = spec.incoming.proxy) {
      // A password that is not given is kept; one without a user name has no meaning.
      proxy_password = sealed_or_null(keys_, proxy_context(tenant, channel), proxy->password);
      const auto present = rows[0]["sealed_proxy_password"];
      if (!proxy_password.text && !proxy->username.empty() && !present.is_null()) proxy_password = {text(present)};
    }
    write_spec(link_, sql::update_channel, tenant, channel, spec, proxy_password);
    auto state = before->state;
    if (spec.enabled != before->spec.enabled) {
      state = first_state(spec.enabled, before->has_grant || before->observed_generation > 0);
      link_.run(sql::enable_lease, tenant, channel, spec.enabled);
      link_.run(sql::restart_status, tenant, channel, to_string(state));
    }
    link_.run(sql::add_event, tenant, channel, "edited", to_string(state), "", differences(before->spec, spec), actor);
    link_.run(sql::note_change, tenant, channel);
    return load_record(link_, tenant, channel);
  });
  if (done) static_cast<void>(link_.once({}, sql::notify_channel, tenant, channel));
  return done;
}

result<void> pg_admin_store::delete_channel(const caller& who, tenant_id tenant, channel_id channel) {
  if (!may(who, tenant)) return missing();
  auto done = link_.transact({tenant}, [&]() -> result<void> {
    link_.run(sql::hold_lease, tenant, channel);
    if (link_.run(sql::delete_channel, tenant, channel).empty()) return missing();
    link_.run(sql::enable_lease, tenant, channel, false);   // its owner writes nothing more
    link_.run(sql::delete_channel_rows, tenant, channel);
    link_.run(sql::note_change, tenant, channel);
    link_.run(sql::drop_orphaned_leases, array_of(std::vector{tenant.value}), array_of(std::vector{channel.value}));
    return {};
  });
  if (!done) return done;
  static_cast<void>(link_.once({}, sql::notify_channel, tenant, channel));
  // Its mail cannot be seen any longer. What is not gone in a moment goes with the next sweep.
  static_cast<void>(purge_channel(link_, tenant, channel, purge_at_once));
  return {};
}

result<std::int64_t> pg_admin_store::put_credential(const caller& who, tenant_id tenant, channel_id channel, const credential& auth,
                                                    const std::string& actor) {
  if (!may(who, tenant)) return missing();
  auto done = link_.transact({tenant}, [&]() -> result<std::int64_t> {
    link_.run(sql::hold_lease, tenant, channel);
    const auto before = load_record(link_, tenant, channel);
    if (!before) return fail(before.error());
    if (auto held = hold_app(link_, tenant, auth); !held) return fail(held.error());
    const auto generation = next_credential(link_, keys_, tenant, channel, auth);
    link_.run(sql::begin_switch, tenant, channel);
    // Nothing serves yet: what the channel waits for depends on the new credential alone.
    auto state = before->state;
    if (before->spec.enabled && before->observed_generation == 0) state = first_state(true, has_grant(auth));
    if (state != before->state) link_.run(sql::restart_status, tenant, channel, to_string(state));
    const auto detail = fmt::format("generation {}: {}", generation, to_string(auth.type));
    link_.run(sql::add_event, tenant, channel, "credential", to_string(state), "", detail, actor);
    link_.run(sql::note_change, tenant, channel);
    return generation;
  });
  if (done) static_cast<void>(link_.once({}, sql::notify_channel, tenant, channel));
  return done;
}

// ---- history ----------------------------------------------------------------------------------------------------------------------------

result<page<channel_event>> pg_admin_store::list_events(const caller& who, tenant_id tenant, channel_id channel, std::size_t limit,
                                                        const std::string& after) {
  if (!may(who, tenant)) return missing();
  const auto start = page_start<event_id>(after);
  if (!start) return fail(start.error());
  return link_.transact({tenant}, [&]() -> result<page<channel_event>> {
    if (link_.run(sql::channel_exists, tenant, channel).empty()) return missing();
    std::vector<channel_event> found;
    const auto before = *start == 0 ? std::nullopt : std::optional(*start);
    for (const auto& row : link_.run(sql::list_events, tenant, channel, before, limit + 1))
      found.push_back({event_id{row[0].as<std::int64_t>()}, time_of(row[1].as<std::int64_t>()), text(row[2]), text(row[3]), text(row[4]), text(row[5]),
                       text(row[6])});
    return cut_page(std::move(found), limit);
  });
}

}  // namespace mailherd::store
