// applets/agent/redirect/nftables.h — redirection by address translation (nftables, Linux 5.2).
//
// A table of the agent's own, which goes when the agent is gone, however it went: removed by the kernel
// (NFT_TABLE_F_OWNER), or on older kernels by a small process that waits for that. The first packet of a connection decides: what is established stays with the
// target, and redirected connections end with the agent.
#pragma once

#include "applets/agent/redirect/redirector.h"

namespace mirrord::agent {

enum class TableOwner {
  kSocket,  // Linux 5.12
  kGuard,   // killed together with the agent, it leaves the table to the next agent
};

// In force in the network namespace of the calling thread; fails where it cannot be put into force.
[[nodiscard]] Result<std::unique_ptr<Redirector>> make_nftables(net::Loop& loop,
                                                                Redirector::Accepted accepted,
                                                                TableOwner owner);

}  // namespace mirrord::agent
