// k8s/exec_credential.h — credentials from a plugin: a program named by a kubeconfig's user
// (client.authentication.k8s.io, v1, v1beta1 and v1alpha1).
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "k8s/client_config.h"
#include "k8s/json.h"
#include "net/error.h"

namespace mirrord::k8s {

// What a plugin may be told of the cluster (`provideClusterInfo`).
struct ExecClusterInfo {
  std::string server, server_name, ca_pem, proxy;
  bool is_insecure = false;
  Json config;  // of the cluster's extension `client.authentication.k8s.io/exec`
};

enum class InteractiveMode { kNever, kIfAvailable, kAlways };

struct ExecPlugin {
  std::string user;  // whose plugin it is, for messages
  std::string command;
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
  std::string api_version;
  std::string install_hint;
  InteractiveMode mode = InteractiveMode::kIfAvailable;
  std::optional<ExecClusterInfo> cluster;  // only if it asks for it
  std::chrono::milliseconds timeout{60'000};
};

struct ExecCredential {
  Credentials credentials;
  std::optional<std::chrono::system_clock::time_point> expires;
};

// `folder` is that of the kubeconfig; a command with a slash is relative to it.
Result<ExecPlugin> parse_exec_plugin(JsonView exec, const std::string& user,
                                     const std::string& folder);

// Runs it, and blocks. The user may be asked on the terminal, when there is one.
Result<ExecCredential> run_exec_plugin(const ExecPlugin& plugin);

}  // namespace mirrord::k8s
