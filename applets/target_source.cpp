// applets/target_source.cpp — one switch over the kinds of targets.
#include "applets/target_source.h"

#include <memory>
#include <string>
#include <utility>

#include "applets/cluster_request.h"

namespace mirrord {

bool is_in_cluster(const config::ResolvedConfig& config) {
  return config.target.kind == config::TargetKind::kKubernetes ||
         (config.target.kind == config::TargetKind::kTargetless && has_cluster(config));
}

intproxy::AgentSource local_source(const config::Target& target) {
  intproxy::AgentSource source;
  switch (target.kind) {
    case config::TargetKind::kAddress:
      source.address = target.address;
      break;
    case config::TargetKind::kProcess:
      source.command = {"agent", "process", "--pid", std::to_string(target.pid)};
      break;
    case config::TargetKind::kContainer:
      source.command = {"agent", "container", target.name};
      break;
    case config::TargetKind::kDemo:
      source.command = {"demo", "--internal-agent"};
      break;
    case config::TargetKind::kTargetless:
    case config::TargetKind::kKubernetes:
      source.command = {"agent", "targetless"};
      break;
  }
  return source;
}

Result<intproxy::AgentSource> target_source(const config::ResolvedConfig& config,
                                            const CommandLog& log) {
  if (!is_in_cluster(config)) {
    return local_source(config.target);
  }
  MIRRORD_TRY(request, cluster_request(config, log));
  intproxy::AgentSource source;
  source.cluster = std::make_unique<k8s::AgentSessionRequest>(std::move(request));
  return source;
}

}  // namespace mirrord
