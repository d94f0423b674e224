// k8s/target_path.h — what in the cluster a user means: deployment/web/container/app and its kin.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/error.h"

namespace mirrord::k8s {

enum class TargetKind {
  kTargetless,
  kPod,
  kDeployment,
  kRollout,  // argoproj.io
  kJob,
  kCronJob,
  kStatefulSet,
  kService,
  kReplicaSet,
  kDaemonSet,  // the original has no such target
  kLabels,     // pods with all of some labels
};

// A kind whose objects the API server knows by name.
struct KindInfo {
  TargetKind kind;
  std::string_view word;        // in a target's text: "statefulset"
  std::string_view alias;       // another word for it; empty: none
  std::string_view object_key;  // in the configuration's object form: "stateful_set"
  std::string_view api_kind;    // "StatefulSet"
  std::string_view api_path;    // "/apis/apps/v1"; the core group: "/api/v1"
  std::string_view resource;    // "statefulsets"
};
std::span<const KindInfo> target_kinds();
const KindInfo* find_kind(TargetKind kind);             // null for kTargetless and kLabels
const KindInfo* find_kind_word(std::string_view word);  // by word or alias; null: unknown

struct TargetPath {
  TargetKind kind = TargetKind::kTargetless;
  std::string name;                                         // empty for kTargetless and kLabels
  std::vector<std::pair<std::string, std::string>> labels;  // kLabels: sorted by key, not empty
  std::string container;                                    // empty: chosen by the program
  bool operator==(const TargetPath&) const = default;
};

// KIND/NAME[/container/CONTAINER], label/KEY=VALUE[,KEY=VALUE]…[/container/CONTAINER], targetless.
// The error says what is wrong with `text`; its hint lists the forms.
Result<TargetPath> parse_target_path(std::string_view text);

// The same in canonical spelling: `deploy/x` becomes `deployment/x`.
std::string to_text(const TargetPath& path);

// The list of forms that hints show: "pod/NAME, deployment/NAME, …".
std::string target_forms();

}  // namespace mirrord::k8s
