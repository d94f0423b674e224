// applets/operator_commands.cpp — the commands that only an operator in the cluster can carry out: looks whether one
// answers, and says so.
#include "applets/operator_commands.h"

#include <cstdio>
#include <string>
#include <string_view>

#include "applets/applet.h"
#include "applets/command_log.h"
#include "applets/exec.h"
#include "applets/json_error.h"
#include "applets/session_flags.h"
#include "k8s/api_client.h"
#include "net/loop.h"

namespace mirrord {
namespace {

// What the original's operator serves; its presence is the operator's.
constexpr const char* kOperatorApi = "/apis/operator.metalbear.co/v1";

// The commands' own words are for an operator to understand: only what leads to the cluster matters here.
constexpr Flag kOwnFlags[] = {
    {"all", 0, Takes::kNothing, "", "", "", "all of them"},
    {"all-namespaces", 'A', Takes::kNothing, "", "", "", "in every namespace"},
    {"failed", 0, Takes::kNothing, "", "", "", "only what has failed"},
    {"force", 0, Takes::kNothing, "", "", "", "accepted; has no effect"},
    {"glob", 0, Takes::kValue, "PATTERN", "", "", "keys that match"},
    {"id", 'i', Takes::kValue, "ID", "", "", "which session; of preview start: the image", "",
     "image"},
    {"key", 'k', Takes::kValue, "KEY", "", "", "the session's key"},
    {"namespace", 'n', Takes::kValue, "NAME", "MIRRORD_TARGET_NAMESPACE", "", "the namespace", "",
     "target-namespace"},
    {"pretty", 0, Takes::kNothing, "", "", "", "for people"},
    {"target", 't', Takes::kValue, "TARGET", "MIRRORD_IMPERSONATED_TARGET", "", "what to preview"},
    {"timeout", 0, Takes::kValue, "SECONDS", "", "", "how long a start may take"},
    {"ttl", 0, Takes::kValue, "MINUTES", "", "", "how long it lasts, or infinite"},
};

Error look_for_operator(const CommandLine& line, const std::string& command) {
  config::LoadRequest load = load_request(line);
  load.is_target_final = false;
  auto config = config::load(load);
  if (!config)
    return config_error(config.error());
  const auto log = open_command_log("operator");
  if (!log)
    return log.error();
  auto access = logged_client_config(config->cluster, *log);
  if (!access)
    return access.error();
  const std::string server = access->server;
  net::Loop loop;
  k8s::ApiClient client(loop, std::move(*access));
  const auto found = client.begin_get(kOperatorApi).wait();
  if (found)
    return {ErrorCode::kUnsupported,
            "`mirrord " + command + "`: the operator at " + server +
                " answers, but this version cannot speak with one",
            {},
            0};
  if (found.error().code != ErrorCode::kNotFound)
    return found.error();
  return {ErrorCode::kNotFound,
          "`mirrord " + command + "`: operator not found: the cluster at " + server + " has none",
          "Commands without an operator: see `mirrord --help`.", 0};
}

}  // namespace

Command operator_command(std::string_view name) {
  return {.name = name,
          .purpose =
              "Needs the mirrord operator in the cluster. This version looks for one, and "
              "says what it found.",
          .usages = {"[WORDS] [FLAGS]"},
          .flags = {{"Flags", kOwnFlags}, {"Cluster", cluster_flags()}},
          .examples = {},
          .notes = {},
          .words = Words::kAny};
}

int run_operator_command(const Command& command, int argc, char** argv) {
  const auto line = read_command_line(command, argc, argv, report_error);
  return line ? report_error(look_for_operator(*line, std::string(command.name))) : line.error();
}

std::vector<Command> operator_commands() {
  std::vector<Command> commands;
  for (const std::string_view name : {"db-branches", "operator", "preview", "queues", "subscribe"})
    commands.push_back(operator_command(name));
  return commands;
}

int operator_main(int argc, char** argv) {
  for (const Command& command : operator_commands()) {
    if (command.name == argv[0])
      return run_operator_command(command, argc, argv);
  }
  return report_error(
      {ErrorCode::kUsage, "`" + std::string(argv[0]) + "` is no command of an operator", {}, 0});
}

}  // namespace mirrord
