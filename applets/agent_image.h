// applets/agent_image.h — the one place that states which image the agent runs from by default.
#pragma once

#include "applets/version.h"

namespace mirrord {

// No public registry holds it: it is built by scripts/image and loaded into the cluster's nodes, or
// pushed to a registry that `agent.image.registry` then names.
inline constexpr char kAgentImageRegistry[] = "mirrord";
inline constexpr const char* kAgentImageTag = kVersion;

}  // namespace mirrord
