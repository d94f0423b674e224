// applets/intproxy/tls_connector.h — TLS around the streams of another source of streams.
#pragma once

#include <memory>

#include "applets/intproxy/agent_connector.h"
#include "net/error.h"
#include "net/loop.h"
#include "net/tls_context.h"

namespace mirrord::intproxy {

// An agent that was given `identity`'s certificate plays the TLS client on its port and serves only
// who proves to have the key: on every stream of `inner` we are the TLS server. A stream counts as
// open when the handshake is done.
Result<std::unique_ptr<AgentConnector>> make_tls_connector(net::Loop& loop,
                                                           std::unique_ptr<AgentConnector> inner,
                                                           const net::TlsIdentity& identity);

}  // namespace mirrord::intproxy
