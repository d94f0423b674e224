// k8s/target_path.cpp — the grammar of targets.
#include "k8s/target_path.h"

#include <algorithm>
#include <optional>

namespace mirrord::k8s {
namespace {

// clang-format off
constexpr KindInfo kKinds[] = {
    {TargetKind::kPod,         "pod",         "",       "pod",          "Pod",         "/api/v1",                       "pods"},
    {TargetKind::kDeployment,  "deployment",  "deploy", "deployment",   "Deployment",  "/apis/apps/v1",                 "deployments"},
    {TargetKind::kRollout,     "rollout",     "",       "rollout",      "Rollout",     "/apis/argoproj.io/v1alpha1",    "rollouts"},
    {TargetKind::kJob,         "job",         "",       "job",          "Job",         "/apis/batch/v1",                "jobs"},
    {TargetKind::kCronJob,     "cronjob",     "",       "cron_job",     "CronJob",     "/apis/batch/v1",                "cronjobs"},
    {TargetKind::kStatefulSet, "statefulset", "",       "stateful_set", "StatefulSet", "/apis/apps/v1",                 "statefulsets"},
    {TargetKind::kService,     "service",     "",       "service",      "Service",     "/api/v1",                       "services"},
    {TargetKind::kReplicaSet,  "replicaset",  "",       "replica_set",  "ReplicaSet",  "/apis/apps/v1",                 "replicasets"},
    {TargetKind::kDaemonSet,   "daemonset",   "",       "daemon_set",   "DaemonSet",   "/apis/apps/v1",                 "daemonsets"},
};
// clang-format on

constexpr std::string_view kTargetless = "targetless";
constexpr std::string_view kLabelWord = "label";
constexpr std::string_view kContainerPart = "/container/";

std::unexpected<Error> invalid(std::string_view text, const std::string& why) {
  return fail(ErrorCode::kConfig, "invalid target `" + std::string(text) + "`: " + why,
              "Valid forms: " + target_forms() + ".");
}

// Cuts "/container/NAME" off the end of `rest`; an error's text if what stands there is malformed.
std::optional<std::string> split_container(std::string_view& rest, std::string& container) {
  const std::size_t at = rest.rfind(kContainerPart);
  if (at == std::string_view::npos)
    return std::nullopt;
  const std::string_view name = rest.substr(at + kContainerPart.size());
  if (name.empty())
    return "the container's name is empty";
  if (name.find('/') != std::string_view::npos)
    return "the container's name has a slash in it";
  container = name;
  rest = rest.substr(0, at);
  return std::nullopt;
}

// An error's text, or nothing.
std::optional<std::string> parse_labels(std::string_view rest, TargetPath& path) {
  while (true) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return "a label is written KEY=VALUE";
    path.labels.emplace_back(item.substr(0, equals), item.substr(equals + 1));
    if (comma == std::string_view::npos)
      break;
    rest = rest.substr(comma + 1);
  }
  std::ranges::sort(path.labels);
  const auto twice = std::ranges::adjacent_find(
      path.labels, [](const auto& a, const auto& b) { return a.first == b.first; });
  if (twice != path.labels.end())
    return "the label `" + twice->first + "` stands twice";
  return std::nullopt;
}

}  // namespace

std::span<const KindInfo> target_kinds() {
  return kKinds;
}

const KindInfo* find_kind(TargetKind kind) {
  const auto found = std::ranges::find(kKinds, kind, &KindInfo::kind);
  return found == std::end(kKinds) ? nullptr : found;
}

const KindInfo* find_kind_word(std::string_view word) {
  const auto found = std::ranges::find_if(kKinds, [&](const KindInfo& kind) {
    return kind.word == word || (!kind.alias.empty() && kind.alias == word);
  });
  return found == std::end(kKinds) ? nullptr : found;
}

Result<TargetPath> parse_target_path(std::string_view text) {
  TargetPath path;
  if (text == kTargetless)
    return path;
  const std::size_t slash = text.find('/');
  const std::string_view word = text.substr(0, slash);
  const KindInfo* kind = find_kind_word(word);
  if (kind == nullptr && word != kLabelWord) {
    return invalid(text, "there is no target kind `" + std::string(word) + "`" +
                             (slash == std::string_view::npos
                                  ? "; did you mean `pod/" + std::string(text) + "`?"
                                  : ""));
  }
  std::string_view rest = slash == std::string_view::npos ? "" : text.substr(slash + 1);
  if (rest.empty())
    return invalid(text, "the name after `" + std::string(word) + "/` is missing");
  if (const auto why = split_container(rest, path.container))
    return invalid(text, *why);
  if (kind == nullptr) {
    path.kind = TargetKind::kLabels;
    if (const auto why = parse_labels(rest, path))
      return invalid(text, *why);
    return path;
  }
  if (rest.empty() || rest.front() == '/')
    return invalid(text, "the name is empty");
  if (rest.find('/') != std::string_view::npos)
    return invalid(text, "after the name only /container/CONTAINER may follow");
  path.kind = kind->kind;
  path.name = rest;
  return path;
}

std::string to_text(const TargetPath& path) {
  if (path.kind == TargetKind::kTargetless)
    return std::string(kTargetless);
  std::string text;
  if (path.kind == TargetKind::kLabels) {
    text = std::string(kLabelWord) + "/";
    for (std::size_t i = 0; i < path.labels.size(); ++i)
      text += (i == 0 ? "" : ",") + path.labels[i].first + "=" + path.labels[i].second;
  } else {
    const KindInfo* kind = find_kind(path.kind);
    text = std::string(kind == nullptr ? "unknown" : kind->word) + "/" + path.name;
  }
  return path.container.empty() ? text : text + std::string(kContainerPart) + path.container;
}

std::string target_forms() {
  std::string words;
  for (const KindInfo& kind : kKinds)
    words += (words.empty() ? "" : "|") + std::string(kind.word);
  return "<" + words + ">/NAME[/container/CONTAINER], label/KEY=VALUE[,…][/container/CONTAINER], " +
         std::string(kTargetless);
}

}  // namespace mirrord::k8s
