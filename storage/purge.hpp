// storage/purge: the mail and history of channels that no longer exist, removed in small pieces.
//
// Deleting a channel takes away the few rows that make it exist, and with them its mail from every view; a mailbox's worth of messages would
// hold locks and a worker for minutes, so those go afterwards, some at once and the rest with the next sweep. What is still to be done is read
// from channel_changes, where deleted channels stay for a day and until they are purged.
//
// Owns:   the order in which a dead channel's rows go (messages with their chunks, ledger, events).
// Never:  touches a channel that exists, or feed_heads: positions are never given out again.
// Used by: admin_store (after a deletion), mail_store's sweep. Blocks.
#pragma once

#include "core/ids.hpp"
#include "core/result.hpp"
#include "storage/connection.hpp"

namespace mailherd::store {

/// Statements that a request spends on it (a few hundred rows each), and that one sweep does.
constexpr unsigned purge_at_once = 20;
constexpr unsigned purge_per_sweep = 20'000;

/// True if nothing is left. `statements` is the most that is done now. REQUIRES that the channel was deleted.
result<bool> purge_channel(connection& link, tenant_id tenant, channel_id channel, unsigned statements);

/// All deleted channels, of one tenant or (no tenant) of all.
result<bool> purge_gone(connection& link, tenant_id tenant, unsigned statements);

}  // namespace mailherd::store
