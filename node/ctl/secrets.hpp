// node/ctl/secrets: passwords on their way in.
//
// Owns:   reading from a file, standard input or a prompt without echo.
// Never:  prints one.
// Used by: the commands.
#pragma once

#include <string>

#include "core/result.hpp"
#include "core/secret.hpp"
#include "node/ctl/commands.hpp"

namespace mailherd::ctl {

/// `what` names it in prompts and errors ("password"), `flag` its file flag ("--password-file"). One line.
/// Warns when it came on the command line, which other users of the machine can see.
result<secret<>> read_secret(const secret_source& from, const std::string& what, const std::string& flag);

/// A whole file, at most 64 KiB.
result<std::string> read_file(const std::string& path);

}  // namespace mailherd::ctl
