// applets/intproxy/listening_sockets.h — which sockets of this machine listen, by the kernel's word.
#pragma once

#include <cstdint>
#include <unordered_set>

#include "net/error.h"

namespace mirrord::intproxy {

// Inodes of all TCP sockets of this network namespace that listen: by NETLINK_SOCK_DIAG, which walks
// those alone, else from /proc/net. Needs no privilege.
Result<std::unordered_set<std::uint64_t>> listening_sockets();

}  // namespace mirrord::intproxy
