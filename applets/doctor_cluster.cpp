// applets/doctor_cluster.cpp — kubeconfig, API server, rights, Pod Security, target.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "applets/command_log.h"
#include "applets/doctor.h"
#include "k8s/api_client.h"
#include "k8s/client_config.h"
#include "k8s/resolve_target.h"
#include "k8s/target_path.h"
#include "net/loop.h"

namespace mirrord {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRequests = 5;  // for the latency
constexpr char kReviews[] = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

struct NameSpaces {
  std::string target, agent;
};

NameSpaces name_spaces(const config::ResolvedConfig& config, const std::string& current) {
  NameSpaces spaces;
  spaces.target = config.target.name_space.empty() ? current : config.target.name_space;
  const bool has_target = config.target.kind == config::TargetKind::kKubernetes;
  spaces.agent = config.agent_pod.ephemeral && has_target ? spaces.target
                 : !has_target                            ? spaces.target
                 : config.agent_pod.name_space.empty()    ? current
                                                          : config.agent_pod.name_space;
  return spaces;
}

std::string resource_text(const Permission& permission) {
  std::string text(permission.resource);
  if (!permission.subresource.empty()) {
    text += "/" + std::string(permission.subresource);
  }
  if (!permission.group.empty()) {
    text += " (" + std::string(permission.group) + ")";
  }
  return text;
}

k8s::Json review_of(const Permission& permission, const std::string& name_space) {
  using k8s::Json;
  Json attributes = Json::object({{"namespace", name_space},
                                  {"verb", permission.verb},
                                  {"group", permission.group},
                                  {"resource", permission.resource}});
  if (!permission.subresource.empty()) {
    attributes.set("subresource", permission.subresource);
  }
  return Json::object({{"apiVersion", "authorization.k8s.io/v1"},
                       {"kind", "SelfSubjectAccessReview"},
                       {"spec", Json::object({{"resourceAttributes", std::move(attributes)}})}});
}

// False: there is no use in asking more.
bool check_server(DoctorReport& report, k8s::ApiClient& client) {
  const std::string& server = client.config().server;
  const auto version = client.begin_get("/version").wait();
  if (!version) {
    report.failed("API server", version.error());
    return false;
  }
  report.ok("API server", server + ", Kubernetes " +
                              std::string((*version)["gitVersion"].text("of an unknown version")));
  double least = 0;
  double sum = 0;
  for (int i = 0; i < kRequests; ++i) {
    const auto begin = Clock::now();
    const auto again = client.begin_get("/version").wait();
    if (!again) {
      report.failed("latency of the API server", again.error());
      return true;
    }
    const double time = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    least = i == 0 ? time : std::min(least, time);
    sum += time;
  }
  char text[64];
  std::snprintf(text, sizeof text, "min=%.1fms, avg=%.1fms", least, sum / kRequests);
  report.ok("latency of the API server", text);
  return true;
}

// All questions travel together.
void check_permissions(DoctorReport& report, k8s::ApiClient& client,
                       const config::ResolvedConfig& config, const NameSpaces& spaces) {
  const std::vector<Permission> needed = permissions_needed(config);
  std::vector<k8s::ApiClient::Call> calls;
  for (const Permission& permission : needed) {
    const std::string& name_space = permission.is_target_name_space ? spaces.target : spaces.agent;
    calls.push_back(client.begin(
        {.method = "POST", .path = kReviews, .body = review_of(permission, name_space).dump()}));
  }
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const Permission& permission = needed[i];
    const std::string& name_space = permission.is_target_name_space ? spaces.target : spaces.agent;
    const std::string name =
        "permission: " + std::string(permission.verb) + " " + resource_text(permission);
    const std::string where = "in namespace " + name_space + ", " + std::string(permission.purpose);
    const auto answer = calls[i].wait();
    if (!answer) {
      report.failed(name, answer.error());
    } else if ((*answer)["status"]["allowed"].boolean()) {
      report.ok(name, where);
    } else {
      const std::string_view reason = (*answer)["status"]["reason"].text();
      report.add(
          {name, permission.is_required ? CheckState::kFailed : CheckState::kWarning,
           "not allowed " + where + (reason.empty() ? std::string() : ": " + std::string(reason)),
           "Give a role with it: docs/rbac.yaml is the whole of what a session needs."});
    }
  }
}

// A namespace that enforces a Pod Security level refuses the agent's pod.
void check_pod_security(DoctorReport& report, k8s::ApiClient& client,
                        const config::ResolvedConfig& config, const std::string& name_space) {
  constexpr std::string_view kName = "Pod Security of the agent's namespace";
  const auto found = client.begin_get("/api/v1/namespaces/" + k8s::escape(name_space)).wait();
  if (!found) {
    const bool is_absent = found.error().status == 404;
    report.add({std::string(kName), is_absent ? CheckState::kFailed : CheckState::kWarning,
                found.error().what,
                is_absent
                    ? "Name a namespace that exists: agent.namespace, target.namespace or the "
                      "context's."
                    : "It cannot be looked at; a refusal is told when the agent starts."});
    return;
  }
  const std::string_view level =
      (*found)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"].text("privileged");
  const bool has_target = config.target.kind == config::TargetKind::kKubernetes;
  const std::string detail = name_space + " enforces " + std::string(level);
  if (level == "privileged" || (level == "baseline" && !has_target)) {
    report.ok(std::string(kName), detail);
  } else if (config.agent_pod.ephemeral) {
    report.add({std::string(kName), CheckState::kWarning,
                detail + ": an ephemeral agent's capabilities may be refused",
                "List what it can do without in agent.disabled_capabilities."});
  } else {
    report.add({std::string(kName), CheckState::kFailed, detail + ": the agent's pod is refused",
                "Set agent.namespace to a namespace that allows privileged pods, or "
                "agent.ephemeral to true."});
  }
}

void check_target(DoctorReport& report, k8s::ApiClient& client,
                  const config::ResolvedConfig& config, const NameSpaces& spaces) {
  const auto target = k8s::resolve_target(client, config.target.path, spaces.target);
  if (!target) {
    report.failed("target", target.error());
    return;
  }
  report.ok("target", k8s::to_text(config.target.path) + " is container " + target->container +
                          " of pod " + target->name + " on node " + target->node);
  for (const std::string& warning : target->warnings) {
    report.add({"target", CheckState::kWarning, warning, {}});
  }
}

}  // namespace

std::vector<Permission> permissions_needed(const config::ResolvedConfig& config) {
  const bool has_target = config.target.kind == config::TargetKind::kKubernetes;
  const bool is_ephemeral = config.agent_pod.ephemeral && has_target;
  std::vector<Permission> needed;
  if (has_target) {
    const k8s::KindInfo* kind = k8s::find_kind(config.target.path.kind);
    if (kind != nullptr && kind->kind != k8s::TargetKind::kPod) {
      const std::string_view path = kind->api_path;  // "/apis/apps/v1", "/api/v1"
      const std::string_view group =
          path.starts_with("/apis/") ? path.substr(6, path.rfind('/') - 6) : std::string_view();
      needed.push_back({"get", group, kind->resource, "", true, true, "to find the target"});
    }
    for (const std::string_view verb : {"get", "list"}) {
      needed.push_back({verb, "", "pods", "", true, true, "to find the target's pod"});
    }
  }
  for (const std::string_view verb : {"get", "list", "watch"}) {
    needed.push_back({verb, "", "pods", "", false, true, "to wait for the agent"});
  }
  if (is_ephemeral) {
    needed.push_back({"patch", "", "pods", "ephemeralcontainers", true, true,
                      "to add the agent to the target's pod"});
  } else if (config.agent_pod.bare_pod) {
    needed.push_back({"create", "", "pods", "", false, true, "to start the agent"});
    needed.push_back({"delete", "", "pods", "", false, false, "to remove the agent at once"});
  } else {
    needed.push_back({"create", "batch", "jobs", "", false, true, "to start the agent"});
    needed.push_back({"list", "batch", "jobs", "", false, false, "to see why it does not start"});
    needed.push_back({"watch", "batch", "jobs", "", false, false, "to see why it does not start"});
    needed.push_back({"delete", "batch", "jobs", "", false, false, "to remove the agent at once"});
  }
  needed.push_back({"get", "", "pods", "portforward", false, true, "to connect to the agent"});
  needed.push_back({"create", "", "pods", "portforward", false, false,
                    "to connect to the agent, where the server is new"});
  needed.push_back({"get", "", "pods", "log", false, false, "to tell why the agent failed"});
  for (const std::string_view verb : {"list", "watch"}) {
    needed.push_back(
        {verb, "", "events", "", false, false, "to tell why the agent is kept waiting"});
  }
  return needed;
}

void check_cluster(DoctorReport& report, const config::ResolvedConfig& config) {
  const auto log = open_command_log("doctor");
  auto access = log ? logged_client_config(config.cluster, *log)
                    : Result<k8s::ClientConfig>(std::unexpected(log.error()));
  if (!access) {
    report.failed("kubeconfig", access.error());
    return;
  }
  const std::string current = access->name_space;
  report.ok("kubeconfig", (access->context.empty() ? std::string("the service account of this pod")
                                                   : "context " + access->context) +
                              ", namespace " + current);
  if (access->credentials) {
    if (const auto credentials = access->credentials(false); !credentials) {
      report.failed("credentials", credentials.error());
      return;
    }
    report.ok("credentials", "there are some");
  }
  net::Loop loop;
  k8s::ApiClient client(loop, std::move(*access));
  if (!check_server(report, client)) {
    return;
  }
  const NameSpaces spaces = name_spaces(config, current);
  check_permissions(report, client, config, spaces);
  check_pod_security(report, client, config, spaces.agent);
  if (config.target.kind == config::TargetKind::kKubernetes) {
    check_target(report, client, config, spaces);
  }
}

}  // namespace mirrord
