// actors/grants: what a token refresher reads and writes of rows besides its token: the grant of one generation, the incident of its app.
//
// Owns:   nothing. Never:  asks a provider.
// Used by: token_refresher.
#pragma once

#include <optional>

#include "actors/environment.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "storage/store.hpp"

namespace mailherd::actors {

/// The grant of one generation, as stored.
struct loaded_grant {
  std::int64_t lease_epoch = 0;
  protocol_kind protocol = protocol_kind::imap;
  credential who;
  std::optional<oauth_app> app;
};

/// On a storage worker. cancelled: the generation is neither the newest nor the serving one.
result<loaded_grant> load_grant(store::session& s, const store::lease_guard& guard, std::int64_t generation);

/// What a provider's answer says of the app, for all channels that sign in with it: it is refused, or taken again. Nobody waits for it to be
/// written: rows are read before each question.
void note_answer(const environment& env, const oauth_app& app, const std::optional<error>& refused, deadline until);

}  // namespace mailherd::actors
