// applets/intproxy/address.h — the hook's form of addresses, the wire's and the system's.
#pragma once

#include <optional>

#include "net/address.h"
#include "proto/local.h"
#include "proto/outgoing.h"

namespace mirrord::intproxy {

// Nothing when the address is not IP, or its length does not fit.
std::optional<net::Endpoint> endpoint_of(const local::Address& address);
local::Address to_local(const net::Endpoint& endpoint);

// IP, UNIX path or abstract name; nothing for what cannot be sent.
std::optional<proto::SocketAddress> to_wire(const local::Address& address);
// An unnamed UNIX socket becomes one with an empty path.
local::Address to_local(const proto::SocketAddress& address);

}  // namespace mirrord::intproxy
