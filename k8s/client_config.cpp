// k8s/client_config.cpp — chooses the kubeconfig, its context, and turns that into a configuration.
#include "k8s/client_config.h"

#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "k8s/credential_source.h"
#include "k8s/kubeconfig.h"
#include "k8s/near_names.h"
#include "k8s/proxy_choice.h"

namespace mirrord::k8s {
namespace {

constexpr const char* kAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount/";
constexpr const char* kExecExtension = "client.authentication.k8s.io/exec";

std::string variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): only read
  return value == nullptr ? "" : value;
}

std::string list_of_names(const std::vector<KubeEntry>& entries) {
  std::string text;
  for (const KubeEntry& entry : entries) {
    text += (text.empty() ? "`" : ", `") + entry.name + "`";
  }
  return text;
}

Result<const KubeEntry*> find_context(const Kubeconfig& config, const std::string& wanted) {
  const std::string name = wanted.empty() ? config.current_context : wanted;
  if (name.empty()) {
    return fail(ErrorCode::kConfig,
                "the kubeconfig " + config.sources() + " has no current context",
                config.contexts.empty()
                    ? "Name another kubeconfig with KUBECONFIG or `kubeconfig`."
                    : "Choose one with `kube_context` or `kubectl config use-context`: " +
                          list_of_names(config.contexts) + ".");
  }
  if (const KubeEntry* found = find_entry(config.contexts, name)) {
    return found;
  }
  std::vector<std::string> names;
  for (const KubeEntry& entry : config.contexts) {
    names.push_back(entry.name);
  }
  const auto near = near_names(name, names, 1);
  return fail(ErrorCode::kNotFound,
              "the context `" + name + "` is not in the kubeconfig " + config.sources(),
              !near.empty() ? "Did you mean `" + near[0] + "`?"
              : names.empty()
                  ? std::string("It has no contexts at all: name another with KUBECONFIG.")
                  : "It has these: " + list_of_names(config.contexts) + ".");
}

Json exec_extension(JsonView cluster) {
  for (const JsonView extension : cluster["extensions"]) {
    if (extension["name"].text() == kExecExtension) {
      return Json(extension["extension"]);
    }
  }
  return {};
}

void take_impersonation(ClientConfig& made, JsonView user) {
  made.impersonate_user = user["as"].text();
  made.impersonate_uid = user["as-uid"].text();
  for (const JsonView group : user["as-groups"]) {
    made.impersonate_groups.emplace_back(group.text());
  }
  for (const JsonView extra : user["as-user-extra"]) {
    for (const JsonView value : extra) {
      made.impersonate_extra.emplace_back(extra.key(), value.text());
    }
  }
}

Status take_cluster(ClientConfig& made, const KubeEntry& cluster,
                    const ClientConfigChoice& choice) {
  const JsonView body = cluster.body.view();
  made.server = body["server"].text();
  if (made.server.empty()) {
    return fail(ErrorCode::kConfig,
                cluster.file + ": the cluster `" + cluster.name + "` has no `server`");
  }
  const UrlParts parts = split_url(made.server);
  if ((parts.scheme != "https" && parts.scheme != "http") || parts.host.empty()) {
    return fail(ErrorCode::kConfig, cluster.file + ": the server of the cluster `" + cluster.name +
                                        "` is no https URL: `" + made.server + "`");
  }
  MIRRORD_TRY(ca, data_or_file(cluster, "certificate-authority"));
  made.ca_pem = std::move(ca);
  made.server_name = body["tls-server-name"].text();
  made.is_insecure = body["insecure-skip-tls-verify"].boolean();
  made.proxy = body["proxy-url"].text();
  if (made.proxy.empty() && choice.use_proxy) {
    made.proxy = proxy_of_environment(parts, variable);
  }
  return {};
}

Result<ClientConfig> from_kubeconfig(const std::vector<std::string>& files,
                                     const ClientConfigChoice& choice) {
  MIRRORD_TRY(config, read_kubeconfig(files));
  MIRRORD_TRY(context, find_context(config, choice.context));
  ClientConfig made;
  made.context = context->name;
  made.name_space = context->body["namespace"].text("default");
  if (made.name_space.empty()) {
    made.name_space = "default";
  }
  const std::string cluster_name(context->body["cluster"].text());
  const KubeEntry* cluster = find_entry(config.clusters, cluster_name);
  if (cluster == nullptr) {
    return fail(ErrorCode::kConfig, context->file + ": the context `" + context->name +
                                        "` names the cluster `" + cluster_name +
                                        "`, which is not there");
  }
  MIRRORD_CHECK_STATUS(take_cluster(made, *cluster, choice));
  made.is_insecure = choice.accept_invalid_certificates.value_or(made.is_insecure);
  const KubeEntry* user = find_entry(config.users, context->body["user"].text());
  ExecClusterInfo info{made.server, made.server_name, made.ca_pem,
                       made.proxy,  made.is_insecure, exec_extension(cluster->body.view())};
  MIRRORD_TRY(credentials, credential_source(user, std::move(info)));
  made.credentials = std::move(credentials);
  if (user != nullptr) {
    take_impersonation(made, user->body.view());
  }
  return made;
}

bool is_in_cluster() {
  return !variable("KUBERNETES_SERVICE_HOST").empty() &&
         ::access((std::string(kAccountFolder) + "token").c_str(), F_OK) == 0;
}

Result<ClientConfig> from_service_account(const ClientConfigChoice& choice) {
  const std::string folder = kAccountFolder;
  UrlParts parts{"https", variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"),
                 ""};
  if (parts.port.empty()) {
    parts.port = "443";
  }
  ClientConfig made;
  made.server = "https://" + parts.authority();
  MIRRORD_TRY(ca, read_file(folder + "ca.crt"));
  made.ca_pem = std::move(ca);
  const auto name_space = read_file(folder + "namespace");
  made.name_space = name_space && !name_space->empty() ? *name_space : "default";
  made.is_insecure = choice.accept_invalid_certificates.value_or(false);
  made.credentials = token_file_source(folder + "token");
  if (choice.use_proxy) {
    made.proxy = proxy_of_environment(parts, variable);
  }
  return made;
}

// Settings that the original's client library takes for debugging.
void take_debug_overrides(ClientConfig& made) {
  if (const std::string user = variable("KUBE_RS_DEBUG_IMPERSONATE_USER"); !user.empty()) {
    made.impersonate_user = user;
  }
  std::string groups = variable("KUBE_RS_DEBUG_IMPERSONATE_GROUP");
  if (!groups.empty()) {
    made.impersonate_groups.clear();
  }
  while (!groups.empty()) {
    const std::size_t end = std::min(groups.find(','), groups.size());
    made.impersonate_groups.push_back(groups.substr(0, end));
    groups.erase(0, end + 1);
  }
  if (const std::string url = variable("KUBE_RS_DEBUG_OVERRIDE_URL"); !url.empty()) {
    made.server = url;
  }
}

}  // namespace

Result<ClientConfig> load_client_config(const ClientConfigChoice& choice) {
  std::vector<std::string> files;
  for (const std::string& list : choice.kubeconfig_files) {
    for (std::string& file : split_path_list(list)) {
      files.push_back(std::move(file));
    }
  }
  if (!files.empty()) {
    return from_kubeconfig(files, choice);
  }
  files = usual_kubeconfig_files();
  Result<ClientConfig> made = [&]() -> Result<ClientConfig> {
    if (!files.empty()) {
      return from_kubeconfig(files, choice);
    }
    const std::string named = variable("KUBECONFIG");
    return fail(ErrorCode::kNotFound,
                named.empty() ? "there is no kubeconfig: ~/.kube/config does not exist"
                              : "there is no kubeconfig: none of KUBECONFIG=" + named + " exists",
                "Name one with KUBECONFIG or the setting `kubeconfig`.");
  }();
  if (!choice.context.empty()) {
    return made;
  }
  if (!made && is_in_cluster()) {
    made = from_service_account(choice);
  }
  if (made) {
    take_debug_overrides(*made);
  }
  return made;
}

}  // namespace mirrord::k8s
