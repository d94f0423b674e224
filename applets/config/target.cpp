// applets/config/target.cpp — reads targets as the user writes them.
#include "applets/config/target.h"

#include <charconv>
#include <utility>

#include "applets/json_text.h"
#include "k8s/target_path.h"
#include "net/spelling.h"

namespace mirrord::config {
namespace {

std::string forms() {
  return "Valid targets: process/PID, container/NAME, demo; in a cluster " + k8s::target_forms() +
         ".";
}

std::unexpected<Error> invalid(std::string_view text, const std::string& why) {
  return fail(ErrorCode::kConfig, "invalid target `" + std::string(text) + "`: " + why, forms());
}

std::unexpected<Error> unknown_kind(std::string_view text, std::string_view word) {
  net::Nearest nearest(word);
  for (const k8s::KindInfo& kind : k8s::target_kinds()) {
    nearest.offer(kind.word);
    if (!kind.alias.empty())
      nearest.offer(kind.alias);
  }
  nearest.offer("process");
  nearest.offer("container");
  nearest.offer("label");
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
  const bool is_process = word == "process";
  const bool is_container = word == "container";
  if (!is_process && !is_container && word != "label" && k8s::find_kind_word(word) == nullptr)
    return unknown_kind(text, word);
  const std::string_view name =
      slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
  if (name.empty())
    return invalid(text, "the name after `" + std::string(word) + "/` is missing");
  if (is_process) {
    target.kind = TargetKind::kProcess;
    return process_target(text, name, std::move(target));
  }
  if (is_container) {
    target.kind = TargetKind::kContainer;
    target.name = name;
    return target;
  }
  auto path = k8s::parse_target_path(text);
  if (!path)
    return fail(ErrorCode::kConfig, std::move(path.error().what), forms());
  target.kind = TargetKind::kKubernetes;
  target.name = k8s::to_text(*path);
  target.path = std::move(*path);
  return target;
}

std::string target_json(const Target& target) {
  switch (target.kind) {
    case TargetKind::kTargetless:
      return target.is_explicit ? "\"targetless\"" : "null";
    case TargetKind::kDemo:
      return "\"demo\"";
    case TargetKind::kProcess:
      return "{\"process\":" + std::to_string(target.pid) + "}";
    case TargetKind::kContainer:
      return "{\"container\":" + json_quoted(target.name) + "}";
    case TargetKind::kAddress:
      return "{\"address\":" + json_quoted(target.address) + "}";
    case TargetKind::kKubernetes:
      break;
  }
  const k8s::TargetPath& path = target.path;
  const std::string container = path.container.empty() ? "null" : json_quoted(path.container);
  const k8s::KindInfo* kind = k8s::find_kind(path.kind);
  if (kind != nullptr)
    return "{" + json_quoted(kind->object_key) + ":" + json_quoted(path.name) +
           ",\"container\":" + container + "}";
  std::string labels;
  for (const auto& [key, value] : path.labels)
    labels += (labels.empty() ? "" : ",") + json_quoted(key) + ":" + json_quoted(value);
  return "{\"labels\":{" + labels + "},\"container\":" + container + "}";
}

Error kubernetes_missing(const Target& target) {
  return {
      ErrorCode::kUnsupported,
      "the target `" + target.name + "` needs the Kubernetes part, which is not in this version",
      "Use process/PID, container/NAME or demo, or reach a running agent with "
      "--agent-address HOST:PORT."};
}

}  // namespace mirrord::config
