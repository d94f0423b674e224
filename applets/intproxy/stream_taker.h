// applets/intproxy/stream_taker.h — streams to an agent that another process of mirrord holds: the client of
// stream_server.h.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "applets/intproxy/agent_connector.h"
#include "net/error.h"
#include "net/loop.h"

namespace mirrord::intproxy {

struct StreamTaking {
  std::unique_ptr<AgentConnector> connector;
  bool can_reopen = false;  // else there is one stream, the first
};

// Connects to the server's socket and waits for its first packet, for `timeout` at most.
Result<StreamTaking> take_streams(net::Loop& loop, const std::string& path,
                                  std::chrono::milliseconds timeout);

}  // namespace mirrord::intproxy
