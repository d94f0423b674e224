// applets/intproxy/user_notice.h — lines on the standard error of the user's program, from a process
// that must not keep it open: whoever reads it waits for its end.
#pragma once

#include <sys/types.h>

#include <string_view>
#include <vector>

#include "net/fd.h"

namespace mirrord::intproxy {

// A copy of this process's standard error if it is a regular file, whose position all writers must
// share and whose end nobody waits for; else a closed descriptor.
Fd keep_if_regular(int standard_error);

// Writes "mirrord: warning: <text>\n" once: to `kept` if it is open, else to the standard error of the
// first of `processes` where that can be done. Never waits. False: nobody was told.
bool tell_user(const Fd& kept, const std::vector<pid_t>& processes, std::string_view text);

}  // namespace mirrord::intproxy
