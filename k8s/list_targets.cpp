// k8s/list_targets.cpp — pages of lists, several kinds at a time.
#include "k8s/list_targets.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "k8s/sidecars.h"

namespace mirrord::k8s {
namespace {

using std::chrono::seconds;

constexpr char kMetadataList[] =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
// Not our own pods, nor those that an operator made for a session.
constexpr char kNotOurs[] = "app!=mirrord,!operator.metalbear.co/owner";
constexpr std::size_t kMostAtATime = 3;
constexpr seconds kPageLimit{30};
constexpr seconds kTotalLimit{300};

bool is_ready(JsonView pod) {
  for (const JsonView condition : pod["status"]["conditions"])
    if (condition["type"].text() == "Ready")
      return condition["status"].text() == "True";
  return false;
}

// One list, page after page.
struct Part {
  std::string path;  // without the page's place
  bool wants_metadata_only = false;
  std::function<void(JsonView item)> take;
  bool is_done = false;
  std::optional<ApiError> failure;
};

class Pages {
 public:
  explicit Pages(ApiClient& client) : client_(client) {}

  Part& add() { return *parts_.emplace_back(std::make_unique<Part>()); }

  // False when the time is over.
  bool run() {
    for (std::size_t i = 0; i < std::min(kMostAtATime, parts_.size()); ++i)
      begin_next();
    return client_.run_until([this] { return done_count_ == parts_.size(); }, kTotalLimit);
  }

 private:
  void begin_next() {
    if (next_ < parts_.size())
      request(*parts_[next_++], "");
  }

  void request(Part& part, std::string_view place) {
    ApiRequest page{.path = part.path, .timeout = kPageLimit};
    if (!place.empty())
      page.path += "&continue=" + escape(place);
    if (part.wants_metadata_only)
      page.accept = kMetadataList;
    client_.send(std::move(page), [this, &part](ApiResult<Json> answer) {
      std::string next;
      if (answer) {
        for (const JsonView item : (*answer)["items"])
          part.take(item);
        next = (*answer)["metadata"]["continue"].text();
      } else {
        part.failure = std::move(answer.error());
      }
      if (!next.empty()) {
        request(part, next);
        return;
      }
      part.is_done = true;
      ++done_count_;
      begin_next();
    });
  }

  ApiClient& client_;
  std::vector<std::unique_ptr<Part>> parts_;
  std::size_t next_ = 0;
  std::size_t done_count_ = 0;
};

std::string page_path(const std::string& collection) {
  return collection + "?limit=500&labelSelector=" + escape(kNotOurs);
}

}  // namespace

std::vector<std::string> targets_of_object(TargetKind kind, JsonView object, bool wants_unready) {
  TargetPath path{.kind = kind, .name = std::string(object["metadata"]["name"].text())};
  if (path.name.empty())
    return {};
  if (kind == TargetKind::kDeployment && !wants_unready &&
      object["status"]["availableReplicas"].number() < 1)
    return {};
  if (kind != TargetKind::kPod)
    return {to_text(path)};
  if (!wants_unready && !is_ready(object))
    return {};
  std::vector<std::string> names;
  for (const JsonView container : object["spec"]["containers"])
    if (!is_sidecar(container["name"].text()))
      names.emplace_back(container["name"].text());
  if (names.size() == 1)
    return {to_text(path)};
  std::vector<std::string> targets;
  for (std::string& name : names) {
    path.container = std::move(name);
    targets.push_back(to_text(path));
  }
  return targets;
}

Result<TargetList> list_targets(ApiClient& client, const ListRequest& request) {
  const std::string name_space =
      request.name_space.empty() ? client.config().name_space : request.name_space;
  Pages pages(client);
  std::vector<std::pair<const KindInfo*, Part*>> kinds;
  std::vector<std::vector<std::string>> found(request.kinds.size());
  TargetList list;
  for (std::size_t i = 0; i < request.kinds.size(); ++i) {
    const KindInfo* kind = find_kind(request.kinds[i]);
    if (kind == nullptr)
      return fail(ErrorCode::kUsage, "only pods and workloads can be listed");
    Part& part = pages.add();
    part.path = page_path(std::string(kind->api_path) + "/namespaces/" + escape(name_space) + "/" +
                          std::string(kind->resource));
    const bool is_pod = kind->kind == TargetKind::kPod;
    if (is_pod && !request.wants_unready)
      part.path += "&fieldSelector=" + escape("status.phase=Running");
    part.wants_metadata_only = !is_pod && kind->kind != TargetKind::kDeployment;
    part.take = [&targets = found[i], kind, &request](JsonView item) {
      for (std::string& target : targets_of_object(kind->kind, item, request.wants_unready))
        targets.push_back(std::move(target));
    };
    kinds.emplace_back(kind, &part);
  }
  Part* namespaces = nullptr;
  if (request.wants_namespaces) {
    namespaces = &pages.add();
    namespaces->path = page_path("/api/v1/namespaces");
    namespaces->wants_metadata_only = true;
    namespaces->take = [&list](JsonView item) {
      list.namespaces.emplace_back(item["metadata"]["name"].text());
    };
  }
  if (!pages.run())
    return fail(ErrorCode::kTimeout, "list the targets of namespace " + name_space +
                                         ": the API server did not give them in time");

  std::size_t failed = 0;
  for (const auto& [kind, part] : kinds) {
    if (!part->failure)
      continue;
    ++failed;
    const bool is_unknown_kind = part->failure->status == 404;
    Error error = *part->failure;
    error.what = "list the " + std::string(kind->resource) + " of namespace " + name_space + ": " +
                 error.what;
    if (kind->kind == TargetKind::kPod || (failed == kinds.size() && !is_unknown_kind))
      return std::unexpected(std::move(error));
    if (!is_unknown_kind)
      list.failures.push_back(std::move(error));
  }
  if (namespaces != nullptr && namespaces->failure) {
    list.failures.push_back(std::move(*namespaces->failure));
    list.failures.back().what.insert(0, "list the namespaces: ");
  }
  for (std::vector<std::string>& targets : found)
    std::ranges::move(targets, std::back_inserter(list.targets));
  std::ranges::sort(list.namespaces);
  return list;
}

}  // namespace mirrord::k8s
