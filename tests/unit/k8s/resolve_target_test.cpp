// tests/unit/k8s/resolve_target_test.cpp — from every kind of target to a pod, and what is said when
// there is none.
#include "k8s/resolve_target.h"

#include <gtest/gtest.h>

#include <map>

#include "net/loop.h"
#include "tests/unit/k8s/fake_api_server.h"
#include "tests/unit/k8s/sample.h"

namespace mirrord::k8s {
namespace {

using Objects = std::map<std::string, std::string>;  // path, or path?labelSelector=… → body

// Objects by path; lists of pods by path and selector.
class Cluster {
 public:
  explicit Cluster(Objects objects)
      : objects_(std::move(objects)),
        server_([this](const FakeApiServer::Request& request) { return answer(request); }),
        client_(loop_, server_.config()) {}

  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;
  Result<TargetPod> resolve(std::string_view target, std::string_view name_space = "") {
    return resolve_target(client_, *parse_target_path(target), name_space);
  }
  const FakeApiServer& server() const { return server_; }

 private:
  FakeApiServer::Answer answer(const FakeApiServer::Request& request) {
    std::string key = request.path;
    if (const std::size_t at = request.query.find("labelSelector="); at != std::string::npos)
      key += "?" + request.query.substr(at);
    const auto found = objects_.find(key);
    if (found != objects_.end())
      return {.body = found->second};
    return refusal(404, "NotFound", request.path + " not found");
  }

  Objects objects_;
  FakeApiServer server_;
  net::Loop loop_;
  ApiClient client_;
};

const std::string kPods = std::string(R"({"kind":"PodList","items":[)") + kPod + "]}";
const std::string kSelectsWeb = R"({"spec":{"selector":{"matchLabels":{"app":"web"}}}})";
constexpr char kWebPods[] = "/api/v1/namespaces/shop/pods?labelSelector=app%3Dweb";

TEST(Resolve, APodByItsName) {
  Cluster cluster(Objects{{"/api/v1/namespaces/shop/pods/web-1", kPod}});
  const auto target = cluster.resolve("pod/web-1");
  ASSERT_TRUE(target) << target.error().what;
  EXPECT_EQ(target->name, "web-1");
  EXPECT_EQ(target->selector, "");
  EXPECT_EQ(to_text(target->path), "pod/web-1");
  EXPECT_EQ(cluster.server().requests().size(), 1U);
}

TEST(Resolve, EveryWorkloadBySelector) {
  const std::pair<const char*, const char*> workloads[] = {
      {"deployment/w", "/apis/apps/v1/namespaces/shop/deployments/w"},
      {"statefulset/w", "/apis/apps/v1/namespaces/shop/statefulsets/w"},
      {"replicaset/w", "/apis/apps/v1/namespaces/shop/replicasets/w"},
      {"daemonset/w", "/apis/apps/v1/namespaces/shop/daemonsets/w"},
      {"job/w", "/apis/batch/v1/namespaces/shop/jobs/w"},
      {"rollout/w", "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/w"},
  };
  for (const auto& [target, path] : workloads) {
    Cluster cluster(Objects{{path, kSelectsWeb}, {kWebPods, kPods}});
    const auto found = cluster.resolve(target);
    ASSERT_TRUE(found) << found.error().what;
    EXPECT_EQ(found->name, "web-1") << target;
    EXPECT_EQ(found->selector, "app=web");
    EXPECT_EQ(cluster.server().requests().size(), 2U) << target;
  }
}

TEST(Resolve, AServiceAndLabels) {
  Cluster cluster(
      Objects{{"/api/v1/namespaces/shop/services/w", R"({"spec":{"selector":{"app":"web"}}})"},
              {kWebPods, kPods}});
  EXPECT_EQ(cluster.resolve("service/w")->name, "web-1");
  EXPECT_EQ(cluster.resolve("label/app=web/container/app")->container, "app");
}

TEST(Resolve, ARolloutThatRefersToADeployment) {
  Cluster cluster(
      {{"/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/r",
        R"({"spec":{"workloadRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"w"}}})"},
       {"/apis/apps/v1/namespaces/shop/deployments/w", kSelectsWeb},
       {kWebPods, kPods}});
  EXPECT_EQ(cluster.resolve("rollout/r")->name, "web-1");
}

TEST(Resolve, TheNewestRunningJobOfACronJob) {
  const auto job = [](const char* time, const char* label) {
    return R"({"metadata":{"creationTimestamp":")" + std::string(time) +
           R"("},"spec":{"selector":{"matchLabels":{"app":")" + label + R"("}}}})";
  };
  Cluster cluster(
      Objects{{"/apis/batch/v1/namespaces/shop/cronjobs/c",
               R"({"status":{"active":[{"name":"c-1"},{"name":"c-2"},{"name":"c-3"}]}})"},
              {"/apis/batch/v1/namespaces/shop/jobs/c-1", job("2026-01-01T00:00:00Z", "old")},
              {"/apis/batch/v1/namespaces/shop/jobs/c-2", job("2026-01-02T00:00:00Z", "web")},
              {kWebPods, kPods}});
  EXPECT_EQ(cluster.resolve("cronjob/c")->name, "web-1");
  Cluster idle(Objects{{"/apis/batch/v1/namespaces/shop/cronjobs/c", "{}"}});
  const auto none = idle.resolve("cronjob/c");
  EXPECT_EQ(none.error().what, "find cronjob/c in namespace shop: none of its jobs runs now");
  EXPECT_NE(none.error().hint.find("kubectl create job"), std::string::npos);
}

TEST(Resolve, NearNamesAndOtherNamespacesAreProposed) {
  Cluster cluster(
      {{"/api/v1/namespaces/shop", "{}"},
       {"/apis/apps/v1/namespaces/shop/deployments",
        R"({"kind":"List","items":[{"metadata":{"name":"web"}},{"metadata":{"name":"db"}}]})"},
       {"/apis/apps/v1/deployments",
        R"({"kind":"List","items":[{"metadata":{"name":"wep","namespace":"prod"}}]})"}});
  const auto target = cluster.resolve("deployment/wep");
  EXPECT_EQ(target.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(target.error().what,
            "find deployment/wep in namespace shop: there is no deployment `wep`");
  EXPECT_EQ(target.error().hint,
            "Did you mean deployment/web? It exists in namespace prod: use -n prod.");
}

TEST(Resolve, AMissingNamespaceOrKindIsNamed) {
  Cluster cluster(Objects{});
  EXPECT_EQ(cluster.resolve("pod/x", "nowhere").error().what,
            "find pod/x in namespace nowhere: there is no such namespace");
  Cluster plain(Objects{{"/api/v1/namespaces/shop", "{}"}});
  EXPECT_EQ(plain.resolve("rollout/r").error().what,
            "find rollout/r in namespace shop: the cluster has no rollouts: Argo Rollouts is not "
            "installed");
}

TEST(Resolve, AWorkloadWithoutPodsSaysSo) {
  Cluster cluster(Objects{{"/apis/apps/v1/namespaces/shop/deployments/w", kSelectsWeb},
                          {kWebPods, R"({"kind":"PodList","items":[]})"},
                          {"/api/v1/namespaces/shop/services/s", R"({"spec":{}})"}});
  EXPECT_EQ(cluster.resolve("deployment/w").error().what,
            "find deployment/w in namespace shop: it has no pods");
  EXPECT_NE(cluster.resolve("service/s").error().what.find("selects no pods"), std::string::npos);
}

}  // namespace
}  // namespace mirrord::k8s
