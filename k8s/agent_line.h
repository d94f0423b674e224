// k8s/agent_line.h — the connection to an agent's port in a pod, by port-forward, under TLS where the
// agent knows our certificate.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "k8s/api_client.h"
#include "k8s/port_forward.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/tls.h"

namespace mirrord::k8s {

// One line at a time. Lives on the client's loop.
class AgentLine {
 public:
  // `identity` is what the agent will see of us, under TLS; none: the line stays plain.
  AgentLine(ApiClient& client, std::optional<net::TlsIdentity> identity);
  ~AgentLine();
  AgentLine(const AgentLine&) = delete;
  AgentLine& operator=(const AgentLine&) = delete;

  // Connects, again and again with short pauses while nobody listens there: an agent that has just
  // been started needs a moment. Runs the loop. `give_up` is asked often; after attempts that failed
  // `still_possible` says whether there is any use in another one.
  Result<Fd> connect(const PodPort& target, std::chrono::milliseconds limit,
                     const std::function<bool()>& give_up,
                     const std::function<Status()>& still_possible);

  // The same from callbacks, for an agent that may not have begun yet: goes on by itself until
  // `is_answered`, or until connect() takes over.
  void begin(const PodPort& target);
  [[nodiscard]] bool is_answered() const;

  // Ends the line.
  void drop();
  // The same after its user has closed the socket: what was written last, and the agent's own end,
  // come first. Runs the loop, for `limit` at most.
  void finish(std::chrono::milliseconds limit);

 private:
  struct Attempt;
  void try_once();
  Status start_attempt();
  void answered();
  void attempt_failed(Error why);

  ApiClient& client_;
  std::optional<net::TlsIdentity> identity_;
  std::shared_ptr<net::TlsContext> tls_;  // made for the first attempt
  PodPort target_;
  std::unique_ptr<Attempt> attempt_;
  std::optional<Error> last_failure_;
  int failures_ = 0;
  net::Timer pause_;
};

}  // namespace mirrord::k8s
