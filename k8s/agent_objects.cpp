// k8s/agent_objects.cpp — POST, PATCH, PUT and DELETE for the agent.
#include "k8s/agent_objects.h"

#include <utility>

#include "k8s/agent_state.h"

namespace mirrord::k8s {
namespace {

using std::chrono::milliseconds;

constexpr char kStrategicMerge[] = "application/strategic-merge-patch+json";
constexpr char kMetadata[] =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
constexpr char kMetadataList[] =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

// The client's hint about a missing right says more than ours.
Error explained(ApiError error, const AgentPlan& plan) {
  const bool lacks_right = error.what.find("cannot ") != std::string::npos &&
                           error.what.find(" resource ") != std::string::npos;
  if (lacks_right && !error.hint.empty()) {
    if (plan.kind == AgentKind::kJob)
      error.hint += " Or set agent.bare_pod or agent.ephemeral to true, if those rights are there.";
  } else if (std::string hint = refusal_hint(error.what, plan); !hint.empty()) {
    error.hint = std::move(hint);
  }
  error.what = "create the agent in namespace " + plan.name_space + ": " + error.what;
  return error;
}

std::string pod_path(const AgentPlan& plan) {
  return collection_path(AgentKind::kPod, plan.name_space) + "/" + escape(plan.target->name);
}

// The whole pod, with the container added: for API servers and roles that allow no patch.
ApiResult<Json> put_ephemeral(ApiClient& client, const AgentPlan& plan, milliseconds limit) {
  auto pod = client.begin({.path = pod_path(plan), .timeout = limit}).wait();
  if (!pod)
    return pod;
  Json list = (*pod)["spec"]["ephemeralContainers"].is_array()
                  ? Json((*pod)["spec"]["ephemeralContainers"])
                  : Json::array();
  list.push(ephemeral_container(plan));
  Json spec((*pod)["spec"]);
  spec.set("ephemeralContainers", std::move(list));
  Json metadata = Json::object();
  for (const JsonView part : (*pod)["metadata"])
    if (part.key() != "resourceVersion" && part.key() != "managedFields")
      metadata.set(part.key(), Json(part));
  Json changed(pod->view());
  changed.set("metadata", std::move(metadata));
  changed.set("spec", std::move(spec));
  return client
      .begin({.method = "PUT",
              .path = pod_path(plan) + "/ephemeralcontainers",
              .body = changed.dump(),
              .timeout = limit})
      .wait();
}

Status create_ephemeral(ApiClient& client, const AgentPlan& plan, milliseconds limit) {
  const Json patch = Json::object(
      {{"spec",
        Json::object({{"ephemeralContainers", Json::array({ephemeral_container(plan)})}})}});
  auto answer = client
                    .begin({.method = "PATCH",
                            .path = pod_path(plan) + "/ephemeralcontainers",
                            .body = patch.dump(),
                            .content_type = kStrategicMerge,
                            .timeout = limit})
                    .wait();
  const bool may_not_patch =
      !answer && (answer.error().status == 405 || answer.error().status == 415 ||
                  (answer.error().status == 403 &&
                   answer.error().what.find("cannot patch resource") != std::string::npos));
  if (may_not_patch) {
    auto put = put_ephemeral(client, plan, limit);
    if (put || put.error().status != 403)
      answer = std::move(put);
  }
  if (answer)
    return {};
  if (answer.error().status == 404 &&
      answer.error().what.find("requested resource") != std::string::npos)
    return fail(ErrorCode::kUnsupported, "the cluster has no ephemeral containers",
                "Set agent.ephemeral to false.");
  return std::unexpected(explained(std::move(answer.error()), plan));
}

}  // namespace

std::string collection_path(AgentKind kind, std::string_view name_space) {
  return (kind == AgentKind::kJob ? "/apis/batch/v1/namespaces/" : "/api/v1/namespaces/") +
         escape(name_space) + (kind == AgentKind::kJob ? "/jobs" : "/pods");
}

Status create_agent(ApiClient& client, const AgentPlan& plan, milliseconds limit) {
  if (plan.kind == AgentKind::kEphemeral)
    return create_ephemeral(client, plan, limit);
  const Json manifest = plan.kind == AgentKind::kJob ? job_manifest(plan) : pod_manifest(plan);
  auto answer = client
                    .begin({.method = "POST",
                            .path = collection_path(plan.kind, plan.name_space),
                            .body = manifest.dump(),
                            .timeout = limit})
                    .wait();
  if (answer || answer.error().reason == "AlreadyExists")
    return {};
  return std::unexpected(explained(std::move(answer.error()), plan));
}

ApiClient::Call begin_node(ApiClient& client, const std::string& node) {
  constexpr milliseconds kLimit{3000};
  return client.begin(
      {.path = "/api/v1/nodes/" + escape(node), .accept = kMetadata, .timeout = kLimit});
}

std::string host_name_of(const ApiResult<Json>& node) {
  if (!node)
    return {};
  const JsonView labels = (*node)["metadata"]["labels"];
  // A virtual cluster's node is no place that its scheduler knows.
  if (labels["vcluster.loft.sh/fake-node"].text() == "true")
    return {};
  return std::string(labels["kubernetes.io/hostname"].text());
}

std::string log_tail(ApiClient& client, const StartedAgent& agent) {
  if (agent.pod.empty())
    return {};
  constexpr std::size_t kMostBytes = 4096;
  constexpr milliseconds kLimit{3000};
  struct Tail {
    std::string text;
    bool has_ended = false;
  } tail;
  const auto stream = client.open_stream(
      {.path = collection_path(AgentKind::kPod, agent.name_space) + "/" + escape(agent.pod) +
               "/log?tailLines=10&container=" + escape(agent.container),
       .accept = "*/*",
       .timeout = kLimit},
      {.opened = {},
       .line =
           [&tail](std::string_view line) {
             if (tail.text.size() + line.size() < kMostBytes)
               tail.text += (tail.text.empty() ? "" : "\n") + std::string(line);
           },
       .ended = [&tail](const std::optional<ApiError>&) { tail.has_ended = true; }});
  client.run_until([&tail] { return tail.has_ended; }, kLimit);
  return tail.text;
}

ApiClient::Call begin_rehearsal(ApiClient& client, const AgentPlan& plan) {
  constexpr milliseconds kLimit{5000};
  return client.begin({.method = "POST",
                       .path = collection_path(AgentKind::kPod, plan.name_space) + "?dryRun=All",
                       .body = pod_manifest(plan).dump(),
                       .timeout = kLimit});
}

std::string rehearsal_refusal(const ApiResult<Json>& answer) {
  if (answer || (answer.error().status != 403 && answer.error().status != 422) ||
      answer.error().what.find("cannot create resource") != std::string::npos)
    return {};
  return answer.error().what;
}

void sweep_ended_pods(ApiClient& client, const std::string& name_space) {
  const std::string pods = collection_path(AgentKind::kPod, name_space);
  ApiRequest list{.path = pods + "?limit=100&labelSelector=" + escape("app=mirrord") +
                          "&fieldSelector=" + escape("status.phase!=Running,status.phase!=Pending"),
                  .accept = kMetadataList};
  client.send(std::move(list), [&client, pods](const ApiResult<Json>& found) {
    if (!found)
      return;
    for (const JsonView pod : (*found)["items"]) {
      const std::string_view name = pod["metadata"]["name"].text();
      bool has_job = false;
      for (const JsonView owner : pod["metadata"]["ownerReferences"])
        has_job = has_job || owner["kind"].text() == "Job";
      if (!has_job && name.starts_with("mirrord-agent-"))
        client.send({.method = "DELETE", .path = pods + "/" + escape(name)},
                    [](const ApiResult<Json>&) {});
    }
  });
}

Status delete_agent(ApiClient& client, const StartedAgent& agent, milliseconds limit) {
  if (agent.kind == AgentKind::kEphemeral)
    return {};
  auto answer = client
                    .begin({.method = "DELETE",
                            .path = collection_path(agent.kind, agent.name_space) + "/" +
                                    escape(agent.name) + "?propagationPolicy=Background",
                            .timeout = limit})
                    .wait();
  if (answer || answer.error().status == 404)
    return {};
  Error error = std::move(answer.error());
  error.what =
      "delete the agent " + agent.name + " in namespace " + agent.name_space + ": " + error.what;
  return std::unexpected(std::move(error));
}

}  // namespace mirrord::k8s
