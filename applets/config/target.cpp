// applets/config/target.cpp — reads targets as the user writes them.
#include "applets/config/target.h"

#include <algorithm>
#include <charconv>

#include "applets/config/suggest.h"

namespace mirrord::config {
namespace {

struct Kind {
  std::string_view word;
  TargetKind kind;
};

constexpr Kind kKinds[] = {
    {"process", TargetKind::kProcess},        {"container", TargetKind::kContainer},
    {"pod", TargetKind::kKubernetes},         {"deployment", TargetKind::kKubernetes},
    {"deploy", TargetKind::kKubernetes},      {"rollout", TargetKind::kKubernetes},
    {"job", TargetKind::kKubernetes},         {"cronjob", TargetKind::kKubernetes},
    {"statefulset", TargetKind::kKubernetes}, {"service", TargetKind::kKubernetes},
    {"replicaset", TargetKind::kKubernetes},  {"label", TargetKind::kKubernetes},
};

constexpr char kForms[] =
    "Valid targets: process/PID, container/NAME, demo, targetless; with Kubernetes "
    "<pod|deployment|rollout|job|cronjob|statefulset|service|replicaset>/NAME"
    "[/container/CONTAINER] and label/KEY=VALUE.";

std::unexpected<Error> invalid(std::string_view text, const std::string& why) {
  return fail(ErrorCode::kConfig, "invalid target `" + std::string(text) + "`: " + why, kForms);
}

std::unexpected<Error> unknown_kind(std::string_view text, std::string_view word) {
  Nearest nearest(word);
  for (const Kind& kind : kKinds)
    nearest.offer(kind.word);
  nearest.offer("demo");
  nearest.offer("targetless");
  std::string why = "there is no target kind `" + std::string(word) + "`";
  if (!nearest.found().empty())
    why += "; did you mean `" + std::string(nearest.found()) + "`?";
  else if (text.find('/') == std::string_view::npos)
    why += "; did you mean `pod/" + std::string(text) + "`?";
  return invalid(text, why);
}

Result<Target> process_target(std::string_view text, std::string_view name, Target target) {
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), target.pid);
  if (code != std::errc() || end != name.data() + name.size() || target.pid <= 0)
    return invalid(text, "`" + std::string(name) + "` is not a process id");
  return target;
}

Status check_workload(std::string_view text, std::string_view name) {
  const std::size_t slash = name.find('/');
  if (slash == 0)
    return invalid(text, "the name is empty");
  if (slash == std::string_view::npos)
    return {};
  constexpr std::string_view kContainer = "container/";
  const std::string_view rest = name.substr(slash + 1);
  if (!rest.starts_with(kContainer) || rest.size() == kContainer.size() ||
      rest.find('/', kContainer.size()) != std::string_view::npos)
    return invalid(text, "after the name only /container/CONTAINER may follow");
  return {};
}

Status check_labels(std::string_view text, std::string_view labels) {
  constexpr std::string_view kContainer = "/container/";
  if (const std::size_t at = labels.rfind(kContainer); at != std::string_view::npos) {
    if (labels.substr(at + kContainer.size()).empty())
      return invalid(text, "the container's name is empty");
    labels = labels.substr(0, at);
  }
  std::vector<std::string_view> keys;
  while (true) {
    const std::size_t comma = labels.find(',');
    const std::string_view item = labels.substr(0, comma);
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return invalid(text, "a label is written KEY=VALUE");
    if (std::ranges::find(keys, item.substr(0, equals)) != keys.end())
      return invalid(text, "the label `" + std::string(item.substr(0, equals)) + "` stands twice");
    keys.push_back(item.substr(0, equals));
    if (comma == std::string_view::npos)
      return {};
    labels = labels.substr(comma + 1);
  }
}

}  // namespace

Result<Target> parse_target(std::string_view text) {
  Target target;
  target.is_explicit = true;
  if (text == "targetless")
    return target;
  if (text == "demo") {
    target.kind = TargetKind::kDemo;
    return target;
  }
  const std::size_t slash = text.find('/');
  const std::string_view word = text.substr(0, slash);
  const auto kind = std::ranges::find(kKinds, word, &Kind::word);
  if (kind == std::end(kKinds))
    return unknown_kind(text, word);
  const std::string_view name =
      slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
  if (name.empty())
    return invalid(text, "the name after `" + std::string(word) + "/` is missing");
  target.kind = kind->kind;
  if (target.kind == TargetKind::kProcess)
    return process_target(text, name, std::move(target));
  if (target.kind == TargetKind::kContainer) {
    target.name = name;
    return target;
  }
  MIRRORD_CHECK_STATUS(word == "label" ? check_labels(text, name) : check_workload(text, name));
  target.name = text;
  return target;
}

Error kubernetes_missing(const Target& target) {
  return {
      ErrorCode::kUnsupported,
      "the target `" + target.name + "` needs the Kubernetes part, which is not in this version",
      "Use process/PID, container/NAME or demo, or reach a running agent with "
      "--agent-address HOST:PORT."};
}

}  // namespace mirrord::config
