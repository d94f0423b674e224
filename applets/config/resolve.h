// applets/config/resolve.h — fills the typed configuration from its sources, and verifies it.
#pragma once

#include "applets/config/config.h"
#include "applets/config/values.h"

namespace mirrord::config {

// Everything but the key. Problems go into `values`.
ResolvedConfig resolve(Values& values, const Environment& environment);

// The parts that are about a cluster: `agent.*`, `kubeconfig` and their kin.
k8s::AgentSettings resolve_agent_settings(Values& values);
k8s::ClientConfigChoice resolve_cluster(Values& values, const Environment& environment);

// feature.network.incoming.http_filter. Expressions that do not compile are errors at their keys.
std::optional<proto::HttpFilter> resolve_http_filter(Values& values);

// feature.db_branches with `location` local: the servers, and what lets programs find them.
void resolve_local_redis(ResolvedConfig& config, Values& values);

// Conflicts between keys, patterns and filters that do not parse; adds warnings.
// `is_target_final`: see LoadRequest.
void verify(ResolvedConfig& config, Values& values, bool is_target_final);
// The same for the keys that only an operator acts on.
void verify_for_operator(Values& values);

}  // namespace mirrord::config
