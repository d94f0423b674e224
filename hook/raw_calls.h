// hook/raw_calls.h — system calls that a program makes by number, led to the hooks of the same
// name: through syscall(2), or trapped in the text of a Go program.
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

// Runs the hook for a system call. False: no hook is concerned, make the call itself. The result
// follows the kernel's convention (a negative errno on failure).
bool route_raw_call(long number, const long (&arguments)[6], long* result);

}  // namespace mirrord::hook
