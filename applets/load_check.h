// applets/load_check.h — why a running process has not loaded the hook.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace mirrord {

// A sentence with the probable cause and the remedy. Empty: the hook is in the process (perhaps told
// to leave it alone), or the process is gone. nullopt: it still runs this executable, so it has not
// become the user's program yet. `hook` is the library's path as LD_PRELOAD has it.
std::optional<std::string> explain_not_loaded(pid_t process, const std::string& hook);

// The process is one of the programs that the hook leaves alone: by `names`, or by the
// MIRRORD_SKIP_PROCESSES that an editor started it with.
bool is_left_alone(pid_t process, const std::vector<std::string>& names);

}  // namespace mirrord
