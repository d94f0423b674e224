// applets/agent_client.h — a connection to a target's agent for a command that stays in the foreground:
// no programs, no hook, the same way to the agent and back to it as in a session.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <vector>

#include "applets/command_log.h"
#include "applets/config/config.h"
#include "applets/intproxy/agent_link.h"
#include "applets/intproxy/agent_source.h"
#include "applets/intproxy/reconnect.h"
#include "applets/progress.h"
#include "net/error.h"
#include "net/loop.h"

namespace mirrord {

class AgentClient {
 public:
  struct Handlers {
    std::move_only_function<void(const Error& why)> lost;  // for good
    std::move_only_function<void(const Error& why)> interrupted;
    std::move_only_function<void()> restored;
  };

  explicit AgentClient(net::Loop& loop) : loop_(loop) {}
  ~AgentClient();
  AgentClient(const AgentClient&) = delete;
  AgentClient& operator=(const AgentClient&) = delete;

  // Runs the loop until the agent is ready; the handlers hold from then on. Call once, while the
  // process has one thread.
  Status open(const config::ResolvedConfig& config, Progress& progress, const CommandLog& log,
              Handlers handlers);
  [[nodiscard]] intproxy::AgentLink& link() { return *link_; }
  // Says goodbye; then the agent ends, unless it has other clients.
  void leave();

 private:
  Status wait_until_ready(std::chrono::milliseconds timeout);

  net::Loop& loop_;
  Handlers handlers_;
  bool is_ready_ = false;
  std::unique_ptr<intproxy::AgentProcess> process_;
  std::unique_ptr<intproxy::AgentLink> link_;
  std::unique_ptr<intproxy::AgentConnector> connector_;  // where nothing is reconnected
  std::unique_ptr<intproxy::Reconnector> reconnector_;   // goes before the link, which it uses
};

}  // namespace mirrord
