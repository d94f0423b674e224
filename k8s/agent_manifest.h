// k8s/agent_manifest.h — the agent as the objects that the API server is asked to create.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "k8s/agent_settings.h"
#include "k8s/json.h"
#include "k8s/resolve_target.h"
#include "net/error.h"

namespace mirrord::k8s {

enum class AgentKind { kJob, kPod, kEphemeral };

inline constexpr char kAgentContainer[] = "mirrord-agent";  // in a job's or bare pod

// All that the manifests depend on. plan_agent() makes one.
struct AgentPlan {
  AgentSettings settings;
  AgentKind kind = AgentKind::kJob;
  std::optional<TargetPod> target;  // none: targetless
  std::string name;                 // of the job, the bare pod or the ephemeral container
  std::string name_space;           // where the agent goes
  std::uint16_t port = 0;
  std::uint32_t group_id = 0;
  std::string node_host_name;   // kubernetes.io/hostname of the target's node; empty: unknown
  bool takes_traffic = false;   // incoming traffic is stolen or mirrored: needs NET_ADMIN
  std::string tls_certificate;  // PEM that the agent trusts and asks its client for; empty: no TLS
  std::uint64_t idle_ttl_seconds = 0;  // the agent stays this long without a client
  std::uint32_t deadline_seconds = 0;  // the job ends then in any case; 0: never
};

struct AgentPlanRequest {
  AgentSettings settings;
  std::optional<TargetPod> target;
  std::string target_name_space;  // configured; empty: none is
  std::string client_name_space;  // the context's
  bool takes_traffic = false;
  std::string tls_certificate;
  std::uint64_t idle_ttl_seconds = 0;
};

// Chooses name, port, group and namespace. Error: an ephemeral agent without a target.
Result<AgentPlan> plan_agent(AgentPlanRequest request);

// What a plan loses by settings such as disabled_capabilities, and what in them has no effect: one
// sentence each.
std::vector<std::string> plan_warnings(const AgentPlan& plan);

// Whether `image` is the original's agent, which needs more of the pod than ours.
bool is_original_image(std::string_view image);

Json job_manifest(const AgentPlan& plan);
Json pod_manifest(const AgentPlan& plan);
Json ephemeral_container(const AgentPlan& plan);

}  // namespace mirrord::k8s
