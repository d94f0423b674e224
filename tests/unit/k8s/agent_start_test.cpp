// tests/unit/k8s/agent_start_test.cpp — the start of agents against a scripted cluster: what is
// created, what ends the wait, what is left.
#include "k8s/agent_start.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>

#include "net/loop.h"
#include "tests/unit/k8s/fake_api_server.h"
#include "tests/unit/k8s/sample.h"

namespace mirrord::k8s {
namespace {

constexpr char kJobs[] = "/apis/batch/v1/namespaces/shop/jobs";
constexpr char kPods[] = "/api/v1/namespaces/shop/pods";
constexpr char kEvents[] = "/api/v1/namespaces/shop/events";

// What a watch shows once the agent was created: "ADDED" and an object each.
using Changes = std::deque<std::pair<std::string, std::string>>;

class Cluster {
 public:
  Cluster()
      : server_([this](const FakeApiServer::Request& request) { return answer(request); }),
        client_(loop_, server_.config()) {}

  Changes pods, events, pod_events;                    // shown by watches after the creation
  std::map<std::string, FakeApiServer::Answer> fixed;  // by "METHOD path"
  std::string created, content_type;                   // the last POST, PATCH or PUT
  std::vector<std::string> steps;

  Result<StartedAgent> start(AgentPlan plan, StartOptions options = {}) {
    plan.settings.startup_timeout_seconds = std::min(plan.settings.startup_timeout_seconds, 20U);
    options.progress = [this](StartStep step, std::string_view text) {
      constexpr const char* kMarks[] = {"+ ", "- ", "! ", "* "};
      steps.push_back(kMarks[static_cast<std::size_t>(step)] + std::string(text));
    };
    return start_agent(client_, plan, options);
  }
  Status remove(const StartedAgent& agent) { return delete_agent(client_, agent); }
  const FakeApiServer& server() const { return server_; }
  bool has_step(const std::string& step) const {
    return std::ranges::find(steps, step) != steps.end();
  }

 private:
  FakeApiServer::Answer answer(const FakeApiServer::Request& request) {
    if (const auto found = fixed.find(request.line()); found != fixed.end()) {
      note_creation(request);
      return found->second;
    }
    if (request.is_watch()) {
      const bool is_of_pod = request.query.find("mirrord-agent-x-1") != std::string::npos;
      Changes* changes = request.path == kPods     ? &pods
                         : request.path != kEvents ? nullptr
                         : is_of_pod               ? &pod_events
                                                   : &events;
      return {.next_line = [this, changes] { return next_change(changes); }};
    }
    if (request.method == "GET" &&
        (request.path == kPods || request.path == kJobs || request.path == kEvents))
      return {.body = R"({"kind":"List","metadata":{"resourceVersion":"1"},"items":[]})"};
    if (request.path == "/api/v1/nodes/node-a")
      return {.body = R"({"metadata":{"labels":{"kubernetes.io/hostname":"host-a"}}})"};
    if (request.path.ends_with("/log"))
      return {.body = "one\ntwo\n"};
    note_creation(request);
    return {.status = request.method == "POST" ? 201 : 200};
  }

  void note_creation(const FakeApiServer::Request& request) {
    if (request.method == "GET" || request.method == "DELETE" ||
        request.query.find("dryRun") != std::string::npos)
      return;
    created = request.body;
    content_type = request.content_type;
  }

  std::optional<std::string> next_change(Changes* changes) {
    if (changes == nullptr || created.empty() || changes->empty())
      return std::nullopt;
    const auto [type, object] = changes->front();
    changes->pop_front();
    return R"({"type":")" + type + R"(","object":)" + parsed(object).dump() + "}";
  }

  FakeApiServer server_;
  net::Loop loop_;
  ApiClient client_;
};

AgentPlan plan_of(AgentKind kind) {
  AgentPlan plan;
  plan.kind = kind;
  plan.settings.image = "mirrord:1";
  plan.target = *target_of_pod(parsed(kPod).view(), "");
  plan.name = "mirrord-agent-x";
  plan.name_space = "shop";
  plan.port = 40000;
  return plan;
}

std::string agent_pod(const std::string& status) {
  return R"({"metadata":{"name":"mirrord-agent-x-1","namespace":"shop","uid":"u","resourceVersion":"2"},"status":)" +
         status + "}";
}
std::string in_state(const std::string& state, const std::string& list = "containerStatuses",
                     const std::string& name = "mirrord-agent") {
  return agent_pod(R"({"phase":"Pending",")" + list + R"(":[{"name":")" + name + R"(","state":)" +
                   state + "}]}");
}
const std::string kWaiting = R"({"waiting":{"reason":"ContainerCreating"}})";

TEST(AgentStart, AJobThatRuns) {
  Cluster cluster;
  cluster.pods = {{"ADDED", agent_pod("{}")},
                  {"MODIFIED", in_state(kWaiting)},
                  {"MODIFIED", in_state(R"({"running":{}})")}};
  const auto agent = cluster.start(plan_of(AgentKind::kJob));
  ASSERT_TRUE(agent) << agent.error().what;
  EXPECT_EQ(agent->pod, "mirrord-agent-x-1");
  EXPECT_EQ(agent->container, "mirrord-agent");
  EXPECT_EQ(agent->port, 40000);
  const Json job = parsed(cluster.created);
  EXPECT_EQ(job["metadata"]["name"].text(), "mirrord-agent-x");
  EXPECT_EQ(job["spec"]["template"]["spec"]["nodeSelector"]["kubernetes.io/hostname"].text(),
            "host-a");
  EXPECT_EQ(cluster.steps,
            (std::vector<std::string>{"+ creating agent pod...",
                                      "- agent pod shop/mirrord-agent-x-1 created",
                                      "+ waiting for pod to be ready...", "- pod is ready"}));
  EXPECT_FALSE(cluster.server().was_asked("DELETE"));
  EXPECT_TRUE(cluster.remove(*agent));
  EXPECT_TRUE(cluster.server().was_asked(std::string("DELETE ") + kJobs + "/mirrord-agent-x"));
}

TEST(AgentStart, TheEventOfTheStartIsEnough) {
  Cluster cluster;
  cluster.pods = {{"ADDED", in_state(kWaiting)}};
  cluster.pod_events = {
      {"ADDED",
       R"({"metadata":{"name":"e","namespace":"shop","uid":"e"},"reason":"Started","involvedObject":{"fieldPath":"spec.containers{mirrord-agent}"}})"}};
  EXPECT_TRUE(cluster.start(plan_of(AgentKind::kJob)));
}

TEST(AgentStart, ABarePodIsKnownByName) {
  Cluster cluster;
  cluster.pods = {{"ADDED", in_state(R"({"running":{}})")}};
  const auto agent = cluster.start(plan_of(AgentKind::kPod));
  ASSERT_TRUE(agent) << agent.error().what;
  EXPECT_EQ(parsed(cluster.created)["kind"].text(), "Pod");
  EXPECT_TRUE(cluster.remove(*agent));
  EXPECT_TRUE(cluster.server().was_asked(std::string("DELETE ") + kPods + "/mirrord-agent-x"));
}

TEST(AgentStart, AnEphemeralContainerIsPatchedIn) {
  Cluster cluster;
  cluster.pods = {
      {"ADDED", in_state(R"({"running":{}})", "ephemeralContainerStatuses", "mirrord-agent-x")}};
  const auto agent = cluster.start(plan_of(AgentKind::kEphemeral));
  ASSERT_TRUE(agent) << agent.error().what;
  EXPECT_EQ(agent->pod, "web-1");
  EXPECT_EQ(agent->container, "mirrord-agent-x");
  EXPECT_EQ(cluster.content_type, "application/strategic-merge-patch+json");
  EXPECT_EQ(parsed(cluster.created)["spec"]["ephemeralContainers"].at(0)["name"].text(),
            "mirrord-agent-x");
  EXPECT_TRUE(cluster.has_step("- container is ready"));
  EXPECT_TRUE(cluster.remove(*agent));
  EXPECT_FALSE(cluster.server().was_asked("DELETE"));
}

TEST(AgentStart, WhoMayNotPatchPutsTheWholePod) {
  Cluster cluster;
  const std::string path = std::string(kPods) + "/web-1/ephemeralcontainers";
  cluster.fixed["PATCH " + path] =
      refusal(403, "Forbidden", R"(User "u" cannot patch resource "pods/ephemeralcontainers")");
  cluster.fixed[std::string("GET ") + kPods + "/web-1"] = {.body = kPod};
  cluster.pods = {
      {"ADDED", in_state(R"({"running":{}})", "ephemeralContainerStatuses", "mirrord-agent-x")}};
  const auto agent = cluster.start(plan_of(AgentKind::kEphemeral));
  ASSERT_TRUE(agent) << agent.error().what;
  const Json put = parsed(cluster.created);
  EXPECT_EQ(put["metadata"]["name"].text(), "web-1");
  EXPECT_EQ(put["spec"]["nodeName"].text(), "node-a");
  EXPECT_EQ(put["spec"]["ephemeralContainers"].size(), 1U);
}

TEST(AgentStart, ARefusedCreationLeavesNothing) {
  Cluster cluster;
  cluster.fixed[std::string("POST ") + kJobs] = refusal(
      403, "Forbidden", R"(jobs.batch is forbidden: User "u" cannot create resource "jobs")");
  const auto agent = cluster.start(plan_of(AgentKind::kJob));
  ASSERT_FALSE(agent);
  EXPECT_NE(agent.error().what.find("cannot create resource"), std::string::npos);
  EXPECT_NE(agent.error().hint.find("agent.bare_pod"), std::string::npos);
  EXPECT_FALSE(cluster.server().was_asked("DELETE"));
}

TEST(AgentStart, AnImageThatCannotBeHadEndsTheWaitAndTheJob) {
  Cluster cluster;
  cluster.pods = {
      {"ADDED", agent_pod("{}")},
      {"MODIFIED", in_state(R"({"waiting":{"reason":"ErrImagePull","message":"no"}})")}};
  const auto agent = cluster.start(plan_of(AgentKind::kJob));
  ASSERT_FALSE(agent);
  EXPECT_EQ(agent.error().what, "the image mirrord:1 cannot be had: ErrImagePull: no");
  EXPECT_TRUE(cluster.server().was_asked(std::string("DELETE ") + kJobs + "/mirrord-agent-x"));
}

TEST(AgentStart, AJobThatMakesNoPodIsExplainedByItsEvent) {
  Cluster cluster;
  cluster.events = {
      {"ADDED",
       R"({"metadata":{"name":"e","namespace":"shop","uid":"e"},"reason":"FailedCreate","message":"pods \"x\" is forbidden: exceeded quota: small"})"}};
  const auto agent = cluster.start(plan_of(AgentKind::kJob));
  ASSERT_FALSE(agent);
  EXPECT_NE(agent.error().what.find("exceeded quota: small"), std::string::npos);
  EXPECT_TRUE(cluster.server().was_asked("DELETE"));
}

TEST(AgentStart, WhoMayNotReadEventsLearnsByARehearsal) {
  Cluster cluster;
  cluster.fixed[std::string("GET ") + kEvents] = refusal(403, "Forbidden", "events is forbidden");
  cluster.fixed[std::string("POST ") + kPods] =
      refusal(403, "Forbidden", R"(pods "x" is forbidden: violates PodSecurity "baseline:latest")");
  const auto agent = cluster.start(plan_of(AgentKind::kJob));
  ASSERT_FALSE(agent);
  EXPECT_NE(agent.error().what.find("violates PodSecurity"), std::string::npos)
      << agent.error().what;
  EXPECT_TRUE(cluster.server().was_asked(std::string("POST ") + kPods + "?dryRun=All"));
}

TEST(AgentStart, WhoMayAskForNothingIsToldSo) {
  Cluster cluster;
  cluster.fixed[std::string("GET ") + kEvents] = refusal(403, "Forbidden", "events is forbidden");
  cluster.fixed[std::string("POST ") + kPods] =
      refusal(403, "Forbidden", R"(User "u" cannot create resource "pods")");
  AgentPlan plan = plan_of(AgentKind::kJob);
  plan.settings.startup_timeout_seconds = 3;
  const auto agent = cluster.start(plan);
  ASSERT_FALSE(agent);
  EXPECT_EQ(agent.error().what,
            "the agent was not ready within 3 seconds: the job has made no pod");
  EXPECT_NE(agent.error().hint.find("events"), std::string::npos);
  EXPECT_TRUE(cluster.has_step(
      "! the job has made no pod yet, and events, which would say why, may not be read"));
}

TEST(AgentStart, AnAgentThatDiesLeavesItsLastLines) {
  Cluster cluster;
  cluster.pods = {{"ADDED", agent_pod("{}")},
                  {"MODIFIED", in_state(R"({"terminated":{"exitCode":1,"reason":"Error"}})")}};
  const auto agent = cluster.start(plan_of(AgentKind::kJob));
  ASSERT_FALSE(agent);
  EXPECT_EQ(agent.error().what,
            "the agent ended at its start with exit code 1; its last lines:\none\ntwo");
}

TEST(AgentStart, ADeletedPodEndsTheWait) {
  Cluster cluster;
  cluster.pods = {{"ADDED", agent_pod("{}")}, {"DELETED", agent_pod("{}")}};
  const auto agent = cluster.start(plan_of(AgentKind::kJob));
  ASSERT_FALSE(agent);
  EXPECT_EQ(agent.error().what, "the agent's pod was deleted");
}

TEST(AgentStart, ATimeOutSaysWhatWasWaitedFor) {
  Cluster cluster;
  cluster.pods = {{"ADDED", in_state(kWaiting)}};
  AgentPlan plan = plan_of(AgentKind::kJob);
  plan.settings.startup_timeout_seconds = 1;
  const auto agent = cluster.start(plan);
  ASSERT_FALSE(agent);
  EXPECT_EQ(agent.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(agent.error().what, "the agent was not ready within 1 seconds: ContainerCreating");
  EXPECT_TRUE(cluster.server().was_asked("DELETE"));
}

TEST(AgentStart, AnInterruptEndsTheWaitAndTheJob) {
  Cluster cluster;
  const auto agent =
      cluster.start(plan_of(AgentKind::kJob), {.is_interrupted = [&cluster] {
                      return cluster.server().was_asked(std::string("POST ") + kJobs);
                    }});
  ASSERT_FALSE(agent);
  EXPECT_NE(agent.error().what.find("interrupted"), std::string::npos);
  EXPECT_TRUE(cluster.server().was_asked("DELETE"));
}

TEST(AgentStart, EndedBarePodsAreSweptAway) {
  Cluster cluster;
  cluster.pods = {{"ADDED", in_state(kWaiting)}};
  AgentPlan plan = plan_of(AgentKind::kPod);
  plan.settings.startup_timeout_seconds = 1;
  // The same list serves the watch: what has ended long ago does not disturb it.
  cluster.fixed[std::string("GET ") + kPods] = {
      .body =
          R"({"kind":"List","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"mirrord-agent-old"}},{"metadata":{"name":"mirrord-agent-job","ownerReferences":[{"kind":"Job"}]}},{"metadata":{"name":"other"}}]})"};
  static_cast<void>(cluster.start(plan));
  EXPECT_TRUE(cluster.server().was_asked(std::string("DELETE ") + kPods + "/mirrord-agent-old"));
  EXPECT_FALSE(cluster.server().was_asked(std::string("DELETE ") + kPods + "/mirrord-agent-job"));
  EXPECT_FALSE(cluster.server().was_asked(std::string("DELETE ") + kPods + "/other"));
}

}  // namespace
}  // namespace mirrord::k8s
