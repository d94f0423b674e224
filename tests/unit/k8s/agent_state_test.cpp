// tests/unit/k8s/agent_state_test.cpp — what pods and events say of a starting agent.
#include "k8s/agent_state.h"

#include <gtest/gtest.h>

#include "tests/unit/k8s/sample.h"

namespace mirrord::k8s {
namespace {

AgentPlan plan_for(AgentKind kind = AgentKind::kJob) {
  AgentPlan plan;
  plan.kind = kind;
  plan.target.emplace();
  plan.settings.image = "agent:1";
  plan.name = "mirrord-agent-x";
  return plan;
}

Verdict judge(std::string_view pod, const AgentPlan& plan = plan_for()) {
  return judge_pod(parsed(pod).view(), plan,
                   plan.kind == AgentKind::kEphemeral ? plan.name : kAgentContainer);
}

std::string pod_in(std::string_view state, std::string_view list = "containerStatuses",
                   std::string_view name = kAgentContainer) {
  return R"({"status":{"phase":"Pending",")" + std::string(list) + R"(":[{"name":")" +
         std::string(name) + R"(","state":)" + std::string(state) + "}]}}";
}

TEST(AgentState, RunsWhenItsContainerRuns) {
  EXPECT_EQ(judge(pod_in(R"({"running":{}})")).outlook, Outlook::kRunning);
  EXPECT_EQ(judge("{}").outlook, Outlook::kWaiting);
  EXPECT_EQ(judge(pod_in(R"({"running":{}})", "containerStatuses", "other")).outlook,
            Outlook::kWaiting);
  EXPECT_EQ(judge(pod_in(R"({"running":{}})", "ephemeralContainerStatuses", "mirrord-agent-x"),
                  plan_for(AgentKind::kEphemeral))
                .outlook,
            Outlook::kRunning);
  const Verdict creating = judge(pod_in(R"({"waiting":{"reason":"ContainerCreating"}})"));
  EXPECT_EQ(creating.outlook, Outlook::kWaiting);
  EXPECT_EQ(creating.what, "ContainerCreating");
}

TEST(AgentState, ImagesThatCannotBeHadEndTheWait) {
  for (const char* reason :
       {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}) {
    const Verdict verdict = judge(pod_in(R"({"waiting":{"reason":")" + std::string(reason) +
                                         R"(","message":"no such host"}})"));
    EXPECT_EQ(verdict.outlook, Outlook::kFailed);
    EXPECT_EQ(verdict.what,
              "the image agent:1 cannot be had: " + std::string(reason) + ": no such host");
    EXPECT_NE(verdict.hint.find("agent.image"), std::string::npos);
    EXPECT_FALSE(verdict.has_log);
  }
}

TEST(AgentState, AnEarlyEndIsReportedWithItsCode) {
  const Verdict killed = judge(pod_in(R"({"terminated":{"exitCode":137,"reason":"OOMKilled"}})"));
  EXPECT_EQ(killed.outlook, Outlook::kFailed);
  EXPECT_EQ(killed.what, "the agent ended at its start with exit code 137 (OOMKilled)");
  EXPECT_TRUE(killed.has_log);
  EXPECT_NE(killed.hint.find("limits.memory"), std::string::npos);
  EXPECT_EQ(judge(pod_in(R"({"terminated":{"exitCode":1,"reason":"Error"}})")).what,
            "the agent ended at its start with exit code 1");
  EXPECT_EQ(judge(pod_in(R"({"waiting":{"reason":"CrashLoopBackOff"}})")).outlook,
            Outlook::kFailed);
}

TEST(AgentState, APinnedPodWithoutRoomFailsAtOnce) {
  constexpr char kUnschedulable[] = R"({"status":{"phase":"Pending","conditions":[{"type":
      "PodScheduled","status":"False","reason":"Unschedulable","message":"0/1 nodes: too many pods"}]}})";
  const Verdict verdict = judge(kUnschedulable);
  EXPECT_EQ(verdict.outlook, Outlook::kFailed);
  EXPECT_EQ(verdict.what, "no node takes the agent's pod: 0/1 nodes: too many pods");
  EXPECT_NE(verdict.hint.find("agent.ephemeral"), std::string::npos);
  AgentPlan targetless = plan_for();
  targetless.target.reset();
  EXPECT_EQ(judge(kUnschedulable, targetless).outlook, Outlook::kWaiting);
  AgentPlan important = plan_for();
  important.settings.priority_class = "high";
  EXPECT_EQ(judge(kUnschedulable, important).outlook, Outlook::kWaiting);
}

TEST(AgentState, APodThatTheNodeRefusesFailsAtOnce) {
  const Verdict verdict = judge(R"({"spec":{"nodeName":"n1"},"status":{"phase":"Failed",
      "reason":"OutOfpods","message":"Pod was rejected"}})");
  EXPECT_EQ(verdict.outlook, Outlook::kFailed);
  EXPECT_EQ(verdict.what, "the agent's pod is Failed: OutOfpods: Pod was rejected");
  EXPECT_NE(verdict.hint.find("on node n1"), std::string::npos);
  EXPECT_EQ(judge(R"({"metadata":{"deletionTimestamp":"x"}})").outlook, Outlook::kFailed);
}

TEST(JobEvents, LastingRefusalsAreTold) {
  const auto event = [](std::string_view message, int count = 1) {
    return judge_job_event(
        Json::object({{"reason", "FailedCreate"}, {"message", message}, {"count", count}}).view(),
        plan_for());
  };
  const Verdict policy = event(
      R"(Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostPID=true), unrestricted capabilities)");
  EXPECT_EQ(policy.outlook, Outlook::kFailed);
  EXPECT_NE(policy.what.find("hostPID=true"), std::string::npos);
  EXPECT_NE(policy.hint.find("agent.namespace"), std::string::npos);
  EXPECT_NE(policy.hint.find("agent.disabled_capabilities"), std::string::npos);
  EXPECT_NE(event("pods \"x\" is forbidden: exceeded quota: small").hint.find("agent.resources"),
            std::string::npos);
  EXPECT_EQ(event("the server is busy").outlook, Outlook::kWaiting);
  EXPECT_EQ(event("the server is busy", 2).outlook, Outlook::kFailed);
  EXPECT_EQ(judge_job_event(parsed(R"({"reason":"SuccessfulCreate"})").view(), plan_for()).what,
            "");
}

TEST(PodEvents, TheStartIsSeenBeforeTheState) {
  const Json started = parsed(
      R"({"reason":"Started","involvedObject":{"fieldPath":"spec.containers{mirrord-agent}"}})");
  EXPECT_TRUE(says_started(started.view(), "mirrord-agent"));
  EXPECT_FALSE(says_started(started.view(), "mirrord-agent-2"));
  EXPECT_FALSE(says_started(parsed(R"({"reason":"Pulled"})").view(), "mirrord-agent"));
}

TEST(PodEvents, OnlyWarningsAboutTheAgentCount) {
  const Json warning = parsed(R"({"type":"Warning","reason":"FailedMount","message":"no volume"})");
  EXPECT_TRUE(is_warning_of(warning.view(), plan_for(), kAgentContainer));
  EXPECT_EQ(event_text(warning.view()), "FailedMount: no volume");
  EXPECT_EQ(judge_pod_event(warning.view(), plan_for(), kAgentContainer).outlook,
            Outlook::kWaiting);
  // The pod is the target's: its own troubles are not the agent's.
  EXPECT_FALSE(is_warning_of(warning.view(), plan_for(AgentKind::kEphemeral), "mirrord-agent-x"));
  EXPECT_FALSE(is_warning_of(parsed(R"({"type":"Normal","reason":"Pulled"})").view(), plan_for(),
                             kAgentContainer));
}

TEST(PodEvents, WhatCannotBeStartedEndsTheWait) {
  const auto judge_event = [](std::string_view message, std::string_view container) {
    const Json event = Json::object(
        {{"type", "Warning"},
         {"reason", "Failed"},
         {"message", message},
         {"involvedObject",
          Json::object({{"fieldPath", "spec.containers{" + std::string(container) + "}"}})}});
    return judge_pod_event(event.view(), plan_for(), kAgentContainer);
  };
  const Verdict pull =
      judge_event("Failed to pull image \"agent:1\": no such host", kAgentContainer);
  EXPECT_EQ(pull.outlook, Outlook::kFailed);
  EXPECT_EQ(pull.what,
            "the image agent:1 cannot be had: Failed to pull image \"agent:1\": no such host");
  const Verdict start =
      judge_event("Error: exec: \"./mirrord-agent\": no such file", kAgentContainer);
  EXPECT_TRUE(start.what.starts_with("the agent's container cannot be started: Error: exec"));
  EXPECT_NE(start.hint.find("has no agent in it"), std::string::npos);
  EXPECT_EQ(judge_event("Failed to pull image \"x\"", "other").outlook, Outlook::kWaiting);
}

TEST(Refusals, HintsNameTheKey) {
  const auto hint = [](std::string_view message, AgentKind kind = AgentKind::kJob) {
    return refusal_hint(message, plan_for(kind));
  };
  EXPECT_NE(hint("User \"u\" cannot create resource \"jobs\"").find("agent.bare_pod"),
            std::string::npos);
  EXPECT_NE(hint("cannot patch resource", AgentKind::kEphemeral).find("docs/rbac.yaml"),
            std::string::npos);
  EXPECT_NE(hint("serviceaccount \"x\" not found").find("agent.service_account"),
            std::string::npos);
  EXPECT_NE(hint("no PriorityClass with name x").find("agent.priority_class"), std::string::npos);
  EXPECT_NE(hint("namespaces \"x\" not found").find("agent.namespace"), std::string::npos);
  EXPECT_NE(hint("admission webhook \"k\" denied the request: no").find("policy"),
            std::string::npos);
  EXPECT_EQ(hint("teapot"), "");
}

}  // namespace
}  // namespace mirrord::k8s
