// tests/actors/memory_edits: what the API's transactions do to a channel's row in memory_mail, each as one function.
//
// Owns:   nothing. Does:  what storage/admin_channels, storage/admin_consents and the sweep of credentials do in SQL; that the statements do it
//         is for tests/storage/lost_update_test.
#pragma once

#include "tests/actors/memory_mail.hpp"

namespace mailherd::test::edits {

/// From here on the row keeps every generation of its credential.
void keep_generations(memory_mail::row& r);

/// failure::conflict if `revision` is not the row's.
result<void> update_channel(memory_mail::row& r, const channel_spec& spec, std::int64_t revision);
std::int64_t put_credential(memory_mail::row& r, credential c);
/// A person consented: into the newest generation if it waits for a grant, otherwise into a further one. failure::conflict if it is not `generation`.
result<std::int64_t> complete_consent(memory_mail::row& r, std::int64_t generation, const secret<>& refresh_token);
result<std::int64_t> roll_back(memory_mail::row& r);
/// Forgets the generations that nobody can need any more.
void sweep(memory_mail::row& r);

}  // namespace mailherd::test::edits
