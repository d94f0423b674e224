// applets/operator_commands.h — commands that an operator answers: until there is one they say what was found.
#pragma once

#include <string_view>

#include "applets/command_line.h"

namespace mirrord {

Command operator_command(std::string_view name);

// Looks for an operator in the cluster; returns the exit code.
int run_operator_command(const Command& command, int argc, char** argv);

}  // namespace mirrord
