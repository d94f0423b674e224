// applets/intproxy/stream_server.h — holds the way to an agent for a session in a container, and hands it the streams
// through a UNIX socket: as open descriptors, so that no byte passes through here.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "applets/intproxy/agent_source.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/listener.h"
#include "net/loop.h"

namespace mirrord::intproxy {

class StreamServer {
 public:
  // What the user should know of the agent, later.
  using Notice = std::function<void(const std::string& line)>;

  StreamServer(net::Loop& loop, AgentStream stream, Notice notice);
  ~StreamServer();
  StreamServer(const StreamServer&) = delete;
  StreamServer& operator=(const StreamServer&) = delete;

  // One client at a time: a new one takes the place of the one before.
  Status listen(const std::string& path);
  // Of an agent that is our child: the reason of its end.
  std::string last_words();
  // The session has ended: its last words leave, within `limit`. The last call.
  void finish(std::chrono::milliseconds limit);

 private:
  void accept_client(Fd socket);
  void on_packet();
  void reopen(std::chrono::milliseconds limit);
  void send(const Result<ReopenedStream>& stream);
  void drop_client();

  net::Loop& loop_;
  AgentStream stream_;  // its socket: until it has been handed out
  Notice notice_;
  std::unique_ptr<net::Listener> listener_;
  Fd client_;
  bool is_reopening_ = false;
  std::unique_ptr<net::FdWatcher> receiving_;  // after the descriptor: it goes first
};

}  // namespace mirrord::intproxy
