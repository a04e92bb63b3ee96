// storage/admin_credentials: what the parts of the API's store that change credentials share.
//
// Owns:   nothing. Never:  opens a transaction: all of it runs inside one.
// Used by: storage/admin_channels.cpp, storage/admin_consents.cpp.
#pragma once

#include "storage/connection.hpp"
#include "storage/keyring.hpp"
#include "storage/store.hpp"

namespace mailherd::store {

result<channel_record> load_record(connection& link, tenant_id tenant, channel_id channel);
/// failure::not_found if it is not kept any more.
result<credential> load_credential(connection& link, const keyring& keys, tenant_id tenant, channel_id channel, std::int64_t generation);
void insert_credential(connection& link, const keyring& keys, tenant_id tenant, channel_id channel, std::int64_t generation, const credential& c);
/// Makes it the newest; returns its generation.
std::int64_t next_credential(connection& link, const keyring& keys, tenant_id tenant, channel_id channel, const credential& c);

}  // namespace mailherd::store
