// applets/verify_config.cpp — `verify-config`: a configuration's state as the document that editors read.
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "applets/applet.h"
#include "applets/config/load.h"
#include "applets/config/target.h"
#include "applets/exec.h"
#include "applets/json_text.h"

namespace mirrord {
namespace {

constexpr Flag kFlags[] = {
    {"ide", 0, Takes::kNothing, "", "", "",
     "an editor may still choose a target: its absence is no conflict"},
    {"resolved", 0, Takes::kNothing, "", "", "",
     "add the whole configuration as it is used, secrets too (`resolved_config`)"},
};

// In the original's order; copying the target needs one that has a pod to copy.
std::vector<std::string> compatible_types(const config::CopyTarget& copy) {
  std::vector<std::string> types;
  for (const std::string_view type : {"targetless", "pod", "deployment", "rollout", "job",
                                      "cronjob", "statefulset", "service", "replicaset"}) {
    const bool is_copied = type != "targetless" && type != "rollout" && type != "service" &&
                           (type != "pod" || !copy.scales_down);
    if (!copy.is_on || is_copied)
      types.emplace_back(type);
  }
  return types;
}

// `resolved` is empty, or the whole configuration.
std::string success_json(const config::ResolvedConfig& config, const std::string& resolved) {
  const std::string& name_space = config.target.name_space;
  return R"({"type":"Success","config":{"path":)" + config::target_json(config.target) +
         ",\"namespace\":" + (name_space.empty() ? "null" : json_quoted(name_space)) +
         "},\"warnings\":" + json_list(config.warnings) +
         ",\"compatible_target_types\":" + json_list(compatible_types(config.copy_target)) +
         (resolved.empty() ? "" : ",\"resolved_config\":" + resolved) + "}";
}

std::string failure_json(const std::vector<Error>& errors) {
  std::vector<std::string> texts;
  for (const Error& error : errors)
    texts.push_back("Failed to verify mirrord config: " + error.what +
                    (error.hint.empty() ? "" : " (" + error.hint + ")"));
  return R"({"type":"Fail","errors":)" + json_list(texts) + "}";
}

}  // namespace

std::vector<Command> verify_config_commands() {
  return {{
      .name = "verify-config",
      .purpose = "Checks a configuration file and prints the result as JSON.",
      .usages = {"[--ide] [--resolved] PATH"},
      .flags = {{"Flags", kFlags}},
      .examples = {{"mirrord verify-config .mirrord/mirrord.json", ""}},
      .notes = "The exit status is 0 also for a file with errors: the document says so (\"type\": "
               "\"Fail\").",
      .words = Words::kAny,
  }};
}

int verify_config_main(int argc, char** argv) {
  const Command command = verify_config_commands().front();
  const auto line = read_command_line(command, argc, argv, report_error);
  if (!line)
    return line.error();
  if (line->words.size() != 1)
    return report_error(usage_error(command, line->words.empty()
                                                 ? "no configuration file is named"
                                                 : "unexpected argument `" + line->words[1] + "`")
                            .error());
  config::LoadRequest request;
  request.file = line->words[0];
  request.is_target_final = !line->has("ide");
  auto loaded = config::load_whole(request);
  if (loaded && !line->has("resolved"))
    loaded->json.clear();
  std::puts(json_indented(loaded ? success_json(loaded->config, loaded->json)
                                 : failure_json(loaded.error()))
                .c_str());
  return 0;
}

}  // namespace mirrord
