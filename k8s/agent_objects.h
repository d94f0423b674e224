// k8s/agent_objects.h — the requests that make the agent, look at it and remove it.
#pragma once

#include <chrono>
#include <string>

#include "k8s/agent_manifest.h"
#include "k8s/agent_start.h"
#include "k8s/api_client.h"

namespace mirrord::k8s {

// ".../namespaces/NS/RESOURCE" of what a plan creates: jobs or pods; for an ephemeral one the pods.
std::string collection_path(AgentKind kind, std::string_view name_space);

// Creates the job, pod or ephemeral container. That it exists already is success: an earlier try
// whose answer was lost. The error is in the server's words, with a hint.
Status create_agent(ApiClient& client, const AgentPlan& plan, std::chrono::milliseconds limit);

// The label kubernetes.io/hostname of the target's node; empty when it is unknown, may not be read,
// or belongs to a node that is none.
ApiClient::Call begin_node(ApiClient& client, const std::string& node);
std::string host_name_of(const ApiResult<Json>& node);

// The container's last lines, or nothing.
std::string log_tail(ApiClient& client, const StartedAgent& agent);

// Why a pod like the job's may not be created: asked without creating one. Nothing when it may, or
// when that may not be asked.
ApiClient::Call begin_rehearsal(ApiClient& client, const AgentPlan& plan);
std::string rehearsal_refusal(const ApiResult<Json>& answer);

// Deletes bare pods of agents that have ended: nobody else does when their client was killed. Goes on
// behind the caller's back while the client lives; failures do not matter.
void sweep_ended_pods(ApiClient& client, const std::string& name_space);

}  // namespace mirrord::k8s
