// storage/admin_store: what the API reads and writes, over one connection.
//
//   admin_tenants.cpp    tenants, API keys, idempotency
//   admin_apps.cpp       OAuth apps
//   admin_channels.cpp   channels, credentials, events
//   admin_consents.cpp   requests for consent, the way back to an earlier credential
//   admin_messages.cpp   the feed, messages, bodies
//   admin_cluster.cpp    nodes, gauges
//   admin_console.cpp    sessions of the console, what it shows beside the rest
//
// Owns:   nothing but references. Never:  answers a tenant's key with anything of another tenant (`caller` is checked, and is the scope of
//         row-level security in the transaction).
// Threads: as store.hpp: one at a time, blocking.
#pragma once

#include "storage/connection.hpp"
#include "storage/keyring.hpp"
#include "storage/store.hpp"

namespace mailherd::store {

class pg_admin_store final : public admin_store {
 public:
  pg_admin_store(connection& link, const keyring& keys) : link_(link), keys_(keys) {}

  result<void> ping() override;
  result<tenant_record> create_tenant(const std::string& name, const tenant_limits& limits) override;
  result<tenant_record> get_tenant(const caller& who, tenant_id tenant) override;
  result<page<tenant_record>> list_tenants(const caller& who, std::size_t limit, const std::string& after) override;
  result<tenant_record> update_tenant(tenant_id tenant, const std::optional<std::string>& name, const std::optional<tenant_limits>& limits) override;
  result<void> delete_tenant(tenant_id tenant) override;
  result<api_key_record> create_api_key(const caller& who, tenant_id tenant, const std::string& name, const sha256_digest& key_digest) override;
  result<std::vector<api_key_record>> list_api_keys(const caller& who, tenant_id tenant) override;
  result<void> delete_api_key(const caller& who, tenant_id tenant, api_key_id key) override;
  result<std::optional<std::pair<tenant_id, api_key_id>>> find_api_key(const sha256_digest& key_digest) override;
  result<oauth_app> create_app(const caller& who, const oauth_app& app) override;
  result<oauth_app> get_app(const caller& who, tenant_id tenant, app_id app) override;
  result<page<oauth_app>> list_apps(const caller& who, tenant_id tenant, std::size_t limit, const std::string& after) override;
  result<oauth_app> update_app(const caller& who, const oauth_app& app) override;
  result<void> delete_app(const caller& who, tenant_id tenant, app_id app) override;
  result<channel_record> create_channel(const caller& who, tenant_id tenant, const channel_spec& spec, const credential& auth, const std::string& actor) override;
  result<channel_record> get_channel(const caller& who, tenant_id tenant, channel_id channel) override;
  result<page<channel_record>> list_channels(const caller& who, tenant_id tenant, const channel_filter& filter, std::size_t limit, const std::string& after) override;
  result<channel_record> update_channel(const caller& who, tenant_id tenant, channel_id channel, const channel_spec& spec, std::int64_t revision,
                                        const std::string& actor) override;
  result<void> delete_channel(const caller& who, tenant_id tenant, channel_id channel) override;
  result<std::int64_t> put_credential(const caller& who, tenant_id tenant, channel_id channel, const credential& auth, const std::string& actor) override;
  result<page<channel_event>> list_events(const caller& who, tenant_id tenant, channel_id channel, std::size_t limit, const std::string& after) override;
  result<std::vector<stored_message>> feed(const caller& who, tenant_id tenant, std::optional<channel_id> channel, std::int64_t after, std::size_t limit) override;
  result<stored_message> get_message(const caller& who, message_id message) override;
  result<void> read_body(const caller& who, message_id message, const std::function<bool(std::string_view)>& sink) override;
  result<void> read_body_from(const caller& who, message_id message, std::uint64_t offset, const std::function<bool(std::string_view)>& sink) override;
  result<wall_time> create_session(const sha256_digest& cookie, const console_session& session, seconds life) override;
  result<std::optional<console_session>> find_session(const sha256_digest& cookie) override;
  result<void> delete_session(const sha256_digest& cookie) override;
  result<std::vector<stored_message>> newest(const caller& who, tenant_id tenant, std::optional<channel_id> channel, std::int64_t before, std::size_t limit) override;
  result<std::vector<activity_slice>> activity(const caller& who, tenant_id tenant, channel_id channel, seconds slice, std::size_t slices) override;
  result<std::vector<channel_record>> attention(const caller& who, std::size_t limit) override;
  result<std::vector<node_record>> list_nodes() override;
  result<void> drain_node(const std::string& node) override;
  result<void> move_channel(const caller& who, tenant_id tenant, channel_id channel, const std::string& node, const std::string& actor) override;
  result<std::vector<channel_gauge>> gauges() override;
  result<gauge_reading> gauges_of(const std::string& node) override;
  result<std::optional<remembered>> begin_idempotent(const std::string& scope, const std::string& key, const sha256_digest& request) override;
  result<void> finish_idempotent(const std::string& scope, const std::string& key, const remembered& answer) override;
  result<void> forget_idempotent(const std::string& scope, const std::string& key) override;
  result<consent> add_consent(const consent& c, const std::optional<sha256_digest>& digest) override;
  result<consent> find_consent(const sha256_digest& digest) override;
  result<void> take_consent(const consent& c) override;
  result<void> follow_link(const consent& c) override;
  result<std::optional<consent>> last_consent(const caller& who, tenant_id tenant, channel_id channel) override;
  result<consent_subject> consent_subject_of(const caller& who, tenant_id tenant, channel_id channel) override;
  result<std::int64_t> complete_consent(const consent& c, const std::string& account, const secret<>& refresh_token) override;
  result<void> fail_consent(const consent& c, const std::string& account, const std::string& detail) override;
  result<std::int64_t> roll_back(const caller& who, tenant_id tenant, channel_id channel, const std::string& actor) override;

 private:
  connection& link_;
  const keyring& keys_;
};

}  // namespace mailherd::store
