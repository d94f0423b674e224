// applets/abandoned_sessions.h — clears away what a session leaves when its intproxy is killed.
#pragma once

#include <string>

namespace mirrord {

// Removes the session directories below `parent` whose intproxy no longer listens. A session that
// runs, or that is just being made, is left alone. Failures are of no consequence.
void remove_abandoned_sessions(const std::string& parent);

}  // namespace mirrord
