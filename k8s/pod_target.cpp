// k8s/pod_target.cpp — whether a pod can be a target, which of its containers, and what else its
// object says. Nothing here asks a server.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "k8s/resolve_target.h"
#include "k8s/sidecars.h"

namespace mirrord::k8s {
namespace {

constexpr char kDefaultContainer[] = "kubectl.kubernetes.io/default-container";

// A container's status, and whether it is an init container's.
struct ContainerStatus {
  JsonView status;
  bool is_init = false;
};

ContainerStatus find_status(JsonView pod, std::string_view name) {
  for (const JsonView status : pod["status"]["containerStatuses"])
    if (status["name"].text() == name)
      return {status, false};
  for (const JsonView status : pod["status"]["initContainerStatuses"])
    if (status["name"].text() == name)
      return {status, true};
  return {};
}

JsonView find_container(JsonView pod, std::string_view name) {
  for (const char* list : {"containers", "initContainers"})
    for (const JsonView container : pod["spec"][list])
      if (container["name"].text() == name)
        return container;
  return {};
}

std::vector<std::string> names_of(JsonView list) {
  std::vector<std::string> names;
  for (const JsonView item : list)
    names.emplace_back(item["name"].text());
  return names;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words)
    text += (text.empty() ? "" : ", ") + word;
  return text;
}

// Why the pod as a whole is none; empty: it is fit.
std::string refuse_pod(JsonView pod) {
  if (pod["metadata"]["deletionTimestamp"].is_present())
    return "it is being deleted";
  const std::string phase(pod["status"]["phase"].text("Unknown"));
  if (phase != "Running") {
    std::string why = "its phase is " + phase;
    for (const JsonView condition : pod["status"]["conditions"]) {
      if (condition["type"].text() == "PodScheduled" && condition["status"].text() == "False")
        why += ": " + std::string(condition["message"].text("not scheduled"));
    }
    for (const JsonView status : pod["status"]["containerStatuses"]) {
      const JsonView waiting = status["state"]["waiting"];
      if (!waiting["reason"].text().empty())
        why += "; container `" + std::string(status["name"].text()) +
               "`: " + std::string(waiting["reason"].text());
    }
    return why;
  }
  if (pod["spec"]["nodeName"].text().empty())
    return "no node is chosen for it";
  if (pod["status"]["containerStatuses"].size() == 0)
    return "the state of its containers is not known yet";
  return {};
}

struct Choice {
  std::string name;
  std::string warning;
};

Result<Choice> choose_container(JsonView pod, const std::string& asked) {
  // The order of the states, as the original goes by it.
  const std::vector<std::string> all = names_of(pod["status"]["containerStatuses"]);
  if (!asked.empty()) {
    const JsonView container = find_container(pod, asked);
    if (!container.is_present())
      return fail(ErrorCode::kNotFound, "it has no container `" + asked + "`",
                  "Its containers: " + joined(all) + ".");
    return Choice{asked, ""};
  }
  const std::string_view annotated = pod["metadata"]["annotations"][kDefaultContainer].text();
  if (!annotated.empty() && std::ranges::find(all, annotated) != all.end())
    return Choice{std::string(annotated), ""};
  std::vector<std::string> candidates;
  for (const std::string& name : all)
    if (!is_sidecar(name))
      candidates.push_back(name);
  if (candidates.size() == 1)
    return Choice{candidates.front(), ""};
  if (all.empty())
    return fail(ErrorCode::kNotFound, "it has no containers");
  const bool only_sidecars = candidates.empty();
  const std::string chosen = only_sidecars ? all.front() : candidates.front();
  return Choice{chosen, (only_sidecars ? "the pod seems to have only sidecars ("
                                       : "the pod has several containers (") +
                            joined(only_sidecars ? all : candidates) + "); `" + chosen +
                            "` is used. Add /container/NAME to the target to choose."};
}

// Why the container's state does not allow it; empty: it runs and is ready.
std::string refuse_state(const std::string& name, const ContainerStatus& found) {
  const std::string which = "container `" + name + "` ";
  if (!found.status.is_present())
    return which + "has no state yet";
  const JsonView state = found.status["state"];
  for (const char* kind : {"waiting", "terminated"}) {
    if (!state[kind].is_present())
      continue;
    const std::string reason(state[kind]["reason"].text("no reason given"));
    const std::string message(state[kind]["message"].text());
    return which + "is " + kind + " (" + reason + (message.empty() ? "" : ": " + message) + ")";
  }
  if (!found.status["ready"].boolean() && !(found.is_init && found.status["started"].boolean()))
    return which + "is not ready";
  return {};
}

Mesh detect_mesh(JsonView pod) {
  if (pod["metadata"]["annotations"]["ambient.istio.io/redirection"].text() == "enabled")
    return Mesh::kIstioAmbient;
  std::vector<std::string> names = names_of(pod["status"]["containerStatuses"]);
  for (std::string& name : names_of(pod["status"]["initContainerStatuses"]))
    names.push_back(std::move(name));
  const auto has = [&](std::string_view name) {
    return std::ranges::find(names, name) != names.end();
  };
  if (has("istio-proxy") && has("istio-validation"))
    return Mesh::kIstioCni;
  if (has("istio-proxy") || has("istio-init"))
    return Mesh::kIstio;
  if (has("linkerd-proxy") || has("linkerd-init"))
    return Mesh::kLinkerd;
  if (has("kuma-sidecar") || has("kuma-init"))
    return Mesh::kKuma;
  return Mesh::kNone;
}

// A port as a number, or the name of one of the container's own.
std::optional<std::uint16_t> port_number(JsonView port, JsonView container) {
  std::int64_t number = port.number();
  if (port.is_string()) {
    for (const JsonView declared : container["ports"])
      if (declared["name"].text() == port.text())
        number = declared["containerPort"].number();
  }
  if (number < 1 || number > 65535)
    return std::nullopt;
  return static_cast<std::uint16_t>(number);
}

void add_port(std::vector<std::uint16_t>& ports, std::optional<std::uint16_t> port) {
  if (port && std::ranges::find(ports, *port) == ports.end())
    ports.push_back(*port);
}

void read_ports(JsonView pod, TargetPod& target) {
  for (const JsonView container : pod["spec"]["containers"]) {
    for (const JsonView port : container["ports"])
      add_port(target.container_ports, port_number(port["containerPort"], container));
    for (const char* probe : {"livenessProbe", "readinessProbe"})
      for (const char* way : {"httpGet", "grpc"})
        if (container[probe][way].is_present())
          add_port(target.probe_ports, port_number(container[probe][way]["port"], container));
  }
}

bool is_address(const std::string& text) {
  std::array<unsigned char, 16> bytes{};
  return ::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

void read_addresses(JsonView pod, TargetPod& target) {
  for (const JsonView entry : pod["status"]["podIPs"])
    if (std::string ip(entry["ip"].text()); is_address(ip))
      target.ips.push_back(std::move(ip));
  if (std::string ip(pod["status"]["podIP"].text()); target.ips.empty() && is_address(ip))
    target.ips.push_back(std::move(ip));
}

// containerID is RUNTIME://ID.
mirrord::Status read_container_id(std::string_view text, TargetPod& target) {
  constexpr std::string_view kMark = "://";
  constexpr std::array<std::string_view, 3> kRuntimes = {"docker", "containerd", "cri-o"};
  const std::size_t mark = text.find(kMark);
  if (mark == std::string_view::npos || mark + kMark.size() == text.size())
    return fail(ErrorCode::kPeer,
                "container `" + target.container + "` has no id yet (`" + std::string(text) + "`)");
  target.runtime = text.substr(0, mark);
  target.container_id = text.substr(mark + kMark.size());
  if (std::ranges::find(kRuntimes, target.runtime) == kRuntimes.end())
    return fail(ErrorCode::kUnsupported,
                "its container runtime `" + target.runtime + "` is not known",
                "Known runtimes: docker, containerd and cri-o.");
  return {};
}

void read_rest(JsonView pod, TargetPod& target) {
  target.name_space = pod["metadata"]["namespace"].text();
  target.name = pod["metadata"]["name"].text();
  target.uid = pod["metadata"]["uid"].text();
  target.node = pod["spec"]["nodeName"].text();
  target.shares_process_namespace = pod["spec"]["shareProcessNamespace"].boolean();
  target.mesh = detect_mesh(pod);
  read_addresses(pod, target);
  read_ports(pod, target);
  const JsonView container = find_container(pod, target.container);
  target.container_env = Json(container["env"]);
  target.container_env_from = Json(container["envFrom"]);
  for (const JsonView other : pod["spec"]["containers"])
    if (other["name"].text() == "traffic-agent")
      target.warnings.emplace_back(
          "Telepresence has a traffic-agent in the pod: two tools that redirect the same ports get "
          "into each other's way.");
}

// The original's shape of a candidate's refusal, for the list of an error.
std::string candidate_line(JsonView pod, const std::string& why) {
  return std::string(pod["metadata"]["name"].text()) + ": " + why;
}

}  // namespace

std::string_view mesh_name(Mesh mesh) {
  switch (mesh) {
    case Mesh::kNone:
      return "none";
    case Mesh::kIstio:
      return "istio";
    case Mesh::kIstioCni:
      return "istio-cni";
    case Mesh::kIstioAmbient:
      return "istio-ambient";
    case Mesh::kLinkerd:
      return "linkerd";
    case Mesh::kKuma:
      return "kuma";
  }
  return "";
}

Result<TargetPod> target_of_pod(JsonView pod, const std::string& container) {
  if (std::string why = refuse_pod(pod); !why.empty())
    return fail(ErrorCode::kNotFound, std::move(why));
  MIRRORD_TRY(choice, choose_container(pod, container));
  TargetPod target;
  target.container = std::move(choice.name);
  if (!choice.warning.empty())
    target.warnings.push_back(std::move(choice.warning));
  const ContainerStatus found = find_status(pod, target.container);
  if (std::string why = refuse_state(target.container, found); !why.empty())
    return fail(ErrorCode::kNotFound, std::move(why));
  MIRRORD_CHECK_STATUS(read_container_id(found.status["containerID"].text(), target));
  read_rest(pod, target);
  return target;
}

Result<TargetPod> choose_pod(JsonView pods, const TargetPath& path) {
  std::vector<JsonView> newest_first;
  for (const JsonView pod : pods)
    newest_first.push_back(pod);
  if (newest_first.empty())
    return fail(ErrorCode::kNotFound, "it has no pods",
                "Scale it up, or look with kubectl why it makes none.");
  // Times are RFC 3339 in UTC: their order is that of their text.
  std::ranges::stable_sort(newest_first, [](JsonView a, JsonView b) {
    return a["metadata"]["creationTimestamp"].text() > b["metadata"]["creationTimestamp"].text();
  });
  constexpr std::size_t kShown = 5;
  std::string refusals;
  std::string hint;
  std::size_t count = 0;
  for (const JsonView pod : newest_first) {
    auto target = target_of_pod(pod, path.container);
    if (target)
      return target;
    if (++count <= kShown)
      refusals += (refusals.empty() ? "" : "; ") + candidate_line(pod, target.error().what);
    if (hint.empty())
      hint = target.error().hint;
  }
  if (count > kShown)
    refusals += "; and " + std::to_string(count - kShown) + " more";
  return fail(ErrorCode::kNotFound, "none of its pods is ready to be targeted (" + refusals + ")",
              hint.empty() ? "Wait until one is ready, or name another target." : hint);
}

}  // namespace mirrord::k8s
