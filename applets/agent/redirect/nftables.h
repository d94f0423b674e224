// applets/agent/redirect/nftables.h — redirection by address translation (nftables, Linux 5.12).
//
// A table of the agent's own, which the kernel removes when the agent is gone, however it went
// (NFT_TABLE_F_OWNER). The first packet of a connection decides: what is established stays with the
// target, and redirected connections end with the agent.
#pragma once

#include "applets/agent/redirect/redirector.h"

namespace mirrord::agent {

// In force in the network namespace of the calling thread; fails where it cannot be put into force.
[[nodiscard]] Result<std::unique_ptr<Redirector>> make_nftables(net::Loop& loop,
                                                                Redirector::Accepted accepted);

}  // namespace mirrord::agent
