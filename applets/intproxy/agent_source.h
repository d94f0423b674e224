// applets/intproxy/agent_source.h — gets a stream to the agent: given, by TCP, or to a process that
// is spawned for this session.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "applets/intproxy/agent_connector.h"
#include "applets/intproxy/start.h"
#include "applets/log/log.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::intproxy {

// An agent that is our child. What it prints is kept for error messages and goes to the log.
class AgentProcess {
 public:
  AgentProcess(net::Loop& loop, pid_t pid, Fd output);
  ~AgentProcess();  // the agent's stream must be closed by then; waits shortly, then kills
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  void log_to(log::Log& log) { log_ = &log; }
  void stop_log() { log_ = nullptr; }
  // Its last words: the reason of a failed start. Waits a moment for its end.
  std::string last_words();

 private:
  void read_output();

  pid_t pid_;
  Fd pidfd_;
  Fd output_;
  std::string tail_;  // the last few kilobytes
  std::string line_;  // of the log, not complete yet
  log::Log* log_ = nullptr;
  std::unique_ptr<net::FdWatcher> watcher_;
};

struct AgentStream {
  Fd socket;
  std::string peer_name;  // for messages: "the agent at 10.0.0.1:61337"
  std::unique_ptr<AgentProcess> process;
  std::unique_ptr<AgentConnector> connector;  // none: the stream cannot be had a second time
};

// The error of an agent that could not start: the first line of its last words, the next one as the hint.
Error start_failure(std::string_view last_words);

// What is said on the way; all optional.
struct AgentSourceReport {
  StartProgress progress;
  std::function<void(std::string_view part, std::chrono::microseconds time)> timed;
};

// Gives up when the process `root` ends (0: none), where the way to the agent may take long.
Result<AgentStream> open_agent(net::Loop& loop, AgentSource source,
                               std::chrono::milliseconds timeout, AgentSourceReport report = {},
                               pid_t root = 0);

}  // namespace mirrord::intproxy
