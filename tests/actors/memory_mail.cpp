#include "tests/actors/memory_mail.hpp"

#include <algorithm>

namespace mailherd::test {

namespace {

using key = std::tuple<std::string, std::uint32_t, std::uint32_t, std::string>;
key key_of(const message_source& s) { return {s.folder, s.uid_validity.value, s.uid.value, s.uidl}; }
std::string name_of(const message_source& s) {
  return s.folder + "/" + std::to_string(s.uid_validity.value) + "/" + std::to_string(s.uid.value) + "/" + s.uidl;
}
constexpr sha256_digest none{};
bool is_digest(const std::string& uidl) { return uidl.substr(0, 7) == "sha256:"; }

}  // namespace

std::size_t memory_mail::row::copies_of(const std::string& raw) const {
  return static_cast<std::size_t>(std::count_if(messages.begin(), messages.end(), [&](const stored& m) { return m.raw == raw; }));
}

const memory_mail::stored* memory_mail::row::subject(const std::string& text) const {
  for (const auto& m : messages)
    if (m.message.envelope.subject == text) return &m;
  return nullptr;
}

memory_mail::row& memory_mail::add(tenant_id tenant, channel_id channel) {
  auto& r = channels[channel];
  auto& record = r.load.record;
  record.id = channel;
  record.tenant = tenant;
  record.lease_epoch = r.epoch;
  return r;
}

result<memory_mail::row*> memory_mail::holder(std::string_view what, const store::lease_guard& guard) {
  if (fault) {
    if (const auto f = fault(what)) return fail(*f, "by order of the test");
  }
  const auto at = channels.find(guard.channel);
  if (at == channels.end()) return fail(failure::not_found);
  if (at->second.epoch != guard.epoch) return fail(failure::fenced, "old epoch");
  return &at->second;
}

store::commit_outcome memory_mail::commit_one(const store::commit_unit& unit) {
  store::commit_outcome o;
  auto& r = channels.at(unit.guard.channel);
  if (r.epoch != unit.guard.epoch) {
    o.status = fail(failure::fenced, "old epoch");
    return o;
  }
  const auto enter = [&](ledger_entry e) {
    if (!r.identities.insert(key_of(e.source)).second) return false;
    r.ledger.push_back(std::move(e));
    return true;
  };
  for (const auto& m : unit.messages) {
    if (r.identities.contains(key_of(m.source))) {
      ++o.suppressed;
      ++r.suppressed;
      continue;
    }
    ledger_entry e;
    e.origin = ++origins_;
    e.source = m.source;
    e.date = m.internal_date;
    e.size = m.size;
    e.digest = m.digest;
    e.header_digest = m.header_digest;
    e.has_body = m.body || m.blob;
    e.after = unit.after;
    enter(std::move(e));
    stored s;
    s.sequence = static_cast<std::int64_t>(r.messages.size()) + 1;
    s.message = m;
    s.message.body.reset();
    if (m.body) s.raw = *m.body;
    if (m.blob && m.body_index != store::incoming_message::no_index) {
      s.raw = blobs[m.blob].at(m.body_index);
    } else if (m.blob) {
      for (const auto& [index, bytes] : blobs[m.blob]) s.raw += bytes;
    }
    r.messages.push_back(std::move(s));
    ++o.stored;
  }
  for (const auto& k : unit.known) {
    const auto origin = std::find_if(r.ledger.begin(), r.ledger.end(), [&](const ledger_entry& e) { return e.origin == k.ledger_id && e.size == k.size; });
    if (origin == r.ledger.end()) continue;
    auto further = *origin;
    further.source = k.source;
    enter(std::move(further));
  }
  for (const auto& uidl : unit.skipped_uidls) {
    ledger_entry e;
    e.source.protocol = protocol_kind::pop3;
    e.source.uidl = uidl;
    e.skipped = true;
    enter(std::move(e));
  }
  if (unit.move_cursor) r.cursors[{unit.protocol, unit.folder}] = *unit.move_cursor;
  if (unit.backfill_done) r.load.record.backfill_done = unit.backfill_done;
  if (unit.backfill_total) r.load.record.backfill_total = unit.backfill_total;
  r.load.record.messages_stored = static_cast<std::int64_t>(r.messages.size());
  o.last_sequence = static_cast<std::int64_t>(r.messages.size());
  return o;
}

result<std::vector<store::commit_outcome>> memory_mail::commit(const std::vector<store::commit_unit>& units) {
  if (fault) {
    if (const auto f = fault("commit")) return fail(*f, "by order of the test");
  }
  if (refuse && refuse(units)) return fail(failure::store_failed, "by order of the test");
  std::vector<store::commit_outcome> all;
  for (const auto& u : units) all.push_back(commit_one(u));
  ++commits;
  if (lose_answer && lose_answer()) return fail(failure::store_unavailable, "connection lost at commit");
  return all;
}

result<blob_id> memory_mail::new_blob(const store::lease_guard& guard) {
  if (auto r = holder("new_blob", guard); !r) return fail(r.error());
  return blob_id{++blob_ids_};
}

result<void> memory_mail::put_chunk(const store::lease_guard& guard, blob_id blob, std::int32_t index, const std::string& bytes) {
  if (auto r = holder("put_chunk", guard); !r) return fail(r.error());
  blobs[blob][index] = bytes;
  return {};
}

result<blob_id> memory_mail::put_bodies(const store::lease_guard& guard, const std::vector<std::shared_ptr<const std::string>>& bodies) {
  if (auto r = holder("put_bodies", guard); !r) return fail(r.error());
  const blob_id blob{++blob_ids_};
  std::int32_t index = 0;
  for (const auto& b : bodies) blobs[blob][index++] = *b;
  return blob;
}

result<store::cursor> memory_mail::load_cursor(const store::lease_guard& guard, protocol_kind protocol, const std::string& folder) {
  auto r = holder("load_cursor", guard);
  if (!r) return fail(r.error());
  const auto at = (*r)->cursors.find({protocol, folder});
  if (at == (*r)->cursors.end()) return store::cursor{};
  auto c = at->second;
  if (protocol == protocol_kind::imap || c.names != store::named_by::unknown) return c;
  std::size_t uidls = 0, digests = 0;
  for (const auto& e : (*r)->ledger)
    if (!e.source.uidl.empty()) ++(is_digest(e.source.uidl) ? digests : uidls);
  if (uidls == 0 && digests > 0) c.names = store::named_by::digest;
  if (digests == 0 && uidls > 0) c.names = store::named_by::uidl;
  return c;
}

result<std::vector<std::string>> memory_mail::unknown_uidls(const store::lease_guard& guard, const std::vector<std::string>& uidls) {
  auto r = holder("unknown_uidls", guard);
  if (!r) return fail(r.error());
  std::set<std::string> known;
  for (const auto& e : (*r)->ledger) known.insert(e.source.uidl);
  std::vector<std::string> out;
  for (const auto& u : uidls)
    if (!known.contains(u)) out.push_back(u);
  return out;
}

result<store::listed_origins> memory_mail::listed_origins(const store::lease_guard& guard, const std::vector<std::string>& uidls) {
  auto r = holder("listed_origins", guard);
  if (!r) return fail(r.error());
  const std::set<std::string> listed(uidls.begin(), uidls.end());
  store::listed_origins out;
  for (const auto& e : (*r)->ledger) {
    if (listed.contains(e.source.uidl)) out.known.push_back(e.origin);
    out.newest = std::max(out.newest, e.origin);
  }
  return out;
}

result<std::vector<mailherd::uid>> memory_mail::stored_uids(const store::lease_guard& guard, const std::string& folder, mailherd::uid_validity validity,
                                                            mailherd::uid after, mailherd::uid upto, after_fetch what, std::size_t limit) {
  auto r = holder("stored_uids", guard);
  if (!r) return fail(r.error());
  std::set<std::uint32_t> found;
  for (const auto& e : (*r)->ledger)
    if (e.has_body && e.after == what && e.source.folder == folder && e.source.uid_validity == validity && e.source.uid > after && e.source.uid <= upto) found.insert(e.source.uid.value);
  std::vector<mailherd::uid> out;
  for (const auto u : found)
    if (out.size() < limit) out.push_back({u});
  return out;
}

result<std::vector<store::stored_uidl>> memory_mail::stored_uidls(const store::lease_guard& guard, const std::vector<std::string>& uidls) {
  auto r = holder("stored_uidls", guard);
  if (!r) return fail(r.error());
  std::map<std::string, std::uint64_t> known;
  for (const auto& e : (*r)->ledger)
    if (e.has_body && e.after == after_fetch::remove) known.emplace(e.source.uidl, e.size);
  std::vector<store::stored_uidl> out;
  for (const auto& u : uidls)
    if (const auto at = known.find(u); at != known.end()) out.push_back({u, at->second});
  return out;
}

result<std::vector<store::candidate>> memory_mail::find_candidates(const store::lease_guard& guard, const std::string& folder, mailherd::uid_validity validity,
                                                                   const std::vector<std::pair<std::optional<wall_time>, std::uint64_t>>& keys,
                                                                   store::identities here_by) {
  auto r = holder("find_candidates", guard);
  if (!r) return fail(r.error());
  const auto& ledger = (*r)->ledger;
  std::set<std::int64_t> here;
  for (const auto& e : ledger)
    if (e.source.folder == folder && e.source.uid_validity == validity &&
        (here_by == store::identities::all ||
         (here_by != store::identities::none && (here_by == store::identities::digests) == is_digest(e.source.uidl))))
      here.insert(e.origin);
  std::multimap<std::uint64_t, std::optional<wall_time>> by_size;
  for (const auto& [date, size] : keys) by_size.emplace(size, date);
  std::map<std::int64_t, store::candidate> found;
  for (const auto& e : ledger) {
    if (e.skipped || e.header_digest == none || here.contains(e.origin)) continue;
    const auto [first, last] = by_size.equal_range(e.size);
    if (std::any_of(first, last, [&](const auto& k) { return !k.second || *k.second == e.date; })) found[e.origin] = {e.origin, e.date, e.size, e.digest, e.header_digest, e.has_body};
  }
  std::vector<store::candidate> out;
  for (const auto& [origin, c] : found) out.push_back(c);
  return out;
}

result<unsigned> memory_mail::note_try(const store::lease_guard& guard, const message_source& source) {
  auto r = holder("note_try", guard);
  if (!r) return fail(r.error());
  return ++(*r)->tries[name_of(source)];
}

result<void> memory_mail::set_state(const store::lease_guard& guard, const state_change& c) {
  auto r = holder("set_state", guard);
  if (!r) return fail(r.error());
  auto& record = (*r)->load.record;
  if (record.spec.enabled != (c.state != channel_state::disabled) && !(*r)->generations.empty()) return fail(failure::not_found, "disabled, or enabled again");
  (*r)->states.push_back(c);
  record.state = c.state;
  record.state_reason = c.reason;
  record.state_detail = c.detail;
  record.next_attempt_at = c.next_attempt_at;
  record.throttled_until = c.throttled_until;
  if (c.last_success_at) record.last_success_at = c.last_success_at;
  if (c.observed_generation) {
    if (record.observed_generation != 0 && record.observed_generation != *c.observed_generation) record.previous_generation = record.observed_generation;
    record.observed_generation = *c.observed_generation;
    if (record.observed_generation == record.generation) (*r)->load.serving = (*r)->load.credential;
  }
  if (c.switching && (c.switching_to == 0 || c.switching_to == record.generation)) {
    record.switching = *c.switching;
    record.switch_error = c.switch_error;
  }
  if (c.token_expires_at) record.token_expires_at = c.token_expires_at;
  if (c.state == channel_state::active) record.backfill_done = record.backfill_total = std::nullopt;
  if (lose_answer && lose_answer()) return fail(failure::store_unavailable, "connection lost at commit");
  return {};
}

result<void> memory_mail::touch_success(const std::vector<std::pair<store::lease_guard, wall_time>>& signs) {
  for (const auto& [guard, at] : signs)
    if (auto r = holder("touch_success", guard)) (*r)->load.record.last_success_at = at;
  return {};
}

result<store::mail_store::channel_load> memory_mail::load_channel(tenant_id, channel_id channel) {
  if (fault) {
    if (const auto f = fault("load_channel")) return fail(*f, "by order of the test");
  }
  const auto at = channels.find(channel);
  if (at == channels.end()) return fail(failure::not_found);
  auto& r = at->second;
  r.load.record.lease_epoch = r.epoch;
  if (r.generations.empty()) return r.load;
  auto loaded = r.load;
  auto& record = loaded.record;
  loaded.credential = loaded.serving = r.generations.at(record.generation);
  if (const auto serving = r.generations.find(record.observed_generation); serving != r.generations.end()) loaded.serving = serving->second;
  record.auth = loaded.credential.type;
  record.account = loaded.credential.type == auth_type::basic ? loaded.credential.username : loaded.credential.account;
  record.has_grant = loaded.credential.type == auth_type::basic || !loaded.credential.refresh_token.empty();
  return loaded;
}

/// Of the generation that was renewed, and of every one that is the same grant: a credential that was gone back to.
result<void> memory_mail::rotate_kept(row& r, std::int64_t generation, const secret<>& used, const secret<>& fresh, const std::string& account) {
  const auto at = r.generations.find(generation);
  if (at == r.generations.end()) return fail(failure::not_found, "the credential is gone");
  if (at->second.refresh_token == fresh) return {};
  if (!(at->second.refresh_token == used)) return fail(failure::conflict, "rotated meanwhile");
  for (auto& [other, c] : r.generations)
    if (c.refresh_token == used) c.refresh_token = fresh;
  if (!account.empty()) at->second.account = account;
  if (lose_answer && lose_answer()) return fail(failure::store_unavailable, "connection lost at commit");
  return {};
}

result<void> memory_mail::rotate_refresh_token(const store::lease_guard& guard, std::int64_t generation, const secret<>& used, const secret<>& fresh,
                                               const std::string& account) {
  if (const auto at = channels.find(guard.channel); at != channels.end() && !at->second.generations.empty()) {
    if (const auto f = fault ? fault("rotate") : std::nullopt) return fail(*f, "by order of the test");
    return rotate_kept(at->second, generation, used, fresh, account);   // whatever the epoch: the newest token is what counts
  }
  auto r = holder("rotate", guard);
  if (!r) return fail(r.error());
  auto& load = (*r)->load;
  const auto rotate = [&](credential& c) -> result<void> {
    if (c.refresh_token == fresh) return {};
    if (!(c.refresh_token == used)) return fail(failure::conflict, "rotated meanwhile");
    c.refresh_token = fresh;
    if (!account.empty()) c.account = account;
    return {};
  };
  auto done = rotate(generation == load.record.generation ? load.credential : load.serving);
  if (done && load.record.observed_generation == load.record.generation) load.serving = load.credential;
  return done;
}

result<bool> memory_mail::hold_grant(const store::lease_guard& guard, std::int64_t holder, seconds hold) {
  if (auto why = fault ? fault("hold_grant") : std::nullopt) return fail(*why, "no hold");
  const auto now = clock ? clock() : mono_time{};
  const auto [at, made] = grant_holds.try_emplace(guard.channel, holder, now + hold);
  if (!made && at->second.first != holder && (!clock || at->second.second > now)) return false;
  at->second = {holder, now + hold};
  return true;
}

result<void> memory_mail::release_grant(const store::lease_guard& guard, std::int64_t holder) {
  if (auto why = fault ? fault("release_grant") : std::nullopt) return fail(*why, "no release");
  const auto at = grant_holds.find(guard.channel);
  if (at != grant_holds.end() && at->second.first == holder) grant_holds.erase(at);
  return {};
}

}  // namespace mailherd::test
