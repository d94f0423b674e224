// k8s/exec_credential.cpp — tells a plugin what it needs, runs it, reads its ExecCredential.
#include "k8s/exec_credential.h"

#include <unistd.h>

#include "k8s/timestamp.h"
#include "k8s/yaml.h"
#include "net/base64.h"
#include "net/command.h"

namespace mirrord::k8s {
namespace {

constexpr std::string_view kGroup = "client.authentication.k8s.io/";

std::string exec_info(const ExecPlugin& plugin, bool is_interactive) {
  Json spec = Json::object({{"interactive", is_interactive}});
  if (plugin.cluster) {
    const ExecClusterInfo& info = *plugin.cluster;
    Json cluster = Json::object({{"server", info.server}});
    if (!info.server_name.empty()) {
      cluster.set("tls-server-name", info.server_name);
    }
    if (info.is_insecure) {
      cluster.set("insecure-skip-tls-verify", true);
    }
    if (!info.ca_pem.empty()) {
      cluster.set("certificate-authority-data", net::to_base64(info.ca_pem));
    }
    if (!info.proxy.empty()) {
      cluster.set("proxy-url", info.proxy);
    }
    if (info.config.view().is_present()) {
      cluster.set("config", info.config);
    }
    spec.set("cluster", std::move(cluster));
  }
  return Json::object({{"kind", "ExecCredential"},
                       {"apiVersion", plugin.api_version},
                       {"spec", std::move(spec)}})
      .dump();
}

std::string title(const ExecPlugin& plugin) {
  return "credential plugin `" + plugin.command + "` of user `" + plugin.user + "`";
}

std::unexpected<Error> unusable(const ExecPlugin& plugin, const std::string& why) {
  return fail(ErrorCode::kConfig, "the " + title(plugin) + " printed no usable credentials: " + why,
              "Run it by hand and compare what it prints with an ExecCredential.");
}

Result<ExecCredential> read_answer(const ExecPlugin& plugin, const std::string& output) {
  auto documents = parse_yaml_documents(output, "the output of `" + plugin.command + "`");
  if (!documents) {
    return unusable(plugin, documents.error().what);
  }
  const JsonView answer = documents->empty() ? JsonView() : documents->front().view();
  if (answer["kind"].text() != "ExecCredential") {
    return unusable(plugin, answer["kind"].is_present()
                                ? "its kind is `" + std::string(answer["kind"].text()) + "`"
                                : "it is no ExecCredential");
  }
  if (answer["apiVersion"].text() != plugin.api_version) {
    return unusable(plugin, "its apiVersion is `" + std::string(answer["apiVersion"].text()) +
                                "`, the kubeconfig asks for `" + plugin.api_version + "`");
  }
  const JsonView status = answer["status"];
  ExecCredential made;
  made.credentials.bearer_token = status["token"].text();
  made.credentials.client_certificate = status["clientCertificateData"].text();
  made.credentials.client_key = status["clientKeyData"].text();
  if (made.credentials.client_certificate.empty() != made.credentials.client_key.empty()) {
    return unusable(plugin, "of clientCertificateData and clientKeyData only one is there");
  }
  if (made.credentials.bearer_token.empty() && made.credentials.client_certificate.empty()) {
    return unusable(plugin, "there is neither status.token nor status.clientCertificateData");
  }
  if (status["expirationTimestamp"].is_present()) {
    made.expires = parse_timestamp(status["expirationTimestamp"].text());
    if (!made.expires) {
      return unusable(plugin, "its expirationTimestamp is no time: `" +
                                  std::string(status["expirationTimestamp"].text()) + "`");
    }
  }
  return made;
}

// The last words of a program, on one line.
std::string last_words(std::string messages) {
  while (!messages.empty() && (messages.back() == '\n' || messages.back() == ' ')) {
    messages.pop_back();
  }
  return messages;
}

}  // namespace

Result<ExecPlugin> parse_exec_plugin(JsonView exec, const std::string& user,
                                     const std::string& folder) {
  ExecPlugin plugin;
  plugin.user = user;
  plugin.command = exec["command"].text();
  plugin.api_version = exec["apiVersion"].text("client.authentication.k8s.io/v1beta1");
  plugin.install_hint = exec["installHint"].text();
  if (plugin.command.empty()) {
    return fail(ErrorCode::kConfig, "the `exec` of user `" + user + "` has no `command`");
  }
  if (!plugin.api_version.starts_with(kGroup)) {
    return fail(
        ErrorCode::kConfig,
        "the `exec` of user `" + user + "` has the unknown apiVersion `" + plugin.api_version + "`",
        "Use client.authentication.k8s.io/v1.");
  }
  if (plugin.command.find('/') != std::string::npos && !plugin.command.starts_with('/')) {
    plugin.command.insert(0, folder);
  }
  for (const JsonView argument : exec["args"]) {
    plugin.arguments.emplace_back(argument.text());
  }
  for (const JsonView entry : exec["env"]) {
    plugin.environment.emplace_back(entry["name"].text(), entry["value"].text());
  }
  const std::string_view mode = exec["interactiveMode"].text("IfAvailable");
  plugin.mode = mode == "Never"    ? InteractiveMode::kNever
                : mode == "Always" ? InteractiveMode::kAlways
                                   : InteractiveMode::kIfAvailable;
  if (exec["provideClusterInfo"].boolean()) {
    plugin.cluster.emplace();
  }
  return plugin;
}

Result<ExecCredential> run_exec_plugin(const ExecPlugin& plugin) {
  const bool has_terminal = ::isatty(STDIN_FILENO) != 0;
  if (plugin.mode == InteractiveMode::kAlways && !has_terminal) {
    return fail(ErrorCode::kConfig,
                "the " + title(plugin) + " must ask the user, and standard input is no terminal",
                "Start mirrord from a terminal, or log in with the plugin's own command first.");
  }
  net::Command command;
  command.words.push_back(plugin.command);
  command.words.insert(command.words.end(), plugin.arguments.begin(), plugin.arguments.end());
  command.environment = plugin.environment;
  command.is_interactive = plugin.mode != InteractiveMode::kNever && has_terminal;
  command.environment.emplace_back("KUBERNETES_EXEC_INFO",
                                   exec_info(plugin, command.is_interactive));
  command.timeout = plugin.timeout;
  auto output = net::run_command(command);
  if (!output) {
    Error error = std::move(output.error());
    error.what = "the " + title(plugin) + " does not work: " + error.what;
    error.hint = !plugin.install_hint.empty()         ? last_words(plugin.install_hint)
                 : error.code == ErrorCode::kNotFound ? "Install it, or put its folder into PATH."
                                                      : "Run it by hand to see what it waits for.";
    return std::unexpected(std::move(error));
  }
  if (output->status != 0) {
    const std::string words = last_words(output->messages);
    return fail(ErrorCode::kPermission,
                "the " + title(plugin) + " " + net::status_text(output->status) +
                    (words.empty() ? "" : ": " + words),
                "Log in again, or run the plugin by hand to see what is wrong.");
  }
  return read_answer(plugin, output->output);
}

}  // namespace mirrord::k8s
