// applets/agent/redirect/netns_name.h — names that one process at a time can have in a network namespace.
#pragma once

#include <string_view>

#include "net/error.h"
#include "net/fd.h"

namespace mirrord::agent {

// Holds the name while the descriptor is open, however its process ends: an abstract UNIX socket (unix(7)) in the
// namespace of the calling thread. Fails with EADDRINUSE when somebody else has it.
[[nodiscard]] Result<Fd> hold_name(std::string_view name);

}  // namespace mirrord::agent
