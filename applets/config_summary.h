// applets/config_summary.h — what a session will do, in a few lines.
#pragma once

#include <string>
#include <vector>

#include "applets/config/config.h"

namespace mirrord {

// Target, environment, files, incoming and outgoing traffic, names, and where the log is.
std::vector<std::string> config_summary(const config::ResolvedConfig& config);

}  // namespace mirrord
