// k8s/client_config.h — how to reach and convince an API server: what a kubeconfig, or a service
// account inside the cluster, comes down to.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/error.h"

namespace mirrord::k8s {

// What proves who we are. Certificate and key are PEM texts.
struct Credentials {
  std::string bearer_token;
  std::string username, password;  // HTTP Basic
  std::string client_certificate, client_key;
  bool operator==(const Credentials&) const = default;
};

// Gives the credentials and gets new ones when they run out (token files, exec plugins, OIDC).
// May be called from any thread, and blocks the longer when a plugin has to run; answers from memory
// while they are valid. `refused` says that the server answered 401 to the ones given last.
using CredentialSource = std::function<Result<Credentials>(bool refused)>;

struct ClientConfig {
  std::string server;        // https://HOST:PORT[/PREFIX]
  std::string context;       // its name; empty in the cluster
  std::string name_space;    // of the context, else "default"
  std::string ca_pem;        // certificate authorities; empty: the system's
  std::string server_name;   // tls-server-name; empty: the host of `server`
  bool is_insecure = false;  // the server's certificate is not checked
  std::string proxy;         // http://, https:// or socks5:// URL; empty: none
  CredentialSource credentials;
  std::string impersonate_user;
  std::string impersonate_uid;
  std::vector<std::string> impersonate_groups;
  std::vector<std::pair<std::string, std::string>> impersonate_extra;  // header suffix, value
  // Gets a line for each exchange with the server, on the client's thread; may be empty.
  std::function<void(const std::string& line)> log;
};

struct ClientConfigChoice {
  std::vector<std::string> kubeconfig_files;  // of the setting `kubeconfig`; empty: as kubectl does
  std::string context;                        // empty: the current one
  std::optional<bool> accept_invalid_certificates;
  bool use_proxy = true;  // false: proxies named by the environment are not used
};

// Reads and merges the files, or the service account of a pod. An exec plugin does not run yet.
// The errors name the file, the context and what is missing.
Result<ClientConfig> load_client_config(const ClientConfigChoice& choice);

}  // namespace mirrord::k8s
