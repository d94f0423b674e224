// tests/unit/k8s/sample.h — a pod as the API server shows it, to be changed by each test.
#pragma once

#include <string>
#include <string_view>

#include "k8s/json.h"

namespace mirrord::k8s {

inline Json parsed(std::string_view text) {
  return Json::parse(text, "the test's text").value_or(Json());
}

// Running and ready: `app` on containerd.
inline constexpr char kPod[] = R"({
  "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1",
               "creationTimestamp": "2026-01-02T03:04:05Z"},
  "spec": {"nodeName": "node-a",
           "containers": [{"name": "app", "ports": [{"name": "http", "containerPort": 8080}],
                           "env": [{"name": "A", "value": "1"}],
                           "livenessProbe": {"httpGet": {"port": "http"}},
                           "readinessProbe": {"grpc": {"port": 9000}}}]},
  "status": {"phase": "Running", "podIP": "10.0.0.1",
             "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}, {"ip": "nonsense"}],
             "containerStatuses": [{"name": "app", "ready": true, "state": {"running": {}},
                                    "containerID": "containerd://0123abcd"}]}})";

// The sample with the first `from` in it replaced.
inline Json pod_with(std::string_view from, std::string_view to) {
  std::string text = kPod;
  if (const std::size_t at = text.find(from); at != std::string::npos)
    text.replace(at, from.size(), to);
  else
    text = "null";
  return parsed(text);
}

}  // namespace mirrord::k8s
