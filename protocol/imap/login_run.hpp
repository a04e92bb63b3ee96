// protocol/imap/login_run: the state of one login. Private to the engine's sources.
#pragma once

#include <memory>
#include <optional>

#include "core/secret.hpp"
#include "protocol/imap/engine.hpp"

namespace mailherd::imap {

struct engine::login_run {
  std::unique_ptr<sasl::mechanism> mechanism;  ///< null: the LOGIN command
  std::optional<secret<>> initial;             ///< waits for the server's first "+"
  std::optional<error> failure;                ///< why we cancelled
  secret<> what;                               ///< the password or token, to know it again when a server repeats it
};

}  // namespace mailherd::imap
