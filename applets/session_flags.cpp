// applets/session_flags.cpp — every flag of the original's exec, and the variable of the configuration it stands for.
#include "applets/session_flags.h"

#include <array>

namespace mirrord {
namespace {

// clang-format off
constexpr Flag kSessionFlags[] = {
    {"target", 't', Takes::kValue, "TARGET", "MIRRORD_IMPERSONATED_TARGET", "", "what to run inside: deployment/NAME, pod/NAME, process/PID, container/NAME, demo …"},
    {"config-file", 'f', Takes::kOptionalValue, "FILE", "", "./.mirrord/mirrord.json", "configuration; without a value ./.mirrord/mirrord.json; - is stdin. Without the flag the file in MIRRORD_CONFIG_FILE"},
    {"agent-address", 0, Takes::kValue, "HOST:PORT", "MIRRORD_CONNECT_TCP", "", "an agent that is already running"},
    {"fs-mode", 0, Takes::kValue, "MODE", "MIRRORD_FILE_MODE", "", "which files are remote: read, write, local or local-with-overrides", "read write local local-with-overrides"},
    {"override-env-vars-include", 's', Takes::kValue, "NAMES", "MIRRORD_OVERRIDE_ENV_VARS_INCLUDE", "", "remote variables to take, separated by ;"},
    {"override-env-vars-exclude", 'x', Takes::kValue, "NAMES", "MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE", "", "remote variables to leave out, separated by ;"},
    {"env-file", 0, Takes::kValue, "FILE", "MIRRORD_OVERRIDE_ENV_VARS_FILE", "", "file of NAME=value lines over the remote variables"},
    {"no-remote-dns", 0, Takes::kNothing, "", "MIRRORD_REMOTE_DNS", "false", "look names up on this machine"},
    {"no-outgoing", 0, Takes::kNothing, "", "MIRRORD_TCP_OUTGOING MIRRORD_UDP_OUTGOING", "false", "connections leave from this machine"},
    {"no-tcp-outgoing", 0, Takes::kNothing, "", "MIRRORD_TCP_OUTGOING", "false", "TCP connections leave from this machine"},
    {"no-udp-outgoing", 0, Takes::kNothing, "", "MIRRORD_UDP_OUTGOING", "false", "UDP packets leave from this machine"},
    {"steal", 0, Takes::kNothing, "", "MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "true", "take incoming traffic away from the target"},
    {"skip-processes", 0, Takes::kValue, "NAMES", "MIRRORD_SKIP_PROCESSES", "", "programs to leave alone, separated by ;"},
    {"key", 'k', Takes::kValue, "NAME", "MIRRORD_KEY", "", "name of this session"},
    {"target-namespace", 'n', Takes::kValue, "NAME", "MIRRORD_TARGET_NAMESPACE", "", "Kubernetes namespace of the target"},
    {"agent-namespace", 'a', Takes::kValue, "NAME", "MIRRORD_AGENT_NAMESPACE", "", "Kubernetes namespace for the agent"},
    {"agent-log-level", 'l', Takes::kValue, "LEVEL", "MIRRORD_AGENT_RUST_LOG", "", "what the agent logs"},
    {"agent-image", 'i', Takes::kValue, "IMAGE", "MIRRORD_AGENT_IMAGE", "", "image of the agent"},
    {"agent-ttl", 0, Takes::kValue, "SECONDS", "MIRRORD_AGENT_TTL", "", "seconds that the agent's job stays after its end"},
    {"agent-startup-timeout", 0, Takes::kValue, "SECONDS", "MIRRORD_AGENT_STARTUP_TIMEOUT", "", "seconds that the agent may take to start"},
    {"ephemeral-container", 'e', Takes::kNothing, "", "MIRRORD_EPHEMERAL_CONTAINER", "true", "run the agent as an ephemeral container"},
    {"accept-invalid-certificates", 'c', Takes::kOptionalEqual, "BOOL", "MIRRORD_ACCEPT_INVALID_CERTIFICATES", "true", "do not check the API server's certificate"},
    {"context", 0, Takes::kValue, "NAME", "MIRRORD_KUBE_CONTEXT", "", "context of the kubeconfig"},
    {"no-telemetry", 0, Takes::kNothing, "", "MIRRORD_TELEMETRY", "false", "accepted; nothing is ever sent"},
    {"disable-version-check", 0, Takes::kNothing, "", "", "", "accepted; there is no such check"},
};

constexpr std::array kClusterFlags = {
    Flag{"config-file", 'f', Takes::kValue, "FILE", "",                     "", "configuration, for kubeconfig, kube_context and the like"},
    Flag{"context",     0,   Takes::kValue, "NAME", "MIRRORD_KUBE_CONTEXT", "", "context of the kubeconfig"},
};
// clang-format on

void override_variables(config::Overrides& overrides, const CommandLine::Given& given) {
  std::string_view variables = given.flag->variables;
  while (!variables.empty()) {
    const std::size_t end = std::min(variables.find(' '), variables.size());
    overrides[std::string(variables.substr(0, end))] = {given.value, given.shown};
    variables.remove_prefix(std::min(end + 1, variables.size()));
  }
}

}  // namespace

std::span<const Flag> session_flags() {
  return kSessionFlags;
}

std::span<const Flag> cluster_flags() {
  return kClusterFlags;
}

config::LoadRequest load_request(const CommandLine& line, config::Environment environment) {
  config::LoadRequest load;
  load.environment = std::move(environment);
  const std::string* file = line.last("config-file");
  load.file = file != nullptr ? *file : load.environment("MIRRORD_CONFIG_FILE").value_or("");
  for (const CommandLine::Given& given : line.given)
    override_variables(load.overrides, given);
  return load;
}

std::expected<config::ResolvedConfig, std::vector<Error>> load_for(const CommandLine& line) {
  return config::load(load_request(line));
}

}  // namespace mirrord
