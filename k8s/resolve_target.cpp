// k8s/resolve_target.cpp — asks the API server for what a target's path names.
#include "k8s/resolve_target.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "k8s/near_names.h"

namespace mirrord::k8s {
namespace {

constexpr char kMetadataList[] =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

// The request for one namespace and target, with the words that its errors begin with.
class Resolver {
 public:
  Resolver(ApiClient& client, const TargetPath& path, std::string name_space)
      : client_(client), path_(path), name_space_(std::move(name_space)) {}

  Result<TargetPod> run() {
    if (path_.kind == TargetKind::kPod)
      return resolve_pod();
    std::string selector;
    if (path_.kind == TargetKind::kLabels) {
      for (const auto& [key, value] : path_.labels)
        selector += (selector.empty() ? "" : ",") + key + "=" + value;
    } else {
      MIRRORD_TRY(found, selector_of(*find_kind(path_.kind), path_.name));
      selector = std::move(found);
    }
    return resolve_selector(selector);
  }

 private:
  [[nodiscard]] std::string tried() const {
    return "find " + to_text(path_) + " in namespace " + name_space_ + ": ";
  }

  [[nodiscard]] std::unexpected<Error> refused(Error error) const {
    error.what = tried() + error.what;
    return std::unexpected(std::move(error));
  }

  [[nodiscard]] std::string url(const KindInfo& kind, std::string_view name) const {
    return std::string(kind.api_path) + "/namespaces/" + escape(name_space_) + "/" +
           std::string(kind.resource) + (name.empty() ? "" : "/" + escape(name));
  }

  [[nodiscard]] std::string list_pods_url(const std::string& selector) const {
    return url(*find_kind(TargetKind::kPod), "") + "?limit=500&labelSelector=" + escape(selector);
  }

  Result<Json> get(const KindInfo& kind, std::string_view name) {
    auto answer = client_.begin_get(url(kind, name)).wait();
    if (answer)
      return std::move(*answer);
    if (answer.error().status == 404)
      return not_found(kind, std::string(name));
    return refused(std::move(answer.error()));
  }

  Result<TargetPod> resolve_pod() {
    MIRRORD_TRY(pod, get(*find_kind(TargetKind::kPod), path_.name));
    auto target = target_of_pod(pod.view(), path_.container);
    if (!target) {
      if (target.error().hint.empty())
        target.error().hint = "Wait until it is ready, or name another target.";
      return refused(std::move(target.error()));
    }
    target->path = path_;
    return target;
  }

  Result<TargetPod> resolve_selector(const std::string& selector) {
    if (selector.empty())
      return refused({ErrorCode::kNotFound, "it selects no pods (its selector is empty)",
                      "Name a pod or another workload instead."});
    auto pods = client_.begin_get(list_pods_url(selector)).wait();
    if (!pods)
      return refused(std::move(pods.error()));
    auto target = choose_pod((*pods)["items"], path_);
    if (!target)
      return refused(std::move(target.error()));
    target->path = path_;
    target->selector = selector;
    return target;
  }

  Result<std::string> selector_of(const KindInfo& kind, const std::string& name) {
    MIRRORD_TRY(object, get(kind, name));
    const JsonView spec = object["spec"];
    switch (kind.kind) {
      case TargetKind::kService:
        return label_map_text(spec["selector"]);
      case TargetKind::kCronJob:
        return selector_of_cron_job(object.view());
      case TargetKind::kRollout:
        if (!spec["selector"].is_present())
          return selector_of_reference(spec["workloadRef"]);
        return selector_text(spec["selector"]);
      default:
        return selector_text(spec["selector"]);
    }
  }

  // A rollout may leave its pods' description to another workload.
  Result<std::string> selector_of_reference(JsonView reference) {
    const std::string name(reference["name"].text());
    const std::string_view api_kind = reference["kind"].text();
    if (api_kind == "PodTemplate") {
      auto object = client_
                        .begin_get("/api/v1/namespaces/" + escape(name_space_) + "/podtemplates/" +
                                   escape(name))
                        .wait();
      if (!object)
        return refused(std::move(object.error()));
      return label_map_text((*object)["template"]["metadata"]["labels"].is_present()
                                ? (*object)["template"]["metadata"]["labels"]
                                : (*object)["metadata"]["labels"]);
    }
    for (const KindInfo& kind : target_kinds()) {
      if (kind.api_kind == api_kind && kind.api_path == "/apis/apps/v1")
        return selector_of(kind, name);
    }
    return refused({ErrorCode::kUnsupported,
                    "it has no selector, and refers to a workload of the unknown kind `" +
                        std::string(api_kind) + "`",
                    "Name the workload's pods by label/KEY=VALUE."});
  }

  // Whoever may not list jobs has none.
  std::optional<Json> newest_job_of(std::string_view owner, const KindInfo& kind) {
    const auto jobs = client_.begin_get(url(kind, "")).wait();
    JsonView newest;
    for (const JsonView job : jobs ? (*jobs)["items"] : JsonView()) {
      const bool is_newer = job["metadata"]["creationTimestamp"].text() >
                            newest["metadata"]["creationTimestamp"].text();
      if (job["metadata"]["ownerReferences"].at(0)["uid"].text() == owner &&
          job["status"]["active"].number() > 0 && is_newer)
        newest = job;
    }
    return newest.is_present() ? std::optional(Json(newest)) : std::nullopt;
  }

  // The newest of the jobs that run now.
  Result<std::string> selector_of_cron_job(JsonView cron_job) {
    const KindInfo& kind = *find_kind(TargetKind::kJob);
    std::vector<ApiClient::Call> calls;
    for (const JsonView active : cron_job["status"]["active"])
      calls.push_back(client_.begin_get(url(kind, active["name"].text())));
    std::optional<Json> newest;
    std::optional<ApiError> failure;
    for (ApiClient::Call& call : calls) {
      auto job = call.wait();
      if (!job)
        failure = std::move(job.error());
      else if (!newest || (*job)["metadata"]["creationTimestamp"].text() >
                              (*newest)["metadata"]["creationTimestamp"].text())
        newest = std::move(*job);
    }
    // The controller does not count those that somebody made by hand from it.
    if (!newest && !failure)
      newest = newest_job_of(cron_job["metadata"]["uid"].text(), kind);
    if (newest)
      return selector_text((*newest)["spec"]["selector"]);
    if (failure && failure->status != 404)
      return refused(std::move(*failure));
    return refused({ErrorCode::kNotFound, "none of its jobs runs now",
                    "Start one with 'kubectl create job NAME --from=cronjob/" + path_.name +
                        " -n " + name_space_ + "' and name job/NAME as the target."});
  }

  std::vector<std::string> names_in(const ApiResult<Json>& list) {
    std::vector<std::string> names;
    if (list) {
      for (const JsonView item : (*list)["items"])
        names.emplace_back(item["metadata"]["name"].text());
    }
    return names;
  }

  ApiClient::Call begin_list(const std::string& path) {
    constexpr std::chrono::milliseconds kLimit{5000};
    return client_.begin({.path = path, .accept = kMetadataList, .timeout = kLimit});
  }

  // Says what there is instead.
  std::unexpected<Error> not_found(const KindInfo& kind, const std::string& name) {
    const std::string resource(kind.resource);
    ApiClient::Call neighbours = begin_list(url(kind, "") + "?limit=500");
    ApiClient::Call elsewhere =
        begin_list(std::string(kind.api_path) + "/" + resource +
                   "?limit=500&fieldSelector=" + escape("metadata.name=" + name));
    ApiClient::Call name_space = client_.begin_get("/api/v1/namespaces/" + escape(name_space_));
    const auto list = neighbours.wait();
    const auto others = elsewhere.wait();
    const auto space = name_space.wait();
    if (!space && space.error().status == 404)
      return refused({ErrorCode::kNotFound, "there is no such namespace",
                      "Set target.namespace, or -n, to one of 'kubectl get namespaces'."});
    if (!list && list.error().status == 404)
      return refused(
          {ErrorCode::kUnsupported,
           "the cluster has no " + resource +
               (kind.kind == TargetKind::kRollout ? ": Argo Rollouts is not installed" : ""),
           "Name a target of another kind; 'mirrord ls' lists them."});
    std::string hint;
    std::vector<std::string> spaces;
    if (others) {
      for (const JsonView item : (*others)["items"])
        spaces.emplace_back(item["metadata"]["namespace"].text());
    }
    for (const std::string& near : near_names(name, names_in(list)))
      hint += (hint.empty() ? "Did you mean " : ", ") + std::string(kind.word) + "/" + near;
    if (!hint.empty())
      hint += "?";
    if (!spaces.empty())
      hint += (hint.empty() ? "" : " ") + ("It exists in namespace " + spaces.front()) +
              (spaces.size() > 1 ? " and others" : "") + ": use -n " + spaces.front() + ".";
    if (hint.empty())
      hint = "'mirrord ls -n " + name_space_ + "' lists the targets there are.";
    return refused(
        {ErrorCode::kNotFound, "there is no " + std::string(kind.word) + " `" + name + "`", hint});
  }

  ApiClient& client_;
  const TargetPath& path_;
  std::string name_space_;
};

}  // namespace

Result<TargetPod> resolve_target(ApiClient& client, const TargetPath& path,
                                 std::string_view name_space) {
  if (path.kind == TargetKind::kTargetless)
    return fail(ErrorCode::kInternal, "a targetless session has no pod to find");
  return Resolver(client, path,
                  std::string(name_space.empty() ? client.config().name_space : name_space))
      .run();
}

}  // namespace mirrord::k8s
