// k8s/agent_start.h — creates the agent in the cluster and waits until its container runs.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "k8s/agent_manifest.h"
#include "k8s/api_client.h"
#include "net/error.h"

namespace mirrord::k8s {

struct StartedAgent {
  AgentKind kind = AgentKind::kJob;
  std::string name_space;
  std::string name;  // of the job or bare pod; of the container when ephemeral
  std::string pod, container;
  std::uint16_t port = 0;
};

// What the user sees of the start. Subtasks do not nest: kDone ends the last kBegin.
enum class StartStep { kBegin, kDone, kWarning, kInfo };
using StartProgress = std::function<void(StartStep step, std::string_view text)>;

struct StartOptions {
  StartProgress progress;                // optional
  std::function<bool()> is_interrupted;  // optional; looked at often: true gives the start up
};

// Reports the warnings of the plan and of its target, then what is done. Waits on the client's loop,
// at most `plan.settings.startup_timeout_seconds`; not to be called from one of its callbacks.
// On success the agent's container has been started, perhaps a few milliseconds ago: a connection to
// its port that is refused should be tried again for a second or two, and `explain_silent_agent`
// says more if it stays so. On any failure what was created is deleted again, and the error has the
// cluster's own words.
Result<StartedAgent> start_agent(ApiClient& client, const AgentPlan& plan,
                                 const StartOptions& options = {});

// For an agent whose container ran but did not answer: its state and last log lines.
std::string explain_silent_agent(ApiClient& client, const StartedAgent& agent);

// At the end of a session: deletes the job or pod. An ephemeral container cannot be deleted; it
// ends by itself. An agent that is gone already is no error.
Status delete_agent(ApiClient& client, const StartedAgent& agent,
                    std::chrono::milliseconds limit = std::chrono::seconds(5));

}  // namespace mirrord::k8s
