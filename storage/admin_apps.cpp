// storage/admin_apps: OAuth apps. Their secrets are sealed for the row they stand in.
#include <fmt/format.h>

#include "queries.hpp"
#include "storage/admin_store.hpp"
#include "storage/admin_support.hpp"
#include "storage/rows.hpp"

namespace mailherd::store {

result<oauth_app> pg_admin_store::create_app(const caller& who, const oauth_app& app) {
  if (!may(who, app.tenant)) return missing();
  return link_.transact({app.tenant}, [&]() -> result<oauth_app> {
    if (link_.run(sql::hold_tenant, app.tenant).empty()) return missing();
    const app_id id{link_.run(sql::next_app)[0][0].as<std::int64_t>()};   // the seal's context names it
    link_.run(sql::insert_app, app.tenant, id, app.name, to_string(app.provider), app.client_id,
              sealed_or_null(keys_, app_context(app.tenant, id, "secret"), app.client_secret),
              sealed_or_null(keys_, app_context(app.tenant, id, "key"), app.private_key), app.certificate, app.authority, app.authorize_url, app.token_url,
              app.device_url, array_of(app.scopes), app.issuer, sealed_or_null(keys_, app_context(app.tenant, id, "next_secret"), app.next_secret),
              app.secret_expires_at);
    return app_of(link_.run(sql::get_app, app.tenant, id)[0], nullptr);
  });
}

result<oauth_app> pg_admin_store::get_app(const caller& who, tenant_id tenant, app_id app) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&]() -> result<oauth_app> {
    const auto rows = link_.run(sql::get_app, tenant, app);
    if (rows.empty()) return missing();
    return app_of(rows[0], &keys_);
  });
}

result<page<oauth_app>> pg_admin_store::list_apps(const caller& who, tenant_id tenant, std::size_t limit, const std::string& after) {
  if (!may(who, tenant)) return missing();
  const auto start = page_start<app_id>(after);
  if (!start) return fail(start.error());
  return link_.transact({tenant}, [&]() -> result<page<oauth_app>> {
    if (link_.run(sql::get_tenant, tenant).empty()) return missing();
    std::vector<oauth_app> found;
    for (const auto& row : link_.run(sql::list_apps, tenant, *start, limit + 1)) {
      auto app = app_of(row, nullptr);
      if (!app) return fail(app.error());
      found.push_back(std::move(*app));
    }
    return cut_page(std::move(found), limit);
  });
}

result<oauth_app> pg_admin_store::update_app(const caller& who, const oauth_app& app) {
  if (!may(who, app.tenant)) return missing();
  auto done = link_.transact({app.tenant}, [&]() -> result<oauth_app> {
    // An app signs in with a secret or with a key and its certificate: what is given anew takes the other one's place, nothing keeps both.
    const bool by_secret = !app.client_secret.empty(), by_key = !app.private_key.empty();
    const auto changed =
        link_.run(sql::update_app, app.tenant, app.id, app.name, to_string(app.provider), app.client_id, by_key ? "key" : by_secret ? "secret" : "keep",
                  sealed_or_null(keys_, app_context(app.tenant, app.id, "secret"), app.client_secret),
                  sealed_or_null(keys_, app_context(app.tenant, app.id, "key"), app.private_key), app.certificate, app.authority, app.authorize_url,
                  app.token_url, app.device_url, array_of(app.scopes), app.issuer,
                  !app.next_secret.empty() ? "set" : app.has_next_secret ? "keep" : "drop",
                  sealed_or_null(keys_, app_context(app.tenant, app.id, "next_secret"), app.next_secret), app.secret_expires_at);
    if (changed.affected_rows() == 0) return missing();
    link_.run(sql::note_app_changes, app.tenant, app.id);
    return app_of(link_.run(sql::get_app, app.tenant, app.id)[0], nullptr);
  });
  if (done) static_cast<void>(link_.once({}, sql::notify_channel, app.tenant, 0));
  return done;
}

result<void> pg_admin_store::delete_app(const caller& who, tenant_id tenant, app_id app) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&]() -> result<void> {
    // The lock comes first: who makes a credential with this app holds its row, and is then either seen here or told that the app is gone.
    if (link_.run(sql::lock_app, tenant, app).empty()) return missing();
    const auto users = link_.run(sql::users_of_app, tenant, app);
    if (!users.empty()) {
      const auto first = fmt::format("Channel {} ({})", to_string(channel_id{users[0][0].as<std::int64_t>()}), text(users[0][1]));
      return fail(failure::conflict, first + (users.size() > 1 ? " and others use it" : " uses it") + ": switch their credentials first.");
    }
    link_.run(sql::delete_app, tenant, app);
    return {};
  });
}

}  // namespace mailherd::store
