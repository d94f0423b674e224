// applets/operator_commands.cpp — the commands that only an operator in the cluster can carry out: looks whether one
// answers, and says so.
#include <cstdio>
#include <string>
#include <string_view>

#include "applets/applet.h"
#include "applets/config/load.h"
#include "applets/exec.h"
#include "applets/json_error.h"
#include "k8s/api_client.h"
#include "net/loop.h"

namespace mirrord {
namespace {

// What the original's operator serves; its presence is the operator's.
constexpr const char* kOperatorApi = "/apis/operator.metalbear.co/v1";

constexpr std::string_view kHelp =
    "Needs the mirrord operator in the cluster. This version looks for one, and says what it "
    "found.\n"
    "\n"
    "Flags:\n"
    "  -f, --config-file FILE  configuration, for kubeconfig, kube_context and the like\n"
    "      --context NAME      context of the kubeconfig\n"
    "  -h, --help              show this text\n"
    "\n"
    "Example: mirrord operator status\n";

struct Flags {
  config::LoadRequest load;
  bool wants_help = false;
};

// The commands' own words are for an operator to understand: only what leads to the cluster matters here.
Flags parse_flags(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const bool has_value = i + 1 < argc;
    if (word == "-h" || word == "--help")
      flags.wants_help = true;
    else if ((word == "-f" || word == "--config-file") && has_value)
      flags.load.file = argv[++i];
    else if (word == "--context" && has_value)
      flags.load.overrides["MIRRORD_KUBE_CONTEXT"] = {argv[++i], "--context"};
  }
  flags.load.is_target_final = false;
  if (flags.load.file.empty())
    flags.load.file = config::process_environment("MIRRORD_CONFIG_FILE").value_or("");
  return flags;
}

Error look_for_operator(const Flags& flags, const std::string& command) {
  auto config = config::load(flags.load);
  if (!config)
    return config_error(config.error());
  auto access = k8s::load_client_config(config->cluster);
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

int operator_main(int argc, char** argv) {
  const std::string command = argv[0];
  const Flags flags = parse_flags(argc, argv);
  if (flags.wants_help) {
    std::printf("Usage: mirrord %s [WORDS] [FLAGS]\n\n", command.c_str());
    std::fwrite(kHelp.data(), 1, kHelp.size(), stdout);
    return 0;
  }
  return report_error(look_for_operator(flags, command));
}

}  // namespace mirrord
