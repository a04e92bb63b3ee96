// node/node: one node, from its configuration to its end.
//
// Owns:   the order in which the parts begin and end, what to do about each that cannot begin, the housekeeping between.
// Never:  parses (config does); decides anything about mail (actors do).
// Used by: main. Blocks until the node has stopped.
#pragma once

#include "core/result.hpp"
#include "node/config.hpp"

namespace mailherd::node {

/// Runs until SIGTERM or SIGINT (or for ever). REQUIRED: no other thread has been started yet. Errors are one line for stderr:
/// invalid_input, conflict and seal_failed are mistakes of the configuration, all others failures.
result<void> run(const config& c);

/// `mailherd db migrate`: the same errors, and store_unavailable while the database is away.
result<void> migrate(const config& c);

/// `mailherd keys rotate`: seals anew, with the first key, what another key of the ring sealed; nodes may be running. Returns how many
/// values. Errors as of `migrate`.
result<std::size_t> rotate_keys(const config& c);

}  // namespace mailherd::node
