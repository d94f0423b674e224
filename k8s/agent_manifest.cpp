// k8s/agent_manifest.cpp — the agent's job, pod and ephemeral container, in the original's shape: the
// same fields in the same order, with fewer privileges unless the image is the original's.
#include "k8s/agent_manifest.h"

#include <algorithm>

namespace mirrord::k8s {
namespace {

const char* word(bool value) {
  return value ? "true" : "false";
}

class EnvironmentList {
 public:
  void add(std::string_view name, const std::string& value) {
    list_.push(Json::object({{"name", name}, {"value", value}}));
    names_.emplace_back(name);
  }
  void add(std::string_view name, bool value) { add(name, std::string(word(value))); }
  void add(std::string_view name, std::uint64_t value) { add(name, std::to_string(value)); }
  // Declared variables of a container, before ours; those of the same name are left out.
  Json after(JsonView declared) {
    Json all = Json::array();
    for (const JsonView entry : declared)
      if (std::ranges::find(names_, entry["name"].text()) == names_.end())
        all.push(Json(entry));
    for (const JsonView entry : list_.view())
      all.push(Json(entry));
    return all;
  }
  Json take() { return std::move(list_); }

 private:
  Json list_ = Json::array();
  std::vector<std::string> names_;
};

// What every agent gets, in the original's order.
EnvironmentList common_environment(const AgentPlan& plan) {
  const AgentSettings& settings = plan.settings;
  EnvironmentList list;
  list.add("RUST_LOG", settings.log_level);
  list.add("MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS", settings.flush_connections);
  list.add("MIRRORD_AGENT_JSON_LOG", settings.json_log);
  list.add("MIRRORD_AGENT_PASSTHROUGH_MIRRORING", true);
  list.add("MIRRORD_MAX_BODY_BUFFER_SIZE", settings.max_body_buffer_size);
  list.add("MIRRORD_MAX_BODY_BUFFER_TIMEOUT", settings.max_body_buffer_timeout);
  list.add("MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT", settings.http_detection_timeout);
  list.add("MIRRORD_JAQ_TIME_LIMIT", settings.jaq_time_limit);
  if (settings.nftables)
    list.add("MIRRORD_AGENT_NFTABLES", *settings.nftables);
  if (settings.dns_attempts)
    list.add("MIRRORD_AGENT_DNS_ATTEMPTS", std::uint64_t{*settings.dns_attempts});
  if (settings.dns_timeout_seconds)
    list.add("MIRRORD_AGENT_DNS_TIMEOUT", std::uint64_t{*settings.dns_timeout_seconds});
  if (plan.target && !plan.target->ips.empty()) {
    std::string ips;
    for (const std::string& ip : plan.target->ips)
      ips += (ips.empty() ? "" : ",") + ip;
    list.add("MIRRORD_AGENT_POD_IPS", ips);
  }
  if (plan.target && !plan.target->probe_ports.empty() && !is_original_image(settings.image)) {
    std::string ports;
    for (const std::uint16_t port : plan.target->probe_ports)
      ports += (ports.empty() ? "" : ",") + std::to_string(port);
    list.add("MIRRORD_AGENT_PROBE_PORTS", ports);
  }
  if (!settings.metrics.empty())
    list.add("MIRRORD_AGENT_METRICS", settings.metrics);
  if (!plan.tls_certificate.empty())
    list.add("AGENT_OPERATOR_CERT_ENV", plan.tls_certificate);
  if (plan.idle_ttl_seconds != 0)
    list.add("MIRRORD_AGENT_IDLE_TTL", plan.idle_ttl_seconds);
  if (settings.inject_headers)
    list.add("MIRRORD_AGENT_INJECT_HEADERS", true);
  if (settings.clean_iptables_on_start)
    list.add("MIRRORD_AGENT_CLEAN_IPTABLES_ON_START", *settings.clean_iptables_on_start);
  list.add("MIRRORD_AGENT_EXTERNAL_IP_FIX", settings.external_ip_fix);
  list.add("MIRRORD_AGENT_OVERRIDE_CACHE_CONTROL", settings.override_cache_control);
  if (plan.target && plan.target->mesh != Mesh::kNone) {
    list.add("MIRRORD_AGENT_IN_SERVICE_MESH", true);
    if (plan.target->mesh == Mesh::kIstioCni)
      list.add("MIRRORD_AGENT_ISTIO_CNI", true);
  }
  return list;
}

// The first words never change: clusters with lists of allowed commands go by them.
Json arguments(const AgentPlan& plan) {
  Json list = Json::array({"-l", std::to_string(plan.port), "-t",
                           std::to_string(plan.settings.communication_timeout_seconds)});
  if (plan.kind == AgentKind::kEphemeral) {
    list.push("ephemeral");
  } else if (plan.target) {
    for (const std::string& argument :
         {std::string("targeted"), std::string("--container-id"), plan.target->container_id,
          std::string("--container-runtime"), plan.target->runtime})
      list.push(argument);
  } else {
    list.push("targetless");
  }
  return list;
}

// Without SYS_PTRACE a process is open only to one of its user and group with at least its
// capabilities (ptrace(2)): the agent then runs as containers do by default, the target among them.
bool must_resemble_target(const AgentPlan& plan) {
  const auto& disabled = plan.settings.disabled_capabilities;
  return !is_original_image(plan.settings.image) &&
         std::ranges::find(disabled, "SYS_PTRACE") != disabled.end();
}

// Ours does without what a session does not use; docs/security.md says what each is for.
Json capabilities(const AgentPlan& plan) {
  const bool is_original = is_original_image(plan.settings.image);
  const bool needs_admin = is_original || plan.kind != AgentKind::kEphemeral;
  Json add = Json::array();
  const auto offer = [&](const char* name, bool is_needed) {
    const auto& disabled = plan.settings.disabled_capabilities;
    if (is_needed && std::ranges::find(disabled, name) == disabled.end())
      add.push(name);
  };
  offer("SYS_ADMIN", needs_admin);
  offer("SYS_PTRACE", true);
  offer("NET_ADMIN", is_original || plan.takes_traffic);
  if (is_original || must_resemble_target(plan))
    return Json::object({{"add", add}});
  // Files of all users; runtimes give these by default, but not all of them.
  for (const char* name : {"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"})
    offer(name, true);
  return Json::object({{"add", add}, {"drop", Json::array({"ALL"})}});
}

Json targeted_security(const AgentPlan& plan) {
  Json context = Json::object();
  if (!must_resemble_target(plan))
    context.set("runAsGroup", std::int64_t{plan.group_id});
  context.set("privileged", plan.settings.privileged);
  context.set("capabilities", capabilities(plan));
  return context;
}

// Without a target there is nothing to have rights over: fit for the strictest namespace.
Json targetless_security(const AgentPlan& plan) {
  constexpr int kNobody = 65534;
  Json context = Json::object({{"runAsNonRoot", true},
                               {"runAsUser", kNobody},
                               {"allowPrivilegeEscalation", false},
                               {"capabilities", Json::object({{"drop", Json::array({"ALL"})}})}});
  const auto& given = plan.settings.security_context;
  if (!given || !(*given)["seccompProfile"].is_present())
    context.set("seccompProfile", Json::object({{"type", "RuntimeDefault"}}));
  return context;
}

Json string_map(const StringPairs& pairs) {
  Json map = Json::object();
  for (const auto& [key, value] : pairs)
    map.set(key, value);
  return map;
}

Json labels(const AgentPlan& plan) {
  Json map = string_map(plan.settings.labels);
  map.set("app", "mirrord");
  if (plan.settings.disable_mesh_sidecar_injection)
    map.set("kuma.io/sidecar-injection", "disabled");
  return map;
}

Json annotations(const AgentPlan& plan) {
  Json map = string_map(plan.settings.annotations);
  if (plan.settings.disable_mesh_sidecar_injection) {
    map.set("sidecar.istio.io/inject", "false");
    map.set("linkerd.io/inject", "disabled");
  }
  return map;
}

Json metadata(const AgentPlan& plan, bool is_named) {
  Json made = Json::object();
  if (is_named)
    made.set("name", plan.name);
  made.set("labels", labels(plan));
  if (Json map = annotations(plan); map.view().size() > 0)
    made.set("annotations", std::move(map));
  // What the target leaves behind goes with it.
  if (is_named && plan.target && plan.target->name_space == plan.name_space &&
      !plan.target->uid.empty())
    made.set("ownerReferences", Json::array({Json::object({{"apiVersion", "v1"},
                                                           {"kind", "Pod"},
                                                           {"name", plan.target->name},
                                                           {"uid", plan.target->uid}})}));
  return made;
}

Json default_resources() {
  return Json::object({{"requests", Json::object({{"cpu", "1m"}, {"memory", "1Mi"}})},
                       {"limits", Json::object({{"cpu", "1"}, {"memory", "100Mi"}})}});
}

Json container(const AgentPlan& plan) {
  const AgentSettings& settings = plan.settings;
  const bool is_original = is_original_image(settings.image);
  Json made = Json::object({{"name", kAgentContainer},
                            {"image", settings.image},
                            {"imagePullPolicy", settings.image_pull_policy},
                            {"command", Json::array({"./mirrord-agent"})},
                            {"args", arguments(plan)},
                            {"env", common_environment(plan).take()},
                            {"resources", settings.resources.value_or(default_resources())}});
  if (plan.target)
    made.set("securityContext", targeted_security(plan));
  else if (!is_original)
    made.set("securityContext", targetless_security(plan));
  if (plan.target && is_original)
    made.set("volumeMounts",
             Json::array({Json::object({{"name", "hostrun"}, {"mountPath", "/host/run"}}),
                          Json::object({{"name", "hostvar"}, {"mountPath", "/host/var"}})}));
  return made;
}

Json host_path(const char* name, const char* path) {
  return Json::object({{"name", name}, {"hostPath", Json::object({{"path", path}})}});
}

void place_pod(const AgentPlan& plan, Json& spec) {
  Json selector = string_map(plan.settings.node_selector);
  if (plan.target && !plan.node_host_name.empty())
    selector.set("kubernetes.io/hostname", plan.node_host_name);
  if (selector.view().size() > 0)
    spec.set("nodeSelector", std::move(selector));
  if (plan.target && plan.node_host_name.empty())
    spec.set("nodeName", plan.target->node);
  if (plan.settings.tolerations)
    spec.set("tolerations", *plan.settings.tolerations);
  else if (plan.target)
    spec.set("tolerations", Json::array({Json::object({{"operator", "Exists"}})}));
}

Json pod_spec(const AgentPlan& plan) {
  const AgentSettings& settings = plan.settings;
  const bool is_original = is_original_image(settings.image);
  Json spec = Json::object({{"restartPolicy", "Never"}});
  if (plan.target)
    spec.set("hostPID", true);
  place_pod(plan, spec);
  if (!settings.service_account.empty())
    spec.set("serviceAccountName", settings.service_account);
  if (plan.target && !is_original) {
    // The agent asks nothing of the API server. Without a target the account is the session's.
    spec.set("automountServiceAccountToken", false);
    spec.set("enableServiceLinks", false);
  }
  if (!settings.priority_class.empty())
    spec.set("priorityClassName", settings.priority_class);
  if (!settings.image_pull_secrets.empty()) {
    Json secrets = Json::array();
    for (const std::string& name : settings.image_pull_secrets)
      secrets.push(Json::object({{"name", name}}));
    spec.set("imagePullSecrets", std::move(secrets));
  }
  if (settings.security_context)
    spec.set("securityContext", *settings.security_context);
  if (plan.target && is_original)
    spec.set("volumes", Json::array({host_path("hostrun", "/run"), host_path("hostvar", "/var")}));
  spec.set("containers", Json::array({container(plan)}));
  return spec;
}

}  // namespace

Json job_manifest(const AgentPlan& plan) {
  Json spec = Json::object({{"ttlSecondsAfterFinished", std::int64_t{plan.settings.ttl_seconds}},
                            {"backoffLimit", 0},
                            {"template", Json::object({{"metadata", metadata(plan, false)},
                                                       {"spec", pod_spec(plan)}})}});
  if (plan.deadline_seconds > 0)
    spec.set("activeDeadlineSeconds", std::int64_t{plan.deadline_seconds});
  return Json::object({{"apiVersion", "batch/v1"},
                       {"kind", "Job"},
                       {"metadata", metadata(plan, true)},
                       {"spec", std::move(spec)}});
}

Json pod_manifest(const AgentPlan& plan) {
  return Json::object({{"apiVersion", "v1"},
                       {"kind", "Pod"},
                       {"metadata", metadata(plan, true)},
                       {"spec", pod_spec(plan)}});
}

Json ephemeral_container(const AgentPlan& plan) {
  const AgentSettings& settings = plan.settings;
  EnvironmentList list = common_environment(plan);
  if (plan.target->shares_process_namespace)
    list.add("MIRRORD_AGENT_EPHEMERAL_TARGET_CONTAINER_ID", plan.target->container_id);
  if (settings.exclude_from_mesh)
    list.add("MIRRORD_AGENT_EXCLUDE_FROM_MESH", true);
  Json security = targeted_security(plan);
  security.set("runAsNonRoot", false);
  // The pod may set another user for all its containers, and capabilities are root's only.
  const bool is_ours = !is_original_image(settings.image);
  if (settings.privileged || (is_ours && !must_resemble_target(plan)))
    security.set("runAsUser", 0);
  Json made = Json::object({{"name", plan.name},
                            {"image", settings.image},
                            {"imagePullPolicy", settings.image_pull_policy},
                            {"command", Json::array({"./mirrord-agent"})},
                            {"args", arguments(plan)},
                            {"targetContainerName", plan.target->container}});
  // The original's agent takes its own environment for the target's; ours reads the process's.
  if (!is_ours) {
    made.set("env", list.after(plan.target->container_env.view()));
    if (plan.target->container_env_from.view().size() > 0)
      made.set("envFrom", plan.target->container_env_from);
  } else {
    made.set("env", list.take());
  }
  made.set("securityContext", std::move(security));
  return made;
}

}  // namespace mirrord::k8s
