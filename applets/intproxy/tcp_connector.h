// applets/intproxy/tcp_connector.h — streams to an agent that listens at an address.
#pragma once

#include <memory>
#include <string>

#include "applets/intproxy/agent_connector.h"
#include "net/error.h"
#include "net/loop.h"

namespace mirrord::intproxy {

// `address` is HOST:PORT; HOST an address, a bracketed IPv6 address or a name, looked up each time.
// The error says what is wrong with it.
Result<std::unique_ptr<AgentConnector>> make_tcp_connector(net::Loop& loop, std::string address);

}  // namespace mirrord::intproxy
