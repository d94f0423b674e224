// k8s/start_deadline.h — a job whose pod never runs would stay when its client is killed: it gets an
// end of its own, which is taken back once the agent serves.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "k8s/agent_start.h"
#include "k8s/api_client.h"

namespace mirrord::k8s {

// Lives on the client's loop. Only for those who may change jobs: who may not, sets no end, because
// nobody could take it back.
class StartDeadline {
 public:
  // Asks the API server at once whether jobs in `name_space` may be changed.
  StartDeadline(ApiClient& client, std::string name_space);
  ~StartDeadline();
  StartDeadline(const StartDeadline&) = delete;
  StartDeadline& operator=(const StartDeadline&) = delete;

  // For the manifest: how long a job in `name_space` may last; 0: for ever. Waits for the answer.
  std::uint32_t seconds(const std::string& name_space, std::uint32_t startup_timeout);
  // The agent serves. Goes on by itself, until it has worked or this object is gone.
  void lift(const StartedAgent& agent);

 private:
  struct Lifting;
  std::string name_space_;
  ApiClient::Call question_;
  ApiClient& client_;
  bool is_set_ = false;
  std::shared_ptr<Lifting> lifting_;
};

}  // namespace mirrord::k8s
