// applets/cluster_request.h — what a configuration says about a session in a cluster.
#pragma once

#include "applets/command_log.h"
#include "applets/config/config.h"
#include "k8s/agent_session.h"
#include "net/error.h"

namespace mirrord {

// Reads the kubeconfig and gets credentials: an exec plugin runs here, where it may talk to the
// user. The credentials stay in the result. Call while the process has one thread.
Result<k8s::AgentSessionRequest> cluster_request(const config::ResolvedConfig& config,
                                                 const CommandLog& log);

// Whether a session without a target has a cluster to run in: some kubeconfig is set or is there.
bool has_cluster(const config::ResolvedConfig& config);

}  // namespace mirrord
