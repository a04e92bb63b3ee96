// storage/pg_webhook_store: webhooks over one connection.
//
// Owns:   nothing but references. Never: answers a tenant's key with anything of another tenant (as admin_store).
// Threads: as store.hpp: one at a time, blocking.
#pragma once

#include "storage/connection.hpp"
#include "storage/keyring.hpp"
#include "storage/webhook_store.hpp"

namespace mailherd::store {

class pg_webhook_store final : public webhook_store {
 public:
  pg_webhook_store(connection& link, const keyring& keys) : link_(link), keys_(keys) {}

  result<webhook_record> create(const caller& who, tenant_id tenant, const webhook_spec& spec, const secret<>& signing) override;
  result<webhook_record> get(const caller& who, tenant_id tenant, webhook_id webhook) override;
  result<page<webhook_record>> list(const caller& who, tenant_id tenant, std::size_t limit, const std::string& after) override;
  result<webhook_record> update(const caller& who, tenant_id tenant, webhook_id webhook, const webhook_spec& spec) override;
  result<void> remove(const caller& who, tenant_id tenant, webhook_id webhook) override;
  result<webhook_record> rotate(const caller& who, tenant_id tenant, webhook_id webhook, const secret<>& signing, wall_time old_until) override;
  result<std::int64_t> replay(const caller& who, tenant_id tenant, webhook_id webhook, std::optional<std::int64_t> position,
                              std::optional<wall_time> since) override;
  result<std::int64_t> position_at(const caller& who, tenant_id tenant, wall_time since) override;
  result<delivery_id> ask_test(const caller& who, tenant_id tenant, webhook_id webhook) override;
  result<void> ask_again(const caller& who, tenant_id tenant, webhook_id webhook, delivery_id delivery) override;
  result<page<delivery_record>> deliveries(const caller& who, tenant_id tenant, webhook_id webhook, const std::string& state, std::size_t limit,
                                           const std::string& after) override;
  result<std::vector<stall_record>> stalls(const caller& who, tenant_id tenant, webhook_id webhook) override;

  result<deliverer_id> join(const std::string& node, seconds ttl) override;
  result<round_report> round(deliverer_id self, seconds ttl) override;
  result<void> release(deliverer_id self, const std::vector<webhook_key>& webhooks) override;
  result<void> leave(deliverer_id self) override;
  result<webhook_load> load(deliverer_id self, const webhook_key& webhook) override;
  result<events_read> read(deliverer_id self, const reading& what) override;
  result<std::vector<delivery_record>> asked(const webhook_key& webhook, std::size_t limit) override;
  result<std::vector<bool>> save(deliverer_id self, const std::vector<webhook_progress>& all) override;

 private:
  void save_one(const webhook_progress& p);
  void hint(tenant_id tenant);

  connection& link_;
  const keyring& keys_;
};

}  // namespace mailherd::store
