// actors/atoms: every atom of the house, at most ten characters each (CAF 0.17).
#pragma once

#include <caf/atom.hpp>

namespace mailherd::actors {

using tick_atom = caf::atom_constant<caf::atom("tick")>;          ///< a timer the actor owns has fired
using changed_atom = caf::atom_constant<caf::atom("changed")>;    ///< rows of a channel changed: read them again
using stop_atom = caf::atom_constant<caf::atom("stop")>;          ///< finish what is in hand, then end
using claimed_atom = caf::atom_constant<caf::atom("claimed")>;    ///< this node owns these channels now
using revoked_atom = caf::atom_constant<caf::atom("revoked")>;    ///< this node owns these channels no longer
using ended_atom = caf::atom_constant<caf::atom("ended")>;        ///< what was to end has ended
using lost_atom = caf::atom_constant<caf::atom("lost")>;          ///< a fenced write showed that the lease is elsewhere
using drain_atom = caf::atom_constant<caf::atom("drain")>;        ///< hand over everything, take nothing more
using commit_atom = caf::atom_constant<caf::atom("commit")>;      ///< write one channel's part of a group commit
using token_atom = caf::atom_constant<caf::atom("token")>;        ///< give me an access token
using login_atom = caf::atom_constant<caf::atom("login")>;        ///< may I try to sign in?
using served_atom = caf::atom_constant<caf::atom("served")>;      ///< a healthy channel reports a success
using test_atom = caf::atom_constant<caf::atom("test")>;          ///< try a connection
using hand_atom = caf::atom_constant<caf::atom("hand")>;            ///< a step of a handover between nodes
using session_atom = caf::atom_constant<caf::atom("session")>;    ///< an event of a network session
using fed_atom = caf::atom_constant<caf::atom("fed")>;            ///< a tenant's feed has grown
using hooks_atom = caf::atom_constant<caf::atom("hooks")>;        ///< endpoints of webhooks changed

}  // namespace mailherd::actors
