// applets/intproxy/session_processes.h — finds a session's processes by their environment, also those that
// have not connected.
#pragma once

#include <sys/types.h>

#include <string_view>
#include <vector>

namespace mirrord::intproxy {

// Every process that was started with the session's variable, but this one. Empty without /proc.
std::vector<pid_t> processes_of_session(std::string_view session_directory);

// Whether a process that has not connected yet, but runs with this session's hook, is left.
bool has_unconnected_process(std::string_view session_directory, std::string_view hook_path);

}  // namespace mirrord::intproxy
