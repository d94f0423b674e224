// applets/agent/incoming/settings.h — what the agent's environment says about incoming traffic.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "applets/agent/options.h"

namespace mirrord::agent {

// What happens when a client wants to steal what another one steals already: a port without a
// filter conflicts with everything, filters do not conflict with each other.
enum class OnConcurrentSteal {
  kOverride,  // the newer one wins, as with the original's agent; the other is told
  kRefuse,    // the newer one is answered PortAlreadyStolen
};

struct IncomingSettings {
  std::chrono::milliseconds detection_timeout{2000};  // MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT, s
  bool overrides_cache_control = true;                // MIRRORD_AGENT_OVERRIDE_CACHE_CONTROL
  bool injects_headers = false;                       // MIRRORD_AGENT_INJECT_HEADERS
  bool passes_probes = true;                          // MIRRORD_AGENT_PASS_PROBES (ours)
  // MIRRORD_AGENT_PROBE_PORTS (ours), separated by commas: where the kubelet asks the target how it is.
  std::vector<std::uint16_t> probe_ports;
  // MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS: what was connected before the port was stolen is cut, so
  // that clients who keep their connections come to the stealer too.
  bool cuts_established = false;
  // A request's head, from its first byte on: who sends more slowly wants to occupy us.
  std::chrono::milliseconds head_limit{30'000};
  std::size_t body_limit = 65536;                // MIRRORD_MAX_BODY_BUFFER_SIZE
  std::chrono::milliseconds body_timeout{1000};  // MIRRORD_MAX_BODY_BUFFER_TIMEOUT
  // MIRRORD_AGENT_ON_CONCURRENT_STEAL (ours): override, abort or continue. The last two are the
  // same here: whether the refused client ends or runs on is its own decision.
  OnConcurrentSteal on_concurrent_steal = OnConcurrentSteal::kOverride;
};

// A value that cannot be read acts as the default.
[[nodiscard]] IncomingSettings incoming_settings(const EnvironmentLookup& environment);

}  // namespace mirrord::agent
