// storage/migrate: bringing a database to this binary's schema.
//
// Owns:   the table schema_migrations, the advisory lock under which one node at a time migrates.
// Never:  runs half a migration: each is one transaction. Never goes back: a newer database is refused.
// Used by: postgres::migrate, `mailherd db migrate`. Blocks.
#pragma once

#include <string>

#include "core/result.hpp"

namespace mailherd::store {

result<void> run_migrations(const std::string& url);

/// The schema version of this binary, and whether a database has it (for readiness).
int schema_version();

}  // namespace mailherd::store
