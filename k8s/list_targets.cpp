// k8s/list_targets.cpp — pages of lists, several kinds at a time.
#include "k8s/list_targets.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "k8s/pod_list_reader.h"
#include "k8s/sidecars.h"

namespace mirrord::k8s {
namespace {

using std::chrono::seconds;

constexpr char kMetadataList[] =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
// Not our own pods, nor those that an operator made for a session.
constexpr char kNotOurs[] = "app!=mirrord,!operator.metalbear.co/owner";
constexpr char kProtobuf[] = "application/vnd.kubernetes.protobuf,application/json";
constexpr std::size_t kMostAtATime = 3;
constexpr std::size_t kMostOfJson = std::size_t{64} << 20;  // of a list that comes in one page
constexpr seconds kPageLimit{30};
constexpr seconds kTotalLimit{300};

bool is_ready(JsonView pod) {
  for (const JsonView condition : pod["status"]["conditions"])
    if (condition["type"].text() == "Ready")
      return condition["status"].text() == "True";
  return false;
}

std::vector<std::string> targets_of_pod(const ListedPod& pod, bool wants_unready) {
  if (pod.name.empty() || (!wants_unready && !pod.is_ready))
    return {};
  TargetPath path{.kind = TargetKind::kPod, .name = pod.name};
  std::vector<std::string> targets;
  for (const std::string& container : pod.containers) {
    if (is_sidecar(container))
      continue;
    path.container = container;
    targets.push_back(to_text(path));
  }
  path.container.clear();
  if (targets.size() == 1)
    return {to_text(path)};
  return targets;
}

ApiError no_list() {
  ApiError error;
  error.code = ErrorCode::kPeer;
  error.what = "the answer is no list";
  return error;
}

bool is_list(const Json& answer) {
  return answer["kind"].text().ends_with("List");
}

// One list, page after page.
struct Part {
  std::string path;  // without the page's place
  bool wants_metadata_only = false;
  std::function<void(JsonView item)> take;
  // Set for pods: the list is read as it arrives, in another form, unless that fails.
  std::function<void(const ListedPod& pod)> take_pod;
  std::function<void()> forget;  // what was taken: the list begins again

  std::unique_ptr<PodListReader> reader;
  std::unique_ptr<ApiClient::Stream> stream;
  std::string json;  // of a server that does not know the other form
  bool has_begun = false;
  bool is_broken = false;
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
    if (next_ == parts_.size())
      return;
    Part& part = *parts_[next_++];
    if (part.take_pod)
      stream(part, "");
    else
      request(part, "");
  }

  void end(Part& part, std::optional<ApiError> failure) {
    part.failure = std::move(failure);
    ++done_count_;
    begin_next();
  }

  void request(Part& part, std::string_view place) {
    ApiRequest page{.path = part.path, .timeout = kPageLimit};
    if (!place.empty())
      page.path += "&continue=" + escape(place);
    if (part.wants_metadata_only)
      page.accept = kMetadataList;
    client_.send(std::move(page), [this, &part](ApiResult<Json> answer) {
      if (!answer)
        return end(part, std::move(answer.error()));
      if (!is_list(*answer))
        return end(part, no_list());
      for (const JsonView item : (*answer)["items"])
        part.take(item);
      const std::string next((*answer)["metadata"]["continue"].text());
      if (next.empty())
        return end(part, std::nullopt);
      request(part, next);
    });
  }

  // Version 0 means "as the API server has it in memory": no wait for etcd, and one page for all.
  void stream(Part& part, std::string_view place) {
    part.reader = std::make_unique<PodListReader>(part.take_pod);
    part.json.clear();
    part.has_begun = false;
    ApiRequest page{.path = part.path, .accept = kProtobuf, .timeout = kPageLimit};
    page.path += place.empty() ? "&resourceVersion=0" : "&continue=" + escape(place);
    part.stream = client_.open_stream(
        std::move(page),
        {.opened = {},
         .line = {},
         .piece = [&part](std::string_view bytes) { feed(part, bytes); },
         .ended = [this,
                   &part](std::optional<ApiError> why) { end_stream(part, why.has_value()); }});
  }

  // A server that does not know the binary form answers in JSON.
  static void feed(Part& part, std::string_view bytes) {
    const bool is_first = !std::exchange(part.has_begun, true);
    if (part.is_broken)
      return;
    if ((is_first && bytes.starts_with('{')) || !part.json.empty()) {
      part.json += bytes;
      part.is_broken = part.json.size() > kMostOfJson;
    } else if (!part.reader->feed(bytes)) {
      part.is_broken = true;
    }
  }

  void end_stream(Part& part, bool has_failed) {
    // Its own callback runs: it may go only afterwards.
    client_.loop().defer([old = std::move(part.stream)] {});
    std::string next;
    bool is_whole = !has_failed && !part.is_broken && part.reader->is_complete();
    if (is_whole) {
      next = part.reader->continue_token();
    } else if (!has_failed && !part.is_broken && !part.json.empty()) {
      if (const auto list = Json::parse(part.json, "the list"); list && is_list(*list)) {
        is_whole = true;
        for (const JsonView item : (*list)["items"])
          part.take(item);
        next = (*list)["metadata"]["continue"].text();
      }
    }
    if (is_whole && next.empty())
      return end(part, std::nullopt);
    if (is_whole)
      return stream(part, next);
    part.forget();
    request(part, "");
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
  ListedPod pod{.name = std::move(path.name), .is_ready = is_ready(object)};
  for (const JsonView container : object["spec"]["containers"])
    pod.containers.emplace_back(container["name"].text());
  return targets_of_pod(pod, wants_unready);
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
    std::vector<std::string>& targets = found[i];
    part.take = [&targets, kind, &request](JsonView item) {
      std::ranges::move(targets_of_object(kind->kind, item, request.wants_unready),
                        std::back_inserter(targets));
    };
    if (is_pod) {
      part.take_pod = [&targets, &request](const ListedPod& pod) {
        std::ranges::move(targets_of_pod(pod, request.wants_unready), std::back_inserter(targets));
      };
      part.forget = [&targets] { targets.clear(); };
    }
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
    // Few clusters have rollouts, and few roles name them.
    const bool is_unknown_kind =
        part->failure->status == 404 ||
        (kind->kind == TargetKind::kRollout && kinds.size() > 1 && part->failure->status == 403);
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
