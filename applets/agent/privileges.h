// applets/agent/privileges.h — gives up what the agent does not need once it serves.
#pragma once

namespace mirrord::agent {

// Keeps the capabilities that file requests use (reading and changing files of any owner, other
// processes' entries in /proc) and drops all others for good. Without any this does nothing.
void drop_privileges();

}  // namespace mirrord::agent
