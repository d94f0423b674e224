// applets/session_flags.h — the flags that say what a session is: those of exec, which most commands share.
#pragma once

#include <expected>
#include <span>
#include <vector>

#include "applets/command_line.h"
#include "applets/config/load.h"

namespace mirrord {

std::span<const Flag> session_flags();

// Only what leads to the cluster, for commands that need no target.
std::span<const Flag> cluster_flags();

// The configuration that the flags name. Each flag with a variable stands in that variable's place; without
// --config-file the file is MIRRORD_CONFIG_FILE's.
config::LoadRequest load_request(const CommandLine& line,
                                 config::Environment environment = config::process_environment);

std::expected<config::ResolvedConfig, std::vector<Error>> load_for(const CommandLine& line);

}  // namespace mirrord
