// applets/intproxy/kubernetes_connector.h — the agent of a session in a cluster. All that concerns
// Kubernetes happens on a thread of its own, in the order in which it is written.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "applets/intproxy/agent_connector.h"
#include "k8s/agent_session.h"
#include "net/loop.h"

namespace mirrord::intproxy {

// Made, used and destroyed on the thread of the session's loop.
class KubernetesConnector final : public AgentConnector {
 public:
  // What is said while the agent starts.
  struct Start {
    k8s::StartProgress progress;
    std::function<void(std::string_view part, std::chrono::microseconds time)> timed;
  };

  KubernetesConnector(net::Loop& loop, k8s::AgentSessionRequest request);
  ~KubernetesConnector() override;  // deletes the agent; a few seconds at most

  // The first stream: finds the target, starts the agent. Runs the loop. Gives up, and leaves
  // nothing behind, when the process `root` ends (0: none).
  Result<ReopenedStream> open(Start start, pid_t root);

  void reopen(std::chrono::milliseconds limit, Done done) override;
  [[nodiscard]] bool replaces_agents() const override { return true; }
  void set_events(Events events) override;

 private:
  struct Shared;
  using Outcome = Result<k8s::AgentSessionStream>;
  using Job = std::move_only_function<Outcome(k8s::AgentSession& session)>;

  void work(k8s::AgentSessionRequest request);
  void submit(Job job, Done done);
  void end_worker();
  k8s::AgentSession::Handlers handlers();

  net::Loop& loop_;
  // What posts of the worker look at: they may come after this object is gone.
  std::shared_ptr<Shared> shared_;
  std::atomic<bool> is_ending_ = false;
  std::unique_ptr<net::Loop> worker_loop_;
  Job job_;        // the worker's: the next thing to do
  Done job_done_;  // called on the session's loop
  std::thread worker_;
};

}  // namespace mirrord::intproxy
