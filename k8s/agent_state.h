// k8s/agent_state.h — what the objects of a starting agent say: going on, running, or never going to.
// Nothing here asks a server.
#pragma once

#include <string>
#include <string_view>

#include "k8s/agent_manifest.h"
#include "k8s/json.h"
#include "net/error.h"

namespace mirrord::k8s {

enum class Outlook { kWaiting, kRunning, kFailed };

struct Verdict {
  Outlook outlook = Outlook::kWaiting;
  std::string what;      // kWaiting: what it waits for; kFailed: why, in the cluster's words
  std::string hint;      // kFailed
  bool has_log = false;  // kFailed: the container ran, so it may have left last words
};

// `container` is the agent's in `pod`, ephemeral or not.
Verdict judge_pod(JsonView pod, const AgentPlan& plan, std::string_view container);

// An event of the job. A job tries again whatever its pods were refused for; most refusals last.
Verdict judge_job_event(JsonView event, const AgentPlan& plan);

// An event of the agent's pod. What kept `container` from being made or started is said here sooner
// than in the pod's state.
Verdict judge_pod_event(JsonView event, const AgentPlan& plan, std::string_view container);

// Whether an event says that `container` has been started: it comes sooner than the pod's state.
bool says_started(JsonView event, std::string_view container);

// Whether a warning is about the agent, and not about another container of its pod.
bool is_warning_of(JsonView event, const AgentPlan& plan, std::string_view container);

// "REASON: message".
std::string event_text(JsonView event);

// What to do about a refusal in these words by the API server, an admission plugin or a webhook.
std::string refusal_hint(std::string_view message, const AgentPlan& plan);

// The image of `plan` could not be had.
std::string image_hint(const AgentPlan& plan);

}  // namespace mirrord::k8s
