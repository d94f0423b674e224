// applets/intproxy/agent_connector.h — a source of streams that outlives each of them: what a session
// asks for a new stream when the one to its agent has broken.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "net/error.h"
#include "net/fd.h"

namespace mirrord::intproxy {

// One connected stream to an agent that has not been spoken to.
struct ReopenedStream {
  Fd socket;
  std::string peer_name;  // for messages: "the agent in pod shop-1"
  std::string notice;  // something that the user should know, told once it works: "… in pod shop-2"
};

// Lives on the loop of the session; a source that has a thread of its own hands over by Loop::post.
//
// The session takes turns with it:
//   reopen → done(stream) → handshake → accepted() … the stream breaks → reopen → …
//   reopen → done(error)  → a pause   → reopen → …  until it works or the time is over (the setting
//                                                   internal_proxy.reconnect_timeout)
//   reopen → done(stream) → the handshake fails → a pause → reopen → …
class AgentConnector {
 public:
  using Done = std::move_only_function<void(Result<ReopenedStream>)>;

  // What the source says of its own accord, on the loop's thread; never from inside reopen().
  struct Events {
    // A line for the user's terminal, at once: "deployment shop was redeployed".
    std::move_only_function<void(std::string line)> notice;
    // The present stream is given up, though it may still work: reopen() is called next. `why` is
    // for the log.
    std::move_only_function<void(std::string why)> leave;
  };

  virtual ~AgentConnector() = default;  // gives up what is under way: no call of `done` any more

  // Tries once to get a stream: to the same agent, or to another one that has the same target. `done`
  // is called once, later, on the loop's thread; within about `limit`. An error of the code
  // kNotFound, kPermission, kConfig or kUsage is final (the target is gone for good, and the like);
  // after any other one reopen() is called again. One call at a time.
  virtual void reopen(std::chrono::milliseconds limit, Done done) = 0;
  // The handshake on the latest stream has succeeded. Until then the agent may be gone although the
  // stream could be opened (a port-forward is agreed on before anybody listens).
  virtual void accepted() {}
  // Whether reopen() may give the stream of another agent: then an agent that says why it ends
  // (its target has ended) is a reason to call it, else that is the end of the session.
  [[nodiscard]] virtual bool replaces_agents() const { return false; }
  // From the session, once, before anything else.
  virtual void set_events(Events /*events*/) {}
  // Go on trying for at least this long after a break, for a source that has to start an agent.
  // Programs' calls wait as long.
  [[nodiscard]] virtual std::chrono::milliseconds reopen_limit() const { return {}; }
  // The session has closed its stream and ends. What it wrote last may still have to leave: runs the
  // loop until it has, for `limit` at most. The last call.
  virtual void finish(std::chrono::milliseconds /*limit*/) {}
};

}  // namespace mirrord::intproxy
