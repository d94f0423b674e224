// k8s/resolve_target.h — from a target's path to one running pod and one container of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "k8s/api_client.h"
#include "k8s/target_path.h"
#include "net/error.h"

namespace mirrord::k8s {

enum class Mesh { kNone, kIstio, kIstioCni, kIstioAmbient, kLinkerd, kKuma };
std::string_view mesh_name(Mesh mesh);  // "istio", … for people

// The pod that the agent goes to, and what there is to know of it.
struct TargetPod {
  TargetPath path;  // as asked for
  std::string name_space, name, uid;
  std::string node;  // spec.nodeName
  std::vector<std::string> ips;
  std::string container;     // its name
  std::string container_id;  // without "RUNTIME://"
  std::string runtime;       // docker, containerd or cri-o
  bool shares_process_namespace = false;
  Mesh mesh = Mesh::kNone;
  std::vector<std::uint16_t> probe_ports;      // of HTTP and gRPC liveness and readiness probes
  std::vector<std::uint16_t> container_ports;  // declared by any container
  Json container_env, container_env_from;      // of the container, as declared; arrays or null
  std::string selector;               // labels that find the pods of the same target; empty: a pod
  std::vector<std::string> warnings;  // for the user: a guessed container, a mesh, …
};

// `name_space` empty: the context's. Waits for several requests on the client's loop; not to be
// called from one of its callbacks. Errors: kNotFound with names that are near, or why each
// candidate was refused; what the API server said. `path` must not be targetless.
Result<TargetPod> resolve_target(ApiClient& client, const TargetPath& path,
                                 std::string_view name_space);

// --- the parts, which need no server ---

// The text of spec.selector (matchLabels and matchExpressions), or of a plain map of labels, as a
// `labelSelector`. Empty when nothing is selected.
std::string selector_text(JsonView selector);
std::string label_map_text(JsonView labels);

// The pod as a target, or why it is none ("it is being deleted").
Result<TargetPod> target_of_pod(JsonView pod, const std::string& container);

// The newest of `pods` (an array) that is fit. The error names each candidate's reason.
Result<TargetPod> choose_pod(JsonView pods, const TargetPath& path);

}  // namespace mirrord::k8s
