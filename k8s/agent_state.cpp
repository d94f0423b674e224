// k8s/agent_state.cpp — judges pods and events by the reasons that kubelet, scheduler and job
// controller give (pkg/kubelet/images/types.go, pkg/kubelet/container/sync_result.go of Kubernetes).
#include "k8s/agent_state.h"

#include <algorithm>
#include <array>

namespace mirrord::k8s {
namespace {

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Whether an event names this container of its pod.
bool says_of(JsonView event, std::string_view container) {
  return has(event["involvedObject"]["fieldPath"].text(), "{" + std::string(container) + "}");
}

std::string with_message(std::string_view reason, std::string_view message) {
  std::string text(reason);
  if (!message.empty())
    text += (text.empty() ? "" : ": ") + std::string(message);
  return text;
}

JsonView container_status(JsonView pod, std::string_view container) {
  for (const char* list : {"containerStatuses", "ephemeralContainerStatuses"})
    for (const JsonView status : pod["status"][list])
      if (status["name"].text() == container)
        return status;
  return {};
}

constexpr std::array<std::string_view, 6> kImageReasons = {
    "ErrImagePull",      "ImagePullBackOff",  "InvalidImageName",
    "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable",
};
constexpr std::array<std::string_view, 5> kStartReasons = {
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
    "CrashLoopBackOff",           "PostStartHookError",
};

bool contains(const auto& list, std::string_view word) {
  return std::ranges::find(list, word) != list.end();
}

Verdict judge_waiting(JsonView waiting, const AgentPlan& plan) {
  const std::string_view reason = waiting["reason"].text();
  Verdict verdict;
  verdict.what = with_message(reason, waiting["message"].text());
  if (contains(kImageReasons, reason)) {
    verdict.outlook = Outlook::kFailed;
    verdict.what = "the image " + plan.settings.image + " cannot be had: " + verdict.what;
    verdict.hint = image_hint(plan);
  } else if (contains(kStartReasons, reason)) {
    verdict.outlook = Outlook::kFailed;
    verdict.has_log = reason == "CrashLoopBackOff";
    verdict.hint = refusal_hint(verdict.what, plan);
  }
  return verdict;
}

std::string no_agent_hint(const AgentPlan& plan) {
  return "The image " + plan.settings.image +
         " has no agent in it: set agent.image to one that does.";
}

Verdict judge_terminated(JsonView terminated, const AgentPlan& plan) {
  Verdict verdict;
  verdict.outlook = Outlook::kFailed;
  verdict.has_log = true;
  const std::string_view reason = terminated["reason"].text();
  verdict.what = "the agent ended at its start with exit code " +
                 std::to_string(terminated["exitCode"].number()) +
                 (reason.empty() || reason == "Error" || reason == "Completed"
                      ? ""
                      : " (" + std::string(reason) + ")");
  if (const std::string_view message = terminated["message"].text(); !message.empty())
    verdict.what += ": " + std::string(message);
  if (reason == "OOMKilled")
    verdict.hint = "Set a larger limits.memory in agent.resources.";
  else if (has(terminated["message"].text(), "exec format error"))
    verdict.hint = "The image is for another processor: set agent.image to one for the node's.";
  else if (has(terminated["message"].text(), "mirrord-agent"))
    verdict.hint = no_agent_hint(plan);
  return verdict;
}

// A pod that is pinned to a node without room will not find room elsewhere. Where it may, a larger
// cluster or a lesser pod's end can still help.
Verdict judge_unscheduled(JsonView condition, const AgentPlan& plan) {
  Verdict verdict;
  verdict.what = "no node takes the agent's pod: " + std::string(condition["message"].text());
  const bool may_wait = !plan.target || !plan.settings.priority_class.empty();
  verdict.hint = "Look at agent.node_selector, agent.tolerations and agent.resources.";
  if (may_wait)
    return verdict;
  verdict.outlook = Outlook::kFailed;
  verdict.hint =
      "Set agent.ephemeral to true: such an agent takes no place of its own on the node.";
  return verdict;
}

Verdict judge_ended(JsonView pod, std::string_view phase, const AgentPlan& plan) {
  Verdict verdict;
  verdict.outlook = Outlook::kFailed;
  verdict.what = "the agent's pod is " + std::string(phase);
  const std::string why =
      with_message(pod["status"]["reason"].text(), pod["status"]["message"].text());
  if (!why.empty())
    verdict.what += ": " + why;
  if (pod["status"]["reason"].text().starts_with("OutOf") || has(why, "Node didn't have enough"))
    verdict.hint =
        "The node has no room left. Set agent.ephemeral to true, or end other pods on node " +
        std::string(pod["spec"]["nodeName"].text()) + ".";
  else
    verdict.hint = refusal_hint(why, plan);
  return verdict;
}

}  // namespace

Verdict judge_pod(JsonView pod, const AgentPlan& plan, std::string_view container) {
  Verdict verdict;
  const JsonView status = container_status(pod, container);
  const JsonView state = status["state"];
  if (state["running"].is_present()) {
    verdict.outlook = Outlook::kRunning;
    return verdict;
  }
  if (state["terminated"].is_present())
    return judge_terminated(state["terminated"], plan);
  if (pod["metadata"]["deletionTimestamp"].is_present()) {
    verdict.outlook = Outlook::kFailed;
    verdict.what = plan.kind == AgentKind::kEphemeral ? "the target's pod is being deleted"
                                                      : "somebody deletes the agent's pod";
    return verdict;
  }
  const std::string_view phase = pod["status"]["phase"].text();
  if (phase == "Failed" || phase == "Succeeded")
    return judge_ended(pod, phase, plan);
  if (state["waiting"].is_present())
    verdict = judge_waiting(state["waiting"], plan);
  if (verdict.outlook == Outlook::kFailed)
    return verdict;
  for (const JsonView condition : pod["status"]["conditions"]) {
    if (condition["type"].text() == "PodScheduled" && condition["status"].text() == "False" &&
        condition["reason"].text() == "Unschedulable")
      return judge_unscheduled(condition, plan);
  }
  if (verdict.what.empty())
    verdict.what =
        phase.empty() ? "its state is not known yet" : "its phase is " + std::string(phase);
  return verdict;
}

Verdict judge_job_event(JsonView event, const AgentPlan& plan) {
  Verdict verdict;
  if (event["reason"].text() != "FailedCreate")
    return verdict;
  const std::string_view message = event["message"].text();
  verdict.what = "the job cannot make its pod: " + std::string(message);
  constexpr std::array<std::string_view, 7> kLasting = {
      "forbidden", "exceeded quota",   "denied",   "is invalid",
      "not found", "no PriorityClass", "violates",
  };
  const std::int64_t times = std::max(event["count"].number(1), event["series"]["count"].number(1));
  const bool is_lasting =
      std::ranges::any_of(kLasting, [&](std::string_view part) { return has(message, part); });
  if (is_lasting || times > 1) {
    verdict.outlook = Outlook::kFailed;
    verdict.hint = refusal_hint(message, plan);
  }
  return verdict;
}

bool says_started(JsonView event, std::string_view container) {
  return event["reason"].text() == "Started" && says_of(event, container);
}

Verdict judge_pod_event(JsonView event, const AgentPlan& plan, std::string_view container) {
  Verdict verdict;
  const std::string_view reason = event["reason"].text();
  const std::string_view message = event["message"].text();
  if (!is_warning_of(event, plan, container) || !says_of(event, container) ||
      (reason != "Failed" && reason != "InspectFailed" && reason != "ErrImageNeverPull"))
    return verdict;
  verdict.outlook = Outlook::kFailed;
  const bool is_image =
      reason != "Failed" || has(message, "ull image") ||
      std::ranges::any_of(kImageReasons, [&](std::string_view word) { return has(message, word); });
  verdict.what = (is_image ? "the image " + plan.settings.image + " cannot be had: "
                           : std::string("the agent's container cannot be started: ")) +
                 std::string(message);
  if (is_image)
    verdict.hint = image_hint(plan);
  else
    verdict.hint =
        has(message, "mirrord-agent\"") ? no_agent_hint(plan) : refusal_hint(message, plan);
  return verdict;
}

bool is_warning_of(JsonView event, const AgentPlan& plan, std::string_view container) {
  if (event["type"].text() != "Warning")
    return false;
  return says_of(event, container) || (event["involvedObject"]["fieldPath"].text().empty() &&
                                       plan.kind != AgentKind::kEphemeral);
}

std::string event_text(JsonView event) {
  return with_message(event["reason"].text(), event["message"].text());
}

std::string refusal_hint(std::string_view message, const AgentPlan& plan) {
  if (has(message, "violates PodSecurity") || has(message, "PodSecurityPolic")) {
    std::string keys;
    for (const auto& [field, key] :
         {std::pair{"capabilities", "agent.disabled_capabilities"},
          std::pair{"privileged != false", "agent.privileged"},
          std::pair{"seccompProfile", "agent.security_context.seccomp_profile"},
          std::pair{"appArmor", "agent.security_context.app_armor_profile"}})
      if (has(message, field))
        keys += (keys.empty() ? "" : ", ") + std::string(key);
    return "Set agent.namespace to a namespace that admits privileged pods" +
           std::string(plan.kind == AgentKind::kEphemeral ? " and agent.ephemeral to false" : "") +
           (keys.empty() ? "." : "; of what was refused these keys set a part: " + keys + ".");
  }
  if (has(message, "security context constraint"))
    return "Set agent.service_account to an account that may use a privileged security context "
           "constraint.";
  if (has(message, "exceeded quota") || has(message, "must specify limits") ||
      has(message, "LimitRange") || has(message, "maximum cpu") || has(message, "maximum memory"))
    return "Set agent.resources to what the namespace allows, or agent.namespace to another one.";
  if (has(message, "cannot create resource") || has(message, "cannot patch resource") ||
      has(message, "cannot update resource"))
    return plan.kind == AgentKind::kJob
               ? "Ask for the right to create jobs in the namespace, or set agent.bare_pod or "
                 "agent.ephemeral to true if pods may be created or changed."
               : "Ask for that right in the namespace; docs/rbac.yaml lists all that are needed.";
  if (has(message, "serviceaccount") && has(message, "not found"))
    return "Set agent.service_account to an account of the agent's namespace.";
  if (has(message, "PriorityClass"))
    return "Set agent.priority_class to a class that the cluster has.";
  if (has(message, "namespaces \""))
    return "Set agent.namespace to a namespace that exists.";
  if (has(message, "denied the request") || has(message, "admission webhook"))
    return "A policy of the cluster refuses the agent's pod: change the agent.* key that sets what "
           "it names, or set agent.namespace to a namespace that the policy leaves out.";
  return {};
}

std::string image_hint(const AgentPlan& plan) {
  std::string hint = "Check agent.image";
  hint += plan.settings.image_pull_policy == "Never"
              ? ", and that the node has it (agent.image_pull_policy is Never)"
              : ": a private registry needs agent.image_pull_secrets, an unreachable one a mirror "
                "in agent.image.registry";
  return hint + ". 'scripts/image' builds the image, to be loaded into the nodes.";
}

}  // namespace mirrord::k8s
