// storage/rows: columns become the house's nouns and the other way round, once for all stores of this room.
//
// Owns:   the reading of channel, credential, app and message rows; the envelope's JSON; the contexts under which values are sealed.
// Never:  talks to the database. Unknown names in a row (written by a newer version) are errors, never guesses.
#pragma once

#include <string>

#include "core/model.hpp"
#include "core/result.hpp"
#include "storage/connection.hpp"
#include "storage/keyring.hpp"
#include "storage/store.hpp"
#include "storage/webhook_store.hpp"

namespace mailherd::store {

// ---- sealed values --------------------------------------------------------------------------------------------------------------------

std::string credential_context(tenant_id tenant, channel_id channel, std::int64_t generation, std::string_view what);
std::string proxy_context(tenant_id tenant, channel_id channel);
std::string app_context(tenant_id tenant, app_id app, std::string_view what);
std::string webhook_context(tenant_id tenant, webhook_id webhook, std::string_view what);

/// NULL for an empty secret.
nullable sealed_or_null(const keyring& keys, const std::string& context, const secret<>& value);
/// An empty secret for NULL. failure::seal_failed.
result<secret<>> unseal(const keyring& keys, const std::string& context, const pqxx::field& sealed);

// ---- rows ------------------------------------------------------------------------------------------------------------------------------

/// A row of load_channel, or one with the same columns. `keys`: null leaves the proxy's password empty. Throws pqxx's conversion errors.
result<channel_record> channel_of(const pqxx::row& row, tenant_id tenant, channel_id channel, const keyring* keys);

/// A row of load_credential.
result<mailherd::credential> credential_of(const pqxx::row& row, tenant_id tenant, channel_id channel, std::int64_t generation, const keyring& keys);

/// A row with all columns of oauth_apps by name. `keys`: null leaves the secrets empty.
result<oauth_app> app_of(const pqxx::row& row, const keyring* keys);

/// Rows of feed, or ones with the same columns.
result<std::vector<stored_message>> messages_of(const pqxx::result& rows, tenant_id tenant);

/// A row with the columns of webhooks by name; of list_deliveries; of list_stalls.
webhook_spec webhook_spec_of(const pqxx::row& row);
delivery_record delivery_of(const pqxx::row& row);
stall_record stall_of(const pqxx::row& row);
std::string array_of_channels(const std::vector<channel_id>& channels);

std::string envelope_json(const envelope& e);
envelope envelope_of(std::string_view json);

sha256_digest digest_of(const pqxx::field& f);

/// A name of an enumeration in a row.
template <class Enum>
result<Enum> name_of(const pqxx::field& f) {
  const auto v = parse_name<Enum>(std::string_view(f.c_str(), f.size()));
  if (!v) return fail(failure::store_failed, "column " + std::string(f.name()) + " holds an unknown name");
  return *v;
}

}  // namespace mailherd::store
