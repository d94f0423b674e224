// applets/agent/redirect/claimed.h — one agent per port: two would give each other's connections back and forth.
#pragma once

#include <memory>

#include "applets/agent/redirect/redirector.h"

namespace mirrord::agent {

// A redirector of ports that no other agent has in this network namespace. The claim is the name of a UNIX socket
// there, so it ends with its agent however that ends. One whose owner is about to end is waited for.
[[nodiscard]] std::unique_ptr<Redirector> with_claims(net::Loop& loop,
                                                      std::unique_ptr<Redirector> inner);

}  // namespace mirrord::agent
