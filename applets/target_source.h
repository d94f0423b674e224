// applets/target_source.h — from the configured target to where its agent is, or how it is started.
#pragma once

#include "applets/command_log.h"
#include "applets/config/config.h"
#include "applets/intproxy/start.h"
#include "net/error.h"

namespace mirrord {

// The target is in a cluster, or there is none and a cluster to run the agent in.
bool is_in_cluster(const config::ResolvedConfig& config);

// Of a target that is not in a cluster.
intproxy::AgentSource local_source(const config::Target& target);

// Of any target. In a cluster the kubeconfig is read and an exec plugin may run: call while the process
// has one thread.
Result<intproxy::AgentSource> target_source(const config::ResolvedConfig& config,
                                            const CommandLog& log);

}  // namespace mirrord
