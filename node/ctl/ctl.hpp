// node/ctl: `mailherd ctl`, the API from a terminal.
//
// Owns:   the command line of ctl, its tables and its exit codes.
// Never:  talks to the database or to an actor: only HTTP, as any integrator does. Never prints a secret but a new API key, once.
// Used by: node/main. Blocks until the command is done; one thread.
#pragma once

namespace mailherd::ctl {

/// `argv[0]` is the word "ctl" (or the program). Returns the exit code: 0 done, 1 failed, 2 wrong usage or configuration (one line on
/// stderr: what is wrong, where, how to mend it).
int run(int argc, char** argv);

}  // namespace mailherd::ctl
