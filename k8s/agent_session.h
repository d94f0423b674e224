// k8s/agent_session.h — a session's agent in a cluster: from the target's name to a connected stream,
// to further streams when one has broken, to the end of it all.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "k8s/agent_settings.h"
#include "k8s/agent_start.h"
#include "k8s/client_config.h"
#include "k8s/target_path.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::k8s {

struct AgentSessionRequest {
  ClientConfig client;
  TargetPath target;
  std::string target_name_space;  // empty: the context's
  AgentSettings settings;
  bool takes_traffic = false;  // connections that reach the target are wanted
  // The agent waits this long for a client that has lost its stream.
  std::uint64_t idle_seconds = 30;
};

// A stream to an agent that has not been spoken to yet.
struct AgentSessionStream {
  Fd socket;
  std::string peer_name;  // "the agent in pod shop/web-1"
  std::string notice;     // for the user, when the session has moved; else empty
};

// Lives on the thread of its loop; calls run that loop until they are done, so none may come from
// one of its callbacks. Between calls the loop must run: streams and watches need it.
class AgentSession {
 public:
  struct Handlers {
    StartProgress progress;  // of open()
    // A part of open() that has ended, and how long it took.
    std::function<void(std::string_view part, std::chrono::microseconds time)> timed;
    std::function<bool()> is_interrupted;  // looked at often; true gives the call up
    // From the loop, while a stream is in use: a line for the user; and that the stream should be
    // given up for another one, because the target is going away.
    std::function<void(std::string line)> notice;
    std::function<void(std::string why)> leave;
  };

  AgentSession(net::Loop& loop, AgentSessionRequest request, Handlers handlers);
  ~AgentSession();  // deletes nothing: see end()
  AgentSession(const AgentSession&) = delete;
  AgentSession& operator=(const AgentSession&) = delete;

  // Resolves the target, starts the agent, connects. On an error nothing is left in the cluster.
  Result<AgentSessionStream> open();

  // Another stream: to the same agent if it still runs, else to a new one for the same target. The
  // previous stream ends. kNotFound and kPermission are final, other errors may be tried again.
  Result<AgentSessionStream> reopen(std::chrono::milliseconds limit);

  // The end of a session: deletes what was created. Waits for the API server a few seconds at most.
  void end();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mirrord::k8s
