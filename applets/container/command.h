// applets/container/command.h — `mirrord container` for other commands.
#pragma once

#include <functional>

#include "applets/command_line.h"
#include "applets/config/load.h"

namespace mirrord {

// `line`: as container_commands() says. `is_ready`, if set, is called when the user's container is about to start. Returns the
// exit code.
int run_container_command(const CommandLine& line, config::LoadRequest load,
                          const std::function<void()>& is_ready);

}  // namespace mirrord
