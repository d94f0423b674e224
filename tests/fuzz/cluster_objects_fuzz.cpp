// tests/fuzz/cluster_objects_fuzz.cpp — whatever an API server answers: lists of pods in protobuf, and
// objects in JSON through all that judges them.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "k8s/agent_manifest.h"
#include "k8s/agent_state.h"
#include "k8s/list_targets.h"
#include "k8s/pod_list_reader.h"
#include "k8s/resolve_target.h"

using namespace mirrord::k8s;

namespace {

void read_list(std::string_view bytes) {
  PodListReader reader([size = bytes.size()](const ListedPod& pod) {
    if (pod.name.size() > size)
      __builtin_trap();
  });
  constexpr std::size_t kPiece = 11;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(kPiece, bytes.size())))
    if (!reader.feed(bytes.substr(0, kPiece)))
      return;
}

void judge(JsonView object) {
  AgentPlan plan;
  for (const auto kind : {AgentKind::kJob, AgentKind::kEphemeral}) {
    plan.kind = kind;
    if (auto target = target_of_pod(object, "")) {
      plan.target = std::move(*target);
      static_cast<void>(job_manifest(plan));
      static_cast<void>(ephemeral_container(plan));
    }
    static_cast<void>(judge_pod(object, plan, kAgentContainer));
    static_cast<void>(judge_job_event(object, plan));
    static_cast<void>(judge_pod_event(object, plan, kAgentContainer));
  }
  static_cast<void>(choose_pod(object["items"], {}));
  static_cast<void>(selector_text(object["spec"]["selector"]));
  static_cast<void>(label_map_text(object["spec"]["selector"]));
  for (const KindInfo& kind : target_kinds())
    static_cast<void>(targets_of_object(kind.kind, object, false));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read_list(text);
  if (const auto object = Json::parse(text, "the input"))
    judge(object->view());
  if (const auto path = parse_target_path(text);
      path && *parse_target_path(to_text(*path)) != *path)
    __builtin_trap();
  return 0;
}
