// k8s/sidecars.h — containers that meshes and injectors add to pods: never chosen unless named.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace mirrord::k8s {

inline constexpr std::array<std::string_view, 10> kSidecars = {
    "kuma-sidecar", "kuma-init",   "istio-proxy",      "istio-init",  "linkerd-proxy",
    "linkerd-init", "vault-agent", "vault-agent-init", "queue-proxy", "traffic-agent",
};

constexpr bool is_sidecar(std::string_view container) {
  return std::ranges::find(kSidecars, container) != kSidecars.end();
}

}  // namespace mirrord::k8s
