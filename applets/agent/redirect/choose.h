// applets/agent/redirect/choose.h — which way of redirecting connections the agent takes.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "applets/agent/redirect/redirector.h"

namespace mirrord::agent {

// MIRRORD_AGENT_REDIRECT: "auto" (also without a value), "socket-lookup", "nftables" or "nftables-guard". To be called
// while the agent has its privileges and one thread; what it returns makes the redirector in the
// network namespace of its caller. Auto takes the first way that works there, and fails with the
// reasons of all.
[[nodiscard]] std::function<Result<std::unique_ptr<Redirector>>(Redirector::Accepted)>
redirector_maker(net::Loop& loop, std::string_view chosen);

}  // namespace mirrord::agent
