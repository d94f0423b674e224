// applets/cluster_request.cpp — from the configuration to a request that needs no more of the user.
#include "applets/cluster_request.h"

#include <unistd.h>

#include <utility>

#include "applets/config/load.h"
#include "k8s/client_config.h"

namespace mirrord {

Result<k8s::AgentSessionRequest> cluster_request(const config::ResolvedConfig& config,
                                                 const CommandLog& log) {
  k8s::AgentSessionRequest request;
  MIRRORD_TRY(client, logged_client_config(config.cluster, log));
  if (client.credentials) {
    if (auto credentials = client.credentials(false); !credentials)
      return std::unexpected(std::move(credentials.error()));
  }
  request.client = std::move(client);
  request.target = config.target.path;
  request.target_name_space = config.target.name_space;
  request.settings = config.agent_pod;
  request.takes_traffic = config.network.incoming.mode != config::IncomingMode::kOff;
  request.idle_seconds = config.proxy.reconnect_timeout_seconds;
  return request;
}

bool has_cluster(const config::ResolvedConfig& config) {
  using config::process_environment;
  if (!config.cluster.kubeconfig_files.empty() || !config.cluster.context.empty())
    return true;
  if (!process_environment("KUBECONFIG").value_or("").empty() ||
      process_environment("KUBERNETES_SERVICE_HOST"))
    return true;
  const std::string home = process_environment("HOME").value_or("");
  return !home.empty() && ::access((home + "/.kube/config").c_str(), F_OK) == 0;
}

}  // namespace mirrord
