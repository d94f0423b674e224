// tests/unit/k8s/pod_target_test.cpp — which pods and containers can be targets, and why not.
#include <gtest/gtest.h>

#include "k8s/resolve_target.h"
#include "tests/unit/k8s/sample.h"

namespace mirrord::k8s {
namespace {

std::string refusal(const Json& pod, const std::string& container = "") {
  const auto target = target_of_pod(pod.view(), container);
  return target ? "fit" : target.error().what;
}

// `text` as a pod's list of containers and their states, all of them running.
Json pod_of(std::initializer_list<std::string_view> names, std::string_view annotations = "{}") {
  Json containers = Json::array();
  Json statuses = Json::array();
  for (const std::string_view name : names) {
    containers.push(Json::object({{"name", name}}));
    statuses.push(parsed(R"({"ready":true,"state":{"running":{}},"containerID":"docker://1"})"));
    Json named = Json(statuses.view().at(statuses.view().size() - 1));
    named.set("name", name);
    Json all = Json::array();
    for (std::size_t i = 0; i + 1 < statuses.view().size(); ++i)
      all.push(Json(statuses.view().at(i)));
    all.push(std::move(named));
    statuses = std::move(all);
  }
  Json pod = parsed(kPod);
  Json metadata(pod["metadata"]);
  metadata.set("annotations", parsed(annotations));
  Json spec(pod["spec"]);
  spec.set("containers", std::move(containers));
  Json status(pod["status"]);
  status.set("containerStatuses", std::move(statuses));
  pod.set("metadata", std::move(metadata));
  pod.set("spec", std::move(spec));
  pod.set("status", std::move(status));
  return pod;
}

TEST(PodTarget, EverythingOfAReadyPodIsRead) {
  const auto target = target_of_pod(parsed(kPod).view(), "");
  ASSERT_TRUE(target) << target.error().what;
  EXPECT_EQ(target->name_space, "shop");
  EXPECT_EQ(target->name, "web-1");
  EXPECT_EQ(target->uid, "u-1");
  EXPECT_EQ(target->node, "node-a");
  EXPECT_EQ(target->ips, (std::vector<std::string>{"10.0.0.1", "fd00::1"}));
  EXPECT_EQ(target->container, "app");
  EXPECT_EQ(target->runtime, "containerd");
  EXPECT_EQ(target->container_id, "0123abcd");
  EXPECT_EQ(target->probe_ports, (std::vector<std::uint16_t>{8080, 9000}));
  EXPECT_EQ(target->container_ports, std::vector<std::uint16_t>{8080});
  EXPECT_EQ(target->container_env.dump(), R"([{"name":"A","value":"1"}])");
  EXPECT_EQ(target->mesh, Mesh::kNone);
  EXPECT_TRUE(target->warnings.empty());
}

TEST(PodTarget, UnfitPodsAreRefusedWithTheReason) {
  EXPECT_EQ(refusal(pod_with(R"("uid": "u-1")", R"("deletionTimestamp": "2026")")),
            "it is being deleted");
  EXPECT_EQ(refusal(pod_with(R"("Running")", R"("Pending")")), "its phase is Pending");
  EXPECT_EQ(
      refusal(pod_with(
          R"("phase": "Running")",
          R"("phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","message":"no room"}])")),
      "its phase is Pending: no room");
  EXPECT_EQ(refusal(pod_with(R"("nodeName": "node-a")", R"("x": "")")), "no node is chosen for it");
  EXPECT_EQ(refusal(pod_with(R"("containerStatuses")", R"("x")")),
            "the state of its containers is not known yet");
  EXPECT_EQ(refusal(pod_with(R"("ready": true)", R"("ready": false)")),
            "container `app` is not ready");
  EXPECT_EQ(
      refusal(pod_with(R"({"running": {}})",
                       R"({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}})")),
      "container `app` is waiting (CrashLoopBackOff: back-off)");
  EXPECT_EQ(refusal(pod_with("containerd://0123abcd", "podman://1")),
            "its container runtime `podman` is not known");
  EXPECT_EQ(refusal(pod_with("containerd://0123abcd", "")), "container `app` has no id yet (``)");
  EXPECT_EQ(refusal(parsed(kPod), "other"), "it has no container `other`");
  EXPECT_EQ(refusal(Json()), "its phase is Unknown");
}

TEST(PodTarget, SidecarsAreNotChosenUnlessNamed) {
  const Json pod = pod_of({"istio-proxy", "web"});
  EXPECT_EQ(target_of_pod(pod.view(), "")->container, "web");
  EXPECT_TRUE(target_of_pod(pod.view(), "")->warnings.empty());
  EXPECT_EQ(target_of_pod(pod.view(), "")->mesh, Mesh::kIstio);
  EXPECT_EQ(target_of_pod(pod.view(), "istio-proxy")->container, "istio-proxy");
}

TEST(PodTarget, AGuessIsSaid) {
  const auto target = target_of_pod(pod_of({"a", "b"}).view(), "");
  EXPECT_EQ(target->container, "a");
  ASSERT_EQ(target->warnings.size(), 1U);
  EXPECT_NE(target->warnings[0].find("several containers (a, b); `a` is used"), std::string::npos);
  const auto sidecars = target_of_pod(pod_of({"linkerd-proxy"}).view(), "");
  EXPECT_EQ(sidecars->container, "linkerd-proxy");
  EXPECT_NE(sidecars->warnings.at(0).find("only sidecars"), std::string::npos);
}

TEST(PodTarget, TheAnnotatedContainerIsChosen) {
  const auto chosen = [](std::string_view name) {
    const std::string annotation =
        R"({"kubectl.kubernetes.io/default-container":")" + std::string(name) + "\"}";
    return target_of_pod(pod_of({"a", "b"}, annotation).view(), "")->container;
  };
  EXPECT_EQ(chosen("b"), "b");
  EXPECT_EQ(chosen("gone"), "a");
}

TEST(PodTarget, ANativeSidecarCanBeNamed) {
  Json pod = parsed(kPod);
  Json spec(pod["spec"]);
  spec.set("initContainers", parsed(R"([{"name":"log","restartPolicy":"Always"}])"));
  Json status(pod["status"]);
  status.set("initContainerStatuses",
             parsed(R"([{"name":"log","ready":true,"started":true,"state":{"running":{}},
                         "containerID":"cri-o://77"}])"));
  pod.set("spec", std::move(spec));
  pod.set("status", std::move(status));
  const auto target = target_of_pod(pod.view(), "log");
  ASSERT_TRUE(target) << target.error().what;
  EXPECT_EQ(target->container_id, "77");
  EXPECT_EQ(target->runtime, "cri-o");
  EXPECT_EQ(target_of_pod(pod.view(), "")->container, "app");
}

TEST(PodTarget, MeshesAreTold) {
  const auto mesh = [](std::initializer_list<std::string_view> names,
                       std::string_view annotations = "{}") {
    return target_of_pod(pod_of(names, annotations).view(), "app")->mesh;
  };
  EXPECT_EQ(mesh({"app"}), Mesh::kNone);
  EXPECT_EQ(mesh({"app", "istio-proxy", "istio-validation"}), Mesh::kIstioCni);
  EXPECT_EQ(mesh({"app", "istio-init"}), Mesh::kIstio);
  EXPECT_EQ(mesh({"app", "linkerd-proxy"}), Mesh::kLinkerd);
  EXPECT_EQ(mesh({"app", "kuma-sidecar"}), Mesh::kKuma);
  EXPECT_EQ(mesh({"app", "istio-proxy"}, R"({"ambient.istio.io/redirection":"enabled"})"),
            Mesh::kIstioAmbient);
}

TEST(ChoosePod, TheNewestFitOneWins) {
  Json pods = Json::array();
  pods.push(pod_with("web-1", "old"));
  Json newer = pod_with("2026-01-02T03:04:05Z", "2026-01-03T00:00:00Z");
  pods.push(newer);
  Json newest = pod_with("2026-01-02T03:04:05Z", "2026-01-04T00:00:00Z");
  newest.set("status", parsed(R"({"phase":"Pending"})"));
  pods.push(newest);
  EXPECT_EQ(choose_pod(pods.view(), {})->name, "web-1");
}

TEST(ChoosePod, EveryCandidateSaysWhyItWasRefused) {
  EXPECT_EQ(choose_pod(parsed("[]").view(), {}).error().what, "it has no pods");
  Json pods = Json::array();
  for (int i = 0; i < 7; ++i)
    pods.push(pod_with(R"("Running")", R"("Pending")"));
  const std::string what = choose_pod(pods.view(), {}).error().what;
  EXPECT_TRUE(what.starts_with(
      "none of its pods is ready to be targeted (web-1: its phase is Pending; web-1: "))
      << what;
  EXPECT_TRUE(what.ends_with("; and 2 more)")) << what;
}

TEST(Selector, HasLabelsAndExpressions) {
  EXPECT_EQ(selector_text(parsed(R"({"matchLabels":{"a":"1","b":"2"},"matchExpressions":[
      {"key":"t","operator":"In","values":["x","y"]},{"key":"u","operator":"NotIn","values":["z"]},
      {"key":"v","operator":"Exists"},{"key":"w","operator":"DoesNotExist"}]})")
                              .view()),
            "a=1,b=2,t in (x,y),u notin (z),v,!w");
  EXPECT_EQ(selector_text(JsonView()), "");
  EXPECT_EQ(label_map_text(parsed(R"({"app":"x"})").view()), "app=x");
}

}  // namespace
}  // namespace mirrord::k8s
