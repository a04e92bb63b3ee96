// tests/actors/fake_store: a store made of functions: a test gives those its actor calls, everything else answers not_found.
#pragma once

#include <functional>

#include "storage/store.hpp"

namespace mailherd::test {

class fake_mail : public store::mail_store {
 public:
  std::function<result<std::vector<store::commit_outcome>>(const std::vector<store::commit_unit>&)> on_commit;
  std::function<result<blob_id>(const store::lease_guard&, const std::vector<std::shared_ptr<const std::string>>&)> on_put_bodies;
  std::function<result<void>(const std::vector<std::pair<store::lease_guard, wall_time>>&)> on_touch_success;
  std::function<result<channel_load>(tenant_id, channel_id)> on_load_channel;
  std::function<result<void>(const store::lease_guard&, std::int64_t, const secret<>&, const secret<>&, const std::string&)>
      on_rotate_refresh_token;
  std::function<result<incarnation>(const std::string&, const std::string&, seconds)> on_join;
  std::function<result<void>(const incarnation&, seconds)> on_renew;
  std::function<result<std::vector<store::lease_guard>>(const incarnation&, std::size_t)> on_claim;
  std::function<result<std::vector<store::lease_guard>>(const incarnation&)> on_owned;
  std::function<result<void>(const incarnation&, const std::vector<store::lease_guard>&)> on_release;
  std::function<result<void>(const incarnation&)> on_leave;
  std::function<result<std::vector<change>>(const incarnation&, std::int64_t)> on_changes_since;

  result<std::vector<store::commit_outcome>> commit(const std::vector<store::commit_unit>& units) override {
    if (on_commit) return on_commit(units);
    return fail(failure::not_found);
  }
  result<blob_id> new_blob(const store::lease_guard&) override {
    return fail(failure::not_found);
  }
  result<void> put_chunk(const store::lease_guard&, blob_id, std::int32_t, const std::string&) override {
    return fail(failure::not_found);
  }
  result<blob_id> put_bodies(const store::lease_guard& guard, const std::vector<std::shared_ptr<const std::string>>& bodies) override {
    if (on_put_bodies) return on_put_bodies(guard, bodies);
    return fail(failure::not_found);
  }
  result<store::cursor> load_cursor(const store::lease_guard&, protocol_kind, const std::string&) override {
    return fail(failure::not_found);
  }
  result<std::vector<std::string>> unknown_uidls(const store::lease_guard&, const std::vector<std::string>&) override {
    return fail(failure::not_found);
  }
  result<store::listed_origins> listed_origins(const store::lease_guard&, const std::vector<std::string>&) override {
    return fail(failure::not_found);
  }
  result<std::vector<mailherd::uid>> stored_uids(const store::lease_guard&, const std::string&,
          mailherd::uid_validity, mailherd::uid, mailherd::uid, after_fetch, std::size_t) override {
    return fail(failure::not_found);
  }
  result<std::vector<store::stored_uidl>> stored_uidls(const store::lease_guard&, const std::vector<std::string>&) override {
    return fail(failure::not_found);
  }
  result<std::vector<store::candidate>> find_candidates(const store::lease_guard&, const std::string&,
          mailherd::uid_validity, const std::vector<std::pair<std::optional<wall_time>, std::uint64_t>>&, store::identities) override {
    return fail(failure::not_found);
  }
  result<unsigned> note_try(const store::lease_guard&, const message_source&) override {
    return fail(failure::not_found);
  }
  result<void> set_state(const store::lease_guard&, const state_change&) override {
    return fail(failure::not_found);
  }
  result<void> touch_success(const std::vector<std::pair<store::lease_guard, wall_time>>& channels) override {
    if (on_touch_success) return on_touch_success(channels);
    return fail(failure::not_found);
  }
  result<channel_load> load_channel(tenant_id tenant, channel_id channel) override {
    if (on_load_channel) return on_load_channel(tenant, channel);
    return fail(failure::not_found);
  }
  result<void> rotate_refresh_token(const store::lease_guard& guard, std::int64_t generation,
          const secret<>& used, const secret<>& fresh, const std::string& account) override {
    if (on_rotate_refresh_token) return on_rotate_refresh_token(guard, generation, used, fresh, account);
    return fail(failure::not_found);
  }
  result<incarnation> join(const std::string& name, const std::string& version, seconds ttl, std::size_t) override {
    if (on_join) return on_join(name, version, ttl);
    return fail(failure::not_found);
  }
  result<void> renew(const incarnation& self, seconds ttl, std::size_t) override {
    if (on_renew) return on_renew(self, ttl);
    return fail(failure::not_found);
  }
  result<std::vector<store::lease_guard>> claim(const incarnation& self, std::size_t limit) override {
    if (on_claim) return on_claim(self, limit);
    return fail(failure::not_found);
  }
  result<std::vector<store::lease_guard>> owned(const incarnation& self) override {
    if (on_owned) return on_owned(self);
    return fail(failure::not_found);
  }
  result<void> release(const incarnation& self, const std::vector<store::lease_guard>& channels) override {
    if (on_release) return on_release(self, channels);
    return fail(failure::not_found);
  }
  result<void> leave(const incarnation& self) override {
    if (on_leave) return on_leave(self);
    return fail(failure::not_found);
  }
  result<std::vector<change>> changes_since(const incarnation& self, std::int64_t revision) override {
    if (on_changes_since) return on_changes_since(self, revision);
    return fail(failure::not_found);
  }
  result<void> sweep() override {
    return fail(failure::not_found);
  }
  /// Alone in the cluster, with as much to claim as there is, unless the test says otherwise.
  std::function<result<survey>()> on_look_around = [] { return survey{{}, 1'000'000, 0}; };
  std::function<result<std::vector<handover>>(const incarnation&)> on_handovers;
  std::function<result<std::size_t>(const incarnation&, move_reason, const std::vector<offer>&)> on_make_offers;
  std::function<void(const incarnation&, const std::vector<std::pair<store::lease_guard, readiness>>&)> on_answer_offers;
  std::function<void(const incarnation&, const std::vector<store::lease_guard>&)> on_withdraw_offers;
  std::function<result<std::vector<channel_id>>(const incarnation&, const std::vector<std::pair<store::lease_guard, incarnation_id>>&)> on_pass_on;
  std::function<void(const incarnation&, const std::vector<store::lease_guard>&)> on_take_passed;
  std::function<void(const incarnation&)> on_start_draining;

  result<survey> look_around() override { return on_look_around(); }
  result<void> start_draining(const incarnation& self) override {
    if (on_start_draining) on_start_draining(self);
    return {};
  }
  result<std::size_t> make_offers(const incarnation& self, move_reason why, const std::vector<offer>& offers, std::size_t) override {
    return on_make_offers ? on_make_offers(self, why, offers) : result<std::size_t>(0);
  }
  result<std::vector<handover>> handovers(const incarnation& self) override {
    return on_handovers ? on_handovers(self) : result<std::vector<handover>>(std::vector<handover>{});
  }
  result<void> answer_offers(const incarnation& self, const std::vector<std::pair<store::lease_guard, readiness>>& answers) override {
    if (on_answer_offers) on_answer_offers(self, answers);
    return {};
  }
  result<void> withdraw_offers(const incarnation& self, const std::vector<store::lease_guard>& channels) override {
    if (on_withdraw_offers) on_withdraw_offers(self, channels);
    return {};
  }
  result<std::vector<channel_id>> pass_on(const incarnation& self, const std::vector<std::pair<store::lease_guard, incarnation_id>>& heirs) override {
    return on_pass_on ? on_pass_on(self, heirs) : result<std::vector<channel_id>>(std::vector<channel_id>{});
  }
  result<void> take_passed(const incarnation& self, const std::vector<store::lease_guard>& channels) override {
    if (on_take_passed) on_take_passed(self, channels);
    return {};
  }
};

class fake_admin : public store::admin_store {
 public:
  std::function<result<oauth_app>(const store::caller&, tenant_id, app_id)> on_get_app;

  result<void> ping() override {
    return fail(failure::not_found);
  }
  result<tenant_record> create_tenant(const std::string&, const tenant_limits&) override {
    return fail(failure::not_found);
  }
  result<tenant_record> get_tenant(const store::caller&, tenant_id) override {
    return fail(failure::not_found);
  }
  result<store::page<tenant_record>> list_tenants(const store::caller&, std::size_t, const std::string&) override {
    return fail(failure::not_found);
  }
  result<tenant_record> update_tenant(tenant_id, const std::optional<std::string>&,
          const std::optional<tenant_limits>&) override {
    return fail(failure::not_found);
  }
  result<void> delete_tenant(tenant_id) override {
    return fail(failure::not_found);
  }
  result<store::api_key_record> create_api_key(const store::caller&, tenant_id, const std::string&,
          const sha256_digest&) override {
    return fail(failure::not_found);
  }
  result<std::vector<store::api_key_record>> list_api_keys(const store::caller&, tenant_id) override {
    return fail(failure::not_found);
  }
  result<void> delete_api_key(const store::caller&, tenant_id, api_key_id) override {
    return fail(failure::not_found);
  }
  result<std::optional<std::pair<tenant_id, api_key_id>>> find_api_key(const sha256_digest&) override {
    return fail(failure::not_found);
  }
  result<oauth_app> create_app(const store::caller&, const oauth_app&) override {
    return fail(failure::not_found);
  }
  result<oauth_app> get_app(const store::caller& who, tenant_id tenant, app_id app) override {
    if (on_get_app) return on_get_app(who, tenant, app);
    return fail(failure::not_found);
  }
  result<store::page<oauth_app>> list_apps(const store::caller&, tenant_id, std::size_t, const std::string&) override {
    return fail(failure::not_found);
  }
  result<oauth_app> update_app(const store::caller&, const oauth_app&) override {
    return fail(failure::not_found);
  }
  result<void> delete_app(const store::caller&, tenant_id, app_id) override {
    return fail(failure::not_found);
  }
  result<channel_record> create_channel(const store::caller&, tenant_id, const channel_spec&,
          const credential&, const std::string&) override {
    return fail(failure::not_found);
  }
  result<channel_record> get_channel(const store::caller&, tenant_id, channel_id) override {
    return fail(failure::not_found);
  }
  result<store::page<channel_record>> list_channels(const store::caller&, tenant_id,
          const store::channel_filter&, std::size_t, const std::string&) override {
    return fail(failure::not_found);
  }
  result<channel_record> update_channel(const store::caller&, tenant_id, channel_id, const channel_spec&,
          std::int64_t, const std::string&) override {
    return fail(failure::not_found);
  }
  result<void> delete_channel(const store::caller&, tenant_id, channel_id) override {
    return fail(failure::not_found);
  }
  result<std::int64_t> put_credential(const store::caller&, tenant_id, channel_id, const credential&,
          const std::string&) override {
    return fail(failure::not_found);
  }
  result<store::page<store::channel_event>> list_events(const store::caller&, tenant_id, channel_id,
          std::size_t, const std::string&) override {
    return fail(failure::not_found);
  }
  result<std::vector<store::stored_message>> feed(const store::caller&, tenant_id, std::optional<channel_id>,
          std::int64_t, std::size_t) override {
    return fail(failure::not_found);
  }
  result<store::stored_message> get_message(const store::caller&, message_id) override {
    return fail(failure::not_found);
  }
  result<void> read_body(const store::caller&, message_id, const std::function<bool(std::string_view)>&) override {
    return fail(failure::not_found);
  }
  result<wall_time> create_session(const sha256_digest&, const store::console_session&, seconds) override { return fail(failure::not_found); }
  result<std::optional<store::console_session>> find_session(const sha256_digest&) override { return fail(failure::not_found); }
  result<void> delete_session(const sha256_digest&) override { return fail(failure::not_found); }
  result<std::vector<store::stored_message>> newest(const store::caller&, tenant_id, std::optional<channel_id>, std::int64_t, std::size_t) override {
    return fail(failure::not_found);
  }
  result<std::vector<store::activity_slice>> activity(const store::caller&, tenant_id, channel_id, seconds, std::size_t) override {
    return fail(failure::not_found);
  }
  result<std::vector<channel_record>> attention(const store::caller&, std::size_t) override { return fail(failure::not_found); }
  result<std::vector<store::node_record>> list_nodes() override {
    return fail(failure::not_found);
  }
  result<void> drain_node(const std::string&) override {
    return fail(failure::not_found);
  }
  result<void> move_channel(const store::caller&, tenant_id, channel_id, const std::string&, const std::string&) override {
    return fail(failure::not_found);
  }
  result<std::vector<store::channel_gauge>> gauges() override {
    return fail(failure::not_found);
  }
  result<std::optional<remembered>> begin_idempotent(const std::string&, const std::string&,
          const sha256_digest&) override {
    return fail(failure::not_found);
  }
  result<void> finish_idempotent(const std::string&, const std::string&, const remembered&) override {
    return fail(failure::not_found);
  }
};

}  // namespace mailherd::test
