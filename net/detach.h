// net/detach.h — takes a forked process away from the terminal, the pipes and the signals of its user.
#pragma once

#include <vector>

namespace mirrord::net {

// The standard descriptors become /dev/null; of the others only `kept` stay open (-1 is none). Signals
// have their defaults and are not blocked, but for SIGPIPE, which is ignored.
void detach(std::vector<int> kept);

}  // namespace mirrord::net
