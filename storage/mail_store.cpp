#include "storage/mail_store.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "queries.hpp"
#include "storage/rows.hpp"

namespace mailherd::store {

namespace {

std::string_view word_of(identities here) {
  switch (here) {
    case identities::all: return "all";
    case identities::uidls: return "uidl";
    case identities::digests: return "digest";
    case identities::none: return "none";
  }
  return "all";
}

/// As in 0011: one that is not known is one that says nothing.
named_by named_by_of(std::string_view name) {
  if (name == "uidl") return named_by::uidl;
  if (name == "renewed") return named_by::renewed;
  return name == "digest" ? named_by::digest : named_by::unknown;
}

tl::unexpected<error> fenced() { return fail(failure::fenced, "another owner holds the lease"); }

}  // namespace

// ---- bodies in chunks -----------------------------------------------------------------------------------------------------------------

result<blob_id> pg_mail_store::new_blob(const lease_guard& guard) {
  const auto rows = link_.once({}, sql::new_blob, guard.tenant, guard.channel, guard.epoch);
  if (!rows) return fail(rows.error());
  if (rows->empty()) return fenced();
  return blob_id{(*rows)[0][0].as<std::int64_t>()};
}

result<void> pg_mail_store::put_chunk(const lease_guard& guard, blob_id blob, std::int32_t index, const std::string& bytes) {
  const auto rows = link_.once({}, sql::put_chunk, guard.tenant, guard.channel, guard.epoch, blob, index, binary(bytes));
  if (!rows) return fail(rows.error());
  if (rows->affected_rows() == 0) return fenced();
  return {};
}

result<blob_id> pg_mail_store::put_bodies(const lease_guard& guard, const std::vector<std::shared_ptr<const std::string>>& bodies) {
  std::vector<std::int64_t> firsts, lengths;
  std::string all;
  std::size_t total = 0;
  for (const auto& b : bodies) total += b->size();
  all.reserve(total);
  for (const auto& b : bodies) {
    firsts.push_back(static_cast<std::int64_t>(all.size()));
    lengths.push_back(static_cast<std::int64_t>(b->size()));
    all += *b;
  }
  const auto value = binary(all);
  std::string().swap(all);
  return link_.transact({}, [&]() -> result<blob_id> {
    link_.run(sql::not_awaited);
    const auto rows = link_.run(sql::put_bodies, guard.tenant, guard.channel, guard.epoch, value, array_of(firsts), array_of(lengths));
    if (rows.empty()) return fenced();
    return blob_id{rows[0][0].as<std::int64_t>()};
  });
}

// ---- cursors and the ledger -------------------------------------------------------------------------------------------------------------

result<store::cursor> pg_mail_store::load_cursor(const lease_guard& guard, protocol_kind protocol, const std::string& folder) {
  const auto rows = link_.once({guard.tenant}, sql::load_cursor, guard.tenant, guard.channel, to_string(protocol), folder, guard.server);
  if (!rows) return fail(rows.error());
  store::cursor c;
  if (rows->empty()) return c;
  const auto row = (*rows)[0];
  c.uid_validity.value = row[0].as<std::uint32_t>();
  c.last_uid.value = row[1].as<std::uint32_t>();
  c.after_uid.value = row[2].as<std::uint32_t>();
  c.reconcile_upto.value = row[3].as<std::uint32_t>();
  c.highest_modseq = row[4].as<std::uint64_t>();
  c.baseline = time_or_none(row[5]);
  c.initialised = row[6].as<bool>();
  c.names = named_by_of(text(row[7]));
  return c;
}

result<std::vector<std::string>> pg_mail_store::unknown_uidls(const lease_guard& guard, const std::vector<std::string>& uidls) {
  std::vector<std::string> out;
  if (uidls.empty()) return out;
  const auto rows = link_.once({guard.tenant}, sql::unknown_uidls, guard.tenant, guard.channel, array_of(uidls), guard.server);
  if (!rows) return fail(rows.error());
  out.reserve(static_cast<std::size_t>(rows->size()));
  for (const auto& row : *rows) out.push_back(uidls[row[0].as<std::size_t>() - 1]);
  return out;
}

result<store::listed_origins> pg_mail_store::listed_origins(const lease_guard& guard, const std::vector<std::string>& uidls) {
  const auto rows = link_.once({guard.tenant}, sql::listed_origins, guard.tenant, guard.channel, array_of(uidls), guard.server);
  if (!rows) return fail(rows.error());
  store::listed_origins out;
  for (const auto& row : *rows) {
    const auto origin = row[0].as<std::int64_t>();
    if (row[1].as<bool>()) out.known.push_back(origin);
    else out.newest = origin;
  }
  return out;
}

result<std::vector<stored_uidl>> pg_mail_store::stored_uidls(const lease_guard& guard, const std::vector<std::string>& uidls) {
  std::vector<stored_uidl> out;
  if (uidls.empty()) return out;
  const auto rows = link_.once({guard.tenant}, sql::stored_uidls, guard.tenant, guard.channel, array_of(uidls), guard.server);
  if (!rows) return fail(rows.error());
  out.reserve(static_cast<std::size_t>(rows->size()));
  for (const auto& row : *rows) out.push_back({uidls[row[0].as<std::size_t>() - 1], row[1].as<std::uint64_t>()});
  return out;
}

result<std::vector<mailherd::uid>> pg_mail_store::stored_uids(const lease_guard& guard, const std::string& folder, mailherd::uid_validity validity,
                                                              mailherd::uid after, mailherd::uid upto, after_fetch what, std::size_t limit) {
  const auto rows = link_.once({guard.tenant}, sql::stored_uids, guard.tenant, guard.channel, folder, validity.value, after.value, upto.value, limit,
                               guard.server, to_string(what));
  if (!rows) return fail(rows.error());
  std::vector<mailherd::uid> out;
  for (const auto& row : *rows) out.push_back({row[0].as<std::uint32_t>()});
  return out;
}

result<std::vector<candidate>> pg_mail_store::find_candidates(const lease_guard& guard, const std::string& folder, mailherd::uid_validity validity,
                                                              const std::vector<std::pair<std::optional<wall_time>, std::uint64_t>>& keys,
                                                              identities here) {
  std::vector<candidate> out;
  if (keys.empty()) return out;
  std::vector<std::int64_t> sizes;
  std::vector<std::optional<std::int64_t>> dates;
  for (const auto& [date, size] : keys) {
    sizes.push_back(static_cast<std::int64_t>(size));
    dates.push_back(date ? std::optional(micros(*date)) : std::nullopt);
  }
  const auto rows = link_.once({guard.tenant}, sql::find_candidates, guard.tenant, guard.channel, folder, validity.value, array_of(sizes), array_of(dates),
                               guard.server, word_of(here));
  if (!rows) return fail(rows.error());
  for (const auto& row : *rows) {
    candidate c;
    c.ledger_id = row[0].as<std::int64_t>();
    c.internal_date = time_or_none(row[1]).value_or(wall_time{});
    c.size = row[2].as<std::uint64_t>();
    c.digest = digest_of(row[3]);
    c.header_digest = digest_of(row[4]);
    c.has_body = row[5].as<bool>();
    out.push_back(c);
  }
  return out;
}

result<unsigned> pg_mail_store::note_try(const lease_guard& guard, const message_source& source) {
  const auto rows = link_.once({}, sql::note_try, guard.tenant, guard.channel, guard.epoch, source.folder, source.uid_validity.value, source.uid.value,
                               source.uidl);
  if (!rows) return fail(rows.error());
  if (rows->empty()) return fenced();
  return (*rows)[0][0].as<unsigned>();
}

// ---- state ------------------------------------------------------------------------------------------------------------------------------

result<void> pg_mail_store::set_state(const lease_guard& guard, const state_change& change) {
  bool news = false;
  auto done = link_.transact({}, [&]() -> result<void> {
    const auto lease = link_.run(sql::lock_lease, guard.tenant, guard.channel, guard.epoch);
    if (lease.empty()) return fenced();
    // Whether a channel is enabled is said by people: a fetcher that is just being ended, or is not told yet, does not have the last word.
    if (lease[0][0].as<bool>() != (change.state != channel_state::disabled)) return fail(failure::not_found, "the channel was disabled, or enabled again");
    const auto before = link_.run(sql::state_before, guard.tenant, guard.channel);
    if (before.empty()) return fail(failure::not_found, "the channel was deleted");
    const auto state = std::string(to_string(change.state));
    // What became of one switch is no news of the next: somebody may have asked for that while this was on its way.
    const bool newest = change.switching_to == 0 || change.switching_to == before[0][3].as<std::int64_t>();
    const auto switching = change.switching && newest ? std::optional(std::string(to_string(*change.switching))) : std::nullopt;
    link_.run(sql::set_state, guard.tenant, guard.channel, state, change.reason, change.detail, change.next_attempt_at, change.throttled_until,
              change.last_success_at, change.observed_generation, switching, change.switch_error, change.token_expires_at, change.account);
    const bool moved = text(before[0][0]) != state || text(before[0][1]) != change.reason;
    const bool switched = switching && text(before[0][2]) != *switching;
    news = moved || switched;
    if (moved) link_.run(sql::add_event, guard.tenant, guard.channel, "state", state, change.reason, change.detail, "node");
    if (switched)
      link_.run(sql::add_event, guard.tenant, guard.channel, "switch", *switching, change.switch_error.empty() ? "" : change.reason, change.switch_error, "node");
    return {};
  });
  // Not in the transaction: NOTIFY makes commits wait for each other.
  if (done && news) static_cast<void>(link_.once({}, sql::notify_state, guard.tenant, guard.channel));
  return done;
}

result<void> pg_mail_store::touch_success(const std::vector<std::pair<lease_guard, wall_time>>& channels) {
  std::vector<std::int64_t> tenants, ids, epochs, times;
  for (const auto& [guard, at] : channels) {
    tenants.push_back(guard.tenant.value);
    ids.push_back(guard.channel.value);
    epochs.push_back(guard.epoch);
    times.push_back(micros(at));
  }
  const auto rows = link_.once({}, sql::touch_success, array_of(tenants), array_of(ids), array_of(epochs), array_of(times));
  if (!rows) return fail(rows.error());
  return {};
}

// ---- credentials ------------------------------------------------------------------------------------------------------------------------

/// Not in one transaction, which would not show one moment either (each statement sees what is committed when it begins): a credential that is gone
/// by then is an error, and the change that took it away makes the caller load again.
result<mail_store::channel_load> pg_mail_store::load_channel(tenant_id tenant, channel_id channel) {
  const auto rows = link_.once({tenant}, sql::load_channel, tenant, channel);
  if (!rows) return fail(rows.error());
  if (rows->empty()) return fail(failure::not_found, "no such channel");
  const auto row = (*rows)[0];
  channel_load out;
  auto record = channel_of(row, tenant, channel, &keys_);
  if (!record) return fail(record.error());
  out.record = std::move(*record);
  out.limits = {row["max_channels"].as<std::int64_t>(), row["max_message_bytes"].as<std::int64_t>()};
  const auto load = [&](std::int64_t generation) -> result<mailherd::credential> {
    const auto found = link_.once({tenant}, sql::load_credential, tenant, channel, generation);
    if (!found) return fail(found.error());
    if (found->empty()) return fail(failure::not_found, "the credential is gone");
    return credential_of((*found)[0], tenant, channel, generation, keys_);
  };
  auto newest = load(out.record.generation);
  if (!newest) return fail(newest.error());
  out.credential = std::move(*newest);
  out.serving = out.credential;
  if (out.record.observed_generation > 0 && out.record.observed_generation != out.record.generation) {
    if (auto serving = load(out.record.observed_generation)) {
      out.serving = std::move(*serving);
    } else if (serving.error().code != failure::not_found) {
      return fail(serving.error());
    }
  }
  if (out.credential.type == auth_type::oauth2 || out.serving.type == auth_type::oauth2) {
    const auto id = out.credential.type == auth_type::oauth2 ? out.credential.app : out.serving.app;
    const auto found = link_.once({tenant}, sql::get_app, tenant, id);
    if (!found) return fail(found.error());
    if (!found->empty()) {
      auto app = app_of((*found)[0], &keys_);
      if (!app) return fail(app.error());
      out.app = std::move(*app);
    }
  }
  return out;
}

// ---- apps that are refused ----------------------------------------------------------------------------------------------------------------

result<void> pg_mail_store::block_app(tenant_id tenant, app_id app, std::int64_t revision, const std::string& why, seconds hold) {
  const auto rows = link_.once({tenant}, sql::block_app, tenant, app, revision, why, static_cast<std::int64_t>(hold.count()));
  if (!rows) return fail(rows.error());
  return {};
}

result<bool> pg_mail_store::try_blocked_app(tenant_id tenant, app_id app, seconds hold) {
  const auto rows = link_.once({tenant}, sql::try_blocked_app, tenant, app, static_cast<std::int64_t>(hold.count()));
  if (!rows) return fail(rows.error());
  return rows->affected_rows() > 0;
}

result<void> pg_mail_store::unblock_app(tenant_id tenant, app_id app) {
  auto done = link_.transact({tenant}, [&]() -> result<bool> {
    if (link_.run(sql::unblock_app, tenant, app).affected_rows() == 0) return false;
    link_.run(sql::note_app_changes, tenant, app);
    return true;
  });
  if (!done) return fail(done.error());
  if (*done) static_cast<void>(link_.once({}, sql::notify_channel, tenant, 0));
  return {};
}

result<void> pg_mail_store::rotate_refresh_token(const lease_guard& guard, std::int64_t generation, const secret<>& used, const secret<>& fresh,
                                                 const std::string& account) {
  return link_.transact({}, [&]() -> result<void> {
    // Not guarded by the lease: the provider has replaced the token already, and whoever holds the newest one must be able to keep it. What
    // was used is compared instead, under the row's lock.
    link_.run(sql::hold_grants, guard.tenant, guard.channel);
    const auto rows = link_.run(sql::lock_refresh_token, guard.tenant, guard.channel, generation);
    if (rows.empty()) return fail(failure::not_found, "the credential is gone");
    const auto context = credential_context(guard.tenant, guard.channel, generation, "refresh_token");
    const auto present = unseal(keys_, context, rows[0][0]);
    if (!present) return fail(present.error());
    // Repeated after a lost answer: it is done already.
    if (*present == fresh) return {};
    if (!(*present == used)) return fail(failure::conflict, "the refresh token was replaced meanwhile");
    link_.run(sql::rotate_refresh_token, guard.tenant, guard.channel, generation, sealed_or_null(keys_, context, fresh), account);
    // A credential that was gone back to is the same grant as the one it was made from: its token is good for one use as well.
    for (const auto& row : link_.run(sql::other_refresh_tokens, guard.tenant, guard.channel, generation)) {
      const auto other = row[0].as<std::int64_t>();
      const auto place = credential_context(guard.tenant, guard.channel, other, "refresh_token");
      const auto same = unseal(keys_, place, row[1]);
      if (same && *same == used) link_.run(sql::rotate_refresh_token, guard.tenant, guard.channel, other, sealed_or_null(keys_, place, fresh), "");
    }
    return {};
  });
}

// In a transaction of its own, not under the lease: the owner and whoever stands by to become it may both be in need of a token.
result<bool> pg_mail_store::hold_grant(const lease_guard& guard, std::int64_t holder, seconds hold) {
  const auto mine = link_.once({}, sql::hold_grant, guard.tenant, guard.channel, holder, hold.count());
  if (!mine) return fail(mine.error());
  return !mine->empty();
}

result<void> pg_mail_store::release_grant(const lease_guard& guard, std::int64_t holder) {
  const auto done = link_.once({}, sql::release_grant, guard.tenant, guard.channel, holder);
  if (!done) return fail(done.error());
  return {};
}

}  // namespace mailherd::store
