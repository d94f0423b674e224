// k8s/agent_settings.h — what the configuration's `agent.*` says about the agent's pod.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "k8s/json.h"

namespace mirrord::k8s {

using StringPairs = std::vector<std::pair<std::string, std::string>>;

// Parts that are absent are left to the API server, or to the agent's own default. The JSON parts
// are in the form of the Kubernetes API.
struct AgentSettings {
  std::string image;
  std::string image_pull_policy = "IfNotPresent";
  std::vector<std::string> image_pull_secrets;
  std::string name_space;  // empty: see agent_name_space()
  bool ephemeral = false;  // a container in the target's pod instead of a job
  bool bare_pod = false;   // a pod without a job that owns it
  bool privileged = false;
  std::vector<std::string> disabled_capabilities;  // "NET_ADMIN", …

  std::uint32_t ttl_seconds = 1;  // a finished job stays this long
  std::uint32_t communication_timeout_seconds = 30;
  std::uint32_t startup_timeout_seconds = 60;

  StringPairs labels, annotations, node_selector;
  std::optional<Json> tolerations;       // array
  std::optional<Json> resources;         // {requests, limits, claims}
  std::optional<Json> security_context;  // {appArmorProfile, seccompProfile}
  std::string service_account, priority_class;
  bool disable_mesh_sidecar_injection = true;
  bool exclude_from_mesh = false;

  // Handed to the agent by environment variables.
  std::string log_level = "info";
  bool json_log = false;
  bool flush_connections = true;
  std::uint64_t max_body_buffer_size = 65535;
  std::uint64_t max_body_buffer_timeout = 1000;
  std::uint64_t http_detection_timeout = 2;
  std::uint64_t jaq_time_limit = 1;
  std::optional<bool> nftables;
  std::optional<std::uint32_t> dns_attempts, dns_timeout_seconds;
  std::string metrics;
  bool inject_headers = false;
  std::optional<bool> clean_iptables_on_start;
  bool external_ip_fix = true;
  bool override_cache_control = true;
};

}  // namespace mirrord::k8s
