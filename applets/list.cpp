// applets/list.cpp — `mirrord ls`: the targets of a namespace, as JSON for people and editors.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "applets/applet.h"
#include "applets/command_log.h"
#include "applets/exec.h"
#include "applets/json_error.h"
#include "applets/json_text.h"
#include "applets/session_flags.h"
#include "k8s/list_targets.h"
#include "net/loop.h"

namespace mirrord {
namespace {

using k8s::TargetKind;

constexpr Flag kOwnFlags[] = {
    {"namespace", 'n', Takes::kValue, "NAME", "MIRRORD_TARGET_NAMESPACE", "",
     "the namespace; else target.namespace, else the context's"},
    {"target-type", 't', Takes::kValue, "KIND", "", "",
     "only this kind; may be repeated. Without it pods, deployments and rollouts, as far as they "
     "are ready"},
    {"output", 'o', Takes::kValue, "FORM", "", "", "accepted; json is the only form", "json"},
};

Result<std::vector<std::string>> types_from_environment(const std::string& text) {
  const auto wrong = [] {
    return fail(ErrorCode::kUsage, "MIRRORD_LS_TARGET_TYPES is no JSON array of target kinds",
                R"(Write it as ["deployment","pod"].)");
  };
  const auto list = k8s::Json::parse(text, "MIRRORD_LS_TARGET_TYPES");
  if (!list || !list->view().is_array())
    return wrong();
  std::vector<std::string> words;
  for (const k8s::JsonView item : list->view()) {
    if (!item.is_string())
      return wrong();
    words.emplace_back(item.text());
  }
  return words;
}

Result<std::vector<TargetKind>> kinds_to_list(std::vector<std::string> words) {
  const auto text = config::process_environment("MIRRORD_LS_TARGET_TYPES");
  if (words.empty() && text) {
    MIRRORD_TRY(given, types_from_environment(*text));
    words = std::move(given);
  }
  if (words.empty())
    return std::vector{TargetKind::kPod, TargetKind::kDeployment, TargetKind::kRollout};
  std::vector<TargetKind> kinds;
  for (const std::string& word : words) {
    const k8s::KindInfo* kind = k8s::find_kind_word(word);
    if (kind == nullptr)
      return usage_error(list_commands().front(),
                         "`" + word + "` is no kind of target that can be listed");
    if (std::ranges::find(kinds, kind->kind) == kinds.end())
      kinds.push_back(kind->kind);
  }
  return kinds;
}

std::string rich_output(const k8s::TargetList& list, const std::string& current) {
  std::string targets = "[";
  for (const std::string& target : list.targets)
    targets.append(targets.size() > 1 ? "," : "")
        .append("{\"path\":" + json_quoted(target) + ",\"available\":true}");
  return "{\"targets\":" + targets + "],\"current_namespace\":" + json_quoted(current) +
         ",\"namespaces\":" + json_list(list.namespaces) + "}";
}

Result<std::string> list(const CommandLine& line) {
  MIRRORD_TRY(kinds, kinds_to_list(line.all("target-type")));
  config::LoadRequest load = load_request(line);
  load.is_target_final = false;
  auto config = config::load(load);
  if (!config)
    return std::unexpected(config_error(config.error()));
  MIRRORD_TRY(log, open_command_log("ls"));
  MIRRORD_TRY(access, logged_client_config(config->cluster, log));
  const std::string current =
      config->target.name_space.empty() ? access.name_space : config->target.name_space;
  net::Loop loop;
  k8s::ApiClient client(loop, std::move(access));
  k8s::ListRequest request{.name_space = current, .kinds = std::move(kinds)};
  request.wants_namespaces =
      config::process_environment("MIRRORD_LS_RICH_OUTPUT").value_or("") == "true";
  MIRRORD_TRY(found, k8s::list_targets(client, request));
  // Editors take whatever stands on standard error for the error.
  const bool is_for_editor =
      config::process_environment("MIRRORD_PROGRESS_MODE").value_or("") == "json";
  for (const Error& failure : found.failures)
    if (!is_for_editor)
      std::fputs(("Warning: " + failure.what + "\n").c_str(), stderr);
  if (!request.wants_namespaces)
    return json_list(found.targets);
  if (found.namespaces.empty())
    found.namespaces.push_back(current);
  return rich_output(found, current);
}

}  // namespace

std::vector<Command> list_commands() {
  std::string words;
  for (const k8s::KindInfo& kind : k8s::target_kinds())
    words += (words.empty() ? "" : ", ") + std::string(kind.word);
  return {{
      .name = "ls",
      .purpose = "Lists the targets of a namespace as a JSON array.",
      .usages = {"[FLAGS]"},
      .flags = {{"Flags", kOwnFlags}, {"Cluster", cluster_flags()}},
      .examples = {{"mirrord ls -n shop -t deployment", "deployments of the namespace shop"}},
      .notes = "Kinds: " + words +
               ".\n"
               "MIRRORD_LS_TARGET_TYPES holds a JSON array of kinds; MIRRORD_LS_RICH_OUTPUT=true "
               "adds the cluster's "
               "namespaces to the output.",
  }};
}

int list_main(int argc, char** argv) {
  const auto line = read_command_line(list_commands().front(), argc, argv, report_error_to_editor);
  if (!line)
    return line.error();
  const auto output = list(*line);
  if (!output)
    return report_error_to_editor(output.error());
  std::puts(output->c_str());
  return 0;
}

}  // namespace mirrord
