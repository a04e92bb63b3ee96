// storage/admin_console: sessions of the console, and what it shows beside channels and the feed.
#include "queries.hpp"
#include "storage/admin_store.hpp"
#include "storage/admin_support.hpp"
#include "storage/rows.hpp"

namespace mailherd::store {

namespace {

nullable hex_or_null(const sha256_digest& digest) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "\\x";
  for (const auto byte : digest) {
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return {out};
}

}  // namespace

// ---- sessions ---------------------------------------------------------------------------------------------------------------------------

result<wall_time> pg_admin_store::create_session(const sha256_digest& cookie, const console_session& session, seconds life) {
  return link_.transact({}, [&]() -> result<wall_time> {
    link_.run(sql::delete_old_sessions, static_cast<std::int64_t>(limits::console_session_idle.count()));
    std::optional<std::int64_t> tenant, key;
    nullable token;
    if (session.who.only) {
      tenant = session.who.only->value;
      key = session.key.value;
    } else {
      token = hex_or_null(session.operator_token);
    }
    return time_of(link_.run(sql::insert_session, cookie, tenant, key, token, static_cast<std::int64_t>(life.count()))[0][0].as<std::int64_t>());
  });
}

result<std::optional<console_session>> pg_admin_store::find_session(const sha256_digest& cookie) {
  using found = std::optional<console_session>;
  return link_.transact({}, [&]() -> result<found> {
    const auto rows = link_.run(sql::find_session, cookie, static_cast<std::int64_t>(limits::console_session_idle.count()));
    if (rows.empty()) return found{};
    console_session s;
    if (!rows[0][0].is_null()) {
      s.who.only = tenant_id{rows[0][0].as<std::int64_t>()};
      s.key = api_key_id{rows[0][1].as<std::int64_t>()};
    } else {
      s.operator_token = digest_of(rows[0][2]);
    }
    s.expires_at = time_of(rows[0][3].as<std::int64_t>());
    // A row per request would be a write per request.
    if (rows[0][4].as<bool>()) link_.run(sql::touch_session, cookie);
    return found{s};
  });
}

result<void> pg_admin_store::delete_session(const sha256_digest& cookie) {
  const auto rows = link_.once({}, sql::delete_session, cookie);
  if (!rows) return fail(rows.error());
  return {};
}

// ---- what it shows ----------------------------------------------------------------------------------------------------------------------

result<std::vector<activity_slice>> pg_admin_store::activity(const caller& who, tenant_id tenant, channel_id channel, seconds slice,
                                                             std::size_t slices) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&]() -> result<std::vector<activity_slice>> {
    if (link_.run(sql::channel_exists, tenant, channel).empty()) return missing();
    std::vector<activity_slice> out;
    for (const auto& row : link_.run(sql::activity, tenant, channel, static_cast<std::int64_t>(slice.count()), slices, limits::activity_messages))
      out.push_back({time_of(row[0].as<std::int64_t>()), row[1].as<std::int64_t>(), row[2].as<double>()});
    return out;
  });
}

result<std::vector<channel_record>> pg_admin_store::attention(const caller& who, std::size_t limit) {
  return link_.transact({who.only.value_or(tenant_id{})}, [&]() -> result<std::vector<channel_record>> {
    std::vector<channel_record> out;
    for (const auto& row : link_.run(sql::attention, limit)) {
      auto c = channel_of(row, tenant_id{row["tenant_id"].as<std::int64_t>()}, channel_id{row["channel_id"].as<std::int64_t>()}, nullptr);
      if (!c) return fail(c.error());
      out.push_back(std::move(*c));
    }
    return out;
  });
}

}  // namespace mailherd::store
