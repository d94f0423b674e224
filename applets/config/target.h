// applets/config/target.h — the target grammar.
#pragma once

#include <string>
#include <string_view>

#include "applets/config/config.h"

namespace mirrord::config {

// process/PID, container/NAME, demo, targetless, or a Kubernetes target (pod/NAME …).
Result<Target> parse_target(std::string_view text);

// As editor plugins know it: {"deployment":"x","container":null}, "targetless" or null.
std::string target_json(const Target& target);

// The error for a target that only Kubernetes has.
Error kubernetes_missing(const Target& target);

}  // namespace mirrord::config
